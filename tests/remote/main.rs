//! The remote driver against real SSH servers: the machine of the local provider and stock OpenSSH,
//! with every shell that can be had as `sh` and as login shell. One suite for all of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and talks to the system directly"
)]

mod driver;
mod host;
mod jump;
mod local;
mod login;
mod notice;
mod prepared;
mod rekey;
mod run;
