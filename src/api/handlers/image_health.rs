//! How images fare, and the end of a quarantine.

use axum::extract::State;
use axum::{Extension, Json};

use crate::api::auth::Actor;
use crate::api::error::ApiError;
use crate::api::extract::Name;
use crate::api::state::ApiState;
use crate::api::view::{ImageHealthView, ImageView, ProblemDetails};

/// Show how an image fares
///
/// Boots and how long they take, builds, failures and what they cost, by version and shape.
#[utoipa::path(
    get, path = "/images/{name}/health", tag = "images",
    params(("name" = String, Path, description = "Image name")),
    responses((status = 200, description = "Its versions", body = ImageHealthView))
)]
pub(in crate::api) async fn show_image_health(
    State(state): State<ApiState>,
    Name(name): Name,
) -> Result<Json<ImageHealthView>, ApiError> {
    let health = state.desk.image_health(&name).await?;
    let health = health.ok_or(ApiError::NotFound {
        what: "image",
        id: name,
    })?;
    Ok(Json(health.into()))
}

/// Release an image from quarantine
///
/// Makes the version current again that was quarantined because it did not boot.
#[utoipa::path(
    post, path = "/images/{name}/release", tag = "images",
    params(("name" = String, Path, description = "Image name")),
    responses(
        (status = 200, description = "The version that is current now", body = ImageView),
        (status = 409, description = "It has no quarantined version", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn release_image(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Name(name): Name,
) -> Result<Json<ImageView>, ApiError> {
    let image = state.desk.release_image(&name, &actor.name).await?;
    Ok(Json(image.into()))
}
