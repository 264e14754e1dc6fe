//! The import law: a room uses only rooms on lower floors, and the pure floors touch nothing outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, from the ground up.
const FLOORS: &[&[&str]] = &[
    &["model"],
    &[
        "spec", "matching", "policy", "forecast", "planner", "ledger",
    ],
    &["clock", "config", "provider", "store", "remote", "logs"],
    &["books"],
    &["engine", "simulate"],
    &["api"],
    &["app", "cli", "bench"],
];

/// Pairs of rooms on one floor, or up a floor, that are allowed; the list may only shrink.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("cli", "app", "commands hand over to the composition house"),
    ("cli", "bench", "the hidden command hands over"),
    (
        "app",
        "cli",
        "`demo` talks to its own server as the command line does",
    ),
];

/// Nothing of this may be named on floors 0 and 1, and in the books.
const IMPURE: &[&str] = &[
    "async fn",
    "tokio::",
    "sqlx::",
    "axum::",
    "russh::",
    "reqwest::",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The rooms that a source text names, by line.
fn named_rooms(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for part in code.split("crate::").skip(1) {
            let room: String = part
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            named.push((number + 1, room));
        }
    }
    named
}

fn room_of(path: &Path, house: &Path) -> Option<String> {
    let inside = path.strip_prefix(house).unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?;
    (inside.components().count() > 1).then(|| first.to_owned())
}

/// Whether a file holds tests only: those may look at rooms together.
fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "contract")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

#[test]
fn rooms_use_only_lower_floors() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let mut broken = Vec::new();
    let mut looked_at = 0;
    for path in sources(&house) {
        let Some(room) = room_of(&path, &house) else {
            continue;
        };
        if is_test(&path) {
            continue;
        }
        let floor = floors
            .get(room.as_str())
            .unwrap_or_else(|| panic!("no floor for {room}"));
        for (line, other) in named_rooms(&fs::read_to_string(&path).unwrap()) {
            looked_at += 1;
            let Some(other_floor) = floors.get(other.as_str()) else {
                continue;
            };
            let excepted = EXCEPTIONS
                .iter()
                .any(|(from, to, _)| *from == room && *to == other);
            if other != room && other_floor >= floor && !excepted {
                broken.push(format!("{}:{line}: {room} uses {other}", path.display()));
            }
        }
    }
    assert!(looked_at > 100, "the scan sees imports: {looked_at}");
    assert!(
        broken.is_empty(),
        "against the import law:\n{}",
        broken.join("\n")
    );
}

#[test]
fn sibling_providers_do_not_know_each_other() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/provider");
    for path in sources(&house) {
        let Some(own) = room_of(&path, &house) else {
            continue;
        };
        for part in fs::read_to_string(&path)
            .unwrap()
            .split("provider::")
            .skip(1)
        {
            let other: String = part.chars().take_while(|c| c.is_lowercase()).collect();
            let is_sibling = !other.is_empty() && house.join(&other).is_dir();
            assert!(
                !is_sibling || other == own,
                "{} uses {other}",
                path.display()
            );
        }
    }
}

#[test]
fn the_pure_floors_touch_nothing_outside() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for room in FLOORS[0].iter().chain(FLOORS[1]).chain(FLOORS[3]) {
        for path in sources(&house.join(room)) {
            if is_test(&path) {
                continue;
            }
            for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                    broken.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "not pure:\n{}", broken.join("\n"));
}
