//! Money: what was spent before this process, what people approve, and how budgets stand.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::books::{Approval, Books, BudgetReport, Launched, NotApproved, approve};
use crate::ledger;
use crate::model::{Machine, Span, Timestamp};
use crate::planner::LAUNCH_WINDOW;
use crate::store::{SpentRow, StoreError};

use super::desk::DeskError;
use super::engine::Engine;
use super::intake::desk_error;

/// Notes on budgets that are older belong to no window any more: the longest is a month.
const NOTES_KEPT: Span = Span::from_secs(63 * 86_400);
/// What forecasts look back on: a week has all its days in it.
const RECENT: Span = Span::from_secs(7 * 86_400);

impl Engine {
    /// Reads what limits and budgets must know of the time before this process.
    pub(super) async fn know_past(&self, books: &mut Books) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        books.spend.notes = self.parts.store.budget_notes(now - NOTES_KEPT).await?;
        books.refresh_approvals();
        for launch in self.recent_launches(books, now - LAUNCH_WINDOW).await? {
            books.count_launch(launch);
        }
        let sums = self.spent_since(books.unknown_since(now)).await?;
        books.know_spent(&sums, now);
        Ok(())
    }

    /// Launches that were decided since a moment, failed ones included, oldest first.
    async fn recent_launches(
        &self,
        books: &Books,
        since: Timestamp,
    ) -> Result<Vec<Launched>, StoreError> {
        let mut machines: BTreeMap<_, Machine> = BTreeMap::new();
        let ended = self.parts.store.ended_machines(since).await?;
        let open = books.machines.values().filter(|m| m.created_at >= since);
        for machine in ended.into_iter().chain(open.cloned()) {
            machines.insert((machine.created_at, machine.id), machine);
        }
        let mut launches = Vec::with_capacity(machines.len());
        for machine in machines.into_values() {
            let build = match machine.launched_for {
                Some(id) => match books.builds.get(&id) {
                    Some(build) => Some(Arc::clone(&build.spec)),
                    None => self.parts.store.build(id).await?.map(|build| build.spec),
                },
                None => None,
            };
            launches.push(Launched {
                at: machine.created_at,
                image: machine.image,
                build,
            });
        }
        Ok(launches)
    }

    async fn spent_since(
        &self,
        moments: impl IntoIterator<Item = Timestamp>,
    ) -> Result<BTreeMap<Timestamp, Vec<SpentRow>>, StoreError> {
        let mut sums = BTreeMap::new();
        for since in moments {
            sums.insert(since, self.parts.store.spent(since).await?);
        }
        Ok(sums)
    }

    /// Reads what was spent of budgets that were just declared; they admit nothing until then.
    pub(super) async fn count_spent(&self) -> Result<(), StoreError> {
        /// Entries are written all the time, but rarely within the moment that a sum takes. One that
        /// slips in at last is counted twice, to the safe side, until the window ends.
        const TRIES: u32 = 5;
        for last in (0..TRIES).rev() {
            let (counted, moments) = {
                let mut books = self.books();
                let moments = books.unknown_since(self.parts.clock.now());
                (books.spend.counted, moments)
            };
            if moments.is_empty() {
                return Ok(());
            }
            // What was counted is in the store once this returns.
            self.parts.store.commit(Vec::new()).await?;
            let sums = self.spent_since(moments).await?;
            let mut books = self.books();
            if books.spend.counted == counted || last == 0 {
                books.know_spent(&sums, self.parts.clock.now());
            }
        }
        Ok(())
    }

    /// How all budgets stand, with what their windows will have cost if all goes on as lately.
    pub(super) async fn budget_reports(&self) -> Result<Vec<BudgetReport>, DeskError> {
        self.check_open()?;
        let now = self.parts.clock.now();
        let rows = self.parts.store.spent(now - RECENT).await?;
        let mut books = self.open_books()?;
        let recent = books.totals(&rows);
        let reports = books.budget_reports(now).into_iter();
        let with_forecast = reports.map(|(place, part, mut report)| {
            let lately = recent.get(place).and_then(|parts| parts.get(&part));
            report.forecast = report.window.map(|(_, end)| {
                let lately = lately.copied().unwrap_or_default();
                ledger::forecast(report.spent, lately, RECENT, end.since(now))
            });
            report
        });
        Ok(with_forecast.collect())
    }

    /// Adds to a budget's amount for its present window.
    pub(super) async fn approve(&self, approval: Approval, who: &str) -> Result<(), DeskError> {
        self.check_open()?;
        let mut outcome = Ok(());
        let written = self.write_durably(|draft| {
            outcome = approve(draft, &approval, who);
            Ok(())
        });
        written.await.map_err(desk_error)?;
        self.nudge();
        let name = format!("{}/{}", approval.policy, approval.budget);
        outcome.map_err(|why| match why {
            NotApproved::Unknown => DeskError::NotFound {
                what: "budget",
                id: name,
            },
            NotApproved::OtherParts(each) => DeskError::Refused(format!(
                "budget {name} is for each {}; approve for one of those, or for all",
                each.word()
            )),
        })
    }
}
