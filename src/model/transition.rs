//! The one error of a state change that the state machine does not have.

/// A state change that is not legal: an entity was asked to go where it cannot go from here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// The entity, by id.
    pub subject: String,
    /// Its present state.
    pub from: &'static str,
    /// The state that was asked for.
    pub to: &'static str,
}
