//! API tokens, and who you are.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};

use crate::api::auth::{Actor, AuthMode, LoopbackOnly};
use crate::api::error::ApiError;
use crate::api::extract::{Id, JsonBody};
use crate::api::limits::MAX_TOKEN_NAME_CHARS;
use crate::api::state::ApiState;
use crate::api::view::{CreateToken, CreatedToken, Page, TokenView, WhoAmI};
use crate::model::TokenId;

/// List tokens
///
/// All of them, newest first, those revoked included. Their texts are not kept.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens",
    responses((status = 200, description = "All tokens", body = Page<TokenView>))
)]
pub(in crate::api) async fn list_tokens(
    State(state): State<ApiState>,
) -> Result<Json<Page<TokenView>>, ApiError> {
    let tokens = state.store.tokens().await?;
    Ok(Json(Page::whole(
        tokens.into_iter().map(TokenView::from).collect(),
    )))
}

/// Make a token
///
/// Its text is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", request_body = CreateToken,
    responses((status = 201, description = "The token and its text", body = CreatedToken))
)]
pub(in crate::api) async fn create_token(
    State(state): State<ApiState>,
    JsonBody(request): JsonBody<CreateToken>,
) -> Result<(StatusCode, Json<CreatedToken>), ApiError> {
    let length = request.name.chars().count();
    let is_plain = !request.name.chars().any(char::is_control);
    if !(1..=MAX_TOKEN_NAME_CHARS).contains(&length) || !is_plain {
        return Err(ApiError::malformed(
            format!("a token's name must be 1 to {MAX_TOKEN_NAME_CHARS} printable characters"),
            Some("name it after who or what will use it, as in `ci` or `alice-laptop`"),
        ));
    }
    let (token, secret) = state
        .desk
        .create_token(&request.name, request.role.into())
        .await?;
    let created = CreatedToken {
        token: token.into(),
        secret,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Revoke a token
///
/// It is refused from now on.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "Token id")),
    responses((status = 204, description = "Revoked"))
)]
pub(in crate::api) async fn revoke_token(
    State(state): State<ApiState>,
    Id(id): Id<TokenId>,
) -> Result<StatusCode, ApiError> {
    state.desk.revoke_token(id).await?;
    state.tokens().clear();
    Ok(StatusCode::NO_CONTENT)
}

/// Who am I
///
/// The name and role of the token that the request came with.
#[utoipa::path(
    get, path = "/whoami", tag = "tokens",
    responses((status = 200, description = "You", body = WhoAmI))
)]
pub(in crate::api) async fn who_am_i(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: actor.name,
        role: actor.role.into(),
        authenticated: match state.auth {
            AuthMode::Tokens => true,
            AuthMode::Open(LoopbackOnly { .. }) => false,
        },
    })
}
