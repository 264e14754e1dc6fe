//! Floor 5: the composition root. Names every concrete type and puts the house together from the
//! configuration; `serve` runs it. Callers: `cli` and `main`.

mod house;
mod log_source;
mod serve;

pub use house::{House, Running};
pub use serve::{init_logging, serve};

/// Options of the demonstration.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// Go on serving at the end.
    pub keep: bool,
}

/// The demonstration.
pub async fn demo(_options: DemoOptions) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
