//! Budgets: how they stand, what is approved, and their gauges.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::fake_desk::RESTARTED;
use super::things;
use super::world::{Ask, World};
use crate::api::view::{BudgetState, BudgetView, Page};
use crate::model::{BudgetPart, BuildId, Change, Money, Policy, PolicySpec, TokenRole};

const APPROVALS: &str = "budgets/approvals";

/// An approval of two dollars.
fn two_dollars(budget: &str) -> Value {
    json!({ "policy": "default", "budget": budget, "micro_usd": 2_000_000 })
}

fn with(mut request: Value, key: &str, value: impl Into<Value>) -> Value {
    request[key] = value.into();
    request
}

fn part_of(world: &World, request: &Value) -> Option<BudgetPart> {
    let (approval, _) = world.desk.budgets.approved().pop().unwrap();
    assert_eq!(approval.budget, request["budget"].as_str().unwrap());
    approval.part
}

#[tokio::test]
async fn budgets_are_listed_with_what_is_left_of_them() {
    let world = World::new();
    world
        .call(Ask::new(axum::http::Method::GET, "budgets"))
        .await
        .problem(401);
    let page: Page<BudgetView> = world.get("budgets").await.json(200);
    let rows: Vec<_> = page
        .items
        .iter()
        .map(|b| {
            let left = b.left.micro_usd;
            (
                b.budget.as_str(),
                b.each.as_str(),
                b.part.as_str(),
                left,
                b.state,
            )
        })
        .collect();
    let build = BuildId::from_bits(7).to_string();
    assert_eq!(
        rows,
        [
            // A micro-dollar below 80 %.
            ("all", "all", "", 1_800_001, BudgetState::Open),
            // More is committed than there is; nothing is left, rather than less than nothing.
            ("monthly", "project", "web", 0, BudgetState::Full),
            (
                "monthly",
                "project",
                "a \"b\"\\c",
                3_999_999,
                BudgetState::Warned
            ),
            ("hourly", "image", "debian-12", 1, BudgetState::Open),
            ("cap", "build", &build, 4_999_970, BudgetState::Open),
        ]
    );
    let all = &page.items[0];
    assert_eq!((all.per.as_str(), all.at_limit.as_str()), ("day", "hold"));
    assert_eq!(all.from, Some(things::NOW));
    assert_eq!(all.forecast.as_ref().unwrap().micro_usd, 14_399_998);
    let cap = &page.items[4];
    assert_eq!((cap.from, cap.to, cap.forecast.clone()), (None, None, None));
}

#[tokio::test]
async fn an_approval_adds_to_the_budget_in_the_name_of_who_asked() {
    let world = World::new();
    let request = with(two_dollars("all"), "reason", "release");
    for role in [TokenRole::Reader, TokenRole::Submitter] {
        let ask = Ask::post(APPROVALS).role(role).json(&request);
        let problem = world.call(ask).await.problem(403);
        assert!(problem.needed_role.is_some(), "{problem:?}");
    }
    assert!(world.desk.budgets.approved().is_empty());
    let reply = world.call(Ask::post(APPROVALS).json(&request)).await;
    let page: Page<BudgetView> = reply.json(200);
    // Only the budget that was asked for comes back.
    assert_eq!(page.items.len(), 1);
    let budget = &page.items[0];
    assert_eq!(budget.total.micro_usd, 11_000_000);
    assert_eq!(budget.approved.text, "$2.000000");
    let (approval, who) = world.desk.budgets.approved().pop().unwrap();
    assert_eq!(who, "admin");
    assert_eq!(approval.amount, Money::from_micros(2_000_000));
    assert_eq!((approval.part, approval.reason.as_str()), (None, "release"));
}

#[tokio::test]
async fn nobody_is_asked_to_approve_again_what_was_approved() {
    let world = World::new();
    let request = with(two_dollars("all"), "reason", RESTARTED);
    let reply = world.call(Ask::post(APPROVALS).json(&request)).await;
    let page: Page<BudgetView> = reply.json(200);
    assert_eq!(page.items, []);
    assert_eq!(world.desk.budgets.approved().len(), 1);
    world.get("budgets").await.problem(503);
}

#[tokio::test]
async fn the_part_of_an_approval_is_an_id_or_a_name_of_what_the_budget_is_for() {
    let world = World::new();
    let spec = "budgets: [{ name: hourly, amount: $1, per: hour, each: image }]";
    let (_, spec) = crate::spec::parse_policy(&format!("name: default\n{spec}\n")).unwrap();
    let policy = |name: &str, spec: PolicySpec| Policy {
        name: name.to_owned(),
        version: 1,
        spec,
        applied_at: things::NOW,
        rev: 0,
    };
    let other = PolicySpec::default();
    let policies = [policy("default", spec), policy("other", other)];
    world.store.put(policies.map(Change::InsertPolicy));
    let build = BuildId::from_bits(7);
    for (budget, text, part) in [
        ("cap", build.to_string(), BudgetPart::Build(build)),
        (
            "hourly",
            "debian-12".to_owned(),
            BudgetPart::Image("debian-12".to_owned()),
        ),
        (
            "monthly",
            "web".to_owned(),
            BudgetPart::Project("web".to_owned()),
        ),
    ] {
        let request = with(two_dollars(budget), "part", text);
        let _: Page<BudgetView> = world
            .call(Ask::post(APPROVALS).json(&request))
            .await
            .json(200);
        assert_eq!(part_of(&world, &request), Some(part));
    }
}

#[tokio::test]
async fn what_cannot_be_approved_is_refused_with_the_reason() {
    let world = World::new();
    let good = two_dollars("all");
    for (status, request, says) in [
        (404, two_dollars("yearly"), "no budget default/yearly"),
        (
            404,
            with(good.clone(), "policy", "wen"),
            "no budget wen/all",
        ),
        (400, with(good.clone(), "micro_usd", 0), "more than nothing"),
        (
            400,
            with(good.clone(), "micro_usd", -1),
            "more than nothing",
        ),
        (
            400,
            with(good.clone(), "micro_usd", 1_000_000_000_001_i64),
            "at most $1000000.000000",
        ),
        (
            400,
            with(good.clone(), "reason", "x".repeat(501)),
            "at most 500 characters",
        ),
        (
            400,
            with(good.clone(), "amount", "$2"),
            "unknown field `amount`",
        ),
        (
            400,
            json!({ "policy": "default", "micro_usd": 1 }),
            "budget",
        ),
    ] {
        let problem = world
            .call(Ask::post(APPROVALS).json(&request))
            .await
            .problem(status);
        let places = problem.problems.iter().map(|place| &place.message);
        let told = places
            .chain([&problem.detail])
            .any(|text| text.contains(says));
        assert!(told, "{request}: {problem:?}");
    }
    assert!(world.desk.budgets.approved().is_empty());
    // What is at the limits is accepted.
    for request in [
        with(good.clone(), "micro_usd", 1_000_000_000_000_i64),
        with(good, "reason", "é".repeat(500)),
    ] {
        let _: Page<BudgetView> = world
            .call(Ask::post(APPROVALS).json(&request))
            .await
            .json(200);
    }
}

#[tokio::test]
async fn nobody_is_told_of_an_empty_house_while_the_state_is_loaded() {
    let world = World::new();
    let image = things::image("debian-12", 1, crate::model::ImageState::Active);
    world.store.put([Change::InsertImage(image)]);
    world.desk.ready.store(false, Ordering::Relaxed);
    let build = BuildId::from_bits(7);
    for path in [
        "budgets".to_owned(),
        "plan".to_owned(),
        "plan/recording".to_owned(),
        format!("builds/{build}/explain"),
        "images".to_owned(),
        "policies".to_owned(),
        "images/debian-12/health".to_owned(),
        "policies/effective?image=debian-12".to_owned(),
        "policies/effective".to_owned(),
    ] {
        let reply = world.get(&path).await;
        let problem = reply.problem(503);
        assert_eq!(reply.header("retry-after"), "1", "{path}");
        assert_eq!(
            problem.hint.as_deref(),
            Some("try again in a moment"),
            "{path}"
        );
    }
    let ask = Ask::post(APPROVALS).json(&two_dollars("all"));
    assert_eq!(world.call(ask).await.header("retry-after"), "1");
}

#[tokio::test]
async fn metrics_have_budgets_in_dollars() {
    let world = World::new();
    let reply = world.get("/metrics").await;
    let text = reply.text();
    let all = r#"policy="default",budget="all",scope="all",part="",window="day""#;
    let web = r#"policy="default",budget="monthly",scope="project",part="web",window="month""#;
    let odd =
        r#"policy="default",budget="monthly",scope="project",part="a \"b\"\\c",window="month""#;
    let image = r#"policy="default",budget="hourly",scope="image",part="debian-12",window="hour""#;
    for (gauge, labels, value) in [
        ("limit", all, "9.000000"),
        ("spent", all, "7.199999"),
        ("committed", all, "0.000000"),
        ("limit", web, "20.000000"),
        ("spent", web, "17.000000"),
        ("committed", web, "4.000000"),
        ("committed", odd, "0.000001"),
        ("limit", image, "0.500000"),
    ] {
        let wanted = format!("dormouse_budget_{gauge}_dollars{{{labels}}} {value}");
        assert!(text.lines().any(|line| line == wanted), "{wanted}\n{text}");
    }
    for gauge in ["limit", "spent", "committed"] {
        let kind = format!("# TYPE dormouse_budget_{gauge}_dollars gauge");
        assert_eq!(text.lines().filter(|line| *line == kind).count(), 1);
    }
    assert!(!text.contains("bld_") && !text.contains("cap"), "{text}");
}

#[tokio::test]
async fn metrics_are_served_while_the_state_is_loaded() {
    let world = World::new();
    world.desk.ready.store(false, Ordering::Relaxed);
    let reply = world.get("/metrics").await;
    assert_eq!(reply.status, 200);
    let text = reply.text();
    assert!(text.contains("dormouse_ready 0\n"), "{text}");
    assert!(text.contains("dormouse_queue_length 0\n"), "{text}");
    // What is not known is not shown as 0.
    assert!(!text.contains("dormouse_machines"), "{text}");
    assert!(!text.contains("dormouse_budget"), "{text}");
}
