//! Proves an image's claims: boots a fresh machine of it, runs its probes as the steps of a build,
//! and compares what they print with what the catalogue says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;

use crate::model::{
    Attempt, BuildId, BuildState, CapabilityValue, Requirements, Span, Step, StepRecord,
};
use crate::spec::BuildDraft;

use super::desk::{Accepted, DeskError, ProbeVerdict};
use super::engine::{Engine, chain};
use super::index::StoreIndex;
use super::intake::{NewPipeline, not_found};

/// Longest time for one probe: they print a few lines.
const PROBE_TIMEOUT: Span = Span::from_secs(60);
/// Most bytes of a probe's output that are looked at.
const PROBE_OUTPUT: u64 = 64 * 1024;
/// The label that names the image which a pipeline verifies.
const VERIFIES: &str = "verifies";

impl Engine {
    /// Queues the verification of an image.
    pub(super) async fn verify(&self, name: &str, who: &str) -> Result<Accepted, DeskError> {
        let image = self
            .open_books()?
            .image(name)
            .cloned()
            .ok_or_else(|| not_found("image", name))?;
        if image.spec.probes.is_empty() {
            return Err(DeskError::Refused(format!(
                "image {name:?} has no probes to run; add `probes:` to its file"
            )));
        }
        let steps = image.spec.probes.iter().map(|(capability, command)| Step {
            name: capability.clone(),
            run: command.clone(),
            env: BTreeMap::new(),
            timeout: Some(PROBE_TIMEOUT),
            continue_on_error: true,
            always: true,
        });
        let labels = BTreeMap::from([(VERIFIES.to_owned(), name.to_owned())]);
        let timeout = Span::from_micros(
            PROBE_TIMEOUT.micros() * u64::try_from(image.spec.probes.len()).unwrap_or(1),
        );
        let build = BuildDraft {
            name: format!("verify {name}"),
            labels: labels.clone(),
            priority: 0,
            matrix: BTreeMap::new(),
            requires: Requirements::new(),
            image: Some(name.to_owned()),
            fresh: true,
            deadline: None,
            needs: Vec::new(),
            steps: steps.collect(),
            env: BTreeMap::new(),
            timeout,
            max_attempts: 1,
            log_limit_bytes: PROBE_OUTPUT * 16,
            place: (0, 0),
        };
        self.queue(NewPipeline {
            name: format!("verify {name}"),
            project: "dormouse".to_owned(),
            labels,
            priority: 0,
            submitted_by: who.to_owned(),
            idempotency: None,
            builds: vec![build],
        })
        .await
    }

    /// Compares the claims with the findings of a finished verification.
    pub(super) async fn verdicts_of(&self, id: BuildId) -> Result<Vec<ProbeVerdict>, DeskError> {
        let store = &self.parts.store;
        let build = store
            .build(id)
            .await?
            .ok_or_else(|| not_found("build", id))?;
        let Some(name) = build.spec.labels.get(VERIFIES) else {
            return Err(DeskError::Refused(format!(
                "{id} is not the verification of an image"
            )));
        };
        if !matches!(build.state, BuildState::Finished { .. }) {
            return Err(DeskError::Refused(format!("{id} has not finished")));
        }
        let attempt = store.attempts(id).await?.pop();
        let attempt = attempt.ok_or_else(|| DeskError::Refused(format!("{id} never ran")))?;
        let machine = store.machine(attempt.machine).await?;
        let version = machine.map(|machine| machine.image_version);
        let images = store.images(Some(name)).await?;
        let image = images
            .into_iter()
            .find(|image| Some(image.version) == version);
        let image = image.ok_or_else(|| not_found("image", name))?;
        let mut verdicts = Vec::new();
        for (place, step) in build.spec.steps.iter().enumerate() {
            let record = attempt
                .steps
                .iter()
                .find(|r| usize::try_from(r.index) == Ok(place));
            let found = self.printed(&attempt, record).await?;
            let passed = record.is_some_and(|record| record.exit_code == Some(0));
            let claim = image.spec.capabilities.get(&step.name);
            verdicts.push(judge(&step.name, claim, passed, found));
        }
        Ok(verdicts)
    }

    /// The lines that a step printed.
    async fn printed(
        &self,
        attempt: &Attempt,
        record: Option<&StepRecord>,
    ) -> Result<Vec<String>, DeskError> {
        let Some(record) = record else {
            return Ok(Vec::new());
        };
        let end = record.log_end.unwrap_or(attempt.cursor.stored);
        let end = end.min(record.log_start + PROBE_OUTPUT);
        let index = Arc::new(StoreIndex::new(Arc::clone(&self.parts.store)));
        let bytes = self
            .parts
            .logs
            .read(attempt.id, index, record.log_start, end);
        let bytes: Vec<bytes::Bytes> = bytes.try_collect().await.map_err(|error| {
            let error = chain(&error);
            tracing::error!(attempt.id = %attempt.id, error, "log of a verification not readable");
            DeskError::Refused("the log of the verification cannot be read".to_owned())
        })?;
        let text = String::from_utf8_lossy(&bytes.concat()).into_owned();
        Ok(text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

/// A flag agrees with a probe that exits 0; values agree when the probe prints the same set.
fn judge(
    capability: &str,
    claim: Option<&CapabilityValue>,
    passed: bool,
    found: Vec<String>,
) -> ProbeVerdict {
    let (claimed, agrees) = match claim {
        Some(CapabilityValue::Flag(flag)) => (vec![flag.to_string()], *flag == passed),
        Some(CapabilityValue::Values(values)) => {
            let same = values.iter().collect::<BTreeSet<_>>() == found.iter().collect();
            (values.clone(), passed && same)
        }
        None => (Vec::new(), !passed),
    };
    ProbeVerdict {
        capability: capability.to_owned(),
        claimed,
        found,
        agrees,
    }
}
