//! The command line as its users see it: the real program against a small model of a server.

mod commands;
mod fake;
mod logs;
mod program;
mod setup;
mod views;
