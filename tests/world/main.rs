//! The whole engine over a simulated cloud with a stepped clock: scenarios as a user would tell them,
//! and the invariants of the crate page checked after every one of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod budgets;
mod cancel;
mod capacity;
mod catalogue;
mod clients;
mod faults;
mod fleet;
mod health;
mod idle;
mod invariants;
mod late;
mod launch;
mod lifetime;
mod loading;
mod logs;
mod market;
mod money;
mod quiet;
mod replays;
mod restart;
mod reuse;
mod runs;
mod schedule;
mod sleep;
mod slots;
mod spot;
mod standing;
mod store;
mod superseded;
mod tidy;
mod told;
mod world;
