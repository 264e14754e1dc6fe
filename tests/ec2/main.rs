//! The `ec2` provider with real parts: the real program and the real SDK against an emulator of EC2
//! on loopback, whose instances are real OpenSSH servers that read their user data as cloud-init
//! would. Each test has an account of its own, and ends with nothing left in it.

#![cfg(feature = "ec2")]
#![cfg_attr(
    feature = "ec2",
    expect(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "these tests start processes and wait for them in real time"
    )
)]

mod boots;
mod capacity;
mod emulator;
mod faults;
mod matrix;
mod restart;
mod server;
mod setup;
mod sleep;
mod spot;
mod sweep;
