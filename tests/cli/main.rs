//! The command line as its users see it: the real program against a small model of a server.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod budgets;
mod commands;
mod fake;
mod logs;
mod program;
mod setup;
mod views;
