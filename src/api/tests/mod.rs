//! Every route through the router itself, on a store, a desk and logs in memory.

mod access;
mod budgets;
mod builds;
mod catalogue;
mod events;
mod fake_budgets;
mod fake_desk;
mod fake_logs;
mod fake_store;
mod log_stream;
mod logs;
mod openapi;
mod pipelines;
mod problems;
mod service;
mod serving;
mod things;
mod tokens;
mod world;
