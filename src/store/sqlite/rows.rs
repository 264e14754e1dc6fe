//! Rows to values. What cannot be understood is [`StoreError::Corrupt`], with the row's id.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;

use crate::model::{
    AttemptId, Build, BuildId, BuildResult, Category, Event, EventKind, Extent, Money, Pipeline,
    PipelineId, Span, Subject, Timestamp, Token,
};
use crate::store::{CostRow, PastAttempt, SpentRow, StoreError, Tally};

/// Id, spec, state, attempts, cancel, rev, spared.
pub(super) type BuildRow = (String, String, String, i64, Option<String>, i64, i64);
/// Id and the value as JSON.
pub(super) type BodyRow = (String, String);
/// Id and value of an attempt, project and name of its build, its machine's image.
pub(super) type PastAttemptRow = (String, String, String, String, String);
/// Id, value, tally as JSON.
pub(super) type PipelineRow = (String, String, String);
/// Start, length, pack, frame start, frame length, marks.
pub(super) type ExtentRow = (i64, i64, String, i64, i64, String);
/// Number, time, kind, subject kind, subject, message.
pub(super) type EventRow = (i64, i64, String, String, String, String);
/// Id, time of revocation, value.
pub(super) type TokenRow = (String, Option<i64>, String);
/// Key, sum, sums by category, times by category.
pub(super) type CostColumns = (
    String,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// Project, image, pipeline, build, labels as JSON, priority, amount.
pub(super) type SpentColumns = (
    Option<String>,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    i64,
);

/// What was spent on one thing.
pub(super) fn spent(columns: SpentColumns) -> Result<SpentRow, StoreError> {
    let (project, image, pipeline, build, labels, priority, amount) = columns;
    let name = build.clone().unwrap_or_else(|| image.clone());
    let labels = labels.map(|labels| json("spec of build", &name, &labels));
    let priority = priority.map(|priority| number("spec of build", &name, priority));
    let pipeline = pipeline.map(|id| {
        let parsed = id.parse::<PipelineId>();
        parsed.map_err(|error| corrupt("entry of", &name, error))
    });
    Ok(SpentRow {
        project,
        image,
        pipeline: pipeline.transpose()?,
        build: build.map(|id| build_id(&id)).transpose()?,
        labels: labels.transpose()?.unwrap_or_default(),
        priority: priority.transpose()?,
        amount: Money::from_micros(amount),
    })
}

fn corrupt(kind: &str, id: &str, detail: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        row: format!("{kind} {id}"),
        detail: detail.to_string(),
    }
}

fn json<T: DeserializeOwned>(kind: &str, id: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(kind, id, error))
}

fn number<T: TryFrom<i64>>(kind: &str, id: &str, value: i64) -> Result<T, StoreError>
where
    T::Error: std::fmt::Display,
{
    T::try_from(value).map_err(|error| corrupt(kind, id, format!("{value}: {error}")))
}

/// One of our words, as serde knows them.
fn word<T: DeserializeOwned>(kind: &str, id: &str, text: &str) -> Result<T, StoreError> {
    let word: serde::de::value::StrDeserializer<'_, WordError> = text.into_deserializer();
    T::deserialize(word).map_err(|error| corrupt(kind, id, error))
}

/// A value that is a row's JSON as a whole.
pub(super) fn body<T: DeserializeOwned>(kind: &str, row: &BodyRow) -> Result<T, StoreError> {
    json(kind, &row.0, &row.1)
}

/// As [`body`], for values with secrets: the error does not quote.
pub(super) fn secret_body<T: DeserializeOwned>(
    kind: &str,
    (id, text): &BodyRow,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt(kind, id, "not the JSON it should be"))
}

pub(super) fn build(
    (id, spec, state, attempts, cancel, rev, spared): BuildRow,
) -> Result<Build, StoreError> {
    const KIND: &str = "build";
    Ok(Build {
        spec: Arc::new(json(KIND, &id, &spec)?),
        state: json(KIND, &id, &state)?,
        attempts: number(KIND, &id, attempts)?,
        cancel: cancel.map(|text| json(KIND, &id, &text)).transpose()?,
        rev: number(KIND, &id, rev)?,
        spared: number(KIND, &id, spared)?,
        id: build_id(&id)?,
    })
}

pub(super) fn past_attempt(
    (id, body, project, build, image): PastAttemptRow,
) -> Result<PastAttempt, StoreError> {
    Ok(PastAttempt {
        attempt: json("attempt", &id, &body)?,
        project,
        build,
        image,
    })
}

pub(super) fn pipeline((id, body, tally): PipelineRow) -> Result<(Pipeline, Tally), StoreError> {
    const KIND: &str = "pipeline";
    Ok((json(KIND, &id, &body)?, json(KIND, &id, &tally)?))
}

pub(super) fn tally(pipeline: &str, rows: Vec<(String, i64)>) -> Result<Tally, StoreError> {
    rows.into_iter()
        .map(|(word, count)| Ok((word, number("pipeline", pipeline, count)?)))
        .collect()
}

pub(super) fn build_id(id: &str) -> Result<BuildId, StoreError> {
    id.parse().map_err(|error| corrupt("build", id, error))
}

pub(super) fn result((build, result): &BodyRow) -> Result<BuildResult, StoreError> {
    word("build", build, result)
}

pub(super) fn extent(attempt: AttemptId, row: ExtentRow) -> Result<Extent, StoreError> {
    const KIND: &str = "extent";
    let (start, len, pack, frame_start, frame_len, marks) = row;
    let id = format!("of {attempt} at {start}");
    Ok(Extent {
        attempt,
        start: number(KIND, &id, start)?,
        len: number(KIND, &id, len)?,
        pack: pack.parse().map_err(|error| corrupt(KIND, &id, error))?,
        frame_start: number(KIND, &id, frame_start)?,
        frame_len: number(KIND, &id, frame_len)?,
        marks: json(KIND, &id, &marks)?,
    })
}

pub(super) fn event(row: EventRow) -> Result<(u64, Event), StoreError> {
    const KIND: &str = "event";
    let (number_column, at, kind, subject_kind, subject_id, message) = row;
    let id = number_column.to_string();
    let event = Event {
        at: Timestamp::from_micros(at),
        subject: subject(&id, &subject_kind, subject_id)?,
        kind: word::<EventKind>(KIND, &id, &kind)?,
        message,
    };
    Ok((number(KIND, &id, number_column)?, event))
}

fn subject(event: &str, kind: &str, id: String) -> Result<Subject, StoreError> {
    let wrong = |error: crate::model::IdParseError| corrupt("event", event, error);
    match kind {
        "pipeline" => id.parse().map(Subject::Pipeline).map_err(wrong),
        "build" => id.parse().map(Subject::Build).map_err(wrong),
        "machine" => id.parse().map(Subject::Machine).map_err(wrong),
        "image" => Ok(Subject::Image(id)),
        "policy" => Ok(Subject::Policy(id)),
        other => Err(corrupt("event", event, format!("about a {other:?}"))),
    }
}

pub(super) fn token((id, revoked_at, body): TokenRow) -> Result<Token, StoreError> {
    let token: Token = json("token", &id, &body)?;
    Ok(Token {
        revoked_at: revoked_at.map(Timestamp::from_micros),
        ..token
    })
}

/// The sums of one group.
pub(super) fn cost(columns: CostColumns) -> Result<CostRow, StoreError> {
    let (key, total, boot, work, retry, idle, drain, t_boot, t_work, t_retry, t_idle, t_drain) =
        columns;
    let money = [boot, work, retry, idle, drain];
    let times = [t_boot, t_work, t_retry, t_idle, t_drain];
    let mut time = BTreeMap::new();
    for (category, micros) in CATEGORIES.into_iter().zip(times) {
        if let Some(micros) = micros {
            time.insert(
                category,
                Span::from_micros(number("cost of", &key, micros)?),
            );
        }
    }
    Ok(CostRow {
        key,
        by_category: CATEGORIES
            .into_iter()
            .zip(money)
            .filter_map(|(category, sum)| Some((category, Money::from_micros(sum?))))
            .collect(),
        time,
        total: Money::from_micros(total.unwrap_or(0)),
    })
}

/// The order of the sums in every cost statement.
const CATEGORIES: [Category; 5] = [
    Category::Boot,
    Category::Work,
    Category::Retry,
    Category::Idle,
    Category::Drain,
];
