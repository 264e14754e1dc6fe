//! What an image can build.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything an image claims, by capability name.
pub type Capabilities = BTreeMap<String, CapabilityValue>;

/// The values of one capability: a plain flag, or one or more texts (versions among them).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityValue {
    /// There (or declared not to be there); no value to compare.
    Flag(bool),
    /// Each value the image has, as in `python: [3.11.9, 3.12.4]`.
    Values(Vec<String>),
}

impl CapabilityValue {
    /// Whether the image has the capability at all.
    pub const fn is_there(&self) -> bool {
        match self {
            Self::Flag(there) => *there,
            Self::Values(_) => true,
        }
    }
}

impl fmt::Display for CapabilityValue {
    /// As it would stand behind `has`: `yes`, `none`, or the values joined with commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("none"),
            Self::Values(values) => f.write_str(&values.join(", ")),
        }
    }
}
