//! A server without a socket, and what a client does with it.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::fake_desk::FakeDesk;
use super::fake_logs::FakeLogs;
use super::fake_store::FakeStore;
use super::things;
use crate::api::view::ProblemDetails;
use crate::api::{ApiParts, ApiState, AuthMode, router};
use crate::clock::Clock;
use crate::model::{Change, Span, Timestamp, TokenRole};

/// A clock that a test sets.
#[derive(Debug)]
pub(super) struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    pub(super) fn advance(&self, span: Span) {
        let mut now = self.0.lock().unwrap();
        *now = *now + span;
    }
}

#[async_trait]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, span: Span) {
        tokio::time::sleep(span.to_std()).await;
    }
}

/// A server with everything behind it.
pub(super) struct World {
    pub(super) store: Arc<FakeStore>,
    pub(super) desk: Arc<FakeDesk>,
    pub(super) logs: Arc<FakeLogs>,
    pub(super) clock: Arc<FakeClock>,
    pub(super) newest: watch::Sender<u64>,
    pub(super) shutdown: CancellationToken,
    pub(super) router: Router,
}

impl World {
    /// One that asks for tokens: `dm_reader`, `dm_submitter`, `dm_admin`.
    pub(super) fn new() -> Self {
        let world = Self::with(AuthMode::Tokens);
        let roles = [TokenRole::Reader, TokenRole::Submitter, TokenRole::Admin];
        world.store.put(
            (1..)
                .zip(roles)
                .map(|(bits, role)| Change::InsertToken(things::token(bits, name_of(role), role))),
        );
        world
    }

    /// One that asks for no tokens.
    pub(super) fn open() -> Self {
        Self::with(AuthMode::open("127.0.0.1:8080".parse().unwrap()).unwrap())
    }

    fn with(auth: AuthMode) -> Self {
        let store = Arc::new(FakeStore::default());
        let desk = Arc::new(FakeDesk::new(Arc::clone(&store)));
        let logs = Arc::new(FakeLogs::default());
        let clock = Arc::new(FakeClock(Mutex::new(things::NOW)));
        let shutdown = CancellationToken::new();
        let (newest, newest_event) = watch::channel(0);
        let router = router(ApiState::new(ApiParts {
            desk: desk.clone(),
            store: store.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            auth,
            newest_event,
            recorded: None,
            shutdown: shutdown.clone(),
        }));
        Self {
            store,
            desk,
            logs,
            clock,
            newest,
            shutdown,
            router,
        }
    }

    /// Something was committed.
    pub(super) fn nudge(&self) {
        self.newest.send_modify(|number| *number += 1);
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn call(&self, ask: Ask) -> Reply {
        let response = self
            .router
            .clone()
            .oneshot(ask.into_request())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Sends a request as a reader and reads the whole answer.
    pub(super) async fn get(&self, path: &str) -> Reply {
        self.call(Ask::get(path)).await
    }

    /// Sends a request and reads the answer as events.
    pub(super) async fn stream(&self, ask: Ask) -> Events {
        let response = self
            .router
            .clone()
            .oneshot(ask.into_request())
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        Events {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }
}

pub(super) fn name_of(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Reader => "reader",
        TokenRole::Submitter => "submitter",
        TokenRole::Admin => "admin",
    }
}

/// A request.
pub(super) struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Ask {
    /// By a reader. Paths without `/` at their beginning are below `/api/v1/`.
    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path).role(TokenRole::Reader)
    }

    /// By an admin.
    pub(super) fn post(path: &str) -> Self {
        Self::new(Method::POST, path).role(TokenRole::Admin)
    }

    /// By an admin.
    pub(super) fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path).role(TokenRole::Admin)
    }

    /// By nobody.
    pub(super) fn new(method: Method, path: &str) -> Self {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/api/v1/{path}")
        };
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Body::empty(),
        }
    }

    pub(super) fn role(self, role: TokenRole) -> Self {
        self.header("authorization", format!("Bearer dm_{}", name_of(role)))
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = Body::from(body.into());
        self.header("content-type", media_type)
    }

    pub(super) fn yaml(self, text: &str) -> Self {
        self.body("application/yaml", text.to_owned())
    }

    pub(super) fn json(self, value: &impl serde::Serialize) -> Self {
        self.body("application/json", serde_json::to_vec(value).unwrap())
    }

    fn into_request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request.body(self.body).unwrap()
    }
}

/// An answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body, of an answer with this status.
    pub(super) fn json<T: DeserializeOwned>(&self, status: u16) -> T {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The problem, of an answer with this status, in the form that every problem has.
    pub(super) fn problem(&self, status: u16) -> ProblemDetails {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: ProblemDetails = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, status);
        assert!(
            problem.kind.starts_with("urn:dormouse:problem:"),
            "{}",
            problem.kind
        );
        assert!(
            !problem.title.is_empty() && !problem.detail.is_empty(),
            "{problem:?}"
        );
        assert!(!problem.instance.is_empty(), "{problem:?}");
        problem
    }
}

/// One event as a browser would see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

impl Seen {
    pub(super) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// Events as they come.
pub(super) struct Events {
    body: BodyDataStream,
    text: String,
}

/// Far more than any event of these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Events {
    /// The next event; none when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(seen) = parse(&block) {
                    return Some(seen);
                }
                continue;
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next block, comments included.
    pub(super) async fn next_raw(&mut self) -> String {
        while !self.text.contains("\n\n") {
            assert!(self.read().await, "the stream has ended");
        }
        let end = self.text.find("\n\n").unwrap();
        self.text.drain(..end + 2).collect()
    }

    async fn read(&mut self) -> bool {
        let bytes = tokio::time::timeout(PATIENCE, self.body.next()).await;
        match bytes.expect("an event in time") {
            Some(bytes) => {
                self.text
                    .push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
                true
            }
            None => false,
        }
    }
}

/// An event from its lines; none for a comment.
fn parse(block: &str) -> Option<Seen> {
    let mut seen = Seen::default();
    for line in block.lines() {
        match line.split_once(": ").or_else(|| line.split_once(':')) {
            Some(("event", name)) => seen.name = name.to_owned(),
            Some(("id", id)) => seen.id = Some(id.to_owned()),
            Some(("data", data)) => seen.data.push_str(data),
            Some(("", _)) | None => {}
            Some((field, _)) => panic!("what is {field}?"),
        }
    }
    (!seen.name.is_empty()).then_some(seen)
}
