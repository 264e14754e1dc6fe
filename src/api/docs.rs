//! The browsable page: Swagger UI from the binary itself, so that it needs no network.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::Config;

use super::error::ApiError;
use super::state::ApiState;

/// Where the page is.
pub(super) const DOCS: &str = "/api/docs/";

/// What the page may load: itself. Swagger UI sets styles inline and draws with `data:` images.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'",
);

/// The page changes with the server's version only.
const CACHING: HeaderValue = HeaderValue::from_static("private, max-age=3600");

/// The page and its parts, and the way there from `/`.
pub(super) fn routes(document_url: &'static str) -> Router<ApiState> {
    // The page would otherwise ask a server of Swagger's to check the document.
    let config = Arc::new(Config::from(document_url).validator_url("none"));
    let index = Arc::clone(&config);
    Router::new()
        .route("/", get(async || Redirect::temporary(DOCS)))
        .route("/api/docs", get(async || Redirect::permanent(DOCS)))
        .route(DOCS, get(async move || part("", index)))
        .route(
            "/api/docs/{part}",
            get(async move |Path(name): Path<String>| part(&name, config)),
        )
}

fn part(name: &str, config: Arc<Config<'static>>) -> Result<Response, ApiError> {
    let file = utoipa_swagger_ui::serve(name, config)
        .map_err(|error| {
            ApiError::internal(
                "making the documentation page",
                std::io::Error::other(error.to_string()),
            )
        })?
        .ok_or(ApiError::NoRoute)?;
    let fields = [
        (
            header::CONTENT_TYPE,
            HeaderValue::try_from(file.content_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream")),
        ),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, CACHING),
    ];
    Ok((fields, file.bytes.into_owned()).into_response())
}
