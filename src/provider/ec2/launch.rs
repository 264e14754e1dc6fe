//! Sends a recorded launch, and reads what came of it.

use std::time::Duration;

use tokio::time::sleep;

use super::clients::Clients;
use super::errors::refuse;
use super::request::{Method, Request};
use super::{fleet, run};
use crate::model::{Endpoint, InstanceId, Pool, Timestamp};
use crate::provider::{
    ErrorKind, Instance, InstanceState, LaunchAnswer, Origin, PreparedLaunch, ProviderError,
};

/// An answer that was lost is asked for again so many times, under the same token; after that the
/// books wait and a listing settles it.
const ATTEMPTS: u32 = 3;
/// Before the first repetition; then twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Sends a launch.
///
/// # Errors
/// When it failed as a whole. What failed for some pools only is in the answer.
pub(super) async fn launch(
    clients: &Clients,
    prepared: &PreparedLaunch,
) -> Result<LaunchAnswer, ProviderError> {
    let request = Request::read(prepared)?;
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match send(clients, &request, &prepared.token).await {
            Err(error) if error.kind == ErrorKind::Unknown => {
                tracing::debug!(launch.id = %request.launch, %error, "sending a launch again");
                sleep(pause).await;
                pause *= 2;
            }
            settled => return settled,
        }
    }
    send(clients, &request, &prepared.token).await
}

async fn send(
    clients: &Clients,
    request: &Request,
    token: &str,
) -> Result<LaunchAnswer, ProviderError> {
    let mut answer = match &request.method {
        Method::Run(place) => run::run(clients, request, place, token).await?,
        Method::Fleet(places) => fleet::fleet(clients, request, places, token).await?,
    };
    answer.instances.sort_by(|a, b| a.id.cmp(&b.id));
    if answer.instances.is_empty() && answer.refusals.is_empty() {
        let operation = "launching instances";
        let mut nothing = refuse(
            operation,
            ErrorKind::Unknown,
            "the answer names none, nor why",
        );
        nothing.pools = request.pools();
        return Err(nothing);
    }
    Ok(answer)
}

/// An instance of which no more is known than that it was launched.
pub(super) fn fresh(
    request: &Request,
    id: &str,
    pool: Option<Pool>,
    launched_at: Option<Timestamp>,
    endpoints: Vec<Endpoint>,
) -> Instance {
    Instance {
        id: InstanceId(id.to_owned()),
        origin: Origin::Launch(request.launch),
        state: InstanceState::Pending,
        endpoints,
        launched_at: launched_at.unwrap_or_else(|| request.decided_at()),
        pool,
        why: None,
        is_reclaimed: false,
    }
}
