//! What a build needs of an image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything a build needs, by capability name; all must hold.
pub type Requirements = BTreeMap<String, Requirement>;

/// What one capability must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// The image must have it, with whatever value.
    Present,
    /// The image must not have it.
    Absent,
    /// One value of the image must satisfy one of these.
    AnyOf(Vec<Constraint>),
}

/// A comparison, or several joined by commas, that one value must satisfy together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The same text, or the same version, or a version below it (`3.12` accepts `3.12.4`).
    Is(String),
    /// All of these hold for one and the same value, as in `>=3.11, <3.13`.
    All(Vec<(Operator, String)>),
}

/// How a value is compared with the version in a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `==`: equal, trailing zeros aside.
    Equal,
    /// `!=`: neither equal nor below it.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}
