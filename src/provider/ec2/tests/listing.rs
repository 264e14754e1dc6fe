use aws_sdk_ec2::types::builders::InstanceBuilder;
use aws_sdk_ec2::types::{InstanceState as State, InstanceType, Placement, StateReason, Tag};

use super::*;
use crate::model::LaunchId;

fn settings(address: AddressChoice) -> Settings {
    let mut settings = Settings::new("ec2", "eu-central-1", "ours");
    settings.address = address;
    settings
}

fn launch() -> LaunchId {
    LaunchId::from_bits(77)
}

fn running() -> InstanceBuilder {
    let tag = Tag::builder().key(tags::LAUNCH).value(launch().to_string());
    let placement = Placement::builder()
        .availability_zone("eu-central-1a")
        .build();
    Described::builder()
        .instance_id("i-1")
        .instance_type(InstanceType::from("m7i.large"))
        .placement(placement)
        .private_ip_address("127.10.0.4")
        .public_ip_address("127.20.0.4")
        .launch_time(DateTime::from_secs(1_800_000_000))
        .state(State::builder().name(InstanceStateName::Running).build())
        .tags(tag.build())
}

fn seen(address: AddressChoice, instance: InstanceBuilder) -> Option<Instance> {
    translate(&settings(address), &instance.build())
}

#[test]
fn a_running_instance_is_told_with_its_pool_and_address() {
    let instance = seen(AddressChoice::Private, running()).unwrap();
    let expected = Instance {
        id: InstanceId("i-1".to_owned()),
        origin: Origin::Launch(launch()),
        state: InstanceState::Running,
        endpoints: vec![Endpoint {
            address: "127.10.0.4:22".parse().unwrap(),
        }],
        launched_at: Timestamp::from_micros(1_800_000_000_000_000),
        pool: Some(Pool {
            shape: "m7i.large".to_owned(),
            zone: "eu-central-1a".to_owned(),
            market: Market::OnDemand,
        }),
        why: None,
        is_reclaimed: false,
    };
    assert_eq!(instance, expected);
}

#[test]
fn addresses_are_those_that_were_chosen_in_their_order() {
    let addresses = |choice| -> Vec<String> {
        let endpoints = seen(choice, running()).unwrap().endpoints;
        endpoints
            .iter()
            .map(|one| one.address.to_string())
            .collect()
    };
    assert_eq!(addresses(AddressChoice::Private), ["127.10.0.4:22"]);
    assert_eq!(addresses(AddressChoice::Public), ["127.20.0.4:22"]);
    assert_eq!(
        addresses(AddressChoice::Both),
        ["127.10.0.4:22", "127.20.0.4:22"]
    );
}

#[test]
fn every_state_has_its_word() {
    for (name, state) in [
        (InstanceStateName::Pending, InstanceState::Pending),
        (InstanceStateName::Running, InstanceState::Running),
        (InstanceStateName::Stopping, InstanceState::FallingAsleep),
        (InstanceStateName::Stopped, InstanceState::Asleep),
        (InstanceStateName::ShuttingDown, InstanceState::Stopping),
        (InstanceStateName::Terminated, InstanceState::Terminated),
    ] {
        let instance = running().state(State::builder().name(name).build());
        assert_eq!(seen(AddressChoice::Private, instance).unwrap().state, state);
    }
}

#[test]
fn only_ec2_takes_instances_back() {
    for (code, is_reclaimed) in [
        ("Server.SpotInstanceTermination", true),
        ("Server.SpotInstanceShutdown", true),
        ("Client.UserInitiatedShutdown", false),
        ("Client.InstanceInitiatedShutdown", false),
        ("Server.InternalError", false),
    ] {
        let reason = StateReason::builder().code(code).message("so it said");
        let instance = running()
            .instance_lifecycle(InstanceLifecycleType::Spot)
            .state_reason(reason.build());
        let instance = seen(AddressChoice::Private, instance).unwrap();
        assert_eq!(instance.is_reclaimed, is_reclaimed, "{code}");
        assert_eq!(instance.why.as_deref(), Some("so it said"));
        assert_eq!(instance.pool.unwrap().market, Market::Spot);
    }
}

#[test]
fn an_instance_whose_tag_was_changed_is_left_alone() {
    let tag = Tag::builder().key(tags::LAUNCH).value("nonsense").build();
    let instance = running().set_tags(Some(vec![tag]));
    assert_eq!(seen(AddressChoice::Private, instance), None);
}
