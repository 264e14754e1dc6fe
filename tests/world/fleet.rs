//! Launches of a provider with a fleet: gathered, recorded, sent until answered, settled once.

use std::collections::BTreeSet;

use dormouse::model::BuildResult::Success;
use dormouse::model::{BuildId, MachineKeys};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::{LaunchTrouble, Sale};
use dormouse::store::Store;

use super::world::{LINUX, World, secs};

/// A pipeline of so many equal builds.
pub(super) fn many(count: usize, run: &str) -> String {
    let range: Vec<String> = (0..count).map(|place| place.to_string()).collect();
    format!(
        "
name: many
builds:
  one:
    matrix: {{ place: [{}] }}
    requires: {{ sh: true }}
    steps: [\"{run}\"]
",
        range.join(", ")
    )
}

fn allow(world: &World, machines: u32) {
    world.apply_policy(&format!("{{ name: default, limits: {{ machines: {machines} }} }}"));
}

#[test]
fn a_hundred_equal_builds_are_one_call_and_a_hundred_machines() {
    let world = World::with_fleet(&[LINUX]);
    allow(&world, 100);
    let submitted = world.submit(&many(100, "sleep 60s"));
    let ids: Vec<BuildId> = submitted.accepted.builds.iter().map(|b| b.id).collect();
    world.until_word(ids[99], "running");
    assert_eq!(world.cloud.launch_calls(), 1);
    let machines = world.machines();
    let instances: BTreeSet<_> = machines.iter().map(|m| m.state.instance()).collect();
    assert_eq!((machines.len(), instances.len()), (100, 100));
    let keys: Vec<MachineKeys> = machines
        .iter()
        .map(|m| world.read(async |store| store.machine_keys(m.id).await))
        .map(|keys| keys.unwrap().unwrap())
        .collect();
    let hosts: BTreeSet<_> = keys.iter().map(|keys| &keys.host_public).collect();
    let clients: BTreeSet<_> = keys.iter().map(|keys| &keys.client_public).collect();
    assert_eq!((hosts.len(), clients.len()), (100, 100), "keys are shared");
    world.until_done();
    for id in ids {
        assert_eq!(world.result(id).0, Success);
        assert_eq!(world.attempts(id).len(), 1);
    }
    assert_eq!(world.cloud.lives().len(), 100);
}
