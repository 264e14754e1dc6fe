//! How the service is, for load balancers and monitoring.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::error::ApiError;
use crate::api::gauges;
use crate::api::state::ApiState;
use crate::api::view::{Health, Readiness};

/// Is it alive
///
/// The process answers. Asks nothing of anything else.
#[utoipa::path(
    get, path = "/healthz", tag = "service",
    responses((status = 200, description = "It is", body = Health))
)]
pub(in crate::api) async fn healthz() -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// Longest time that readiness waits for the store: load balancers give up after a few seconds.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// Is it ready
///
/// Whether it can take work: the engine has loaded its state, the store answers, and nobody asked the
/// service to stop.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, description = "It is", body = Readiness),
        (status = 503, description = "It is not, and why", body = Readiness),
    )
)]
pub(in crate::api) async fn readyz(State(state): State<ApiState>) -> Response {
    let mut waiting_for = Vec::new();
    if state.shutdown.is_cancelled() {
        waiting_for.push("nothing: the service is stopping".to_owned());
    }
    if !state.desk.is_ready() {
        waiting_for.push("the engine to load its state".to_owned());
    }
    let answer = tokio::time::timeout(STORE_PATIENCE, state.store.last_event()).await;
    if !matches!(answer, Ok(Ok(_))) {
        waiting_for.push("an answer from the store".to_owned());
    }
    let ready = waiting_for.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, waiting_for })).into_response()
}

/// The media type of the text format of Prometheus.
const PROMETHEUS_TEXT: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Metrics
///
/// For Prometheus: what the process recorded, and how builds, machines and money stand now.
#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Text format of Prometheus", body = String, content_type = "text/plain"))
)]
pub(in crate::api) async fn metrics(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let mut text = state
        .recorded
        .as_ref()
        .map(metrics_exporter_prometheus::PrometheusHandle::render)
        .unwrap_or_default();
    gauges::derive(&state).await?.write_to(&mut text);
    Ok(([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response())
}
