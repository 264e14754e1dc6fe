//! How image versions fare: their boots, their builds, what failures cost. A version that never boots
//! gives way to one before it that did.
//!
//! All of it follows from the records of machines: those in the books, and those that are gone, which
//! are counted when they go and, after a restart, from the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::{
    BootRecord, EventKind, Image, ImageState, Machine, Money, Span, Subject, Timestamp,
};

use super::books::Books;
use super::declarations::retire;
use super::draft::Draft;

/// Boots of a version and shape whose times are kept for quantiles: with these a p95 rests on fifty.
const KEPT_BOOTS: usize = 1_000;

/// How image versions have fared, as far as their machines are gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    versions: BTreeMap<(String, u32), Fared>,
}

/// How one version has fared.
#[derive(Debug, Clone, Default)]
struct Fared {
    shapes: BTreeMap<String, Tally>,
    trial: Trial,
}

/// Boots since the version was applied, or tried anew.
#[derive(Debug, Clone, Copy, Default)]
struct Trial {
    worked: u32,
    failed: u32,
}

/// Counts of one version and shape.
#[derive(Debug, Clone, Default)]
struct Tally {
    boots: u32,
    failed_boots: u32,
    times: VecDeque<Span>,
    builds: u32,
    infrastructure_failures: u32,
    failure_cost: Money,
}

/// How an image has fared, newest version first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHealth {
    /// The image.
    pub image: String,
    /// Its versions that are current, or have machines, or had some lately.
    pub versions: Vec<VersionHealth>,
}

/// How a version of an image has fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionHealth {
    /// The version.
    pub version: u32,
    /// Whether new machines are launched from it.
    pub state: ImageState,
    /// Since when it was current, or tried anew.
    pub since: Timestamp,
    /// By shape.
    pub shapes: Vec<ShapeHealth>,
}

/// How machines of one version and shape have fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeHealth {
    /// The provider's name for the shape.
    pub shape: String,
    /// Boots that worked.
    pub boots: u32,
    /// Boots that did not.
    pub failed_boots: u32,
    /// Time from the decision to launch to ready that half of the boots kept to.
    pub boot_p50: Option<Span>,
    /// The same for 95 of 100.
    pub boot_p95: Option<Span>,
    /// Attempts that ended on them, however they did.
    pub builds: u32,
    /// Attempts that failed for reasons of infrastructure once their machine was up.
    pub infrastructure_failures: u32,
    /// What failed boots and those attempts cost.
    pub failure_cost: Money,
}

impl Tally {
    fn add(&mut self, machine: &Machine) {
        let record = &machine.record;
        match record.boot {
            BootRecord::Took(span) => {
                self.boots += 1;
                self.times.push_back(span);
                if self.times.len() > KEPT_BOOTS {
                    self.times.pop_front();
                }
            }
            BootRecord::Failed => {
                self.failed_boots += 1;
                self.failure_cost += machine.billed;
            }
            BootRecord::Unknown => {}
        }
        self.builds += machine.builds_done;
        self.infrastructure_failures += record.infrastructure_failures;
        self.failure_cost += record.failure_cost;
    }

    fn report(&self, shape: &str) -> ShapeHealth {
        let mut times: Vec<Span> = self.times.iter().copied().collect();
        times.sort_unstable();
        ShapeHealth {
            shape: shape.to_owned(),
            boots: self.boots,
            failed_boots: self.failed_boots,
            boot_p50: quantile(&times, 50),
            boot_p95: quantile(&times, 95),
            builds: self.builds,
            infrastructure_failures: self.infrastructure_failures,
            failure_cost: self.failure_cost,
        }
    }
}

/// The nearest rank.
fn quantile(sorted: &[Span], percent: usize) -> Option<Span> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

impl Fared {
    fn add(&mut self, machine: &Machine, counts_from: Timestamp) {
        let shape = self.shapes.entry(machine.shape.name.clone()).or_default();
        shape.add(machine);
        if machine.created_at < counts_from {
            return;
        }
        match machine.record.boot {
            BootRecord::Took(_) => self.trial.worked += 1,
            BootRecord::Failed => self.trial.failed += 1,
            BootRecord::Unknown => {}
        }
    }

    fn boots(&self) -> u32 {
        self.shapes.values().map(|tally| tally.boots).sum()
    }
}

impl Books {
    /// Counts a machine that is gone.
    pub(crate) fn count_gone(&mut self, machine: &Machine) {
        let key = (machine.image.clone(), machine.image_version);
        let counts_from = self.images.get(&key).map(|image| image.counts_from());
        let fared = self.health.versions.entry(key).or_default();
        fared.add(machine, counts_from.unwrap_or_default());
    }

    /// Makes versions known that are not current but may be again.
    pub(crate) fn know_versions(&mut self, images: Vec<Image>) {
        for image in images {
            let key = (image.name.clone(), image.version);
            self.images.entry(key).or_insert_with(|| Arc::new(image));
        }
    }

    /// The quarantined version for which another one stands in.
    pub(crate) fn quarantined(&self, name: &str) -> Option<&Arc<Image>> {
        let current = self.image(name)?.version;
        let newer = (name.to_owned(), current + 1)..=(name.to_owned(), u32::MAX);
        let mut newer = self.images.range(newer).rev().map(|(_, image)| image);
        newer.find(|image| image.state == ImageState::Quarantined)
    }

    /// How an image has fared; none if nothing is known of it.
    pub(crate) fn image_health(&self, name: &str) -> Option<ImageHealth> {
        let versions = (name.to_owned(), 0)..=(name.to_owned(), u32::MAX);
        let versions: Vec<VersionHealth> = self
            .images
            .range(versions)
            .rev()
            .map(|((_, version), image)| VersionHealth {
                version: *version,
                state: image.state,
                since: image.counts_from(),
                shapes: self.shapes_of(image),
            })
            .filter(|version| !version.shapes.is_empty() || version.state == ImageState::Active)
            .collect();
        (!versions.is_empty()).then(|| ImageHealth {
            image: name.to_owned(),
            versions,
        })
    }

    fn shapes_of(&self, image: &Image) -> Vec<ShapeHealth> {
        let fared = self.fared(image);
        let reports = fared.shapes.iter().map(|(name, tally)| tally.report(name));
        reports.collect()
    }

    /// How a version has fared, with its machines that are not gone.
    fn fared(&self, image: &Image) -> Fared {
        let key = (image.name.clone(), image.version);
        let mut fared = self.health.versions.get(&key).cloned().unwrap_or_default();
        let is_its = |m: &&Machine| m.image_version == image.version && m.image == image.name;
        for machine in self.machines.values().filter(is_its) {
            fared.add(machine, image.counts_from());
        }
        fared
    }

    /// The current version of an image, if it has failed often enough and never worked, and the one
    /// that did before it.
    fn bad_and_good(&self, name: &str) -> Option<(Arc<Image>, Arc<Image>, u32)> {
        let most = self.terms(name).quarantine.failures;
        let bad = self.image(name)?;
        let trial = self.fared(bad).trial;
        if most == 0 || trial.worked > 0 || trial.failed < most {
            return None;
        }
        let older = (name.to_owned(), 0)..(name.to_owned(), bad.version);
        let mut older = self.images.range(older).rev().map(|(_, image)| image);
        let has_worked = |image: &&Arc<Image>| {
            image.state == ImageState::Superseded && self.fared(image).boots() > 0
        };
        let good = older.find(has_worked)?;
        Some((Arc::clone(bad), Arc::clone(good), trial.failed))
    }
}

/// Whether an image version is quarantined.
pub(super) fn is_quarantined(draft: &Draft<'_>, name: &str, version: u32) -> bool {
    let image = draft.books.images.get(&(name.to_owned(), version));
    image.is_some_and(|image| image.state == ImageState::Quarantined)
}

/// Quarantines the current version of an image if it does not boot, and makes the last one that did
/// current in its place: new machines are launched from that until a new version is applied, or
/// somebody wants this one tried anew.
pub(super) fn quarantine_if_bad(draft: &mut Draft<'_>, name: &str, why: &str) {
    let Some((bad, good, failed)) = draft.books.bad_and_good(name) else {
        return;
    };
    retire(draft, &bad, ImageState::Quarantined);
    turn(draft, &good, |image| image.state = ImageState::Active);
    draft.books.try_anew(name);
    draft.books.catalogue_changed();
    let message = format!(
        "version {} is quarantined: {failed} boots failed and none worked, the last one: {why}; \
         version {} is launched in its place until another one is applied, or \
         `dormouse image release {name}` tries it anew",
        bad.version, good.version
    );
    let subject = Subject::Image(name.to_owned());
    draft.event(subject, EventKind::ImageNote, message);
}

/// Makes a quarantined version current again; the version, if there is one.
pub(crate) fn release(draft: &mut Draft<'_>, name: &str, who: &str) -> Option<Image> {
    let bad = draft.books.quarantined(name)?.clone();
    let stand_in = draft.books.image(name)?.clone();
    retire(draft, &stand_in, ImageState::Superseded);
    let now = draft.now;
    let released = turn(draft, &bad, |image| {
        image.state = ImageState::Active;
        image.released_at = Some(now);
    });
    let key = (name.to_owned(), released.version);
    draft.books.health.versions.entry(key).or_default().trial = Trial::default();
    draft.books.try_anew(name);
    draft.books.catalogue_changed();
    let message = format!(
        "version {} is current again, released from quarantine by {who}",
        released.version
    );
    let subject = Subject::Image(name.to_owned());
    draft.event(subject, EventKind::ImageApplied, message);
    Some(released)
}

/// Changes what may change of an image version.
fn turn(draft: &mut Draft<'_>, image: &Image, change: impl FnOnce(&mut Image)) -> Image {
    let mut turned = image.clone();
    change(&mut turned);
    turned.rev += 1;
    draft.update_image(turned.clone(), image.rev);
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let times: Vec<Span> = (1..=20).map(Span::from_secs).collect();
        assert_eq!(quantile(&times, 50), Some(Span::from_secs(10)));
        assert_eq!(quantile(&times, 95), Some(Span::from_secs(19)));
        assert_eq!(quantile(&times[..1], 50), Some(Span::from_secs(1)));
        assert_eq!(quantile(&[], 95), None);
    }
}
