//! Finds out what images stand for at their providers, and keeps it fresh: what is launched, where,
//! and at what price.

use std::sync::Arc;

use crate::model::{EventKind, Image, Span, Subject};
use crate::planner::PauseReason;
use crate::provider::{ErrorKind, ProviderError, Resolution};

use super::engine::{Engine, Fault};

/// Spot prices move by the hour, new images come by the day.
const FRESH: Span = Span::from_secs(600);
/// How soon an image is looked at again whose provider did not answer.
const AGAIN: Span = Span::from_secs(20);
/// How soon an image is looked at again that its provider refuses: somebody has to act first.
const REFUSED_AGAIN: Span = Span::from_secs(120);

impl Engine {
    /// Resolves all images that need it, again and again, and new ones at once.
    pub(super) async fn resolve_loop(self: Arc<Self>) {
        loop {
            let mut pause = FRESH;
            for image in self.images_to_resolve() {
                let Some(provider) = self.provider(&image.spec.provider).cloned() else {
                    continue;
                };
                let Some(fleet) = provider.fleet() else {
                    continue;
                };
                let written = match fleet.resolve(&image.spec).await {
                    Ok(resolution) => self.note_resolution(&image, resolution),
                    Err(error) => {
                        let refused = matches!(error.kind, ErrorKind::Config | ErrorKind::Auth);
                        pause = pause.min(if refused { REFUSED_AGAIN } else { AGAIN });
                        self.note_refusal(&image, &error)
                    }
                };
                if written.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = self.resolve_nudge.notified() => {}
                () = self.parts.clock.sleep(pause) => {}
            }
        }
    }

    fn images_to_resolve(&self) -> Vec<Arc<Image>> {
        let books = self.books();
        let has_fleet = |image: &&Arc<Image>| books.capacity.skills(&image.spec.provider).fleet;
        let images: Vec<_> = books.current_images().filter(has_fleet).cloned().collect();
        // New ones first: builds may wait for them.
        let (known, new): (Vec<_>, Vec<_>) = images
            .into_iter()
            .partition(|image| books.capacity.resolution(image).is_some());
        new.into_iter().chain(known).collect()
    }

    /// Whether it is not known of a current image where it can be launched.
    pub(super) fn has_unresolved_images(&self) -> bool {
        let first = self.images_to_resolve().into_iter().next();
        first.is_some_and(|image| self.books().capacity.resolution(&image).is_none())
    }

    fn note_resolution(&self, image: &Image, resolution: Resolution) -> Result<(), Fault> {
        let found = format!(
            "version {} stands for {}; {} offerings, priced by {}",
            image.version,
            resolution.description,
            resolution.offerings.len(),
            resolution.prices
        );
        self.write_soon(|draft| {
            if draft.books.resolved(image, resolution) {
                let subject = Subject::Image(image.name.clone());
                draft.event(subject, EventKind::ImageNote, found);
            }
            draft.books.catalogue_changed();
            Ok(())
        })?;
        self.nudge();
        Ok(())
    }

    fn note_refusal(&self, image: &Image, error: &ProviderError) -> Result<(), Fault> {
        tracing::warn!(image = image.name, %error, "image not resolved");
        let is_refused = matches!(error.kind, ErrorKind::Config | ErrorKind::Auth);
        self.write_soon(|draft| {
            // What it stood for before still does, as far as anybody knows.
            if !is_refused && draft.books.capacity.resolution(image).is_some() {
                return Ok(());
            }
            let is_news = draft.books.not_resolved(image);
            let why = match error.kind {
                ErrorKind::Auth => Some(PauseReason::Provider),
                ErrorKind::Config => Some(PauseReason::Refused),
                // Nobody need act: it is asked again soon.
                ErrorKind::PoolEmpty
                | ErrorKind::Quota
                | ErrorKind::Address
                | ErrorKind::Throttled
                | ErrorKind::Unknown => None,
            };
            if let Some(why) = why {
                // It is looked at again before the pause ends.
                let until = draft.now + REFUSED_AGAIN + AGAIN;
                draft.books.pause_image(&image.name, why, until);
            }
            if is_news {
                let subject = Subject::Image(image.name.clone());
                let message = format!("cannot be launched: {error}");
                draft.event(subject, EventKind::ImageNote, message);
            }
            Ok(())
        })
    }
}
