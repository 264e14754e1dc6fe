//! `dormouse serve`

use clap::Args;

use crate::app;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report, usage};
use crate::config::Flag;

/// Run the server: the orchestrator with its HTTP API
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse serve
  dormouse serve --config /etc/dormouse/dormouse.yaml
  dormouse serve --listen 127.0.0.1:0 --data-dir /tmp/try --set engine.lease=1m

On the first start it leaves an admin token in admin-token in its data directory, where this
program finds it when it runs on the same host as the same user. SIGTERM or Ctrl-C stops the server
and leaves builds running: the next start takes them up where they are.

`dormouse config show` lists all settings.")]
pub(crate) struct Serve {
    /// Address and port to listen on (`listen`)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where everything lives that must survive a restart (`data_dir`)
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Whether requests need a token: required, open (`auth`)
    #[arg(long, value_name = "WORD")]
    auth: Option<String>,
    /// Any setting by its key
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Serve {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let loaded = ctx.config(&self.flags(ctx.globals.verbose)?)?;
        app::init_logging(&loaded.config.log);
        for warning in &loaded.warnings {
            tracing::warn!(warning, "configuration");
        }
        app::serve(loaded.config)
            .await
            .map_err(|error| Report::new(Exit::Failure, "serve", format!("{error:#}")))?;
        Ok(Exit::Success)
    }

    fn flags(&self, verbosity: u8) -> Result<Vec<Flag>, Report> {
        let named = [
            ("--listen", "listen", &self.listen),
            ("--data-dir", "data_dir", &self.data_dir),
            ("--auth", "auth", &self.auth),
        ];
        let mut flags: Vec<Flag> = named
            .into_iter()
            .filter_map(|(name, key, value)| {
                Some(Flag {
                    name: name.to_owned(),
                    key: key.to_owned(),
                    value: value.clone()?,
                })
            })
            .collect();
        if verbosity > 0 {
            let level = if verbosity == 1 { "debug" } else { "trace" };
            flags.push(Flag {
                name: "--verbose".to_owned(),
                key: "log.level".to_owned(),
                value: format!("info,dormouse={level}"),
            });
        }
        for setting in &self.settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                usage(format!("--set {setting:?} lacks a value"))
                    .hint("expected a setting and a value, as in --set engine.lease=1m")
            })?;
            flags.push(Flag {
                name: "--set".to_owned(),
                key: key.to_owned(),
                value: value.to_owned(),
            });
        }
        Ok(flags)
    }
}
