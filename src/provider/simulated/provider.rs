//! What an engine sees of the simulated cloud.

use std::sync::Arc;

use async_trait::async_trait;

use super::cloud::Cloud;
use super::fleet;
use crate::model::{ImageSpec, InstanceId, Shape, SleepKind, Span, Timestamp};
use crate::provider::{
    AbsenceProof, Fleet, Instance, LaunchAnswer, LaunchOrder, LaunchRequest, Listing,
    PreparedLaunch, Provider, ProviderError, Reach, Resolution, Sleeper,
};

/// A provider whose machines are simulated.
#[derive(Debug, Clone)]
pub struct SimulatedProvider {
    name: String,
    cloud: Cloud,
    has_fleet: bool,
}

impl SimulatedProvider {
    /// The provider `name` in front of `cloud`, which launches machines one by one.
    pub fn new(name: impl Into<String>, cloud: Cloud) -> Self {
        Self {
            name: name.into(),
            cloud,
            has_fleet: false,
        }
    }

    /// The provider `name` in front of `cloud`, with a fleet and with sleep.
    pub fn with_fleet(name: impl Into<String>, cloud: Cloud) -> Self {
        Self {
            has_fleet: true,
            ..Self::new(name, cloud)
        }
    }
}

#[async_trait]
impl Provider for SimulatedProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn absence_proof(&self) -> AbsenceProof {
        // Three listings, and longer than a listing lags or a launch comes late.
        AbsenceProof {
            listings: 3,
            over: Span::from_secs(15),
        }
    }

    async fn launch(&self, request: &LaunchRequest) -> Result<Instance, ProviderError> {
        self.cloud.launch(request)
    }

    async fn list(&self) -> Result<Listing, ProviderError> {
        self.cloud.list()
    }

    async fn terminate(&self, ids: &[InstanceId]) -> Vec<Result<(), ProviderError>> {
        ids.iter()
            .map(|id| {
                self.cloud.terminate(id);
                Ok(())
            })
            .collect()
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        self.has_fleet.then_some(self as &dyn Fleet)
    }

    fn sleeper(&self) -> Option<&dyn Sleeper> {
        self.has_fleet.then_some(self as &dyn Sleeper)
    }

    fn reach(&self) -> Reach {
        // Nobody asks there: the simulated machines are told by the hand that makes trouble.
        let metadata_url = self.has_fleet.then(|| "http://{address}/".to_owned());
        Reach {
            jump: None,
            metadata_url,
        }
    }

    async fn console(&self, id: &InstanceId) -> Result<Option<String>, ProviderError> {
        Ok(self.cloud.console(id))
    }

    async fn interruptions(&self) -> Vec<InstanceId> {
        loop {
            let (announced, listeners) = {
                let mut state = self.cloud.state();
                (state.trade.announced(), Arc::clone(&state.trade.listeners))
            };
            if !announced.is_empty() {
                return announced;
            }
            listeners.notified().await;
        }
    }

    async fn sweep_residue(&self, _now: Timestamp) -> Result<Vec<String>, ProviderError> {
        Ok(self.cloud.sweep_leftovers())
    }
}

#[async_trait]
impl Fleet for SimulatedProvider {
    async fn resolve(&self, spec: &ImageSpec) -> Result<Resolution, ProviderError> {
        self.cloud.resolve(spec)
    }

    fn most(&self) -> usize {
        self.cloud.most()
    }

    fn prepare(&self, order: &LaunchOrder) -> Result<PreparedLaunch, ProviderError> {
        fleet::prepare(order)
    }

    async fn launch(&self, prepared: &PreparedLaunch) -> Result<LaunchAnswer, ProviderError> {
        self.cloud.launch_fleet(prepared)
    }
}

#[async_trait]
impl Sleeper for SimulatedProvider {
    async fn sleep(&self, id: &InstanceId, _how: SleepKind) -> Result<(), ProviderError> {
        self.cloud.sleep(id)
    }

    async fn wake(&self, id: &InstanceId, shape: &Shape) -> Result<(), ProviderError> {
        self.cloud.wake(id, shape)
    }
}
