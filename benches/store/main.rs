//! Times the embedded store: `cargo bench --bench store -- [life|history|all] [builds]
//! [at once]`.
//!
//! `life` takes builds through their whole lives (insert, bind, run, finish: 18 changes in four
//! commits), one after the other and many at once. `history` fills a database with finished builds
//! and times what a person looks at. Times are of this process on this disk: compare ratios.

mod history;
mod life;
mod maker;

use anyhow::{Context, Result};
use dormouse::clock::{Clock, SystemClock};
use dormouse::model::Timestamp;

use history::history;
use life::life;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let which = words.first().map_or("all", String::as_str);
    let count: Option<u32> = words.get(1).map(|n| n.parse()).transpose()?;
    let at_once: Option<u32> = words.get(2).map(|n| n.parse()).transpose()?;
    let directory = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        if which != "history" {
            for at_once in at_once.map_or_else(|| vec![1, 4, 16, 64], |n| vec![n]) {
                let path = directory.path().join(format!("life-{at_once}"));
                life(&path, at_once, count.unwrap_or(2_000)).await?;
            }
        }
        if which != "life" {
            history(&directory.path().join("history"), count.unwrap_or(100_000)).await?;
        }
        Ok(())
    })
}

/// Processor time of this process so far, in microseconds.
fn processor_micros() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no process name")?;
    // Fields 14 and 15 of the file, in ticks of 10 ms.
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| Ok(ticks.parse::<u64>()? * 10_000)).sum()
}

fn micros_since(begin: Timestamp) -> u64 {
    SystemClock.now().since(begin).micros()
}
