//! Lists of builds: which statement, and so which index, answers a filter.

use sqlx::sqlite::SqlitePool;

use super::{Query, all, before};
use crate::model::{Build, BuildId, BuildResult};
use crate::store::sqlite::rows::{self, BuildRow};
use crate::store::sqlite::statements;
use crate::store::{BuildFilter, Page, StoreError};

/// The word of `BuildState::Finished`.
const FINISHED: &str = "finished";

/// What a filter says of state and result together.
enum Standing<'a> {
    /// Nothing.
    Any,
    /// In this state, which is not the last.
    Unfinished(&'a str),
    /// Finished, however.
    Finished,
    /// Finished like this.
    Result(BuildResult),
    /// Both a result and a state that has none.
    Impossible,
}

fn standing(filter: &BuildFilter) -> Standing<'_> {
    match (filter.state.as_deref(), filter.result) {
        (None, None) => Standing::Any,
        (Some(FINISHED), None) => Standing::Finished,
        (Some(FINISHED) | None, Some(result)) => Standing::Result(result),
        (Some(state), None) => Standing::Unfinished(state),
        (Some(_), Some(_)) => Standing::Impossible,
    }
}

pub(in crate::store::sqlite) async fn builds(
    readers: &SqlitePool,
    filter: &BuildFilter,
    page: Page<BuildId>,
) -> Result<Vec<Build>, StoreError> {
    let Some(query) = query(filter, &page) else {
        return Ok(Vec::new());
    };
    let found: Vec<BuildRow> = all(readers, "listing builds", query).await?;
    found.into_iter().map(rows::build).collect()
}

/// The statement for a filter; none when nothing can match.
fn query<'q>(filter: &'q BuildFilter, page: &Page<BuildId>) -> Option<Query<'q>> {
    let listed =
        |statement: &'static str| sqlx::query(statement).bind(before(page)).bind(page.limit);
    let project = filter.project.as_deref();
    if let Some(pipeline) = filter.pipeline {
        let query = listed(statements::BUILDS_OF_PIPELINE)
            .bind(pipeline.to_string())
            .bind(project)
            .bind(filter.state.as_deref())
            .bind(filter.result.map(BuildResult::word));
        return Some(query);
    }
    match (standing(filter), project) {
        (Standing::Any, None) => Some(listed(statements::BUILDS)),
        (Standing::Any, Some(project)) => Some(listed(statements::BUILDS_OF_PROJECT).bind(project)),
        (Standing::Unfinished(state), project) => Some(
            listed(statements::BUILDS_UNFINISHED)
                .bind(state)
                .bind(project),
        ),
        (Standing::Finished, None) => Some(listed(statements::BUILDS_FINISHED)),
        (Standing::Finished, Some(project)) => {
            Some(listed(statements::BUILDS_OF_PROJECT_FINISHED).bind(project))
        }
        (Standing::Result(result), None) => {
            Some(listed(statements::BUILDS_BY_RESULT).bind(result.word()))
        }
        (Standing::Result(result), Some(project)) => Some(
            listed(statements::BUILDS_OF_PROJECT_BY_RESULT)
                .bind(result.word())
                .bind(project),
        ),
        (Standing::Impossible, _) => None,
    }
}
