//! A desk that does what it is asked at once, on the fake store. Documents are one word; some words
//! are special.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;

use super::fake_budgets::FakeBudgets;
use super::fake_store::FakeStore;
use super::things;
use crate::books::{Applied, Approval, BudgetReport, ImageHealth, ShapeHealth, VersionHealth};
use crate::engine::{
    Accepted, ApplyError, Checked, Declaration, Desk, DeskError, ProbeVerdict, Submission,
};
use crate::model::{
    Build, BuildId, BuildResult, Cancel, Change, Image, ImageState, Machine, MachineId,
    MachineState, Money, Pipeline, PipelineId, Policy, Rate, Reason, Span, Timestamp, Token,
    TokenId, TokenRole,
};
use crate::planner::{
    Explanation, ImageVerdict, Plan, PlanReport, Quote, QuotedBuild, RecordedPass, Snapshot,
    Spread, WaitingReport,
};
use crate::spec::Problem;
use crate::store::Store;

/// A document with two problems.
pub(super) const BROKEN: &str = "broken";
/// A document for which there is no room.
pub(super) const BUSY: &str = "busy";
/// A document that makes the desk panic.
pub(super) const PANIC: &str = "panic";
/// A document that the desk never comes back from.
pub(super) const STUCK: &str = "stuck";

/// A reason for more money after which the state is loaded anew.
pub(super) const RESTARTED: &str = "restarted";

/// The desk.
#[derive(Debug)]
pub(super) struct FakeDesk {
    store: Arc<FakeStore>,
    next_id: AtomicU64,
    pub(super) ready: AtomicBool,
    pub(super) budgets: FakeBudgets,
}

pub(super) fn problem(line: u32, message: &str) -> Problem {
    Problem {
        line,
        column: 3,
        path: "builds.test".to_owned(),
        message: message.to_owned(),
    }
}

fn not_found(what: &'static str, id: &impl std::fmt::Display) -> DeskError {
    DeskError::NotFound {
        what,
        id: id.to_string(),
    }
}

impl FakeDesk {
    pub(super) fn new(store: Arc<FakeStore>) -> Self {
        Self {
            store,
            next_id: AtomicU64::new(1_000),
            ready: AtomicBool::new(true),
            budgets: FakeBudgets::default(),
        }
    }

    fn fresh(&self) -> u128 {
        u128::from(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// As the engine does it while it loads its state.
    fn check_open(&self) -> Result<(), DeskError> {
        if self.is_ready() {
            Ok(())
        } else {
            Err(DeskError::Busy("the state is being loaded".to_owned()))
        }
    }

    fn queue(&self, name: &str, who: &str, key: Option<(String, String)>) -> Accepted {
        let pipeline = Pipeline {
            name: name.to_owned(),
            submitted_by: who.to_owned(),
            idempotency: key,
            ..things::pipeline(self.fresh())
        };
        let builds: Vec<Build> = (0..2)
            .map(|_| things::build(self.fresh(), pipeline.id))
            .collect();
        self.store.put([Change::InsertPipeline(pipeline.clone())]);
        self.store
            .put(builds.iter().cloned().map(Change::InsertBuild));
        Accepted {
            pipeline,
            builds,
            repeated: false,
        }
    }

    fn build(&self, id: BuildId) -> Result<Build, DeskError> {
        self.store
            .build_now(id)
            .ok_or_else(|| not_found("build", &id))
    }
}

#[async_trait]
impl Desk for FakeDesk {
    async fn submit(&self, submission: Submission) -> Result<Accepted, DeskError> {
        match submission.document.as_str() {
            BROKEN => {
                let problems = vec![problem(2, "no steps"), problem(7, "unknown key `stps`")];
                return Err(DeskError::Invalid(problems));
            }
            BUSY => return Err(DeskError::Busy("200000 builds are open already".to_owned())),
            PANIC => panic!("the desk collapsed"),
            STUCK => std::future::pending().await,
            _ => {}
        }
        let key = submission
            .idempotency_key
            .map(|key| (key, submission.document.clone()));
        let known = match &key {
            Some((key, _)) => self.store.pipeline_by_key(key).await?,
            None => None,
        };
        match known {
            Some(known) if known.idempotency == key => {
                let builds = self.store.builds_now(known.id);
                Ok(Accepted {
                    pipeline: known,
                    builds,
                    repeated: true,
                })
            }
            Some(_) => Err(DeskError::Conflict("the key was used before".to_owned())),
            None => Ok(self.queue(&submission.document, &submission.submitted_by, key)),
        }
    }

    async fn quote(&self, _submission: Submission) -> Result<Quote, DeskError> {
        let builds = vec![QuotedBuild {
            name: "test".to_owned(),
            place: "launches debian-12 on small".to_owned(),
            price: Some(Rate::from_micros_per_hour(41_600)),
            start: Spread::exactly(Span::from_secs(40)),
            run: Spread::exactly(Span::from_secs(60)),
            basis: "3 builds before".to_owned(),
            cost: Spread::exactly(Money::from_micros(1_155)),
        }];
        Ok(Quote {
            at: Timestamp::from_micros(0),
            builds,
            took: Spread::exactly(Span::from_secs(100)),
            cost: Spread::exactly(Money::from_micros(1_155)),
            idle: Spread::default(),
            launches: 1,
            held_by: Vec::new(),
            notes: Vec::new(),
        })
    }

    async fn cancel_build(&self, id: BuildId, who: &str) -> Result<Build, DeskError> {
        let mut build = self.build(id)?;
        build.ask_cancel(Cancel {
            at: things::NOW,
            reason: format!("canceled by {who}"),
            result: BuildResult::Canceled,
        });
        self.store.put([Change::UpdateBuild(build.clone(), 0)]);
        Ok(build)
    }

    async fn cancel_pipeline(&self, id: PipelineId, who: &str) -> Result<u32, DeskError> {
        self.store
            .pipeline(id)
            .await?
            .ok_or_else(|| not_found("pipeline", &id))?;
        let mut asked = 0;
        for build in self.store.builds_now(id) {
            if !build.state.is_finished() {
                self.cancel_build(build.id, who).await?;
                asked += 1;
            }
        }
        Ok(asked)
    }

    async fn retry_build(&self, id: BuildId, who: &str) -> Result<Accepted, DeskError> {
        if self.build(id)?.state.is_finished() {
            Ok(self.queue("again", who, None))
        } else {
            Err(DeskError::Refused("it has not finished".to_owned()))
        }
    }

    async fn retry_pipeline(&self, id: PipelineId, who: &str) -> Result<Accepted, DeskError> {
        self.store
            .pipeline(id)
            .await?
            .ok_or_else(|| not_found("pipeline", &id))?;
        if self
            .store
            .builds_now(id)
            .iter()
            .any(|build| build.state.is_finished())
        {
            Ok(self.queue("again", who, None))
        } else {
            Err(DeskError::Refused("there is nothing to retry".to_owned()))
        }
    }

    async fn apply(&self, declarations: Vec<Declaration>) -> Result<Vec<Applied>, ApplyError> {
        let texts: Vec<String> = declarations
            .into_iter()
            .map(|declaration| match declaration {
                Declaration::Image(text) | Declaration::Policy(text) => text,
            })
            .collect();
        let problems: Vec<_> = (0..)
            .zip(&texts)
            .filter(|(_, text)| *text == BROKEN)
            .map(|(index, _)| (index, problem(1, "no name")))
            .collect();
        if !problems.is_empty() {
            return Err(ApplyError::Invalid(problems));
        }
        let applied = |name: String| match name.as_str() {
            "same" => Applied::Unchanged { name, version: 4 },
            _ => Applied::Changed { name, version: 1 },
        };
        Ok(texts.into_iter().map(applied).collect())
    }

    async fn check(&self, declarations: Vec<Declaration>) -> Result<Vec<Checked>, ApplyError> {
        let applied = self.apply(declarations).await?;
        let checked = |applied| match applied {
            Applied::Unchanged { name, .. } => Checked {
                warnings: vec![format!("{name} says nothing new")],
                name,
            },
            Applied::Changed { name, .. } => Checked {
                name,
                warnings: Vec::new(),
            },
        };
        Ok(applied.into_iter().map(checked).collect())
    }

    async fn remove_image(&self, name: &str, _: &str) -> Result<Image, DeskError> {
        let mut image = self
            .images()
            .await?
            .into_iter()
            .find(|image| image.name == name)
            .ok_or_else(|| not_found("image", &name))?;
        image.state = ImageState::Removed;
        self.store.put([Change::UpdateImage(image.clone(), 0)]);
        Ok(image)
    }

    async fn release_image(&self, name: &str, _: &str) -> Result<Image, DeskError> {
        let images = self.images().await?;
        let image = images.into_iter().find(|image| image.name == name);
        let image = image.ok_or_else(|| not_found("image", &name))?;
        if image.version == 1 {
            let refusal = format!("image {name:?} has no quarantined version");
            return Err(DeskError::Refused(refusal));
        }
        Ok(image)
    }

    async fn image_health(&self, name: &str) -> Result<Option<ImageHealth>, DeskError> {
        self.check_open()?;
        let images = self.images().await?;
        let image = images.into_iter().find(|image| image.name == name);
        Ok(image.map(|image| ImageHealth {
            image: image.name,
            versions: vec![VersionHealth {
                version: image.version,
                state: image.state,
                since: image.applied_at,
                shapes: vec![ShapeHealth {
                    shape: "t3.small".to_owned(),
                    boots: 12,
                    failed_boots: 1,
                    boot_p50: Some(Span::from_millis(23_400)),
                    boot_p95: Some(Span::from_millis(41_000)),
                    builds: 40,
                    infrastructure_failures: 2,
                    failure_cost: Money::from_micros(12_300),
                }],
            }],
        }))
    }

    async fn images(&self) -> Result<Vec<Image>, DeskError> {
        self.check_open()?;
        let mut images = self.store.images_now();
        images.retain(|image| image.state == ImageState::Active);
        Ok(images)
    }

    async fn policies(&self) -> Result<Vec<Policy>, DeskError> {
        self.check_open()?;
        Ok(self.store.policies(None).await?)
    }

    async fn verify_image(&self, name: &str, who: &str) -> Result<Accepted, DeskError> {
        let images = self.images().await?;
        let image = images.iter().find(|image| image.name == name);
        let image = image.ok_or_else(|| not_found("image", &name))?;
        if image.spec.probes.is_empty() {
            return Err(DeskError::Refused(format!("{name} declares no probes")));
        }
        Ok(self.queue("verify", who, None))
    }

    async fn verdicts(&self, build: BuildId) -> Result<Vec<ProbeVerdict>, DeskError> {
        if !self.build(build)?.state.is_finished() {
            return Err(DeskError::Refused("it has not finished".to_owned()));
        }
        Ok(vec![ProbeVerdict {
            capability: "python".to_owned(),
            claimed: vec!["3.12.4".to_owned()],
            found: vec!["3.11.9".to_owned()],
            agrees: false,
        }])
    }

    async fn machines(&self) -> Result<Vec<Machine>, DeskError> {
        self.check_open()?;
        let page = crate::store::Page {
            before: None,
            limit: 1_000,
        };
        Ok(self.store.machines(false, page).await?)
    }

    async fn end_machine(&self, id: MachineId, who: &str) -> Result<Machine, DeskError> {
        let mut machine = self
            .store
            .machine_now(id)
            .ok_or_else(|| not_found("machine", &id))?;
        let next = MachineState::Draining {
            instance: machine.state.instance().cloned(),
            reason: Reason::Requested(who.to_owned()),
        };
        let entered = machine.enter(next, things::NOW);
        entered.map_err(|_| DeskError::Refused("a build is bound to it".to_owned()))?;
        self.store.put([Change::UpdateMachine(machine.clone(), 0)]);
        Ok(machine)
    }

    async fn price_sources(&self) -> Result<BTreeMap<String, String>, DeskError> {
        self.check_open()?;
        let source = "AWS price list of 2026-11-20".to_owned();
        Ok(BTreeMap::from([("debian-12".to_owned(), source)]))
    }

    async fn record_plan(&self) -> Result<RecordedPass, DeskError> {
        self.check_open()?;
        let nothing = (Snapshot::default(), Plan::default());
        Ok(RecordedPass::new(&nothing.0, things::NOW, &[], &nothing.1))
    }

    async fn plan(&self) -> Result<PlanReport, DeskError> {
        self.check_open()?;
        Ok(PlanReport {
            at: things::NOW,
            actions: vec!["launch debian-12 on t3.medium for test (3.12)".to_owned()],
            waiting: vec![WaitingReport {
                requires: "python >=3.12".to_owned(),
                builds: 3,
                first: BuildId::from_bits(7),
                why: "max_machines of policy default is reached".to_owned(),
            }],
            machines: Vec::new(),
            wake_at: Some(things::NOW),
        })
    }

    async fn budgets(&self) -> Result<Vec<BudgetReport>, DeskError> {
        self.check_open()?;
        Ok(self.budgets.reports())
    }

    async fn budgets_now(&self) -> Result<Vec<BudgetReport>, DeskError> {
        self.budgets().await
    }

    async fn approve(&self, approval: Approval, who: &str) -> Result<(), DeskError> {
        self.check_open()?;
        if approval.reason == RESTARTED {
            self.ready.store(false, Ordering::Relaxed);
        }
        self.budgets.approve(approval, who)
    }

    async fn explain(&self, id: BuildId) -> Result<Explanation, DeskError> {
        self.check_open()?;
        let build = self.build(id)?;
        Ok(Explanation {
            build: id,
            state: build.state.word().to_owned(),
            summary: "It waits for a machine.".to_owned(),
            images: vec![ImageVerdict {
                image: "debian-12".to_owned(),
                rank: Some(1),
                price: Some(Rate::from_micros_per_hour(41_600)),
                verdict: "all machines are busy".to_owned(),
                shapes: Vec::new(),
                machines: Vec::new(),
            }],
            next: "It runs on the next machine that becomes idle.".to_owned(),
            waits_for: Some("a machine".to_owned()),
            next_try: None,
            ahead: Some(2),
            remedies: Vec::new(),
            attempts: Vec::new(),
        })
    }

    async fn create_token(
        &self,
        name: &str,
        role: TokenRole,
    ) -> Result<(Token, String), DeskError> {
        let text = format!("dm_{name}");
        let token = things::token(self.fresh(), name, role);
        self.store.put([Change::InsertToken(token.clone())]);
        Ok((token, text))
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), DeskError> {
        let tokens = self.store.tokens().await?;
        let known = tokens
            .iter()
            .any(|token| token.id == id && token.revoked_at.is_none());
        if !known {
            return Err(not_found("token", &id));
        }
        self.store
            .put([Change::RevokeToken(id, Timestamp::default())]);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
