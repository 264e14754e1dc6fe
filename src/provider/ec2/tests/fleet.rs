use aws_sdk_ec2::types::{CreateFleetInstance, FleetLaunchTemplateOverrides};

use super::super::request::tests::{order, resolved, subnets};
use super::super::settings::Settings;
use super::*;

fn request(market: Market) -> Request {
    let settings = Settings::new("ec2", "eu-central-1", "ours");
    Request::new(&settings, &resolved(), &subnets(), &order(market)).unwrap()
}

fn said(shape: &str, subnet: &str) -> LaunchTemplateAndOverridesResponse {
    let overrides = FleetLaunchTemplateOverrides::builder()
        .instance_type(InstanceType::from(shape))
        .subnet_id(subnet)
        .build();
    LaunchTemplateAndOverridesResponse::builder()
        .overrides(overrides)
        .build()
}

fn error(code: &str, shape: &str, subnet: &str) -> CreateFleetError {
    CreateFleetError::builder()
        .error_code(code)
        .error_message("as EC2 says it")
        .launch_template_and_overrides(said(shape, subnet))
        .build()
}

fn pool(shape: &str, zone: &str) -> Pool {
    Pool {
        shape: shape.to_owned(),
        zone: zone.to_owned(),
        market: Market::Spot,
    }
}

#[test]
fn instances_and_errors_of_one_answer_are_both_read() {
    let request = request(Market::Spot);
    let launched = CreateFleetInstance::builder()
        .instance_ids("i-2")
        .instance_ids("i-1")
        .instance_type(InstanceType::from("m6i.large"))
        .launch_template_and_overrides(said("m6i.large", "subnet-b"))
        .build();
    let answer = CreateFleetOutput::builder()
        .instances(launched)
        .errors(error(
            "InsufficientInstanceCapacity",
            "m7i.large",
            "subnet-a",
        ))
        .errors(error(
            "InsufficientInstanceCapacity",
            "m7i.large",
            "subnet-b",
        ))
        .errors(error("RequestLimitExceeded", "m6i.large", "subnet-a"))
        .build();
    let read = read(&request, request.places(), &answer);
    let ids: Vec<&str> = read.instances.iter().map(|one| one.id.0.as_str()).collect();
    assert_eq!(ids, ["i-2", "i-1"]);
    assert_eq!(
        read.instances[0].pool,
        Some(pool("m6i.large", "eu-central-1b"))
    );
    let refusals: Vec<_> = read
        .refusals
        .iter()
        .map(|refusal| (refusal.kind, refusal.pools.clone()))
        .collect();
    let empty = vec![
        pool("m7i.large", "eu-central-1a"),
        pool("m7i.large", "eu-central-1b"),
    ];
    assert_eq!(
        refusals,
        [
            (ErrorKind::PoolEmpty, empty),
            (
                ErrorKind::Throttled,
                vec![pool("m6i.large", "eu-central-1a")]
            ),
        ]
    );
}

#[test]
fn an_error_about_the_whole_fleet_is_about_all_of_its_pools() {
    let request = request(Market::Spot);
    let error = CreateFleetError::builder()
        .error_code("UnfulfillableCapacity")
        .build();
    let answer = CreateFleetOutput::builder().errors(error).build();
    let read = read(&request, request.places(), &answer);
    assert_eq!(read.refusals.len(), 1);
    assert_eq!(read.refusals[0].pools, request.pools());
}
