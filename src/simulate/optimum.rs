//! What somebody who knows the future would have paid: the yardstick for every policy.
//!
//! The clairvoyant starts each build the moment it is submitted, on a machine that is ready. Between
//! two builds on one machine it pays for the gap, or ends the machine and pays for the next one's
//! boot, whichever is less: `min(gap, Δ)`, where Δ is the time that a start and an end are paid for.
//! The first use of a machine costs Δ. As that cost is concave in the gap, matching builds to machines
//! last in, first out is optimal (an exchange of two crossing matches never makes it dearer), so one
//! sweep finds the optimum of an image; a brute-force search agrees in the tests below. Sources: Lu &
//! Chen, arXiv 1112.0442; Karlin et al. 1990 for one machine.
//!
//! Images that share builds are taken together as if they were one, at the least of their prices:
//! every real schedule is a schedule of that problem and costs no less there. So for them it is a lower
//! bound, and so it is for the whole.

use std::collections::BTreeMap;

use crate::model::{Money, Rate, Span, Timestamp};

/// A build, as far as the optimum depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// When it is submitted.
    pub submit: Timestamp,
    /// How long it takes.
    pub run: Span,
    /// Images that can build it, by place in the list of prices, best first.
    pub images: Vec<usize>,
}

/// The least that a history can cost without letting anybody wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optimum {
    /// For builds, each on the cheapest image that can build it.
    pub work: Money,
    /// For machines without a build: boots, ends and gaps.
    pub overhead: Money,
    /// Machines started.
    pub machines: u64,
    /// Whether no two images share builds: then it is the optimum itself, else a lower bound.
    pub is_exact: bool,
}

impl Optimum {
    /// What it takes for granted, for people.
    pub fn assumptions(&self) -> Vec<&'static str> {
        let kind = if self.is_exact {
            "no image shares builds with another, so it is exact"
        } else {
            "images that share builds count as one at their least price, so it is a lower bound"
        };
        vec![
            "every build starts when it is submitted, on one machine of its own",
            "machines run or are gone (none sleeps), cost the list price of their image's cheapest \
             size, and boot in the median time; spare capacity or builds that queue for a machine \
             can cost less",
            kind,
        ]
    }
}

/// Finds it. `prices` are the images'; `cold` is the time that a boot and an end together are paid for.
pub fn optimum(jobs: &[Job], prices: &[Rate], cold: Span) -> Optimum {
    let groups = Groups::of(jobs, prices.len());
    let mut members: BTreeMap<usize, Vec<&Job>> = BTreeMap::new();
    let mut busy: BTreeMap<Rate, u64> = BTreeMap::new();
    for job in jobs {
        let Some(first) = job.images.first() else {
            continue;
        };
        members
            .entry(groups.of_image(*first))
            .or_default()
            .push(job);
        let least = job
            .images
            .iter()
            .filter_map(|image| prices.get(*image))
            .min();
        if let Some(price) = least {
            *busy.entry(*price).or_default() += job.run.micros();
        }
    }
    let mut found = Optimum {
        work: busy
            .into_iter()
            .map(|(price, time)| price.cost_of(Span::from_micros(time)))
            .sum(),
        overhead: Money::ZERO,
        machines: 0,
        is_exact: jobs.iter().all(|job| job.images.len() <= 1),
    };
    for (group, jobs) in members {
        let prices = prices.iter().enumerate();
        let own = prices.filter(|(image, _)| groups.of_image(*image) == group);
        let least = own.map(|(_, price)| *price).min();
        let (time, machines) = overhead(&jobs, cold);
        found.machines += machines;
        found.overhead += least.map_or(Money::ZERO, |price| price.cost_of(time));
    }
    found
}

/// The time that machines of one kind are paid for without a build, and how many are started.
fn overhead(jobs: &[&Job], cold: Span) -> (Span, u64) {
    let mut starts: Vec<_> = jobs.iter().map(|job| job.submit).collect();
    let mut ends: Vec<_> = jobs.iter().map(|job| job.submit + job.run).collect();
    starts.sort_unstable();
    ends.sort_unstable();
    let mut ends = ends.into_iter().peekable();
    let mut free: Vec<Timestamp> = Vec::new();
    let (mut time, mut machines) = (0_u64, 0_u64);
    for start in starts {
        // A machine that gets free at this very moment takes the build.
        while let Some(end) = ends.next_if(|end| *end <= start) {
            free.push(end);
        }
        let gap = free.pop().map(|since| start.since(since));
        if let Some(gap) = gap.filter(|gap| *gap < cold) {
            time += gap.micros();
        } else {
            time += cold.micros();
            machines += 1;
        }
    }
    (Span::from_micros(time), machines)
}

/// Which images are connected by builds that several of them can build.
#[derive(Debug)]
struct Groups {
    /// By image, another image of its group, itself for the one that stands for all.
    parents: Vec<usize>,
}

impl Groups {
    fn of(jobs: &[Job], images: usize) -> Self {
        let mut groups = Self {
            parents: (0..images).collect(),
        };
        for job in jobs {
            for pair in job.images.windows(2) {
                if let [one, other] = pair {
                    groups.join(*one, *other);
                }
            }
        }
        groups
    }

    fn of_image(&self, image: usize) -> usize {
        let mut at = image;
        while let Some(parent) = self.parents.get(at).filter(|parent| **parent != at) {
            at = *parent;
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of_image(one), self.of_image(other));
        if let Some(parent) = self.parents.get_mut(one.max(other)) {
            *parent = one.min(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::dice::Dice;

    const COLD: Span = Span::from_secs(30);

    fn job(submit: u64, run: u64, images: &[usize]) -> Job {
        Job {
            submit: Timestamp::from_micros(0) + Span::from_secs(submit),
            run: Span::from_secs(run),
            images: images.to_vec(),
        }
    }

    /// A dollar per hour and image: costs are then comparable with times.
    fn cost(seconds: u64, price: Rate) -> Money {
        price.cost_of(Span::from_secs(seconds))
    }

    /// Tries every way of giving jobs to machines: each on a machine that one before it left, or on a
    /// new one. `last` has, per machine, its image and when it is free.
    fn brute_force(jobs: &[Job], prices: &[Rate], last: &mut Vec<(usize, Timestamp)>) -> Money {
        let Some((job, rest)) = jobs.split_first() else {
            return Money::ZERO;
        };
        let end = job.submit + job.run;
        let mut best: Option<Money> = None;
        let mut consider = |cost: Money| best = Some(best.map_or(cost, |best| best.min(cost)));
        for place in 0..last.len() {
            let (image, free) = last[place];
            if !job.images.contains(&image) || free > job.submit {
                continue;
            }
            let gap = job.submit.since(free).min(COLD);
            last[place].1 = end;
            consider(prices[image].cost_of(gap) + brute_force(rest, prices, last));
            last[place].1 = free;
        }
        for image in &job.images {
            last.push((*image, end));
            consider(prices[*image].cost_of(COLD) + brute_force(rest, prices, last));
            last.pop();
        }
        best.unwrap()
    }

    fn random(dice: &mut Dice, count: u64, images: &[&[usize]]) -> Vec<Job> {
        let mut jobs: Vec<Job> = (0..count)
            .map(|_| {
                let of = images[usize::try_from(dice.below(images.len() as u64)).unwrap()];
                job(dice.below(200), 1 + dice.below(60), of)
            })
            .collect();
        jobs.sort_by_key(|job| job.submit);
        jobs
    }

    #[test]
    fn one_sweep_finds_what_a_search_finds() {
        let mut dice = Dice::new(1, 0);
        let price = [Rate::from_micros_per_hour(3_600_000_000)];
        for round in 0..400 {
            let jobs = random(&mut dice, 1 + round % 7, &[&[0]]);
            let found = optimum(&jobs, &price, COLD);
            assert!(found.is_exact);
            assert_eq!(
                found.overhead,
                brute_force(&jobs, &price, &mut Vec::new()),
                "{jobs:?}"
            );
        }
    }

    #[test]
    fn no_schedule_is_cheaper_where_images_share_builds() {
        let mut dice = Dice::new(2, 0);
        let price = |dollars: u64| Rate::from_micros_per_hour(dollars * 3_600_000_000);
        let prices = [price(1), price(2), price(3)];
        let mut is_tight = 0;
        for round in 0..300 {
            let jobs = random(&mut dice, 1 + round % 6, &[&[0], &[1], &[0, 1], &[2]]);
            let found = optimum(&jobs, &prices, COLD);
            let best = brute_force(&jobs, &prices, &mut Vec::new());
            assert!(found.overhead <= best, "{jobs:?}");
            is_tight += u32::from(found.overhead == best);
        }
        assert!(
            is_tight > 30,
            "a bound that is never met says little: {is_tight}"
        );
    }

    #[test]
    fn gaps_are_waited_through_only_while_that_is_cheaper() {
        let price = Rate::from_micros_per_hour(1_000_000);
        let found = optimum(
            &[job(0, 10, &[0]), job(20, 10, &[0]), job(100, 10, &[0])],
            &[price],
            COLD,
        );
        assert_eq!(found.overhead, cost(30 + 10 + 30, price));
        assert_eq!(found.work, cost(30, price));
        assert_eq!(found.machines, 2);
    }

    #[test]
    fn nothing_costs_nothing() {
        let found = optimum(&[], &[], COLD);
        assert_eq!((found.work, found.overhead), (Money::ZERO, Money::ZERO));
    }
}
