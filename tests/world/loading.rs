//! While the state is loaded nobody gets an answer from books that are empty, or ahead of the store.

use dormouse::books::Approval;
use dormouse::engine::{ApplyError, Declaration, Desk, DeskError, FrontDesk};
use dormouse::model::{BuildId, MachineId, Money};

use super::store::CommitTrouble::NotWritten;
use super::world::{ALPINE, World, secs, submission};

const ONE: &str = "{ name: one, builds: { one: { requires: { sh: true }, steps: [echo one] } } }";

/// What a client asked, and why it was refused, if it was.
type Answers = Vec<(&'static str, Option<DeskError>)>;

/// Asks everything that is answered from the books.
async fn ask_all(desk: &FrontDesk, over: BuildId, open: BuildId) -> Answers {
    vec![
        ("plan", desk.plan().await.err()),
        ("plan --record", desk.record_plan().await.err()),
        ("budgets", desk.budgets().await.err()),
        ("budgets now", desk.budgets_now().await.err()),
        ("explain a build that waits", desk.explain(open).await.err()),
        ("explain one that is over", desk.explain(over).await.err()),
        ("machines", desk.machines().await.err()),
        ("images", desk.images().await.err()),
        ("image health", desk.image_health("alpine").await.err()),
        ("effective policies", desk.policies().await.err()),
        ("prices", desk.price_sources().await.err()),
        ("quote", desk.quote(submission(ONE, None)).await.err()),
    ]
}

/// Asks for everything that changes the books.
async fn wish_all(desk: &FrontDesk, open: BuildId) -> Answers {
    let approval = Approval {
        policy: "default".to_owned(),
        budget: "month".to_owned(),
        part: None,
        amount: Money::from_micros(1),
        reason: String::new(),
    };
    let applied = desk
        .apply(vec![Declaration::Image(ALPINE.to_owned())])
        .await;
    let applied = applied.err().map(|error| match error {
        ApplyError::Busy => DeskError::Busy(error.to_string()),
        other @ (ApplyError::Invalid(_) | ApplyError::Store(_)) => panic!("{other:?}"),
    });
    let machine = MachineId::from_bits(1);
    vec![
        ("submit", desk.submit(submission(ONE, None)).await.err()),
        ("cancel", desk.cancel_build(open, "ada").await.err()),
        ("end", desk.end_machine(machine, "ada").await.err()),
        ("verify", desk.verify_image("alpine", "ada").await.err()),
        ("remove", desk.remove_image("alpine", "ada").await.err()),
        ("release", desk.release_image("alpine", "ada").await.err()),
        ("approve", desk.approve(approval, "ada").await.err()),
        ("apply", applied),
    ]
}

fn all_are_asked_to_come_back(answers: Answers) {
    for (question, refusal) in answers {
        let Some(DeskError::Busy(why)) = refusal else {
            panic!("{question}: {refusal:?}");
        };
        assert!(why.contains("loading its state"), "{question}: {why}");
    }
}

fn all_are_answered(answers: Answers) {
    for (question, refusal) in answers {
        assert!(refusal.is_none(), "{question}: {refusal:?}");
    }
}

/// A build that is over, and one that waits.
fn two_builds() -> (World, BuildId, BuildId) {
    let world = World::new();
    world.apply_policy(
        "{ name: default, limits: { machines: 1 }, budgets: [{ name: month, amount: $9, per: month }] }",
    );
    let over = world.submit_one("sh: true", "echo over");
    world.until_done();
    world.submit_one("sh: true", "sleep 60s");
    world.advance(secs(1));
    let open = world.submit_one("sh: true", "echo open");
    assert_eq!(world.word(open), "queued");
    (world, over, open)
}

#[test]
fn right_after_a_restart() {
    let (mut world, over, open) = two_builds();
    world.kill_and_begin();
    all_are_asked_to_come_back(world.ask_at_once(async |desk| ask_all(desk, over, open).await));
    assert!(!world.desk().is_ready());
    all_are_asked_to_come_back(world.ask_at_once(async |desk| wish_all(desk, open).await));
    world.settle();
    all_are_answered(world.ask_at_once(async |desk| ask_all(desk, over, open).await));
}

#[test]
fn from_the_moment_a_commit_fails() {
    let (world, over, open) = two_builds();
    world.store().trouble_commits([NotWritten]);
    let (failed, answers, wishes) = world.ask_at_once(async |desk| {
        let failed = desk.submit(submission(ONE, None)).await;
        let answers = ask_all(desk, over, open).await;
        (failed, answers, wish_all(desk, open).await)
    });
    assert!(matches!(failed, Err(DeskError::Store(_))), "{failed:?}");
    all_are_asked_to_come_back(answers);
    all_are_asked_to_come_back(wishes);
    world.advance(secs(1));
    all_are_answered(world.ask_at_once(async |desk| ask_all(desk, over, open).await));
}
