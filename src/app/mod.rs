//! Floor 5: the composition root. Names every concrete type and puts the house together from the
//! configuration; `serve` runs it, `demo` shows it. Callers: `cli` and `main`.

mod demo;
mod house;
mod log_source;
mod plan_folder;
mod providers;
mod serve;
#[cfg(feature = "ec2")]
mod sweep;

pub use demo::{DemoOptions, demo};
pub use house::{House, Running};
pub use serve::{init_logging, serve};
#[cfg(feature = "ec2")]
pub use sweep::{Sweep, Swept, sweep};
