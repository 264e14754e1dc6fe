//! What is known of where images can be launched: offerings, dry pools, pauses, breakers.
//!
//! Facts come from launches and from what providers resolve; the planner sees them as data of its
//! snapshot. Kept in memory: after a restart a dry pool costs one call to find out again. What money
//! has been lost to failed launches is counted from the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::{
    Billing, Image, Machine, MachineState, Market, Money, Offering, Pool, Rate, Reason, Shape,
    Span, Timestamp,
};
use crate::planner::{ImageIndex, OfferingView, PauseReason, Paused};
use crate::provider::{ErrorKind, ProviderError, Resolution};

use super::books::Books;

/// How long a pool without capacity is left alone: AWS' own advice is to try later, its clients use
/// 45 to 180 seconds (Karpenter's cache of unavailable offerings: three minutes).
pub(crate) const DRY: Span = Span::from_secs(120);
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
pub(crate) const FAILURE_WINDOW: Span = Span::from_secs(3_600);
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
pub(crate) struct Capacity {
    resolutions: BTreeMap<(String, u32), Resolution>,
    /// What each provider can do.
    skills: BTreeMap<String, Skills>,
    /// What is left alone at a provider, and until when.
    closed: BTreeMap<(String, Closed), Timestamp>,
    pauses: BTreeMap<String, Paused>,
    /// Images of which their provider made nothing when it was asked last.
    unresolved: BTreeSet<String>,
    in_a_row: BTreeMap<String, u32>,
    /// Failed launches of an image: when, and what they cost.
    failures: BTreeMap<String, VecDeque<(Timestamp, Money)>>,
    interruptions: BTreeMap<String, VecDeque<Timestamp>>,
}

/// What is closed at a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Closed {
    /// One pool.
    Pool(Pool),
    /// All pools of a zone.
    Zone(String),
    /// All pools of a market.
    Market(Market),
}

/// What a provider can do beyond launching machines one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Skills {
    /// It knows what it sells, and its launches are gathered and recorded.
    pub(crate) fleet: bool,
    /// Its machines can sleep.
    pub(crate) sleep: bool,
    /// In which pieces it bills machine time.
    pub(crate) billing: Billing,
}

impl Capacity {
    /// When a pool may have capacity again, if it is left alone.
    fn available_after(&self, provider: &str, offering: &Offering) -> Option<Timestamp> {
        let of_it = [
            Closed::Pool(offering.pool()),
            Closed::Zone(offering.zone.clone()),
            Closed::Market(offering.market),
        ];
        let until = |what| self.closed.get(&(provider.to_owned(), what));
        of_it.into_iter().filter_map(until).max().copied()
    }

    /// What a provider can do.
    pub(crate) fn skills(&self, provider: &str) -> Skills {
        self.skills.get(provider).copied().unwrap_or_default()
    }

    /// What an image version was resolved to last.
    pub(crate) fn resolution(&self, image: &Image) -> Option<&Resolution> {
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
    /// Notes what providers can do.
    pub(crate) fn know_providers(&mut self, skills: BTreeMap<String, Skills>) {
        self.capacity.skills = skills;
        self.catalogue_changed();
    }

    /// Where an image can be launched: what its provider found, or what its file lists where the
    /// provider does not know what it sells.
    pub(crate) fn offerings(&self, image: &Image) -> Vec<Offering> {
        let has_fleet = self.capacity.skills(&image.spec.provider).fleet;
        match self.capacity.resolution(image) {
            Some(resolution) if has_fleet => resolution.offerings.clone(),
            None if has_fleet => Vec::new(),
            Some(_) | None => image.spec.shapes.iter().map(listed).collect(),
        }
    }

    /// Place of a machine's own offering among those of its image. Asked at every change of a machine,
    /// under the lock: nothing is copied for it.
    pub(crate) fn place_of(&self, image: &Image, machine: &Machine) -> Option<usize> {
        let has_fleet = self.capacity.skills(&image.spec.provider).fleet;
        let (shape, zone) = (&machine.shape.name, &machine.zone);
        if has_fleet {
            let offerings = &self.capacity.resolution(image)?.offerings;
            let is_its = |o: &Offering| {
                o.market == machine.market && o.shape.name == *shape && o.zone == *zone
            };
            return offerings.iter().position(is_its);
        }
        let is_listed = machine.market == Market::OnDemand && zone.is_empty();
        let mut shapes = image.spec.shapes.iter();
        shapes.position(|listed| is_listed && listed.name == *shape)
    }

    /// The offerings of an image at the planner's places.
    pub(crate) fn offerings_at(&self, image: &Image, places: &[usize]) -> Vec<Offering> {
        let all = self.offerings(image);
        places
            .iter()
            .filter_map(|place| all.get(*place).cloned())
            .collect()
    }

    /// Notes what a provider made of an image; what it is called now if that has changed.
    pub(crate) fn resolved(&mut self, image: &Image, resolution: Resolution) -> bool {
        let key = (image.name.clone(), image.version);
        let reference = resolution.reference.clone();
        let before = self.capacity.resolutions.insert(key, resolution);
        if self.capacity.unresolved.remove(&image.name) {
            self.resume(&image.name, &[PauseReason::Refused, PauseReason::Provider]);
        }
        before.is_none_or(|before| before.reference != reference)
    }

    /// What the planner sees of an image's offerings and pauses.
    pub(crate) fn refresh_capacity(&mut self, index: ImageIndex) {
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
                vcpus: offering.shape.vcpus,
                market: offering.market,
                available_after: self
                    .capacity
                    .available_after(&image.spec.provider, offering),
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

    /// Leaves something of a provider alone until a time.
    fn close(&mut self, provider: &str, what: impl IntoIterator<Item = Closed>, until: Timestamp) {
        for what in what {
            let key = (provider.to_owned(), what);
            let after = self.capacity.closed.entry(key).or_insert(until);
            *after = until.max(*after);
        }
        self.refresh_provider(provider);
    }

    /// Draws the one consequence of a refused launch of `image` that had asked for `asked`. Gives
    /// what a person should know.
    pub(crate) fn refused(
        &mut self,
        image: &Image,
        asked: &[Pool],
        error: &ProviderError,
        now: Timestamp,
    ) -> Option<String> {
        let provider = image.spec.provider.clone();
        let named = match error.pools.as_slice() {
            [] => asked.to_vec(),
            pools => pools.to_vec(),
        };
        match error.kind {
            ErrorKind::PoolEmpty => {
                self.close(&provider, named.into_iter().map(Closed::Pool), now + DRY);
                None
            }
            ErrorKind::Address => {
                let zones: BTreeSet<String> = named.into_iter().map(|pool| pool.zone).collect();
                let closed = zones.iter().cloned().map(Closed::Zone);
                self.close(&provider, closed, now + NO_ADDRESS);
                let zones: Vec<String> = zones.into_iter().collect();
                Some(format!("no free address in {}: {error}", zones.join(", ")))
            }
            ErrorKind::Quota => {
                let markets: BTreeSet<Market> = named.iter().map(|pool| pool.market).collect();
                let words: Vec<&str> = markets.iter().map(|market| market.word()).collect();
                let note = format!("the quota of {} is used up: {error}", words.join(" and "));
                let closed = markets.into_iter().map(Closed::Market);
                self.close(&provider, closed, now + OVER_QUOTA);
                Some(note)
            }
            ErrorKind::Config => {
                self.pause_image(&image.name, PauseReason::Refused, now + REFUSED);
                Some(format!("the provider refuses it as it is: {error}"))
            }
            ErrorKind::Auth => {
                self.pause_provider(&provider, now + FORBIDDEN);
                Some(format!(
                    "provider {provider} lets us launch nothing: {error}"
                ))
            }
            // They are repeated, and blame no pool.
            ErrorKind::Throttled | ErrorKind::Unknown => None,
        }
    }

    /// Launches nothing at a provider for a time.
    fn pause_provider(&mut self, provider: &str, until: Timestamp) {
        let of_it = self
            .current_images()
            .filter(|i| i.spec.provider == provider);
        let names: Vec<String> = of_it.map(|image| image.name.clone()).collect();
        for name in names {
            self.pause_image(&name, PauseReason::Provider, until);
        }
    }

    /// Notes that a provider makes nothing of an image; whether that is news.
    pub(crate) fn not_resolved(&mut self, image: &Image) -> bool {
        self.capacity.unresolved.insert(image.name.clone())
    }

    /// A new version of an image is tried at once, whatever the one before did.
    pub(crate) fn try_anew(&mut self, image: &str) {
        self.capacity.in_a_row.remove(image);
        self.capacity.failures.remove(image);
        self.capacity.unresolved.remove(image);
        self.resume(
            image,
            &[
                PauseReason::Failures,
                PauseReason::Breaker,
                PauseReason::Refused,
            ],
        );
    }

    /// Ends the pause of an image, if it is for one of these reasons.
    fn resume(&mut self, image: &str, reasons: &[PauseReason]) {
        let pauses = &mut self.capacity.pauses;
        if pauses.get(image).is_some_and(|p| reasons.contains(&p.why)) {
            pauses.remove(image);
            let index = self.index_of(image);
            self.refresh_capacity(index);
        }
    }

    /// Launches nothing of an image for a time.
    pub(crate) fn pause_image(&mut self, image: &str, why: PauseReason, until: Timestamp) {
        self.capacity.pause(image, Paused { until, why });
        let index = self.index_of(image);
        self.refresh_capacity(index);
    }

    /// A launch of the image worked: the next ones need not wait for the failures before it.
    pub(crate) fn launch_worked(&mut self, image: &str) {
        if self.capacity.in_a_row.remove(image).is_none() {
            return;
        }
        self.resume(image, &[PauseReason::Failures]);
    }

    /// A launch of the image failed and cost `cost`: the next ones wait, the longer the more failed
    /// in a row; when failures have used up their hourly budget, until the hour allows one again.
    /// Gives what a person should know when the breaker opens.
    pub(crate) fn launch_failed(
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

    /// Counts the failed launches of the last hour anew, after a restart: those of the versions
    /// that would be launched again.
    pub(crate) fn count_failures(&mut self, mut ended: Vec<Machine>, budget: FailureBudget) {
        ended.sort_by_key(|machine| (machine.since, machine.id));
        for machine in ended {
            let (MachineState::Draining { reason, .. } | MachineState::Gone { reason }) =
                &machine.state
            else {
                continue;
            };
            let current = self.image(&machine.image).map(|image| image.version);
            let is_current = current == Some(machine.image_version);
            if !is_current || !matches!(reason, Reason::BootFailed(_)) {
                continue;
            }
            // What it did before it slept was no failure.
            let cost = if machine.builds_done == 0 {
                machine.billed
            } else {
                Money::ZERO
            };
            let failure = (machine.since, cost);
            if let Some((until, _)) = self.count_failure(&machine.image, failure, budget) {
                self.pause_image(&machine.image, PauseReason::Breaker, until);
            }
        }
    }

    /// Counts a failed launch; when and why the breaker opens, if it does.
    fn count_failure(
        &mut self,
        image: &str,
        (at, cost): (Timestamp, Money),
        budget: FailureBudget,
    ) -> Option<(Timestamp, String)> {
        let failures = self.capacity.failures.entry(image.to_owned()).or_default();
        failures.push_back((at, cost));
        failures.retain(|(then, _)| *then + FAILURE_WINDOW > at);
        let mut count = failures.len();
        let mut spent: Money = failures.iter().map(|(_, cost)| *cost).sum();
        let why = format!("{count} failed launches within the hour cost {spent}");
        let most = usize::try_from(budget.launches).unwrap_or(usize::MAX);
        // One more is allowed once enough of them are older than the hour.
        let mut opens_at = None;
        for (then, cost) in failures {
            if count < most && spent < budget.money {
                break;
            }
            count -= 1;
            spent = spent - *cost;
            opens_at = Some(*then + FAILURE_WINDOW);
        }
        Some((opens_at?, why))
    }

    /// A machine of an image is taken back: its pool is left alone, and after too many spare
    /// capacity as such. Gives what a person should know in the second case.
    pub(crate) fn taken_back(
        &mut self,
        image: &Image,
        pool: Pool,
        now: Timestamp,
        most: u32,
    ) -> Option<String> {
        let provider = image.spec.provider.clone();
        let pool = Closed::Pool(pool);
        self.close(&provider, [pool], now + INTERRUPTED_POOL);
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
        let spot = self.offerings(image).into_iter();
        let spot = spot.filter(|offering| offering.market == Market::Spot);
        let spot: Vec<Closed> = spot.map(|o| Closed::Pool(o.pool())).collect();
        self.close(&provider, spot, now + SPOT_PAUSE);
        Some(format!(
            "{count} interruptions within {INTERRUPTION_WINDOW}: no spot machines of it for {SPOT_PAUSE}"
        ))
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
