//! Pipelines: submit, list, look, cancel, retry.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use crate::api::auth::Actor;
use crate::api::error::ApiError;
use crate::api::extract::{Document, Id, Params, page, paged};
use crate::api::limits::{MAX_IDEMPOTENCY_KEY_BYTES, MAX_PAGE_ROWS, MAX_PIPELINE_BUILDS};
use crate::api::state::ApiState;
use crate::api::view::{
    AcceptedView, BuildSummary, CancelCount, Page, PipelineDetail, PipelineSummary, ProblemDetails,
};
use crate::engine::{Accepted, Submission};
use crate::model::{Build, BuildId, PipelineId};
use crate::store::{self, BuildFilter, Store};

/// Queue a pipeline
///
/// The body is a pipeline document, YAML or JSON. With an `Idempotency-Key`, sending the same
/// document again answers 200 with what the first one became, and queues nothing.
#[utoipa::path(
    post, path = "/pipelines", tag = "pipelines",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 200 visible ASCII characters of your choice")),
    request_body(content(
        (String = "application/yaml", example = "name: nightly\nproject: demo\nbuilds:\n  test:\n    requires: {python: '>=3.11'}\n    steps:\n      - run: python3 -m unittest\n"),
        (serde_json::Value = "application/json"),
    )),
    responses(
        (status = 201, description = "Queued", body = AcceptedView),
        (status = 200, description = "Accepted before under the same key", body = AcceptedView),
        (status = 409, description = "The key was used with another document", body = ProblemDetails, content_type = "application/problem+json"),
        (status = 422, description = "The document has problems; all of them are listed", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn submit_pipeline(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Document(document): Document,
) -> Result<Response, ApiError> {
    let submission = Submission {
        document,
        idempotency_key: idempotency_key(&headers)?,
        submitted_by: actor.name,
    };
    let accepted = state.desk.submit(submission).await?;
    Ok(accepted_response(accepted))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let fits = (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&value.len());
    match value.to_str() {
        Ok(key) if fits => Ok(Some(key.to_owned())),
        Ok(_) | Err(_) => Err(ApiError::malformed(
            format!(
                "the Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"
            ),
            None,
        )),
    }
}

/// 201 with the place of the new pipeline, or 200 when there is nothing new.
pub(super) fn accepted_response(accepted: Accepted) -> Response {
    let status = if accepted.repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let view = AcceptedView::from(accepted);
    let place = HeaderValue::try_from(format!("/api/v1/pipelines/{}", view.pipeline));
    let mut response = (status, Json(view)).into_response();
    // An id has only letters, digits and an underscore, so it always fits a header.
    if let Ok(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// Which pipelines to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PipelineQuery {
    /// Of this project.
    project: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Rows of the page, 1 to 200; 50 if not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// List pipelines
///
/// Newest first, each with the states of its builds.
#[utoipa::path(
    get, path = "/pipelines", tag = "pipelines", params(PipelineQuery),
    responses((status = 200, description = "A page of pipelines", body = Page<PipelineSummary>))
)]
pub(in crate::api) async fn list_pipelines(
    State(state): State<ApiState>,
    Params(query): Params<PipelineQuery>,
) -> Result<Json<Page<PipelineSummary>>, ApiError> {
    let page: store::Page<PipelineId> = page(query.cursor.as_deref(), query.limit)?;
    let limit = page.limit;
    let rows = state
        .store
        .pipelines(query.project.as_deref(), page)
        .await?;
    Ok(Json(paged(
        rows,
        limit,
        |(pipeline, _)| pipeline.id.to_string(),
        |(pipeline, tally)| PipelineSummary::new(pipeline, tally),
    )))
}

/// Show a pipeline
///
/// With all of its builds.
#[utoipa::path(
    get, path = "/pipelines/{id}", tag = "pipelines",
    params(("id" = String, Path, description = "Pipeline id")),
    responses((status = 200, description = "The pipeline", body = PipelineDetail))
)]
pub(in crate::api) async fn show_pipeline(
    State(state): State<ApiState>,
    Id(id): Id<PipelineId>,
) -> Result<Json<PipelineDetail>, ApiError> {
    let pipeline = state
        .store
        .pipeline(id)
        .await?
        .ok_or_else(|| ApiError::NotFound {
            what: "pipeline",
            id: id.to_string(),
        })?;
    let tally = state.store.tally(id).await?;
    let builds = all_builds(state.store.as_ref(), id).await?;
    Ok(Json(PipelineDetail {
        pipeline: PipelineSummary::new(pipeline, tally),
        builds: builds.iter().map(BuildSummary::from).collect(),
    }))
}

/// Every build of a pipeline, oldest id first.
async fn all_builds(store: &dyn Store, pipeline: PipelineId) -> Result<Vec<Build>, ApiError> {
    let filter = BuildFilter {
        pipeline: Some(pipeline),
        ..BuildFilter::default()
    };
    let mut builds: Vec<Build> = Vec::new();
    let mut before: Option<BuildId> = None;
    while builds.len() < MAX_PIPELINE_BUILDS {
        let page = store::Page {
            before,
            limit: MAX_PAGE_ROWS,
        };
        let rows = store.builds(&filter, page).await?;
        let full = rows.len() >= usize::try_from(MAX_PAGE_ROWS).unwrap_or(usize::MAX);
        before = rows.last().map(|build| build.id);
        builds.extend(rows);
        if !full {
            break;
        }
    }
    builds.sort_by_key(|build| build.id);
    Ok(builds)
}

/// Cancel a pipeline
///
/// Asks for the end of every build that has none yet.
#[utoipa::path(
    post, path = "/pipelines/{id}/cancel", tag = "pipelines",
    params(("id" = String, Path, description = "Pipeline id")),
    responses((status = 200, description = "How many builds were asked", body = CancelCount))
)]
pub(in crate::api) async fn cancel_pipeline(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Id(id): Id<PipelineId>,
) -> Result<Json<CancelCount>, ApiError> {
    let asked = state.desk.cancel_pipeline(id, &actor.name).await?;
    Ok(Json(CancelCount { asked }))
}

/// Retry a pipeline
///
/// Queues the builds that did not succeed again, as a new pipeline.
#[utoipa::path(
    post, path = "/pipelines/{id}/retry", tag = "pipelines",
    params(("id" = String, Path, description = "Pipeline id")),
    responses(
        (status = 201, description = "Queued", body = AcceptedView),
        (status = 409, description = "Nothing to retry", body = ProblemDetails, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn retry_pipeline(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Id(id): Id<PipelineId>,
) -> Result<Response, ApiError> {
    let accepted = state.desk.retry_pipeline(id, &actor.name).await?;
    Ok(accepted_response(accepted))
}
