//! What several commands take: the global options, and texts that stand for things and times.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::output::{ColorChoice, Format};
use crate::model::{BuildId, PipelineId, Span, Timestamp};

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
#[expect(
    clippy::doc_markdown,
    reason = "the docs are help texts, shown as they are"
)]
pub(super) struct Globals {
    /// Address of the server [default: $DORMOUSE_SERVER, else `listen` of the configuration]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) server: Option<String>,

    /// Token to show the server; better in $DORMOUSE_TOKEN or ~/.config/dormouse/token
    #[arg(long, global = true, value_name = "TOKEN", hide_default_value = true)]
    pub(super) token: Option<String>,

    /// Configuration file [default: $DORMOUSE_CONFIG, ./dormouse.yaml, ~/.config/dormouse/, /etc/dormouse/]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// How to write answers
    #[arg(long, short, global = true, value_enum, default_value_t = FormatWord::Table, value_name = "FORMAT")]
    pub(super) output: FormatWord,

    /// Short for --output json
    #[arg(long, global = true, conflicts_with = "output")]
    pub(super) json: bool,

    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(super) color: ColorChoice,

    /// Say more on standard error: -v what is done, -vv every request
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

/// How answers are written, as words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatWord {
    /// Tables and sentences for people
    Table,
    /// JSON: one value, an array for a list, a line per item for a stream
    Json,
}

impl Globals {
    /// How answers are written.
    pub(super) fn format(&self) -> Format {
        match self.output {
            FormatWord::Json => Format::Json,
            FormatWord::Table if self.json => Format::Json,
            FormatWord::Table => Format::Table,
        }
    }
}

/// A pipeline or a build, as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A pipeline by id.
    Pipeline(PipelineId),
    /// A build by id.
    Build(BuildId),
    /// The newest one: `latest`.
    Latest,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        text.parse()
            .map(Self::Pipeline)
            .or_else(|_| text.parse().map(Self::Build))
            .map_err(|_| {
                "expected the id of a pipeline (pl_…) or of a build (bld_…), or `latest`".to_owned()
            })
    }
}

/// A point in time, as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// That moment.
    At(Timestamp),
    /// So long before now.
    Ago(Span),
}

impl When {
    /// The moment.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now - span,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let midnight = |date: jiff::civil::Date| date.to_zoned(jiff::tz::TimeZone::UTC);
        let at = |time: jiff::Timestamp| Self::At(Timestamp::from_micros(time.as_microsecond()));
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        if let Ok(time) = text.parse() {
            return Ok(at(time));
        }
        text.parse()
            .and_then(midnight)
            .map(|start| at(start.timestamp()))
            .map_err(|_| {
                "expected a day in UTC (2026-11-21), a time (2026-11-21T08:00:00Z), \
                 or how long ago (7d, 12h)"
                    .to_owned()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_moments_or_spans_before_now() {
        let day: Timestamp = serde_json::from_str("\"2026-11-21T00:00:00Z\"").unwrap();
        assert_eq!("2026-11-21".parse(), Ok(When::At(day)));
        assert_eq!("2026-11-21T01:00:00+01:00".parse(), Ok(When::At(day)));
        let week: When = "7d".parse().unwrap();
        assert_eq!(week.at(day), day - Span::from_secs(7 * 86_400));
        for text in ["", "yesterday", "2026-13-01", "7"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    #[test]
    fn targets_are_ids_or_latest() {
        let build = BuildId::from_bits(7);
        assert_eq!(build.to_string().parse(), Ok(Target::Build(build)));
        assert_eq!("latest".parse(), Ok(Target::Latest));
        assert!("vm_00000000000000000000000007".parse::<Target>().is_err());
    }
}
