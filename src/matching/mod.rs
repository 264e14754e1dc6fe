//! Floor 1: requirements x catalogue: which images can build something, in which order of
//! preference, and why each other image cannot.
//!
//! Pure functions of values. [`satisfies`] compares one set of requirements with one set of
//! capabilities; [`match_catalogue`] ranks a whole catalogue once; a [`Matcher`] does it for many
//! requirements and decides each distinct one only once per image. Warm machines are the planner's
//! business: it puts them in front of what is ranked here. Callers: `planner`, `engine`.

mod bits;
mod claim;
mod matcher;
mod mismatch;

pub use matcher::{Candidate, Candidates, Matcher};
pub use mismatch::{Matches, Mismatch, Refusal, describe, match_catalogue, satisfies};

#[cfg(test)]
mod tests;
