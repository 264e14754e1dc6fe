use std::collections::BTreeMap;

use super::super::reference::VolumeKind;
use super::*;
use crate::model::{
    Capabilities, Image, ImageSpec, ImageState, Login, MachineId, MachineKeys, Offering, Rate,
    Shape, Span,
};

fn offering(shape: &str, zone: &str, market: Market) -> Offering {
    Offering {
        shape: Shape {
            name: shape.to_owned(),
            vcpus: 2,
            memory_mib: 8192,
            price_usd_micro_per_hour: Rate::from_micros_per_hour(96_000),
        },
        zone: zone.to_owned(),
        market,
        asleep: Rate::from_micros_per_hour(900),
    }
}

/// An order for two machines; two types in two zones make four pools.
pub(in crate::provider::ec2) fn order(market: Market) -> LaunchOrder {
    let machine = MachineId::from_bits(9);
    let mut offerings = Vec::new();
    for shape in ["m7i.large", "m6i.large"] {
        for zone in ["eu-central-1a", "eu-central-1b"] {
            offerings.push(offering(shape, zone, market));
        }
    }
    LaunchOrder {
        launch: LaunchId::from_bits(0x0190_0000_0000_u128 << 80 | 5),
        count: 2,
        image: Image {
            name: "debian".to_owned(),
            version: 3,
            state: ImageState::Active,
            spec: ImageSpec {
                description: String::new(),
                provider: "ec2".to_owned(),
                reference: serde_json::json!({ "ami": "ami-0123" }),
                login: Login {
                    user: "builder".to_owned(),
                },
                shapes: Vec::new(),
                wish: None,
                capabilities: Capabilities::default(),
                ready: None,
                probes: BTreeMap::new(),
                boot_timeout: Span::from_secs(120),
                slots: 1,
                billing: None,
            },
            applied_at: Timestamp::from_micros(0),
            rev: 1,
        },
        reference: "ami-0123".to_owned(),
        market,
        offerings,
        keys: MachineKeys {
            machine,
            host_private: Secret::new("host private".to_owned()),
            host_public: "ssh-ed25519 host".to_owned(),
            client_private: Secret::new("client private".to_owned()),
            client_public: "ssh-ed25519 client".to_owned(),
            is_shared: true,
            next: None,
        },
        lease: Span::from_secs(300),
        expires_at: Timestamp::from_micros(1_800_000_000_000_000),
    }
}

pub(in crate::provider::ec2) fn resolved() -> Resolved {
    Resolved {
        ami: "ami-0123".to_owned(),
        architecture: "x86_64".to_owned(),
        root_device: "/dev/xvda".to_owned(),
        root_gib: 30,
        volume: VolumeKind::Gp3,
        iops: Some(4_000),
        throughput: None,
        encrypted: true,
        hibernate: false,
        subnets: BTreeMap::new(),
    }
}

pub(in crate::provider::ec2) fn subnets() -> BTreeMap<String, String> {
    [("eu-central-1a", "subnet-a"), ("eu-central-1b", "subnet-b")]
        .into_iter()
        .map(|(zone, subnet)| (zone.to_owned(), subnet.to_owned()))
        .collect()
}

fn settings() -> Settings {
    let mut settings = Settings::new("ec2", "eu-central-1", "ours");
    settings.security_groups = vec!["sg-1".to_owned()];
    settings
}

fn prepared(order: &LaunchOrder) -> PreparedLaunch {
    Request::new(&settings(), &resolved(), &subnets(), order)
        .unwrap()
        .prepared()
        .unwrap()
}

#[test]
fn the_recorded_request_says_all() {
    let prepared = prepared(&order(Market::Spot));
    let mut json: serde_json::Value = serde_json::from_str(prepared.request.expose()).unwrap();
    let user_data = json["user_data"].take();
    let user_data = STANDARD.decode(user_data.as_str().unwrap()).unwrap();
    assert!(user_data.starts_with(b"#cloud-config\n"));
    let expected = serde_json::json!({
        "version": 1,
        "launch": order(Market::Spot).launch.to_string(),
        "method": { "fleet": [
            { "shape": "m7i.large", "zone": "eu-central-1a", "subnet": "subnet-a" },
            { "shape": "m7i.large", "zone": "eu-central-1b", "subnet": "subnet-b" },
            { "shape": "m6i.large", "zone": "eu-central-1a", "subnet": "subnet-a" },
            { "shape": "m6i.large", "zone": "eu-central-1b", "subnet": "subnet-b" },
        ] },
        "market": "spot",
        "count": 2,
        "image": "ami-0123",
        "user_data": null,
        "security_groups": ["sg-1"],
        "instance_profile": null,
        "public_address": false,
        "hibernate": false,
        "root": {
            "device": "/dev/xvda", "gib": 30, "volume": "gp3", "iops": 4000, "throughput": null,
            "encrypted": true,
        },
        "tags": {
            "Name": "dormouse debian",
            "dormouse:expires-at": "2027-01-15T08:00:00.000000Z",
            "dormouse:image": "debian",
            "dormouse:installation": "ours",
            "dormouse:launch": order(Market::Spot).launch.to_string(),
        },
    });
    assert_eq!(json, expected);
    let read = Request::read(&prepared).unwrap();
    assert_eq!(read.prepared().unwrap(), prepared);
}

#[test]
fn a_single_pool_goes_out_by_run_instances() {
    let mut order = order(Market::OnDemand);
    order.offerings.truncate(1);
    let request = Request::new(&settings(), &resolved(), &subnets(), &order).unwrap();
    let place = Place {
        shape: "m7i.large".to_owned(),
        zone: "eu-central-1a".to_owned(),
        subnet: "subnet-a".to_owned(),
    };
    assert_eq!(request.method, Method::Run(place));
}

#[test]
fn the_token_is_the_same_for_the_same_and_another_for_any_change() {
    let base = order(Market::Spot);
    let token = prepared(&base).token;
    assert_eq!(prepared(&base).token, token);
    assert_eq!(token.len(), 52);
    assert!(
        token
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    );
    let changes: [fn(&mut LaunchOrder); 6] = [
        |order| order.launch = LaunchId::from_bits(6),
        |order| order.count = 3,
        |order| order.image.name.push('x'),
        |order| order.offerings.truncate(3),
        |order| order.lease = Span::from_secs(301),
        |order| order.keys.client_public.push('x'),
    ];
    for change in changes {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(prepared(&other).token, token);
    }
}

#[test]
fn a_zone_without_subnet_and_an_order_without_pool_are_refused() {
    let mut order = order(Market::Spot);
    order
        .offerings
        .push(offering("m7i.large", "eu-central-1c", Market::Spot));
    let refused = Request::new(&settings(), &resolved(), &subnets(), &order).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Config);
    assert!(refused.message.contains("eu-central-1c"), "{refused}");
    order.offerings.clear();
    let refused = Request::new(&settings(), &resolved(), &subnets(), &order).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Config);
}

#[test]
fn a_request_of_another_version_is_not_guessed_at() {
    let prepared = prepared(&order(Market::Spot));
    let text = prepared.request.expose();
    for other in [
        text.replace("\"version\":1", "\"version\":2"),
        text.replace("\"market\"", "\"bazaar\""),
    ] {
        let other = PreparedLaunch {
            token: prepared.token.clone(),
            request: Secret::new(other),
        };
        let error = Request::read(&other).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(!error.message.contains("cloud"), "{error}");
    }
}

#[test]
fn the_time_of_a_decision_is_in_its_id() {
    let request = Request::new(&settings(), &resolved(), &subnets(), &order(Market::Spot)).unwrap();
    let millis = 0x0190_0000_0000_i64;
    assert_eq!(request.decided_at(), Timestamp::from_micros(millis * 1_000));
}

#[test]
fn base32_is_that_of_the_standard() {
    assert_eq!(base32(b"foobar"), "mzxw6ytboi");
    assert_eq!(base32(b""), "");
}

#[test]
fn printing_shows_no_key() {
    let request = Request::new(&settings(), &resolved(), &subnets(), &order(Market::Spot)).unwrap();
    assert!(!format!("{request:?}").contains(&request.user_data));
}
