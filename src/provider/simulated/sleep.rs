//! Instances that are stopped with their disks kept, started again, and taken back.

use crate::model::{InstanceId, Market, Pool, Shape, Span};
use crate::provider::{ErrorKind, InstanceState, ProviderError};

use super::cloud::{Cloud, refused};
use super::fleet::dry;
use super::instance::{End, Which};
use super::trouble::Boot;

/// Operation names, as they show in errors.
const SLEEP: &str = "stop an instance";
const WAKE: &str = "start an instance";

impl Cloud {
    /// The next stops of instances are refused for these reasons, one each.
    pub fn trouble_stops(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.state().trade.stops.extend(kinds);
    }

    /// The next starts of stopped instances are refused for these reasons, one each.
    pub fn trouble_wakes(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.state().trade.wakes.extend(kinds);
    }

    /// The next stopped instances that are started come up in these ways, one each.
    pub fn wake_next(&self, boots: impl IntoIterator<Item = Boot>) {
        self.state().trade.wake_ups.extend(boots);
    }

    /// Ends an instance as somebody else would.
    pub fn end(&self, id: &InstanceId) {
        self.terminate(id);
    }

    /// Takes an instance back: with a notice so long before, or at once; whether there was one.
    pub fn reclaim(&self, which: impl Into<Which>, notice: Option<Span>) -> bool {
        let at = self.now() + notice.unwrap_or(Span::ZERO);
        let temper = self.state().temper;
        self.change(&which.into(), |vm| {
            let gone_at = at + temper.stop;
            vm.is_reclaimed = true;
            vm.end = Some(End {
                asked_at: at,
                gone_at,
                shown_until: gone_at + temper.shown_after_end,
            });
        })
    }

    /// Begins to stop an instance; harmless for one that is stopped.
    ///
    /// # Errors
    /// One that is not there, is ending, or is spare capacity cannot be stopped.
    pub fn sleep(&self, id: &InstanceId) -> Result<(), ProviderError> {
        let now = self.now();
        let mut state = self.state();
        if let Some(kind) = state.trade.stops.pop_front() {
            return Err(refused(SLEEP, kind));
        }
        let span = state.temper.fall_asleep;
        let found = state.vms.iter_mut().find(|vm| vm.id == *id);
        let Some(vm) = found.filter(|vm| !is_spot(vm.pool.as_ref())) else {
            return Err(refused(SLEEP, ErrorKind::Config));
        };
        match vm.state(now) {
            InstanceState::Pending | InstanceState::Running => vm.fall_asleep(now, span),
            InstanceState::FallingAsleep | InstanceState::Asleep => {}
            InstanceState::Stopping | InstanceState::Terminated => {
                return Err(refused(SLEEP, ErrorKind::Config));
            }
        }
        Ok(())
    }

    /// Begins to start a stopped instance; harmless for one that runs.
    ///
    /// # Errors
    /// Its pool may have no room, and one that is ending is never started.
    pub fn wake(&self, id: &InstanceId, shape: &Shape) -> Result<(), ProviderError> {
        let now = self.now();
        let mut state = self.state();
        if let Some(kind) = state.trade.wakes.pop_front() {
            return Err(refused(WAKE, kind));
        }
        let span = state.temper.wake;
        let Some(place) = state.vms.iter().position(|vm| vm.id == *id) else {
            return Err(refused(WAKE, ErrorKind::Config));
        };
        let found = state
            .vms
            .get(place)
            .map(|vm| (vm.state(now), vm.pool.clone()));
        match found {
            Some((InstanceState::Pending | InstanceState::Running, _)) => return Ok(()),
            // As long as it is stopping it cannot be started.
            Some((InstanceState::FallingAsleep, _)) => {
                return Err(refused(WAKE, ErrorKind::Throttled));
            }
            Some((InstanceState::Asleep, Some(pool))) => {
                let pool = Pool {
                    shape: shape.name.clone(),
                    market: Market::OnDemand,
                    ..pool
                };
                if !state.has_room(&pool, now) {
                    return Err(dry(WAKE, pool));
                }
            }
            Some((InstanceState::Asleep, None)) => {}
            Some((InstanceState::Stopping | InstanceState::Terminated, _)) | None => {
                return Err(refused(WAKE, ErrorKind::Config));
            }
        }
        let address = state.next_address();
        let boot = state.trade.wake_ups.pop_front();
        if let Some(vm) = state.vms.get_mut(place) {
            vm.wake(shape, address, now, boot.unwrap_or(Boot::After(span)));
        }
        Ok(())
    }
}

fn is_spot(pool: Option<&Pool>) -> bool {
    pool.is_some_and(|pool| pool.market == Market::Spot)
}
