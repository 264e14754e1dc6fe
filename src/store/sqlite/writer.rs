//! The one task that writes. It takes every commit that waits and makes them durable together.
//!
//! A flush to disk costs as much as dozens of commits, so callers that wait at the same time share
//! one transaction. First all their changes are applied together, with one statement per kind of
//! row; that succeeds nearly always. If any row is refused, everything is taken back and each
//! caller's list is applied on its own, inside a savepoint, so that only the caller at fault gets
//! nothing.

use std::collections::BTreeMap;
use std::{io, thread};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::statements;
use crate::model::Change;
use crate::store::StoreError;
use crate::store::rounds::{RowName, Rows, Verb, rounds};

/// Commits that may wait; further callers wait before they are in line, in order.
const QUEUE: usize = 1_024;

/// What the task is asked.
#[derive(Debug)]
enum Request {
    /// Write this list.
    Commit(Caller),
    /// Write what was asked before, then close the database.
    Close(oneshot::Sender<()>),
}

/// A list of changes, and who waits for it.
#[derive(Debug)]
struct Caller {
    changes: Vec<Change>,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// The way to the writing task.
#[derive(Debug, Clone)]
pub(super) struct WriterHandle {
    requests: mpsc::Sender<Request>,
}

/// Why changes were not applied.
enum Failure {
    /// A row exists already, or is not as it was read. The transaction is as before the statement.
    Conflict,
    /// The changes are wrong in themselves (a build without a pipeline). As above.
    Refused(String),
    /// The database fails. The transaction is lost.
    Broken(StoreError),
}

impl WriterHandle {
    /// Starts the task; it ends when it is closed or the last handle is gone.
    ///
    /// It has a thread to itself: each statement passes to the connection's thread and back, and
    /// through the runtime's scheduler that took twice the thread switches.
    pub(super) fn start(
        connection: SqliteConnection,
        options: SqliteConnectOptions,
    ) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let writer = Writer {
            connection,
            options,
        };
        let runtime = Handle::current();
        thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || runtime.block_on(writer.run(queue)))?;
        Ok(Self { requests })
    }

    /// Has `changes` written. The place in line is taken at the first poll; from then on the
    /// changes are written even if the caller goes away.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (answer, outcome) = oneshot::channel();
        let caller = Caller { changes, answer };
        self.requests
            .send(Request::Commit(caller))
            .await
            .map_err(|_| closed())?;
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Has the database closed once everything asked before is written.
    pub(super) async fn close(&self) {
        let (answer, done) = oneshot::channel();
        if self.requests.send(Request::Close(answer)).await.is_ok() {
            // An error means that the task is gone, which is what was wanted.
            let _ = done.await;
        }
    }
}

fn closed() -> StoreError {
    committing("the store is closed".to_owned())
}

struct Writer {
    connection: SqliteConnection,
    options: SqliteConnectOptions,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut requests = Vec::new();
        while queue.recv_many(&mut requests, QUEUE).await > 0 {
            let mut callers = Vec::new();
            let mut close = None;
            for request in requests.drain(..) {
                match request {
                    Request::Commit(caller) if close.is_none() => callers.push(caller),
                    // Asked after the end: dropping it tells the caller so.
                    Request::Commit(_) => {}
                    Request::Close(answer) => close = Some(answer),
                }
            }
            self.commit(callers).await;
            if let Some(answer) = close {
                self.close().await;
                // Nobody waits any more if this fails.
                let _ = answer.send(());
                return;
            }
        }
        self.close().await;
    }

    async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "closing the database failed");
        }
    }

    /// Makes the callers' changes durable and answers them.
    async fn commit(&mut self, callers: Vec<Caller>) {
        if callers.is_empty() {
            return;
        }
        let span = tracing::debug_span!("store.commit", callers = callers.len());
        let outcomes = self.write(&callers).instrument(span).await;
        for (caller, outcome) in callers.into_iter().zip(outcomes) {
            // A caller that went away does not need the answer.
            let _ = caller.answer.send(outcome);
        }
    }

    async fn write(&mut self, callers: &[Caller]) -> Vec<Result<(), StoreError>> {
        let error = match self.write_together(callers).await {
            Ok(()) => return vec![Ok(()); callers.len()],
            Err(Failure::Conflict | Failure::Refused(_)) => {
                self.roll_back().await;
                match self.write_apart(callers).await {
                    Ok(outcomes) => return outcomes,
                    Err(error) => error,
                }
            }
            Err(Failure::Broken(error)) => error,
        };
        self.roll_back().await;
        vec![Err(error); callers.len()]
    }

    /// One transaction for all, applied together or not at all.
    async fn write_together(&mut self, callers: &[Caller]) -> Result<(), Failure> {
        self.run_sql(statements::BEGIN).await?;
        self.apply(callers.iter().flat_map(|caller| &caller.changes))
            .await?;
        self.run_sql(statements::COMMIT).await
    }

    /// One transaction for all, in which each caller's list is applied or left out.
    async fn write_apart(
        &mut self,
        callers: &[Caller],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut outcomes = Vec::with_capacity(callers.len());
        self.run_sql(statements::BEGIN).await.map_err(broken)?;
        for caller in callers {
            outcomes.push(self.write_one(&caller.changes).await?);
        }
        self.run_sql(statements::COMMIT).await.map_err(broken)?;
        Ok(outcomes)
    }

    /// One caller's list inside a savepoint; the outer error means that the transaction is lost.
    async fn write_one(
        &mut self,
        changes: &[Change],
    ) -> Result<Result<(), StoreError>, StoreError> {
        self.run_sql(statements::SAVEPOINT).await.map_err(broken)?;
        let outcome = match self.apply(changes).await {
            Ok(()) => Ok(()),
            Err(Failure::Broken(error)) => return Err(error),
            Err(Failure::Conflict | Failure::Refused(_)) => {
                Err(self.first_refusal(changes).await?)
            }
        };
        self.run_sql(statements::RELEASE).await.map_err(broken)?;
        Ok(outcome)
    }

    /// What is wrong with a list that was refused: applies the changes one by one up to the first
    /// that is, then takes all of them back.
    async fn first_refusal(&mut self, changes: &[Change]) -> Result<StoreError, StoreError> {
        self.back_to_savepoint().await?;
        let mut refusal = None;
        for change in changes {
            let row = || {
                let row = RowName::of(change).map(|row| row.to_string());
                row.unwrap_or_else(|| "an appended row".to_owned())
            };
            match self.apply([change]).await {
                Ok(()) => continue,
                Err(Failure::Broken(error)) => return Err(error),
                Err(Failure::Conflict) => refusal = Some(StoreError::Conflict { row: row() }),
                Err(Failure::Refused(detail)) => {
                    refusal = Some(committing(format!("{}: {detail}", row())));
                }
            }
            break;
        }
        self.back_to_savepoint().await?;
        Ok(refusal.unwrap_or_else(|| {
            committing("the list names a row before the one that it belongs to".to_owned())
        }))
    }

    async fn back_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.run_sql(statements::ROLLBACK_TO_SAVEPOINT)
            .await
            .map_err(broken)
    }

    /// Applies changes inside the open transaction.
    async fn apply<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a Change>,
    ) -> Result<(), Failure> {
        let rounds = rounds(changes).map_err(|error| {
            Failure::Refused(format!("a value cannot be written as JSON: {error}"))
        })?;
        for round in rounds {
            self.apply_round(round).await?;
        }
        Ok(())
    }

    async fn apply_round(&mut self, round: BTreeMap<Verb, Rows>) -> Result<(), Failure> {
        for (verb, rows) in round {
            let expected = rows.count();
            let written = sqlx::query(statements::write(verb))
                .bind(rows.into_json())
                .execute(&mut self.connection)
                .await
                .map_err(|error| failure(&error))?
                .rows_affected();
            if verb.must_write_every_row() && written != expected {
                return Err(Failure::Conflict);
            }
        }
        Ok(())
    }

    async fn run_sql(&mut self, statement: &'static str) -> Result<(), Failure> {
        sqlx::query(statement)
            .execute(&mut self.connection)
            .await
            .map(|_| ())
            .map_err(|error| failure(&error))
    }

    /// Leaves the transaction. If that fails (some errors end it by themselves, a crashed
    /// connection answers nothing), a new connection starts clean.
    async fn roll_back(&mut self) {
        if self.run_sql(statements::ROLLBACK).await.is_ok() {
            return;
        }
        match self.options.connect().await {
            Ok(connection) => self.connection = connection,
            // The next commit fails at its beginning, and comes here again.
            Err(error) => tracing::error!(%error, "cannot connect to the database again"),
        }
    }
}

fn committing(detail: String) -> StoreError {
    StoreError::Database {
        operation: "committing",
        detail,
    }
}

/// For statements that touch no rows, whose every failure loses the transaction.
fn broken(failure: Failure) -> StoreError {
    match failure {
        Failure::Broken(error) => error,
        Failure::Refused(detail) => committing(detail),
        Failure::Conflict => committing("a conflict without a row".to_owned()),
    }
}

/// Sorts an error of the database: what is wrong with a row, and what is wrong with the database.
fn failure(error: &sqlx::Error) -> Failure {
    let is_unique_violation = error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation);
    if is_unique_violation {
        return Failure::Conflict;
    }
    // SQLITE_TOOBIG, SQLITE_CONSTRAINT and SQLITE_MISMATCH are about the row.
    match primary_code(error) {
        Some(18..=20) => Failure::Refused(error.to_string()),
        Some(_) | None => Failure::Broken(committing(error.to_string())),
    }
}

/// The library's result code without its extension.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}
