//! Every statement is valid, and every list is answered from an index.

use sqlx::{AssertSqlSafe, Executor, Row, SqlStr};

use super::super::statements::ALL;
use super::{SqliteFixture, stranger};
use crate::store::contract::Fixture;

#[tokio::test]
async fn every_statement_prepares() {
    let fixture = SqliteFixture::new().await;
    let mut connection = stranger(&fixture.path()).await;
    for (name, sql) in ALL {
        let prepared = connection.prepare(SqlStr::from_static(sql)).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}

/// Statements that look at more than they return, and why that is fine.
const SCANS: [(&str, &str); 4] = [
    ("OPEN_LAUNCHES", "returns the whole table"),
    ("TOKENS", "returns the whole table"),
    ("POLICIES_CURRENT", "policies are few"),
    ("OPEN_IMAGES", "images are few"),
];

/// What may be scanned: lists of a caller, subqueries, and indexes of just the rows in question.
const FREE: [&str; 8] = [
    "jsonb_each",
    "json_each",
    "SCAN (",
    "CONSTANT ROW",
    "builds_unfinished",
    "machines_present",
    "images_active",
    // Made by the statement itself.
    "SCAN sums",
];

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let fixture = SqliteFixture::new().await;
    let mut connection = stranger(&fixture.path()).await;
    let ends = ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"];
    for (name, sql) in ALL {
        if ends.iter().any(|end| sql.starts_with(end)) {
            continue;
        }
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = connection.fetch_all(explain).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        let scans_a_table = steps.iter().any(|step| {
            let is_free = FREE.iter().any(|free| step.contains(free));
            // A page in the order of an index ends at its limit.
            let is_ordered_page = sql.contains("LIMIT") && step.contains("USING");
            step.starts_with("SCAN") && !is_free && !is_ordered_page
        });
        let may_scan = SCANS.iter().any(|(scan, _)| scan == name);
        assert_eq!(scans_a_table, may_scan, "{name}: {steps:#?}");
    }
}

#[tokio::test]
async fn pages_are_read_in_order_and_not_sorted() {
    let fixture = SqliteFixture::new().await;
    let mut connection = stranger(&fixture.path()).await;
    let pages = [
        "PIPELINES",
        "PIPELINES_OF_PROJECT",
        "BUILDS",
        "BUILDS_OF_PIPELINE",
        "BUILDS_OF_PROJECT",
        "BUILDS_FINISHED",
        "BUILDS_OF_PROJECT_FINISHED",
        "BUILDS_BY_RESULT",
        "BUILDS_OF_PROJECT_BY_RESULT",
        "ATTEMPTS",
        "MACHINES",
        "MACHINES_PRESENT",
        "EXTENTS",
        "EVENTS",
        "EVENTS_OF_SUBJECT",
    ];
    for (name, sql) in ALL.iter().filter(|(name, _)| pages.contains(name)) {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = connection.fetch_all(explain).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        let sorts = steps.iter().any(|step| step.contains("FOR ORDER BY"));
        assert!(!sorts, "{name}: {steps:#?}");
    }
}
