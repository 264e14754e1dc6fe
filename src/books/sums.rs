//! What was spent of each budget in its present window: begun anew with the window, counted entry by
//! entry, and read from the store where a process before this one wrote the entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ledger;
use crate::model::{Budget, BudgetEach, Entry, Machine, Money, Timestamp};
use crate::planner::{LAUNCH_WINDOW, Part};
use crate::store::SpentRow;

use super::books::Books;

impl Books {
    /// Begins new windows, and forgets launches that are more than an hour old.
    pub(crate) fn roll_windows(&mut self, now: Timestamp) {
        let mut has_rolled = false;
        for (declared, view) in self.spend.budgets.iter().zip(&mut self.snapshot.budgets) {
            let Some((_, to)) = view.window.filter(|(_, to)| now >= *to) else {
                continue;
            };
            has_rolled = true;
            view.window = ledger::window(view.per, &declared.budget.time_zone, now);
            let spent = std::mem::take(&mut view.spent);
            let follows = view.window.is_some_and(|(from, _)| from == to);
            let spent = if follows { spent } else { BTreeMap::new() };
            let before = declared.before(view.window);
            view.carry = before.map(|_| (declared.budget.roll_over, spent));
        }
        if has_rolled {
            self.refresh_approvals();
        }
        let is_over = |at: Timestamp| now >= at + LAUNCH_WINDOW;
        if self.spend.launches.first().is_some_and(|l| is_over(l.at)) {
            self.spend.launches.retain(|launch| !is_over(launch.at));
            self.snapshot.launches.retain(|launch| !is_over(launch.at));
        }
    }

    /// Counts an entry that is being written.
    pub(super) fn count_entry(&mut self, entry: &Entry, machine: &Machine, now: Timestamp) {
        self.spend.counted += 1;
        if self.snapshot.budgets.is_empty() {
            return;
        }
        self.roll_windows(now);
        let build = entry
            .build
            .and_then(|build| self.builds.get(&build))
            .map(|build| Arc::clone(&build.spec));
        let row = SpentRow {
            // What nobody pays for is overhead of the project that the machine works for.
            project: entry.project.clone().or_else(|| machine.project.clone()),
            image: entry.image.clone(),
            pipeline: entry.pipeline,
            build: entry.build,
            labels: build
                .as_ref()
                .map(|spec| spec.labels.clone())
                .unwrap_or_default(),
            priority: build.map(|spec| spec.priority),
            amount: entry.amount,
        };
        for place in 0..self.spend.budgets.len() {
            self.count(place, &row, entry);
        }
    }

    fn count(&mut self, place: usize, row: &SpentRow, entry: &Entry) {
        let Some(part) = self.part_of(place, row) else {
            return;
        };
        let before = self
            .spend
            .budgets
            .get(place)
            .zip(self.snapshot.budgets.get(place));
        let before = before.and_then(|(declared, view)| declared.before(view.window));
        let Some(view) = self.snapshot.budgets.get_mut(place) else {
            return;
        };
        let amount = match view.window {
            Some((from, to)) => ledger::between(entry, from, to),
            None => entry.amount,
        };
        *view.spent.entry(part).or_default() += amount;
        if let (Some((_, spent)), Some((from, to))) = (&mut view.carry, before) {
            *spent.entry(part).or_default() += ledger::between(entry, from, to);
        }
    }

    /// The part of a budget that a row of the ledger counts for.
    fn part_of(&mut self, place: usize, row: &SpentRow) -> Option<Part> {
        let provider = self.provider_of(&row.image).map(str::to_owned);
        let declared = self.spend.budgets.get(place)?;
        if !declared.selector.covers(row, provider.as_deref()) {
            return None;
        }
        match declared.budget.each {
            BudgetEach::All => Some(Part::All),
            BudgetEach::Project => {
                let project = row.project.as_deref()?;
                Some(Part::Project(self.project_of(project)))
            }
            BudgetEach::Image => Some(Part::Image(self.known_image(&row.image)?)),
            BudgetEach::Pipeline => row.pipeline.map(Part::Pipeline),
            BudgetEach::Build => row.build.map(Part::Build),
        }
    }

    /// Since when the ledger must be read for the budgets whose sums are not known.
    pub(crate) fn unknown_since(&mut self, now: Timestamp) -> BTreeSet<Timestamp> {
        self.roll_windows(now);
        // No entry of a pipeline or build is older than its submission.
        let submitted = self.builds.values().map(|build| build.spec.submitted_at);
        let oldest = submitted.min().unwrap_or(now);
        let budgets = self.spend.budgets.iter().zip(&self.snapshot.budgets);
        let unknown = budgets.filter(|(_, view)| !view.is_known);
        unknown
            .flat_map(|(declared, view)| {
                let whole = match (view.window, view.is_cap()) {
                    (Some((from, _)), _) => from,
                    (None, true) => oldest,
                    (None, false) => Timestamp::from_micros(0),
                };
                let before = declared.before(view.window).map(|(from, _)| from);
                before.into_iter().chain([whole])
            })
            .collect()
    }

    /// Takes over what the ledger says was spent since some moments.
    pub(crate) fn know_spent(
        &mut self,
        since: &BTreeMap<Timestamp, Vec<SpentRow>>,
        now: Timestamp,
    ) {
        let wanted = self.unknown_since(now);
        // A window has begun meanwhile: the caller asks again.
        if !wanted.iter().all(|at| since.contains_key(at)) {
            return;
        }
        for place in 0..self.spend.budgets.len() {
            let found = self
                .spend
                .budgets
                .get(place)
                .zip(self.snapshot.budgets.get(place));
            let Some((declared, view)) = found.filter(|(_, view)| !view.is_known) else {
                continue;
            };
            let (window, before) = (view.window, declared.before(view.window));
            let roll_over = declared.budget.roll_over;
            let begin = window.map(|(from, _)| from);
            let begin = begin.or_else(|| since.keys().next().copied());
            let spent = self.sum(place, begin.and_then(|at| since.get(&at)));
            let carry = before.map(|(from, _)| {
                let mut sums = self.sum(place, since.get(&from));
                for (part, amount) in &spent {
                    *sums.entry(*part).or_default() += -*amount;
                }
                (roll_over, sums)
            });
            if let Some(view) = self.snapshot.budgets.get_mut(place) {
                (view.spent, view.carry, view.is_known) = (spent, carry, true);
            }
        }
    }

    fn sum(&mut self, place: usize, rows: Option<&Vec<SpentRow>>) -> BTreeMap<Part, Money> {
        let mut sums: BTreeMap<Part, Money> = BTreeMap::new();
        for row in rows.into_iter().flatten() {
            if let Some(part) = self.part_of(place, row) {
                *sums.entry(part).or_default() += row.amount;
            }
        }
        sums
    }

    /// What of some rows counts for each budget of the snapshot, all its parts together.
    pub(crate) fn totals(&mut self, rows: &[SpentRow]) -> Vec<BTreeMap<Part, Money>> {
        let rows = rows.to_vec();
        (0..self.spend.budgets.len())
            .map(|place| self.sum(place, Some(&rows)))
            .collect()
    }

    /// The declaration behind a budget of the snapshot.
    pub(crate) fn declared(&self, place: usize) -> Option<&Budget> {
        self.spend
            .budgets
            .get(place)
            .map(|declared| &declared.budget)
    }
}
