//! How the service itself is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
}

/// Whether the service can take work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// All of the below.
    pub ready: bool,
    /// The engine has loaded its state and its loops run.
    pub engine: bool,
    /// The store answers.
    pub store: bool,
    /// The service was not asked to stop.
    pub serving: bool,
}
