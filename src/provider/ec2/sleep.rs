//! Stops instances with their disks kept, and starts them again, perhaps as another type.

use aws_sdk_ec2::types::{AttributeValue, Instance as Described, InstanceStateName, InstanceType};

use super::clients::{Call, Clients};
use super::errors::refuse;
use super::listing;
use crate::model::{InstanceId, Pool, Shape, SleepKind};
use crate::provider::{ErrorKind, ProviderError};

const STOPPING: &str = "stopping an instance";
const STARTING: &str = "starting an instance";

/// Stops an instance. EC2 accepts this of one that is stopped already.
pub(super) async fn sleep(
    clients: &Clients,
    id: &InstanceId,
    how: SleepKind,
) -> Result<(), ProviderError> {
    let hibernate = match how {
        SleepKind::Never => {
            let message = format!("{id} is not to sleep");
            return Err(refuse(STOPPING, ErrorKind::Config, message));
        }
        SleepKind::Stop => None,
        SleepKind::Hibernate => Some(true),
    };
    let request = clients
        .ec2
        .stop_instances()
        .instance_ids(&id.0)
        .set_hibernate(hibernate);
    let call = Call::of_instances("StopInstances", STOPPING, 1);
    clients.call(call, request.send()).await?;
    Ok(())
}

/// Starts an instance, as the given type. Where EC2 has no room for it, that is said of its pool.
pub(super) async fn wake(
    clients: &Clients,
    id: &InstanceId,
    shape: &Shape,
) -> Result<(), ProviderError> {
    let instance = look(clients, id).await?;
    let state = instance.state().and_then(|state| state.name());
    match state {
        Some(InstanceStateName::Stopped) => {}
        // Somebody, perhaps we before a crash, has started it.
        Some(InstanceStateName::Pending | InstanceStateName::Running) => return Ok(()),
        Some(InstanceStateName::Stopping) => {
            let message = format!("{id} is still on its way to sleep");
            return Err(refuse(STARTING, ErrorKind::Unknown, message));
        }
        Some(_) | None => {
            let message = format!("{id} is gone");
            return Err(refuse(STARTING, ErrorKind::Config, message));
        }
    }
    let pool = listing::pool(&instance).map(|pool| Pool {
        shape: shape.name.clone(),
        ..pool
    });
    let pools: Vec<Pool> = pool.into_iter().collect();
    if instance.instance_type().map(InstanceType::as_str) != Some(&shape.name) {
        change(clients, id, shape, &pools).await?;
    }
    let request = clients.launching.start_instances().instance_ids(&id.0);
    let call = Call::of_instances("StartInstances", STARTING, 1);
    let started = clients.call(call, request.send()).await;
    started.map(|_| ()).map_err(|failure| failure.about(pools))
}

async fn look(clients: &Clients, id: &InstanceId) -> Result<Described, ProviderError> {
    let request = clients.ec2.describe_instances().instance_ids(&id.0);
    let call = Call::new("DescribeInstances", "looking at an instance");
    let answer = clients.call(call, request.send()).await?;
    answer
        .reservations
        .unwrap_or_default()
        .into_iter()
        .flat_map(|reservation| reservation.instances.unwrap_or_default())
        .next()
        .ok_or_else(|| refuse(STARTING, ErrorKind::Unknown, format!("{id} is not listed")))
}

async fn change(
    clients: &Clients,
    id: &InstanceId,
    shape: &Shape,
    pools: &[Pool],
) -> Result<(), ProviderError> {
    let request = clients
        .ec2
        .modify_instance_attribute()
        .instance_id(&id.0)
        .instance_type(AttributeValue::builder().value(&shape.name).build());
    let call = Call::new("ModifyInstanceAttribute", "changing an instance's type");
    let changed = clients.call(call, request.send()).await;
    changed
        .map(|_| ())
        .map_err(|failure| failure.about(pools.to_vec()))
}
