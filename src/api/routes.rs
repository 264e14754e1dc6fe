//! Which handler answers what, and which role it takes.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::frame::frame;
use super::handlers::{
    budgets, builds, catalogue, events, image_health, log_stream, logs, machines, pipelines,
    planning, policies, service, tokens,
};
use super::limits::MAX_BODY_BYTES;
use super::state::ApiState;
use super::{auth, docs, document};
use crate::model::TokenRole;

/// Where the API is.
const API: &str = "/api/v1";

/// Where its document is.
const DOCUMENT: &str = "/api/v1/openapi.json";

/// What a reader may: look.
fn reader_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(pipelines::list_pipelines))
        .routes(routes!(pipelines::show_pipeline))
        .routes(routes!(builds::list_builds))
        .routes(routes!(builds::show_build))
        .routes(routes!(builds::explain_build))
        .routes(routes!(builds::show_verdicts))
        .routes(routes!(logs::read_log))
        .routes(routes!(log_stream::stream_log))
        .routes(routes!(machines::list_machines))
        .routes(routes!(machines::show_machine))
        .routes(routes!(catalogue::list_images))
        .routes(routes!(catalogue::show_image))
        .routes(routes!(image_health::show_image_health))
        .routes(routes!(catalogue::list_policies))
        .routes(routes!(policies::show_effective))
        .routes(routes!(catalogue::check))
        .routes(routes!(planning::show_plan))
        .routes(routes!(planning::record_plan))
        .routes(routes!(planning::report_cost))
        .routes(routes!(budgets::list_budgets))
        .routes(routes!(events::list_events))
        .routes(routes!(events::stream_events))
        .routes(routes!(tokens::who_am_i))
}

/// What a submitter may besides: queue, cancel, retry.
fn submitter_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(pipelines::submit_pipeline))
        .routes(routes!(planning::quote_pipeline))
        .routes(routes!(pipelines::cancel_pipeline))
        .routes(routes!(pipelines::retry_pipeline))
        .routes(routes!(builds::cancel_build))
        .routes(routes!(builds::retry_build))
}

/// What an admin may besides: change what everybody shares.
fn admin_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(machines::end_machine))
        .routes(routes!(budgets::approve_budget))
        .routes(routes!(catalogue::remove_image))
        .routes(routes!(catalogue::verify_image))
        .routes(routes!(image_health::release_image))
        .routes(routes!(catalogue::apply))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
}

/// Numbers of the operator's, outside of the versioned API because monitoring expects them there.
fn metrics_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default().routes(routes!(service::metrics))
}

/// What tells nothing that anybody may not know.
fn public_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::default()
        .routes(routes!(service::healthz))
        .routes(routes!(service::readyz))
}

/// All routes that the document knows, with it; `guard` makes routes ask for a role.
fn documented(
    guard: impl Fn(OpenApiRouter<ApiState>, TokenRole) -> OpenApiRouter<ApiState>,
) -> (Router<ApiState>, OpenApi) {
    use TokenRole::{Admin, Reader, Submitter};
    let guarded = |routes, role| {
        let mut routes = guard(routes, role);
        document::say_role(routes.get_openapi_mut(), role);
        routes
    };
    let api = guarded(reader_routes(), Reader)
        .merge(guarded(submitter_routes(), Submitter))
        .merge(guarded(admin_routes(), Admin));
    let mut routes = OpenApiRouter::with_openapi(document::frame())
        .nest(API, api)
        .merge(guarded(metrics_routes(), Reader))
        .merge(public_routes());
    document::say_problems(routes.get_openapi_mut());
    routes.split_for_parts()
}

/// The API's document (`OpenAPI` 3.1), as it is served and committed.
pub fn openapi_json() -> String {
    to_json(&documented(|routes, _| routes).1)
}

fn to_json(document: &OpenApi) -> String {
    // The document is made of strings and maps with string keys, which always can be written.
    document.to_pretty_json().unwrap_or_default()
}

/// The whole API, ready to be served.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = documented(|routes, role| {
        routes.route_layer(from_fn_with_state((state.clone(), role), auth::require))
    });
    let document = Bytes::from(to_json(&document));
    let fields = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    let serve_document = get(async move || (fields, document.clone()).into_response());
    routes
        .route(DOCUMENT, serve_document)
        .merge(docs::routes(DOCUMENT))
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        // Event streams are left alone: a compressor would hold events back.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(state.clone(), frame))
        .with_state(state)
}
