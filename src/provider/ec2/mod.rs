//! Machines of Amazon EC2.
//!
//! A launch is written down first (`request`) and then sent, byte for byte, under a token that is a
//! hash of it (`launch`): into a single pool by `RunInstances`, into any of several by an instant
//! fleet. Every call goes through `clients`, which keeps to the account's rates (`pace`) and
//! translates errors by one table (`errors`). Listings are shared (`polls`), ends are gathered
//! (`batch`). What a machine is told before its first boot, with the switch that ends it when
//! nobody renews its lease, is in `user_data`; what machines leave behind is found by `residue`.
//!
//! Unix machines only: user data is for cloud-init, and what arms the switch is a script for POSIX
//! shells. Windows machines are out of scope.

mod ami;
mod batch;
mod caches;
mod clients;
mod console;
mod errors;
mod fleet;
mod interruptions;
mod launch;
mod listing;
mod pace;
mod polls;
mod prices;
mod provider;
mod reference;
mod request;
mod residue;
mod resolve;
mod run;
mod settings;
mod shapes;
mod sleep;
mod standalone;
mod subnets;
mod tags;
mod template;
mod terminate;
mod types;
mod user_data;

pub use provider::Ec2Provider;
pub use settings::{AddressChoice, Settings};
pub use standalone::{SweepReport, sweep_standalone};
