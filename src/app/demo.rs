//! `dormouse demo`: the whole on this host.

use anyhow::bail;

/// What `demo` may be told.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// Go on serving at the end.
    pub keep: bool,
}

/// Shows the whole on this host.
///
/// # Errors
/// Until it is written, always.
pub async fn demo(options: DemoOptions) -> anyhow::Result<()> {
    bail!("this build has no demo yet (keep: {})", options.keep)
}
