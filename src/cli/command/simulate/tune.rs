//! `dormouse simulate --tune`: the frontier of cost and wait, and the policy to use.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::load::{History, PolicySet};
use super::play::scenario;
use super::show::{Answer, Progress, percent, wait};
use super::{Simulate, failed};
use crate::cli::output::words;
use crate::cli::report::{Report, usage};
use crate::model::PolicySpec;
use crate::policy;
use crate::simulate::report::Figures;
use crate::simulate::tune::{Trial, Tuning, price, tune as search};

/// Fewest builds that say anything about a policy, half of them kept for the test.
const FEWEST: usize = 20;

/// Searches, and tells what was found.
pub(super) fn tune(
    asked: &Simulate,
    history: &History,
    sets: &[PolicySet],
    progress: &Progress,
) -> Result<Answer, Report> {
    if history.work.len() < FEWEST {
        let builds = history.work.len();
        return Err(usage(format!(
            "{builds} builds say little about a policy; --tune needs {FEWEST} or more"
        )));
    }
    let base = base(sets)?;
    let scenario = scenario(asked, history);
    let found = search(&scenario, &base, asked.value_of_wait, &mut |tried| {
        progress.tell("tune", tried.done, tried.of);
    });
    let found = found.map_err(|error| failed(&error))?;
    let file = policy_file(asked, history, &found);
    let text = text(asked, history, &found, &file);
    Ok(Answer::Text(text, value(history, &found, &file)))
}

/// The policy whose knobs are turned: the one that selects nothing in particular.
fn base(sets: &[PolicySet]) -> Result<PolicySpec, Report> {
    let [set] = sets else {
        return Err(usage(
            "--tune starts from one set of policies; name one --policy, or none",
        ));
    };
    match set.policies.as_slice() {
        [] => Ok(PolicySpec::default()),
        [(_, spec)] => Ok(spec.clone()),
        several => {
            let found = several.iter().find(|(name, _)| name == "default");
            let hint = "--tune turns the knobs of one policy: name its file";
            let found =
                found.ok_or_else(|| usage("no policy there is named default").hint(hint))?;
            Ok(found.1.clone())
        }
    }
}

fn text(asked: &Simulate, history: &History, found: &Tuning, file: &str) -> String {
    let mut text = format!(
        "{}: {} choices of knobs played on the first half, told of the second\n\n\
         Frontier of cost and wait (each is cheaper than the next, which waits less):\n\
         {:<36} {:>10} {:>10} {:>10} {:>8}\n",
        history.source, found.tried, "", "COST", "P95 WAIT", "MEAN WAIT", "COLD"
    );
    for trial in found.frontier.iter().chain([&found.best]) {
        let figures = tested(trial);
        let is_best = std::ptr::eq(trial, &raw const found.best);
        if is_best {
            text.push_str("\nLeast cost and waiting together:\n");
        }
        let mean = figures.waits.total / u64::try_from(figures.waits.builds.max(1)).unwrap_or(1);
        let _ = writeln!(
            text,
            "{:<36} {:>10} {:>10} {:>10} {:>8}",
            trial.name,
            words::micro_usd(figures.cost.total),
            wait(figures.waits.p95),
            wait(mean),
            percent(figures.cold_per_mille)
        );
    }
    let _ = write!(
        text,
        "\nWith waiting worth {}, apply this (dormouse apply --kind policy FILE):\n\n{file}",
        words::rate(asked.value_of_wait.micros_per_hour())
    );
    text
}

/// The second half's figures, which the search has not seen.
fn tested(trial: &Trial) -> &Figures {
    trial.test.as_ref().unwrap_or(&trial.train)
}

fn policy_file(asked: &Simulate, history: &History, found: &Tuning) -> String {
    let figures = tested(&found.best);
    let worth = price(figures, asked.value_of_wait).micros();
    format!(
        "# Found by `dormouse simulate --tune` on {} ({} builds, seed {}), with waiting worth {}.\n\
         # On the half of it that the search did not see: {}, p95 wait {}; with the waiting, {}.\n{}",
        history.source.replace('\n', " "),
        history.work.len(),
        asked.seed,
        words::rate(asked.value_of_wait.micros_per_hour()),
        words::micro_usd(figures.cost.total),
        wait(figures.waits.p95),
        words::micro_usd(worth),
        policy::document("default", &found.best.spec)
    )
}

fn value(history: &History, found: &Tuning, file: &str) -> Value {
    let trial = |trial: &Trial| {
        json!({
            "name": trial.name,
            "policy": policy::document("default", &trial.spec),
            "train": trial.train,
            "test": trial.test,
        })
    };
    json!({
        "history": history.source,
        "notes": history.notes,
        "tried": found.tried,
        "frontier": found.frontier.iter().map(trial).collect::<Vec<_>>(),
        "best": trial(&found.best),
        "policy": file,
    })
}
