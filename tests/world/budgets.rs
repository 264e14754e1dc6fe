//! Budgets by their files: what they count, whom approvals are for, and what is left for later.

use dormouse::books::{Approval, BudgetReport};
use dormouse::engine::{Desk, DeskError};
use dormouse::model::BuildResult::Success;
use dormouse::model::{BudgetPart, BuildId, Money, Timestamp};
use dormouse::store::Store;

use super::world::{ALPINE, World, secs};

fn world(budget: &str) -> World {
    let world = World::with_images(&[ALPINE]);
    declare(&world, budget);
    world
}

fn declare(world: &World, budget: &str) {
    let idle = "idle: { timeout: 1m }";
    world.apply_policy(&format!("{{ name: money, budgets: [{budget}], {idle} }}"));
}

fn submit(world: &World, project: &str, run: &str, timeout: &str) -> BuildId {
    let submitted = world.submit(&format!(
        "
name: one
project: {project}
builds:
  one: {{ requires: {{ sh: true }}, timeout: {timeout}, steps: [{run}] }}
"
    ));
    submitted.id("one")
}

fn budgets(world: &World) -> Vec<BudgetReport> {
    world.ask(async |desk| desk.budgets().await).unwrap()
}

fn approve(
    world: &World,
    budget: &str,
    part: Option<BudgetPart>,
    amount: i64,
) -> Result<(), DeskError> {
    let approval = Approval {
        policy: "money".to_owned(),
        budget: budget.to_owned(),
        part,
        amount: Money::from_micros(amount),
        reason: "a release".to_owned(),
    };
    world.ask(async |desk| desk.approve(approval, "ada").await)
}

fn project(name: &str) -> BudgetPart {
    BudgetPart::Project(name.to_owned())
}

/// What the ledger has, in millionths.
fn ledger(world: &World) -> i64 {
    let all = Timestamp::from_micros(0);
    let rows = world.read(async |store| store.spent(all).await).unwrap();
    rows.iter().map(|row| row.amount.micros()).sum()
}

#[test]
fn a_budget_that_is_declared_later_counts_what_its_period_has_cost_already() {
    let mut world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: money, idle: { timeout: 1m } }");
    submit(&world, "web", "sleep 1000s", "1h");
    world.until_done();
    world.advance(secs(90));
    let before = ledger(&world);
    // A thousand seconds at $0.18 an hour, with boot, idle time and end.
    assert!((50_000..60_000).contains(&before), "{before}");
    declare(&world, "{ name: day, amount: $0.06, per: day }");
    assert_eq!(budgets(&world)[0].spent.micros(), before);
    // Hardly anything is left, and the worst of this one is more.
    let held = submit(&world, "web", "echo done", "10m");
    world.advance(secs(5));
    assert_eq!(world.word(held), "queued");
    let said = world.explain(held).summary;
    assert!(
        said.contains("budget \"day\" of policy \"money\""),
        "{said}"
    );
    world.kill_and_restart();
    assert_eq!(
        budgets(&world)[0].spent.micros(),
        before,
        "read from the ledger"
    );
    assert_eq!(world.word(held), "queued");
    // A larger amount lets it go at once.
    declare(&world, "{ name: day, amount: $1, per: day }");
    world.until_done();
    assert_eq!(world.result(held).0, Success);
    assert_eq!(budgets(&world)[0].spent.micros(), ledger(&world));
}

#[test]
fn an_approval_is_for_one_project_or_for_each_of_them() {
    let world =
        world("{ name: team, amount: $0.01, per: day, each: project, at_limit: on_approval }");
    // Ten minutes at $0.18 an hour are three cents.
    let [web, docs] = ["web", "docs"].map(|name| submit(&world, name, "echo done", "10m"));
    world.advance(secs(5));
    assert_eq!([web, docs].map(|id| world.word(id)), ["queued"; 2]);
    let next = world.explain(web).next;
    assert!(
        next.contains("dormouse budget approve money/team"),
        "{next}"
    );
    approve(&world, "team", Some(project("web")), 50_000).unwrap();
    world.until_word(web, "finished");
    assert_eq!(world.word(docs), "queued", "it is for web only");
    let of = |world: &World, part: BudgetPart| {
        let reports = budgets(world).into_iter();
        let its = reports.filter(|report| report.part == part);
        its.map(|report| report.approved.micros())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&world, project("web")), [50_000]);
    approve(&world, "team", None, 40_000).unwrap();
    world.until_done();
    assert_eq!([web, docs].map(|id| world.result(id).0), [Success; 2]);
    assert_eq!(of(&world, project("web")), [90_000]);
    assert_eq!(of(&world, project("docs")), [40_000]);
}

/// What `dormouse budget approve BUDGET --amount DOLLARS [--for PROJECT]` asks for.
fn approved_by(command: &str) -> (&str, Option<BudgetPart>, i64) {
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[..3], ["dormouse", "budget", "approve"]);
    let after = |flag: &str| {
        let place = words.iter().position(|word| *word == flag)?;
        words.get(place + 1).copied()
    };
    let amount: Money = after("--amount").unwrap().parse().unwrap();
    let budget = words[3].strip_prefix("money/").unwrap();
    (budget, after("--for").map(project), amount.micros())
}

#[test]
fn the_command_that_an_explanation_names_is_enough_for_a_held_build() {
    for budget in [
        "{ name: all, amount: $0.02, per: month, at_limit: hold }",
        "{ name: all, amount: $0.02, per: day, at_limit: on_approval }",
        "{ name: team, amount: $0.01, per: week, each: project }",
    ] {
        let world = world(budget);
        let held = submit(&world, "web", "sleep 30s", "3h");
        world.advance(secs(5));
        assert_eq!(world.word(held), "queued", "{budget}");
        let said = world.explain(held);
        assert_eq!(said.waits_for.as_deref(), Some("room in a budget"));
        let mut commands = said.remedies.iter().map(|remedy| remedy.command.as_str());
        let command = commands.find(|command| command.contains("approve"));
        let (name, part, amount) = approved_by(command.unwrap());
        // It says what is missing, to the cent.
        approve(&world, name, part.clone(), amount - 10_000).unwrap();
        world.advance(secs(5));
        assert_eq!(world.word(held), "queued", "{budget}: {said:#?}");
        approve(&world, name, part, 10_000).unwrap();
        world.until_word(held, "running");
    }
}

#[test]
fn an_approval_for_what_there_is_not_changes_nothing() {
    let world = world("{ name: team, amount: $0.01, per: day, each: project }");
    let unknown = approve(&world, "yearly", None, 1);
    let Err(DeskError::NotFound { what, id }) = unknown else {
        panic!("{unknown:?}");
    };
    assert_eq!((what, id.as_str()), ("budget", "money/yearly"));
    let image = BudgetPart::Image("alpine".to_owned());
    let refused = approve(&world, "team", Some(image), 1);
    let Err(DeskError::Refused(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("is for each project"), "{why}");
    let notes = world.read(async |store| store.budget_notes(Timestamp::from_micros(0)).await);
    assert_eq!(notes.unwrap(), []);
    assert!(world.desk().is_ready(), "a refusal is no fault");
}

#[test]
fn what_an_hour_leaves_is_there_in_the_next_one_only() {
    let mut world =
        world("{ name: hour, amount: $0.04, per: hour, roll_over: $0.03, at_limit: hold }");
    // Nothing was spent in the first hour, of which at most three cents are left for the next.
    world.advance(secs(3_600));
    assert_eq!(budgets(&world)[0].total.micros(), 70_000);
    let small = submit(&world, "web", "sleep 300s", "6m");
    world.until_done();
    world.advance(secs(120));
    assert_eq!(world.result(small).0, Success);
    let spent = budgets(&world)[0].spent.micros();
    assert!((15_000..20_000).contains(&spent), "{spent}");
    // Seventeen minutes of work and two beside them are more than what is left.
    let large = submit(&world, "web", "sleep 900s", "17m");
    world.advance(secs(60));
    assert_eq!(world.word(large), "queued");
    world.kill_and_restart();
    world.until_word(large, "running");
    let begun = world.attempts(large)[0].bound_at;
    assert!(
        begun.to_string().starts_with("2026-01-01T02:00:0"),
        "{begun}"
    );
    let report = &budgets(&world)[0];
    assert_eq!(report.total.micros(), 40_000 + (40_000 - spent));
    world.until_done();
    assert_eq!(world.result(large).0, Success);
}

#[test]
fn each_image_has_its_own_amount() {
    let other = ALPINE
        .replace("name: alpine", "name: edge")
        .replace("0.18", "0.20");
    let world = World::with_images(&[ALPINE, &other]);
    declare(
        &world,
        "{ name: image, amount: $0.05, per: day, each: image }",
    );
    let first = submit(&world, "web", "sleep 600s", "12m");
    world.until_word(first, "finished");
    // There is no room for another one on the cheaper image; the dearer one has its own amount.
    let second = submit(&world, "web", "echo done", "10m");
    world.until_word(second, "finished");
    let image_of = |id| world.machine(world.attempts(id)[0].machine).image;
    assert_eq!([first, second].map(image_of), ["alpine", "edge"]);
}
