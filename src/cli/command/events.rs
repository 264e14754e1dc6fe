//! `dormouse events`

use clap::Args;

use crate::api::view::{EventPage, EventView, SubjectView};
use crate::cli::client::{Client, Follow, Query};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, Tone, words};
use crate::cli::report::Outcome;

/// Events asked for at once.
const PAGE_ROWS: u32 = 200;

/// Print what happened: one line per state change, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse events --limit 20
  dormouse events --follow --subject vm_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse events --after 0 --json | jq -r 'select(.kind == \"machine_gone\") | .message'

JSON: a line per event, as in GET /api/v1/events.")]
pub(crate) struct Events {
    /// Wait for more until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only events after this number
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Only about this pipeline, build or machine (by id), image:NAME or policy:NAME
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<SubjectView>,
    /// Most events; without --after the newest
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 50)]
    limit: u32,
}

impl Events {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let mut after = match self.after {
            Some(number) => number,
            None => self.newest(&client).await?,
        };
        let mut left = self.limit;
        while left > 0 {
            let page = self.page(&client, after, left.min(PAGE_ROWS)).await?;
            for event in &page.items {
                print(event, ctx.output)?;
            }
            left -= u32::try_from(page.items.len()).unwrap_or(left).min(left);
            let is_last = page.items.is_empty() || page.next >= page.last;
            after = page.next;
            if is_last {
                break;
            }
        }
        if self.follow {
            self.follow(&client, ctx.output, after).await?;
        }
        Ok(Exit::Success)
    }

    /// The number after which the newest `limit` events come.
    async fn newest(&self, client: &Client) -> Outcome<u64> {
        let head = self.page(client, u64::MAX / 2, 1).await?;
        if self.subject.is_none() {
            return Ok(head.last.saturating_sub(self.limit.into()));
        }
        // Numbers count all events; those about one thing are few enough to walk through.
        let mut numbers = Vec::new();
        let mut after = 0;
        loop {
            let page = self.page(client, after, PAGE_ROWS).await?;
            numbers.extend(page.items.iter().map(|event| event.number));
            if page.items.is_empty() || page.next >= page.last {
                break;
            }
            after = page.next;
        }
        let first = numbers.iter().rev().nth(self.limit as usize);
        Ok(first.copied().unwrap_or(0))
    }

    async fn page(&self, client: &Client, after: u64, limit: u32) -> Outcome<EventPage> {
        let mut query = self.query(after);
        query.push(("limit", limit.to_string()));
        Ok(client.get(&["events"], &query).await?)
    }

    async fn follow(&self, client: &Client, output: Output, after: u64) -> Outcome<()> {
        let mut last = after;
        let query = self.query(after);
        let mut follow = Follow::new(client, &["events", "stream"], query, output);
        loop {
            let event = follow.next().await?;
            if event.kind != "event" {
                continue;
            }
            let event: EventView = serde_json::from_str(&event.data)
                .map_err(|error| client.garbled(&error.to_string()))?;
            if event.number > last {
                last = event.number;
                print(&event, output)?;
            }
        }
    }

    fn query(&self, after: u64) -> Query {
        let mut query = Query::from([("after", after.to_string())]);
        query.extend(
            self.subject
                .as_ref()
                .map(|subject| ("subject", subject.to_string())),
        );
        query
    }
}

fn print(event: &EventView, output: Output) -> Outcome<()> {
    if output.is_json() {
        output.json_line(event)
    } else {
        output.text(&line(event, output))
    }
}

/// An event as one line.
pub(crate) fn line(event: &EventView, output: Output) -> String {
    let at = output.paint(&event.at.to_string(), Tone::Faint);
    let subject = output.paint(&event.subject.to_string(), Tone::Active);
    let message = words::printable(&event.message);
    format!("{at} {:<18} {subject} {message}\n", event.kind)
}
