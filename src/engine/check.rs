//! What some declarations would be warned of if they were current: what is allowed, and hardly meant.

use std::collections::BTreeMap;

use crate::books::Books;
use crate::model::{ImageSpec, Market, Policy, PolicySpec, Timestamp};
use crate::policy::{self, Rivals, Sold, Unsold};

use super::catalogue::Parsed;
use super::desk::{ApplyError, Checked, Declaration};
use super::engine::Engine;

impl Engine {
    /// Looks at declarations together with the catalogue and the policies that are current beside
    /// them; changes nothing.
    pub(super) fn check_all(
        &self,
        declarations: &[Declaration],
    ) -> Result<Vec<Checked>, ApplyError> {
        let parsed = self.parse_all(declarations)?;
        let policies = policies_with(&self.books(), &parsed);
        let images = sold_with(&self.books(), &parsed);
        let mut checked: Vec<Checked> = parsed.iter().map(Checked::of).collect();
        for rivals in policy::rivals(&policies) {
            let place = place_of_rivals(&parsed, &rivals);
            tell(&mut checked, place, rivals.to_string());
        }
        for unheard in policy::unheard(&policies) {
            let place = place_of(&parsed, ("policy", &unheard.policy));
            tell(&mut checked, place, unheard.to_string());
        }
        for unsold in policy::unsold(&policies, &images) {
            let place = place_of_unsold(&parsed, &unsold);
            tell(&mut checked, place, unsold.to_string());
        }
        Ok(checked)
    }
}

impl Checked {
    fn of(parsed: &Parsed) -> Self {
        Self {
            name: parsed.key().1.to_owned(),
            warnings: Vec::new(),
        }
    }
}

/// A warning belongs to a declaration that has to do with it; others were told of before.
fn tell(checked: &mut [Checked], place: Option<usize>, warning: String) {
    if let Some(checked) = place.and_then(|place| checked.get_mut(place)) {
        checked.warnings.push(warning);
    }
}

fn place_of(parsed: &[Parsed], key: (&'static str, &str)) -> Option<usize> {
    parsed.iter().position(|parsed| parsed.key() == key)
}

/// The one that yields has the surprise, if it is there.
fn place_of_rivals(parsed: &[Parsed], rivals: &Rivals) -> Option<usize> {
    let policy = |name| place_of(parsed, ("policy", name));
    policy(&rivals.yields).or_else(|| policy(&rivals.holds))
}

fn place_of_unsold(parsed: &[Parsed], unsold: &Unsold) -> Option<usize> {
    let policy = unsold.policy.as_deref();
    let policy = policy.and_then(|name| place_of(parsed, ("policy", name)));
    policy.or_else(|| place_of(parsed, ("image", &unsold.image)))
}

/// The policies as they would be.
fn policies_with(books: &Books, parsed: &[Parsed]) -> Vec<Policy> {
    let mut policies = books.policies.clone();
    for parsed in parsed {
        let Parsed::Policy(name, spec) = parsed else {
            continue;
        };
        let policy = Policy {
            name: name.clone(),
            version: 1,
            spec: PolicySpec::clone(spec),
            applied_at: Timestamp::default(),
            rev: 0,
        };
        policies.insert(name.clone(), policy);
    }
    policies.into_values().collect()
}

/// Where the images as they would be can be had.
fn sold_with(books: &Books, parsed: &[Parsed]) -> Vec<Sold> {
    let known = books.current_images().map(|image| {
        let markets = books.offerings(image).into_iter().map(|o| o.market);
        let sold = sold(&image.name, &image.spec, markets.collect());
        (image.name.clone(), sold)
    });
    let mut images: BTreeMap<String, Sold> = known.collect();
    for parsed in parsed {
        let Parsed::Image(name, spec) = parsed else {
            continue;
        };
        if books.image(name).is_some_and(|image| image.spec == **spec) {
            continue;
        }
        // What a provider with a fleet makes of a new image is not known before it is asked.
        let has_fleet = books.capacity.skills(&spec.provider).fleet;
        let listed = !has_fleet && !spec.shapes.is_empty();
        let markets = listed.then_some(Market::OnDemand).into_iter().collect();
        images.insert(name.clone(), sold(name, spec, markets));
    }
    images.into_values().collect()
}

fn sold(name: &str, spec: &ImageSpec, mut markets: Vec<Market>) -> Sold {
    markets.sort_unstable();
    markets.dedup();
    Sold {
        image: name.to_owned(),
        provider: spec.provider.clone(),
        markets,
    }
}
