//! A catalogue prepared for many questions.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::claim::{Claim, Need};
use super::mismatch::{Matches, Mismatch, Refusal};
use crate::model::{
    Capabilities, CapabilityValue, Image, ImageState, Rate, Requirement, Requirements,
};

/// An image that can build something. The order of the fields is the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate<'a> {
    /// Price of its cheapest shape; nothing when its provider finds its shapes.
    pub price: Rate,
    /// Capabilities it has beyond those that were asked for: fewer are more specific.
    pub spare: u32,
    /// The image's name.
    pub image: &'a str,
    /// The image's version.
    pub version: u32,
}

/// A catalogue that answers for many requirements.
///
/// Each distinct requirement of a capability is compared once with each distinct claim of it; a
/// set of requirements is then an intersection of bit sets. What was decided is kept for as long as
/// the matcher lives: make one for a plan or a submission, not for a process.
#[derive(Debug)]
pub struct Matcher<'a> {
    /// In order of preference: price, then number of capabilities, then name. What is spare is
    /// that number less the capabilities asked for, of which every candidate has all, so the order
    /// is the same for every question.
    images: Vec<Listed<'a>>,
    /// By capability: every distinct claim, with the images that make it.
    claims: BTreeMap<&'a str, Vec<(Claim<'a>, Bits)>>,
    /// By capability and requirement: the images that meet it.
    decided: BTreeMap<String, BTreeMap<Requirement, Bits>>,
}

#[derive(Debug)]
struct Listed<'a> {
    /// With all that it can do counted as spare.
    candidate: Candidate<'a>,
    capabilities: &'a Capabilities,
}

impl<'a> Matcher<'a> {
    /// Prepares `images`. Versions that are superseded or removed are left out: nothing may be
    /// launched from them.
    pub fn new(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut images: Vec<_> = images.into_iter().filter_map(Listed::of).collect();
        images.sort_by(|left, right| left.candidate.cmp(&right.candidate));
        Self {
            claims: distinct_claims(&images),
            images,
            decided: BTreeMap::new(),
        }
    }

    /// The images that meet all of `requires`, best first; only the image named `pin` if one is
    /// given.
    pub fn candidates(&mut self, requires: &Requirements, pin: Option<&str>) -> Candidates<'_, 'a> {
        let mut open = Bits::all(self.images.len());
        if let Some(pin) = pin {
            open.keep(&self.named(pin));
        }
        for (capability, requirement) in requires {
            self.narrow(&mut open, capability, requirement);
        }
        let asked = requires
            .values()
            .filter(|requirement| **requirement != Requirement::Absent)
            .count();
        Candidates {
            images: &self.images,
            open,
            next: 0,
            asked: u32::try_from(asked).unwrap_or(u32::MAX),
        }
    }

    /// The candidates, and of every other image all that is in the way.
    pub fn matches(&mut self, requires: &Requirements, pin: Option<&str>) -> Matches<'a> {
        let candidates = self.candidates(requires, pin).collect();
        let mut mismatches = self.pin_mismatches(pin);
        for (capability, requirement) in requires {
            let mut meeting = Bits::all(self.images.len());
            self.narrow(&mut meeting, capability, requirement);
            for (place, image) in self.images.iter().enumerate() {
                if !meeting.has(place) {
                    let has = image.capabilities.get(capability).cloned();
                    let mismatch = Mismatch::Capability {
                        name: capability.clone(),
                        needs: requirement.clone(),
                        has,
                    };
                    mismatches.entry(place).or_default().push(mismatch);
                }
            }
        }
        let refusals = mismatches.into_iter().filter_map(|(place, mismatches)| {
            let image = self.images.get(place)?.candidate.image;
            Some(Refusal { image, mismatches })
        });
        let mut refused: Vec<_> = refusals.collect();
        refused.sort_by_key(|refusal| {
            let other_than_pinned = pin.is_some_and(|pin| pin != refusal.image);
            (other_than_pinned, refusal.mismatches.len(), refusal.image)
        });
        Matches {
            candidates,
            refused,
        }
    }

    /// For every image that is not the pinned one, that it is not.
    fn pin_mismatches(&self, pin: Option<&str>) -> BTreeMap<usize, Vec<Mismatch>> {
        let Some(pin) = pin else {
            return BTreeMap::new();
        };
        let images = self.images.iter().map(|image| image.candidate.image);
        let others = images.enumerate().filter(|(_, image)| *image != pin);
        let mismatch = |image: &str| Mismatch::Pinned {
            to: pin.to_owned(),
            is: image.to_owned(),
        };
        others
            .map(|(place, image)| (place, vec![mismatch(image)]))
            .collect()
    }

    fn named(&self, name: &str) -> Bits {
        let mut named = Bits::none(self.images.len());
        for (place, image) in self.images.iter().enumerate() {
            if image.candidate.image == name {
                named.add(place);
            }
        }
        named
    }

    /// Keeps in `open` the images that meet one requirement; compared on the first call, remembered
    /// after.
    fn narrow(&mut self, open: &mut Bits, capability: &str, requirement: &Requirement) {
        let decided = self.decided.get(capability);
        if let Some(meeting) = decided.and_then(|decided| decided.get(requirement)) {
            open.keep(meeting);
            return;
        }
        let claims = self.claims.get(capability);
        let meeting = meeting(&Need::of(requirement), claims, self.images.len());
        open.keep(&meeting);
        let decided = self.decided.entry(capability.to_owned()).or_default();
        decided.insert(requirement.clone(), meeting);
    }
}

/// Which of `count` images meet a need, by the distinct claims of its capability.
fn meeting(need: &Need<'_>, claims: Option<&Vec<(Claim<'_>, Bits)>>, count: usize) -> Bits {
    let without = need.accepts(None);
    let mut meeting = if without {
        Bits::all(count)
    } else {
        Bits::none(count)
    };
    for (claim, images) in claims.into_iter().flatten() {
        if need.accepts(Some(claim)) {
            meeting.add_all(images);
        } else {
            meeting.drop_all(images);
        }
    }
    meeting
}

/// Images of one catalogue tend to claim the same few values: each is read and compared once.
fn distinct_claims<'a>(images: &[Listed<'a>]) -> BTreeMap<&'a str, Vec<(Claim<'a>, Bits)>> {
    let mut by_capability: BTreeMap<&str, BTreeMap<&CapabilityValue, Bits>> = BTreeMap::new();
    for (place, image) in images.iter().enumerate() {
        for (name, value) in image.capabilities {
            let by_value = by_capability.entry(name.as_str()).or_default();
            let making = by_value.entry(value);
            making
                .or_insert_with(|| Bits::none(images.len()))
                .add(place);
        }
    }
    let read = |(value, making)| (Claim::of(value), making);
    let claims = by_capability.into_iter();
    claims
        .map(|(name, by_value)| (name, by_value.into_iter().map(read).collect()))
        .collect()
}

impl<'a> Listed<'a> {
    /// `None` when nothing may be launched from the image.
    fn of(image: &'a Image) -> Option<Self> {
        match image.state {
            ImageState::Active => {}
            ImageState::Superseded | ImageState::Quarantined | ImageState::Removed => {
                return None;
            }
        }
        let capabilities = &image.spec.capabilities;
        let there = capabilities.values().filter(|value| value.is_there());
        let prices = image.spec.shapes.iter().map(|s| s.price_usd_micro_per_hour);
        Some(Self {
            candidate: Candidate {
                price: prices.min().unwrap_or_default(),
                spare: u32::try_from(there.count()).unwrap_or(u32::MAX),
                image: &image.name,
                version: image.version,
            },
            capabilities,
        })
    }
}

/// Candidates, best first.
#[derive(Debug)]
pub struct Candidates<'m, 'a> {
    images: &'m [Listed<'a>],
    open: Bits,
    next: usize,
    asked: u32,
}

impl<'a> Iterator for Candidates<'_, 'a> {
    type Item = Candidate<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.open.first_from(self.next)?;
        self.next = place + 1;
        let mut candidate = self.images.get(place)?.candidate;
        candidate.spare = candidate.spare.saturating_sub(self.asked);
        Some(candidate)
    }
}
