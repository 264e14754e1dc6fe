//! A catalogue prepared for many questions.

use std::collections::BTreeMap;

use super::claim::{Claim, Need};
use crate::model::{Image, ImageState, Rate, Requirement, Requirements};

/// An image that can build something. The order of the fields is the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate<'a> {
    /// Price of its cheapest shape.
    pub price: Rate,
    /// Capabilities it has beyond those that were asked for: fewer are more specific.
    pub spare: u32,
    /// The image's name.
    pub image: &'a str,
    /// The image's version.
    pub version: u32,
    /// Place of its cheapest shape in `ImageSpec::shapes`.
    pub shape: usize,
}

/// A catalogue that answers for many requirements.
///
/// Each distinct requirement of a capability is compared with each image once; a set of
/// requirements is then an intersection of bit sets. What was decided is kept for as long as the
/// matcher lives: make one for a plan, not for a process.
#[derive(Debug)]
pub struct Matcher<'a> {
    /// In order of preference: price, then number of capabilities, then name. What is spare is
    /// that number less the capabilities asked for, of which every candidate has all, so the order
    /// is the same for every question.
    images: Vec<Prepared<'a>>,
    /// By capability and requirement: which images meet it.
    decided: BTreeMap<String, BTreeMap<Requirement, Bits>>,
}

#[derive(Debug)]
struct Prepared<'a> {
    /// With all that it can do counted as spare.
    candidate: Candidate<'a>,
    claims: BTreeMap<&'a str, Claim<'a>>,
}

impl<'a> Matcher<'a> {
    /// Prepares `images`. Versions that are superseded or removed are left out: nothing may be
    /// launched from them.
    pub fn new(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let mut images: Vec<_> = images.into_iter().filter_map(Prepared::of).collect();
        images.sort_by(|left, right| left.candidate.cmp(&right.candidate));
        Self {
            images,
            decided: BTreeMap::new(),
        }
    }

    /// The images that meet all of `requires`, best first; only the image named `pin` if one is
    /// given.
    pub fn candidates(&mut self, requires: &Requirements, pin: Option<&str>) -> Candidates<'_, 'a> {
        let mut open = Bits::all(self.images.len());
        if let Some(pin) = pin {
            open.keep(&Bits::of(&self.images, |image| {
                image.candidate.image == pin
            }));
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

    /// Keeps in `open` the images that meet one requirement; compared on the first call,
    /// remembered after.
    fn narrow(&mut self, open: &mut Bits, capability: &str, requirement: &Requirement) {
        let known = self
            .decided
            .get(capability)
            .and_then(|by| by.get(requirement));
        if let Some(meeting) = known {
            open.keep(meeting);
            return;
        }
        let need = Need::of(requirement);
        let meeting = Bits::of(&self.images, |image| {
            need.accepts(image.claims.get(capability))
        });
        open.keep(&meeting);
        self.decided
            .entry(capability.to_owned())
            .or_default()
            .insert(requirement.clone(), meeting);
    }
}

impl<'a> Prepared<'a> {
    /// `None` when nothing may be launched from the image.
    fn of(image: &'a Image) -> Option<Self> {
        match image.state {
            ImageState::Active => {}
            ImageState::Superseded | ImageState::Removed => return None,
        }
        let capabilities = &image.spec.capabilities;
        let there = capabilities.values().filter(|value| value.is_there());
        let shapes = image.spec.shapes.iter().enumerate();
        let (shape, cheapest) = shapes.min_by_key(|(_, shape)| shape.price_usd_micro_per_hour)?;
        Some(Self {
            candidate: Candidate {
                price: cheapest.price_usd_micro_per_hour,
                spare: u32::try_from(there.count()).unwrap_or(u32::MAX),
                image: &image.name,
                version: image.version,
                shape,
            },
            claims: capabilities
                .iter()
                .map(|(name, value)| (name.as_str(), Claim::of(value)))
                .collect(),
        })
    }
}

/// Candidates, best first.
#[derive(Debug)]
pub struct Candidates<'m, 'a> {
    images: &'m [Prepared<'a>],
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

/// A set of places in `Matcher::images`.
#[derive(Debug, Clone)]
struct Bits(Vec<u64>);

impl Bits {
    /// The places `0..len`.
    fn all(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let Some(last) = words.last_mut() {
            *last >>= (64 - len % 64) % 64;
        }
        Self(words)
    }

    /// The places whose image passes `test`.
    fn of<'i, 'a: 'i>(images: &'i [Prepared<'a>], test: impl Fn(&'i Prepared<'a>) -> bool) -> Self {
        let word = |chunk: &'i [Prepared<'a>]| {
            let bits = chunk.iter().enumerate().filter(|(_, image)| test(image));
            bits.fold(0, |word, (bit, _)| word | 1 << bit)
        };
        Self(images.chunks(64).map(word).collect())
    }

    fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    fn first_from(&self, place: usize) -> Option<usize> {
        let mut mask = u64::MAX << (place % 64);
        for (index, word) in self.0.iter().enumerate().skip(place / 64) {
            let rest = word & mask;
            if rest != 0 {
                return Some(index * 64 + rest.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}
