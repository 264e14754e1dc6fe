//! The public HTTP API, from the outside: the only way in which commands speak to a server.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::view::{Page, ProblemDetails};
use crate::cli::report::{Report, usage};
use crate::model::Secret;

mod error;
mod follow;
mod patience;
mod sse;

pub(crate) use error::CallError;
pub(crate) use follow::Follow;
pub(crate) use patience::Patience;

/// A connection that is not up by then will not come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence of a server that works: it answers within 30 s, and speaks every 15 s on streams.
const READ_TIMEOUT: Duration = Duration::from_secs(45);

/// Rows asked for at once; the server gives no more.
const PAGE_ROWS: u32 = 200;

/// Largest part of an unexpected answer that is shown.
const SHOWN_CHARS: usize = 200;

/// Query parameters.
pub(crate) type Query = Vec<(&'static str, String)>;

/// A server, and who we are there.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
}

impl Client {
    /// For the server at an address such as `http://127.0.0.1:8470`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is no HTTP address.
    pub(crate) fn new(server: &str, token: Option<Secret>) -> Result<Self, Report> {
        let base = parse_server(server)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dormouse/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" {
            // Reading the host's root certificates would take longer than most calls.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| {
            usage(format!(
                "cannot set up the HTTP client: {}",
                crate::cli::report::chain(&error)
            ))
        })?;
        Ok(Self { http, base, token })
    }

    /// Whether a server's address is one of this host, where its user's files can be read.
    pub(crate) fn is_on_this_host(server: &str) -> bool {
        parse_server(server).is_ok_and(|base| is_loopback(&base))
    }

    /// Gets a value.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query,
    ) -> Result<T, CallError> {
        let request = self.request(Method::GET, path).query(query);
        self.value(request).await
    }

    /// Gets a list page by page, up to `limit` rows; also whether there are more.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query,
        limit: u32,
    ) -> Result<(Vec<T>, bool), CallError> {
        let mut items: Vec<T> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let missing = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
            let mut query = query.clone();
            query.push(("limit", missing.min(PAGE_ROWS).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.get(path, &query).await?;
            let is_stuck = page.items.is_empty();
            items.extend(page.items);
            let is_full = u32::try_from(items.len()).is_ok_and(|rows| rows >= limit);
            match page.next {
                Some(_) if is_full || is_stuck => return Ok((items, true)),
                Some(next) => cursor = Some(next),
                None => return Ok((items, false)),
            }
        }
    }

    /// Posts without a body.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, CallError> {
        self.value(self.request(Method::POST, path)).await
    }

    /// Posts a value as JSON.
    pub(crate) async fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<T, CallError> {
        self.value(self.request(Method::POST, path).json(body))
            .await
    }

    /// Deletes, and reads the answer.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, CallError> {
        self.value(self.request(Method::DELETE, path)).await
    }

    /// Deletes, where the answer is empty.
    pub(crate) async fn delete_silently(&self, path: &[&str]) -> Result<(), CallError> {
        self.send(self.request(Method::DELETE, path))
            .await
            .map(drop)
    }

    /// A request to a path below `/api/v1`; each part of the path is escaped.
    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Sends a request and reads the answer as JSON.
    pub(crate) async fn value<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, CallError> {
        let bytes = self.send(request).await?.bytes().await;
        let bytes = bytes.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.garbled(&error.to_string()))
    }

    /// Sends a request and gives the answer's body as it comes.
    pub(crate) async fn stream(
        &self,
        request: RequestBuilder,
    ) -> Result<BoxStream<'static, Result<Bytes, CallError>>, CallError> {
        let response = self.send(request).await?;
        let client = self.clone();
        let body = response.bytes_stream();
        Ok(body
            .map(move |piece| piece.map_err(|error| client.unreachable(&error)))
            .boxed())
    }

    /// Sends a request; an answer that is no success is an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        tracing::debug!(http.url = %response.url(), http.status = status.as_u16(), "answered");
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let problem = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| foreign_problem(status, &self.base, &bytes));
        Err(CallError::Refused {
            status,
            problem: Box::new(problem),
        })
    }

    /// The error of a connection that ended too early.
    pub(crate) fn cut(&self, detail: &str) -> CallError {
        CallError::Unreachable {
            server: self.base.to_string(),
            detail: detail.to_owned(),
        }
    }

    /// The error of an answer that makes no sense.
    pub(crate) fn garbled(&self, detail: &str) -> CallError {
        CallError::Garbled {
            server: self.base.to_string(),
            detail: detail.to_owned(),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        self.cut(&innermost(error))
    }
}

/// The outer layers of reqwest and hyper only say that sending failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn parse_server(server: &str) -> Result<Url, Report> {
    let wrong = |why: &str| {
        usage(format!("{server:?} is not the address of a server: {why}"))
            .hint("expected an address as in http://127.0.0.1:8470 or https://ci.example.org")
    };
    let mut base: Url = server.parse().map_err(|error| wrong(&format!("{error}")))?;
    if !["http", "https"].contains(&base.scheme()) || !base.has_host() {
        return Err(wrong("it begins with neither http:// nor https://"));
    }
    base.set_query(None);
    base.set_fragment(None);
    Ok(base)
}

/// Whether the server runs on this host.
fn is_loopback(base: &Url) -> bool {
    match base.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// An error that was not written by a dormouse server: a proxy, or something else at this address.
fn foreign_problem(status: StatusCode, base: &Url, body: &[u8]) -> ProblemDetails {
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(SHOWN_CHARS)
        .collect();
    ProblemDetails {
        kind: String::new(),
        title: status.to_string(),
        status: status.as_u16(),
        detail: format!("{base} answered {status}: {}", text.trim()),
        instance: String::new(),
        hint: None,
        problems: Vec::new(),
        needed_role: None,
    }
}
