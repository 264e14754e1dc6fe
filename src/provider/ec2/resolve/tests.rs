//! What is made of types, zones and prices.

use super::*;
use crate::provider::ec2::prices::SpotPrices;
use crate::provider::ec2::reference::{Root, Source, VolumeKind};
use crate::provider::ec2::types::TypeFacts;

fn reference(gib: Option<u32>, hibernate: bool) -> Reference {
    Reference {
        source: Source::Id("ami-1".to_owned()),
        root: Root {
            gib,
            ..Root::default()
        },
        hibernate,
        user_data: None,
    }
}

fn image() -> MachineImage {
    MachineImage {
        id: "ami-1".to_owned(),
        name: "debian".to_owned(),
        created_at: "2026-11-05T00:00:00.000Z".to_owned(),
        architecture: "x86_64".to_owned(),
        root_device: "/dev/xvda".to_owned(),
        root_gib: 9,
        ena: true,
        boot_mode: None,
        platform: WITHOUT_FEES.to_owned(),
        deprecated_at: None,
    }
}

fn facts(name: &str, memory_gib: u32) -> TypeFacts {
    TypeFacts {
        name: name.to_owned(),
        vcpus: 2,
        memory_mib: memory_gib * 1_024,
        on_demand: true,
        spot: true,
        ..TypeFacts::default()
    }
}

fn place<'t>(facts: &'t TypeFacts, zones: &[&'t str]) -> Place<'t> {
    Place {
        facts,
        zones: zones.to_vec(),
    }
}

fn rates(prices: &[(&str, u64)]) -> BTreeMap<String, Rate> {
    let rate =
        |&(name, micros): &(&str, u64)| (name.to_owned(), Rate::from_micros_per_hour(micros));
    prices.iter().map(rate).collect()
}

fn subnets() -> BTreeMap<String, ZoneSubnets> {
    let zone = |name: &str, public| {
        let ids = vec![format!("subnet-{name}")];
        (name.to_owned(), ZoneSubnets { ids, public })
    };
    BTreeMap::from([zone("a", false), zone("b", true), zone("c", false)])
}

#[test]
fn offerings_cost_instance_disk_and_address_and_come_cheapest_first() {
    let (small, big) = (facts("c7i.large", 4), facts("c7i.xlarge", 8));
    let places = [place(&big, &["a"]), place(&small, &["a", "b"])];
    let settings = Settings::new("ec2", "us-east-1", "test");
    let subnets = subnets();
    let on_demand = OnDemandPrices {
        rates: rates(&[("c7i.large", 100_000), ("c7i.xlarge", 200_000)]),
        source: String::new(),
    };
    let spot = SpotPrices::of(&[("c7i.large", "b", 30_000), ("c7i.xlarge", "c", 1)]);
    let resolved = resolved(&reference(None, false), &image(), &places, &subnets);
    assert_eq!(
        resolved.subnets.keys().collect::<Vec<_>>(),
        ["a", "b"],
        "only zones that are used"
    );
    let pricing = Pricing {
        settings: &settings,
        resolved: &resolved,
        subnets: &subnets,
        on_demand: &on_demand,
        spot: &spot,
    };
    let told: Vec<_> = pricing
        .of(&places)
        .iter()
        .map(|offering| {
            assert_eq!(offering.asleep.micros_per_hour(), 1_000, "the disk alone");
            let price = offering.shape.price_usd_micro_per_hour.micros_per_hour();
            format!("{} {price}", offering.pool())
        })
        .collect();
    let expected = [
        "c7i.large in b spot 36000",
        "c7i.large in a on-demand 101000",
        "c7i.large in b on-demand 106000",
        "c7i.xlarge in a on-demand 201000",
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_cheapest_types_are_taken_and_those_without_a_price_left_out() {
    let types: Vec<_> = (0..100)
        .map(|number| facts(&format!("t{number:03}.x"), 1))
        .collect();
    let prices: Vec<_> = types
        .iter()
        .zip(0_u64..)
        .skip(1)
        .map(|(facts, number)| (facts.name.as_str(), 1_000 - number))
        .collect();
    let places = || types.iter().map(|facts| place(facts, &["a"])).collect();
    let taken = cheapest(places(), &rates(&prices)).unwrap();
    assert_eq!(taken.len(), MOST_TYPES);
    let names: Vec<_> = taken
        .iter()
        .map(|place| place.facts.name.as_str())
        .collect();
    assert_eq!((names[0], names[59]), ("t099.x", "t040.x"));
    let error = cheapest(places(), &rates(&[])).unwrap_err();
    assert!(error.contains("no price is known"), "{error}");
}

#[test]
fn who_hibernates_needs_room_and_an_encrypted_disk() {
    let (small, big) = (facts("m7i.large", 8), facts("m7i.xlarge", 16));
    let places = [place(&small, &["a"]), place(&big, &["a"])];
    let awake = resolved(&reference(Some(30), false), &image(), &places, &subnets());
    assert_eq!((awake.root_gib, awake.encrypted), (30, false));
    let sleepy = resolved(&reference(None, true), &image(), &places, &subnets());
    assert_eq!(
        (sleepy.root_gib, sleepy.encrypted, sleepy.hibernate),
        (9 + 16, true, true)
    );
    let room = |gib, hibernate| room_to_hibernate(&reference(gib, hibernate), &image());
    assert_eq!(room(Some(17), true), Ok(Some(8_192)));
    assert_eq!(room(Some(17), false), Ok(None));
    assert_eq!(room(None, true), Ok(None));
    assert!(room(Some(8), false).unwrap_err().contains("needs 9GiB"));
    assert_eq!(sleepy.volume, VolumeKind::Gp3);
}
