//! What an engine sees of EC2: the port's traits, each call a step of its own file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::batch::Batcher;
use super::caches::Caches;
use super::clients::Clients;
use super::errors::refuse;
use super::interruptions::Notices;
use super::polls::Polls;
use super::reference::Resolved;
use super::request::Request;
use super::residue::{self, Sightings};
use super::settings::Settings;
use super::subnets::Subnets;
use super::terminate::{self, terminate};
use super::{console, launch, listing, resolve, sleep};
use crate::model::{Billing, ImageSpec, InstanceId, Shape, SleepKind, Span, Timestamp};
use crate::provider::{
    AbsenceProof, ErrorKind, Fleet, Instance, LaunchAnswer, LaunchOrder, LaunchRequest, Listing,
    PreparedLaunch, Provider, ProviderError, Reach, Resolution, Sleeper,
};

/// Most machines in one launch: a larger one gains nothing, and a smaller one fails in parts.
const MOST_MACHINES: usize = 100;
/// Least time between the two sightings that residue needs.
const SIGHTINGS_APART: Span = Span::from_secs(30);

type Answer = Result<(), ProviderError>;

/// Machines of one region of one account.
#[derive(Debug)]
pub struct Ec2Provider {
    settings: Settings,
    clients: Arc<Clients>,
    subnets: Subnets,
    caches: Caches,
    listings: Polls<Result<Listing, ProviderError>>,
    ends: Batcher<InstanceId, Answer>,
    notices: Option<Notices>,
    sightings: Mutex<Sightings>,
}

impl Ec2Provider {
    /// A provider with these settings. Asks nobody: wrong credentials show at the first call.
    pub async fn new(settings: Settings) -> Self {
        let clients = Arc::new(Clients::new(&settings).await);
        let ends = Batcher::new(terminate::MOST, {
            let clients = Arc::clone(&clients);
            move |ids| terminate(Arc::clone(&clients), ids)
        });
        Self {
            listings: Polls::new(settings.poll_interval.to_std()),
            notices: settings.interruption_queue.clone().map(Notices::new),
            clients,
            subnets: Subnets::default(),
            caches: Caches::default(),
            ends,
            sightings: Mutex::default(),
            settings,
        }
    }

    /// Looks whether there are credentials at all, so that a start without them fails at once and
    /// says what to set.
    ///
    /// # Errors
    /// `Auth` when there are none.
    pub async fn check_credentials(&self) -> Result<(), ProviderError> {
        self.clients.check_credentials().await
    }

    /// API calls made so far, by action.
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.clients.calls()
    }
}

#[async_trait]
impl Provider for Ec2Provider {
    fn name(&self) -> &str {
        &self.settings.name
    }

    /// EC2's listings may lag behind by minutes: its documentation tells to try for so long.
    fn absence_proof(&self) -> AbsenceProof {
        AbsenceProof {
            listings: 3,
            over: Span::from_secs(300),
        }
    }

    async fn launch(&self, _request: &LaunchRequest) -> Result<Instance, ProviderError> {
        let message = "launches on EC2 are recorded first and go through the fleet";
        Err(refuse("launching an instance", ErrorKind::Config, message))
    }

    async fn list(&self) -> Result<Listing, ProviderError> {
        self.listings
            .after_now(|| listing::list(&self.clients, &self.settings))
            .await
    }

    async fn terminate(&self, ids: &[InstanceId]) -> Vec<Answer> {
        let lost = || {
            let message = "the call came to no end";
            refuse("terminating instances", ErrorKind::Unknown, message)
        };
        let answers = self.ends.each(ids.iter().cloned()).await;
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(lost())))
            .collect()
    }

    fn fleet(&self) -> Option<&dyn Fleet> {
        Some(self)
    }

    fn billing(&self) -> Billing {
        // Linux is billed by the second, a minute at least; images that are not say so. The begun
        // second is left out: it is less than what is not known of when billing starts.
        Billing {
            quantum: Span::ZERO,
            minimum: Span::from_secs(60),
        }
    }

    fn sleeper(&self) -> Option<&dyn Sleeper> {
        Some(self)
    }

    fn reach(&self) -> Reach {
        Reach {
            jump: self.settings.jump.clone(),
            metadata_url: self.settings.metadata_url.clone(),
        }
    }

    async fn console(&self, id: &InstanceId) -> Result<Option<String>, ProviderError> {
        console::console(&self.clients, id).await
    }

    async fn interruptions(&self) -> Vec<InstanceId> {
        match &self.notices {
            Some(notices) => notices.next(&self.clients).await,
            None => std::future::pending().await,
        }
    }

    async fn sweep_residue(&self, now: Timestamp) -> Result<Vec<String>, ProviderError> {
        let seen = residue::look(&self.clients, &self.settings).await?;
        let ripe = {
            let mut sightings = self
                .sightings
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sightings.ripe(seen, now, SIGHTINGS_APART)
        };
        Ok(residue::remove(&self.clients, &ripe).await)
    }
}

#[async_trait]
impl Fleet for Ec2Provider {
    async fn resolve(&self, spec: &ImageSpec) -> Result<Resolution, ProviderError> {
        self.subnets.learn(&self.clients, &self.settings).await?;
        resolve::resolve(&self.clients, &self.settings, &self.caches, spec).await
    }

    fn most(&self) -> usize {
        MOST_MACHINES
    }

    fn prepare(&self, order: &LaunchOrder) -> Result<PreparedLaunch, ProviderError> {
        let resolved = Resolved::parse(&order.reference)?;
        let subnets = self.subnets.of(&resolved);
        Request::new(&self.settings, &resolved, &subnets, order)?.prepared()
    }

    async fn launch(&self, prepared: &PreparedLaunch) -> Result<LaunchAnswer, ProviderError> {
        launch::launch(&self.clients, prepared).await
    }
}

#[async_trait]
impl Sleeper for Ec2Provider {
    async fn sleep(&self, id: &InstanceId, how: SleepKind) -> Result<(), ProviderError> {
        sleep::sleep(&self.clients, id, how).await
    }

    async fn wake(&self, id: &InstanceId, shape: &Shape) -> Result<(), ProviderError> {
        sleep::wake(&self.clients, id, shape).await
    }
}
