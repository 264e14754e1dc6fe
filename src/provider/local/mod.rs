//! Machines on this host: one child process per machine, running an SSH server on a loopback port.
//!
//! To the engine such a machine is a VM like any other: it has keys of its own, a home, a lease, and
//! everything that was ever started on it dies with it. The difference is isolation, of which there
//! is none: builds run as the user that runs the orchestrator. Made for trying things, for tests and
//! for small installations that trust their builds. Linux only, since it reads `/proc`.
//!
//! A machine's reference in the catalogue may hold `path` (the `PATH` of what runs on it), `shell`
//! (its login shell) and `boot_delay` (how long it pretends to boot), so that images differ.
//!
//! All state is in one directory per machine, so that any process finds all machines again; see
//! `layout`. The machine's side, which the hidden subcommand runs, is [`run_machine`].

mod layout;
mod machine;
mod process;
mod provider;
mod server;
mod tree;

pub use machine::{MachineError, run_machine};
pub use provider::LocalProvider;
