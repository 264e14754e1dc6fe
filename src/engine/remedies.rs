//! What a person could do about a build that stays queued, with the command for it.

use crate::books::Books;
use crate::model::{BudgetPart, Build, Money};
use crate::planner::{Blocked, NoRoom, Paused, Quota, Reached, Remedy};

pub(super) fn remedy(effect: &str, command: String) -> Remedy {
    Remedy {
        effect: effect.to_owned(),
        command,
    }
}

/// What a build waits for, as a clause.
pub(super) fn awaited(why: &Blocked) -> String {
    let words = match why {
        Blocked::NoImage => "an image that fits",
        Blocked::Limit(reached) => match reached.quota {
            Quota::Machines | Quota::Vcpus | Quota::Cost => "room for a machine under a limit",
            Quota::Builds => "the end of a build that counts for the same limit",
            Quota::Launches => "room for a launch under a limit",
        },
        Blocked::Budget(_) => "room in a budget",
        Blocked::Paused(..) => "the end of a pause",
        Blocked::Dry(..) => "capacity",
        Blocked::Unresolved(_) => "its provider to say where the image can be launched",
        Blocked::NotSold(..) => "a policy that asks for what can be had",
        Blocked::Backoff(_) => "the time of its next attempt",
        Blocked::Tidying(..) => "the proof that a machine is clean",
    };
    words.to_owned()
}

/// What happens next, in a sentence.
pub(super) fn what_helps(books: &Books, why: &Blocked) -> String {
    match why {
        Blocked::NoImage => {
            "Nothing, until an image that fits is applied (`dormouse apply`).".to_owned()
        }
        Blocked::Limit(reached) => more_room(books, *reached),
        Blocked::Budget(no_room) => more_money(books, no_room),
        Blocked::Paused(_, Paused { until, .. }) | Blocked::Backoff(until) => {
            format!("The next try is at {until}; `dormouse events` shows what failed.")
        }
        Blocked::Dry(_, until) => format!(
            "The next try is at {until}. More types, zones or markets in the image's shapes and \
             policy give it more places to find capacity."
        ),
        Blocked::Tidying(_, until) => {
            format!("It gets the machine in a moment, or another one after {until}.")
        }
        Blocked::NotSold(image, market) => {
            let name = books.snapshot.image(*image).map_or("", |image| &image.name);
            let market = market.word();
            format!(
                "It waits for ever, unless its policy stops to ask for {market} capacity \
                 (`market.buy`) or {name} becomes available as such."
            )
        }
        Blocked::Unresolved(image) => {
            let name = books.snapshot.image(*image).map_or("", |image| &image.name);
            format!(
                "Its provider is asked; `dormouse events --subject image:{name}` shows what it said."
            )
        }
    }
}

/// The commands that change it.
pub(super) fn remedies(books: &Books, build: &Build, why: &Blocked) -> Vec<Remedy> {
    let image_of = |index| books.snapshot.image(index).map_or("", |image| &image.name);
    let events = |name: &str| {
        let command = format!("dormouse events --subject image:{name}");
        remedy("shows what was tried", command)
    };
    match why {
        Blocked::NoImage => vec![remedy(
            "makes an image current that can build it",
            "dormouse apply IMAGE.yaml".to_owned(),
        )],
        Blocked::Limit(reached) => widen(books, build, *reached),
        Blocked::Budget(no_room) => fund(books, no_room),
        Blocked::Paused(image, _) => {
            let name = image_of(*image);
            let effect = format!("tries {name} at once, when its file is mended");
            vec![
                events(name),
                remedy(&effect, "dormouse apply IMAGE.yaml".to_owned()),
            ]
        }
        Blocked::Dry(image, _) => {
            let name = image_of(*image);
            let effect = format!("gives {name} more types or zones, or its policy another market");
            vec![remedy(&effect, "dormouse apply FILE.yaml".to_owned())]
        }
        Blocked::Unresolved(image) => vec![events(image_of(*image))],
        // The policy's key is told with the shapes that it keeps away.
        Blocked::NotSold(image, _) => {
            let name = image_of(*image);
            let command = format!("dormouse policy show --for /{name}");
            vec![remedy("shows which policy asks for what", command)]
        }
        // It takes a moment, and nobody can make it shorter.
        Blocked::Tidying(..) => Vec::new(),
        Blocked::Backoff(_) => {
            let command = format!("dormouse events --subject {}", build.id);
            vec![remedy("shows what failed", command)]
        }
    }
}

/// What the policy file calls what a limit counts.
const fn knob(quota: Quota) -> &'static str {
    match quota {
        Quota::Machines => "machines",
        Quota::Vcpus => "vcpus",
        Quota::Cost => "cost_per_hour",
        Quota::Builds => "builds",
        Quota::Launches => "launches_per_hour",
    }
}

fn widen(books: &Books, build: &Build, reached: Reached) -> Vec<Remedy> {
    let limit = books.snapshot.limits.get(reached.limit);
    let name = limit.map_or("", |limit| limit.name.as_str());
    let knob = knob(reached.quota);
    let effect = format!("with a higher limits.{knob} in policy {name}, lets it go on");
    let show = format!("dormouse policy show --for {}", build.spec.project);
    vec![
        remedy("shows the limits and who says them", show),
        remedy(&effect, "dormouse apply POLICY.yaml".to_owned()),
    ]
}

fn fund(books: &Books, no_room: &NoRoom) -> Vec<Remedy> {
    let list = remedy("shows how budgets stand", "dormouse budgets".to_owned());
    let Some(budget) = books.snapshot.budgets.get(no_room.budget) else {
        return vec![list];
    };
    let (policy, name) = (&budget.policy, &budget.name);
    let lacks = (no_room.needs - no_room.left).max(Money::from_micros(1));
    let part = match books.part_name(no_room.part) {
        BudgetPart::All => String::new(),
        part @ (BudgetPart::Project(_)
        | BudgetPart::Image(_)
        | BudgetPart::Pipeline(_)
        | BudgetPart::Build(_)) => format!(" --for {part}"),
    };
    let approve = format!(
        "dormouse budget approve {policy}/{name} --amount {}{part}",
        cents_up(lacks)
    );
    let effect = format!("with a higher amount of budget {name} in policy {policy}, lets it go on");
    vec![
        remedy("gives it the money that it may cost at worst", approve),
        remedy(&effect, "dormouse apply POLICY.yaml".to_owned()),
        list,
    ]
}

/// Dollars and cents, rounded up: `2.50`.
fn cents_up(money: Money) -> String {
    let micros = u64::try_from(money.micros()).unwrap_or(0);
    let cents = micros.div_ceil(10_000);
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn more_room(books: &Books, reached: Reached) -> String {
    let limit = books.snapshot.limits.get(reached.limit);
    let name = limit.map_or("", |limit| limit.name.as_str());
    let what = match reached.quota {
        Quota::Machines | Quota::Vcpus | Quota::Cost => {
            "the next machine that fits and becomes free"
        }
        Quota::Builds => "its turn when one of the builds that run ends",
        Quota::Launches => {
            "the next machine that fits and becomes free, or one that is launched then"
        }
    };
    let knob = knob(reached.quota);
    format!(
        "It gets {what}; more at once: raise limits.{knob} of policy {name:?} (`dormouse apply`)."
    )
}

fn more_money(books: &Books, no_room: &NoRoom) -> String {
    let Some(budget) = books.snapshot.budgets.get(no_room.budget) else {
        return "`dormouse budgets` shows how budgets stand.".to_owned();
    };
    let when = match no_room.until {
        Some(until) => format!("It is looked at again when builds end, and at {until}"),
        None => "It is looked at again when builds end".to_owned(),
    };
    format!(
        "{when}; more: `dormouse budget approve {}/{} --amount ...`, or raise it (`dormouse apply`).",
        budget.policy, budget.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_up_to_cents() {
        assert_eq!(cents_up(Money::from_micros(1)), "0.01");
        assert_eq!(cents_up(Money::from_micros(2_500_000)), "2.50");
        assert_eq!(cents_up(Money::from_micros(2_500_001)), "2.51");
    }
}
