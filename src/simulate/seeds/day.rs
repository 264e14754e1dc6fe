//! The work of a seeded day: pushes of several projects to a few branches.

use std::collections::BTreeMap;

use crate::model::{Requirement, Span, Timestamp};

use super::policies::NIGHTLY;
use super::{HOUR, IMAGES, MIDNIGHT, MINUTE, PROJECTS, project};
use crate::simulate::dice::Dice;
use crate::simulate::scenario::Work;

/// Pushes of one to twelve builds between nine and six, and a few at night.
pub(super) fn office_day(dice: &mut Dice, images: usize) -> Vec<Work> {
    let count = usize::try_from(dice.between(30, 150)).unwrap_or(30);
    let mut pushes: Vec<(Timestamp, usize)> = Vec::new();
    let mut builds = 0;
    while builds < count {
        let second = if dice.chance(850) {
            dice.between(9 * HOUR, 18 * HOUR)
        } else {
            dice.below(24 * HOUR)
        };
        let size = 1 + dice.place(12);
        builds += size;
        let at = MIDNIGHT + Span::from_secs(second);
        pushes.push((at, size));
        // Now and then somebody sees at once what was wrong.
        if dice.chance(200) {
            builds += size;
            pushes.push((at + dice.up_to(Span::from_secs(5 * MINUTE)), size));
        }
    }
    pushes.sort_unstable();
    let mut work = Vec::with_capacity(builds);
    for (submit, size) in pushes {
        push(dice, (submit, size), images, &mut work);
    }
    work
}

fn push(dice: &mut Dice, (submit, size): (Timestamp, usize), images: usize, work: &mut Vec<Work>) {
    let project = project(dice.below(PROJECTS));
    let labels = labels(dice);
    let first = work.len();
    for place in 0..size {
        let known = IMAGES.get(dice.place(images)).copied();
        let (image, capability) = known.unwrap_or(("debian", "python"));
        let needs_first = place > 0 && dice.chance(150);
        work.push(Work {
            submit,
            run: dice.around(Span::from_secs(4 * MINUTE), 90),
            project: project.clone(),
            name: format!("{capability}-{place}"),
            priority: i32::try_from(dice.below(3)).unwrap_or(0) - 1,
            labels: labels.clone(),
            requires: BTreeMap::from([(capability.to_owned(), Requirement::Present)]),
            image: dice.chance(100).then(|| image.to_owned()),
            deadline: dice
                .chance(200)
                .then(|| Span::from_secs(dice.between(5, 120) * MINUTE)),
            fresh: dice.chance(50),
            timeout: Some(Span::from_secs(HOUR)),
            needs: if needs_first { vec![first] } else { Vec::new() },
        });
    }
}

fn labels(dice: &mut Dice) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if dice.chance(700) {
        let branch = if dice.chance(600) { "main" } else { "topic" };
        labels.insert("branch".to_owned(), branch.to_owned());
    }
    if dice.chance(150) {
        labels.insert(NIGHTLY.0.to_owned(), NIGHTLY.1.to_owned());
    }
    labels
}
