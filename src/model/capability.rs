//! What an image can build.

use std::collections::BTreeMap;

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
