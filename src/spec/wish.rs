//! What the sizes of an image must be like, where its provider knows what it sells.

use std::str::FromStr;

use super::document::{Field, Problems, Table, quoted, unknown};
use super::image::MOST_VCPUS;
use super::size::ByteSize;
use super::text::read_name;
use crate::model::ShapeWish;

/// Processor architectures that may be asked for.
const ARCHITECTURES: [&str; 2] = ["x86_64", "arm64"];

/// Most memory that may be asked for, 64 TiB: twice the largest machine on sale; guards against
/// slips.
const MOST_MEMORY_MIB: u32 = 64 << 20;

/// Most names in one list: far more than anybody writes by hand.
const MOST_NAMES: usize = 256;

/// Longest pattern: longer than any name.
const PATTERN_CHARACTERS: usize = 64;

/// Reads what sizes must be like.
pub(super) fn read_wish(field: &Field<'_>, problems: &mut Problems) -> Option<ShapeWish> {
    const OTHERS: [&str; 6] = [
        "vcpus",
        "memory",
        "families",
        "architectures",
        "local_disk",
        "exclude",
    ];
    let known = [&["types"], &OTHERS[..]].concat();
    let table = field.table(&known, problems)?;
    if known.iter().all(|key| table.get(key).is_none()) {
        field.refuse(
            problems,
            "nothing is said of the sizes; expected types, or requirements such as vcpus and memory",
        );
        return None;
    }
    let wish = ShapeWish {
        types: read_names("an instance type", "types", &table, problems),
        vcpus: table.get("vcpus").and_then(|f| read_vcpus(f, problems)),
        memory_mib: table.get("memory").and_then(|f| read_memory(f, problems)),
        families: read_names("a family", "families", &table, problems),
        architectures: table
            .get("architectures")
            .map(|field| read_architectures(field, problems))
            .unwrap_or_default(),
        local_disk: table.get("local_disk").and_then(|f| f.flag(problems)),
        exclude: table
            .get("exclude")
            .map(|field| read_patterns(field, problems))
            .unwrap_or_default(),
    };
    if table.get("types").is_some() {
        for other in OTHERS.iter().filter_map(|key| table.get(key)) {
            other.refuse(
                problems,
                "types are given by name; expected nothing else beside them",
            );
        }
    }
    Some(wish)
}

fn read_vcpus(field: &Field<'_>, problems: &mut Problems) -> Option<(u32, u32)> {
    let range = read_range::<u32>(field, problems, "4, 2..8, 2.. or ..8")?;
    let range = (range.least.unwrap_or(1), range.most.unwrap_or(MOST_VCPUS));
    check_range(range, MOST_VCPUS, "4096", field, problems)
}

fn read_memory(field: &Field<'_>, problems: &mut Problems) -> Option<(u32, u32)> {
    let example = "8GiB, 4GiB..16GiB, 4GiB.. or ..16GiB";
    let range = read_range::<ByteSize>(field, problems, example)?;
    let mib = |ByteSize(bytes): ByteSize| {
        let whole = bytes.is_multiple_of(1 << 20).then_some(bytes >> 20);
        whole.and_then(|mib| u32::try_from(mib).ok())
    };
    let whole = match (range.least.map(mib), range.most.map(mib)) {
        (Some(None), _) | (_, Some(None)) => None,
        (least, most) => Some((
            least.flatten().unwrap_or(1),
            most.flatten().unwrap_or(MOST_MEMORY_MIB),
        )),
    };
    let Some(range) = whole else {
        field.expected(problems, &format!("whole numbers of MiB, as in {example}"));
        return None;
    };
    check_range(range, MOST_MEMORY_MIB, "64TiB", field, problems)
}

/// Ends of a range as they are written; what is left out is open.
struct Range<T> {
    least: Option<T>,
    most: Option<T>,
}

/// Reads `a`, `a..b` (both ends included), `a..` or `..b`.
fn read_range<T>(field: &Field<'_>, problems: &mut Problems, example: &str) -> Option<Range<T>>
where
    T: FromStr + Copy,
{
    let scalar = field.is_scalar() && !field.node().is_null();
    let text = if scalar { field.text(problems)? } else { "" };
    let range = parse_range(text);
    if range.is_none() {
        field.expected(problems, &format!("one value or a range, as in {example}"));
    }
    range
}

fn parse_range<T: FromStr + Copy>(text: &str) -> Option<Range<T>> {
    let end = |text: &str| match text.trim() {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let Some((least, most)) = text.split_once("..") else {
        let value = end(text)??;
        return Some(Range {
            least: Some(value),
            most: Some(value),
        });
    };
    let (least, most) = (end(least)?, end(most)?);
    (least.is_some() || most.is_some()).then_some(Range { least, most })
}

/// A range that is neither empty nor out of the ordinary.
fn check_range(
    range: (u32, u32),
    highest: u32,
    shown: &str,
    field: &Field<'_>,
    problems: &mut Problems,
) -> Option<(u32, u32)> {
    let (least, most) = range;
    if least > most {
        field.refuse(problems, "the range is empty; expected the lower end first");
        return None;
    }
    if least == 0 || most > highest {
        let message = format!("out of range; expected more than nothing and at most {shown}");
        field.refuse(problems, message);
        return None;
    }
    Some(range)
}

/// Reads a list of names, each there once, if the key is there.
fn read_names(what: &str, key: &str, table: &Table<'_>, problems: &mut Problems) -> Vec<String> {
    let Some(field) = table.get(key) else {
        return Vec::new();
    };
    let items = items(field, problems);
    let mut names: Vec<String> = Vec::new();
    for item in &items {
        let Some(name) = read_name(what, item, problems) else {
            continue;
        };
        if names.contains(&name) {
            item.refuse(problems, format!("{name} is there already"));
        }
        names.push(name);
    }
    names
}

/// The items of a list that is neither empty nor endless.
fn items<'d>(field: &Field<'d>, problems: &mut Problems) -> Vec<Field<'d>> {
    let Some(items) = field.list(problems) else {
        return Vec::new();
    };
    if items.is_empty() {
        field.refuse(problems, "the list is empty; expected at least one");
    } else if items.len() > MOST_NAMES {
        let count = items.len();
        field.refuse(
            problems,
            format!("{count} of them; at most {MOST_NAMES} are accepted"),
        );
    }
    items
}

fn read_architectures(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let mut names = Vec::new();
    for item in items(field, problems) {
        let Some(name) = item.text(problems) else {
            continue;
        };
        if !ARCHITECTURES.contains(&name) {
            item.refuse(problems, unknown("architecture", name, &ARCHITECTURES));
        }
        names.push(name.to_owned());
    }
    names
}

fn read_patterns(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let mut patterns = Vec::new();
    for item in items(field, problems) {
        let Some(pattern) = item.text(problems) else {
            continue;
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*');
        let is_pattern = (1..=PATTERN_CHARACTERS).contains(&pattern.chars().count())
            && pattern.chars().all(legal);
        if !is_pattern {
            item.refuse(
                problems,
                format!(
                    "{} is no pattern for instance types; expected letters, digits, `.`, `-` and \
                     `*` for any characters, as in t3.*",
                    quoted(pattern)
                ),
            );
        }
        patterns.push(pattern.to_owned());
    }
    patterns
}
