//! Floor 1: which policies speak of what, and what holds when several do.
//!
//! The rules, as people read them in `docs/policies.md`: of the policies that speak of a build or a
//! machine, the most specific one that sets a knob decides it ([`Specificity`]); what none sets has
//! its built-in value ([`Terms::built_in`]). Limits and budgets do not override one another: every one
//! whose policy speaks of the thing must hold. Callers: `books`, `engine`, `simulate`; `api` and `cli`
//! show what holds and what a policy says.

mod rivals;
mod select;
mod terms;
mod unheard;
mod unsold;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use rivals::{Rivals, rivals};
pub use select::{Specificity, Subject, speaks_of};
pub use terms::{
    DEFAULT_ASLEEP_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_ASLEEP, DEFAULT_MAX_LIFETIME,
    DEFAULT_VALUE_OF_WAIT, Effective, Knob, Source, Terms, effective,
};
pub use unheard::{Unheard, unheard};
pub use unsold::{Sold, Unsold, unsold};
pub use write::{Row, Said, bounds, document, rows, said};
