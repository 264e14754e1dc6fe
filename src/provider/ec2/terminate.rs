//! Ends instances, many in a call.
//!
//! EC2 refuses a call as a whole when one of its ids is bad, so a refused batch is halved until the
//! bad ones stand alone.

use std::sync::Arc;

use super::clients::{Call, Clients};
use super::errors::Failure;
use crate::model::InstanceId;
use crate::provider::{ErrorKind, ProviderError};

/// Most ids in a call: EC2 takes 1,000, but it answers for a hundred in about a second.
pub(super) const MOST: usize = 100;

/// Ends a batch; one answer for each, in order.
pub(super) async fn terminate(
    clients: Arc<Clients>,
    ids: Vec<InstanceId>,
) -> Vec<Result<(), ProviderError>> {
    let mut answers: Vec<Result<(), ProviderError>> = Vec::with_capacity(ids.len());
    // Parts that are still to be sent, the first one last.
    let mut parts = vec![ids.as_slice()];
    while let Some(part) = parts.pop() {
        match send(&clients, part).await {
            Ok(()) => answers.extend(part.iter().map(|_| Ok(()))),
            Err(failure) if part.len() > 1 && blames_an_id(&failure) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            // Accepted: whether it is gone or not known yet, listings show, and then prove.
            Err(failure) if failure.is_not_found() => answers.push(Ok(())),
            Err(failure) => answers.extend(part.iter().map(|_| Err(failure.error.clone()))),
        }
    }
    answers
}

/// Whether others of the batch may do better without the one that EC2 does not like.
fn blames_an_id(failure: &Failure) -> bool {
    match failure.error.kind {
        ErrorKind::Config => true,
        // As when a policy allows ending some instances only.
        ErrorKind::Auth => failure.code.as_deref() == Some("UnauthorizedOperation"),
        ErrorKind::PoolEmpty
        | ErrorKind::Quota
        | ErrorKind::Address
        | ErrorKind::Throttled
        | ErrorKind::Unknown => false,
    }
}

async fn send(clients: &Clients, ids: &[InstanceId]) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    let call = Call::of_instances("TerminateInstances", "terminating instances", count);
    let ids = ids.iter().map(|id| id.0.clone()).collect();
    let request = clients
        .ec2
        .terminate_instances()
        .set_instance_ids(Some(ids));
    clients.call(call, request.send()).await?;
    Ok(())
}
