//! One file per kind of thing; each handler reads, asks, and translates.

pub(super) mod budgets;
pub(super) mod builds;
pub(super) mod catalogue;
pub(super) mod events;
pub(super) mod log_stream;
pub(super) mod logs;
pub(super) mod machines;
pub(super) mod pipelines;
pub(super) mod planning;
pub(super) mod policies;
pub(super) mod service;
pub(super) mod tokens;
