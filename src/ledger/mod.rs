//! Floor 1: usage times price gives ledger entries.
//!
//! A machine is billed from the moment its launch was decided to the proof that it is gone, in
//! stretches without gap or overlap. Each stretch costs the difference of two cumulative costs, so
//! that the entries of a machine add up to its cost exactly, however finely it is cut: the sum of
//! build costs and overhead is the sum of machine costs. Caller: `engine`.

mod budget;

pub use budget::{Window, between, forecast, is_time_zone, window};

use crate::model::{
    AttemptId, BuildId, Category, Entry, Machine, Money, PipelineId, Rate, Span, Tariff, Timestamp,
};

/// Who caused a stretch of machine time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// The build.
    pub build: BuildId,
    /// Its attempt, when one ran or waited.
    pub attempt: Option<AttemptId>,
    /// Its pipeline.
    pub pipeline: PipelineId,
    /// Its project.
    pub project: String,
}

/// Bills `machine` up to `until`, and marks it so. `None` when no time has passed since the last
/// bill; time that costs less than a micro-dollar gives an entry of zero, so that time adds up too.
pub fn settle(
    machine: &mut Machine,
    until: Timestamp,
    category: Category,
    payer: Option<Payer>,
) -> Option<Entry> {
    if until <= machine.billed_until {
        return None;
    }
    let total = cost_at(machine, until);
    Some(bill(machine, until, total, category, payer))
}

/// As [`settle`], at the end of a stretch in which the machine ran without a break: what was paid for
/// beyond what was used is billed with it. `None` when there is nothing to bill.
pub fn settle_end(
    machine: &mut Machine,
    until: Timestamp,
    category: Category,
    payer: Option<Payer>,
) -> Option<Entry> {
    let until = until.max(machine.billed_until);
    let total = cost_of_stretch(machine, until);
    let is_due = until > machine.billed_until || total > machine.billed;
    is_due.then(|| bill(machine, until, total, category, payer))
}

/// What a machine has cost when the stretch in which it ran ends at `until`. Its disk is billed as it
/// is used.
fn cost_of_stretch(machine: &Machine, until: Timestamp) -> Money {
    let tariff = tariff(machine);
    let used = until.since(tariff.from);
    let is_running = tariff.rate == machine.shape.price_usd_micro_per_hour;
    let paid = if is_running {
        machine.billing.paid(used)
    } else {
        used
    };
    (tariff.before + tariff.rate.cost_of(paid)).max(machine.billed)
}

/// Since when a machine has been billed at what it costs now.
pub fn billed_from(machine: &Machine) -> Timestamp {
    tariff(machine).from
}

fn bill(
    machine: &mut Machine,
    until: Timestamp,
    total: Money,
    category: Category,
    payer: Option<Payer>,
) -> Entry {
    let entry = Entry {
        machine: machine.id,
        image: machine.image.clone(),
        build: payer.as_ref().map(|payer| payer.build),
        attempt: payer.as_ref().and_then(|payer| payer.attempt),
        pipeline: payer.as_ref().map(|payer| payer.pipeline),
        project: payer.map(|payer| payer.project),
        category,
        from: machine.billed_until,
        to: until,
        amount: total - machine.billed,
    };
    machine.billed_until = until;
    machine.billed = total;
    entry
}

/// Bills `machine` up to `until` to several who shared it, and marks it so.
///
/// The stretch is cut into as many equal parts, one after the other, what cannot be divided going to
/// the first: so the entries of a machine neither overlap nor leave a gap, and money and time both
/// add up exactly. Without shares nothing is billed.
pub fn settle_shared(
    machine: &mut Machine,
    until: Timestamp,
    shares: Vec<(Category, Option<Payer>)>,
) -> Vec<Entry> {
    let count = u64::try_from(shares.len()).unwrap_or(u64::MAX).max(1);
    let part = Span::from_micros(until.since(machine.billed_until).micros() / count);
    let entries = shares.into_iter().rev().enumerate();
    // The first pays up to where the equal parts of the others begin.
    let mut ends: Vec<(Timestamp, Category, Option<Payer>)> = entries
        .map(|(after, (category, payer))| {
            let after = u64::try_from(after).unwrap_or(u64::MAX);
            let end = until - Span::from_micros(part.micros().saturating_mul(after));
            (end, category, payer)
        })
        .collect();
    ends.reverse();
    ends.into_iter()
        .filter_map(|(end, category, payer)| settle(machine, end, category, payer))
        .collect()
}

/// What a machine has cost at `now`, time not yet billed included.
pub fn cost_at(machine: &Machine, now: Timestamp) -> Money {
    let tariff = tariff(machine);
    let since = tariff.rate.cost_of(now.since(tariff.from));
    (tariff.before + since).max(machine.billed)
}

/// Changes what a machine costs from `now` on, up to which it must have been settled.
pub fn change_rate(machine: &mut Machine, rate: Rate, now: Timestamp) {
    if tariff(machine).rate != rate {
        machine.tariff = Some(Tariff {
            rate,
            from: now,
            before: cost_at(machine, now),
        });
    }
}

/// What a machine costs now, per hour.
pub fn rate_now(machine: &Machine) -> Rate {
    tariff(machine).rate
}

/// What it costs now: as its launch was priced, unless that has changed since.
fn tariff(machine: &Machine) -> Tariff {
    machine.tariff.unwrap_or(Tariff {
        rate: machine.shape.price_usd_micro_per_hour,
        from: machine.created_at,
        before: Money::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Billing, Claims, MachineId, MachineState, Market, Shape, Span};

    fn machine(rate: u64) -> Machine {
        let start = Timestamp::from_micros(1_000);
        Machine {
            id: MachineId::from_bits(1),
            image: "debian".to_owned(),
            image_version: 1,
            provider: "local".to_owned(),
            shape: Shape {
                name: "small".to_owned(),
                vcpus: 1,
                memory_mib: 512,
                price_usd_micro_per_hour: Rate::from_micros_per_hour(rate),
            },
            zone: String::new(),
            market: Market::OnDemand,
            asleep_usd_micro_per_hour: Rate::default(),
            launch: None,
            tariff: None,
            project: None,
            launched_for: None,
            state: MachineState::Intended {
                claims: Claims::default(),
            },
            since: start,
            created_at: start,
            builds_done: 0,
            billed_until: start,
            billed: Money::ZERO,
            at_most: None,
            billing: Billing::default(),
            boot: None,
            hold: None,
            rev: 0,
        }
    }

    #[test]
    fn a_changed_rate_holds_from_then_on() {
        let mut machine = machine(3_600_000_000);
        let start = machine.created_at;
        let (second, third) = (start + Span::from_secs(2), start + Span::from_secs(5));
        settle(&mut machine, second, Category::Work, None).unwrap();
        change_rate(&mut machine, Rate::from_micros_per_hour(3_600_000), second);
        let asleep = settle(&mut machine, third, Category::Idle, None).unwrap();
        assert_eq!(asleep.amount, Money::from_micros(3_000));
        assert_eq!(machine.billed, Money::from_micros(2_003_000));
    }

    #[test]
    fn what_is_paid_for_and_not_used_is_billed_at_the_end() {
        let mut machine = machine(3_600_000_000);
        machine.billing = Billing {
            quantum: Span::ZERO,
            minimum: Span::from_secs(60),
        };
        let start = machine.created_at;
        let used = start + Span::from_secs(20);
        let boot = settle(
            &mut machine,
            start + Span::from_secs(5),
            Category::Boot,
            None,
        );
        assert_eq!(boot.unwrap().amount, Money::from_micros(5_000_000));
        let end = settle_end(&mut machine, used, Category::Drain, None).unwrap();
        assert_eq!((end.amount, end.to), (Money::from_micros(55_000_000), used));
        assert_eq!(machine.billed, Money::from_micros(60_000_000));
        assert_eq!(settle_end(&mut machine, used, Category::Drain, None), None);
        assert_eq!(cost_at(&machine, used), Money::from_micros(60_000_000));
    }

    #[test]
    fn begun_hours_are_paid_whole_and_sleep_as_it_is() {
        let mut machine = machine(3_600_000_000);
        machine.billing = Billing {
            quantum: Span::from_secs(3_600),
            minimum: Span::ZERO,
        };
        let start = machine.created_at;
        let asleep = start + Span::from_secs(3_601);
        settle_end(&mut machine, asleep, Category::Idle, None).unwrap();
        assert_eq!(machine.billed, Money::from_micros(7_200_000_000));
        change_rate(&mut machine, Rate::from_micros_per_hour(3_600_000), asleep);
        let gone = asleep + Span::from_secs(10);
        let disk = settle_end(&mut machine, gone, Category::Idle, None).unwrap();
        assert_eq!(disk.amount, Money::from_micros(10_000));
        assert_eq!(billed_from(&machine), asleep);
    }

    #[test]
    fn no_time_gives_no_entry() {
        let mut machine = machine(1_000_000);
        let start = machine.created_at;
        assert_eq!(settle(&mut machine, start, Category::Idle, None), None);
        assert_eq!(
            settle(
                &mut machine,
                start - Span::from_secs(1),
                Category::Idle,
                None
            ),
            None
        );
    }

    fn payer(n: u128) -> Payer {
        Payer {
            build: BuildId::from_bits(n),
            attempt: None,
            pipeline: PipelineId::from_bits(1),
            project: "app".to_owned(),
        }
    }

    #[test]
    fn what_cannot_be_divided_goes_to_the_first() {
        let mut machine = machine(3_600_000_000);
        let until = machine.created_at + Span::from_micros(11);
        let shares = (1..=3).map(|n| (Category::Work, Some(payer(n)))).collect();
        let entries = settle_shared(&mut machine, until, shares);
        let amounts: Vec<i64> = entries.iter().map(|entry| entry.amount.micros()).collect();
        assert_eq!(amounts, [5, 3, 3]);
        let builds: Vec<_> = entries.iter().map(|entry| entry.build).collect();
        assert_eq!(builds, [1, 2, 3].map(|n| Some(BuildId::from_bits(n))));
        let until = machine.billed_until + Span::from_micros(2);
        let shares = (1..=3).map(|n| (Category::Work, Some(payer(n)))).collect();
        let entries = settle_shared(&mut machine, until, shares);
        assert_eq!(entries.len(), 1, "two parts of nothing are no entries");
    }

    proptest! {
        /// However many share a stretch, their parts and the overhead cost what the machine costs,
        /// and cover its life; equal sharers pay the same to a micro-dollar per stretch.
        #[test]
        fn shares_add_up_to_the_whole(
            rate in 0_u64..200_000_000,
            cuts in prop::collection::vec((0_u64..10_000_000_000, 0_u128..9), 1..40),
        ) {
            let mut machine = machine(rate);
            let mut now = machine.created_at;
            let (mut builds, mut overhead) = (Money::ZERO, Money::ZERO);
            let mut covered = now;
            for (step, sharers) in cuts {
                now = now + Span::from_micros(step);
                let shares = match sharers {
                    0 => vec![(Category::Idle, None)],
                    n => (1..=n).map(|n| (Category::Work, Some(payer(n)))).collect(),
                };
                let entries = settle_shared(&mut machine, now, shares);
                for entry in &entries {
                    prop_assert_eq!(entry.from, covered);
                    prop_assert!(entry.amount >= Money::ZERO);
                    covered = entry.to;
                    match entry.build {
                        Some(_) => builds += entry.amount,
                        None => overhead += entry.amount,
                    }
                }
                prop_assert_eq!(covered, now);
                let amounts = entries.iter().skip(1).map(|entry| entry.amount.micros());
                if let (Some(least), Some(most)) = (amounts.clone().min(), amounts.max()) {
                    prop_assert!(most - least <= 1, "{least} to {most}");
                }
            }
            let whole = machine.shape.price_usd_micro_per_hour.cost_of(now.since(machine.created_at));
            prop_assert_eq!(builds + overhead, whole);
        }

        /// However a machine's life is cut, the pieces cost what the whole costs, and cover it.
        #[test]
        fn pieces_add_up_to_the_whole(
            rate in 0_u64..200_000_000,
            cuts in prop::collection::vec((0_u64..10_000_000_000, any::<bool>()), 1..40),
        ) {
            let mut machine = machine(rate);
            let mut now = machine.created_at;
            let (mut sum, mut covered) = (Money::ZERO, machine.created_at);
            for (step, is_work) in cuts {
                now = now + Span::from_micros(step);
                let category = if is_work { Category::Work } else { Category::Idle };
                if let Some(entry) = settle(&mut machine, now, category, None) {
                    prop_assert_eq!(entry.from, covered);
                    prop_assert!(entry.amount >= Money::ZERO);
                    covered = entry.to;
                    sum += entry.amount;
                }
            }
            let whole = machine.shape.price_usd_micro_per_hour.cost_of(now.since(machine.created_at));
            prop_assert_eq!(sum, whole);
            prop_assert_eq!(sum, machine.billed);
            prop_assert_eq!(covered, now);
        }
    }
}
