//! Versions as machines print them, and their order.

/// A version, split into comparable parts; keeps its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    text: String,
}
