//! The test bed of the simulator: hundreds of seeded days full of trouble, with the invariants of the
//! crate page looked at after every step. For more of them: `dormouse simulate --check --seeds 0..10000`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod demand;
mod trouble;

use dormouse::simulate::{Coverage, Situation, check};

/// As many days as fit into a minute or so of an unoptimised build, in two halves. Besides, one in which
/// the forecast changes its mind about a build while a machine is launched for it; and one in which a
/// limit hides that another image is kept by a budget.
const DAYS: [std::ops::Range<u64>; 4] = [0..112, 112..230, 406..407, 516..517];

#[test]
fn seeded_days_keep_the_invariants_and_have_seen_everything() {
    // Side by side: machines that build have two cores at least.
    let halves = DAYS.map(|seeds| std::thread::spawn(|| check(seeds, &mut |_| {})));
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
