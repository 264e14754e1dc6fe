//! Plays a history under every set of policies and every model that was asked for.

use super::load::{History, PolicySet};
use super::show::{Answer, Progress};
use super::{Simulate, failed};
use crate::cli::report::Report;
use crate::model::{Rate, Span};
use crate::simulate::baseline::Baseline;
use crate::simulate::catalogue::candidates;
use crate::simulate::optimum::{Job, Optimum, optimum};
use crate::simulate::report::{self, Column, Split, figures, ratios, recorded_waits};
use crate::simulate::{CloudModel, Decide, Planner, Scenario, run};

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
    let baselines = if asked.baselines {
        &Baseline::ALL[..]
    } else {
        &[]
    };
    for baseline in baselines {
        let mut decide = baseline.decide(&scenario.images, &scenario.work, scenario.seed);
        let about = baseline.about().to_owned();
        let column = column(baseline.name().to_owned(), about, true);
        columns.push(column.play(&scenario, &mut *decide, &split, progress)?);
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
