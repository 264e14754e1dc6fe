//! Why an image cannot build something.

use std::fmt;

use super::claim::{Claim, Need};
use super::matcher::{Candidate, Matcher};
use crate::model::{Capabilities, CapabilityValue, Image, Requirement, Requirements};

/// One requirement that an image does not meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// A capability is not as required.
    Capability {
        /// Its name.
        name: String,
        /// What it must be.
        needs: Requirement,
        /// What the image claims, if it knows the capability.
        has: Option<CapabilityValue>,
    },
    /// The build is pinned to another image.
    Pinned {
        /// The image that it is pinned to.
        to: String,
        /// The image that was looked at.
        is: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability { name, needs, has } => {
                write!(f, "{name}: needs {needs}, has ")?;
                match has {
                    Some(value) => value.fmt(f),
                    None => f.write_str("none"),
                }
            }
            Self::Pinned { to, is } => write!(f, "image: needs {to}, is {is}"),
        }
    }
}

/// An image that cannot build something, and every reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The image's name.
    pub image: &'a str,
    /// What is wrong with it: the pin first, then by capability.
    pub mismatches: Vec<Mismatch>,
}

/// A catalogue, sorted out for one set of requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matches<'a> {
    /// Images that can build it, best first.
    pub candidates: Vec<Candidate<'a>>,
    /// Images that cannot, nearest first: those in the way of a pin last, else fewest mismatches,
    /// then by name.
    pub refused: Vec<Refusal<'a>>,
}

/// Compares one set of requirements with one set of capabilities.
///
/// # Errors
/// Every requirement that is not met, by capability.
pub fn satisfies(
    requires: &Requirements,
    capabilities: &Capabilities,
) -> Result<(), Vec<Mismatch>> {
    let mismatches: Vec<_> = requires
        .iter()
        .filter_map(|(name, requirement)| {
            let has = capabilities.get(name);
            let met = Need::of(requirement).accepts(has.map(Claim::of).as_ref());
            (!met).then(|| Mismatch::Capability {
                name: name.clone(),
                needs: requirement.clone(),
                has: has.cloned(),
            })
        })
        .collect();
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(mismatches)
    }
}

/// Sorts `images` into those that meet all of `requires` (and are the one named `pin`, if one is
/// given) and those that do not. Superseded and removed versions are left out.
///
/// For more than one question about a catalogue, ask a [`Matcher`].
pub fn match_catalogue<'a>(
    requires: &Requirements,
    pin: Option<&str>,
    images: impl Iterator<Item = &'a Image>,
) -> Matches<'a> {
    Matcher::new(images).matches(requires, pin)
}

/// Requirements in words, as in `no docker, python >=3.12, sqlite`.
pub fn describe(requires: &Requirements) -> String {
    if requires.is_empty() {
        return "nothing in particular".to_owned();
    }
    let words = requires
        .iter()
        .map(|(name, requirement)| match requirement {
            Requirement::Present => name.clone(),
            Requirement::Absent => format!("no {name}"),
            Requirement::AnyOf(_) => format!("{name} {requirement}"),
        });
    words.collect::<Vec<_>>().join(", ")
}

/// How many images a refusal names: enough to see what to change, few enough to read.
const NEAREST: usize = 3;

impl Matches<'_> {
    /// Why nothing can build it, for the one who submitted it: the nearest images, and what fails
    /// on each. `None` when there is a candidate.
    pub fn refusal(&self, pin: Option<&str>) -> Option<String> {
        if !self.candidates.is_empty() {
            return None;
        }
        if self.refused.is_empty() {
            return Some("no image can build this: the catalogue is empty".to_owned());
        }
        if let Some(pin) = pin {
            return Some(self.pin_refusal(pin));
        }
        let nearest: Vec<_> = self
            .refused
            .iter()
            .take(NEAREST)
            .map(Refusal::to_string)
            .collect();
        let nearest = nearest.join("; ");
        let more = match self.refused.len().saturating_sub(NEAREST) {
            0 => String::new(),
            1 => "; and 1 more image".to_owned(),
            more => format!("; and {more} more images"),
        };
        Some(format!("no image can build this; nearest: {nearest}{more}"))
    }

    fn pin_refusal(&self, pin: &str) -> String {
        let pinned = self.refused.iter().find(|refusal| refusal.image == pin);
        if let Some(refusal) = pinned {
            return format!("the image it is pinned to cannot build this: {refusal}");
        }
        let names: Vec<_> = self.refused.iter().map(|refusal| refusal.image).collect();
        format!("there is no image {pin}; images: {}", names.join(", "))
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.image)?;
        for (index, mismatch) in self.mismatches.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{mismatch}")?;
        }
        f.write_str(")")
    }
}
