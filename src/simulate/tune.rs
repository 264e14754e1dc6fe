//! Searches the knobs of a policy for the frontier of cost and wait on a history.
//!
//! A search in two rounds rather than a full grid: first how long machines stay, which decides most;
//! then, around the best of those, forecasts, lifetimes and limits. What is found on the first half
//! of the history is told of the second, which the search has not seen. Equal inputs give equal
//! findings, whatever the number of processors.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::model::{IdleTimeout, Money, PolicySpec, Rate, Span, Timestamp, Warm};

use super::report::{Figures, figures};
use super::run::{Planner, SimulationError, run};
use super::{Scenario, Work};

/// Choices of the first round around which the second looks.
const STARTS: usize = 4;

/// A choice of knobs, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its knobs, for people.
    pub name: String,
    /// The policy.
    pub spec: PolicySpec,
    /// On the first half of the history.
    pub train: Figures,
    /// On the second half; only of those on the frontier.
    pub test: Option<Figures>,
}

impl Trial {
    /// Cost and waiting in one amount.
    fn price(&self, value_of_wait: Rate) -> Money {
        price(&self.train, value_of_wait)
    }
}

/// Cost, and what the waiting is worth.
pub fn price(figures: &Figures, value_of_wait: Rate) -> Money {
    let waiting = value_of_wait.cost_of(Span::from_micros(figures.waits.total));
    Money::from_micros(figures.cost.total) + waiting
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// How many choices were played.
    pub tried: usize,
    /// Those that no other beats in both cost and p95 wait, the cheapest first.
    pub frontier: Vec<Trial>,
    /// The one with the least cost and waiting together.
    pub best: Trial,
}

/// How far a search has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Runs that are over.
    pub done: usize,
    /// Runs of this round.
    pub of: usize,
}

/// Searches. The scenario's own policies are left aside; `base` is what the tried ones start from.
///
/// # Errors
/// Those of [`run`].
pub fn tune(
    scenario: &Scenario,
    base: &PolicySpec,
    value_of_wait: Rate,
    progress: &mut dyn FnMut(Tried),
) -> Result<Tuning, SimulationError> {
    let base = &PolicySpec {
        // What is built in is a guard against slips, not what this history needs.
        max_machines: base.max_machines.or_else(|| Some(at_once(&scenario.work))),
        ..base.clone()
    };
    let (first, second) = halves(&scenario.work);
    let train = Half::new(scenario, first);
    let mut trials = train.play(&stays(base), progress)?;
    sort(&mut trials, value_of_wait);
    let starts: Vec<_> = trials.iter().take(STARTS).cloned().collect();
    let around = starts.iter().flat_map(|trial| neighbours(trial, base));
    let around: Vec<_> = around.collect();
    trials.extend(train.play(&around, progress)?);
    sort(&mut trials, value_of_wait);
    let tried = trials.len();
    let best = trials.first().cloned();
    let mut frontier = frontier(trials);
    frontier.extend(best);
    let test = Half::new(scenario, second);
    let choices = frontier
        .iter()
        .map(|trial| (trial.name.clone(), trial.spec.clone()));
    let played = test.play(&choices.collect::<Vec<_>>(), progress)?;
    for (trial, played) in frontier.iter_mut().zip(played) {
        trial.test = Some(played.train);
    }
    let best = frontier.pop().ok_or(SimulationError::Unordered(0))?;
    Ok(Tuning {
        tried,
        frontier,
        best,
    })
}

/// The most builds that would run at once if each began when it was submitted.
fn at_once(work: &[Work]) -> u32 {
    let steps = work
        .iter()
        .flat_map(|w| [(w.submit, 1), (w.submit + w.run, -1)]);
    let mut steps: Vec<(Timestamp, i32)> = steps.collect();
    // Ends sort before starts of the same moment.
    steps.sort_unstable();
    let running = steps.iter().scan(0, |running, (_, step)| {
        *running += step;
        Some(*running)
    });
    running
        .max()
        .and_then(|most| u32::try_from(most).ok())
        .unwrap_or(0)
        .max(1)
}

/// Two halves by number of builds; needs point within a pipeline, which is never cut.
fn halves(work: &[Work]) -> (Vec<Work>, Vec<Work>) {
    let mut middle = work.len() / 2;
    while middle > 0 && middle < work.len() {
        let pair = work.get(middle - 1).zip(work.get(middle));
        if pair.is_none_or(|(one, other)| one.submit != other.submit) {
            break;
        }
        middle += 1;
    }
    let (first, second) = work.split_at(middle);
    let mut second = second.to_vec();
    for work in &mut second {
        for need in &mut work.needs {
            *need = need.saturating_sub(middle);
        }
    }
    (first.to_vec(), second)
}

/// First round: how long machines stay.
fn stays(base: &PolicySpec) -> Vec<(String, PolicySpec)> {
    const TIMEOUTS: [u64; 9] = [0, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600];
    const DOLLARS: [u64; 7] = [0, 1, 5, 20, 60, 200, 1_000];
    let fixed = TIMEOUTS.map(|seconds| {
        let timeout = Span::from_secs(seconds);
        let spec = PolicySpec {
            idle_timeout: Some(IdleTimeout::After(timeout)),
            ..base.clone()
        };
        (format!("timeout {timeout}"), spec)
    });
    let auto = DOLLARS.map(|dollars| {
        let spec = PolicySpec {
            idle_timeout: Some(IdleTimeout::Auto),
            value_of_wait: Some(Rate::from_micros_per_hour(dollars * 1_000_000)),
            ..base.clone()
        };
        (format!("auto, ${dollars}/h"), spec)
    });
    fixed.into_iter().chain(auto).collect()
}

/// Second round: the same with one more knob turned.
fn neighbours(trial: &Trial, base: &PolicySpec) -> Vec<(String, PolicySpec)> {
    let spec = &trial.spec;
    let named = |words: &str, spec| (format!("{}, {words}", trial.name), spec);
    let warm = Warm {
        forecast: true,
        ..base.warm.clone().unwrap_or_default()
    };
    let lived = |hours: u64| PolicySpec {
        max_lifetime: Some(Span::from_secs(hours * 3_600)),
        ..spec.clone()
    };
    let most = u32::try_from(trial.train.most_at_once).unwrap_or(u32::MAX);
    let limited = |machines: u32| PolicySpec {
        max_machines: Some(machines.max(1)),
        ..spec.clone()
    };
    let mut found = vec![
        named(
            "forecast",
            PolicySpec {
                warm: Some(warm),
                ..spec.clone()
            },
        ),
        named("lifetime 4h", lived(4)),
        named("lifetime 24h", lived(24)),
    ];
    for part in [most / 2, most * 3 / 4] {
        let is_new = base.max_machines.is_none_or(|machines| part < machines);
        if part > 0 && is_new {
            found.push(named(&format!("at most {part}"), limited(part)));
        }
    }
    found
}

/// By cost and waiting together, then by name.
fn sort(trials: &mut [Trial], value_of_wait: Rate) {
    trials.sort_by_cached_key(|trial| (trial.price(value_of_wait), trial.name.clone()));
}

/// Those that no other beats in both, the cheapest first.
fn frontier(mut trials: Vec<Trial>) -> Vec<Trial> {
    let key = |trial: &Trial| (trial.train.cost.total, trial.train.waits.p95);
    trials.sort_by_cached_key(|trial| (key(trial), trial.name.clone()));
    let mut best = u64::MAX;
    trials.retain(|trial| {
        let is_better = trial.train.waits.p95 < best;
        best = best.min(trial.train.waits.p95);
        is_better
    });
    trials
}

/// A part of the history, on which choices are played.
struct Half<'a> {
    scenario: &'a Scenario,
    work: Vec<Work>,
}

impl<'a> Half<'a> {
    const fn new(scenario: &'a Scenario, work: Vec<Work>) -> Self {
        Self { scenario, work }
    }

    /// Plays choices on all processors; the trials come in the order of the choices.
    fn play(
        &self,
        choices: &[(String, PolicySpec)],
        progress: &mut dyn FnMut(Tried),
    ) -> Result<Vec<Trial>, SimulationError> {
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Trial)>> = Mutex::new(Vec::new());
        let (tell, told) = mpsc::channel();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let of = choices.len();
        let (next, done) = (&next, &done);
        let outcomes = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(of))
                .map(|_| {
                    let tell = tell.clone();
                    scope.spawn(move || self.work_off(choices, next, done, &tell))
                })
                .collect();
            drop(tell);
            for (count, ()) in told.iter().enumerate() {
                progress(Tried {
                    done: count + 1,
                    of,
                });
            }
            workers.into_iter().try_for_each(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        outcomes?;
        let mut done = done
            .lock()
            .map(|mut done| std::mem::take(&mut *done))
            .unwrap_or_default();
        done.sort_by_key(|(place, _)| *place);
        Ok(done.into_iter().map(|(_, trial)| trial).collect())
    }

    /// Takes one choice after the other until none is left.
    fn work_off(
        &self,
        choices: &[(String, PolicySpec)],
        next: &AtomicUsize,
        done: &Mutex<Vec<(usize, Trial)>>,
        tell: &mpsc::Sender<()>,
    ) -> Result<(), SimulationError> {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, spec)) = choices.get(place) else {
                return Ok(());
            };
            let trial = self.trial(name, spec)?;
            if let Ok(mut done) = done.lock() {
                done.push((place, trial));
            }
            // Nobody listens only when another worker has failed.
            let _ = tell.send(());
        }
    }

    fn trial(&self, name: &str, spec: &PolicySpec) -> Result<Trial, SimulationError> {
        let scenario = Scenario {
            policies: vec![("default".to_owned(), spec.clone())],
            work: self.work.clone(),
            ..self.scenario.clone()
        };
        let outcome = run(&scenario, &mut Planner, &mut |_| {})?;
        Ok(Trial {
            name: name.to_owned(),
            spec: spec.clone(),
            train: figures(&scenario.work, &outcome),
            test: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::generate::{Length, Wish, generate, images};

    fn scenario() -> Scenario {
        let wish = Wish {
            length: Length::Day,
            builds: 240,
            seed: 3,
        };
        Scenario {
            images: images(),
            work: generate(wish, None)
                .into_iter()
                .map(|build| build.work)
                .collect(),
            seed: 3,
            ..Scenario::default()
        }
    }

    #[test]
    fn the_search_finds_a_frontier_and_is_the_same_every_time() {
        let scenario = scenario();
        let value = Rate::from_micros_per_hour(20_000_000);
        let mut runs = 0;
        let found = tune(&scenario, &PolicySpec::default(), value, &mut |_| runs += 1).unwrap();
        assert!(
            found.tried >= 20 && runs > found.tried,
            "{} {runs}",
            found.tried
        );
        assert!(
            found
                .frontier
                .is_sorted_by_key(|trial| trial.train.cost.total)
        );
        assert!(
            found
                .frontier
                .iter()
                .rev()
                .is_sorted_by_key(|trial| trial.train.waits.p95)
        );
        assert!(found.frontier.iter().all(|trial| trial.test.is_some()));
        let best = price(&found.best.train, value);
        assert!(
            found
                .frontier
                .iter()
                .all(|trial| best <= trial.price(value))
        );
        let again = tune(&scenario, &PolicySpec::default(), value, &mut |_| {}).unwrap();
        assert_eq!(again, found);
    }

    #[test]
    fn a_cheap_wait_gives_a_cheap_policy() {
        let scenario = scenario();
        let best = |dollars: u64| {
            let value = Rate::from_micros_per_hour(dollars * 1_000_000);
            let found = tune(&scenario, &PolicySpec::default(), value, &mut |_| {});
            found.unwrap().best.train
        };
        let (cheap, dear) = (best(0), best(500));
        assert!(cheap.cost.total < dear.cost.total);
        assert!(cheap.waits.total > dear.waits.total);
    }

    #[test]
    fn pipelines_are_not_cut_in_halves() {
        let work = |second: u64| Work {
            submit: Timestamp::from_micros(0) + Span::from_secs(second),
            ..Work::default()
        };
        let mut history: Vec<_> = [0, 1, 1, 1, 2].map(work).to_vec();
        history[3].needs = vec![1];
        let (first, second) = halves(&history);
        assert_eq!((first.len(), second.len()), (4, 1));
    }
}
