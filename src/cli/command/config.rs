//! `dormouse config`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, words};
use crate::cli::report::{Outcome, usage};
use crate::config::{self, Effective, Loaded, Source};

/// Check or show the configuration of a server on this host
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse config check
  dormouse config show
  dormouse config show --defaults --yaml > dormouse.yaml

Values come from, each over the one before: built-in default, configuration file, environment
(DORMOUSE_ENGINE_SWEEP_INTERVAL sets engine.sweep_interval), options of `dormouse serve`.")]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell every problem of the configuration, with file, line and column
    #[command(after_help = "\
Examples:
  dormouse config check
  dormouse config check /etc/dormouse/dormouse.yaml

JSON: {\"file\", \"warnings\"}; problems come as an error on standard error.")]
    Check {
        /// The file [default: the one that `dormouse serve` would read]
        file: Option<PathBuf>,
    },
    /// Show every setting: its value, and where that comes from
    #[command(after_help = "\
Examples:
  dormouse config show
  dormouse config show --defaults --yaml > dormouse.yaml
  dormouse config show --json | jq '.[] | select(.source.kind != \"default\")'

Secrets are never shown.

JSON: an array, an object per setting: {\"key\", \"value\", \"source\": {\"kind\", …}, \"default\",
\"variable\", \"accepts\", \"doc\", \"secret\"}.")]
    Show {
        /// As a configuration file, with the source of each value as a comment
        #[arg(long, conflicts_with_all = ["json", "output"])]
        yaml: bool,
        /// Only the built-in defaults, whatever file and environment say
        #[arg(long)]
        defaults: bool,
    },
}

impl Config {
    pub(crate) fn run(self, ctx: &Context) -> Outcome {
        match self.action {
            Action::Check { file } => check(ctx, file),
            Action::Show { yaml, defaults } => show(ctx, yaml, defaults),
        }
    }
}

fn check(ctx: &Context, file: Option<PathBuf>) -> Outcome {
    let loaded = match file {
        Some(file) => ctx.config_from(&file)?,
        None => ctx.config(&[])?,
    };
    let file = loaded.file.as_ref().map(|path| path.display().to_string());
    let answer = json!({ "file": file, "warnings": loaded.warnings });
    ctx.output.answer(&answer, |_| {
        let warnings = loaded
            .warnings
            .iter()
            .map(|line| format!("warning: {line}\n"));
        let name = file.as_deref().unwrap_or("no file, which is fine");
        warnings.collect::<String>() + &format!("ok: {name}\n")
    })?;
    Ok(Exit::Success)
}

fn show(ctx: &Context, yaml: bool, defaults: bool) -> Outcome {
    let loaded = if defaults {
        ctx.default_config()?
    } else {
        ctx.config(&[])?
    };
    if yaml {
        let text = config::yaml(&loaded.effective)
            .map_err(|error| usage(format!("cannot write the settings as YAML: {error}")))?;
        ctx.output.text(&text)?;
    } else if ctx.output.is_json() {
        let settings: Vec<Value> = loaded.effective.iter().map(as_json).collect();
        ctx.output.answer(&settings, |_| String::new())?;
    } else {
        ctx.output.text(&table(&loaded).draw(ctx.output.paper))?;
    }
    for warning in &loaded.warnings {
        ctx.output.note(&format!("warning: {warning}"));
    }
    Ok(Exit::Success)
}

fn as_json(setting: &Effective) -> Value {
    let source = match &setting.source {
        Source::Default => json!({ "kind": "default" }),
        Source::File { path, line, column } => {
            json!({ "kind": "file", "file": path, "line": line, "column": column })
        }
        Source::Environment(name) => json!({ "kind": "environment", "name": name }),
        Source::Flag(name) => json!({ "kind": "flag", "name": name }),
    };
    json!({
        "key": setting.key,
        "value": setting.value,
        "source": source,
        "default": setting.default,
        "variable": setting.variable,
        "accepts": setting.accepts,
        "doc": setting.doc,
        "secret": setting.is_secret,
    })
}

/// Settings as a table.
pub(crate) fn table(loaded: &Loaded) -> Table {
    let mut table = Table::new(&[
        column("SETTING", Fit::Whole),
        column("VALUE", Fit::Shrink),
        column("SOURCE", Fit::Shrink),
        column("WHAT IT DOES", Fit::Drop(1)),
    ]);
    for setting in &loaded.effective {
        let tone = if setting.source == Source::Default {
            Tone::Faint
        } else {
            Tone::Good
        };
        let value = setting.value.clone();
        table.row([
            (setting.key.clone(), Tone::Plain),
            (value.unwrap_or_else(|| words::NONE.to_owned()), Tone::Plain),
            (setting.source.to_string(), tone),
            (setting.doc.to_owned(), Tone::Faint),
        ]);
    }
    table
}
