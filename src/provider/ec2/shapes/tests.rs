//! What is chosen and what is not, and that every refusal has a reason.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn facts(name: &str, vcpus: u32, memory_gib: u32) -> TypeFacts {
    TypeFacts {
        name: name.to_owned(),
        vcpus,
        memory_mib: memory_gib * 1_024,
        architectures: vec!["x86_64".to_owned()],
        is_current: true,
        hibernates: true,
        on_demand: true,
        spot: true,
        ..TypeFacts::default()
    }
}

fn arm(name: &str, vcpus: u32, memory_gib: u32) -> TypeFacts {
    TypeFacts {
        architectures: vec!["arm64".to_owned()],
        ..facts(name, vcpus, memory_gib)
    }
}

/// A little region: all types in zone `a`, those with `large` in their name in `b`, too.
fn region() -> Catalogue {
    let mut types = vec![
        facts("c7i.large", 2, 4),
        facts("c7i.xlarge", 4, 8),
        facts("m7i.large", 2, 8),
        facts("t3.medium", 2, 4),
        arm("c7g.large", 2, 4),
        TypeFacts {
            is_current: false,
            ..facts("m4.large", 2, 8)
        },
        TypeFacts {
            is_metal: true,
            ..facts("c7i.metal-24xl", 96, 192)
        },
        TypeFacts {
            has_accelerator: true,
            ..facts("g5.xlarge", 4, 16)
        },
        TypeFacts {
            has_local_disk: true,
            hibernates: false,
            ..facts("i4i.large", 2, 16)
        },
        TypeFacts {
            needs_ena: true,
            boot_modes: vec!["uefi".to_owned()],
            ..facts("x9.large", 2, 8)
        },
        TypeFacts {
            architectures: vec!["x86_64_mac".to_owned()],
            ..facts("mac1.metal", 12, 32)
        },
    ];
    types.sort_by(|a, b| a.name.cmp(&b.name));
    let zones = types.iter().map(|facts| {
        let both = facts.name.contains("large");
        let zones: &[&str] = if both { &["a", "b"] } else { &["a"] };
        let zones: BTreeSet<String> = zones.iter().map(|&zone| zone.to_owned()).collect();
        (facts.name.clone(), zones)
    });
    Catalogue {
        zones: zones.collect(),
        types,
    }
}

fn image() -> MachineImage {
    MachineImage {
        id: "ami-1".to_owned(),
        name: "debian".to_owned(),
        created_at: "2026-11-05T00:00:00.000Z".to_owned(),
        architecture: "x86_64".to_owned(),
        root_device: "/dev/xvda".to_owned(),
        root_gib: 8,
        ena: true,
        boot_mode: None,
        platform: "Linux/UNIX".to_owned(),
        deprecated_at: None,
    }
}

fn subnets(zones: &[&str]) -> BTreeMap<String, ZoneSubnets> {
    zones
        .iter()
        .map(|&zone| (zone.to_owned(), ZoneSubnets::default()))
        .collect()
}

fn names(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn needs<'a>(wish: &'a ShapeWish, image: &'a MachineImage) -> Needs<'a> {
    Needs {
        wish,
        image,
        hibernate: false,
        room_mib: None,
    }
}

/// The names that are chosen for a wish, or the reason why there are none.
fn chosen(wish: &ShapeWish) -> Result<String, String> {
    select(&needs(wish, &image()), &region(), &subnets(&["a", "b"])).map(|places| {
        let names: Vec<_> = places
            .iter()
            .map(|place| place.facts.name.as_str())
            .collect();
        names.join(" ")
    })
}

#[test]
fn a_wish_chooses_by_what_types_are_like() {
    let all = ShapeWish::default();
    let ordinary = "c7i.large c7i.xlarge i4i.large m7i.large t3.medium x9.large";
    assert_eq!(chosen(&all).as_deref(), Ok(ordinary));
    for (wish, expected) in [
        (
            ShapeWish {
                vcpus: Some((4, 8)),
                ..all.clone()
            },
            "c7i.xlarge",
        ),
        (
            ShapeWish {
                memory_mib: Some((8_192, 8_192)),
                ..all.clone()
            },
            "c7i.xlarge m7i.large x9.large",
        ),
        (
            ShapeWish {
                families: names(&["c7i"]),
                ..all.clone()
            },
            "c7i.large c7i.xlarge",
        ),
        (
            ShapeWish {
                families: names(&["m4", "g5"]),
                ..all.clone()
            },
            "g5.xlarge m4.large",
        ),
        (
            ShapeWish {
                local_disk: Some(true),
                ..all.clone()
            },
            "i4i.large",
        ),
        (
            ShapeWish {
                exclude: names(&["t3.*", "*.xlarge"]),
                vcpus: Some((2, 2)),
                local_disk: Some(false),
                ..all.clone()
            },
            "c7i.large m7i.large x9.large",
        ),
        (
            ShapeWish {
                types: names(&["m4.large", "c7i.metal-24xl"]),
                ..all.clone()
            },
            "m4.large c7i.metal-24xl",
        ),
    ] {
        assert_eq!(chosen(&wish).as_deref(), Ok(expected), "{wish:?}");
    }
}

#[test]
fn an_empty_choice_has_a_reason() {
    let all = ShapeWish::default();
    for (wish, expected) in [
        (
            ShapeWish {
                vcpus: Some((64, 64)),
                ..all.clone()
            },
            "no instance type fits: of 6 candidates (c7i.large, c7i.xlarge, i4i.large, m7i.large, t3.medium, …), none has 64 vCPUs",
        ),
        (
            ShapeWish {
                families: names(&["c7i"]),
                memory_mib: Some((1, 2_048)),
                ..all.clone()
            },
            "no instance type fits: of 2 candidates (c7i.large, c7i.xlarge), none has 1 to 2048 MiB of memory",
        ),
        (
            ShapeWish {
                types: names(&["c7i.lrge"]),
                ..all.clone()
            },
            "the region sells no instance type c7i.lrge",
        ),
        (
            ShapeWish {
                types: names(&["c7g.large"]),
                ..all.clone()
            },
            "the instance type c7g.large is not one that runs x86_64",
        ),
    ] {
        assert_eq!(chosen(&wish), Err(expected.to_owned()), "{wish:?}");
    }
    let wish = ShapeWish {
        types: names(&["t3.medium"]),
        ..all
    };
    let error = select(&needs(&wish, &image()), &region(), &subnets(&["b"])).unwrap_err();
    assert_eq!(
        error,
        "none of the types that fit (t3.medium) is sold in a zone of the subnets (b)"
    );
}

#[test]
fn the_ami_decides_too() {
    let wish = ShapeWish::default();
    let choose = |image: &MachineImage, hibernate, room_mib| {
        let needs = Needs {
            hibernate,
            room_mib,
            ..needs(&wish, image)
        };
        let region = region();
        let places = select(&needs, &region, &subnets(&["a"])).unwrap();
        places
            .iter()
            .map(|place| place.facts.name.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let arm = MachineImage {
        architecture: "arm64".to_owned(),
        ..image()
    };
    assert_eq!(choose(&arm, false, None), "c7g.large");
    let old = MachineImage {
        ena: false,
        ..image()
    };
    let without = "c7i.large c7i.xlarge i4i.large m7i.large t3.medium";
    assert_eq!(choose(&old, false, None), without);
    let bios = MachineImage {
        boot_mode: Some("legacy-bios".to_owned()),
        ..image()
    };
    assert_eq!(choose(&bios, false, None), without);
    assert_eq!(choose(&image(), true, Some(4_096)), "c7i.large t3.medium");
}

/// The obvious matcher: a star takes nothing, or one character and perhaps more.
fn matches_slowly(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        (['*', rest @ ..], name) => {
            matches_slowly(rest, name) || !name.is_empty() && matches_slowly(pattern, &name[1..])
        }
        ([first, pattern @ ..], [other, name @ ..]) => {
            first == other && matches_slowly(pattern, name)
        }
        ([_, ..], []) => false,
    }
}

fn wishes() -> impl Strategy<Value = ShapeWish> {
    let families = prop::sample::subsequence(vec!["c7i", "m7i", "t3", "m4", "g5", "c7g"], 0..3);
    let range = |least: u32, most: u32| {
        prop::option::of((least..=most, least..=most).prop_map(|(a, b)| (a.min(b), a.max(b))))
    };
    let exclude = prop::collection::vec("[ct3*.]{1,4}", 0..2);
    (
        range(1, 8),
        range(1_024, 32_768),
        families,
        prop::option::of(any::<bool>()),
        exclude,
    )
        .prop_map(
            |(vcpus, memory_mib, families, local_disk, exclude)| ShapeWish {
                vcpus,
                memory_mib,
                families: names(&families),
                local_disk,
                exclude,
                ..ShapeWish::default()
            },
        )
}

proptest! {
    #[test]
    fn patterns_match_as_the_obvious_matcher_says(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &name), matches_slowly(&chars(&pattern), &chars(&name)));
    }

    #[test]
    fn what_is_chosen_is_as_wished_and_nothing_that_is_so_is_left_out(wish in wishes()) {
        let (image, region, subnets) = (image(), region(), subnets(&["a", "b"]));
        let needs = needs(&wish, &image);
        let within = |range: Option<(u32, u32)>, value: u32| {
            range.is_none_or(|(least, most)| least <= value && value <= most)
        };
        let expected: Vec<&str> = region.types.iter().filter(|facts| {
            let named = wish.families.iter().any(|family| facts.name.starts_with(&format!("{family}.")));
            facts.architectures == ["x86_64"]
                && !facts.is_metal
                && (named || wish.families.is_empty() && facts.is_current && !facts.has_accelerator)
                && within(wish.vcpus, facts.vcpus)
                && within(wish.memory_mib, facts.memory_mib)
                && wish.local_disk.is_none_or(|wanted| wanted == facts.has_local_disk)
                && !wish.exclude.iter().any(|pattern| matches(pattern, &facts.name))
        }).map(|facts| facts.name.as_str()).collect();
        match select(&needs, &region, &subnets) {
            Ok(places) => {
                let chosen: Vec<_> = places.iter().map(|place| place.facts.name.as_str()).collect();
                prop_assert_eq!(chosen, expected);
                prop_assert!(places.iter().all(|place| !place.zones.is_empty()));
            }
            Err(why) => {
                prop_assert!(expected.is_empty(), "{}", why);
                prop_assert!(why.contains("none"), "{}", why);
            }
        }
    }
}
