//! Images and policies: list, look, apply, remove, verify.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use super::pipelines::accepted_response;
use crate::api::auth::Actor;
use crate::api::error::ApiError;
use crate::api::extract::{JsonBody, Name};
use crate::api::state::ApiState;
use crate::api::view::{
    AcceptedView, AppliedView, ApplyRequest, ApplyResponse, CheckResponse, CheckedView,
    DeclarationFile, DeclarationKind, ImageView, Page, PolicyView, ProblemDetails,
};
use crate::engine::{ApplyError, Declaration};

/// List images
///
/// The current version of each image of the catalogue, and the one that is quarantined, if any.
#[utoipa::path(
    get, path = "/images", tag = "images",
    responses((status = 200, description = "All images", body = Page<ImageView>))
)]
pub(in crate::api) async fn list_images(
    State(state): State<ApiState>,
) -> Result<Json<Page<ImageView>>, ApiError> {
    let images = state.desk.images().await?;
    Ok(Json(Page::whole(
        images.into_iter().map(ImageView::from).collect(),
    )))
}

/// Show an image
///
/// All versions of it, newest first.
#[utoipa::path(
    get, path = "/images/{name}", tag = "images",
    params(("name" = String, Path, description = "Image name")),
    responses((status = 200, description = "Its versions", body = Page<ImageView>))
)]
pub(in crate::api) async fn show_image(
    State(state): State<ApiState>,
    Name(name): Name,
) -> Result<Json<Page<ImageView>>, ApiError> {
    let versions = state.store.images(Some(&name)).await?;
    if versions.is_empty() {
        return Err(ApiError::NotFound {
            what: "image",
            id: name,
        });
    }
    Ok(Json(Page::whole(
        versions.into_iter().map(ImageView::from).collect(),
    )))
}

/// Remove an image
///
/// Takes it out of the catalogue; its machines drain.
#[utoipa::path(
    delete, path = "/images/{name}", tag = "images",
    params(("name" = String, Path, description = "Image name")),
    responses((status = 200, description = "The version that was current", body = ImageView))
)]
pub(in crate::api) async fn remove_image(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Name(name): Name,
) -> Result<Json<ImageView>, ApiError> {
    let image = state.desk.remove_image(&name, &actor.name).await?;
    Ok(Json(image.into()))
}

/// Verify an image
///
/// Queues a pipeline that boots the image and runs its probes; `GET /builds/{id}/verdicts` compares
/// what they printed with what the image claims.
#[utoipa::path(
    post, path = "/images/{name}/verify", tag = "images",
    params(("name" = String, Path, description = "Image name")),
    responses(
        (status = 201, description = "Queued", body = AcceptedView),
        (status = 409, description = "It has no probes", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn verify_image(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    let accepted = state.desk.verify_image(&name, &actor.name).await?;
    Ok(accepted_response(accepted))
}

/// List policies
///
/// The current version of each.
#[utoipa::path(
    get, path = "/policies", tag = "policies",
    responses((status = 200, description = "All policies", body = Page<PolicyView>))
)]
pub(in crate::api) async fn list_policies(
    State(state): State<ApiState>,
) -> Result<Json<Page<PolicyView>>, ApiError> {
    let policies = state.desk.policies().await?;
    Ok(Json(Page::whole(
        policies.into_iter().map(PolicyView::from).collect(),
    )))
}

/// Apply files
///
/// Makes image and policy files current: all of them, or none when one has a problem. Warns of what is
/// allowed, and hardly meant.
#[utoipa::path(
    post, path = "/apply", tag = "policies", request_body = ApplyRequest,
    responses(
        (status = 200, description = "What each file did", body = ApplyResponse),
        (status = 422, description = "Files have problems; nothing was applied", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn apply(
    State(state): State<ApiState>,
    JsonBody(request): JsonBody<ApplyRequest>,
) -> Result<Json<ApplyResponse>, ApiError> {
    let files = request.declarations;
    let declarations: Vec<Declaration> = files.iter().map(declaration).collect();
    let applied = state.desk.apply(declarations.clone()).await;
    let applied = applied.map_err(|error| problems_of(error, &files))?;
    // They are current whether or not there is something to warn of.
    let checked = state.desk.check(declarations).await.unwrap_or_default();
    let warnings = checked.into_iter().map(|checked| checked.warnings);
    let items = files
        .into_iter()
        .zip(applied)
        .zip(warnings.chain(std::iter::repeat_with(Vec::new)))
        .map(|((file, applied), warnings)| AppliedView::new(file, applied, warnings))
        .collect();
    Ok(Json(ApplyResponse { items }))
}

/// Check files
///
/// Tells the problems of image and policy files, and what is allowed and hardly meant, beside the
/// catalogue and the policies that are current. Changes nothing.
#[utoipa::path(
    post, path = "/check", tag = "policies", request_body = ApplyRequest,
    responses(
        (status = 200, description = "What was found in each file", body = CheckResponse),
        (status = 422, description = "Files have problems", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn check(
    State(state): State<ApiState>,
    JsonBody(request): JsonBody<ApplyRequest>,
) -> Result<Json<CheckResponse>, ApiError> {
    let files = request.declarations;
    let checked = state.desk.check(files.iter().map(declaration).collect());
    let checked = checked.await.map_err(|error| problems_of(error, &files))?;
    let items = files.into_iter().zip(checked);
    let items = items.map(|(file, checked)| CheckedView::new(file, checked));
    Ok(Json(CheckResponse {
        items: items.collect(),
    }))
}

fn problems_of(error: ApplyError, files: &[DeclarationFile]) -> ApiError {
    let names: Vec<String> = files.iter().map(|file| file.file.clone()).collect();
    ApiError::from_apply(error, &names)
}

fn declaration(file: &DeclarationFile) -> Declaration {
    match file.kind {
        DeclarationKind::Image => Declaration::Image(file.text.clone()),
        DeclarationKind::Policy => Declaration::Policy(file.text.clone()),
    }
}
