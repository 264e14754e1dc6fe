//! Floor 5: measures what the project promises. Each bench starts what it needs itself (its own
//! server with its own data directory, and its own machines), and prints one JSON object that says
//! how it was measured. Absolute times depend on the machine; compare runs on one machine only.
//!
//! Caller: `cli`, as the hidden `dormouse bench`.

mod dispatch;
mod history;
mod host;
mod idle;
mod latency;
mod logs;
mod plan;
mod quantile;
mod server;

use serde_json::Value;

/// What can be measured.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Bench {
    /// Trivial builds per second through warm machines, with the server's CPU time and the processes
    /// spawned per build
    Dispatch(dispatch::Options),
    /// From submission to the first step, and from a printed line to its follower, on a warm machine
    Latency(latency::Options),
    /// One build's log, end to end into durable storage
    Logs(logs::Options),
    /// Memory and CPU of a server with nothing to do
    Idle(idle::Options),
    /// One pass of the planner over a long queue
    Plan(plan::Options),
    /// Answers of a server with many finished builds
    History(history::Options),
}

impl Bench {
    /// Measures, and gives the figures with the method.
    ///
    /// # Errors
    /// When the server or a machine cannot be started, or a build does not end as it must.
    pub async fn run(self) -> anyhow::Result<Value> {
        match self {
            Self::Dispatch(options) => dispatch::run(&options).await,
            Self::Latency(options) => latency::run(&options).await,
            Self::Logs(options) => logs::run(&options).await,
            Self::Idle(options) => idle::run(&options).await,
            Self::Plan(options) => Ok(plan::run(&options)),
            Self::History(options) => history::run(&options).await,
        }
    }
}
