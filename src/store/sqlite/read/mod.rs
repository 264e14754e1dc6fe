//! The questions, each one statement on a reading connection.

mod builds;
mod costs;
mod open_work;

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{FromRow, Sqlite};
use tracing::Instrument;

pub(super) use builds::builds;
pub(super) use costs::{budget_notes, build_cost, costs, spent};
pub(super) use open_work::open_work;

use super::rows::{
    self, BodyRow, BuildRow, EventRow, ExtentRow, PastAttemptRow, PipelineRow, TokenRow,
};
use super::statements;
use crate::model::{
    Attempt, AttemptId, Build, BuildId, Event, Extent, Image, Machine, MachineId, MachineKeys,
    Pipeline, PipelineId, Policy, Subject, Token,
};
use crate::store::rounds::subject_columns;
use crate::store::{Page, PastAttempt, StoreError, Tally};

/// A statement with its parameters.
type Query<'q> = sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;

/// Sorts behind every id: where the first page of a list begins.
const BEHIND_ALL_IDS: &str = "~";

/// All rows of an answer.
async fn all<Row>(
    readers: &SqlitePool,
    operation: &'static str,
    query: Query<'_>,
) -> Result<Vec<Row>, StoreError>
where
    Row: for<'r> FromRow<'r, SqliteRow>,
{
    query
        .fetch_all(readers)
        .instrument(tracing::debug_span!("store.read", operation))
        .await
        .and_then(|rows| rows.iter().map(Row::from_row).collect())
        .map_err(|error| database(operation, &error))
}

/// The row of an answer that has one at most.
async fn one<Row>(
    readers: &SqlitePool,
    operation: &'static str,
    query: Query<'_>,
) -> Result<Option<Row>, StoreError>
where
    Row: for<'r> FromRow<'r, SqliteRow>,
{
    query
        .fetch_optional(readers)
        .instrument(tracing::debug_span!("store.read", operation))
        .await
        .and_then(|row| row.as_ref().map(Row::from_row).transpose())
        .map_err(|error| database(operation, &error))
}

fn database(operation: &'static str, error: &sqlx::Error) -> StoreError {
    StoreError::Database {
        operation,
        detail: error.to_string(),
    }
}

/// The parameter of a page's first row.
fn before<Id: ToString>(page: &Page<Id>) -> String {
    page.before
        .as_ref()
        .map_or_else(|| BEHIND_ALL_IDS.to_owned(), ToString::to_string)
}

/// An offset or number as a column holds it; none there is higher.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) async fn pipeline(
    readers: &SqlitePool,
    id: PipelineId,
) -> Result<Option<Pipeline>, StoreError> {
    let query = sqlx::query(statements::PIPELINE).bind(id.to_string());
    let row: Option<BodyRow> = one(readers, "reading a pipeline", query).await?;
    row.map(|row| rows::body("pipeline", &row)).transpose()
}

pub(super) async fn pipeline_by_key(
    readers: &SqlitePool,
    key: &str,
) -> Result<Option<Pipeline>, StoreError> {
    let query = sqlx::query(statements::PIPELINE_BY_KEY).bind(key);
    let row: Option<BodyRow> = one(readers, "reading a pipeline by its key", query).await?;
    row.map(|row| rows::body("pipeline", &row)).transpose()
}

pub(super) async fn pipelines(
    readers: &SqlitePool,
    project: Option<&str>,
    page: Page<PipelineId>,
) -> Result<Vec<(Pipeline, Tally)>, StoreError> {
    let query = match project {
        None => sqlx::query(statements::PIPELINES)
            .bind(before(&page))
            .bind(page.limit),
        Some(project) => sqlx::query(statements::PIPELINES_OF_PROJECT)
            .bind(before(&page))
            .bind(page.limit)
            .bind(project),
    };
    let found: Vec<PipelineRow> = all(readers, "listing pipelines", query).await?;
    found.into_iter().map(rows::pipeline).collect()
}

pub(super) async fn tally(readers: &SqlitePool, id: PipelineId) -> Result<Tally, StoreError> {
    let id = id.to_string();
    let query = sqlx::query(statements::TALLY).bind(&id);
    let found: Vec<(String, i64)> = all(readers, "counting a pipeline's builds", query).await?;
    rows::tally(&id, found)
}

pub(super) async fn build(readers: &SqlitePool, id: BuildId) -> Result<Option<Build>, StoreError> {
    let query = sqlx::query(statements::BUILD).bind(id.to_string());
    let row: Option<BuildRow> = one(readers, "reading a build", query).await?;
    row.map(rows::build).transpose()
}

pub(super) async fn attempt(
    readers: &SqlitePool,
    id: AttemptId,
) -> Result<Option<Attempt>, StoreError> {
    let query = sqlx::query(statements::ATTEMPT).bind(id.to_string());
    let row: Option<BodyRow> = one(readers, "reading an attempt", query).await?;
    row.map(|row| rows::body("attempt", &row)).transpose()
}

pub(super) async fn attempts(
    readers: &SqlitePool,
    build: BuildId,
) -> Result<Vec<Attempt>, StoreError> {
    let query = sqlx::query(statements::ATTEMPTS).bind(build.to_string());
    let found: Vec<BodyRow> = all(readers, "reading a build's attempts", query).await?;
    bodies("attempt", &found)
}

pub(super) async fn past_attempts(
    readers: &SqlitePool,
    page: Page<AttemptId>,
) -> Result<Vec<PastAttempt>, StoreError> {
    let query = sqlx::query(statements::PAST_ATTEMPTS)
        .bind(before(&page))
        .bind(page.limit);
    let found: Vec<PastAttemptRow> = all(readers, "reading past attempts", query).await?;
    found.into_iter().map(rows::past_attempt).collect()
}

pub(super) async fn machine(
    readers: &SqlitePool,
    id: MachineId,
) -> Result<Option<Machine>, StoreError> {
    let query = sqlx::query(statements::MACHINE).bind(id.to_string());
    let row: Option<BodyRow> = one(readers, "reading a machine", query).await?;
    row.map(|row| rows::body("machine", &row)).transpose()
}

pub(super) async fn machines(
    readers: &SqlitePool,
    with_gone: bool,
    page: Page<MachineId>,
) -> Result<Vec<Machine>, StoreError> {
    let statement = if with_gone {
        statements::MACHINES
    } else {
        statements::MACHINES_PRESENT
    };
    let query = sqlx::query(statement).bind(before(&page)).bind(page.limit);
    let found: Vec<BodyRow> = all(readers, "listing machines", query).await?;
    bodies("machine", &found)
}

pub(super) async fn machine_keys(
    readers: &SqlitePool,
    id: MachineId,
) -> Result<Option<MachineKeys>, StoreError> {
    let query = sqlx::query(statements::MACHINE_KEYS).bind(id.to_string());
    let row: Option<BodyRow> = one(readers, "reading a machine's keys", query).await?;
    row.map(|row| rows::secret_body("keys of machine", &row))
        .transpose()
}

pub(super) async fn images(
    readers: &SqlitePool,
    name: Option<&str>,
) -> Result<Vec<Image>, StoreError> {
    let query = match name {
        Some(name) => sqlx::query(statements::IMAGES_OF_NAME).bind(name),
        None => sqlx::query(statements::IMAGES_ACTIVE),
    };
    let found: Vec<BodyRow> = all(readers, "reading images", query).await?;
    bodies("image", &found)
}

pub(super) async fn policies(
    readers: &SqlitePool,
    name: Option<&str>,
) -> Result<Vec<Policy>, StoreError> {
    let query = match name {
        Some(name) => sqlx::query(statements::POLICIES_OF_NAME).bind(name),
        None => sqlx::query(statements::POLICIES_CURRENT),
    };
    let found: Vec<BodyRow> = all(readers, "reading policies", query).await?;
    bodies("policy", &found)
}

pub(super) async fn extents(
    readers: &SqlitePool,
    attempt: AttemptId,
    from: u64,
    to: u64,
) -> Result<Vec<Extent>, StoreError> {
    let query = sqlx::query(statements::EXTENTS)
        .bind(attempt.to_string())
        .bind(integer(from))
        .bind(integer(to));
    let found: Vec<ExtentRow> = all(readers, "reading log extents", query).await?;
    found
        .into_iter()
        .map(|row| rows::extent(attempt, row))
        .collect()
}

pub(super) async fn events(
    readers: &SqlitePool,
    subject: Option<&Subject>,
    after: u64,
    limit: u32,
) -> Result<Vec<(u64, Event)>, StoreError> {
    let query = match subject.map(subject_columns) {
        None => sqlx::query(statements::EVENTS)
            .bind(integer(after))
            .bind(limit),
        Some((kind, id)) => sqlx::query(statements::EVENTS_OF_SUBJECT)
            .bind(integer(after))
            .bind(limit)
            .bind(kind)
            .bind(id),
    };
    let found: Vec<EventRow> = all(readers, "reading events", query).await?;
    found.into_iter().map(rows::event).collect()
}

pub(super) async fn last_event(readers: &SqlitePool) -> Result<u64, StoreError> {
    let query = sqlx::query(statements::LAST_EVENT);
    let row: Option<(i64,)> = one(readers, "reading the newest event's number", query).await?;
    Ok(row.and_then(|(n,)| u64::try_from(n).ok()).unwrap_or(0))
}

pub(super) async fn token_by_hash(
    readers: &SqlitePool,
    hash: &str,
) -> Result<Option<Token>, StoreError> {
    let query = sqlx::query(statements::TOKEN_BY_HASH).bind(hash);
    let row: Option<TokenRow> = one(readers, "reading a token", query).await?;
    row.map(rows::token).transpose()
}

pub(super) async fn tokens(readers: &SqlitePool) -> Result<Vec<Token>, StoreError> {
    let query = sqlx::query(statements::TOKENS);
    let found: Vec<TokenRow> = all(readers, "listing tokens", query).await?;
    found.into_iter().map(rows::token).collect()
}

/// Rows that are the JSON of their value.
fn bodies<T: serde::de::DeserializeOwned>(
    kind: &str,
    found: &[BodyRow],
) -> Result<Vec<T>, StoreError> {
    found.iter().map(|row| rows::body(kind, row)).collect()
}
