//! What the cloud refuses, and when: droughts, outages, quotas, and launches that it does not like.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Market, Pool, Span, Timestamp};
use crate::provider::{ErrorKind, ProviderError};

use super::{Cloud, Request, Vm, refusal};
use crate::simulate::events::{Event, Taken};
use crate::simulate::faults::Refusal;

/// What is wrong, and until when.
#[derive(Debug, Default)]
pub(super) struct Weather {
    dry: BTreeMap<Pool, Timestamp>,
    out_until: Timestamp,
    /// Launches of nothing are allowed.
    forbidden_until: Timestamp,
    /// Launches of images that are refused.
    refused: BTreeMap<String, Timestamp>,
    /// Image versions that do not boot.
    bad: BTreeSet<(String, u32)>,
}

impl Weather {
    /// Whether an image version does not boot.
    pub(super) fn is_bad(&self, (image, version): (&str, u32)) -> bool {
        self.bad.contains(&(image.to_owned(), version))
    }
}

impl Cloud {
    /// Some of these pools have no capacity until a time.
    pub(in crate::simulate) fn drought(
        &mut self,
        pools: Vec<Pool>,
        percent: u32,
        until: Timestamp,
    ) {
        for pool in pools {
            if self.dice.below(100) < u64::from(percent) {
                self.weather.dry.insert(pool, until);
            }
        }
    }

    /// Takes back some of the spot machines within a minute.
    pub(in crate::simulate) fn wave(&mut self, percent: u32, at: Timestamp) {
        const LASTS: Span = Span::from_secs(60);
        for (number, vm) in &self.vms {
            let is_spot = vm.pool.market == Market::Spot && vm.ended.is_none();
            if is_spot && self.dice.below(100) < u64::from(percent) {
                let event = Event::Taken(*number, Taken::Reclaimed);
                self.later.push((at + self.dice.up_to(LASTS), event));
            }
        }
    }

    /// It answers nothing until a time.
    pub(in crate::simulate) fn outage(&mut self, until: Timestamp) {
        self.weather.out_until = self.weather.out_until.max(until);
    }

    /// It refuses launches until a time.
    pub(in crate::simulate) fn refuse(&mut self, what: &Refusal, until: Timestamp) {
        let after = match what {
            Refusal::Account => &mut self.weather.forbidden_until,
            Refusal::Image(name) => self.weather.refused.entry(name.clone()).or_default(),
        };
        *after = until.max(*after);
    }

    /// No machine of an image version will ever boot.
    pub(in crate::simulate) fn spoil(&mut self, image: &str, version: u32) {
        self.weather.bad.insert((image.to_owned(), version));
    }

    /// Why a launch is refused as a whole, if it is.
    pub(super) fn refuses(
        &mut self,
        request: &Request<'_>,
        at: Timestamp,
    ) -> Option<ProviderError> {
        if self.dice.chance(self.faults.throttles_per_mille) {
            return Some(refusal(ErrorKind::Throttled, "request limit exceeded"));
        }
        if at < self.weather.forbidden_until {
            return Some(refusal(ErrorKind::Auth, "you are not authorized"));
        }
        let refused = self.weather.refused.get(request.image.0);
        if refused.is_some_and(|until| at < *until) {
            return Some(refusal(ErrorKind::Config, "there is no such disk image"));
        }
        let zone = request.pools.first().map(|pool| pool.zone.clone())?;
        if !self.dice.chance(self.faults.no_address_per_mille) {
            return None;
        }
        let in_zone = request.pools.iter().filter(|pool| pool.zone == zone);
        Some(ProviderError {
            pools: in_zone.cloned().collect(),
            ..refusal(ErrorKind::Address, "no free address in this subnet")
        })
    }

    /// Machines that may still be launched or woken in a market.
    pub(super) fn quota_left(&self, market: Market) -> u64 {
        let Some(quota) = self.model.quota else {
            return u64::MAX;
        };
        let counts =
            |vm: &&Vm| vm.pool.market == market && vm.ended.is_none() && vm.stopped_at.is_none();
        let running = self.vms.values().filter(counts).count();
        u64::from(quota).saturating_sub(u64::try_from(running).unwrap_or(u64::MAX))
    }

    pub(super) fn is_out(&self, at: Timestamp) -> bool {
        at < self.weather.out_until
    }

    pub(super) fn is_dry(&self, pool: &Pool, at: Timestamp) -> bool {
        self.weather.dry.get(pool).is_some_and(|until| at < *until)
    }
}
