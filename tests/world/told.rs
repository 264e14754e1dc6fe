//! What people are told beside results: tries and the reasons for their machines, rules and how to
//! change them, warnings, and what a quote counts.

use dormouse::engine::{Declaration, Desk};
use dormouse::model::{BuildId, Money};
use dormouse::planner::Explanation;

use super::world::{ALPINE, LINUX, World, secs, submission};

const TWO: &str = "
name: two
builds:
  first: { requires: { sh: true }, steps: [sleep 30s] }
  second: { requires: { sh: true }, steps: [echo done] }
";

fn effects(explained: &Explanation) -> Vec<&str> {
    let remedies = explained.remedies.iter();
    remedies.map(|remedy| remedy.effect.as_str()).collect()
}

fn submit(world: &World, project: &str, run: &str) -> BuildId {
    let submitted = world.submit(&format!(
        "{{ name: one, project: {project}, builds: {{ one: {{ requires: {{ sh: true }}, \
         steps: [{run}] }} }} }}"
    ));
    submitted.id("one")
}

/// What each of some policies is warned of, were they applied.
fn warnings(world: &World, files: &[Declaration]) -> Vec<Vec<String>> {
    let checked = world.ask(async |desk| desk.check(files.to_vec()).await);
    let checked = checked.unwrap().into_iter();
    checked.map(|checked| checked.warnings).collect()
}

fn policy(text: &str) -> Declaration {
    Declaration::Policy(text.to_owned())
}

#[test]
fn a_build_that_runs_or_is_over_says_where_and_why_and_what_it_waited_for() {
    let world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let submitted = world.submit(TWO);
    let [first, second] = ["first", "second"].map(|name| submitted.id(name));
    world.until_word(first, "running");
    world.advance(secs(5));
    let machine = world.machines()[0].id;
    let runs = world.explain(first).attempts;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].number, runs[0].machine), (1, machine));
    assert_eq!(
        (runs[0].ran, runs[0].waited_for.as_deref()),
        (Some(secs(5)), None)
    );
    assert_eq!(runs[0].outcome, "it runs");
    assert_eq!(world.explain(second).attempts, []);
    world.until_done();

    let first = &world.explain(first).attempts[0];
    assert_eq!(first.outcome, "success");
    let why = first.why.as_deref().unwrap();
    assert!(why.contains("launched for it"), "{why}");
    assert!(why.contains("alpine is the only image that fits"), "{why}");
    let place = first.place.as_deref().unwrap();
    assert!(
        place.contains("alpine version 1, tiny on-demand"),
        "{place}"
    );
    let second = &world.explain(second).attempts[0];
    assert_eq!(second.machine, machine);
    assert!(second.why.as_deref().unwrap().contains("a warm machine"));
    assert!(second.waited >= secs(30), "{second:?}");
    let waited_for = second.waited_for.as_deref().unwrap();
    assert_eq!(waited_for, "policy \"default\" allows 1 machines at once");
}

#[test]
fn each_try_is_told_with_what_became_of_it() {
    let world = World::with_images(&[ALPINE]);
    let id = world.submit_one("sh: true", "sleep 60s");
    world.until_word(id, "running");
    let lost = world.machines()[0].id;
    world.vanish(lost);
    world.until_done();
    let tries = world.explain(id).attempts;
    assert_eq!(tries.len(), 2, "{tries:#?}");
    assert_eq!((tries[0].number, tries[0].machine), (1, lost));
    assert!(
        tries[0].outcome.starts_with("lost to infrastructure: "),
        "{tries:#?}"
    );
    assert_eq!((tries[1].number, tries[1].outcome.as_str()), (2, "success"));
    assert_ne!(tries[1].machine, lost);
    // The machine is gone, and what it was is known all the same.
    assert!(tries[0].place.is_some());
}

#[test]
fn the_rule_of_reuse_names_the_policy_that_would_have_to_change() {
    let world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    world.apply_policy("{ name: closed, select: { projects: [a] }, reuse: { by: project } }");
    let first = submit(&world, "a", "sleep 30s");
    world.until_word(first, "running");
    let other = submit(&world, "b", "echo done");
    world.advance(secs(1));
    let full = world.explain(other);
    assert!(
        full.images[0].machines[0].verdict.contains("side by side"),
        "{full:#?}"
    );
    // Its slot is free, and it is held back by what it ran only.
    world.apply_policy("{ name: default, limits: { machines: 1 }, reuse: { slots: 4 } }");
    world.apply_images(&[&ALPINE.replace("boot_timeout: 60s", "slots: 4\nboot_timeout: 60s")]);
    world.advance(secs(1));
    let version = world.explain(other);
    let said = &version.images[0].machines[0].verdict;
    assert!(
        said.contains("its image version is no longer current"),
        "{said}"
    );
    world.until_done();

    let first = submit(&world, "a", "sleep 30s");
    world.until_word(first, "running");
    let other = submit(&world, "b", "echo done");
    world.advance(secs(1));
    let explained = world.explain(other);
    let said = &explained.images[0].machines[0].verdict;
    assert!(
        said.contains("want only their own project after them"),
        "{explained:#?}"
    );
    let effects = effects(&explained);
    let closed = "with another reuse.by in policy closed, ";
    assert!(
        effects.iter().any(|effect| effect.starts_with(closed)),
        "{effects:#?}"
    );
    world.until_done();
}

#[test]
fn spot_without_spot_is_told_and_not_waited_for_in_silence() {
    let world = World::with_images(&[ALPINE]);
    let file = policy("{ name: cheap, market: spot }");
    let told = warnings(&world, std::slice::from_ref(&file));
    assert!(
        told[0][0].contains("policy cheap asks for spot capacity for image alpine"),
        "{told:?}"
    );
    world.apply(vec![file]).unwrap();
    let id = world.submit_one("sh: true", "echo done");
    world.advance(secs(5));
    let explained = world.explain(id);
    assert!(
        explained.summary.contains("asks for spot capacity"),
        "{explained:#?}"
    );
    assert!(explained.next.contains("waits for ever"), "{explained:#?}");
    assert_eq!(explained.next_try, None);
    let effects = effects(&explained);
    let cheap = "with another market.buy in policy cheap, launches alpine";
    assert!(
        effects.iter().any(|effect| effect.starts_with(cheap)),
        "{effects:#?}"
    );
    world.apply_policy("{ name: cheap, market: spot-with-fallback }");
    world.until_done();
}

#[test]
fn spot_where_it_is_sold_is_nothing_to_warn_of() {
    let world = World::with_fleet(&[LINUX]);
    let file = policy("{ name: cheap, market: spot }");
    assert_eq!(warnings(&world, &[file]), [Vec::<String>::new()]);
    // What the provider makes of a new image is not known before it is asked.
    let image = Declaration::Image(LINUX.replace("name: linux", "name: new"));
    let both = [policy("{ name: cheap, market: spot }"), image];
    assert_eq!(warnings(&world, &both), [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn rivals_are_warned_of_beside_what_is_current() {
    let world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: first, select: { projects: [web] }, idle: { timeout: 5m } }");
    let rival = policy("{ name: second, select: { projects: [web] }, idle: { timeout: 9m } }");
    let same = policy("{ name: third, select: { projects: [web] }, idle: { timeout: 5m } }");
    let told = warnings(&world, std::slice::from_ref(&rival));
    assert!(told[0][0].contains("policies second and first"), "{told:?}");
    assert_eq!(warnings(&world, &[same]), [Vec::<String>::new()]);
    // It is no reason to refuse, and is told again once it is current.
    world.apply(vec![rival.clone()]).unwrap();
    assert_eq!(warnings(&world, &[rival]), told);
    let first = policy("{ name: first, select: { projects: [web] }, idle: { timeout: 9m } }");
    assert_eq!(warnings(&world, &[first]), [Vec::<String>::new()]);
}

#[test]
fn a_quote_counts_tries_that_fail_and_pieces_that_are_billed() {
    const DOCUMENT: &str = "
name: one
project: web
builds:
  one: { requires: { sh: true }, steps: [sleep 30s], timeout: 5m }
";
    let quote = |world: &World| {
        let asked = world.ask(async |desk| desk.quote(submission(DOCUMENT, None)).await);
        asked.unwrap()
    };
    let world = World::with_images(&[ALPINE]);
    for round in 0..12 {
        let id = world.submit(DOCUMENT).id("one");
        if round % 4 == 0 {
            world.until_word(id, "running");
            world.advance(secs(10));
            let attempt = world.attempts(id).pop().unwrap();
            world.vanish(attempt.machine);
        }
        world.until_done();
    }
    let with = quote(&world);
    let build = &with.builds[0];
    assert!(
        build
            .basis
            .contains("3 of 15 tries failed for reasons of infrastructure"),
        "{build:#?}"
    );
    // The price is $0.18/h, $0.00005 a second: half a minute's work alone costs $0.0015.
    assert!(build.cost.high > Money::from_micros(2_000), "{build:#?}");
    assert!(build.cost.high > build.cost.likely, "{build:#?}");
    assert!(
        with.notes
            .iter()
            .any(|note| note.contains("have failed under such builds"))
    );
    assert!(!with.notes.iter().any(|note| note.contains("billed")));

    let hourly = "billing: { quantum: 1h }\nboot_timeout: 60s";
    world.apply_images(&[&ALPINE.replace("boot_timeout: 60s", hourly)]);
    let by_the_hour = quote(&world);
    let pieces = |note: &&String| note.contains("machines of alpine are billed in pieces of 1h");
    assert!(
        by_the_hour.notes.iter().any(|note| pieces(&note)),
        "{by_the_hour:#?}"
    );
    let total = by_the_hour.cost.low + by_the_hour.idle.high;
    assert!(
        total >= Money::from_micros(180_000),
        "an hour is paid for: {by_the_hour:#?}"
    );
}
