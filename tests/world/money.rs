//! Limits and budgets in the whole engine: never exceeded whatever fails, and told about.

use std::collections::{BTreeMap, BTreeSet};

use dormouse::books::Approval;
use dormouse::engine::Desk;
use dormouse::model::BuildResult::{OverBudget, Success};
use dormouse::model::{
    AtLimit, Budget, BudgetEach, BuildId, BuildState, Change, EventKind, Machine, MachineState,
    Money, Period, Policy, PolicySpec, Rate, Subject, Timestamp,
};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::{Boot, LaunchTrouble};
use dormouse::store::Store;

use super::fleet::many;
use super::world::{ALPINE, LINUX, World, secs};

const HOUR: u64 = 3_600;

/// Makes a policy current as a process before this one would have left it.
fn declare(world: &mut World, name: &str, spec: PolicySpec) {
    let versions = world.read(async |store| store.policies(Some(name)).await);
    let policy = Policy {
        name: name.to_owned(),
        version: versions
            .unwrap()
            .first()
            .map_or(1, |policy| policy.version + 1),
        spec,
        applied_at: world.now(),
        rev: 0,
    };
    let changes = vec![Change::InsertPolicy(policy)];
    world
        .read(async |store| store.commit(changes).await)
        .unwrap();
    world.kill_and_restart();
}

fn of_project(name: &str) -> PolicySpec {
    PolicySpec {
        projects: vec![name.to_owned()],
        ..PolicySpec::default()
    }
}

fn budget(amount: i64, each: BudgetEach, per: Period, at_limit: AtLimit) -> PolicySpec {
    PolicySpec {
        budgets: vec![Budget {
            name: "money".to_owned(),
            amount: Money::from_micros(amount),
            each,
            per,
            time_zone: "Europe/Berlin".to_owned(),
            warn_at_percent: 50,
            at_limit,
            roll_over: Money::ZERO,
        }],
        ..PolicySpec::default()
    }
}

fn submit(world: &World, project: &str, count: usize, run: &str, timeout: &str) -> Vec<BuildId> {
    let document = many(count, run)
        .replace("name: many", &format!("name: many\nproject: {project}"))
        .replace("    steps:", &format!("    timeout: {timeout}\n    steps:"));
    let accepted = world.try_submit(&document, None).unwrap();
    accepted.builds.iter().map(|build| build.id).collect()
}

const fn is_up(machine: &Machine) -> bool {
    !matches!(
        machine.state,
        MachineState::Asleep { .. } | MachineState::Gone { .. }
    )
}

/// What limits must hold at every moment.
#[derive(Default)]
struct Seen {
    machines: u32,
    vcpus: u32,
    rate: u64,
    builds: usize,
    launches: usize,
}

/// What there is of a project at this moment, and was launched in the hour up to it.
fn look(world: &World, project: &str) -> Seen {
    let machines = world.all_machines();
    let its = |machine: &&Machine| machine.project.as_deref() == Some(project);
    let up: Vec<&Machine> = machines.iter().filter(|m| is_up(m)).filter(its).collect();
    let since = world.now() - secs(HOUR);
    // Machines of the fleet do not change hands in these worlds: each ran its own project's builds.
    let launched = machines.iter().filter(its).filter(|m| m.created_at > since);
    let has_machine = |state: &BuildState| state.binding().is_some();
    let builds = world.builds().into_iter();
    let builds = builds.filter(|b| b.spec.project == project && has_machine(&b.state));
    Seen {
        machines: u32::try_from(up.len()).unwrap(),
        vcpus: up.iter().map(|m| m.shape.vcpus).sum(),
        rate: up
            .iter()
            .map(|m| m.shape.price_usd_micro_per_hour.micros_per_hour())
            .sum(),
        builds: builds.count(),
        launches: launched.count(),
    }
}

#[test]
fn no_limit_is_exceeded_whatever_fails() {
    let mut world = World::with_fleet(&[LINUX]);
    let reuse = PolicySpec {
        max_machines: Some(20),
        max_builds_per_machine: Some(1),
        ..PolicySpec::default()
    };
    declare(&mut world, "default", reuse);
    let limits = PolicySpec {
        max_machines: Some(4),
        max_vcpus: Some(6),
        max_builds: Some(3),
        max_launches_per_hour: Some(14),
        max_cost_per_hour: Some(Rate::from_micros_per_hour(2_000_000)),
        ..of_project("web")
    };
    declare(&mut world, "web", limits);
    world.cloud.trouble_launches([
        LaunchTrouble::LostAfter,
        LaunchTrouble::Refused(ErrorKind::PoolEmpty),
        LaunchTrouble::LostBefore,
        LaunchTrouble::Late(secs(30)),
    ]);
    world
        .cloud
        .boot_next("linux", [Boot::Never, Boot::Dies(secs(5), secs(40))]);
    let web = submit(&world, "web", 12, "sleep 90s", "1h");
    let docs = submit(&world, "docs", 6, "sleep 30s", "1h");
    let mut most = Seen::default();
    let mut moments = 0;
    world.until("all builds are finished", secs(6 * HOUR), |world| {
        let seen = look(world, "web");
        most.machines = most.machines.max(seen.machines);
        most.vcpus = most.vcpus.max(seen.vcpus);
        most.rate = most.rate.max(seen.rate);
        most.builds = most.builds.max(seen.builds);
        most.launches = most.launches.max(seen.launches);
        moments += 1;
        world.builds().iter().all(|build| build.state.is_finished())
    });
    assert!(moments > 50, "{moments}");
    assert!(
        most.machines <= 4 && most.vcpus <= 6,
        "{} {}",
        most.machines,
        most.vcpus
    );
    assert!(
        most.rate <= 2_000_000 && most.builds <= 3,
        "{} {}",
        most.rate,
        most.builds
    );
    assert!(most.launches <= 14, "{}", most.launches);
    // They were reached, so the test could have failed.
    assert_eq!((most.builds, most.launches >= 12), (3, true));
    for id in web.into_iter().chain(docs) {
        assert_eq!(world.result(id).0, Success);
    }
}

#[test]
fn launches_of_the_last_hour_are_remembered_over_a_restart() {
    let mut world = World::with_images(&[ALPINE]);
    let limits = PolicySpec {
        max_launches_per_hour: Some(2),
        max_builds_per_machine: Some(1),
        ..PolicySpec::default()
    };
    declare(&mut world, "default", limits);
    let begun = world.now();
    let first = submit(&world, "web", 3, "echo done", "1h");
    world.until("two are done", secs(600), |world| {
        first
            .iter()
            .filter(|id| world.build(**id).state.is_finished())
            .count()
            == 2
    });
    world.kill_and_restart();
    assert_eq!(world.all_machines().len(), 2);
    world.until_done();
    let launches: BTreeSet<Timestamp> = world.all_machines().iter().map(|m| m.created_at).collect();
    let third = *launches.last().unwrap();
    assert!(third >= begun + secs(HOUR), "{third}");
}

#[test]
fn a_build_that_reaches_its_cap_is_stopped_with_its_log() {
    let mut world = World::with_images(&[ALPINE]);
    // At $0.18 an hour, a cent lasts for two hundred seconds.
    let cap = budget(10_000, BudgetEach::Build, Period::Life, AtLimit::Hold);
    declare(&mut world, "caps", cap);
    let long = world.submit_one("os: alpine", "echo begun\nsleep 3000s\necho never");
    let short = world.submit_one("os: alpine", "echo short");
    world.until_done();
    let (result, reason) = world.result(long);
    assert_eq!(result, OverBudget, "{reason}");
    assert!(
        reason.contains("\"money\"") && reason.contains("$0.010000"),
        "{reason}"
    );
    assert_eq!(world.log(long), "begun\n");
    assert_eq!(world.result(short).0, Success);
    let cost = world
        .read(async |store| store.build_cost(long).await)
        .unwrap();
    // A quantum of a minute more: $0.003.
    let spent = cost.total.micros();
    assert!((10_000..13_000).contains(&spent), "{spent}");
}

#[test]
fn a_pipeline_that_reaches_its_cap_is_stopped_as_a_whole() {
    let mut world = World::with_images(&[ALPINE]);
    let cap = budget(20_000, BudgetEach::Pipeline, Period::Life, AtLimit::Fail);
    declare(&mut world, "caps", cap);
    let builds = submit(&world, "web", 3, "sleep 3000s", "2h");
    world.until_done();
    let mut spent = 0;
    for id in &builds {
        assert_eq!(world.result(*id).0, OverBudget, "{:?}", world.result(*id));
        let cost = world
            .read(async |store| store.build_cost(*id).await)
            .unwrap();
        spent += cost.total.micros();
    }
    assert!((20_000..20_000 + 3 * 3_000).contains(&spent), "{spent}");
}

#[test]
fn a_budget_holds_builds_until_somebody_approves_or_the_day_ends() {
    let mut world = World::with_images(&[ALPINE]);
    // Worst case of a build: a minute of boot, an hour of work, five minutes idle: $0.198.
    let daily = budget(200_000, BudgetEach::All, Period::Day, AtLimit::OnApproval);
    declare(&mut world, "daily", daily);
    let builds = submit(&world, "web", 3, "sleep 1200s", "1h");
    world.advance(secs(5));
    let bound = |world: &World| {
        let states = builds.iter().map(|id| world.build(*id).state);
        states.filter(|state| state.binding().is_some()).count()
    };
    assert_eq!(bound(&world), 1, "one may be paid for at worst");
    let waiting = builds
        .iter()
        .find(|id| world.word(**id) == "queued")
        .unwrap();
    let said = world.explain(*waiting);
    assert!(
        said.summary
            .contains("budget \"money\" of policy \"daily\""),
        "{}",
        said.summary
    );
    assert!(
        said.next.contains("dormouse budget approve daily/money"),
        "{}",
        said.next
    );
    let more = Approval {
        policy: "daily".to_owned(),
        budget: "money".to_owned(),
        part: None,
        amount: Money::from_micros(200_000),
        reason: "release".to_owned(),
    };
    world
        .ask(async |desk| desk.approve(more, "ada").await)
        .unwrap();
    world.advance(secs(1));
    assert_eq!(bound(&world), 2, "what was approved counts at once");
    world.kill_and_restart();
    let reports = world.ask(async |desk| desk.budgets().await).unwrap();
    assert_eq!(
        reports[0].total,
        Money::from_micros(400_000),
        "and after a restart"
    );
    assert_eq!(reports[0].approved, Money::from_micros(200_000));
    world.until_done();
    for id in &builds {
        assert_eq!(world.result(*id).0, Success);
    }
}

#[test]
fn a_spent_budget_waits_for_the_next_day_and_warns_once() {
    let mut world = World::with_images(&[ALPINE]);
    let daily = budget(250_000, BudgetEach::All, Period::Day, AtLimit::Hold);
    declare(&mut world, "daily", daily);
    let first = submit(&world, "web", 1, "sleep 3500s", "1h")[0];
    world.until_word(first, "finished");
    let second = submit(&world, "web", 1, "echo done", "1h")[0];
    world.advance(secs(600));
    assert_eq!(world.word(second), "queued");
    let warnings = |world: &World| {
        let events = world.events(Some(&Subject::Policy("daily".to_owned())));
        events
            .iter()
            .filter(|event| event.kind == EventKind::BudgetWarned)
            .count()
    };
    assert_eq!(warnings(&world), 1);
    world.kill_and_restart();
    world.advance(secs(600));
    assert_eq!((warnings(&world), world.word(second)), (1, "queued"));
    // Midnight in Berlin is at 23:00 in UTC.
    world.advance(secs(24 * HOUR));
    assert_eq!(world.result(second).0, Success);
    let began = world.attempts(second)[0].bound_at;
    assert!(
        began.to_string().starts_with("2026-01-01T23:00:0"),
        "{began}"
    );
}

#[test]
fn a_budget_that_fails_builds_says_why() {
    let mut world = World::with_images(&[ALPINE]);
    let hourly = budget(100_000, BudgetEach::Project, Period::Hour, AtLimit::Fail);
    declare(&mut world, "hourly", hourly);
    let dear = submit(&world, "web", 1, "echo done", "2h")[0];
    let cheap = submit(&world, "docs", 1, "echo done", "5m")[0];
    world.until_done();
    let (result, reason) = world.result(dear);
    assert_eq!(result, OverBudget);
    assert!(
        reason.contains("$0.100000 of $0.100000 left for its project"),
        "{reason}"
    );
    assert_eq!(world.result(cheap).0, Success);
}

#[test]
fn no_budget_is_exceeded_by_more_than_a_minute_per_machine() {
    let mut world = World::with_images(&[ALPINE]);
    let hourly = budget(300_000, BudgetEach::All, Period::Hour, AtLimit::Hold);
    declare(&mut world, "hourly", hourly);
    world
        .cloud
        .boot_next("alpine", [Boot::Never, Boot::Dies(secs(5), secs(400))]);
    submit(&world, "web", 9, "sleep 700s", "20m");
    submit(&world, "docs", 4, "sleep 100s", "10m");
    world.until_done();
    world.advance(secs(HOUR));
    let rows = world
        .read(async |store| store.spent(Timestamp::from_micros(0)).await)
        .unwrap();
    let begin = world
        .all_machines()
        .iter()
        .map(|m| m.created_at)
        .min()
        .unwrap();
    let all: i64 = rows.iter().map(|row| row.amount.micros()).sum();
    assert!(all > 300_000, "more than one hour's money was spent: {all}");
    let mut from = Timestamp::from_micros(
        begin.micros() - begin.micros().rem_euclid(HOUR.cast_signed() * 1_000_000),
    );
    let mut hours = BTreeMap::new();
    while from < world.now() {
        let since = |at| {
            let rows = world.read(async |store| store.spent(at).await).unwrap();
            rows.iter().map(|row| row.amount.micros()).sum::<i64>()
        };
        hours.insert(from, since(from) - since(from + secs(HOUR)));
        from = from + secs(HOUR);
    }
    // $0.003 a minute on at most ten machines.
    for (hour, spent) in hours {
        assert!(spent <= 300_000 + 10 * 3_000, "{hour}: {spent}");
    }
}
