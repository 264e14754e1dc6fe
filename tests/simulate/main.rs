//! The test bed of the simulator: hundreds of seeded days full of trouble, with the invariants of the
//! crate page looked at after every step. For more of them: `dormouse simulate --check --seeds 0..10000`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod demand;
mod trouble;

use dormouse::simulate::{Coverage, Situation, check};

/// As many days as fit into a minute or so of an unoptimised build.
const DAYS: u64 = 160;

#[test]
fn seeded_days_keep_the_invariants_and_have_seen_everything() {
    // Two halves side by side: machines that build have two cores at least.
    let half = DAYS / 2;
    let halves = [(0..half), (half..DAYS)];
    let halves = halves.map(|seeds| std::thread::spawn(move || check(seeds, &mut |_| {})));
    let mut coverage = Coverage::default();
    for half in halves {
        let seen = half.join().expect("the thread ends");
        coverage.add(&seen.unwrap_or_else(|failure| panic!("{failure}")));
    }
    let missing: Vec<Situation> = coverage.missing();
    assert!(
        missing.is_empty(),
        "situations that no day was in: {missing:?}"
    );
}
