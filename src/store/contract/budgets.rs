//! What budgets ask of the ledger, and what is noted about them.

use std::collections::BTreeMap;

use super::Fixture;
use super::samples::{EPOCH, Samples, build_id, machine_id, pipeline_id, time};
use crate::ledger;
use crate::model::{
    BudgetNews, BudgetNote, BudgetPart, BuildId, BuildState, Change, Entry, Money, PipelineId,
    Timestamp,
};
use crate::store::{SpentRow, Store};

/// Before anything in these tests.
const ALL: Timestamp = Timestamp::from_micros(0);

/// Whose money it is: project, image, pipeline, build, labels, priority.
type Whose = (
    Option<String>,
    String,
    Option<PipelineId>,
    Option<BuildId>,
    BTreeMap<String, String>,
    Option<i32>,
);

/// What was spent since a moment, added up by whose it is: engines may cut it into rows as they like.
async fn spent(store: &dyn Store, since: Timestamp) -> BTreeMap<Whose, i64> {
    let mut sums = BTreeMap::new();
    for row in store.spent(since).await.unwrap() {
        let SpentRow {
            project,
            image,
            pipeline,
            build,
            labels,
            priority,
            amount,
        } = row;
        let whose = (project, image, pipeline, build, labels, priority);
        *sums.entry(whose).or_default() += amount.micros();
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

async fn sum(store: &dyn Store, since: Timestamp) -> i64 {
    spent(store, since).await.values().sum()
}

/// An entry of nobody's build, by default an hour of a machine that no book knows.
fn overhead(amount: i64) -> Entry {
    Entry {
        to: time(3_600),
        ..Samples::entry(4, 0, amount)
    }
}

fn appended(entries: impl IntoIterator<Item = Entry>) -> Vec<Change> {
    entries.into_iter().map(Change::AppendEntry).collect()
}

pub(in crate::store) async fn nothing_is_spent_of_an_empty_ledger<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    assert_eq!(store.spent(ALL).await.unwrap(), []);
    assert_eq!(store.budget_notes(ALL).await.unwrap(), []);
    // Nothing was spent of what is over, either.
    store.commit(appended([overhead(100)])).await.unwrap();
    assert_eq!(sum(store, ALL).await, 100);
    assert_eq!(sum(store, time(3_600)).await, 0);
    assert_eq!(sum(store, time(86_400)).await, 0);
}

pub(in crate::store) async fn what_is_spent_is_told_apart_by_whose_it_is<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let build = Samples::build(3, 1, BuildState::Waiting);
    let (labels, priority) = (build.spec.labels.clone(), build.spec.priority);
    let mut machine = Samples::machine(4, Samples::machine_state(4));
    machine.project = Some("web".to_owned());
    let mut idle = Samples::machine(8, Samples::machine_state(8));
    idle.project = None;
    store
        .commit(vec![
            Change::InsertPipeline(Samples::pipeline(1)),
            Change::InsertBuild(build),
            Change::InsertMachine(machine),
            Change::InsertMachine(idle),
        ])
        .await
        .unwrap();
    let of_build = Samples::entry(3, 0, 10);
    let project = of_build.project.clone();
    let image = of_build.image.clone();
    let other_image = Entry {
        image: "other".to_owned(),
        ..of_build.clone()
    };
    let entries = [
        of_build.clone(),
        Entry {
            amount: Money::from_micros(5),
            ..of_build
        },
        other_image,
        // Overhead is of the project that its machine works for.
        overhead(100),
        overhead(20),
        Entry {
            machine: machine_id(8),
            ..overhead(3)
        },
        // Of a build that is in no row.
        Samples::entry(5, 0, 7),
    ];
    store.commit(appended(entries)).await.unwrap();
    let whose = Some((pipeline_id(1), build_id(3)));
    let row = |project: Option<&str>, image: &str, whose: Option<(PipelineId, BuildId)>| {
        let (pipeline, build) = whose.unzip();
        let known = build.filter(|id| *id == build_id(3));
        let labels = known.map_or_else(BTreeMap::new, |_| labels.clone());
        let priority = known.map(|_| priority);
        (
            project.map(str::to_owned),
            image.to_owned(),
            pipeline,
            build,
            labels,
            priority,
        )
    };
    let fifth = Some((pipeline_id(2), build_id(5)));
    let expected = BTreeMap::from([
        (row(project.as_deref(), &image, whose), 15),
        (row(project.as_deref(), "other", whose), 10),
        (row(Some("web"), "debian", None), 120),
        (row(None, "debian", None), 3),
        (row(Some("docs"), "fedora", fifth), 7),
    ]);
    assert_eq!(spent(store, ALL).await, expected);
}

pub(in crate::store) async fn spending_is_cut_where_a_window_begins<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let at = |micros: i64| Timestamp::from_micros(EPOCH + micros);
    let hour = 3_600_000_000;
    let lasting = |from: i64, to: i64, amount: i64| Entry {
        from: at(from),
        to: at(to),
        ..overhead(amount)
    };
    let entries = [
        // Up to the border, over it, and from it on.
        lasting(-hour, 0, 1_000),
        lasting(-hour, 3 * hour, 8_000_000),
        lasting(0, hour, 30_000_000),
        // What was paid for and not used takes no time: it counts where it begins.
        lasting(-1, -1, 5),
        lasting(0, 0, 7),
        // The clock stepped back.
        lasting(0, -hour, 11),
        lasting(1, -hour, 13),
    ];
    store.commit(appended(entries.clone())).await.unwrap();
    for (since, expected) in [
        (-2 * hour, 38_001_036),
        (-hour, 38_001_036),
        (-hour / 2, 37_000_536),
        (-1, 36_000_036),
        (0, 36_000_031),
        (1, 36_000_013),
        (hour / 2, 20_000_000),
        (hour, 4_000_000),
        (2 * hour, 2_000_000),
        (3 * hour, 0),
    ] {
        let found = sum(store, at(since)).await;
        let exact: Money = entries
            .iter()
            .map(|entry| ledger::between(entry, at(since), at(i64::MAX - EPOCH)))
            .sum();
        // Engines may reckon in milliseconds, of which the dearest of these costs nine.
        assert!(
            (found - exact.micros()).abs() <= 9,
            "{since}: {found}, {exact}"
        );
        assert!(
            (found - expected).abs() <= 9,
            "{since}: {found}, {expected}"
        );
    }
}

/// A note of each kind and part, oldest first, two at the same moment.
fn notes() -> Vec<BudgetNote> {
    let approved = |amount: i64| BudgetNews::Approved {
        amount: Money::from_micros(amount),
        by: "ann".to_owned(),
        reason: "it's \"quoted\" \\ ünïcödé 🐭\n".to_owned(),
    };
    let parts = [
        (BudgetPart::All, BudgetNews::Warned, 0),
        (BudgetPart::Project("we\"b".to_owned()), approved(1), 1),
        (
            BudgetPart::Image("debian".to_owned()),
            BudgetNews::Warned,
            2,
        ),
        (BudgetPart::Pipeline(pipeline_id(1)), approved(i64::MAX), 2),
        (BudgetPart::Build(build_id(3)), BudgetNews::Warned, 3),
    ];
    let notes = parts.into_iter().map(|(part, what, at)| BudgetNote {
        at: time(at),
        policy: "default".to_owned(),
        budget: "monthly".to_owned(),
        part,
        what,
    });
    notes.collect()
}

pub(in crate::store) async fn budget_notes_are_kept_in_the_order_of_their_time<F: Fixture>() {
    let mut fixture = F::new().await;
    let notes = notes();
    // The first is written last, as when the clock stepped back.
    let (first, rest) = notes.split_first().unwrap();
    let written = rest.iter().cloned().map(Change::AppendBudgetNote);
    fixture.store().commit(written.collect()).await.unwrap();
    let late = vec![Change::AppendBudgetNote(first.clone())];
    fixture.store().commit(late).await.unwrap();
    fixture.reopen().await;
    let store = fixture.store();
    assert_eq!(store.budget_notes(ALL).await.unwrap(), notes);
    assert_eq!(store.budget_notes(time(2)).await.unwrap(), notes[2..]);
    let after = Timestamp::from_micros(time(2).micros() + 1);
    assert_eq!(store.budget_notes(after).await.unwrap(), notes[4..]);
    assert_eq!(store.budget_notes(time(4)).await.unwrap(), []);
}
