//! Image and policy files, and the examples of the repository.

mod properties;

use std::fmt::Write as _;

use super::*;
use crate::matching::{Matcher, match_catalogue};
use crate::model::{
    Image, ImageSpec, ImageState, MarketChoice, PolicySpec, ShapeWish, SleepKind, Span, Timestamp,
};

const PIPELINES: [&str; 2] = [
    include_str!("../../docs/examples/hello.yaml"),
    include_str!("../../docs/examples/python-matrix.yaml"),
];
const IMAGES: [(&str, &str); 4] = [
    (
        "alpine-python",
        include_str!("../../images/local/alpine-python.yaml"),
    ),
    (
        "alpine-shell",
        include_str!("../../images/local/alpine-shell.yaml"),
    ),
    (
        "debian-python",
        include_str!("../../images/local/debian-python.yaml"),
    ),
    (
        "debian-rust",
        include_str!("../../images/local/debian-rust.yaml"),
    ),
];
const DEFAULT_POLICY: &str = include_str!("../../policies/default.yaml");

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn image(text: &str) -> (String, ImageSpec) {
    parse_image(text).unwrap_or_else(|problems| panic!("{text}\n{}", lines(&problems)))
}

fn policy(text: &str) -> (String, PolicySpec) {
    parse_policy(text).unwrap_or_else(|problems| panic!("{text}\n{}", lines(&problems)))
}

#[test]
fn the_example_pipelines_can_be_built_by_the_example_images() {
    let images = IMAGES.map(|(name, text)| Image {
        name: name.to_owned(),
        version: 1,
        state: ImageState::Active,
        spec: image(text).1,
        applied_at: Timestamp::default(),
        released_at: None,
        rev: 0,
    });
    let hello = parse_pipeline(PIPELINES[0], &PipelineLimits::default()).unwrap();
    let sorted = match_catalogue(&hello.builds[0].requires, None, images.iter());
    let ranked: Vec<_> = sorted
        .candidates
        .iter()
        .map(|candidate| candidate.image)
        .collect();
    assert_eq!(
        ranked,
        [
            "alpine-python",
            "alpine-shell",
            "debian-python",
            "debian-rust"
        ]
    );

    let matrix = parse_pipeline(PIPELINES[1], &PipelineLimits::default()).unwrap();
    let mut matcher = Matcher::new(images.iter());
    let first = |build: &BuildDraft| {
        let best = matcher.candidates(&build.requires, None).next();
        format!("{}: {}", build.name, best.map_or("none", |best| best.image))
    };
    let shown = matrix
        .builds
        .iter()
        .map(first)
        .collect::<Vec<_>>()
        .join("\n");
    insta::assert_snapshot!(shown);
}

#[test]
fn the_example_images_are_read() {
    for (name, text) in IMAGES {
        assert_eq!(image(text).0, name);
    }
    insta::assert_yaml_snapshot!(image(IMAGES[2].1));
}

#[test]
fn the_example_images_of_ec2_say_what_sizes_must_be_like() {
    for (name, text) in [
        (
            "debian12-databases",
            include_str!("../../images/ec2/debian12-databases.yaml"),
        ),
        (
            "debian12-python",
            include_str!("../../images/ec2/debian12-python.yaml"),
        ),
        (
            "ubuntu2404-databases",
            include_str!("../../images/ec2/ubuntu2404-databases.yaml"),
        ),
        (
            "ubuntu2404-python",
            include_str!("../../images/ec2/ubuntu2404-python.yaml"),
        ),
    ] {
        let (found, spec) = image(text);
        assert_eq!(found, name);
        assert!(spec.wish.is_some() && spec.shapes.is_empty(), "{name}");
    }
}

/// The YAML blocks of a page.
fn blocks(page: &str) -> Vec<&str> {
    let pieces = page.split("```yaml\n").skip(1);
    pieces
        .filter_map(|piece| Some(piece.split_once("\n```")?.0))
        .collect()
}

#[test]
fn the_documentation_is_true() {
    let pipelines = blocks(include_str!("../../docs/pipelines.md"));
    let drafts: Vec<_> = pipelines
        .iter()
        .map(|text| {
            let draft = parse_pipeline(text, &PipelineLimits::default());
            draft.unwrap_or_else(|problems| panic!("{text}\n{}", lines(&problems)))
        })
        .collect();
    let [_, matrix] = &drafts[..] else {
        panic!("{} pipelines", drafts.len());
    };
    let names: Vec<_> = matrix
        .builds
        .iter()
        .map(|build| build.name.as_str())
        .collect();
    let told = [
        "test (apple, cat, pink)",
        "test (apple, dog)",
        "test (pear, cat, pink)",
        "test (banana)",
    ];
    assert_eq!(names, told);
    assert_eq!(matrix.builds[3].steps[0].run, "echo banana nobody");

    let images = blocks(include_str!("../../docs/images.md"));
    assert_eq!(
        images.iter().map(|text| image(text).0).collect::<Vec<_>>(),
        ["debian-python", "debian-ec2"]
    );
    let policies = blocks(include_str!("../../docs/policies.md"));
    assert_eq!(
        policies
            .iter()
            .map(|text| policy(text).0)
            .collect::<Vec<_>>(),
        ["web", "budgeted", "around-the-clock"]
    );
}

#[test]
fn the_default_policy_is_read() {
    insta::assert_yaml_snapshot!(policy(DEFAULT_POLICY));
}

#[test]
fn a_small_image_has_the_defaults() {
    let (_, spec) = image(
        "name: i\nprovider: ec2\nlogin: {user: u}\nshapes: [{name: s, vcpus: 1, memory: 1GiB, price: $0.5/h}]\n\
         capabilities: {}\nreference: {ami: ami-1, tags: [a, 3, 3.10, true, ~]}\n",
    );
    assert_eq!(spec.boot_timeout.to_string(), "3m");
    assert_eq!((spec.description.as_str(), spec.ready), ("", None));
    assert_eq!(
        spec.reference.to_string(),
        r#"{"ami":"ami-1","tags":["a",3,"3.10",true,null]}"#
    );
    assert_eq!(spec.shapes[0].memory_mib, 1_024);
}

/// An image whose sizes are said by the given map.
fn image_of_sizes(shapes: &str) -> String {
    format!("name: i\nprovider: ec2\nlogin: {{user: u}}\nshapes: {shapes}\ncapabilities: {{}}\n")
}

#[test]
fn sizes_may_be_said_by_what_they_must_be_like() {
    let wish = |shapes: &str| {
        let (_, spec) = image(&image_of_sizes(shapes));
        assert!(spec.shapes.is_empty());
        spec.wish.unwrap()
    };
    let named = wish("{types: [c7i.large, u-6tb1.56xlarge]}");
    assert_eq!(
        named,
        ShapeWish {
            types: vec!["c7i.large".to_owned(), "u-6tb1.56xlarge".to_owned()],
            ..ShapeWish::default()
        }
    );
    let wanted = wish(
        "{vcpus: 2..8, memory: 4GiB..16GiB, families: [c7i, m7i-flex], architectures: [x86_64], \
         local_disk: true, exclude: ['t3.*', c7i.metal-24xl]}",
    );
    let expected = ShapeWish {
        types: Vec::new(),
        vcpus: Some((2, 8)),
        memory_mib: Some((4_096, 16_384)),
        families: vec!["c7i".to_owned(), "m7i-flex".to_owned()],
        architectures: vec!["x86_64".to_owned()],
        local_disk: Some(true),
        exclude: vec!["t3.*".to_owned(), "c7i.metal-24xl".to_owned()],
    };
    assert_eq!(wanted, expected);
    assert_eq!(wish("{vcpus: 4}").vcpus, Some((4, 4)));
    assert_eq!(wish("{vcpus: '2..'}").vcpus, Some((2, 4_096)));
    assert_eq!(wish("{vcpus: ..8}").vcpus, Some((1, 8)));
    assert_eq!(wish("{memory: 8GiB}").memory_mib, Some((8_192, 8_192)));
    assert_eq!(
        wish("{memory: 512MiB .. }").memory_mib,
        Some((512, 64 << 20))
    );
}

#[test]
fn problems_of_wished_sizes() {
    let wishes = [
        "{}",
        "~",
        "{types: []}",
        "{types: [c7i.large, c7i.large, 'c7i large', [x]], vcpus: 2, exclude: [t3.*]}",
        "{types: c7i.large}",
        "{vcpus: 0..4, memory: 4GiB..1GiB}",
        "{vcpus: many, memory: 8GB}",
        "{vcpus: .., memory: 4..5..6}",
        "{vcpus: [2, 8], memory: }",
        "{vcpus: 5000, memory: 65TiB}",
        "{families: [c7i, c7i], architectures: [amd64, arm46], local_disk: 3, exclude: ['t3.?', '']}",
        "{vcpu: 2}",
    ];
    let mut shown = String::new();
    for wish in wishes {
        let text = image_of_sizes(wish);
        let problems = parse_image(&text).expect_err(&text);
        writeln!(shown, "shapes: {wish}\n{}\n", lines(&problems)).unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_policy_says_how_to_buy_and_when_to_sleep() {
    let (_, spec) = policy(
        "name: p\nmarket: spot-with-fallback\nidle: {timeout: 5m, then: hibernate, \
         asleep: {machines: 2, timeout: 3d}}\n",
    );
    let expected = PolicySpec {
        idle_timeout: Some(crate::model::IdleTimeout::After(Span::from_secs(300))),
        market: Some(MarketChoice::SpotWithFallback),
        sleep: Some(SleepKind::Hibernate),
        max_asleep: Some(2),
        asleep_timeout: Some(Span::from_secs(3 * 24 * 3_600)),
        ..PolicySpec::default()
    };
    assert_eq!(spec, expected);
    let words = |text: &str| {
        let spec = policy(&format!("name: p\n{text}\n")).1;
        (spec.market, spec.sleep, spec.max_asleep)
    };
    assert_eq!(
        words("market: on-demand\nidle: {then: end}"),
        (Some(MarketChoice::OnDemand), Some(SleepKind::Never), None)
    );
    assert_eq!(
        words("market: spot\nidle: {then: stop, asleep: {machines: 0}}"),
        (Some(MarketChoice::Spot), Some(SleepKind::Stop), Some(0))
    );
}

#[test]
fn an_empty_policy_wants_nothing_and_zero_is_a_wish() {
    assert_eq!(policy("name: p\n").1, PolicySpec::default());
    assert_eq!(
        policy("name: p\nlimits:\nidle: {}\n").1,
        PolicySpec::default()
    );
    let (_, spec) = policy("name: p\nimages: [a, b]\nlimits: {machines: 0}\nidle: {timeout: 0s}\n");
    assert_eq!(spec.max_machines, Some(0));
    assert_eq!(
        spec.idle_timeout,
        Some(crate::model::IdleTimeout::After(Span::ZERO))
    );
    assert_eq!(spec.images, ["a", "b"]);
}

#[test]
fn problems_of_images() {
    let documents = [
        "name: my image\n",
        "name: i\nprovider: [local]\nlogin: root\nshapes: small\ncapabilities: [python]\nready: ''\nboot_timeout: 2h\nprobe: {}\n",
        "name: i\nprovider: local\nlogin: {user: '', key: x}\nshapes: []\ncapabilities:\n  python: [3.11, true, ~, [1]]\n  os:\n  \
         sql lite: true\n  gcc: []\n  c: a, b\n  d: \"\\e[1m\"\nprobes: {pyton: x, os: [y]}\ndescription: \"a\\nb\"\n",
        "name: i\nprovider: local\nlogin: {user: u}\nshapes:\n  - {name: s, vcpus: 0, memory: 512, price: free}\n  \
         - {name: t, vcpus: 1.5, memory: 1.5GiB, price: 0.00000001}\n  - {name: u, vcpus: 1, memory: 1GiB, price: 1, disk: 10GiB}\n  \
         - {vcpus: 1}\n  - {name: w, vcpus: 1, memory: 1GiB, price: 1}\n  - {name: w, vcpus: 2, memory: 2GiB, price: 2}\ncapabilities: {}\n",
    ];
    let mut shown = String::new();
    for text in documents {
        let problems = parse_image(text).expect_err(text);
        writeln!(shown, "{text}\n{}\n", lines(&problems)).unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn problems_of_policies() {
    let documents = [
        "limits: {machine: 1}\n",
        "name: p\nimages: debian\nlimits: 10\nidle: {timeout: 10}\nreuse: {builds: 0, lifetime: 0s}\nbudget: $5/day\n",
        "name: p\nmarket: spott\nidle: {then: stopp, asleep: {count: 2, timeout: 1}}\n",
        "name: p\nmarket: [spot]\nidle: {then: end, asleep: {machines: 2}}\n",
        "name: p\nimages: [a b]\nlimits: {machines: -1}\nidle: {timeout: 400d}\nreuse: {builds: many, lifetime: forever}\n",
    ];
    let mut shown = String::new();
    for text in documents {
        let problems = parse_policy(text).expect_err(text);
        writeln!(shown, "{text}\n{}\n", lines(&problems)).unwrap();
    }
    insta::assert_snapshot!(shown);
}
