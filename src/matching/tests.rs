use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{
    Capabilities, CapabilityValue, Constraint, Image, ImageSpec, ImageState, Login, Operator, Rate,
    Requirement, Requirements, Shape, Span, Timestamp, Version,
};

fn values(texts: &[&str]) -> CapabilityValue {
    CapabilityValue::Values(texts.iter().map(|&text| text.to_owned()).collect())
}

fn is(text: &str) -> Constraint {
    Constraint::Is(text.to_owned())
}

fn all(comparisons: &[(Operator, &str)]) -> Constraint {
    let comparisons = comparisons
        .iter()
        .map(|&(operator, text)| (operator, text.to_owned()));
    Constraint::All(comparisons.collect())
}

fn one_of(constraints: impl IntoIterator<Item = Constraint>) -> Requirement {
    Requirement::AnyOf(constraints.into_iter().collect())
}

fn map<V>(pairs: impl IntoIterator<Item = (&'static str, V)>) -> BTreeMap<String, V> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn image(name: &str, prices: &[u64], capabilities: Capabilities) -> Image {
    let shape = |price: &u64| Shape {
        name: format!("shape-{price}"),
        vcpus: 1,
        memory_mib: 512,
        price_usd_micro_per_hour: Rate::from_micros_per_hour(*price),
    };
    Image {
        name: name.to_owned(),
        version: 1,
        state: ImageState::Active,
        spec: ImageSpec {
            description: String::new(),
            provider: "local".to_owned(),
            reference: serde_json::Value::Null,
            login: Login {
                user: "builder".to_owned(),
            },
            shapes: prices.iter().map(shape).collect(),
            wish: None,
            capabilities,
            ready: None,
            probes: BTreeMap::new(),
            boot_timeout: Span::from_secs(60),
            slots: 1,
            billing: None,
        },
        applied_at: Timestamp::default(),
        rev: 0,
    }
}

/// Whether an image with `python: [..]` meets `python: requirement`.
fn python_meets(texts: &[&str], requirement: Requirement) -> bool {
    let requires = map([("python", requirement)]);
    satisfies(&requires, &map([("python", values(texts))])).is_ok()
}

#[test]
fn a_bare_version_names_a_series() {
    assert!(python_meets(&["3.11.9", "3.12.4"], one_of([is("3.12")])));
    assert!(!python_meets(&["3.120.1"], one_of([is("3.12")])));
    assert!(python_meets(&["3.11.9"], one_of([is("2.7"), is("3.11")])));
}

#[test]
fn comparisons_hold_for_one_and_the_same_value() {
    let range = all(&[(Operator::GreaterOrEqual, "3.10"), (Operator::Less, "3.12")]);
    assert!(python_meets(&["3.11.9"], one_of([range.clone()])));
    assert!(!python_meets(&["3.9.2", "3.12.4"], one_of([range])));
}

#[test]
fn not_equal_refuses_the_whole_series_and_equal_only_the_version() {
    let not = |text| one_of([all(&[(Operator::NotEqual, text)])]);
    assert!(!python_meets(&["3.10.4"], not("3.10")));
    assert!(python_meets(&["3.10.4", "3.11.0"], not("3.10")));
    assert!(python_meets(&["3.10rc1"], not("3.10")));
    let equal = |text| one_of([all(&[(Operator::Equal, text)])]);
    assert!(python_meets(&["9"], equal("9.0")));
    assert!(!python_meets(&["9.0.1"], equal("9.0")));
}

#[test]
fn texts_are_equal_or_not_but_have_no_order() {
    let debian = map([("os", values(&["debian"]))]);
    let meets = |requirement| satisfies(&map([("os", requirement)]), &debian).is_ok();
    assert!(meets(one_of([is("debian")])));
    assert!(!meets(one_of([is("deb")])));
    assert!(meets(one_of([all(&[(Operator::NotEqual, "alpine")])])));
    assert!(!meets(one_of([all(&[(Operator::NotEqual, "debian")])])));
    assert!(!meets(one_of([all(&[(Operator::GreaterOrEqual, "1")])])));
    assert!(!meets(one_of([all(&[(Operator::Less, "1")])])));
}

#[test]
fn presence_and_absence() {
    let capabilities = map([
        ("sqlite", CapabilityValue::Flag(true)),
        ("docker", CapabilityValue::Flag(false)),
        ("gcc", values(&["13.2"])),
    ]);
    let meets = |name, requirement| satisfies(&map([(name, requirement)]), &capabilities).is_ok();
    for there in ["sqlite", "gcc"] {
        assert!(meets(there, Requirement::Present), "{there}");
        assert!(!meets(there, Requirement::Absent), "{there}");
    }
    for missing in ["docker", "clang"] {
        assert!(!meets(missing, Requirement::Present), "{missing}");
        assert!(meets(missing, Requirement::Absent), "{missing}");
        assert!(!meets(missing, one_of([is("1")])), "{missing}");
    }
    assert!(!meets("sqlite", one_of([is("3")])));
}

#[test]
fn mismatches_say_what_is_needed_and_what_is_there() {
    let requires = map([
        ("docker", Requirement::Absent),
        ("gcc", Requirement::Present),
        (
            "python",
            one_of([is("2.7"), all(&[(Operator::GreaterOrEqual, "3.12")])]),
        ),
        ("sqlite", one_of([is("3.40")])),
    ]);
    let capabilities = map([
        ("docker", values(&["24.0"])),
        ("python", values(&["3.10.1", "3.11.9"])),
        ("sqlite", CapabilityValue::Flag(true)),
    ]);
    let mismatches = satisfies(&requires, &capabilities).unwrap_err();
    let texts: Vec<_> = mismatches.iter().map(Mismatch::to_string).collect();
    insta::assert_snapshot!(texts.join("\n"), @r"
    docker: needs none, has 24.0
    gcc: needs any, has none
    python: needs 2.7 or >=3.12, has 3.10.1, 3.11.9
    sqlite: needs 3.40, has yes
    ");
}

#[test]
fn requirements_are_described_in_words() {
    let requires = map([
        ("docker", Requirement::Absent),
        ("gcc", Requirement::Present),
        ("python", one_of([is("2.7"), is("3.12")])),
    ]);
    assert_eq!(describe(&requires), "no docker, gcc, python 2.7 or 3.12");
    assert_eq!(describe(&map([])), "nothing in particular");
}

#[test]
fn candidates_rank_by_price_then_by_spare_capabilities_then_by_name() {
    let sh = || ("sh", CapabilityValue::Flag(true));
    let images = [
        image("broad", &[90, 10], map([sh(), ("gcc", values(&["13"]))])),
        image("dear", &[20], map([sh()])),
        image(
            "narrow-b",
            &[10],
            map([sh(), ("tcc", CapabilityValue::Flag(false))]),
        ),
        image("narrow-a", &[10], map([sh()])),
        image("bare", &[1], map([])),
    ];
    let requires = map([("sh", Requirement::Present), ("zsh", Requirement::Absent)]);
    let matches = match_catalogue(&requires, None, images.iter());
    let ranked: Vec<_> = matches
        .candidates
        .iter()
        .map(|c| (c.image, c.spare))
        .collect();
    assert_eq!(
        ranked,
        [("narrow-a", 0), ("narrow-b", 0), ("broad", 1), ("dear", 0)]
    );
    assert_eq!(matches.refused.len(), 1);
    assert_eq!(matches.refusal(None), None);
}

#[test]
fn versions_that_may_not_be_launched_are_left_out() {
    let mut old = image("debian", &[1], map([]));
    old.state = ImageState::Superseded;
    let mut removed = image("alpine", &[1], map([]));
    removed.state = ImageState::Removed;
    let images = [old, removed];
    let matches = match_catalogue(&map([]), None, images.iter());
    assert_eq!(
        matches,
        Matches {
            candidates: vec![],
            refused: vec![]
        }
    );
}

fn catalogue() -> [Image; 5] {
    [
        image("alpine", &[1], map([("os", values(&["alpine"]))])),
        image(
            "debian",
            &[1],
            map([("python", values(&["3.11.9"])), ("os", values(&["debian"]))]),
        ),
        image("old", &[1], map([("python", values(&["2.7.18"]))])),
        image("odd", &[1], map([])),
        image("zed", &[1], map([("python", values(&["3.13"]))])),
    ]
}

#[test]
fn a_refusal_names_the_nearest_images_and_what_fails_on_each() {
    let requires = map([
        ("os", one_of([is("debian")])),
        (
            "python",
            one_of([all(&[(Operator::GreaterOrEqual, "3.12")])]),
        ),
    ]);
    let images = catalogue();
    let matches = match_catalogue(&requires, None, images.iter());
    insta::assert_snapshot!(matches.refusal(None).unwrap(), @"no image can build this; nearest: debian (python: needs >=3.12, has 3.11.9); zed (os: needs debian, has none); alpine (os: needs debian, has alpine; python: needs >=3.12, has none); and 2 more images");
}

#[test]
fn a_pinned_refusal_speaks_of_the_pin() {
    let requires = map([("python", one_of([is("3.12")]))]);
    let images = catalogue();
    let text = |pin| {
        match_catalogue(&requires, Some(pin), images.iter())
            .refusal(Some(pin))
            .unwrap()
    };
    insta::assert_snapshot!(text("debian"), @"the image it is pinned to cannot build this: debian (python: needs 3.12, has 3.11.9)");
    insta::assert_snapshot!(text("ubuntu"), @"there is no image ubuntu; images: alpine, debian, odd, old, zed");
    let none = match_catalogue(&requires, None, [].iter());
    insta::assert_snapshot!(none.refusal(None).unwrap(), @"no image can build this: the catalogue is empty");
}

#[test]
fn a_pin_leaves_one_candidate() {
    let images = catalogue();
    let matches = match_catalogue(&map([]), Some("old"), images.iter());
    assert_eq!(
        matches
            .candidates
            .iter()
            .map(|c| c.image)
            .collect::<Vec<_>>(),
        ["old"]
    );
    let other = matches.refused.first().unwrap();
    assert_eq!(other.to_string(), "alpine (image: needs old, is alpine)");
}

/// The rules of requirements, written as plainly as they can be.
fn naive(requirement: &Requirement, claim: Option<&CapabilityValue>) -> bool {
    let values = match claim {
        None | Some(CapabilityValue::Flag(false)) => return *requirement == Requirement::Absent,
        Some(CapabilityValue::Flag(true)) => return *requirement == Requirement::Present,
        Some(CapabilityValue::Values(values)) => values,
    };
    match requirement {
        Requirement::Present => true,
        Requirement::Absent => false,
        Requirement::AnyOf(constraints) => constraints.iter().any(|constraint| {
            values.iter().any(|value| match constraint {
                Constraint::Is(wanted) => naive_is(wanted, value),
                Constraint::All(all) => all.iter().all(|(op, bound)| naive_op(*op, value, bound)),
            })
        }),
    }
}

/// The prefix rule for the plain dotted numbers that the strategy below makes, by text.
fn naive_is(wanted: &str, value: &str) -> bool {
    let padded = format!("{value}.0.0.0.");
    value == wanted || padded.starts_with(&format!("{wanted}."))
}

fn naive_op(operator: Operator, value: &str, bound: &str) -> bool {
    let (left, right) = (
        Version::parse(value).unwrap(),
        Version::parse(bound).unwrap(),
    );
    match operator {
        Operator::Equal => left == right,
        Operator::NotEqual => !naive_is(bound, value),
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
    }
}

fn version_text() -> impl Strategy<Value = String> {
    prop::collection::vec(0..3_u8, 1..4).prop_map(|parts| {
        parts
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(".")
    })
}

fn capability_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn requirements() -> impl Strategy<Value = Requirements> {
    let operator =
        prop::sample::select(Operator::SIGNS.to_vec()).prop_map(|(_, operator)| operator);
    let constraint = prop_oneof![
        version_text().prop_map(Constraint::Is),
        prop::collection::vec((operator, version_text()), 1..3).prop_map(Constraint::All),
    ];
    let requirement = prop_oneof![
        Just(Requirement::Present),
        Just(Requirement::Absent),
        prop::collection::vec(constraint, 1..3).prop_map(Requirement::AnyOf),
    ];
    prop::collection::btree_map(capability_name(), requirement, 0..3)
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    let value = prop_oneof![
        any::<bool>().prop_map(CapabilityValue::Flag),
        prop::collection::vec(version_text(), 1..3).prop_map(CapabilityValue::Values),
    ];
    let capabilities = prop::collection::btree_map(capability_name(), value, 0..3);
    let prices = prop::collection::vec(1..4_u64, 1..3);
    // More than 64, so that sets span words.
    prop::collection::vec((prices, capabilities), 0..80).prop_map(|images| {
        let numbered = images.into_iter().enumerate();
        numbered
            .map(|(index, (prices, capabilities))| {
                image(&format!("i{index}"), &prices, capabilities)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn matching_agrees_with_the_naive_rules(
        images in images(),
        questions in prop::collection::vec((requirements(), prop::option::of(0..80_usize)), 1..6),
    ) {
        let mut matcher = Matcher::new(images.iter());
        for (requires, pin) in &questions {
            let pin = pin.map(|index| format!("i{index}"));
            let pin = pin.as_deref();
            let meets = |image: &&Image| {
                let claims = &image.spec.capabilities;
                pin.is_none_or(|pin| pin == image.name)
                    && requires.iter().all(|(name, need)| naive(need, claims.get(name)))
            };
            let expected: BTreeSet<&str> =
                images.iter().filter(meets).map(|image| image.name.as_str()).collect();

            let matches = match_catalogue(requires, pin, images.iter());
            let found: Vec<_> = matcher.candidates(requires, pin).collect();
            prop_assert_eq!(&found, &matches.candidates);
            prop_assert!(found.is_sorted(), "{:?}", found);
            let names: BTreeSet<&str> = found.iter().map(|candidate| candidate.image).collect();
            prop_assert_eq!(&names, &expected);
            let refused: BTreeSet<&str> = matches.refused.iter().map(|r| r.image).collect();
            prop_assert!(refused.is_disjoint(&names));
            prop_assert_eq!(refused.len() + names.len(), images.len());
            prop_assert_eq!(matches.refusal(pin).is_some(), names.is_empty());
        }
    }
}
