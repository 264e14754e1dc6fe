//! Cost reports: whole hours from the running sums, the rest from the ledger.

use std::ops::Range;

use sqlx::sqlite::SqlitePool;

use super::{all, bodies, one};
use crate::model::{BudgetNote, BuildId, Timestamp};
use crate::store::rounds::HOUR;
use crate::store::sqlite::rows::{self, BodyRow, CostColumns, SpentColumns};
use crate::store::sqlite::statements;
use crate::store::{CostGroup, CostRow, SpentRow, StoreError};

pub(in crate::store::sqlite) async fn costs(
    readers: &SqlitePool,
    group: CostGroup,
    from: Timestamp,
    to: Timestamp,
    limit: u32,
) -> Result<Vec<CostRow>, StoreError> {
    let query = match group {
        CostGroup::Build => from_ledger(statements::COSTS_BY_BUILD, from, to),
        CostGroup::Pipeline => from_ledger(statements::COSTS_BY_PIPELINE, from, to),
        CostGroup::Project => from_sums(statements::COSTS_BY_PROJECT, from, to),
        CostGroup::Image => from_sums(statements::COSTS_BY_IMAGE, from, to),
        CostGroup::Day => from_sums(statements::COSTS_BY_DAY, from, to),
    };
    let found: Vec<CostColumns> = all(readers, "summing costs", query.bind(limit)).await?;
    found.into_iter().map(rows::cost).collect()
}

/// Groups too fine for running sums: each build has its own entries.
fn from_ledger(statement: &'static str, from: Timestamp, to: Timestamp) -> super::Query<'static> {
    sqlx::query(statement).bind(from.micros()).bind(to.micros())
}

fn from_sums(statement: &'static str, from: Timestamp, to: Timestamp) -> super::Query<'static> {
    let parts = parts(from.micros(), to.micros());
    [parts.hours, parts.head, parts.tail]
        .into_iter()
        .fold(sqlx::query(statement), |query, range| {
            query.bind(range.start).bind(range.end)
        })
}

/// A stretch of time as whole hours and what is left at its ends, in microseconds.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    hours: Range<i64>,
    head: Range<i64>,
    tail: Range<i64>,
}

fn parts(from: i64, to: i64) -> Parts {
    let first = from.div_euclid(HOUR) + i64::from(from.rem_euclid(HOUR) > 0);
    let end = to.div_euclid(HOUR);
    if first >= end {
        return Parts {
            hours: 0..0,
            head: from..to,
            tail: 0..0,
        };
    }
    Parts {
        hours: first..end,
        head: from..first.saturating_mul(HOUR),
        tail: end.saturating_mul(HOUR)..to,
    }
}

/// What was spent from a moment on.
pub(in crate::store::sqlite) async fn spent(
    readers: &SqlitePool,
    since: Timestamp,
) -> Result<Vec<SpentRow>, StoreError> {
    let query = sqlx::query(statements::SPENT).bind(since.micros());
    let found: Vec<SpentColumns> = all(readers, "summing what was spent", query).await?;
    found.into_iter().map(rows::spent).collect()
}

/// Approvals and warnings from a moment on.
pub(in crate::store::sqlite) async fn budget_notes(
    readers: &SqlitePool,
    since: Timestamp,
) -> Result<Vec<BudgetNote>, StoreError> {
    let query = sqlx::query(statements::BUDGET_NOTES).bind(since.micros());
    let found: Vec<BodyRow> = all(readers, "reading notes on budgets", query).await?;
    bodies("budget note", &found)
}

pub(in crate::store::sqlite) async fn build_cost(
    readers: &SqlitePool,
    id: BuildId,
) -> Result<CostRow, StoreError> {
    let query = sqlx::query(statements::COST_OF_BUILD).bind(id.to_string());
    let row: Option<CostColumns> = one(readers, "summing a build's cost", query).await?;
    row.map_or_else(
        || {
            Err(StoreError::Database {
                operation: "summing a build's cost",
                detail: "a sum without a row".to_owned(),
            })
        },
        rows::cost,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_within_an_hour_is_read_from_the_ledger() {
        let within = parts(HOUR + 1, 2 * HOUR - 1);
        assert_eq!((within.hours, within.head), (0..0, HOUR + 1..2 * HOUR - 1));
    }

    #[test]
    fn whole_hours_have_no_ends() {
        let whole = parts(HOUR, 3 * HOUR);
        assert_eq!(whole.hours, 1..3);
        assert!(whole.head.is_empty() && whole.tail.is_empty());
    }

    #[test]
    fn broken_hours_are_the_ends() {
        let broken = parts(HOUR / 2, 3 * HOUR + 5);
        assert_eq!(broken.hours, 1..3);
        assert_eq!(broken.head, HOUR / 2..HOUR);
        assert_eq!(broken.tail, 3 * HOUR..3 * HOUR + 5);
    }

    #[test]
    fn all_of_time_does_not_overflow() {
        let all = parts(i64::MIN, i64::MAX);
        assert!(all.hours.start < all.hours.end);
        assert!(all.head.start <= all.head.end && all.tail.start <= all.tail.end);
    }
}
