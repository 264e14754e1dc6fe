//! Makes up a history: a team's office hours, seeded.
//!
//! What matters for the cost of machines is kept: most builds come in office hours, a push brings
//! several at once, nights and weekends are quiet but for a nightly run, lengths are log-normal around
//! a median per job, and jobs differ in what they need. Equal seeds give equal histories on every
//! machine: all of it is reckoned in whole numbers.

use std::collections::BTreeMap;

use super::Work;
use super::catalogue::made_up_image;
use super::dice::Dice;
use super::trace::Recorded;
use crate::model::{
    CapabilityValue, Constraint, ImageSpec, Operator, Rate, Requirement, Requirements, Span,
    Timestamp,
};

/// Monday, 5 January 2026, 00:00 UTC: weeks begin where calendars begin them.
const BEGIN: Timestamp = Timestamp::from_micros(1_767_571_200_000_000);

/// A stream of draws that nothing else uses.
const STREAM: u64 = 0x6d61_6465_7570;

/// Spread of a job's lengths around their median: the standard deviation of the logarithm, in percent.
const SPREAD_PERCENT: u32 = 45;

/// A day, in seconds.
const DAY: u64 = 86_400;

/// How long a made-up history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Monday.
    Day,
    /// From Monday to Sunday.
    Week,
    /// Four weeks, so that every month has as many weekends.
    Month,
}

impl Length {
    const fn days(self) -> u64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 28,
        }
    }
}

/// What to make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// How long it is.
    pub length: Length,
    /// How many builds it has.
    pub builds: usize,
    /// Of everything random.
    pub seed: u64,
}

/// A job of a project's pipeline.
#[derive(Debug)]
struct Job {
    name: &'static str,
    /// Median length in seconds.
    median: u64,
    /// Place among the images.
    image: usize,
    /// Whether any image with the same system will do.
    flexible: bool,
}

/// A project: what a push to it starts.
#[derive(Debug)]
struct Project {
    name: &'static str,
    /// Pushes to it among those to all projects.
    weight: u64,
    jobs: Vec<Job>,
}

/// Images that a made-up history is for: two of one system and different tools, and two others.
pub fn images() -> Vec<(String, ImageSpec)> {
    let values = |texts: &[&str]| {
        let texts = texts.iter().map(|text| (*text).to_owned());
        CapabilityValue::Values(texts.collect())
    };
    let image = |name: &str, micros: u64, capabilities: &[(&str, CapabilityValue)]| {
        let capabilities = capabilities.iter().cloned();
        let capabilities = capabilities.map(|(name, value)| (name.to_owned(), value));
        let rate = Rate::from_micros_per_hour(micros);
        (name.to_owned(), made_up_image(rate, capabilities.collect()))
    };
    vec![
        image(
            "debian-python",
            85_600,
            &[
                ("os", values(&["debian-12"])),
                ("python", values(&["3.11.9", "3.12.4"])),
                ("sqlite", CapabilityValue::Flag(true)),
            ],
        ),
        image(
            "debian-postgres",
            171_200,
            &[
                ("os", values(&["debian-12"])),
                ("python", values(&["3.12.4"])),
                ("postgres", values(&["16.3"])),
            ],
        ),
        image(
            "alpine-rust",
            342_400,
            &[
                ("os", values(&["alpine-3.20"])),
                ("rust", values(&["1.85.0"])),
            ],
        ),
        image(
            "centos-legacy",
            85_600,
            &[
                ("os", values(&["centos-7"])),
                ("python", values(&["2.7.18"])),
            ],
        ),
    ]
}

/// What job kinds need of the images, by place.
fn needs(image: usize, flexible: bool) -> Requirements {
    let is = |text: &str| Requirement::AnyOf(vec![Constraint::Is(text.to_owned())]);
    let least = |text: &str| {
        let comparison = (Operator::GreaterOrEqual, text.to_owned());
        Requirement::AnyOf(vec![Constraint::All(vec![comparison])])
    };
    let needs = match (image, flexible) {
        (0 | 1, true) => vec![("os", is("debian-12")), ("python", is("3.12"))],
        (0, false) => vec![("python", least("3.11")), ("sqlite", Requirement::Present)],
        (1, false) => vec![("postgres", least("16")), ("python", least("3.12"))],
        (2, _) => vec![("rust", least("1.80"))],
        _ => vec![("python", is("2.7"))],
    };
    let named = needs
        .into_iter()
        .map(|(name, need)| (name.to_owned(), need));
    named.collect()
}

fn projects() -> Vec<Project> {
    let job = |name, median, image, flexible| Job {
        name,
        median,
        image,
        flexible,
    };
    let project = |name, weight, jobs| Project { name, weight, jobs };
    vec![
        project(
            "web",
            5,
            vec![
                job("lint", 45, 0, true),
                job("unit (3.11)", 240, 0, false),
                job("unit (3.12)", 240, 0, false),
                job("postgres", 480, 1, false),
                job("browser", 720, 1, false),
            ],
        ),
        project(
            "engine",
            3,
            vec![
                job("check", 180, 2, false),
                job("test", 540, 2, false),
                job("release", 1_500, 2, false),
            ],
        ),
        project(
            "library",
            2,
            vec![
                job("lint", 40, 0, true),
                job("test (3.12)", 150, 0, false),
                job("test (2.7)", 200, 3, false),
            ],
        ),
    ]
}

/// Makes up a history. With `images`, of somebody else's catalogue: then each build is pinned to the
/// image that it needs, for nobody can know what would be asked of them.
pub fn generate(wish: Wish, images: Option<&[(String, ImageSpec)]>) -> Vec<Recorded> {
    let mut dice = Dice::new(wish.seed, STREAM);
    let projects = projects();
    let mut work: Vec<Work> = Vec::with_capacity(wish.builds);
    for day in 0..wish.length.days() {
        nightly(day, &projects, images, &mut dice, &mut work);
    }
    work.truncate(wish.builds);
    while work.len() < wish.builds {
        let at = office_time(wish.length.days(), &mut dice);
        push(at, &projects, images, &mut dice, &mut work);
        work.truncate(wish.builds);
    }
    work.sort_by_key(|work| work.submit);
    work.into_iter()
        .map(|work| Recorded {
            work,
            started: None,
        })
        .collect()
}

/// A push: most run the whole pipeline of their project, some a part of it; now and then somebody
/// pushes a stack of branches.
fn push(
    at: Timestamp,
    projects: &[Project],
    images: Option<&[(String, ImageSpec)]>,
    dice: &mut Dice,
    work: &mut Vec<Work>,
) {
    let total = projects.iter().map(|project| project.weight).sum();
    let mut ticket = dice.below(total);
    let chosen = projects.iter().find(|project| {
        let is_it = ticket < project.weight;
        ticket = ticket.saturating_sub(project.weight);
        is_it
    });
    let Some(project) = chosen else {
        return;
    };
    let branches = if dice.below(20) == 0 { 4 } else { 1 };
    for _ in 0..branches {
        let keep_all = dice.below(3) > 0;
        for job in &project.jobs {
            if keep_all || dice.below(2) == 0 {
                // Webhooks take a moment, each its own.
                let at = at + Span::from_millis(dice.below(2_000));
                work.push(build(project, job, "push", (at, images), dice));
            }
        }
    }
}

/// Every pipeline twice, at two in the morning.
fn nightly(
    day: u64,
    projects: &[Project],
    images: Option<&[(String, ImageSpec)]>,
    dice: &mut Dice,
    work: &mut Vec<Work>,
) {
    let at = BEGIN + Span::from_secs(day * DAY + 2 * 3_600);
    for project in projects {
        for job in &project.jobs {
            for _ in 0..2 {
                work.push(build(project, job, "schedule", (at, images), dice));
            }
        }
    }
}

fn build(
    project: &Project,
    job: &Job,
    trigger: &str,
    (at, images): (Timestamp, Option<&[(String, ImageSpec)]>),
    dice: &mut Dice,
) -> Work {
    let pinned = images.and_then(|images| images.get(job.image % images.len().max(1)));
    let requires = match images {
        Some(_) => Requirements::new(),
        None => needs(job.image, job.flexible),
    };
    let trigger = ("trigger".to_owned(), trigger.to_owned());
    Work {
        submit: at,
        run: dice.around(Span::from_secs(job.median), SPREAD_PERCENT),
        project: project.name.to_owned(),
        name: job.name.to_owned(),
        priority: 0,
        labels: BTreeMap::from([trigger]),
        requires,
        image: pinned.map(|(name, _)| name.clone()),
        ..Work::default()
    }
}

/// A moment at which somebody pushes: by day of the week, then by hour of the day.
fn office_time(days: u64, dice: &mut Dice) -> Timestamp {
    /// Pushes by hour of a working day (UTC), of a hundred or so: two humps around lunch.
    const HOURS: [u64; 24] = [
        1, 0, 0, 0, 0, 0, 1, 3, 7, 11, 12, 11, 6, 9, 12, 12, 10, 7, 4, 2, 2, 2, 1, 1,
    ];
    /// Pushes by day of the week, Monday first: a weekend day is a tenth of a working day.
    const DAYS: [u64; 7] = [9, 10, 10, 10, 9, 1, 1];
    let weights: Vec<u64> = (0..days)
        .map(|day| {
            let weekday = usize::try_from(day % 7).unwrap_or(0);
            DAYS.get(weekday).copied().unwrap_or(0)
        })
        .collect();
    let day = choose(dice, &weights);
    let hour = choose(dice, &HOURS);
    BEGIN + Span::from_secs(day * DAY + hour * 3_600) + Span::from_millis(dice.below(3_600_000))
}

/// A place, as likely as its weight.
fn choose(dice: &mut Dice, weights: &[u64]) -> u64 {
    let mut ticket = dice.below(weights.iter().sum());
    for (place, weight) in (0..).zip(weights) {
        if ticket < *weight {
            return place;
        }
        ticket -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::catalogue::unmet;

    const WISH: Wish = Wish {
        length: Length::Month,
        builds: 5_000,
        seed: 1,
    };

    #[test]
    fn equal_seeds_give_equal_histories_and_others_others() {
        let one = generate(WISH, None);
        assert_eq!(one, generate(WISH, None));
        assert_ne!(one, generate(Wish { seed: 2, ..WISH }, None));
        assert_eq!(one.len(), WISH.builds);
        assert!(one.is_sorted_by_key(|build| build.work.submit));
    }

    #[test]
    fn histories_are_the_same_on_every_machine() {
        let trace = generate(
            Wish {
                builds: 400,
                ..WISH
            },
            None,
        );
        let micros = |sum: u64, build: &Recorded| {
            let at = build.work.submit.micros().unsigned_abs();
            sum.wrapping_mul(31)
                .wrapping_add(at ^ build.work.run.micros())
        };
        // Of x86-64; a change of the generator changes it, a change of machine must not.
        assert_eq!(trace.iter().fold(0, micros), 11_688_028_941_629_205_120);
    }

    #[test]
    fn most_builds_come_in_office_hours_and_several_at_once() {
        let trace = generate(WISH, None);
        let hour =
            |build: &Recorded| (build.work.submit.since(BEGIN).micros() / 3_600_000_000) % 168;
        let office = trace.iter().filter(|build| {
            let hour = hour(build);
            hour / 24 < 5 && (8..18).contains(&(hour % 24))
        });
        assert!(office.count() * 100 > trace.len() * 55);
        let weekend = trace.iter().filter(|build| hour(build) / 24 >= 5);
        assert!(weekend.count() * 100 < trace.len() * 20);
        let close = trace
            .windows(2)
            .filter(|pair| pair[1].work.submit.since(pair[0].work.submit) < Span::from_secs(2));
        assert!(close.count() * 2 > trace.len());
    }

    #[test]
    fn lengths_spread_around_their_medians() {
        let trace = generate(WISH, None);
        let mut lengths: Vec<_> = trace
            .iter()
            .filter(|build| build.work.name == "postgres")
            .map(|build| build.work.run)
            .collect();
        lengths.sort_unstable();
        let at = |percent: usize| lengths[lengths.len() * percent / 100].micros() / 1_000_000;
        assert!((420..540).contains(&at(50)), "{}", at(50));
        // One sigma of 0.45 is a factor of 1.57.
        assert!((660..860).contains(&at(84)), "{}", at(84));
    }

    #[test]
    fn its_own_images_can_build_all_of_it() {
        let images = images();
        let work: Vec<_> = generate(WISH, None).into_iter().map(|b| b.work).collect();
        assert_eq!(unmet(&images, &work), []);
        let mine = &images[..1];
        let pinned: Vec<_> = generate(WISH, Some(mine))
            .into_iter()
            .map(|b| b.work)
            .collect();
        assert_eq!(unmet(mine, &pinned), []);
    }
}
