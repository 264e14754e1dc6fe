//! The remote driver against real SSH servers: the machine of the local provider and stock OpenSSH,
//! with every shell that can be had as `sh` and as login shell. One suite for all of them.

mod driver;
mod host;
mod local;
mod login;
mod run;
