//! Builds: list, look, cancel, retry, explain, compare.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;

use super::pipelines::accepted_response;
use crate::api::auth::Actor;
use crate::api::error::ApiError;
use crate::api::extract::{Id, Params, page, paged, parse};
use crate::api::state::ApiState;
use crate::api::view::{
    AcceptedView, BuildDetail, BuildStateWord, BuildSummary, ExplanationView, Page, ProblemDetails,
    ResultWord, VerdictView,
};
use crate::model::{Build, BuildId, BuildResult, PipelineId};
use crate::store::{self, BuildFilter};

/// Which builds to list; every given part must match.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct BuildQuery {
    /// Of this pipeline.
    pipeline: Option<String>,
    /// Of this project.
    project: Option<String>,
    /// In this state.
    state: Option<BuildStateWord>,
    /// With this result.
    result: Option<ResultWord>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Rows of the page, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// List builds
///
/// Newest first.
#[utoipa::path(
    get, path = "/builds", tag = "builds", params(BuildQuery),
    responses((status = 200, description = "A page of builds", body = Page<BuildSummary>))
)]
pub(in crate::api) async fn list_builds(
    State(state): State<ApiState>,
    Params(query): Params<BuildQuery>,
) -> Result<Json<Page<BuildSummary>>, ApiError> {
    let filter = BuildFilter {
        pipeline: query
            .pipeline
            .as_deref()
            .map(parse::<PipelineId>)
            .transpose()?,
        project: query.project,
        state: query.state.map(|state| state.word().to_owned()),
        result: query.result.map(BuildResult::from),
    };
    let page: store::Page<BuildId> = page(query.cursor.as_deref(), query.limit)?;
    let limit = page.limit;
    let rows = state.store.builds(&filter, page).await?;
    Ok(Json(paged(
        rows,
        limit,
        |build| build.id.to_string(),
        |build| BuildSummary::from(&build),
    )))
}

/// A build by id.
pub(super) async fn find(state: &ApiState, id: BuildId) -> Result<Build, ApiError> {
    state
        .store
        .build(id)
        .await?
        .ok_or_else(|| ApiError::NotFound {
            what: "build",
            id: id.to_string(),
        })
}

/// Show a build
///
/// With its steps, attempts and cost.
#[utoipa::path(
    get, path = "/builds/{id}", tag = "builds",
    params(("id" = String, Path, description = "Build id")),
    responses((status = 200, description = "The build", body = BuildDetail))
)]
pub(in crate::api) async fn show_build(
    State(state): State<ApiState>,
    Id(id): Id<BuildId>,
) -> Result<Json<BuildDetail>, ApiError> {
    let (build, attempts, cost) = tokio::try_join!(
        find(&state, id),
        async { state.store.attempts(id).await.map_err(ApiError::from) },
        async { state.store.build_cost(id).await.map_err(ApiError::from) },
    )?;
    Ok(Json(BuildDetail::new(&build, &attempts, cost)))
}

/// Cancel a build
///
/// Asks for its end; the answer is the build as it stands now. No effect on a finished one.
#[utoipa::path(
    post, path = "/builds/{id}/cancel", tag = "builds",
    params(("id" = String, Path, description = "Build id")),
    responses((status = 200, description = "The build as it stands now", body = BuildSummary))
)]
pub(in crate::api) async fn cancel_build(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Id(id): Id<BuildId>,
) -> Result<Json<BuildSummary>, ApiError> {
    let build = state.desk.cancel_build(id, &actor.name).await?;
    Ok(Json(BuildSummary::from(&build)))
}

/// Retry a build
///
/// Queues a finished build again, as a new pipeline.
#[utoipa::path(
    post, path = "/builds/{id}/retry", tag = "builds",
    params(("id" = String, Path, description = "Build id")),
    responses(
        (status = 201, description = "Queued", body = AcceptedView),
        (status = 409, description = "It has not finished", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn retry_build(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Id(id): Id<BuildId>,
) -> Result<Response, ApiError> {
    let accepted = state.desk.retry_build(id, &actor.name).await?;
    Ok(accepted_response(accepted))
}

/// Explain a build
///
/// Why it stands where it stands, image by image, and what happens next.
#[utoipa::path(
    get, path = "/builds/{id}/explain", tag = "builds",
    params(("id" = String, Path, description = "Build id")),
    responses((status = 200, description = "The explanation", body = ExplanationView))
)]
pub(in crate::api) async fn explain_build(
    State(state): State<ApiState>,
    Id(id): Id<BuildId>,
) -> Result<Json<ExplanationView>, ApiError> {
    Ok(Json(state.desk.explain(id).await?.into()))
}

/// Compare claims with findings
///
/// Of a finished verification build: what the image claims, and what the probes printed.
#[utoipa::path(
    get, path = "/builds/{id}/verdicts", tag = "images",
    params(("id" = String, Path, description = "Id of a build of a verification")),
    responses(
        (status = 200, description = "One row a capability", body = Page<VerdictView>),
        (status = 409, description = "It has not finished, or is no verification", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn show_verdicts(
    State(state): State<ApiState>,
    Id(id): Id<BuildId>,
) -> Result<Json<Page<VerdictView>>, ApiError> {
    let verdicts = state.desk.verdicts(id).await?;
    Ok(Json(Page::whole(
        verdicts.into_iter().map(VerdictView::from).collect(),
    )))
}
