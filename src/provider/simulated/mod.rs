//! A cloud that exists in memory only: a model of what real ones do, at their worst.
//!
//! Instances take time to boot and to stop, replies are lost before or after their effect, listings
//! lag, leave things out or fail, instances vanish or present a wrong key, and each ends by itself
//! when its lease runs out. Its provider is one with a fleet and with sleep where that is asked for:
//! then pools have so much capacity and no more, tokens are remembered for a time, and spare capacity
//! is taken back. [`Cloud`] is the model and the hand that makes trouble;
//! [`SimulatedProvider`] is what an engine sees of it. Time comes from outside, and nothing here
//! waits: the state of an instance is a function of its history and of the time. Callers: `app` for
//! demonstrations, and tests.

mod cloud;
mod fleet;
mod instance;
mod provider;
mod sleep;
mod trouble;

pub use cloud::{Cloud, Temper};
pub use fleet::Sale;
pub use instance::{Host, Life, Which};
pub use provider::SimulatedProvider;
pub use trouble::{Boot, LaunchTrouble, ListTrouble};
