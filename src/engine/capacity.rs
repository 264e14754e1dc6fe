//! What is known of where images can be launched: offerings, dry pools, pauses, breakers.
//!
//! Facts come from launches and from what providers resolve; the planner sees them as data of its
//! snapshot. Kept in memory: after a restart a dry pool costs one call to find out again. What money
//! has been lost to failed launches is counted from the store.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{
    Image, Machine, MachineState, Market, Money, Offering, Pool, Rate, Reason, Shape, Span,
    Timestamp,
};
use crate::planner::{ImageIndex, OfferingView, PauseReason, Paused};
use crate::provider::{ErrorKind, ProviderError, Resolution};

use super::books::Books;

/// How long a pool without capacity is left alone: AWS' own advice is to try later, its clients use
/// 45 to 180 seconds (Karpenter's cache of unavailable offerings: three minutes).
pub(super) const DRY: Span = Span::from_secs(120);
/// How long a zone without free addresses is left alone: instances end all the time.
const NO_ADDRESS: Span = Span::from_secs(60);
/// How long a market whose quota is used up is left alone: machines of ours that end make room.
const OVER_QUOTA: Span = Span::from_secs(180);
/// How long an image that its provider refuses is left alone; a new version of it is tried at once.
const REFUSED: Span = Span::from_secs(15 * 60);
/// How long a provider that lets nothing be launched is left alone: somebody has to act first.
const FORBIDDEN: Span = Span::from_secs(60);

/// First pause of an image's launches after one failed; doubles with each failure in a row.
const FIRST_COOL_DOWN: Span = Span::from_secs(5);
/// Longest such pause: a broken image costs a launch per five minutes at most.
const LONGEST_COOL_DOWN: Span = Span::from_secs(300);

/// What failed launches are counted over.
pub(super) const FAILURE_WINDOW: Span = Span::from_secs(3_600);
/// What interruptions are counted over: they cluster within minutes (Spot-and-Scoot, 2026).
const INTERRUPTION_WINDOW: Span = Span::from_secs(600);
/// How long spare capacity is left alone after too many interruptions.
const SPOT_PAUSE: Span = Span::from_secs(1_800);
/// How long the pool of an interrupted machine is left alone: the pool that was short of capacity
/// once is so again within the hour (same source).
const INTERRUPTED_POOL: Span = Span::from_secs(900);

/// What failed launches of one image may cost in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureBudget {
    /// How many.
    pub launches: u32,
    /// How much money.
    pub money: Money,
}

/// What is known of where images can be launched.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    resolutions: BTreeMap<(String, u32), Resolution>,
    dry: BTreeMap<(String, Pool), Timestamp>,
    pauses: BTreeMap<String, Paused>,
    in_a_row: BTreeMap<String, u32>,
    /// Failed launches of an image: when, and what they cost.
    failures: BTreeMap<String, VecDeque<(Timestamp, Money)>>,
    interruptions: BTreeMap<String, VecDeque<Timestamp>>,
}

impl Capacity {
    /// What an image version was resolved to last.
    pub(super) fn resolution(&self, image: &Image) -> Option<&Resolution> {
        self.resolutions.get(&(image.name.clone(), image.version))
    }

    fn pause(&mut self, image: &str, paused: Paused) {
        let longer = self.pauses.get(image).filter(|p| p.until > paused.until);
        if longer.is_none() {
            self.pauses.insert(image.to_owned(), paused);
        }
    }
}

impl Books {
    /// Where an image can be launched: what its file lists, or what its provider found.
    pub(super) fn offerings(&self, image: &Image) -> Vec<Offering> {
        match (&image.spec.wish, self.capacity.resolution(image)) {
            (None, _) => image.spec.shapes.iter().map(listed).collect(),
            (Some(_), Some(resolution)) => resolution.offerings.clone(),
            (Some(_), None) => Vec::new(),
        }
    }

    /// The offerings of an image at the planner's places.
    pub(super) fn offerings_at(&self, image: &Image, places: &[usize]) -> Vec<Offering> {
        let all = self.offerings(image);
        places
            .iter()
            .filter_map(|place| all.get(*place).cloned())
            .collect()
    }

    /// Notes what a provider made of an image; what it is called now if that has changed.
    pub(super) fn resolved(&mut self, image: &Image, resolution: Resolution) -> bool {
        let key = (image.name.clone(), image.version);
        let reference = resolution.reference.clone();
        let before = self.capacity.resolutions.insert(key, resolution);
        if matches!(self.capacity.pauses.get(&image.name), Some(paused) if paused.why == PauseReason::Refused)
        {
            self.capacity.pauses.remove(&image.name);
        }
        before.is_none_or(|before| before.reference != reference)
    }

    /// What the planner sees of an image's offerings and pauses.
    pub(super) fn refresh_capacity(&mut self, index: ImageIndex) {
        let Some(name) = self.snapshot.image(index).map(|view| view.name.clone()) else {
            return;
        };
        let Some(image) = self.image(&name).cloned() else {
            return;
        };
        let offerings = self.offerings(&image);
        let mut zones: Vec<&str> = offerings.iter().map(|o| o.zone.as_str()).collect();
        zones.sort_unstable();
        zones.dedup();
        let mut views: Vec<OfferingView> = offerings
            .iter()
            .enumerate()
            .map(|(place, offering)| OfferingView {
                price: offering.shape.price_usd_micro_per_hour,
                market: offering.market,
                available_after: self
                    .capacity
                    .dry
                    .get(&(image.spec.provider.clone(), offering.pool()))
                    .copied(),
                zone: zones
                    .binary_search(&offering.zone.as_str())
                    .ok()
                    .and_then(|zone| u32::try_from(zone).ok())
                    .unwrap_or(u32::MAX),
                place,
            })
            .collect();
        views.sort_unstable();
        let paused = self.capacity.pauses.get(&name).copied();
        if let Some(view) = self.snapshot.images.get_mut(index.0) {
            view.offerings = views;
            view.paused = paused;
        }
    }

    /// Refreshes what the planner sees of all images of a provider.
    fn refresh_provider(&mut self, provider: &str) {
        let of_it = self
            .current_images()
            .filter(|i| i.spec.provider == provider);
        let names: Vec<String> = of_it.map(|image| image.name.clone()).collect();
        for name in names {
            let index = self.index_of(&name);
            self.refresh_capacity(index);
        }
    }

    /// Leaves pools alone until a time.
    fn close_pools(
        &mut self,
        provider: &str,
        pools: impl IntoIterator<Item = Pool>,
        until: Timestamp,
    ) {
        for pool in pools {
            let after = self
                .capacity
                .dry
                .entry((provider.to_owned(), pool))
                .or_insert(until);
            *after = until.max(*after);
        }
        self.refresh_provider(provider);
    }

    /// Draws the one consequence of a refused launch of `image` that had asked for `asked`. Gives
    /// what a person should know.
    pub(super) fn refused(
        &mut self,
        image: &Image,
        asked: &[Offering],
        error: &ProviderError,
        now: Timestamp,
    ) -> Option<String> {
        let provider = image.spec.provider.clone();
        let named = || match error.pools.as_slice() {
            [] => asked.iter().map(Offering::pool).collect::<Vec<Pool>>(),
            pools => pools.to_vec(),
        };
        match error.kind {
            ErrorKind::PoolEmpty => {
                self.close_pools(&provider, named(), now + DRY);
                None
            }
            ErrorKind::Address => {
                let zones: Vec<String> = named().into_iter().map(|pool| pool.zone).collect();
                let pools = self.pools_where(&provider, |pool| zones.contains(&pool.zone));
                self.close_pools(&provider, pools, now + NO_ADDRESS);
                Some(format!("no free address in {}: {error}", zones.join(", ")))
            }
            ErrorKind::Quota => {
                let markets: Vec<Market> = named().into_iter().map(|pool| pool.market).collect();
                let pools = self.pools_where(&provider, |pool| markets.contains(&pool.market));
                self.close_pools(&provider, pools, now + OVER_QUOTA);
                Some(format!("a quota of the account is used up: {error}"))
            }
            ErrorKind::Config => {
                self.pause_image(&image.name, PauseReason::Refused, now + REFUSED);
                Some(format!("the provider refuses it as it is: {error}"))
            }
            ErrorKind::Auth => {
                let of_it = self
                    .current_images()
                    .filter(|i| i.spec.provider == provider);
                let names: Vec<String> = of_it.map(|image| image.name.clone()).collect();
                for name in names {
                    self.pause_image(&name, PauseReason::Provider, now + FORBIDDEN);
                }
                Some(format!(
                    "provider {provider} lets us launch nothing: {error}"
                ))
            }
            // They are repeated, and blame no pool.
            ErrorKind::Throttled | ErrorKind::Unknown => None,
        }
    }

    /// All pools of a provider's images like this.
    fn pools_where(&self, provider: &str, wanted: impl Fn(&Pool) -> bool) -> Vec<Pool> {
        let of_it = self
            .current_images()
            .filter(|i| i.spec.provider == provider);
        let pools = of_it
            .flat_map(|image| self.offerings(image))
            .map(|o| o.pool());
        pools.filter(wanted).collect()
    }

    /// Whether launches of an image are paused.
    pub(super) fn is_paused(&self, image: &str, now: Timestamp) -> bool {
        let paused = self.capacity.pauses.get(image);
        paused.is_some_and(|paused| now < paused.until)
    }

    /// Launches nothing of an image for a time.
    pub(super) fn pause_image(&mut self, image: &str, why: PauseReason, until: Timestamp) {
        self.capacity.pause(image, Paused { until, why });
        let index = self.index_of(image);
        self.refresh_capacity(index);
    }

    /// A launch of the image worked: the next ones need not wait for the failures before it.
    pub(super) fn launch_worked(&mut self, image: &str) {
        if self.capacity.in_a_row.remove(image).is_none() {
            return;
        }
        let pauses = &mut self.capacity.pauses;
        if pauses
            .get(image)
            .is_some_and(|p| p.why == PauseReason::Failures)
        {
            pauses.remove(image);
        }
        let index = self.index_of(image);
        self.refresh_capacity(index);
    }

    /// A launch of the image failed and cost `cost`: the next ones wait, the longer the more failed
    /// in a row; when failures have used up their hourly budget, until the hour allows one again.
    /// Gives what a person should know when the breaker opens.
    pub(super) fn launch_failed(
        &mut self,
        image: &str,
        (now, cost): (Timestamp, Money),
        budget: FailureBudget,
    ) -> Option<String> {
        let in_a_row = self.capacity.in_a_row.entry(image.to_owned()).or_default();
        *in_a_row += 1;
        let doubled = FIRST_COOL_DOWN.micros() << (*in_a_row - 1).min(16);
        let wait = Span::from_micros(doubled).min(LONGEST_COOL_DOWN);
        let opened = self.count_failure(image, (now, cost), budget);
        self.pause_image(image, PauseReason::Failures, now + wait);
        let (until, why) = opened?;
        self.pause_image(image, PauseReason::Breaker, until);
        Some(format!("its breaker is open until {until}: {why}"))
    }

    /// Counts the failed launches of the last hour anew, after a restart.
    pub(super) fn count_failures(&mut self, ended: &[Machine], budget: FailureBudget) {
        for machine in ended {
            let (MachineState::Draining { reason, .. } | MachineState::Gone { reason }) =
                &machine.state
            else {
                continue;
            };
            if !matches!(reason, Reason::BootFailed(_)) {
                continue;
            }
            let failure = (machine.since, machine.billed);
            if let Some((until, _)) = self.count_failure(&machine.image, failure, budget) {
                self.pause_image(&machine.image, PauseReason::Breaker, until);
            }
        }
    }

    /// Counts a failed launch; when and why the breaker opens, if it does.
    pub(super) fn count_failure(
        &mut self,
        image: &str,
        (at, cost): (Timestamp, Money),
        budget: FailureBudget,
    ) -> Option<(Timestamp, String)> {
        let failures = self.capacity.failures.entry(image.to_owned()).or_default();
        failures.push_back((at, cost));
        failures.retain(|(then, _)| *then + FAILURE_WINDOW > at);
        let count = failures.len();
        let spent: Money = failures.iter().map(|(_, cost)| *cost).sum();
        let too_many = count >= usize::try_from(budget.launches).unwrap_or(usize::MAX);
        if !too_many && spent < budget.money {
            return None;
        }
        let oldest = failures.front().map_or(at, |(then, _)| *then);
        let why = format!("{count} failed launches within the hour cost {spent}");
        Some((oldest + FAILURE_WINDOW, why))
    }

    /// A machine of an image is taken back: its pool is left alone, and after too many spare
    /// capacity as such. Gives what a person should know in the second case.
    pub(super) fn taken_back(
        &mut self,
        image: &Image,
        pool: Pool,
        now: Timestamp,
        most: u32,
    ) -> Option<String> {
        let provider = image.spec.provider.clone();
        self.close_pools(&provider, [pool], now + INTERRUPTED_POOL);
        let seen = self
            .capacity
            .interruptions
            .entry(image.name.clone())
            .or_default();
        seen.push_back(now);
        seen.retain(|then| *then + INTERRUPTION_WINDOW > now);
        if seen.len() < usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        let count = seen.len();
        seen.clear();
        let offerings = self.offerings(image).into_iter();
        let spot = offerings
            .map(|o| o.pool())
            .filter(|pool| pool.market == Market::Spot);
        let spot: Vec<Pool> = spot.collect();
        self.close_pools(&provider, spot, now + SPOT_PAUSE);
        Some(format!(
            "{count} interruptions within {INTERRUPTION_WINDOW}: no spot machines of it for {SPOT_PAUSE}"
        ))
    }

    /// A pool had no capacity for waking a machine.
    pub(super) fn no_wake(&mut self, provider: &str, pool: Pool, now: Timestamp) {
        self.close_pools(provider, [pool], now + DRY);
    }
}

/// A shape of an image file, which has one price and no zones.
fn listed(shape: &Shape) -> Offering {
    Offering {
        shape: shape.clone(),
        zone: String::new(),
        market: Market::OnDemand,
        asleep: Rate::default(),
    }
}
