//! What a submission would start, cost and take: it is queued in a copy of the books, and a pass of the
//! planner over that copy says what becomes of it. Nothing of it is carried out or kept.

mod past;
mod words;
mod work;

use crate::books::{Books, Draft, insert};
use crate::model::{Build, BuildId, BuildState, Money, Span, Timestamp};
use crate::planner::{self, Action, Blocked, Estimate, ImageIndex, Plan, Quote, QuotedBuild, Work};

use super::desk::{DeskError, Submission};
use super::engine::Engine;

use past::{Length, Past};

impl Engine {
    pub(super) async fn quote_document(&self, submission: Submission) -> Result<Quote, DeskError> {
        self.check_open()?;
        let new = self.read_document(submission, None)?;
        self.check_room(&new)?;
        let now = self.parts.clock.now();
        let past = self.past_tries(now).await?;
        let (pipeline, builds) = self.rows(new, now);
        let mut books = self.books().clone();
        let mut draft = Draft::new(&mut books, now);
        draft.books.look_ahead(now);
        insert(&mut draft, pipeline, builds.clone());
        drop(draft);
        let mut last_id = 0;
        let mut fresh_id = || {
            last_id += 1;
            last_id
        };
        let plan = planner::plan(&books.snapshot, now, &mut fresh_id);
        // How many machines they would get if none waited for another.
        let mut wide = books.clone();
        for build in builds.iter().filter(|b| b.state == BuildState::Waiting) {
            let state = BuildState::Queued {
                since: now,
                not_before: now,
            };
            wide.put_build(Build {
                state,
                ..build.clone()
            });
        }
        let wide_plan = planner::plan(&wide.snapshot, now, &mut fresh_id);
        let quoting = Quoting {
            books: &books,
            builds: &builds,
            plan: &plan,
            past: &past,
            now,
        };
        Ok(quoting.quote((&wide, &wide_plan)))
    }
}

/// A pass over the copy of the books.
struct Quoting<'a> {
    books: &'a Books,
    builds: &'a [Build],
    plan: &'a Plan,
    /// Tries of before.
    past: &'a Past,
    now: Timestamp,
}

impl Quoting<'_> {
    fn quote(&self, (wide, wide_plan): (&Books, &Plan)) -> Quote {
        let lengths: Vec<Length> = self.builds.iter().map(|build| self.length(build)).collect();
        let (work, images) = self.work(&lengths, (wide, wide_plan));
        let estimate = planner::estimate(&work);
        let rows = self.builds.iter().enumerate().zip(&lengths);
        let rows = rows.map(|((place, build), length)| {
            let estimated = estimate.jobs.get(place).copied().unwrap_or_default();
            let kind = work
                .jobs
                .get(place)
                .and_then(|job| work.kinds.get(job.kind));
            QuotedBuild {
                name: build.spec.name.clone(),
                place: self.place(build, images.get(place).copied().flatten()),
                price: kind.map(|kind| kind.rate),
                start: estimated.start,
                run: length.run,
                basis: length.basis.clone(),
                cost: estimated.cost,
            }
        });
        let builds = rows.collect();
        let mut held_by: Vec<String> = self
            .blocked(wide, wide_plan)
            .filter(|why| matches!(why, Blocked::Budget(_)))
            .map(|why| planner::blocked_words(&wide.snapshot, why))
            .collect();
        held_by.sort();
        held_by.dedup();
        Quote {
            at: self.now,
            builds,
            notes: self.notes(&work, &estimate, &images),
            took: estimate.took,
            cost: estimate.cost,
            idle: estimate.idle,
            launches: self.launches(),
            held_by,
        }
    }

    /// Why its builds would stay queued.
    fn blocked<'b>(
        &'b self,
        books: &'b Books,
        plan: &'b Plan,
    ) -> impl Iterator<Item = &'b Blocked> {
        let waits = |build: &Build| {
            let waiting = planner::waiting_for(&books.snapshot, plan, build.id, self.now);
            waiting.filter(|_| action_for(plan, build.id).is_none())
        };
        self.builds.iter().filter_map(waits).map(|w| &w.why)
    }

    fn launches(&self) -> u32 {
        let up = self.builds.iter().filter(|build| {
            let action = action_for(self.plan, build.id);
            matches!(action, Some(Action::Launch { .. } | Action::Wake { .. }))
        });
        u32::try_from(up.count()).unwrap_or(u32::MAX)
    }

    fn notes(
        &self,
        work: &Work,
        estimate: &Estimate,
        images: &[Option<ImageIndex>],
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(most) = work.most {
            notes.push(format!(
                "limits, budgets or capacity leave {most} machine(s) at once; times are counted \
                 from when there is room"
            ));
        }
        if work.jobs.iter().any(|job| job.lost.high > Span::ZERO) {
            notes.push(
                "machines have failed under such builds: likely figures have the average time that \
                 is lost to it, high ones as much as one build in twenty loses"
                    .to_owned(),
            );
        }
        if estimate.idle.high > estimate.unused.high {
            notes.push("idle time is paid for only if nobody else has builds by then".to_owned());
        }
        if estimate.unused.high > Money::ZERO {
            notes.push(self.billing_words(estimate, images));
        }
        notes
    }
}

fn action_for(plan: &Plan, build: BuildId) -> Option<&Action> {
    plan.actions.iter().find(|a| a.build() == Some(build))
}
