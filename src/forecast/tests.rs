//! Each formula by itself, and the idle timeouts beside others on an invented month.

use proptest::prelude::*;

use super::*;
use crate::model::{Market, Pool, Rate, WarmWindow};

const MONDAY: Timestamp = Timestamp::from_micros(1_767_571_200_000_000);
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

const fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

const fn rate(micros: u64) -> Rate {
    Rate::from_micros_per_hour(micros)
}

#[test]
fn the_reference_day_is_a_monday() {
    assert_eq!(week::hour_of_week(MONDAY), 0);
    assert_eq!(week::slot_of_week(MONDAY + secs(299)), 0);
    assert_eq!(week::slot_of_week(MONDAY + secs(300)), 1);
    let week = week::week_of(MONDAY);
    assert_eq!(week::week_of(MONDAY - secs(1)), week - 1);
    assert_eq!(week::begin_of(week, 0), MONDAY);
}

#[test]
fn a_boot_is_worth_its_wait_and_its_time() {
    let stakes = |boot, value, price| Stakes {
        boot: secs(boot),
        value_of_wait: rate(value),
        price: rate(price),
    };
    // 40 s x (1 + 20 / 0.17) is 4,745 s.
    let dear = stakes(40, 20_000_000, 170_000).break_even();
    assert_eq!(dear.micros() / 1_000_000, 4_745);
    assert_eq!(stakes(40, 0, 170_000).break_even(), secs(40));
    assert_eq!(stakes(40, 20_000_000, 10_000).break_even(), LONGEST_IDLE);
    assert_eq!(stakes(40, 20_000_000, 0).break_even(), LONGEST_FREE);
    let untaught = choose_timeout(&stakes(40, 20_000_000, 170_000), None);
    assert_eq!(untaught.timeout, LONGEST_UNTAUGHT);
    assert_eq!(untaught.learnt_from, None);
}

fn gaps_of(gaps: &[(u64, u32)]) -> Histogram {
    let mut histogram = Histogram::default();
    for (gap, times) in gaps {
        for _ in 0..*times {
            histogram.add(secs(*gap), MONDAY);
        }
    }
    histogram
}

#[test]
fn a_machine_waits_for_builds_that_come_and_not_for_the_night() {
    let stakes = Stakes {
        boot: secs(40),
        value_of_wait: rate(20_000_000),
        price: rate(1_000_000),
    };
    let break_even = secs(840);
    // The next build comes within two minutes, or the next day.
    let choice = choose_timeout(&stakes, Some(&gaps_of(&[(100, 30), (50_000, 10)])));
    assert_eq!(choice.break_even, break_even);
    assert!(
        choice.timeout > secs(100) && choice.timeout < secs(130),
        "{choice:?}"
    );
    assert_eq!(choice.learnt_from, Some(40));
    // Nothing comes: the least share, for the guess may be wrong.
    let night = choose_timeout(&stakes, Some(&gaps_of(&[(50_000, 40)])));
    assert_eq!(night.timeout, Span::from_micros(break_even.micros() / 400));
}

proptest! {
    #[test]
    fn a_timeout_is_at_most_the_break_even_length_and_at_least_a_part_of_it(
        boot in 1_u64..600,
        value in 0_u64..100_000_000,
        price in 0_u64..5_000_000,
        gaps in prop::collection::vec((0_u64..100_000, 1_u32..20), 1..20),
    ) {
        let stakes = Stakes { boot: secs(boot), value_of_wait: rate(value), price: rate(price) };
        let choice = choose_timeout(&stakes, Some(&gaps_of(&gaps)));
        prop_assert_eq!(choice.break_even, stakes.break_even());
        prop_assert!(choice.timeout <= choice.break_even);
        prop_assert!(choice.timeout.micros() >= choice.break_even.micros() / 400);
        prop_assert!(choice_without(&stakes) <= LONGEST_UNTAUGHT);
    }
}

fn choice_without(stakes: &Stakes) -> Span {
    choose_timeout(stakes, None).timeout
}

#[test]
fn gaps_are_those_of_machines_that_are_taken_last_in_first_out() {
    let mut gaps = Gaps::default();
    let at = |secs| MONDAY + Span::from_secs(secs);
    for freed in [10, 20, 30] {
        gaps.freed("linux", at(freed));
    }
    assert_eq!(gaps.taken("linux", at(40)), Some(at(30)));
    assert_eq!(gaps.taken("linux", at(50)), Some(at(20)));
    gaps.freed("linux", at(60));
    assert_eq!(gaps.taken("linux", at(70)), Some(at(60)));
    assert_eq!(gaps.taken("linux", at(80)), Some(at(10)));
    assert_eq!(gaps.taken("linux", at(90)), None);
    assert_eq!(gaps.taken("other", at(90)), None);
}

#[test]
fn what_nothing_takes_is_learnt_as_a_long_gap() {
    let mut gaps = Gaps::default();
    for n in 0..20 {
        gaps.freed("linux", MONDAY + secs(n));
    }
    assert_eq!(gaps.at("linux", MONDAY), None);
    let later = MONDAY + LONGEST_IDLE + secs(60);
    assert_eq!(gaps.taken("linux", later), None);
    let known = gaps.at("linux", MONDAY).unwrap();
    assert_eq!(known.samples(), 20);
    assert!(known.buckets().all(|(_, middle, _)| middle > LONGEST_IDLE));
    // Too few are known of other hours, but enough of all.
    assert_eq!(
        gaps.at("linux", MONDAY + secs(7 * HOUR)).unwrap().samples(),
        20
    );
}

#[test]
fn an_attempt_without_a_machine_teaches_nothing() {
    let mut forecast = Forecast::default();
    let at = |secs| MONDAY + Span::from_secs(secs);
    let first = forecast.bound("linux", true, at(0));
    forecast.ended("linux", first, true, at(100));
    let before = forecast.gaps.clone();
    let refused = forecast.bound("linux", true, at(200));
    assert_eq!(refused.idle_since, Some(at(100)));
    forecast.ended("linux", refused, false, at(205));
    assert_eq!(forecast.gaps, before);
}

/// An invented month: bursts in office hours, a little at night, durations with a long tail.
fn month(seed: u64) -> Vec<(u64, u64)> {
    let mut state = seed.wrapping_mul(6_364_136_223_846_793_005) + 1;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut jobs = Vec::new();
    let mut now = 0;
    while now < 28 * DAY {
        let (day, hour) = (now / DAY % 7, now % DAY / HOUR);
        let is_office = day < 5 && (8..18).contains(&hour);
        let pause = if is_office { 900 } else { 4 * HOUR };
        now += 1 + random(2 * pause);
        for _ in 0..=random(if is_office { 12 } else { 3 }) {
            let run = (30 + random(400)) * (1 + random(4) * random(3));
            jobs.push((now + random(20), run));
        }
    }
    jobs.sort_unstable();
    jobs
}

/// Begin and length of each gap in the order of the ends, for machines that are taken last in, first
/// out and never ended; none for the last of each.
fn true_gaps(jobs: &[(u64, u64)]) -> Vec<(u64, Option<u64>)> {
    let mut ends: Vec<u64> = jobs.iter().map(|(begin, run)| begin + run).collect();
    ends.sort_unstable();
    let (mut free, mut gaps, mut ended) = (Vec::new(), Vec::new(), ends.into_iter().peekable());
    for (begin, _) in jobs {
        while let Some(end) = ended.next_if(|end| end <= begin) {
            free.push(end);
        }
        if let Some(since) = free.pop() {
            gaps.push((since, Some(begin - since)));
        }
    }
    gaps.extend(free.into_iter().chain(ended).map(|since| (since, None)));
    gaps
}

/// What idle time and boots cost in seconds of idle time, over the second half of the month.
fn overhead(gaps: &[(u64, Option<u64>)], boot: u64, timeout: impl Fn(u64) -> u64) -> u64 {
    let half = gaps.iter().filter(|(since, _)| *since >= 14 * DAY);
    let cost = |(since, gap): &(u64, Option<u64>)| match gap {
        Some(gap) if *gap <= timeout(*since) => *gap,
        Some(_) => timeout(*since) + boot,
        None => timeout(*since),
    };
    half.map(cost).sum()
}

/// The table of the ski rental on an invented month, in percent of the clairvoyant optimum.
fn scores(boot: u64) -> Vec<(&'static str, u64)> {
    let mut sums = [0_u64; 6];
    let mut best = 0;
    for seed in 1..=5 {
        let jobs = month(seed);
        let gaps = true_gaps(&jobs);
        let mut learnt = Gaps::default();
        for (since, gap) in gaps.iter().filter(|(since, _)| *since < 14 * DAY) {
            let gap = gap.unwrap_or(100 * HOUR);
            learnt.learn("linux", MONDAY + secs(*since), secs(gap));
        }
        // A price of a dollar and a value that makes the break-even length what it shall be.
        let stakes = Stakes {
            boot: secs(40),
            value_of_wait: rate((boot - 40) * 1_000_000 / 40),
            price: rate(1_000_000),
        };
        assert_eq!(stakes.break_even(), secs(boot));
        let auto = |since: u64| {
            let known = learnt.at("linux", MONDAY + secs(since));
            choose_timeout(&stakes, known).timeout.micros() / 1_000_000
        };
        let half = gaps.iter().filter(|(since, _)| *since >= 14 * DAY);
        best += half
            .map(|(_, gap)| gap.map_or(0, |gap| gap.min(boot)))
            .sum::<u64>();
        let of_all = [
            overhead(&gaps, boot, |_| 0),
            overhead(&gaps, boot, |_| 300),
            overhead(&gaps, boot, |_| 900),
            overhead(&gaps, boot, |_| 3_600),
            overhead(&gaps, boot, |_| boot),
            overhead(&gaps, boot, auto),
        ];
        for (sum, cost) in sums.iter_mut().zip(of_all) {
            *sum += cost;
        }
    }
    let names = ["at once", "5 min", "15 min", "60 min", "break-even", "auto"];
    names
        .into_iter()
        .zip(sums.map(|sum| sum * 100 / best))
        .collect()
}

#[test]
fn the_learnt_timeout_is_never_far_from_the_optimum_where_every_fixed_one_is_somewhere() {
    let tables: Vec<_> = [40, 600, 3_600].map(scores).to_vec();
    let of = |name| {
        let place = |table: &Vec<(&str, u64)>| {
            let row = table.iter().find(|(row, _)| *row == name);
            row.unwrap().1
        };
        tables.iter().map(place).collect::<Vec<u64>>()
    };
    let auto = of("auto");
    assert!(auto.iter().all(|percent| *percent < 175), "{tables:#?}");
    for fixed in ["at once", "5 min", "15 min", "60 min"] {
        let worst = of(fixed).into_iter().max();
        assert!(worst > Some(200), "{fixed}: {tables:#?}");
    }
    for (auto, break_even) in auto.iter().zip(of("break-even")) {
        assert!(*auto <= break_even, "{tables:#?}");
    }
}

#[test]
fn boots_are_expected_as_they_were_measured() {
    let mut boots = Boots::default();
    let boot = BootOf {
        image: "linux",
        version: 2,
        shape: "small",
        was_asleep: false,
    };
    assert_eq!(boots.expected(&boot, MONDAY), DEFAULT_BOOT);
    for took in [20, 90, 30] {
        boots.learn(&boot, secs(took), MONDAY);
    }
    assert_eq!(boots.measured(&boot, MONDAY), Some((secs(30), 3)));
    // Another size is expected to be like the image, a wake like a launch until one was seen.
    let large = BootOf {
        shape: "large",
        ..boot
    };
    let wake = BootOf {
        was_asleep: true,
        ..boot
    };
    assert_eq!(boots.measured(&large, MONDAY), None);
    assert_eq!(boots.expected(&large, MONDAY), secs(30));
    assert_eq!(boots.expected(&wake, MONDAY), secs(30));
    boots.learn(&wake, secs(5), MONDAY);
    assert_eq!(boots.expected(&wake, MONDAY), secs(5));
    assert_eq!(boots.expected(&boot, MONDAY), secs(30));
    assert_eq!(
        boots.expected(&boot, MONDAY + MEMORY + secs(1)),
        DEFAULT_BOOT
    );
}

#[test]
fn durations_fall_back_to_the_project() {
    let mut durations = Durations::default();
    for minutes in 1..=5 {
        assert_eq!(durations.expected(("docs", "new"), 50, MONDAY), None);
        durations.learn("docs", "unit", secs(minutes * 60), MONDAY);
    }
    assert_eq!(
        durations.expected(("docs", "unit"), 50, MONDAY),
        Some(secs(180))
    );
    assert_eq!(
        durations.expected(("docs", "unit"), 95, MONDAY),
        Some(secs(300))
    );
    assert_eq!(
        durations.expected(("docs", "new"), 50, MONDAY),
        Some(secs(180))
    );
    assert_eq!(durations.expected(("other", "unit"), 50, MONDAY), None);
}

#[test]
fn arrivals_of_the_same_hour_say_how_many_machines_are_wanted() {
    let mut arrivals = Arrivals::default();
    let nine = |week: u64| MONDAY + secs(week * 7 * DAY + 9 * HOUR);
    arrivals.learn("linux", MONDAY);
    for week in 0..3 {
        for build in 0..4 {
            arrivals.learn("linux", nine(week) + secs(build));
        }
        arrivals.learn("linux", nine(week) + secs(1_800));
    }
    let wanted = |at, value: u64, boot| {
        let worth = (rate(value), rate(1_000_000));
        arrivals.wanted("linux", at, secs(boot), worth)
    };
    // Of the twelve stretches one has four arrivals, one has one, the others none.
    assert_eq!(wanted(nine(3), 20_000_000, 40), Some(4));
    assert_eq!(wanted(nine(3), 9_000_000, 40), Some(1));
    assert_eq!(wanted(nine(3), 3_000_000, 40), Some(0));
    assert_eq!(wanted(nine(3), 0, 40), Some(0));
    assert_eq!(wanted(nine(3) + secs(HOUR), 20_000_000, 40), Some(0));
    // A boot of an hour sees both within its time.
    assert_eq!(wanted(nine(3), 20_000_000, 3_600), Some(5));
    // Nothing is known in the first week, nor of an image that nobody used.
    assert_eq!(
        arrivals.wanted("linux", nine(0), secs(40), (rate(1), rate(1))),
        None
    );
    assert_eq!(
        arrivals.wanted("other", nine(3), secs(40), (rate(1), rate(1))),
        None
    );
    // What is older than the weeks that are kept is forgotten.
    arrivals.learn("linux", nine(9) + secs(3 * HOUR));
    assert_eq!(
        arrivals.wanted(
            "linux",
            nine(9),
            secs(40),
            (rate(20_000_000), rate(1_000_000))
        ),
        Some(0)
    );
}

#[test]
fn the_risk_of_spare_capacity_is_what_was_seen_of_it() {
    let mut seen = Interruptions::default();
    let pool = |zone: &str| Pool {
        shape: "small".to_owned(),
        zone: zone.to_owned(),
        market: Market::Spot,
    };
    let (calm, wild) = (pool("a"), pool("b"));
    assert_eq!(seen.risk_percent("cloud", [&calm], secs(HOUR)), 0);
    for _ in 0..9 {
        seen.learn(("cloud", &wild), secs(10 * HOUR), true, MONDAY);
        seen.learn(("cloud", &calm), secs(10 * HOUR), false, MONDAY);
    }
    // Nine interruptions in ninety hours and ten of credit.
    assert_eq!(seen.risk_percent("cloud", [&wild], secs(HOUR)), 9);
    assert_eq!(seen.risk_percent("cloud", [&wild], secs(100 * HOUR)), 100);
    assert_eq!(seen.risk_percent("cloud", [&calm], secs(HOUR)), 0);
    assert_eq!(
        seen.risk_percent("cloud", [&calm, &wild], secs(2 * HOUR)),
        9
    );
    assert_eq!(seen.risk_percent("other", [&wild], secs(HOUR)), 0);
}

fn window(days: &[usize], from: u16, to: u16, zone: &str) -> WarmWindow {
    let mut of_week = [false; 7];
    for day in days {
        of_week[*day] = true;
    }
    WarmWindow {
        days: of_week,
        from_minute: from,
        to_minute: to,
        time_zone: zone.to_owned(),
        running: 2,
        asleep: 1,
    }
}

fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_micros(time.as_microsecond())
}

/// The running floor, and when it changes next, as text.
fn floor(windows: &[WarmWindow], now: &str) -> (u32, String) {
    let (floor, next) = floors_at(windows, at(now));
    (
        floor.running,
        next.map(|at| at.to_string()).unwrap_or_default(),
    )
}

#[test]
fn a_window_moves_with_the_summer_time_of_its_zone() {
    // Sunday 2026-03-29, 02:00 becomes 03:00 in Berlin.
    let work = [window(&[0, 6], 8 * 60, 18 * 60, "Europe/Berlin")];
    let saturday = floor(&work, "2026-03-28T12:00:00Z");
    assert_eq!(saturday, (0, "2026-03-29T06:00:00.000000Z".to_owned()));
    let before = floor(&work, "2026-03-23T07:00:00Z");
    assert_eq!(before, (2, "2026-03-23T17:00:00.000000Z".to_owned()));
    let after = floor(&work, "2026-03-30T06:00:00Z");
    assert_eq!(after, (2, "2026-03-30T16:00:00.000000Z".to_owned()));
    assert_eq!(floor(&work, "2026-03-30T16:00:00Z").0, 0);
}

#[test]
fn a_window_over_the_change_of_the_clock_is_an_hour_shorter_or_longer() {
    let night = [window(&[5], 22 * 60, 6 * 60, "Europe/Berlin")];
    let spring = floor(&night, "2026-03-28T21:00:00Z");
    assert_eq!(spring, (2, "2026-03-29T04:00:00.000000Z".to_owned()));
    let autumn = floor(&night, "2026-10-24T20:00:00Z");
    assert_eq!(autumn, (2, "2026-10-25T05:00:00.000000Z".to_owned()));
    // 02:30 is left out: the window begins right behind the gap.
    let gap = [window(&[6], 150, 180, "Europe/Berlin")];
    let (held, next) = floor(&gap, "2026-03-29T00:59:00Z");
    assert_eq!(held, 0);
    assert!(next.as_str() >= "2026-03-29T01:00", "{next}");
}

#[test]
fn windows_that_overlap_give_the_highest_floor() {
    let mut high = window(&[0], 9 * 60, 10 * 60, "UTC");
    high.running = 5;
    high.asleep = 0;
    let all_day = window(&[0], 0, 1_440, "UTC");
    let (floor, next) = floors_at(&[all_day, high], MONDAY + secs(9 * HOUR));
    assert_eq!(
        floor,
        Floor {
            running: 5,
            asleep: 1
        }
    );
    assert_eq!(next, Some(MONDAY + secs(10 * HOUR)));
    let (none, next) = floors_at(&[], MONDAY);
    assert_eq!((none, next), (Floor::default(), None));
}
