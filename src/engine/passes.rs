//! Keeps passes of the planner for whoever wants to make them again.

use crate::planner::{Plan, RecordedPass};

/// Where recorded passes go. Called under the engine's lock: it must not wait.
pub trait PassLog: Send + Sync + std::fmt::Debug {
    /// Whether a pass is to be kept; each that is costs a copy of all that is open.
    fn wants(&self, plan: &Plan, is_sound: bool) -> bool;
    /// Keeps it.
    fn keep(&self, pass: RecordedPass);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPassLog;

impl PassLog for NoPassLog {
    fn wants(&self, _plan: &Plan, _is_sound: bool) -> bool {
        false
    }

    fn keep(&self, _pass: RecordedPass) {}
}
