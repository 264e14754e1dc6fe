//! Who is asking, and whether they may.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::limits::{MAX_CACHED_TOKENS, TOKEN_CACHE_SECONDS};
use super::state::ApiState;
use super::view::RoleWord;
use crate::model::{Span, Timestamp, TokenRole};

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Who has a token.
    Tokens,
    /// Everybody on this machine, as admin.
    Open(LoopbackOnly),
}

impl AuthMode {
    /// No tokens are asked for, on a server that listens on `address`.
    ///
    /// # Errors
    /// [`NotLoopback`] when other machines could reach that address.
    pub fn open(address: SocketAddr) -> Result<Self, NotLoopback> {
        if address.ip().is_loopback() {
            Ok(Self::Open(LoopbackOnly(())))
        } else {
            Err(NotLoopback(address))
        }
    }
}

/// Proof that the server listens on a loopback address. Made by [`AuthMode::open`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackOnly(());

/// Tokens were switched off on an address that other machines can reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tokens can be switched off on a loopback address only, and {0} is not one")]
pub struct NotLoopback(SocketAddr);

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Actor {
    /// The token's name.
    pub(super) name: String,
    /// What they may do.
    pub(super) role: TokenRole,
}

/// What everybody is on an open server.
const LOCAL_ACTOR: &str = "local";

type TokenDigest = [u8; 32];

/// Tokens that were found lately, so that most requests do not ask the store. Unknown ones are not
/// kept: guessing must not push out the real ones.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    known: Mutex<BTreeMap<TokenDigest, (Actor, Timestamp)>>,
}

impl TokenCache {
    fn get(&self, digest: &TokenDigest, now: Timestamp) -> Option<Actor> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (actor, until) = known.get(digest)?;
        (now < *until).then(|| actor.clone())
    }

    fn put(&self, digest: TokenDigest, actor: Actor, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_CACHED_TOKENS {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() < MAX_CACHED_TOKENS {
            known.insert(digest, (actor, now + Span::from_secs(TOKEN_CACHE_SECONDS)));
        }
    }

    /// Forgets all of them: one was revoked.
    pub(super) fn clear(&self) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Lets a request pass whose sender has at least this role, and notes the sender in it.
pub(super) async fn require(
    State((state, needed)): State<(ApiState, TokenRole)>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&state, needed, request.headers()).await {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

async fn admit(
    state: &ApiState,
    needed: TokenRole,
    headers: &HeaderMap,
) -> Result<Actor, ApiError> {
    let actor = match state.auth {
        AuthMode::Tokens => actor_of(state, headers).await?,
        AuthMode::Open(LoopbackOnly { .. }) => Actor {
            name: LOCAL_ACTOR.to_owned(),
            role: TokenRole::Admin,
        },
    };
    if actor.role < needed {
        return Err(ApiError::Forbidden {
            needed: RoleWord::from(needed),
            held: RoleWord::from(actor.role),
            name: actor.name,
        });
    }
    Ok(actor)
}

async fn actor_of(state: &ApiState, headers: &HeaderMap) -> Result<Actor, ApiError> {
    let header = headers
        .get(header::AUTHORIZATION)
        .ok_or(ApiError::NoToken)?;
    let text = bearer(header.as_bytes()).ok_or(ApiError::BadToken)?;
    let digest: TokenDigest = Sha256::digest(text).into();
    let now = state.clock.now();
    if let Some(actor) = state.tokens().get(&digest, now) {
        return Ok(actor);
    }
    let token = state
        .store
        .token_by_hash(&hex(&digest))
        .await?
        .filter(|token| token.revoked_at.is_none())
        .ok_or(ApiError::BadToken)?;
    let actor = Actor {
        name: token.name,
        role: token.role,
    };
    state.tokens().put(digest, actor.clone(), now);
    Ok(actor)
}

/// The token in an `Authorization` header; the scheme's case does not matter.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(b"bearer".len())?;
    let token = rest.strip_prefix(b" ")?.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

pub(super) fn hex(digest: &TokenDigest) -> String {
    use std::fmt::Write as _;
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_asked_for_wherever_others_can_reach() {
        for address in ["127.0.0.1:80", "[::1]:80", "127.8.8.8:1"] {
            assert!(
                AuthMode::open(address.parse().unwrap()).is_ok(),
                "{address}"
            );
        }
        for address in ["0.0.0.0:80", "[::]:80", "192.168.0.7:80"] {
            assert!(
                AuthMode::open(address.parse().unwrap()).is_err(),
                "{address}"
            );
        }
    }

    #[test]
    fn the_header_is_read_as_written_in_rfc_6750() {
        assert_eq!(bearer(b"Bearer dm_x"), Some(&b"dm_x"[..]));
        assert_eq!(bearer(b"bearer  dm_x "), Some(&b"dm_x"[..]));
        for bad in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Basic dm_x",
            b"dm_x",
            b"",
            b"Bearerdm_x",
        ] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_full_cache_keeps_the_known_and_makes_room_once_they_expire() {
        let cache = TokenCache::default();
        let actor = Actor {
            name: "ci".to_owned(),
            role: TokenRole::Reader,
        };
        let digest = |n: usize| -> TokenDigest { Sha256::digest(n.to_le_bytes()).into() };
        let start = Timestamp::from_micros(0);
        for n in 0..=MAX_CACHED_TOKENS {
            cache.put(digest(n), actor.clone(), start);
        }
        assert_eq!(cache.get(&digest(0), start), Some(actor.clone()));
        assert_eq!(cache.get(&digest(MAX_CACHED_TOKENS), start), None);
        let later = start + Span::from_secs(TOKEN_CACHE_SECONDS);
        assert_eq!(cache.get(&digest(0), later), None);
        cache.put(digest(MAX_CACHED_TOKENS), actor.clone(), later);
        assert_eq!(cache.get(&digest(MAX_CACHED_TOKENS), later), Some(actor));
    }

    #[test]
    fn hashes_are_written_in_lower_case_hex() {
        let digest: TokenDigest = Sha256::digest(b"abc").into();
        assert_eq!(
            hex(&digest),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
