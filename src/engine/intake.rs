//! Takes work in: documents to queued builds, and finished builds to new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::MutexGuard;

use sha2::{Digest, Sha256};

use crate::books::{Books, insert, row, supersede};
use crate::matching::{self, Matches};
use crate::model::{
    Build, BuildId, BuildResult, BuildState, Pipeline, PipelineId, Requirements, Timestamp,
};
use crate::spec::{self, BuildDraft, PipelineDraft, Problem};
use crate::store::{BuildFilter, Page};

use super::desk::{Accepted, DeskError, Submission};
use super::engine::{Engine, Fault};

/// Builds without a result that are taken at most: each costs about a kilobyte of memory here, and a
/// queue that long is a mistake somewhere.
const MAX_OPEN_BUILDS: usize = 200_000;
/// Builds of one pipeline that a retry looks at; a pipeline has fewer.
const MAX_RETRIED: u32 = 10_000;

/// A pipeline about to be queued.
pub(super) struct NewPipeline {
    pub(super) name: String,
    pub(super) project: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) priority: i32,
    pub(super) submitted_by: String,
    pub(super) idempotency: Option<(String, String)>,
    pub(super) builds: Vec<BuildDraft>,
}

impl Engine {
    /// Refuses clients while the books are not those of the store: an answer from them would be
    /// wrong, and a wish written into them lost.
    pub(super) fn check_open(&self) -> Result<(), DeskError> {
        if self.is_running() {
            Ok(())
        } else {
            Err(DeskError::Busy(
                "the orchestrator is loading its state".to_owned(),
            ))
        }
    }

    /// The books, for whoever answers a client from them; refused as by [`Self::check_open`].
    ///
    /// Looked at under their lock: the books are exchanged under it before the engine counts as
    /// running, so what is handed out is never empty or half loaded.
    pub(super) fn open_books(&self) -> Result<MutexGuard<'_, Books>, DeskError> {
        let books = self.books();
        self.check_open()?;
        Ok(books)
    }

    pub(super) async fn submit_document(
        &self,
        submission: Submission,
    ) -> Result<Accepted, DeskError> {
        self.check_open()?;
        let Some(key) = submission.idempotency_key.clone() else {
            return self.queue_document(submission, None).await;
        };
        // One keyed submission at a time: two at once with the same key must not both be new.
        let _gate = self.keyed_submissions.lock().await;
        let hash = hex(&Sha256::digest(submission.document.as_bytes()));
        match self.parts.store.pipeline_by_key(&key).await? {
            None => self.queue_document(submission, Some((key, hash))).await,
            Some(known)
                if known
                    .idempotency
                    .as_ref()
                    .is_some_and(|(_, same)| *same == hash) =>
            {
                let builds = self.builds_of(known.id).await?;
                Ok(Accepted {
                    pipeline: known,
                    builds,
                    repeated: true,
                })
            }
            Some(known) => Err(DeskError::Conflict(format!(
                "the Idempotency-Key {key:?} was used with another document, for {}",
                known.id
            ))),
        }
    }

    async fn queue_document(
        &self,
        submission: Submission,
        idempotency: Option<(String, String)>,
    ) -> Result<Accepted, DeskError> {
        let new = self.read_document(submission, idempotency)?;
        self.queue(new).await
    }

    /// The pipeline of a document, with all that is wrong with it.
    pub(super) fn read_document(
        &self,
        submission: Submission,
        idempotency: Option<(String, String)>,
    ) -> Result<NewPipeline, DeskError> {
        let limits = &self.parts.settings.pipeline_limits;
        let draft =
            spec::parse_pipeline(&submission.document, limits).map_err(DeskError::Invalid)?;
        let problems = self.unsatisfiable(&draft)?;
        if !problems.is_empty() {
            return Err(DeskError::Invalid(problems));
        }
        let PipelineDraft {
            name,
            project,
            labels,
            priority,
            builds,
        } = draft;
        let submitted_by = submission.submitted_by;
        Ok(NewPipeline {
            name,
            project,
            labels,
            priority,
            submitted_by,
            idempotency,
            builds,
        })
    }

    /// Builds that no image of the catalogue can build, each with the nearest images and what fails.
    fn unsatisfiable(&self, draft: &PipelineDraft) -> Result<Vec<Problem>, DeskError> {
        let books = self.open_books()?;
        let mut known: BTreeMap<(&Requirements, Option<&str>), Option<String>> = BTreeMap::new();
        let mut problems = Vec::new();
        for build in &draft.builds {
            let pin = build.image.as_deref();
            let refusal = known.entry((&build.requires, pin)).or_insert_with(|| {
                let images = books.current_images().map(AsRef::as_ref);
                let matches: Matches<'_> = matching::match_catalogue(&build.requires, pin, images);
                matches.refusal(pin)
            });
            if let Some(refusal) = refusal {
                problems.push(Problem {
                    line: build.place.0,
                    column: build.place.1,
                    path: format!("builds.{}", build.name),
                    message: refusal.clone(),
                });
            }
        }
        Ok(problems)
    }

    /// Refuses a pipeline for which there is no room in memory.
    pub(super) fn check_room(&self, new: &NewPipeline) -> Result<(), DeskError> {
        let open = self.open_books()?.builds.len();
        if open + new.builds.len() > MAX_OPEN_BUILDS {
            return Err(DeskError::Busy(format!(
                "{open} builds are open already, and at most {MAX_OPEN_BUILDS} may be"
            )));
        }
        Ok(())
    }

    /// Queues a pipeline; answers once it is durable.
    pub(super) async fn queue(&self, new: NewPipeline) -> Result<Accepted, DeskError> {
        self.check_open()?;
        self.check_room(&new)?;
        let now = self.parts.clock.now();
        let (pipeline, builds) = self.rows(new, now);
        let accepted = Accepted {
            pipeline: pipeline.clone(),
            builds: builds.clone(),
            repeated: false,
        };
        let written = self.write(|draft| {
            let ids = builds.iter().map(|build| build.id).collect();
            insert(draft, pipeline.clone(), builds);
            supersede(draft, &pipeline, ids)
        });
        let (stopping, pending) = written.map_err(desk_error)?;
        self.nudge();
        self.durable(pending).await.map_err(desk_error)?;
        for attempt in stopping {
            self.wake_driver(attempt);
        }
        Ok(accepted)
    }

    pub(super) fn rows(&self, new: NewPipeline, now: Timestamp) -> (Pipeline, Vec<Build>) {
        let pipeline = Pipeline {
            id: PipelineId::from_bits(self.parts.ids.bits(now)),
            name: new.name,
            project: new.project,
            labels: new.labels,
            priority: new.priority,
            submitted_at: now,
            submitted_by: new.submitted_by,
            idempotency: new.idempotency,
            builds: u32::try_from(new.builds.len()).unwrap_or(u32::MAX),
        };
        // Ids ascend in document order: they are the last word in the order of the queue.
        let first = self.parts.ids.bits(now);
        let mut ids = (0..new.builds.len()).map(|place| BuildId::from_bits(first + place as u128));
        let ids: Vec<BuildId> = ids.by_ref().collect();
        let builds = new
            .builds
            .into_iter()
            .zip(&ids)
            .map(|(draft, id)| row(&pipeline, &ids, *id, draft))
            .collect();
        (pipeline, builds)
    }

    /// Queues builds that are over again.
    pub(super) async fn retry(
        &self,
        pipeline: PipelineId,
        wanted: impl Fn(&Build, BuildResult) -> bool,
        who: &str,
    ) -> Result<Accepted, DeskError> {
        let known = self.parts.store.pipeline(pipeline).await?;
        let known = known.ok_or_else(|| not_found("pipeline", pipeline))?;
        let mut builds = self.builds_of(pipeline).await?;
        builds.retain(|build| match build.state {
            BuildState::Finished { result, .. } => wanted(build, result),
            BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Bound { .. }
            | BuildState::Running { .. } => false,
        });
        if builds.is_empty() {
            return Err(DeskError::Refused(
                "there is nothing to retry: no finished build without success".to_owned(),
            ));
        }
        let mut labels = known.labels;
        labels.insert("retry_of".to_owned(), pipeline.to_string());
        self.queue(NewPipeline {
            name: known.name,
            project: known.project,
            labels,
            priority: known.priority,
            submitted_by: who.to_owned(),
            idempotency: None,
            builds: drafts_of(&builds),
        })
        .await
    }

    /// All builds of a pipeline, in document order.
    async fn builds_of(&self, pipeline: PipelineId) -> Result<Vec<Build>, DeskError> {
        let filter = BuildFilter {
            pipeline: Some(pipeline),
            ..BuildFilter::default()
        };
        let page = Page {
            before: None,
            limit: MAX_RETRIED,
        };
        let mut builds = self.parts.store.builds(&filter, page).await?;
        builds.sort_by_key(|build| build.id);
        Ok(builds)
    }
}

/// What a fault means for a client: it may try again.
pub(super) fn desk_error(fault: Fault) -> DeskError {
    match fault {
        Fault::Store(error) => DeskError::Store(error),
        Fault::Illegal(_) | Fault::Plan(_) => {
            DeskError::Busy("the orchestrator is loading its state anew".to_owned())
        }
    }
}

pub(super) fn not_found(what: &'static str, id: impl std::fmt::Display) -> DeskError {
    DeskError::NotFound {
        what,
        id: id.to_string(),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Drafts that repeat `builds`; what they need outside of them is taken as met.
fn drafts_of(builds: &[Build]) -> Vec<BuildDraft> {
    let places: BTreeMap<BuildId, usize> = builds
        .iter()
        .enumerate()
        .map(|(place, build)| (build.id, place))
        .collect();
    builds
        .iter()
        .map(|build| draft_of(build, &places))
        .collect()
}

fn draft_of(build: &Build, places: &BTreeMap<BuildId, usize>) -> BuildDraft {
    let spec = build.spec.as_ref().clone();
    let needs: BTreeSet<usize> = spec
        .needs
        .iter()
        .filter_map(|need| places.get(need).copied())
        .collect();
    BuildDraft {
        name: spec.name,
        labels: spec.labels,
        priority: spec.priority,
        matrix: spec.matrix,
        requires: spec.requires,
        image: spec.image,
        fresh: spec.fresh,
        deadline: spec.deadline,
        needs: needs.into_iter().collect(),
        steps: spec.steps,
        env: spec.env,
        timeout: spec.timeout,
        max_attempts: spec.max_attempts,
        log_limit_bytes: spec.log_limit_bytes,
        place: (0, 0),
    }
}
