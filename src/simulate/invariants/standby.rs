//! Ceilings of machines at hand: once the day's money for standing by is spent, no machine is made
//! ready that nobody has asked for, and none stays for longer than its idle timeout.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::Books;
use crate::model::{Category, Entry, MachineId, Money, Span, Timestamp};
use crate::planner::{Action, ImageIndex, Phase, Plan};

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// What idle machines, and boots that no build asked for, have cost by image and day.
#[derive(Debug, Default)]
pub(super) struct Standby(BTreeMap<(String, i64), Money>);

impl Standby {
    /// Money was spent.
    pub(super) fn entry(&mut self, entry: &Entry) {
        let is_standby = match (entry.category, entry.build) {
            (Category::Idle, _) | (Category::Boot, None) => true,
            (Category::Boot, Some(_)) | (Category::Work | Category::Retry | Category::Drain, _) => {
                false
            }
        };
        if is_standby {
            let day = entry.to.micros().div_euclid(DAY);
            *self.0.entry((entry.image.clone(), day)).or_default() += entry.amount;
        }
    }

    /// The orchestrator has begun anew, and does not know of boots before that no build asked for.
    pub(super) fn restarted(&mut self) {
        self.0.clear();
    }

    /// Looks at a plan.
    pub(super) fn look(&self, books: &Books, plan: &Plan, now: Timestamp) -> Result<(), String> {
        let snapshot = &books.snapshot;
        let mut handled: BTreeSet<MachineId> = BTreeSet::new();
        for action in &plan.actions {
            match action {
                Action::Launch {
                    image, claim: None, ..
                } => self.spare(books, *image, now)?,
                Action::Wake {
                    machine,
                    claim: None,
                    ..
                } => {
                    if let Some(view) = snapshot.machines.get(machine) {
                        self.spare(books, view.image, now)?;
                    }
                }
                Action::Bind { machine, .. }
                | Action::Move { machine, .. }
                | Action::Sleep { machine, .. }
                | Action::Drain { machine, .. } => {
                    handled.insert(*machine);
                }
                Action::Launch { .. } | Action::Wake { .. } | Action::GiveUp { .. } => {}
            }
        }
        for (id, view) in &snapshot.machines {
            let Phase::Idle(since) = view.phase else {
                continue;
            };
            let terms = snapshot.idle.get(id);
            let is_whole = terms.is_some_and(|terms| terms.billing.quantum == Span::ZERO);
            let timeout = terms.map_or(Span::ZERO, |terms| terms.timeout);
            let minimum = terms.map_or(Span::ZERO, |terms| terms.billing.minimum);
            let is_over = since + timeout.max(minimum) < now;
            if is_over
                && is_whole
                && !view.past.is_tidying
                && !handled.contains(id)
                && self.is_spent(books, view.image, now)
            {
                return Err(format!("{id} stays, although the day's money is spent"));
            }
        }
        Ok(())
    }

    fn spare(&self, books: &Books, image: ImageIndex, now: Timestamp) -> Result<(), String> {
        if self.is_spent(books, image, now) {
            return Err("a machine is made ready although the day's money is spent".to_owned());
        }
        Ok(())
    }

    /// Whether the day's money of an image is spent.
    fn is_spent(&self, books: &Books, image: ImageIndex, now: Timestamp) -> bool {
        let Some(view) = books.snapshot.image(image) else {
            return false;
        };
        let day = now.micros().div_euclid(DAY);
        let cost = self.0.get(&(view.name.clone(), day)).copied();
        let most = books.terms(&view.name).warm.max_cost_per_day;
        most.is_some_and(|most| cost.unwrap_or_default() >= most)
    }
}
