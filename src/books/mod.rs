//! Floor 3: everything that is not over, in memory, and the only ways it changes.
//!
//! `Books` hold open builds, attempts, machines, launches, the catalogue and the policies, with the
//! planner's snapshot kept in step. A `Draft` is one transaction: each change of the books is
//! recorded for the store as well. What happens is written here without effects and without waiting,
//! so that the engine, which runs real machines, and the simulator, which plays them on virtual time,
//! share every line of it: `submissions` and `wishes` (what people ask), `declarations` (images and
//! policies), `decisions` (what the planner wants), `settlement` and `machine_steps` (what becomes of
//! machines), `outcome` (what follows from an end), `capacity` (where machines can be had), `learn`
//! (what the past says of the future), `spend` and `admission` (what limits and budgets count, and ask
//! for), `waits` (what builds waited for).
//!
//! It must not read a clock, wait, or talk to anything. Callers: `engine`, `simulate`.

mod admission;
mod attempt_steps;
#[expect(
    clippy::module_inception,
    reason = "the room is named for its main piece"
)]
mod books;
mod capacity;
mod decisions;
mod declarations;
mod declared;
mod draft;
mod health;
mod in_use;
mod learn;
mod losses;
mod machine_steps;
mod outcome;
mod reuse;
mod settlement;
mod sharing;
mod spend;
mod submissions;
mod sums;
mod superseded;
mod tidy;
mod waits;
mod wishes;

pub use admission::{Approval, BudgetReport};
pub use books::DEFAULT_MAX_MACHINES;
pub use capacity::FailureBudget;

pub(crate) use admission::{Looked, NotApproved, approve, look_at_budgets, next_cap};
pub(crate) use attempt_steps::step_began;
pub(crate) use books::Books;
pub(crate) use capacity::{FAILURE_WINDOW, Skills};
pub(crate) use decisions::{Effect, WAITED, record};
pub use declarations::Applied;
pub(crate) use declarations::{apply_image, apply_policy, retire};
pub(crate) use draft::Draft;
pub(crate) use health::release;
pub use health::{ImageHealth, ShapeHealth, VersionHealth};
pub(crate) use learn::History;
pub(crate) use losses::{AfterNotice, Loss, interrupted, lost};
pub(crate) use machine_steps::{
    asleep, boot_failed, gone, is_coming, launched, not_asleep, ready, sleep_on,
};
pub(crate) use outcome::{MachineAfter, end_attempt};
pub(crate) use settlement::{not_launched, record as record_launch, settle};
pub(crate) use spend::Launched;
pub(crate) use submissions::{insert, row};
pub(crate) use superseded::supersede;
pub(crate) use tidy::not_tidied;
pub(crate) use wishes::{Ending, cancel, end_idle};
