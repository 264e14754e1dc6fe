//! Changes the catalogue and the policies: versioned rows, current at once.

use crate::books::{Applied, Draft, apply_image, apply_policy, release, retire};
use crate::model::{EventKind, Image, ImageSpec, ImageState, PolicySpec, Subject};
use crate::spec::{self, Problem};

use super::desk::{ApplyError, Declaration, DeskError};
use super::engine::{Engine, Fault};
use super::intake::{desk_error, not_found};

/// A declaration that was read without a problem.
pub(super) enum Parsed {
    Image(String, Box<ImageSpec>),
    Policy(String, Box<PolicySpec>),
}

impl Engine {
    /// Makes all declarations current, or none.
    pub(super) async fn apply_all(
        &self,
        declarations: Vec<Declaration>,
    ) -> Result<Vec<Applied>, ApplyError> {
        let parsed = self.parse_all(&declarations)?;
        let applied = self
            .write_durably(|draft| {
                let applied = parsed
                    .into_iter()
                    .map(|parsed| apply(draft, parsed))
                    .collect();
                draft.books.catalogue_changed();
                Ok(applied)
            })
            .await;
        self.count_spent().await?;
        self.nudge();
        self.resolve_nudge.notify_one();
        applied.map_err(|fault| match fault {
            Fault::Store(error) => ApplyError::Store(error),
            Fault::Illegal(_) | Fault::Plan(_) => ApplyError::Busy,
        })
    }

    pub(super) fn parse_all(
        &self,
        declarations: &[Declaration],
    ) -> Result<Vec<Parsed>, ApplyError> {
        if !self.is_running() {
            return Err(ApplyError::Busy);
        }
        let mut problems = Vec::new();
        let mut parsed: Vec<Parsed> = Vec::new();
        for (place, declaration) in declarations.iter().enumerate() {
            match self.parse(declaration) {
                Ok(one) if parsed.iter().any(|other| other.key() == one.key()) => {
                    problems.push((
                        place,
                        whole_document(format!("{} is declared twice", one.key().1)),
                    ));
                }
                Ok(one) => parsed.push(one),
                Err(found) => problems.extend(found.into_iter().map(|problem| (place, problem))),
            }
        }
        if problems.is_empty() {
            Ok(parsed)
        } else {
            Err(ApplyError::Invalid(problems))
        }
    }

    fn parse(&self, declaration: &Declaration) -> Result<Parsed, Vec<Problem>> {
        match declaration {
            Declaration::Image(text) => {
                let (name, spec) = spec::parse_image(text)?;
                let Some(provider) = self.provider(&spec.provider) else {
                    let known: Vec<&str> =
                        self.parts.providers.keys().map(String::as_str).collect();
                    return Err(vec![whole_document(format!(
                        "provider {:?} is not configured; configured: {}",
                        spec.provider,
                        known.join(", ")
                    ))]);
                };
                if spec.wish.is_some() && provider.fleet().is_none() {
                    return Err(vec![whole_document(format!(
                        "provider {:?} knows no sizes; expected shapes as a list with vcpus, \
                         memory and price",
                        spec.provider
                    ))]);
                }
                Ok(Parsed::Image(name, Box::new(spec)))
            }
            Declaration::Policy(text) => {
                let (name, spec) = spec::parse_policy(text)?;
                Ok(Parsed::Policy(name, Box::new(spec)))
            }
        }
    }

    /// Takes an image out of the catalogue.
    pub(super) async fn remove(&self, name: &str, who: &str) -> Result<Image, DeskError> {
        self.check_open()?;
        let removed = self
            .write_durably(|draft| {
                let Some(image) = draft.books.image(name).cloned() else {
                    return Ok(None);
                };
                // It goes with the version that it stands in for.
                if let Some(bad) = draft.books.quarantined(name).cloned() {
                    retire(draft, &bad, ImageState::Removed);
                }
                let removed = retire(draft, &image, ImageState::Removed);
                let message = format!("version {} removed by {who}", removed.version);
                draft.event(
                    Subject::Image(name.to_owned()),
                    EventKind::ImageApplied,
                    message,
                );
                draft.books.catalogue_changed();
                Ok(Some(removed))
            })
            .await
            .map_err(desk_error)?;
        self.nudge();
        removed.ok_or_else(|| not_found("image", name))
    }

    /// Makes a quarantined version of an image current again.
    pub(super) async fn release_image(&self, name: &str, who: &str) -> Result<Image, DeskError> {
        self.check_open()?;
        let released = self
            .write_durably(|draft| {
                if draft.books.image(name).is_none() {
                    return Ok(Err(not_found("image", name)));
                }
                let refusal = || {
                    let current = format!("image {name:?} has no quarantined version");
                    DeskError::Refused(current)
                };
                Ok(release(draft, name, who).ok_or_else(refusal))
            })
            .await
            .map_err(desk_error)?;
        self.nudge();
        self.resolve_nudge.notify_one();
        released
    }
}

impl Parsed {
    /// Kind and name: what may be declared once.
    pub(super) fn key(&self) -> (&'static str, &str) {
        match self {
            Self::Image(name, _) => ("image", name),
            Self::Policy(name, _) => ("policy", name),
        }
    }
}

fn whole_document(message: String) -> Problem {
    Problem {
        line: 1,
        column: 1,
        path: String::new(),
        message,
    }
}

fn apply(draft: &mut Draft<'_>, parsed: Parsed) -> Applied {
    match parsed {
        Parsed::Image(name, spec) => apply_image(draft, name, *spec),
        Parsed::Policy(name, spec) => apply_policy(draft, name, *spec),
    }
}
