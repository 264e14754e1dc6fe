//! Floor 4: the public HTTP API. Translates between the wire and the engine's desk, the store and
//! the logs; decides nothing.
//!
//! # Routes
//! All of `/api/v1` answers JSON (`application/problem+json` for errors), except logs. `R`, `S` and
//! `A` name the least role: reader, submitter, admin.
//!
//! | route | role | answer |
//! |---|---|---|
//! | `POST /pipelines` (YAML or JSON, `Idempotency-Key`) | S | 201, or 200 when repeated: [`view::AcceptedView`] |
//! | `GET /pipelines?project=&cursor=&limit=` | R | [`view::Page`] of [`view::PipelineSummary`] |
//! | `GET /pipelines/{id}` | R | [`view::PipelineDetail`] |
//! | `POST /pipelines/{id}/cancel` | S | [`view::CancelCount`] |
//! | `POST /pipelines/{id}/retry` | S | 201 [`view::AcceptedView`] |
//! | `GET /builds?pipeline=&project=&state=&result=&cursor=&limit=` | R | page of [`view::BuildSummary`] |
//! | `GET /builds/{id}` | R | [`view::BuildDetail`] |
//! | `POST /builds/{id}/cancel` | S | [`view::BuildSummary`] |
//! | `POST /builds/{id}/retry` | S | 201 [`view::AcceptedView`] |
//! | `GET /builds/{id}/explain` | R | [`view::ExplanationView`] |
//! | `GET /builds/{id}/verdicts` | R | page of [`view::VerdictView`] |
//! | `GET /builds/{id}/log?attempt=&step=&offset=&limit=` (`Range`) | R | `text/plain`, 200 or 206 |
//! | `GET /builds/{id}/log/stream?attempt=&offset=` (`Last-Event-ID`) | R | SSE: `log` [`view::LogChunk`], `end` [`view::LogEnd`] |
//! | `GET /machines?all=&cursor=&limit=` | R | page of [`view::MachineView`] |
//! | `GET /machines/{id}` | R | [`view::MachineView`] |
//! | `POST /machines/{id}/end` | A | [`view::MachineView`] |
//! | `GET /images` | R | page of [`view::ImageView`]: current versions |
//! | `GET /images/{name}` | R | page of [`view::ImageView`]: all versions, newest first |
//! | `DELETE /images/{name}` | A | [`view::ImageView`] |
//! | `POST /images/{name}/verify` | A | 201 [`view::AcceptedView`] |
//! | `GET /policies` | R | page of [`view::PolicyView`] |
//! | `GET /policies/effective?project=&image=&labels=&priority=` | R | [`view::EffectiveView`] |
//! | `POST /apply` [`view::ApplyRequest`] | A | [`view::ApplyResponse`] |
//! | `GET /plan` | R | [`view::PlanView`] |
//! | `GET /events?after=&limit=&subject=` | R | [`view::EventPage`] |
//! | `GET /events/stream?after=&subject=` (`Last-Event-ID`) | R | SSE: `event` [`view::EventView`] |
//! | `GET /cost?by=&from=&to=&limit=` | R | [`view::CostReport`] |
//! | `GET /tokens` | A | page of [`view::TokenView`] |
//! | `POST /tokens` [`view::CreateToken`] | A | 201 [`view::CreatedToken`] |
//! | `DELETE /tokens/{id}` | A | 204 |
//! | `GET /whoami` | R | [`view::WhoAmI`] |
//! | `GET /openapi.json` | none | this table for programs |
//!
//! Outside of `/api/v1`: `GET /metrics` (R, Prometheus text), and for anybody `GET /healthz`
//! ([`view::Health`]), `GET /readyz` ([`view::Readiness`], 503 when not ready), `GET /api/docs/` (a
//! page to browse this in), and `GET /`, which leads there.
//!
//! # How a request passes
//! `serve` (limits on connections and heads, orderly end) -> `frame` (other sites kept out, time
//! bounded, panics caught, errors written, counted) -> compression -> `auth` (token, role) -> a
//! handler. Streams read the store and the logs as the truth; nudges only tell when to look.

mod auth;
mod docs;
mod document;
mod error;
mod extract;
mod frame;
mod gauges;
mod handlers;
pub mod limits;
mod origin;
mod routes;
mod serve;
mod source;
mod state;
mod stream;
#[cfg(test)]
mod tests;
pub mod view;

pub use auth::{AuthMode, LoopbackOnly, NotLoopback};
pub use gauges::describe_metrics;
pub use routes::{openapi_json, router};
pub use serve::{Ended, serve};
pub use source::{LogBytes, LogSource, LogSourceError};
pub use state::{ApiParts, ApiState};
