//! What an error looks like: RFC 9457.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::token::RoleWord;
use crate::spec::Problem;

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// Names the kind of error: `urn:dormouse:problem:` and a word that never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:dormouse:problem:not-found")]
    pub kind: String,
    /// The kind of error, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The request, by its path; or for internal errors an id that is also in the server's log.
    pub instance: String,
    /// The next thing to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Every problem of a document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<DocumentProblem>,
    /// The role that the request needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_role: Option<RoleWord>,
}

/// Something wrong at one place of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentProblem {
    /// The file, when the request held several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// Where in the document.
    #[schema(example = "builds.test.steps[2].run")]
    pub path: String,
    /// What is wrong, and what would be accepted.
    pub message: String,
}

impl DocumentProblem {
    /// A problem of a document, or of one file among several.
    pub fn new(file: Option<String>, problem: Problem) -> Self {
        Self {
            file,
            line: problem.line,
            column: problem.column,
            path: problem.path,
            message: problem.message,
        }
    }
}
