//! Which types fit an image, and in which zones: a pure function of the wish, the AMI and what the
//! region sells. The rules are told in `docs/images.md`.

use std::collections::BTreeMap;

use super::ami::MachineImage;
use super::types::{Catalogue, TypeFacts, ZoneSubnets};
use crate::model::ShapeWish;

/// Most types that are offered for an image, cheapest first. Thirty in three zones are as much
/// choice as a fleet can use; each one more makes every request longer.
pub(super) const MOST_TYPES: usize = 60;

/// Machines with this much memory, 150 GB, or more cannot hibernate, says EC2.
const MOST_HIBERNATING_MIB: u32 = 143_051;

/// Most names that an error tells.
const MOST_TOLD: usize = 5;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs<'a> {
    /// What the image file says.
    pub wish: &'a ShapeWish,
    /// What is to be booted.
    pub image: &'a MachineImage,
    /// Whether it must be able to hibernate.
    pub hibernate: bool,
    /// Room for memory on a root volume whose size was chosen, for those that hibernate.
    pub room_mib: Option<u32>,
}

/// A type with the zones in which it can be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'t> {
    /// The type.
    pub facts: &'t TypeFacts,
    /// The zones, in order; at least one.
    pub zones: Vec<&'t str>,
}

/// A requirement: how an error names it, and who meets it.
type Rule<'a> = (String, Box<dyn Fn(&TypeFacts) -> bool + 'a>);

/// All types that fit, by name, with the zones in which a machine can be put.
///
/// # Errors
/// One sentence that says which requirement left nothing.
pub(super) fn select<'t>(
    needs: &Needs<'_>,
    catalogue: &'t Catalogue,
    subnets: &BTreeMap<String, ZoneSubnets>,
) -> Result<Vec<Place<'t>>, String> {
    let fitting = if needs.wish.types.is_empty() {
        sift(catalogue.types.iter().collect(), wished_rules(needs))?
    } else {
        named(needs, catalogue)?
    };
    let zones = |facts: &'t TypeFacts| {
        let sold = catalogue.zones.get(&facts.name).into_iter().flatten();
        let zones = sold
            .map(String::as_str)
            .filter(|zone| subnets.contains_key(*zone));
        let zones: Vec<&str> = zones.collect();
        (!zones.is_empty()).then_some(Place { facts, zones })
    };
    let places: Vec<_> = fitting.iter().filter_map(|facts| zones(facts)).collect();
    if places.is_empty() {
        let zones: Vec<_> = subnets.keys().map(String::as_str).collect();
        return Err(format!(
            "none of the types that fit ({}) is sold in a zone of the subnets ({})",
            told(&fitting),
            zones.join(", ")
        ));
    }
    Ok(places)
}

/// Leaves those that meet all rules, one rule after the other.
fn sift<'t>(
    mut types: Vec<&'t TypeFacts>,
    rules: Vec<Rule<'_>>,
) -> Result<Vec<&'t TypeFacts>, String> {
    if types.is_empty() {
        return Err("the region sells no instance types".to_owned());
    }
    for (what, meets) in rules {
        let left: Vec<_> = types.iter().copied().filter(|facts| meets(facts)).collect();
        if left.is_empty() {
            let (count, names) = (types.len(), told(&types));
            return Err(format!(
                "no instance type fits: of {count} candidates ({names}), none {what}"
            ));
        }
        types = left;
    }
    Ok(types)
}

/// The types that are asked for by name: each must exist, and boot the image.
fn named<'t>(needs: &Needs<'_>, catalogue: &'t Catalogue) -> Result<Vec<&'t TypeFacts>, String> {
    let mut found = Vec::new();
    for name in &needs.wish.types {
        let Some(facts) = catalogue.types.iter().find(|facts| facts.name == *name) else {
            return Err(format!("the region sells no instance type {name}"));
        };
        if let Some((what, _)) = boot_rules(needs).iter().find(|(_, meets)| !meets(facts)) {
            return Err(format!("the instance type {name} is not one that {what}"));
        }
        found.push(facts);
    }
    Ok(found)
}

/// What it takes to boot the image at all.
fn boot_rules<'a>(needs: &Needs<'a>) -> Vec<Rule<'a>> {
    let image = needs.image;
    let mut rules: Vec<Rule<'a>> = vec![
        rule(format!("runs {}", image.architecture), |facts| {
            facts.architectures.contains(&image.architecture)
        }),
        rule("is no Mac, which is rented by the day", |facts| {
            !facts.family().starts_with("mac")
        }),
    ];
    if !image.ena {
        rules.push(rule(
            "does without ENA, which the AMI does not drive",
            |facts| !facts.needs_ena,
        ));
    }
    if let Some(mode @ ("uefi" | "legacy-bios")) = image.boot_mode.as_deref() {
        rules.push(rule(
            format!("boots by {mode}, as the AMI does"),
            move |facts| {
                facts.boot_modes.is_empty() || facts.boot_modes.iter().any(|known| known == mode)
            },
        ));
    }
    if needs.hibernate {
        rules.push(rule("can hibernate", |facts| {
            facts.hibernates && facts.memory_mib < MOST_HIBERNATING_MIB
        }));
    }
    if let Some(room) = needs.room_mib {
        let what = format!("has at most {room} MiB of memory, for which the root volume has room");
        rules.push(rule(what, move |facts| facts.memory_mib <= room));
    }
    rules.push(rule("is sold on demand or as spot", |facts| {
        facts.on_demand || facts.spot
    }));
    rules
}

/// All rules of a wish without names. The common ones first, so that an error names the rarest.
fn wished_rules<'a>(needs: &Needs<'a>) -> Vec<Rule<'a>> {
    let wish = needs.wish;
    let mut rules = boot_rules(needs);
    let family_named = move |facts: &TypeFacts| wish.families.iter().any(|f| f == facts.family());
    rules.push(rule("is no bare metal, which takes naming it", |facts| {
        !facts.is_metal
    }));
    rules.push(rule(
        "is of a current generation, unless its family is named",
        move |facts| facts.is_current || family_named(facts),
    ));
    rules.push(rule(
        "is without a GPU or another accelerator, unless its family is named",
        move |facts| !facts.has_accelerator || family_named(facts),
    ));
    if !wish.families.is_empty() {
        let what = format!("is of the family {}", wish.families.join(" or "));
        rules.push(rule(what, family_named));
    }
    if !wish.architectures.is_empty() {
        let what = format!(
            "runs {}, as `architectures` says",
            wish.architectures.join(" or ")
        );
        rules.push(rule(what, |facts| {
            facts
                .architectures
                .iter()
                .any(|word| wish.architectures.contains(word))
        }));
    }
    if let Some((least, most)) = wish.vcpus {
        let what = format!("has {} vCPUs", range(least, most));
        rules.push(rule(what, move |facts| {
            (least..=most).contains(&facts.vcpus)
        }));
    }
    if let Some((least, most)) = wish.memory_mib {
        let what = format!("has {} MiB of memory", range(least, most));
        rules.push(rule(what, move |facts| {
            (least..=most).contains(&facts.memory_mib)
        }));
    }
    if let Some(wanted) = wish.local_disk {
        let what = if wanted {
            "has disks of its own"
        } else {
            "is without disks of its own"
        };
        rules.push(rule(what, move |facts| facts.has_local_disk == wanted));
    }
    if !wish.exclude.is_empty() {
        let what = format!("is kept by `exclude` ({})", wish.exclude.join(", "));
        rules.push(rule(what, |facts| {
            !wish
                .exclude
                .iter()
                .any(|pattern| matches(pattern, &facts.name))
        }));
    }
    rules
}

fn rule<'a>(what: impl Into<String>, meets: impl Fn(&TypeFacts) -> bool + 'a) -> Rule<'a> {
    (what.into(), Box::new(meets))
}

fn range(least: u32, most: u32) -> String {
    if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    }
}

fn told(types: &[&TypeFacts]) -> String {
    let names: Vec<_> = types
        .iter()
        .take(MOST_TOLD)
        .map(|facts| facts.name.as_str())
        .collect();
    let more = if types.len() > MOST_TOLD { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// Whether a pattern, in which `*` stands for any characters, matches the whole name. Linear in
/// their product: on a mismatch only the last star is taken longer.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let Some((middle, end)) = rest.rsplit_once('*') else {
        return name.ends_with(rest);
    };
    for piece in middle.split('*') {
        let Some((_, after)) = name.split_once(piece) else {
            return false;
        };
        name = after;
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests;
