//! `dormouse sweep`

use clap::Args;

use crate::app::{self, Sweep as Wanted, Swept};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report, usage};
use crate::clock::{Clock, SystemClock};
use crate::model::{Span, Timestamp};

/// End EC2 machines whose time is over and remove what machines left, without a server
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse sweep --dry-run
  dormouse sweep --provider us-east-1 --json

Goes by tags alone: it looks only at things tagged with the installation of a configured provider,
and ends instances whose dormouse:expires-at has passed. It sees everything twice before it touches
it, and does a bounded amount at once. It needs the configuration and rights to describe, terminate
and delete, no database and no running server: run it from cron, best on another host.

Exit code 1 when something could not be removed.

JSON: a list with one object per provider: provider, installation, done, failed, left.")]
pub(crate) struct Sweep {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Only the provider of this name
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// End what was to be gone by this time instead of by now
    #[arg(long, value_name = "TIME", value_parser = time)]
    expired_by: Option<Timestamp>,
    /// Time between the two looks at everything
    #[arg(long, value_name = "LENGTH", default_value = "10s")]
    pause: Span,
}

impl Sweep {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let loaded = ctx.config(&[])?;
        if loaded.config.providers.ec2.is_empty() {
            let hint = "describe one in providers.ec2 of dormouse.yaml, see docs/ec2.md";
            return Err(usage("no EC2 provider is configured").hint(hint).into());
        }
        let wanted = Wanted {
            dry_run: self.dry_run,
            expired_by: self.expired_by.unwrap_or_else(|| SystemClock.now()),
            pause: self.pause,
            provider: self.provider,
        };
        let swept = app::sweep(&loaded.config, &wanted)
            .await
            .map_err(|error| Report::new(Exit::Failure, "sweep", format!("{error:#}")))?;
        ctx.output.answer(&swept, |swept| draw(swept))?;
        let failed = swept.iter().any(|one| !one.failed.is_empty());
        Ok(if failed { Exit::Failure } else { Exit::Success })
    }
}

/// An instant with its time zone, as in `2026-11-21T08:00:00Z`.
fn time(text: &str) -> Result<Timestamp, String> {
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|at| Timestamp::from_micros(at.as_microsecond()))
        .map_err(|_| {
            "expected a date and time with its zone, as in 2026-11-21T08:00:00Z".to_owned()
        })
}

fn draw(swept: &[Swept]) -> String {
    let mut lines = Vec::new();
    for one in swept {
        let head = format!("{} (installation {})", one.provider, one.installation);
        if one.done.is_empty() && one.failed.is_empty() {
            lines.push(format!("{head}: nothing to do"));
            continue;
        }
        lines.push(format!("{head}:"));
        lines.extend(one.done.iter().map(|line| format!("  {line}")));
        lines.extend(one.failed.iter().map(|line| format!("  failed: {line}")));
        if one.left > 0 {
            lines.push(format!("  {} more are left for the next sweep", one.left));
        }
    }
    lines.join("\n")
}
