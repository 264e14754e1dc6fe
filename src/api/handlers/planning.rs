//! What the planner would do, and what everything cost.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::api::error::ApiError;
use crate::api::extract::{Params, rows};
use crate::api::limits::{DEFAULT_PAGE_ROWS, MAX_COST_ROWS};
use crate::api::state::ApiState;
use crate::api::view::{CostGroupWord, CostReport, CostRowView, PlanView};
use crate::model::{Money, Span, Timestamp};
use crate::planner::RecordedPass;

/// Show the plan
///
/// What the planner would do now, and what it is waiting for. Changes nothing.
#[utoipa::path(
    get, path = "/plan", tag = "planning",
    responses((status = 200, description = "The plan", body = PlanView))
)]
pub(in crate::api) async fn show_plan(
    State(state): State<ApiState>,
) -> Result<Json<PlanView>, ApiError> {
    Ok(Json(state.desk.plan().await?.into()))
}

/// Record a plan
///
/// A pass of the planner made now, with all that goes into it, for `dormouse replay`. Its shape is
/// that of the program's version and may change with it. Changes nothing.
#[utoipa::path(
    get, path = "/plan/recording", tag = "planning",
    responses((status = 200, description = "The pass", body = serde_json::Value))
)]
pub(in crate::api) async fn record_plan(
    State(state): State<ApiState>,
) -> Result<Json<RecordedPass>, ApiError> {
    Ok(Json(state.desk.record_plan().await?))
}

/// What to report of the costs.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct CostQuery {
    /// What to group by; `project` if not given.
    by: Option<CostGroupWord>,
    /// From this moment on, a date or a time (RFC 3339); 30 days before `to` if not given.
    #[param(example = "2026-11-01")]
    from: Option<String>,
    /// Up to before this moment, a date or a time (RFC 3339); now if not given.
    #[param(example = "2026-12-01T00:00:00Z")]
    to: Option<String>,
    /// Rows of the report, 1 to 1000; 50 if not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// How far a report looks back by itself: about a bill.
const DEFAULT_COST_SPAN: Span = Span::from_secs(30 * 24 * 60 * 60);

/// Report costs
///
/// What was spent on stretches of machine time that began in the time asked for.
#[utoipa::path(
    get, path = "/cost", tag = "planning", params(CostQuery),
    responses((status = 200, description = "The report", body = CostReport))
)]
pub(in crate::api) async fn report_cost(
    State(state): State<ApiState>,
    Params(query): Params<CostQuery>,
) -> Result<Json<CostReport>, ApiError> {
    let by = query.by.unwrap_or(CostGroupWord::Project);
    // `to` lies behind the present moment, so that what has just begun is in.
    let now = state.clock.now() + Span::from_micros(1);
    let to = query.to.as_deref().map_or(Ok(now), moment)?;
    let from = query
        .from
        .as_deref()
        .map_or(Ok(to - DEFAULT_COST_SPAN), moment)?;
    if from > to {
        return Err(ApiError::malformed("`from` lies behind `to`", None));
    }
    let limit = rows(query.limit, DEFAULT_PAGE_ROWS, MAX_COST_ROWS)?;
    let mut rows = state.store.costs(by.into(), from, to, limit + 1).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let truncated = rows.len() > shown;
    rows.truncate(shown);
    let total: Money = rows.iter().map(|row| row.total).sum();
    Ok(Json(CostReport {
        by,
        from,
        to,
        rows: rows.into_iter().map(CostRowView::from).collect(),
        total: total.into(),
        truncated,
        prices: state.desk.price_sources().await?,
    }))
}

/// Letters of a date such as `2026-11-21`.
const DATE_LEN: usize = 10;

/// A moment from a date, which is its first in UTC, or from a time with its offset.
fn moment(text: &str) -> Result<Timestamp, ApiError> {
    let time = if text.len() == DATE_LEN {
        text.parse::<jiff::civil::Date>()
            .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|midnight| midnight.timestamp())
    } else {
        text.parse::<jiff::Timestamp>()
    };
    time.map(|time| Timestamp::from_micros(time.as_microsecond()))
        .map_err(|_| {
            ApiError::malformed(
                format!("{text:?} is neither a date nor a time"),
                Some("write 2026-11-21, or 2026-11-21T08:00:00Z"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_or_times() {
        let day = moment("2026-11-21").unwrap();
        assert_eq!(day.to_string(), "2026-11-21T00:00:00.000000Z");
        assert_eq!(moment("2026-11-21T02:00:00+02:00").unwrap(), day);
        for text in ["", "yesterday", "2026-13-01", "2026-11-21T08:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
