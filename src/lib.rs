//! Dormouse: the architecture page comes here.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod ledger;
pub mod logs;
pub mod matching;
pub mod model;
pub mod planner;
pub mod provider;
pub mod remote;
pub mod spec;
pub mod store;
