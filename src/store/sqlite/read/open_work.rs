//! Everything that is not over, read as of one moment.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Executor, FromRow};

use super::{Query, bodies, database};
use crate::model::{Build, BuildId, BuildResult};
use crate::store::sqlite::rows::{self, BodyRow, BuildRow};
use crate::store::sqlite::statements;
use crate::store::{OpenWork, StoreError};

const OPERATION: &str = "reading open work";

pub(in crate::store::sqlite) async fn open_work(
    readers: &SqlitePool,
) -> Result<OpenWork, StoreError> {
    // In write-ahead mode a transaction sees the database as it was at its first read.
    let mut transaction = readers
        .begin()
        .await
        .map_err(|error| database(OPERATION, &error))?;
    let work = read(&mut transaction).await?;
    transaction
        .commit()
        .await
        .map_err(|error| database(OPERATION, &error))?;
    Ok(work)
}

async fn read(snapshot: &mut SqliteConnection) -> Result<OpenWork, StoreError> {
    let found: Vec<BuildRow> = all(snapshot, sqlx::query(statements::OPEN_BUILDS)).await?;
    let builds: Vec<Build> = found
        .into_iter()
        .map(rows::build)
        .collect::<Result<_, _>>()?;
    let attempts = sqlx::query(statements::OPEN_ATTEMPTS).bind(bound_attempts(&builds));
    let attempts: Vec<BodyRow> = all(snapshot, attempts).await?;
    let machines: Vec<BodyRow> = all(snapshot, sqlx::query(statements::OPEN_MACHINES)).await?;
    let images: Vec<BodyRow> = all(snapshot, sqlx::query(statements::OPEN_IMAGES)).await?;
    let policies: Vec<BodyRow> = all(snapshot, sqlx::query(statements::POLICIES_CURRENT)).await?;
    let launches: Vec<BodyRow> = all(snapshot, sqlx::query(statements::OPEN_LAUNCHES)).await?;
    let launches = launches.iter().map(|row| rows::secret_body("launch", row));
    let launches = launches.collect::<Result<_, _>>()?;
    let needed = needed(snapshot, &builds).await?;
    Ok(OpenWork {
        attempts: bodies("attempt", &attempts)?,
        machines: bodies("machine", &machines)?,
        images: bodies("image", &images)?,
        policies: bodies("policy", &policies)?,
        launches,
        builds,
        needed,
    })
}

/// The ids of the attempts that builds are bound to, as a JSON array.
fn bound_attempts(builds: &[Build]) -> String {
    let ids = builds
        .iter()
        .filter_map(|build| build.state.binding())
        .map(|(_, attempt)| attempt.to_string());
    ids.collect::<serde_json::Value>().to_string()
}

/// Results of the finished builds that `builds` need.
async fn needed(
    snapshot: &mut SqliteConnection,
    builds: &[Build],
) -> Result<BTreeMap<BuildId, BuildResult>, StoreError> {
    let ids: BTreeSet<BuildId> = builds
        .iter()
        .flat_map(|build| build.spec.needs.iter().copied())
        .collect();
    let list: serde_json::Value = ids.iter().map(ToString::to_string).collect();
    let found: Vec<BodyRow> = all(
        snapshot,
        sqlx::query(statements::RESULTS).bind(list.to_string()),
    )
    .await?;
    found
        .iter()
        .map(|row| Ok((rows::build_id(&row.0)?, rows::result(row)?)))
        .collect()
}

async fn all<Row>(snapshot: &mut SqliteConnection, query: Query<'_>) -> Result<Vec<Row>, StoreError>
where
    Row: for<'r> FromRow<'r, SqliteRow>,
{
    snapshot
        .fetch_all(query)
        .await
        .and_then(|rows| rows.iter().map(Row::from_row).collect())
        .map_err(|error| database(OPERATION, &error))
}
