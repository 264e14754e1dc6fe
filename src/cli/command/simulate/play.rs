//! Plays a history under every set of policies and every model that was asked for.

use std::fmt::Write as _;

use super::load::{History, PolicySet};
use super::show::{Answer, Progress};
use super::{Simulate, failed};
use crate::cli::exit::Exit;
use crate::cli::report::Report;
use crate::model::{PolicySpec, Rate, Span};
use crate::simulate::baseline::Baseline;
use crate::simulate::catalogue::candidates;
use crate::simulate::optimum::{Job, Optimum, optimum};
use crate::simulate::report::{self, Column, Split, figures, ratios, recorded_waits};
use crate::simulate::{
    CloudModel, Decide, Planner, Scenario, Situation, check as check_seeds, run,
};

/// Plays all of it.
pub(super) fn compare(
    asked: &Simulate,
    history: History,
    sets: Vec<PolicySet>,
    progress: &Progress,
) -> Result<Answer, Report> {
    let scenario = scenario(asked, &history);
    let optimum = clairvoyant(&scenario);
    let split = Split::of_optimum(&optimum);
    let mut columns = Vec::new();
    for set in sets {
        let names: Vec<_> = set.policies.iter().map(|(name, _)| name.as_str()).collect();
        let about = match names.as_slice() {
            [] => "no policy speaks: what is built in holds".to_owned(),
            names => format!("policies {}", names.join(", ")),
        };
        let scenario = Scenario {
            policies: set.policies,
            ..scenario.clone()
        };
        let column = column(set.name, about, false);
        columns.push(column.play(&scenario, &mut Planner, &split, progress)?);
    }
    // The models know no limits, so none may be written for them.
    let unlimited = PolicySpec {
        max_machines: Some(u32::MAX),
        ..PolicySpec::default()
    };
    let free = Scenario {
        policies: vec![("no limit".to_owned(), unlimited)],
        ..scenario.clone()
    };
    let baselines = if asked.baselines {
        &Baseline::ALL[..]
    } else {
        &[]
    };
    for baseline in baselines {
        let mut decide = baseline.decide(&scenario.images, &scenario.work, scenario.seed);
        let about = baseline.about().to_owned();
        let column = column(baseline.name().to_owned(), about, true);
        columns.push(column.play(&free, &mut *decide, &split, progress)?);
    }
    let report = assemble(history, &scenario, &optimum, columns);
    Ok(Answer::Report(Box::new(report), asked.report.clone()))
}

/// A column that is still to be played.
struct Unplayed {
    name: String,
    about: String,
    is_baseline: bool,
}

const fn column(name: String, about: String, is_baseline: bool) -> Unplayed {
    Unplayed {
        name,
        about,
        is_baseline,
    }
}

impl Unplayed {
    fn play(
        self,
        scenario: &Scenario,
        decide: &mut dyn Decide,
        optimum: &Split,
        progress: &Progress,
    ) -> Result<Column, Report> {
        let outcome = run(scenario, decide, &mut |at| {
            progress.tell(&self.name, at.ended, at.total);
        });
        let figures = figures(&scenario.work, &outcome.map_err(|error| failed(&error))?);
        Ok(Column {
            name: self.name,
            about: self.about,
            is_baseline: self.is_baseline,
            ratios: ratios(&figures.cost, optimum),
            figures,
        })
    }
}

/// What is played, without policies.
pub(super) fn scenario(asked: &Simulate, history: &History) -> Scenario {
    Scenario {
        images: history.images.clone(),
        work: history.work.clone(),
        cloud: CloudModel {
            boot: asked.boot,
            wake: asked.wake,
            ..CloudModel::default()
        },
        seed: asked.seed,
        ..Scenario::default()
    }
}

/// What the clairvoyant pays for a scenario.
pub(super) fn clairvoyant(scenario: &Scenario) -> Optimum {
    let prices: Vec<Rate> = scenario
        .images
        .iter()
        .map(|(_, image)| {
            let prices = image
                .shapes
                .iter()
                .map(|shape| shape.price_usd_micro_per_hour);
            prices.min().unwrap_or(Rate::from_micros_per_hour(0))
        })
        .collect();
    let able = candidates(&scenario.images, &scenario.work);
    let jobs: Vec<Job> = scenario
        .work
        .iter()
        .zip(able)
        .map(|(work, images)| Job {
            submit: work.submit,
            run: work.run,
            images,
        })
        .collect();
    let cloud = &scenario.cloud;
    let cold = Span::from_micros(cloud.boot.micros() + cloud.end.micros());
    optimum(&jobs, &prices, cold)
}

fn assemble(
    history: History,
    scenario: &Scenario,
    optimum: &Optimum,
    columns: Vec<Column>,
) -> report::Report {
    let cloud = &scenario.cloud;
    let mut notes = history.notes;
    notes.push(format!(
        "a boot takes {} and an end {}, both paid for; times vary by {} %; seed {}",
        cloud.boot, cloud.end, cloud.spread_percent, scenario.seed
    ));
    let assumed = optimum.assumptions();
    notes.extend(
        assumed
            .iter()
            .map(|assumed| format!("clairvoyant: {assumed}")),
    );
    let submits = || scenario.work.iter().map(|work| work.submit);
    report::Report {
        history: history.source,
        notes,
        builds: scenario.work.len(),
        from: submits().min().unwrap_or_default(),
        to: submits().max().unwrap_or_default(),
        recorded: recorded_waits(&history.builds),
        optimum: Split::of_optimum(optimum),
        optimum_is_exact: optimum.is_exact,
        columns,
    }
}

/// Plays seeded days full of faults.
pub(super) fn check(seeds: std::ops::Range<u64>, progress: &Progress) -> Result<Answer, Report> {
    let (first, count) = (seeds.start, seeds.end.saturating_sub(seeds.start));
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut played = (0, 0, 0);
    let coverage = check_seeds(seeds, &mut |checked| {
        played = (checked.builds, checked.machines, checked.passes);
        progress.tell("check", size(checked.seed + 1 - first), size(count));
    });
    let coverage =
        coverage.map_err(|failure| Report::new(Exit::Failure, "check", failure.to_string()))?;
    let (builds, machines, passes) = played;
    let missing: Vec<_> = coverage
        .missing()
        .iter()
        .map(|s| format!("{s:?}"))
        .collect();
    let came_up = Situation::ALL.len() - missing.len();
    let mut text = format!(
        "{count} seeds hold, each played twice: {builds} builds, {machines} machines, {passes} passes\n\
         {came_up} of {} situations came up\n",
        Situation::ALL.len()
    );
    if !missing.is_empty() {
        let _ = writeln!(text, "not: {}", missing.join(", "));
    }
    let value = serde_json::json!({
        "seeds": count, "builds": builds, "machines": machines, "passes": passes,
        "situations": came_up, "missing": missing,
    });
    Ok(Answer::Text(text, value))
}
