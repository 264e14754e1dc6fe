//! What an engine sees of the simulated cloud.

use async_trait::async_trait;

use super::cloud::Cloud;
use crate::model::{InstanceId, Span};
use crate::provider::{AbsenceProof, Instance, LaunchRequest, Listing, Provider, ProviderError};

/// A provider whose machines are simulated.
#[derive(Debug, Clone)]
pub struct SimulatedProvider {
    name: String,
    cloud: Cloud,
}

impl SimulatedProvider {
    /// The provider `name` in front of `cloud`.
    pub fn new(name: impl Into<String>, cloud: Cloud) -> Self {
        Self {
            name: name.into(),
            cloud,
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
}
