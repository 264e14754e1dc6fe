//! What each image of the catalogue means for a build, with its shapes and machines.

use crate::books::Books;
use crate::matching;
use crate::model::{Build, Image};
use crate::planner::{
    self, Chances, ImageChances, ImageVerdict, MachineReport, MachineVerdict, MachineView,
    OfferingVerdict, Phase, ShapeVerdict,
};

/// What each image of the catalogue means for the build.
pub(super) fn images(books: &Books, build: &Build, chances: Option<&Chances>) -> Vec<ImageVerdict> {
    let (requires, pin) = (&build.spec.requires, build.spec.image.as_deref());
    let current: Vec<&Image> = books.current_images().map(AsRef::as_ref).collect();
    let matches = matching::match_catalogue(requires, pin, current.into_iter());
    // The planner's order knows prices that the catalogue does not.
    let chance_of = |name: &str| {
        let mut ranked = chances?.images.iter().zip(1_u32..);
        let is_it = |index| books.snapshot.image(index).is_some_and(|i| i.name == name);
        ranked.find(|(chance, _)| is_it(chance.image))
    };
    let candidates = matches.candidates.iter().zip(1_u32..);
    let fitting = candidates.map(|(candidate, rank)| {
        let chance = chance_of(candidate.image);
        let (chance, rank) = chance.map_or((None, rank), |(chance, rank)| (Some(chance), rank));
        let mut verdict = machines_words(books, candidate.image, chance);
        if let Some(why) = chance.and_then(|chance| chance.blocked.as_ref()) {
            let words = planner::blocked_words(&books.snapshot, why);
            verdict = format!("{verdict}; no launch: {words}");
        }
        ImageVerdict {
            image: candidate.image.to_owned(),
            rank: Some(rank),
            price: books.price_of(candidate.image),
            verdict,
            shapes: chance.map_or_else(Vec::new, |chance| shapes(books, chance)),
            machines: chance.map_or_else(Vec::new, |chance| machines(books, chance)),
        }
    });
    let mut fitting: Vec<ImageVerdict> = fitting.collect();
    fitting.sort_by_key(|image| image.rank);
    let refused = matches.refused.iter().map(|refusal| {
        let mismatches: Vec<String> = refusal.mismatches.iter().map(ToString::to_string).collect();
        ImageVerdict {
            image: refusal.image.to_owned(),
            rank: None,
            price: None,
            verdict: mismatches.join("; "),
            shapes: Vec::new(),
            machines: Vec::new(),
        }
    });
    fitting.into_iter().chain(refused).collect()
}

fn shapes(books: &Books, chances: &ImageChances) -> Vec<ShapeVerdict> {
    let Some(image) = books.image_at(chances.image) else {
        return Vec::new();
    };
    let offerings = books.offerings(image);
    let rows = chances.offerings.iter().filter_map(|chance| {
        let offering = offerings.get(chance.place)?;
        Some(ShapeVerdict {
            shape: offering.shape.name.clone(),
            zone: offering.zone.clone(),
            market: offering.market,
            price: chance.price,
            rank: match chance.verdict {
                OfferingVerdict::Rank(rank) => Some(rank),
                OfferingVerdict::Market(_)
                | OfferingVerdict::Spot
                | OfferingVerdict::Dry(_)
                | OfferingVerdict::Blocked(_)
                | OfferingVerdict::Dear(_)
                | OfferingVerdict::Many
                | OfferingVerdict::Behind(_) => None,
            },
            verdict: planner::offering_words(&books.snapshot, &chance.verdict),
        })
    });
    rows.collect()
}

fn machines(books: &Books, chances: &ImageChances) -> Vec<MachineReport> {
    let rows = chances.machines.iter().map(|chance| {
        let machine = books.machines.get(&chance.machine);
        MachineReport {
            machine: chance.machine,
            state: machine.map_or_else(String::new, |machine| machine.state.word().to_owned()),
            rank: match chance.verdict {
                MachineVerdict::Rank(rank) => Some(rank),
                MachineVerdict::Full
                | MachineVerdict::Taken(_)
                | MachineVerdict::Held(_)
                | MachineVerdict::Interrupted
                | MachineVerdict::Ends(_)
                | MachineVerdict::Ending
                | MachineVerdict::FallingAsleep
                | MachineVerdict::Used
                | MachineVerdict::Spot
                | MachineVerdict::WornOut(_)
                | MachineVerdict::TooOld(_)
                | MachineVerdict::Unclean(_)
                | MachineVerdict::TooFull(_)
                | MachineVerdict::Reuse(_)
                | MachineVerdict::Tidying
                | MachineVerdict::Dry(_)
                | MachineVerdict::Blocked(_) => None,
            },
            verdict: planner::machine_words(&books.snapshot, &chance.verdict),
        }
    });
    rows.collect()
}

fn machines_words(books: &Books, image: &str, chances: Option<&ImageChances>) -> String {
    let mut tally = std::collections::BTreeMap::<&str, u32>::new();
    for machine in books
        .machines
        .values()
        .filter(|machine| machine.image == image)
    {
        *tally.entry(machine.state.word()).or_default() += 1;
    }
    if tally.is_empty() {
        return format!(
            "can build it{}; no machine is up",
            standing_in(books, image)
        );
    }
    let room = chances.map_or(0, |chances| room_beside(books, chances));
    let words: Vec<String> = tally
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let room = match room {
        0 => String::new(),
        1 => "; there is room for one more build beside others".to_owned(),
        room => format!("; there is room for {room} more builds beside others"),
    };
    let stands_in = standing_in(books, image);
    format!(
        "can build it{stands_in}; machines: {}{room}",
        words.join(", ")
    )
}

/// Builds that machines can still take beside those that they run, of which this one could be one.
fn room_beside(books: &Books, chances: &ImageChances) -> u32 {
    let machines = chances.machines.iter();
    let takes = machines.filter(|chance| matches!(chance.verdict, MachineVerdict::Rank(_)));
    let views = takes.filter_map(|chance| books.snapshot.machines.get(&chance.machine));
    let on_busy = |machine: &&MachineView| machine.phase == Phase::Busy;
    views.filter(on_busy).map(|machine| machine.free).sum()
}

/// Says if the current version of an image is not the newest one.
fn standing_in(books: &Books, image: &str) -> String {
    let bad = books.quarantined(image).zip(books.image(image));
    bad.map_or_else(String::new, |(bad, good)| {
        format!(
            ", with version {}, for version {} is quarantined (`dormouse image release {image}` \
             tries it anew)",
            good.version, bad.version
        )
    })
}
