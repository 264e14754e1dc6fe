//! `budgets`: what may be spent.

use super::super::document::{Field, Problems, Table};
use super::super::text::required_name;
use super::read::{DEFAULT_TIME_ZONE, read_choice, read_parsed, read_percent, read_time_zone};
use crate::model::{AtLimit, Budget, BudgetEach, Money, Period};

/// Share of a budget from which on people are warned, if it does not say: late enough to mean
/// something, early enough to do something.
const DEFAULT_WARN_AT_PERCENT: u32 = 80;

/// Most budgets of a policy: each is looked at for every build that starts.
const MOST_BUDGETS: usize = 32;

pub(super) fn read_budgets(field: &Field<'_>, problems: &mut Problems) -> Vec<Budget> {
    let Some(items) = field.list(problems) else {
        return Vec::new();
    };
    if items.is_empty() {
        field.refuse(problems, "there are no budgets; leave the key out");
    } else if items.len() > MOST_BUDGETS {
        let message = format!(
            "{} budgets; at most {MOST_BUDGETS} are accepted",
            items.len()
        );
        field.refuse(problems, message);
    }
    let mut budgets: Vec<Budget> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(budget) = read_budget(item, problems) else {
            continue;
        };
        if budgets.iter().any(|other| other.name == budget.name) {
            let message = format!("a budget of the name {} is there already", budget.name);
            item.refuse(problems, message);
        }
        budgets.push(budget);
    }
    budgets
}

fn read_budget(field: &Field<'_>, problems: &mut Problems) -> Option<Budget> {
    const KEYS: [&str; 8] = [
        "name",
        "amount",
        "per",
        "time_zone",
        "each",
        "warn_at",
        "at_limit",
        "roll_over",
    ];
    let table = field.table(&KEYS, problems)?;
    let name = required_name("a budget", "name", &table, problems);
    let amount = table
        .required("amount", problems)
        .and_then(|field| read_amount(field, problems));
    let each = match table.get("each") {
        Some(field) => read_each(field, problems),
        None => Some(BudgetEach::default()),
    };
    // Without knowing what gets it, nothing can be said about the period.
    let per = each.and_then(|each| read_per(each, &table, problems));
    let warn_at_percent = read_percent("warn_at", 1, &table, problems);
    let at_limit = table
        .get("at_limit")
        .and_then(|field| read_at_limit(field, problems));
    let time_zone = read_time_zone(&table, problems);
    let roll_over = read_parsed("roll_over", &table, problems);
    if per == Some(Period::Life) {
        refuse_calendar(&table, problems);
    }
    Some(Budget {
        name: name?,
        amount: amount?,
        each: each?,
        per: per?,
        time_zone: time_zone.unwrap_or_else(|| DEFAULT_TIME_ZONE.to_owned()),
        warn_at_percent: warn_at_percent.unwrap_or(DEFAULT_WARN_AT_PERCENT),
        at_limit: at_limit.unwrap_or_default(),
        roll_over: roll_over.unwrap_or(Money::ZERO),
    })
}

fn read_amount(field: &Field<'_>, problems: &mut Problems) -> Option<Money> {
    let amount = field.parse(problems)?;
    if amount == Money::ZERO {
        field.refuse(
            problems,
            "nothing could ever be spent; to pause, set `limits: {machines: 0}`",
        );
    }
    Some(amount)
}

fn read_each(field: &Field<'_>, problems: &mut Problems) -> Option<BudgetEach> {
    let choices = [
        BudgetEach::All,
        BudgetEach::Project,
        BudgetEach::Image,
        BudgetEach::Pipeline,
        BudgetEach::Build,
    ];
    let choices = choices.map(|choice| (choice.word(), choice));
    read_choice("choice", choices, field, problems)
}

fn read_at_limit(field: &Field<'_>, problems: &mut Problems) -> Option<AtLimit> {
    let choices = [AtLimit::Hold, AtLimit::Fail, AtLimit::OnApproval];
    let choices = choices.map(|choice| (choice.word(), choice));
    read_choice("choice", choices, field, problems)
}

/// The period; builds and pipelines have their amount for as long as they live.
fn read_per(each: BudgetEach, table: &Table<'_>, problems: &mut Problems) -> Option<Period> {
    let choices = [
        Period::Hour,
        Period::Day,
        Period::Week,
        Period::Month,
        Period::Life,
    ];
    let choices = choices.map(|choice| (choice.word(), choice));
    let lives = match each {
        BudgetEach::Build | BudgetEach::Pipeline => true,
        BudgetEach::All | BudgetEach::Project | BudgetEach::Image => false,
    };
    let field = match table.get("per") {
        Some(field) => field,
        None if lives => return Some(Period::Life),
        None => table.required("per", problems)?,
    };
    let period = read_choice("period", choices, field, problems)?;
    if lives && period != Period::Life {
        let each = each.word();
        let message = format!(
            "the budget of each {each} is for all of its life; leave `per` out or write `per: life`"
        );
        field.refuse(problems, message);
    } else if !lives && period == Period::Life {
        field.refuse(
            problems,
            "only builds and pipelines have a life; expected hour, day, week or month, or \
             `each: build` or `each: pipeline` beside it",
        );
    }
    Some(period)
}

/// A life has no days and no next period.
fn refuse_calendar(table: &Table<'_>, problems: &mut Problems) {
    if let Some(field) = table.get("time_zone") {
        field.refuse(
            problems,
            "a budget for a whole life has no days; leave the time zone out",
        );
    }
    if let Some(field) = table.get("roll_over") {
        field.refuse(
            problems,
            "a budget for a whole life has no next period to roll over into; leave it out",
        );
    }
}
