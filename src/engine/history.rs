//! Reads from the store what the forecast is made of, at the beginning of an epoch.

use std::collections::BTreeMap;

use crate::books::History;
use crate::forecast::MEMORY;
use crate::model::{Category, Money, Timestamp};
use crate::store::{CostGroup, Page, StoreError};

use super::engine::Engine;

/// Rows asked for at once.
const PAGE: u32 = 1_000;
/// Most attempts that are read: a second's work, and weeks of a busy house. Of more, the newest count.
const MOST_ATTEMPTS: usize = 50_000;
/// Most images whose standing by is read.
const MOST_IMAGES: u32 = 10_000;
/// A day: the time over which ceilings are counted.
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

impl Engine {
    /// What was within memory.
    pub(super) async fn history(&self, now: Timestamp) -> Result<History, StoreError> {
        let store = &self.parts.store;
        let since = now - MEMORY;
        let mut page = Page {
            before: None,
            limit: PAGE,
        };
        let mut attempts = Vec::new();
        loop {
            let found = store.past_attempts(page.clone()).await?;
            page.before = found.last().map(|past| past.attempt.id);
            let is_last = found.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            let all = found.len();
            let recent = found.into_iter().filter(|p| p.attempt.bound_at >= since);
            let before = attempts.len();
            attempts.extend(recent);
            let is_old = attempts.len() - before < all;
            if is_last || is_old || attempts.len() >= MOST_ATTEMPTS {
                break;
            }
        }
        Ok(History {
            attempts,
            ended: store.ended_machines(since).await?,
            standby: self.standby_today(now).await?,
        })
    }

    /// What idle machines cost today. Stretches that began yesterday are not among them: there is one
    /// at most for each machine.
    async fn standby_today(&self, now: Timestamp) -> Result<BTreeMap<String, Money>, StoreError> {
        let day = now.micros().div_euclid(DAY_MICROS) * DAY_MICROS;
        let from = Timestamp::from_micros(day);
        let rows = self
            .parts
            .store
            .costs(CostGroup::Image, from, now, MOST_IMAGES);
        let idle = rows.await?.into_iter().filter_map(|row| {
            let idle = row.by_category.get(&Category::Idle).copied()?;
            Some((row.key, idle))
        });
        Ok(idle.collect())
    }
}
