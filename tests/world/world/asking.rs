//! What clients ask of a world.

use dormouse::books::Applied;
use dormouse::engine::{Accepted, ApplyError, Declaration, Desk, DeskError, FrontDesk, Submission};
use dormouse::model::{BuildId, Change, Policy, PolicySpec};
use dormouse::planner::Explanation;
use dormouse::store::Store;

use super::World;

impl World {
    pub(crate) fn desk(&self) -> &FrontDesk {
        &self.process().desk
    }

    /// Asks the desk, and lets happen what follows at once.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(&FrontDesk) -> T) -> T {
        let answer = self.wait(question(self.desk()));
        self.settle();
        answer
    }

    /// Asks the desk before anything else can happen.
    pub(crate) fn ask_at_once<T>(&self, question: impl AsyncFnOnce(&FrontDesk) -> T) -> T {
        self.wait(question(self.desk()))
    }

    pub(crate) fn apply_images(&self, images: &[&str]) -> Vec<Applied> {
        let texts = images.iter().map(|text| (*text).to_owned());
        self.apply(texts.map(Declaration::Image).collect()).unwrap()
    }

    pub(crate) fn apply_policy(&self, text: &str) {
        self.apply(vec![Declaration::Policy(text.to_owned())])
            .unwrap();
    }

    /// Puts a policy into the store as it is, and starts another process that finds it there.
    pub(crate) fn lay_down(&mut self, spec: PolicySpec) {
        let policy = Policy {
            name: "laid-down".to_owned(),
            version: 1,
            spec,
            applied_at: self.now(),
            rev: 0,
        };
        let written = self.store().commit(vec![Change::InsertPolicy(policy)]);
        self.wait(written).unwrap();
        self.kill_and_restart();
    }

    pub(crate) fn apply(&self, declarations: Vec<Declaration>) -> Result<Vec<Applied>, ApplyError> {
        let applied = self.wait(self.desk().apply(declarations));
        self.settle();
        applied
    }

    pub(crate) fn remove_image(&self, name: &str) {
        self.wait(self.desk().remove_image(name, "ada")).unwrap();
        self.settle();
    }

    pub(crate) fn submit(&self, document: &str) -> Submitted {
        Submitted::from(self.try_submit(document, None).unwrap())
    }

    pub(crate) fn try_submit(
        &self,
        document: &str,
        key: Option<&str>,
    ) -> Result<Accepted, DeskError> {
        let submission = submission(document, key);
        self.ask(async |desk| desk.submit(submission).await)
    }

    /// Queues a build of one step.
    pub(crate) fn submit_one(&self, requires: &str, run: &str) -> BuildId {
        let run = run.replace('\n', "\n          ");
        let submitted = self.submit(&format!(
            "name: one\nbuilds:\n  one:\n    requires: {{ {requires} }}\n    steps:\n      \
             - |\n          {run}\n"
        ));
        submitted.id("one")
    }

    pub(crate) fn cancel(&self, build: BuildId) {
        self.ask(async |desk| desk.cancel_build(build, "ada").await)
            .unwrap();
    }

    pub(crate) fn explain(&self, build: BuildId) -> Explanation {
        self.ask(async |desk| desk.explain(build).await).unwrap()
    }
}

/// A pipeline that was taken.
pub(crate) struct Submitted {
    pub(crate) accepted: Accepted,
}

impl From<Accepted> for Submitted {
    fn from(accepted: Accepted) -> Self {
        Self { accepted }
    }
}

impl Submitted {
    /// The build of this name.
    pub(crate) fn id(&self, name: &str) -> BuildId {
        let found = self.accepted.builds.iter().find(|b| b.spec.name == name);
        found
            .unwrap_or_else(|| panic!("no build {name:?} in {:?}", self.names()))
            .id
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let builds = self.accepted.builds.iter();
        builds.map(|build| build.spec.name.as_str()).collect()
    }
}

pub(crate) fn submission(document: &str, key: Option<&str>) -> Submission {
    Submission {
        document: document.to_owned(),
        idempotency_key: key.map(str::to_owned),
        submitted_by: "ada".to_owned(),
    }
}
