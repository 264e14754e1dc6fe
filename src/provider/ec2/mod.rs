//! Machines of Amazon EC2.
//!
//! Unix machines only: user data is for cloud-init, and what arms the dead-man switch is a POSIX
//! shell script. Windows machines are out of scope.

mod ami;
mod caches;
mod clients;
mod errors;
mod pace;
mod prices;
mod reference;
mod resolve;
mod settings;
mod shapes;
mod types;

pub use settings::{AddressChoice, Settings};
