//! Reports add up.

use super::Fixture;
use super::samples::{EPOCH, Samples, build_id, pipeline_id, time};
use crate::model::{Category, Change, Entry, Money, Span, Timestamp};
use crate::store::{CostGroup, CostRow};

const GROUPS: [CostGroup; 5] = [
    CostGroup::Build,
    CostGroup::Pipeline,
    CostGroup::Project,
    CostGroup::Image,
    CostGroup::Day,
];

/// Three days of entries, in steps that fall on no hour.
fn ledger() -> Vec<Entry> {
    (0..100_i64)
        .map(|n| {
            let seconds = (n - 50) * 2_617;
            Samples::entry(n.unsigned_abs(), seconds, n * n - 300)
        })
        .collect()
}

fn appended(entries: &[Entry]) -> Vec<Change> {
    entries.iter().cloned().map(Change::AppendEntry).collect()
}

pub(in crate::store) async fn costs_add_up_in_every_group<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let entries = ledger();
    // In two commits, the second of which adds to the same hours.
    let (early, late) = entries.split_at(60);
    store.commit(appended(early)).await.unwrap();
    store.commit(appended(late)).await.unwrap();
    let sum: Money = entries.iter().map(|entry| entry.amount).sum();
    let begin = Timestamp::from_micros(0);
    let end = Timestamp::from_micros(i64::MAX);
    for group in GROUPS {
        let rows = store.costs(group, begin, end, 1_000).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| row.total).sum::<Money>(),
            sum,
            "{group:?}"
        );
        for row in &rows {
            let parts = row.by_category.values().copied().sum::<Money>();
            assert_eq!(parts, row.total, "{group:?} {}", row.key);
        }
        let time: u64 = rows
            .iter()
            .flat_map(|r| r.time.values())
            .map(|t| t.micros())
            .sum();
        assert_eq!(time, 100 * 5_000_000, "{group:?}");
    }
    let days = store.costs(CostGroup::Day, begin, end, 9).await.unwrap();
    let mut keys: Vec<&str> = days.iter().map(|row| &*row.key).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"]
    );
}

pub(in crate::store) async fn costs_respect_the_stretch_to_the_microsecond<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let hour = 3_600_000_000;
    let at = |micros: i64| Timestamp::from_micros(EPOCH + micros);
    let moments = [-1, 0, 1, hour - 1, hour, 3 * hour, 3 * hour + 1];
    let entries: Vec<Entry> = moments
        .iter()
        .map(|micros| Entry {
            from: at(*micros),
            ..Samples::entry(1, 0, 1)
        })
        .collect();
    store.commit(appended(&entries)).await.unwrap();
    for group in GROUPS {
        for from in moments {
            for to in moments {
                let rows = store.costs(group, at(from), at(to), 9).await.unwrap();
                let found: i64 = rows.iter().map(|row| row.total.micros()).sum();
                let expected = moments
                    .iter()
                    .filter(|at| from <= **at && **at < to)
                    .count();
                assert_eq!(
                    found,
                    i64::try_from(expected).unwrap(),
                    "{group:?} {from} {to}"
                );
            }
        }
    }
}

pub(in crate::store) async fn the_dearest_groups_come_first<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let entries = [
        Samples::entry(1, 0, 10),
        Samples::entry(5, 0, 30),
        Samples::entry(2, 1, 25),
        Samples::entry(2, 2, 4),
        // Nobody's.
        Samples::entry(4, 3, 25),
        // The end lies before the begin: the clock stepped back.
        Entry {
            to: time(-9),
            ..Samples::entry(6, 4, 25)
        },
    ];
    store.commit(appended(&entries)).await.unwrap();
    let rows = store
        .costs(CostGroup::Build, time(-1), time(9), 4)
        .await
        .unwrap();
    let found: Vec<(&str, i64)> = rows.iter().map(|r| (&*r.key, r.total.micros())).collect();
    let keys = [build_id(5), build_id(2), build_id(6)].map(|id| id.to_string());
    // Equal amounts are in the order of their keys, and the empty key comes first.
    let expected = [(&*keys[0], 30), (&*keys[1], 29), ("", 25), (&*keys[2], 25)];
    assert_eq!(found, expected);
    assert_eq!(rows[3].time, [(Category::Work, Span::ZERO)].into());

    let row = CostRow {
        key: build_id(2).to_string(),
        by_category: [(Category::Retry, Money::from_micros(29))].into(),
        time: [(Category::Retry, Span::from_secs(10))].into(),
        total: Money::from_micros(29),
    };
    assert_eq!(rows[1], row);
    assert_eq!(store.build_cost(build_id(2)).await.unwrap(), row);
    let pipelines = store
        .costs(CostGroup::Pipeline, time(-1), time(9), 1)
        .await
        .unwrap();
    assert_eq!(pipelines[0].key, pipeline_id(2).to_string());
}
