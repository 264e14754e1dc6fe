//! The desk that clients talk to: hands each question to the room that answers it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::books::{Applied, Approval, BudgetReport, ImageHealth};
use crate::model::{
    Build, BuildId, BuildResult, Change, Image, Machine, MachineId, PipelineId, Policy, Secret,
    Token, TokenId, TokenRole,
};
use crate::planner::{self, Explanation, PlanReport, Quote, RecordedPass};

use super::desk::{
    Accepted, ApplyError, Checked, Declaration, Desk, DeskError, ProbeVerdict, Submission,
};
use super::engine::Engine;
use super::intake::{desk_error, hex, not_found};

/// Random bytes in a token: as many as its hash has.
const TOKEN_BYTES: usize = 32;

/// The engine's desk.
#[derive(Debug, Clone)]
pub struct FrontDesk {
    engine: Arc<Engine>,
}

impl FrontDesk {
    /// Accepts a token whose text somebody else chose, unless it is known already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn accept_token(
        &self,
        name: &str,
        role: TokenRole,
        text: &Secret,
    ) -> Result<(), DeskError> {
        let token = self.token(name, role, text.expose());
        if self
            .engine
            .parts
            .store
            .token_by_hash(&token.hash)
            .await?
            .is_some()
        {
            return Ok(());
        }
        self.insert(token).await
    }

    fn token(&self, name: &str, role: TokenRole, text: &str) -> Token {
        let now = self.engine.parts.clock.now();
        Token {
            id: TokenId::from_bits(self.engine.parts.ids.bits(now)),
            name: name.to_owned(),
            role,
            hash: hex(&Sha256::digest(text.as_bytes())),
            created_at: now,
            revoked_at: None,
        }
    }

    async fn insert(&self, token: Token) -> Result<(), DeskError> {
        let written = self.engine.write_durably(|draft| {
            draft.record(Change::InsertToken(token));
            Ok(())
        });
        written.await.map_err(desk_error)
    }

    /// A desk in front of `engine`.
    pub const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl Desk for FrontDesk {
    async fn submit(&self, submission: Submission) -> Result<Accepted, DeskError> {
        self.engine.submit_document(submission).await
    }

    async fn quote(&self, submission: Submission) -> Result<Quote, DeskError> {
        self.engine.quote_document(submission).await
    }

    async fn cancel_build(&self, id: BuildId, who: &str) -> Result<Build, DeskError> {
        self.engine.ask_cancel(id, who).await
    }

    async fn cancel_pipeline(&self, id: PipelineId, who: &str) -> Result<u32, DeskError> {
        self.engine.ask_cancel_all(id, who).await
    }

    async fn retry_build(&self, id: BuildId, who: &str) -> Result<Accepted, DeskError> {
        let build = self.engine.parts.store.build(id).await?;
        let build = build.ok_or_else(|| not_found("build", id))?;
        self.engine
            .retry(build.spec.pipeline, |other, _| other.id == id, who)
            .await
    }

    async fn retry_pipeline(&self, id: PipelineId, who: &str) -> Result<Accepted, DeskError> {
        self.engine
            .retry(id, |_, result| result != BuildResult::Success, who)
            .await
    }

    async fn apply(&self, declarations: Vec<Declaration>) -> Result<Vec<Applied>, ApplyError> {
        self.engine.apply_all(declarations).await
    }

    async fn check(&self, declarations: Vec<Declaration>) -> Result<Vec<Checked>, ApplyError> {
        self.engine.check_all(&declarations)
    }

    async fn remove_image(&self, name: &str, who: &str) -> Result<Image, DeskError> {
        self.engine.remove(name, who).await
    }

    async fn release_image(&self, name: &str, who: &str) -> Result<Image, DeskError> {
        self.engine.release_image(name, who).await
    }

    async fn image_health(&self, name: &str) -> Result<Option<ImageHealth>, DeskError> {
        Ok(self.engine.open_books()?.image_health(name))
    }

    async fn images(&self) -> Result<Vec<Image>, DeskError> {
        let books = self.engine.open_books()?;
        let mut images = Vec::new();
        for image in books.current_images() {
            images.push(Image::clone(image));
            images.extend(books.quarantined(&image.name).map(|bad| Image::clone(bad)));
        }
        Ok(images)
    }

    async fn policies(&self) -> Result<Vec<Policy>, DeskError> {
        let books = self.engine.open_books()?;
        Ok(books.policies.values().cloned().collect())
    }

    async fn verify_image(&self, name: &str, who: &str) -> Result<Accepted, DeskError> {
        self.engine.verify(name, who).await
    }

    async fn verdicts(&self, build: BuildId) -> Result<Vec<ProbeVerdict>, DeskError> {
        self.engine.verdicts_of(build).await
    }

    async fn machines(&self) -> Result<Vec<Machine>, DeskError> {
        let books = self.engine.open_books()?;
        Ok(books.machines.values().cloned().collect())
    }

    async fn end_machine(&self, id: MachineId, who: &str) -> Result<Machine, DeskError> {
        self.engine.ask_end(id, who).await
    }

    async fn price_sources(&self) -> Result<BTreeMap<String, String>, DeskError> {
        let books = self.engine.open_books()?;
        let sources = books.current_images().filter_map(|image| {
            let resolution = books.capacity.resolution(image)?;
            Some((image.name.clone(), resolution.prices.clone()))
        });
        Ok(sources.collect())
    }

    async fn record_plan(&self) -> Result<RecordedPass, DeskError> {
        let now = self.engine.parts.clock.now();
        let snapshot = self.engine.open_books()?.snapshot.clone();
        let mut ids = Vec::new();
        let plan = planner::plan(&snapshot, now, &mut || {
            let id = self.engine.parts.ids.bits(now);
            ids.push(id);
            id
        });
        Ok(RecordedPass::new(&snapshot, now, &ids, &plan))
    }

    async fn plan(&self) -> Result<PlanReport, DeskError> {
        let now = self.engine.parts.clock.now();
        let books = self.engine.open_books()?;
        let mut fresh = || self.engine.parts.ids.bits(now);
        let plan = planner::plan(&books.snapshot, now, &mut fresh);
        Ok(planner::render(&books.snapshot, &plan, now))
    }

    async fn budgets(&self) -> Result<Vec<BudgetReport>, DeskError> {
        self.engine.budget_reports().await
    }

    async fn budgets_now(&self) -> Result<Vec<BudgetReport>, DeskError> {
        let now = self.engine.parts.clock.now();
        let reports = self.engine.open_books()?.budget_reports(now);
        Ok(reports.into_iter().map(|(_, _, report)| report).collect())
    }

    async fn approve(&self, approval: Approval, who: &str) -> Result<(), DeskError> {
        self.engine.approve(approval, who).await
    }

    async fn explain(&self, id: BuildId) -> Result<Explanation, DeskError> {
        self.engine.explain_build(id).await
    }

    async fn create_token(
        &self,
        name: &str,
        role: TokenRole,
    ) -> Result<(Token, String), DeskError> {
        let mut random = [0_u8; TOKEN_BYTES];
        self.engine.parts.ids.fill(&mut random);
        let text = format!("dm_{}", hex(&random));
        let token = self.token(name, role, &text);
        self.insert(token.clone()).await?;
        Ok((token, text))
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), DeskError> {
        let known = self.engine.parts.store.tokens().await?;
        if !known
            .iter()
            .any(|token| token.id == id && token.revoked_at.is_none())
        {
            return Err(not_found("token", id));
        }
        let written = self.engine.write_durably(|draft| {
            let now = draft.now;
            draft.record(Change::RevokeToken(id, now));
            Ok(())
        });
        written.await.map_err(desk_error)
    }

    fn is_ready(&self) -> bool {
        self.engine.is_running()
    }
}
