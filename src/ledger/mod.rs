//! Floor 1: usage times price gives ledger entries.
//!
//! A machine is billed from the moment its launch was decided to the proof that it is gone, in
//! stretches without gap or overlap. Each stretch costs the difference of two cumulative costs, so
//! that the entries of a machine add up to its cost exactly, however finely it is cut: the sum of
//! build costs and overhead is the sum of machine costs. Caller: `engine`.

use crate::model::{
    AttemptId, BuildId, Category, Entry, Machine, Money, PipelineId, Rate, Tariff, Timestamp,
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
    Some(entry)
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
    use crate::model::{MachineId, MachineState, Market, Shape, Span};

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
            state: MachineState::Intended { claim: None },
            since: start,
            created_at: start,
            builds_done: 0,
            billed_until: start,
            billed: Money::ZERO,
            hold: None,
            record: crate::model::Record::default(),
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

    proptest! {
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
