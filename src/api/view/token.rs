//! API tokens.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Timestamp, Token, TokenId, TokenRole};

/// What a token may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleWord {
    /// Look at everything.
    Reader,
    /// Queue, cancel and retry builds.
    Submitter,
    /// Change catalogue, policies, tokens and machines.
    Admin,
}

impl RoleWord {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Submitter => "submitter",
            Self::Admin => "admin",
        }
    }
}

impl From<TokenRole> for RoleWord {
    fn from(role: TokenRole) -> Self {
        match role {
            TokenRole::Reader => Self::Reader,
            TokenRole::Submitter => Self::Submitter,
            TokenRole::Admin => Self::Admin,
        }
    }
}

impl From<RoleWord> for TokenRole {
    fn from(role: RoleWord) -> Self {
        match role {
            RoleWord::Reader => Self::Reader,
            RoleWord::Submitter => Self::Submitter,
            RoleWord::Admin => Self::Admin,
        }
    }
}

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its identity.
    #[schema(value_type = String, example = "tok_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub id: TokenId,
    /// What the operator called it.
    pub name: String,
    /// What it may do.
    pub role: RoleWord,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is refused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            role: token.role.into(),
            created_at: token.created_at,
            revoked_at: token.revoked_at,
        }
    }
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What to call it; recorded as the author of what is done with it. 1 to 100 characters.
    pub name: String,
    /// What it may do.
    pub role: RoleWord,
}

/// A fresh token. Its text is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token.
    pub token: TokenView,
    /// The text to send as `Authorization: Bearer …`.
    #[schema(example = "dm_…")]
    pub secret: String,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken")
            .field("token", &self.token)
            .field("secret", &"[secret]")
            .finish()
    }
}

/// Who the server takes you for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The token's name; `local` when the server asks for no tokens.
    pub name: String,
    /// What you may do.
    pub role: RoleWord,
    /// Whether the server asks for tokens.
    pub authenticated: bool,
}
