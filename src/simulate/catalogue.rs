//! The images that a history is played on: whether they can build it, and images made up for a
//! history that comes without any.

use std::collections::{BTreeMap, BTreeSet};

use crate::matching::{Matcher, describe};
use crate::model::{
    Capabilities, CapabilityValue, Constraint, Image, ImageSpec, ImageState, Login, Operator, Rate,
    Requirement, Requirements, Shape, Span, Timestamp,
};

use super::Work;

/// Builds of a history that no image can build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// What they need, for people.
    pub requires: String,
    /// How many they are.
    pub builds: usize,
    /// The name of one of them.
    pub name: String,
    /// The nearest images, and what fails on each.
    pub why: String,
}

/// Builds need the same who need the same of an image, and name the same one.
type Need<'a> = (&'a Requirements, Option<&'a str>);

fn need(work: &Work) -> Need<'_> {
    (&work.requires, work.image.as_deref())
}

/// Everything that `work` needs and none of `images` has.
pub fn unmet(images: &[(String, ImageSpec)], work: &[Work]) -> Vec<Unmet> {
    let rows = rows(images);
    let mut matcher = Matcher::new(&rows);
    let mut found: BTreeMap<Need<'_>, Option<Unmet>> = BTreeMap::new();
    for work in work {
        let refused = found.entry(need(work)).or_insert_with(|| {
            let pin = work.image.as_deref();
            let why = matcher.matches(&work.requires, pin).refusal(pin)?;
            Some(Unmet {
                requires: words(need(work)),
                builds: 0,
                name: work.name.clone(),
                why,
            })
        });
        if let Some(refused) = refused {
            refused.builds += 1;
        }
    }
    found.into_values().flatten().collect()
}

fn words((requires, image): Need<'_>) -> String {
    match image {
        Some(image) => format!("image {image}, {}", describe(requires)),
        None => describe(requires),
    }
}

/// The images that can build each of `work`, by place in `images`, best first.
pub fn candidates(images: &[(String, ImageSpec)], work: &[Work]) -> Vec<Vec<usize>> {
    let rows = rows(images);
    let places: BTreeMap<&str, usize> = (0..)
        .zip(images)
        .map(|(place, (name, _))| (name.as_str(), place))
        .collect();
    let mut matcher = Matcher::new(&rows);
    let mut known: BTreeMap<Need<'_>, Vec<usize>> = BTreeMap::new();
    work.iter()
        .map(|work| {
            let found = known.entry(need(work)).or_insert_with(|| {
                let found = matcher.candidates(&work.requires, work.image.as_deref());
                found
                    .filter_map(|candidate| places.get(candidate.image).copied())
                    .collect()
            });
            found.clone()
        })
        .collect()
}

fn rows(images: &[(String, ImageSpec)]) -> Vec<Image> {
    images
        .iter()
        .map(|(name, spec)| Image {
            name: name.clone(),
            version: 1,
            state: ImageState::Active,
            spec: spec.clone(),
            applied_at: Timestamp::from_micros(0),
            rev: 1,
        })
        .collect()
}

/// An image with one size, as far as a simulation needs one.
pub(super) fn made_up_image(price: Rate, capabilities: Capabilities) -> ImageSpec {
    ImageSpec {
        description: "made up for a simulation".to_owned(),
        provider: "simulated".to_owned(),
        reference: serde_json::Value::Null,
        slots: 1,
        billing: None,
        login: Login {
            user: "ci".to_owned(),
        },
        shapes: vec![Shape {
            name: "machine".to_owned(),
            vcpus: 4,
            memory_mib: 8_192,
            price_usd_micro_per_hour: price,
        }],
        wish: None,
        capabilities,
        ready: None,
        probes: BTreeMap::new(),
        boot_timeout: Span::from_secs(300),
    }
}

/// Needs for which no image can be made up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no image can be made up that has {requires}")]
pub struct CannotMakeUp {
    /// What they are, for people.
    pub requires: String,
}

/// Makes up an image for each distinct set of needs, all at one price. An image that happens to have
/// what others ask for takes their builds as well, as a runner with more labels than asked for does.
///
/// # Errors
/// Needs that contradict one another, or that only a search could meet.
pub fn make_up(work: &[Work], price: Rate) -> Result<Vec<(String, ImageSpec)>, CannotMakeUp> {
    let mut images: Vec<(String, ImageSpec)> = Vec::new();
    let mut known: BTreeSet<Need<'_>> = BTreeSet::new();
    let mut pinned: BTreeMap<&str, Capabilities> = BTreeMap::new();
    for work in work {
        if !known.insert(need(work)) {
            continue;
        }
        let capabilities = work
            .requires
            .iter()
            .filter_map(|(name, requirement)| Some((name.clone(), value(requirement)?)));
        if let Some(image) = &work.image {
            pinned.entry(image).or_default().extend(capabilities);
        } else {
            let name = format!("image-{}", images.len() + 1);
            images.push((name, made_up_image(price, capabilities.collect())));
        }
    }
    for (name, capabilities) in pinned {
        images.push((name.to_owned(), made_up_image(price, capabilities)));
    }
    match unmet(&images, work).into_iter().next() {
        Some(Unmet { requires, .. }) => Err(CannotMakeUp { requires }),
        None => Ok(images),
    }
}

/// A value that meets a requirement, as far as one can be read off it.
fn value(requirement: &Requirement) -> Option<CapabilityValue> {
    match requirement {
        Requirement::Present => Some(CapabilityValue::Flag(true)),
        Requirement::Absent => None,
        Requirement::AnyOf(constraints) => {
            let value = constraints.iter().map(example).next()?;
            Some(CapabilityValue::Values(vec![value]))
        }
    }
}

fn example(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Is(text) => text.clone(),
        Constraint::All(comparisons) => {
            let of = |wanted: Operator| {
                let found = comparisons.iter().find(|(operator, _)| *operator == wanted);
                found.map(|(_, text)| text.clone())
            };
            of(Operator::Equal)
                .or_else(|| of(Operator::GreaterOrEqual))
                .or_else(|| of(Operator::LessOrEqual))
                .or_else(|| of(Operator::Greater).map(|text| format!("{text}.0.1")))
                .unwrap_or_else(|| "0".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::trace::{Format, read};

    fn work(lines: &str) -> Vec<Work> {
        let trace = read(lines, Format::History).unwrap();
        trace.builds.into_iter().map(|build| build.work).collect()
    }

    const LINES: &str = r#"{"submit":0,"run_s":1,"requires":{"os":"linux","python":">=3.11, <3.13"}}
{"submit":1,"run_s":1,"requires":{"os":"linux","python":">3"}}
{"submit":2,"run_s":1,"requires":{"docker":"absent","gpu":"present"}}
{"submit":3,"run_s":1,"image":"big"}
{"submit":4,"run_s":1,"requires":{"os":"linux","python":">3"}}
"#;

    #[test]
    fn images_are_made_up_for_what_a_history_needs() {
        let work = work(LINES);
        let images = make_up(&work, Rate::from_micros_per_hour(170_000)).unwrap();
        let names: Vec<_> = images.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["image-1", "image-2", "image-3", "big"]);
        assert_eq!(unmet(&images, &work), []);
        let candidates = candidates(&images, &work);
        assert_eq!(candidates[2], [2]);
        assert_eq!(candidates[3], [3]);
        assert_eq!(candidates[1], candidates[4]);
        assert!(candidates[1].contains(&1));
    }

    #[test]
    fn what_contradicts_itself_is_told() {
        let work = work(r#"{"submit":0,"run_s":1,"requires":{"python":">=3.13, <3.11"}}"#);
        let error = make_up(&work, Rate::from_micros_per_hour(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no image can be made up that has python >=3.13, <3.11"
        );
    }

    #[test]
    fn what_no_image_has_is_told_with_the_nearest() {
        let work = work(LINES);
        let images = make_up(&work[..1], Rate::from_micros_per_hour(1)).unwrap();
        let unmet = unmet(&images, &work);
        let told: Vec<_> = unmet
            .iter()
            .map(|unmet| format!("{} x {}: {}", unmet.builds, unmet.requires, unmet.why))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
