//! The graph of builds that need others.

use std::collections::{BTreeMap, BTreeSet};

use super::build::BuildSource;
use crate::spec::document::{Problems, quoted, unknown};

/// For each build of the document, the places of the builds that it needs. Unknown names and
/// cycles are problems.
pub(super) fn resolve(builds: &[BuildSource<'_>], problems: &mut Problems) -> Vec<BTreeSet<usize>> {
    let names: Vec<&str> = builds.iter().map(|build| build.key.text).collect();
    let numbered = names.iter().enumerate();
    let places: BTreeMap<&str, usize> = numbered.map(|(place, name)| (*name, place)).collect();
    let mut needs = Vec::with_capacity(builds.len());
    for build in builds {
        let mut needed = BTreeSet::new();
        for field in &build.needs {
            let Some(name) = field.text(problems) else {
                continue;
            };
            match places.get(name) {
                Some(place) => drop(needed.insert(*place)),
                None => field.refuse(problems, unknown("build", name, &names)),
            }
        }
        needs.push(needed);
    }
    refuse_cycles(builds, &needs, problems);
    needs
}

/// Reports one cycle of each knot of builds that need each other.
fn refuse_cycles(builds: &[BuildSource<'_>], needs: &[BTreeSet<usize>], problems: &mut Problems) {
    let mut open: BTreeSet<usize> = (0..needs.len()).collect();
    loop {
        drop_ready(&mut open, needs);
        let Some(first) = open.first() else { return };
        let cycle = find_cycle(*first, &open, needs);
        let names: Vec<_> = cycle
            .iter()
            .filter_map(|place| builds.get(*place))
            .map(|build| quoted(build.key.text))
            .collect();
        if let Some(build) = cycle.first().and_then(|place| builds.get(*place)) {
            let message = format!(
                "builds need each other in a circle: {}",
                names.join(" needs ")
            );
            build.key.refuse(problems, message);
        }
        for place in cycle {
            open.remove(&place);
        }
    }
}

/// Takes out of `open` every build whose needs are all out of it, again and again: what is left
/// waits for a cycle or is one.
fn drop_ready(open: &mut BTreeSet<usize>, needs: &[BTreeSet<usize>]) {
    let mut waiting: BTreeMap<usize, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &place in open.iter() {
        let needed: Vec<_> = needs.get(place).into_iter().flatten().copied().collect();
        let needed = needed.iter().filter(|needed| open.contains(needed));
        let mut count = 0;
        for &needed in needed {
            needed_by.entry(needed).or_default().push(place);
            count += 1;
        }
        waiting.insert(place, count);
    }
    let mut ready: Vec<usize> = waiting
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(place, _)| *place)
        .collect();
    while let Some(place) = ready.pop() {
        open.remove(&place);
        for follower in needed_by.remove(&place).unwrap_or_default() {
            if let Some(count) = waiting.get_mut(&follower) {
                *count -= 1;
                if *count == 0 {
                    ready.push(follower);
                }
            }
        }
    }
}

/// Walks along needs within `open`, where every build has one, until it meets its own trail. The
/// cycle, its first build once more at the end.
fn find_cycle(start: usize, open: &BTreeSet<usize>, needs: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut trail = vec![start];
    let mut here = start;
    while let Some(next) = needs
        .get(here)
        .and_then(|needed| needed.iter().find(|needed| open.contains(needed)))
    {
        let met = trail.iter().position(|place| place == next);
        trail.push(*next);
        if let Some(met) = met {
            return trail.split_off(met);
        }
        here = *next;
    }
    trail
}
