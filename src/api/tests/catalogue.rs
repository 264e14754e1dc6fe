//! Machines, images, policies, the plan and the costs.

use super::fake_desk::BROKEN;
use super::things;
use super::world::{Ask, World};
use crate::api::view::{
    AcceptedView, ApplyRequest, ApplyResponse, CheckResponse, CostGroupWord, CostReport,
    DeclarationFile, DeclarationKind, EffectiveView, ImageHealthView, ImageStateWord, ImageView,
    MachineStateWord, MachineView, Page, PlanView, PolicyView,
};
use crate::model::{
    BuildSpec, Category, Change, ImageState, MachineState, PipelineId, Reason, Span,
};

#[tokio::test]
async fn machines_show_what_they_cost_until_now() {
    let world = World::new();
    let mut gone = things::machine(2);
    gone.state = MachineState::Gone {
        reason: Reason::IdleTimeout,
    };
    world
        .store
        .put([things::machine(1), gone].map(Change::InsertMachine));

    let live: Page<MachineView> = world.get("machines").await.json(200);
    assert_eq!(live.items.len(), 1);
    let machine = &live.items[0];
    assert_eq!(machine.state, MachineStateWord::Idle);
    assert_eq!(machine.cost.micro_usd, 3_600_000, "an hour at $3.60");
    assert_eq!(machine.age_millis, 3_600_000);
    assert_eq!(machine.address.as_deref(), Some("127.0.0.1:2222"));
    assert_eq!(machine.instance.as_deref(), Some("i-0abc"));
    world.clock.advance(Span::from_secs(60));
    let path = format!("machines/{}", machine.id);
    let later: MachineView = world.get(&path).await.json(200);
    assert_eq!(later.cost.text, "$3.660000");

    let all: Page<MachineView> = world.get("machines?all=true&limit=1").await.json(200);
    assert_eq!(all.items[0].state, MachineStateWord::Gone);
    let billed = all.items[0].cost.micro_usd;
    assert_eq!(billed, 1_800_000, "what is in the ledger");
    assert_eq!(
        all.items[0].reason.as_deref(),
        Some("idle for longer than the policy allows")
    );
    let path = format!("machines?all=true&limit=1&cursor={}", all.next.unwrap());
    let rest: Page<MachineView> = world.get(&path).await.json(200);
    assert_eq!((rest.items[0].id.bits(), rest.next), (1, None));
}

#[tokio::test]
async fn only_a_machine_without_a_build_is_ended() {
    let world = World::new();
    world.store.put([Change::InsertMachine(things::machine(1))]);
    let path = "machines/vm_00000000000000000000000001/end";
    let machine: MachineView = world.call(Ask::post(path)).await.json(200);
    assert_eq!(machine.state, MachineStateWord::Draining);
    assert_eq!(machine.reason.as_deref(), Some("ended on request of admin"));
    world.call(Ask::post(path)).await.problem(409);
}

#[tokio::test]
async fn images_are_listed_shown_by_version_and_removed() {
    let world = World::new();
    world.store.put([
        Change::InsertImage(things::image("debian-12", 1, ImageState::Superseded)),
        Change::InsertImage(things::image("debian-12", 2, ImageState::Active)),
        Change::InsertImage(things::image("alpine", 1, ImageState::Active)),
    ]);
    let listed: Page<ImageView> = world.get("images").await.json(200);
    let mut names: Vec<_> = listed
        .items
        .iter()
        .map(|image| (image.name.as_str(), image.version))
        .collect();
    names.sort_unstable();
    assert_eq!(names, [("alpine", 1), ("debian-12", 2)]);

    let versions: Page<ImageView> = world.get("images/debian-12").await.json(200);
    let states: Vec<_> = versions
        .items
        .iter()
        .map(|image| (image.version, image.state))
        .collect();
    assert_eq!(
        states,
        [(2, ImageStateWord::Active), (1, ImageStateWord::Superseded)]
    );
    let image = &versions.items[0];
    assert_eq!(image.capabilities["python"], ["3.12.4"]);
    assert_eq!(image.capabilities["docker"], ["true"]);
    assert_eq!(image.reference["ami"], "ami-1");
    assert_eq!(image.shapes[0].price.micro_usd_per_hour, 3_600_000);

    let ask = Ask::delete("images/debian-12");
    let removed: ImageView = world.call(ask).await.json(200);
    assert_eq!(
        (removed.version, removed.state),
        (2, ImageStateWord::Removed)
    );
    world
        .call(Ask::delete("images/debian-12"))
        .await
        .problem(404);
}

#[tokio::test]
async fn how_an_image_fares_is_shown_and_a_quarantine_ended() {
    let world = World::new();
    world.store.put([
        Change::InsertImage(things::image("debian-12", 2, ImageState::Active)),
        Change::InsertImage(things::image("alpine", 1, ImageState::Active)),
    ]);
    let health: ImageHealthView = world.get("images/debian-12/health").await.json(200);
    let shape = &health.versions[0].shapes[0];
    assert_eq!((shape.boots, shape.failed_boots), (12, 1));
    assert_eq!(shape.boot_p95_millis, Some(41_000));
    assert_eq!(shape.failure_cost.text, "$0.012300");
    world.get("images/slackware/health").await.problem(404);

    let released: ImageView = world
        .call(Ask::post("images/debian-12/release"))
        .await
        .json(200);
    assert_eq!(released.version, 2);
    let refused = world.call(Ask::post("images/alpine/release")).await;
    refused.problem(409);
}

#[tokio::test]
async fn an_image_is_verified_by_a_pipeline() {
    let world = World::new();
    let mut unprobed = things::image("alpine", 1, ImageState::Active);
    unprobed.spec.probes.clear();
    let probed = things::image("debian-12", 1, ImageState::Active);
    world.store.put([unprobed, probed].map(Change::InsertImage));
    let ask = Ask::post("images/debian-12/verify");
    let accepted: AcceptedView = world.call(ask).await.json(201);
    assert_eq!(accepted.name, "verify");
    let problem = world
        .call(Ask::post("images/alpine/verify"))
        .await
        .problem(409);
    assert!(problem.detail.contains("no probes"));
}

#[tokio::test]
async fn policies_are_listed_in_their_current_version() {
    let world = World::new();
    let versions = [things::policy("default", 1), things::policy("default", 2)];
    world.store.put(versions.map(Change::InsertPolicy));
    let policies: Page<PolicyView> = world.get("policies").await.json(200);
    assert_eq!(policies.items.len(), 1);
    assert_eq!(
        (policies.items[0].version, policies.items[0].max_machines),
        (2, Some(20))
    );
    let raw: serde_json::Value = world.get("policies").await.json(200);
    assert_eq!(raw["items"][0]["idle_timeout"], "10m");
    let document = policies.items[0].document.as_str();
    let (name, spec) = crate::spec::parse_policy(document).unwrap();
    assert_eq!(
        (name, spec),
        ("default".to_owned(), things::policy("default", 2).spec)
    );
}

#[tokio::test]
async fn what_holds_is_told_with_its_sources() {
    let world = World::new();
    let image = things::image("debian-12", 1, ImageState::Active);
    let mut web = things::policy("web", 4);
    web.spec = crate::model::PolicySpec {
        projects: vec!["web".to_owned()],
        providers: vec![image.spec.provider.clone()],
        max_builds: Some(3),
        slots: Some(2),
        ..crate::model::PolicySpec::default()
    };
    let mut nightly = things::policy("nightly", 1);
    nightly.spec = crate::model::PolicySpec {
        labels: [("tier".to_owned(), "nightly".to_owned())].into(),
        priority: Some((5, 9)),
        market: Some(crate::model::MarketChoice::Spot),
        ..crate::model::PolicySpec::default()
    };
    world.store.put([Change::InsertImage(image)]);
    let policies = [things::policy("default", 2), web, nightly];
    world.store.put(policies.map(Change::InsertPolicy));

    let ask = async |query: &str| -> EffectiveView {
        world
            .get(&format!("policies/effective{query}"))
            .await
            .json(200)
    };
    let said = |view: &EffectiveView, key: &str| {
        let knob = view.knobs.iter().find(|knob| knob.key == key).unwrap();
        let by = knob
            .policy
            .as_ref()
            .map(|policy| (policy.name.clone(), policy.version));
        (knob.value.clone(), by)
    };
    let by = |name: &str, version| Some((name.to_owned(), version));
    let value = |text: &str| Some(text.to_owned());

    let all = ask("").await;
    assert_eq!(said(&all, "idle.timeout"), (value("10m"), by("default", 2)));
    assert_eq!(said(&all, "reuse.slots"), (value("1"), None));
    assert_eq!(all.limits.len(), 1);

    let web = ask("?project=web&image=debian-12&labels=tier=nightly,a=b&priority=5").await;
    let names: Vec<_> = web
        .policies
        .iter()
        .map(|policy| policy.name.as_str())
        .collect();
    assert_eq!(names, ["nightly", "web", "default"]);
    assert_eq!(said(&web, "reuse.slots"), (value("2"), by("web", 4)));
    assert_eq!(said(&web, "market.buy"), (value("spot"), by("nightly", 1)));
    assert_eq!(said(&web, "idle.timeout"), (value("10m"), by("default", 2)));
    let limits: Vec<_> = web
        .limits
        .iter()
        .map(|limit| (limit.key.as_str(), limit.value.as_str()))
        .collect();
    assert_eq!(limits, [("limits.builds", "3"), ("limits.machines", "20")]);

    let other = ask("?project=web&labels=tier=nightly&priority=10").await;
    assert_eq!(said(&other, "market.buy"), (value("on-demand"), None));
    world
        .get("policies/effective?image=gone")
        .await
        .problem(404);
    world
        .get("policies/effective?labels=tier")
        .await
        .problem(400);
    world
        .get("policies/effective?projct=web")
        .await
        .problem(400);
}

fn file(kind: DeclarationKind, file: &str, text: &str) -> DeclarationFile {
    DeclarationFile {
        kind,
        file: file.to_owned(),
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn files_are_applied_together() {
    let world = World::new();
    let request = ApplyRequest {
        declarations: vec![
            file(DeclarationKind::Image, "images/a.yaml", "debian-12"),
            file(DeclarationKind::Policy, "policies/p.yaml", "same"),
        ],
    };
    let ask = Ask::post("apply").json(&request);
    let answer: ApplyResponse = world.call(ask).await.json(200);
    let rows: Vec<_> = answer
        .items
        .iter()
        .map(|row| (row.file.as_str(), row.kind, row.name.as_str(), row.changed))
        .collect();
    assert_eq!(
        rows,
        [
            ("images/a.yaml", DeclarationKind::Image, "debian-12", true),
            ("policies/p.yaml", DeclarationKind::Policy, "same", false),
        ]
    );
    assert_eq!(answer.items[1].version, 4);
    assert_eq!(answer.items[0].warnings, Vec::<String>::new());
    assert_eq!(answer.items[1].warnings, ["same says nothing new"]);
}

#[tokio::test]
async fn files_are_checked_with_the_same_problems_and_by_readers() {
    let world = World::new();
    let ask = |text| {
        let declarations = vec![file(DeclarationKind::Policy, "p.yaml", text)];
        Ask::post("check").json(&ApplyRequest { declarations })
    };
    let answer: CheckResponse = world.call(ask("same")).await.json(200);
    let row = &answer.items[0];
    assert_eq!((row.file.as_str(), row.name.as_str()), ("p.yaml", "same"));
    assert_eq!(row.warnings, ["same says nothing new"]);
    let problem = world.call(ask(BROKEN)).await.problem(422);
    assert_eq!(problem.problems[0].file.as_deref(), Some("p.yaml"));
}

#[tokio::test]
async fn problems_of_files_name_the_file() {
    let world = World::new();
    let request = ApplyRequest {
        declarations: vec![
            file(DeclarationKind::Image, "images/good.yaml", "debian-12"),
            file(DeclarationKind::Image, "images/bad.yaml", BROKEN),
            file(DeclarationKind::Policy, "policies/bad.yaml", BROKEN),
        ],
    };
    let problem = world
        .call(Ask::post("apply").json(&request))
        .await
        .problem(422);
    let files: Vec<_> = problem
        .problems
        .iter()
        .map(|problem| problem.file.as_deref().unwrap())
        .collect();
    assert_eq!(files, ["images/bad.yaml", "policies/bad.yaml"]);
}

#[tokio::test]
async fn the_plan_is_shown() {
    let world = World::new();
    let plan: PlanView = world.get("plan").await.json(200);
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(plan.waiting[0].builds, 3);
    assert_eq!(plan.wake_at, Some(things::NOW));
}

/// Work of two projects a moment ago, some overhead, and work of forty days ago.
fn spent() -> World {
    let world = World::new();
    let one = things::build(1, PipelineId::from_bits(1));
    let mut two = things::build(2, PipelineId::from_bits(1));
    let spec = BuildSpec {
        project: "other".to_owned(),
        ..(*two.spec).clone()
    };
    two.spec = spec.into();
    let mut old = things::entry(&one, Category::Work, 7_000);
    old.from = old.from - Span::from_secs(40 * 24 * 60 * 60);
    let mut overhead = things::entry(&one, Category::Idle, 30);
    (overhead.build, overhead.pipeline, overhead.project) = (None, None, None);
    world.store.put([
        Change::AppendEntry(things::entry(&one, Category::Work, 500)),
        Change::AppendEntry(things::entry(&two, Category::Boot, 200)),
        Change::AppendEntry(overhead),
        Change::AppendEntry(old),
    ]);
    world
}

#[tokio::test]
async fn costs_are_grouped_and_bounded_in_time_and_number() {
    let world = spent();
    let report =
        async |query: &str| -> CostReport { world.get(&format!("cost{query}")).await.json(200) };
    let keys = |report: &CostReport| -> Vec<(String, i64)> {
        let row = |row: &crate::api::view::CostRowView| (row.key.clone(), row.total.micro_usd);
        report.rows.iter().map(row).collect()
    };
    let row = |key: &str, micros| (key.to_owned(), micros);

    let by_project = report("").await;
    assert_eq!(by_project.by, CostGroupWord::Project);
    assert_eq!(
        keys(&by_project),
        [row("demo", 500), row("other", 200), row("", 30)]
    );
    let sources: Vec<&String> = by_project.prices.values().collect();
    assert_eq!(sources, ["AWS price list of 2026-11-20"]);
    assert_eq!(
        (by_project.total.micro_usd, by_project.truncated),
        (730, false)
    );
    assert_eq!(
        by_project.to.since(by_project.from),
        Span::from_secs(30 * 24 * 60 * 60)
    );

    let first = report("?by=project&limit=1").await;
    assert_eq!(
        (keys(&first), first.truncated),
        (vec![row("demo", 500)], true)
    );
    assert_eq!(first.total.micro_usd, 500);
    let by_day = report("?by=day&from=2023-10-01").await;
    assert_eq!(
        keys(&by_day),
        [row("2023-10-05", 7_000), row("2023-11-14", 730)]
    );
    let by_image = report("?by=image&to=2023-11-01T00:00:00Z").await;
    assert_eq!(keys(&by_image), [row("debian-12", 7_000)]);
    let by_build = report("?by=build").await;
    assert_eq!(by_build.rows[0].key, "bld_00000000000000000000000001");
    assert_eq!(keys(&report("?by=pipeline").await)[0].1, 700);
}
