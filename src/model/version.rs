//! Versions as machines print them, and their order.

use std::cmp::Ordering;
use std::fmt;

/// A version, split into comparable parts; keeps its text.
///
/// # What is a version
/// A text whose first character is a digit, after an optional `v`. `bookworm` is not one; it can
/// only be compared for being the same text.
///
/// # Parts
/// The text is cut wherever digits meet letters and at everything that is neither (`.`, `-`, `_`,
/// `+`, `~`, `:`, blanks): `15.4p1` is 15, 4, `p`, 1 and `2024-10-01` is 2024, 10, 1. Numbers may
/// be of any length; their leading zeros and the case of letters do not count.
///
/// # Order
/// Versions are compared part by part from the left. At the first difference the parts sort like
/// this, lowest first:
/// 1. a pre-release word: `dev`, `nightly`, `snapshot`; then `a`, `alpha`; then `b`, `beta`; then
///    `pre`, `preview`, `rc` (`a` and `b` only with a digit right behind: `3.13.0a4` is a
///    pre-release, `1.1.1a` a letter release);
/// 2. the end of the version;
/// 3. any other word, alphabetically: `p`, `post`, `u`;
/// 4. a number, by value.
///
/// Zeros at the end of a row of numbers do not count: `9`, `9.0` and `9.0.0` are equal, and so are
/// `9rc1` and `9.0-rc1`. Hence `1.0-dev < 1.0-rc1 < 1.0 = 1 < 1.0p1 < 1.0.1 < 1.1`.
///
/// Equality follows the order, so two versions of different text may be equal.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    /// As written, for the prefix rule: in a series, `9.0` is narrower than `9`.
    parts: Vec<Part>,
    /// Without zeros that do not count and with `Part::End` last, for the order.
    key: Vec<Part>,
}

/// A comparable part. The order of the variants is the order of versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// A pre-release word.
    Early(Stage),
    /// The end of the version.
    End,
    /// Any other word, in lower case.
    Word(String),
    /// A number that fits.
    Number(u64),
    /// A longer number: how many digits, and the digits.
    Huge(usize, String),
}

/// How far a pre-release has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Development,
    Alpha,
    Beta,
    Candidate,
}

impl Version {
    /// Reads a version; `None` when the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits_first = text.strip_prefix(['v', 'V']).unwrap_or(text);
        if !digits_first.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let parts = split(digits_first);
        let key = without_idle_zeros(&parts);
        Some(Self {
            text: text.to_owned(),
            parts,
            key,
        })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `other` is this version or one of the series that it names: `3.12` covers `3.12`,
    /// `3.12.4` and `3.12p1`, but not `3.120`, and not the pre-release `3.12rc1`, which comes
    /// before it. `9.0` covers `9` and `9.0.3`, but not `9.1`.
    pub fn covers(&self, other: &Self) -> bool {
        begins_with(&other.parts, &self.parts) && other >= self
    }
}

/// Cuts a text into parts.
fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = Kind::of(first);
        let len = rest
            .find(|c: char| Kind::of(c) != kind)
            .unwrap_or(rest.len());
        let (piece, tail) = rest.split_at(len);
        match kind {
            Kind::Digits => parts.push(number(piece)),
            Kind::Letters => parts.push(word(piece, tail)),
            Kind::Separators => {}
        }
        rest = tail;
    }
    parts
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digits,
    Letters,
    Separators,
}

impl Kind {
    fn of(c: char) -> Self {
        if c.is_ascii_digit() {
            Self::Digits
        } else if c.is_alphanumeric() {
            Self::Letters
        } else {
            Self::Separators
        }
    }
}

fn number(digits: &str) -> Part {
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Part::Number(0);
    }
    digits.parse().map_or_else(
        |_| Part::Huge(digits.len(), digits.to_owned()),
        Part::Number,
    )
}

fn word(letters: &str, tail: &str) -> Part {
    let lower = letters.to_lowercase();
    let numbered = tail.starts_with(|c: char| c.is_ascii_digit());
    let stage = match lower.as_str() {
        "dev" | "nightly" | "snapshot" => Stage::Development,
        "alpha" => Stage::Alpha,
        "a" if numbered => Stage::Alpha,
        "beta" => Stage::Beta,
        "b" if numbered => Stage::Beta,
        "pre" | "preview" | "rc" => Stage::Candidate,
        _ => return Part::Word(lower),
    };
    Part::Early(stage)
}

/// Drops the zeros at the end of every row of numbers, and marks the end.
fn without_idle_zeros(parts: &[Part]) -> Vec<Part> {
    let mut key: Vec<Part> = Vec::with_capacity(parts.len() + 1);
    for part in parts.iter().cloned().chain([Part::End]) {
        if !part.is_number() {
            while key.last() == Some(&Part::Number(0)) {
                key.pop();
            }
        }
        key.push(part);
    }
    key
}

/// Whether `parts` begin with `prefix`, where a row of numbers may lack zeros at its end on either
/// side.
fn begins_with(parts: &[Part], prefix: &[Part]) -> bool {
    let zero = Part::Number(0);
    let (mut parts, mut prefix) = (parts.iter().peekable(), prefix.iter().peekable());
    while let Some(&wanted) = prefix.peek() {
        let next = parts.peek().copied();
        if next == Some(wanted) {
            parts.next();
            prefix.next();
        } else if *wanted == zero && !next.is_some_and(Part::is_number) {
            prefix.next();
        } else if next == Some(&zero) && !wanted.is_number() {
            parts.next();
        } else {
            return false;
        }
    }
    true
}

impl Part {
    const fn is_number(&self) -> bool {
        match self {
            Self::Number(_) | Self::Huge(..) => true,
            Self::Early(_) | Self::End | Self::Word(_) => false,
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text:?} is no version"))
    }

    #[test]
    fn odd_versions_sort_as_written() {
        let ascending = [
            "0",
            "1.0-dev",
            "1.0a1",
            "1.0-alpha.2",
            "1.0b1",
            "1.0-rc1",
            "1.0-rc.2",
            "1.0-rc10",
            "1.0",
            "1.0p1",
            "1.0.1",
            "1.1.1",
            "1.1.1a",
            "1.1.1b",
            "1.2-nightly",
            "1.2",
            "2.7.9",
            "2.7.18",
            "3.1",
            "3.10",
            "9.0",
            "9.0.1",
            "15.4",
            "15.4p1",
            "15.4p2",
            "15.4.1",
            "2024-09-30",
            "2024-10-01",
            "2024-10-01.1",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999999999999",
        ];
        for (index, low) in ascending.iter().enumerate() {
            for high in &ascending[index + 1..] {
                assert!(version(low) < version(high), "{low} < {high}");
            }
        }
    }

    #[test]
    fn zeros_case_separators_and_a_leading_v_do_not_count() {
        for (left, right) in [
            ("9.0", "9"),
            ("9.0.0", "9.0"),
            ("v1.2", "1.2"),
            ("V1.2", "1.2"),
            ("2024-10-01", "2024.10.1"),
            ("1.0-RC1", "1.0rc1"),
            ("1rc1", "1.0.0-rc1"),
            ("1.0-rc", "1.0-rc0"),
            ("007", "7"),
            (" 1.2 ", "1.2"),
        ] {
            assert_eq!(version(left), version(right), "{left} = {right}");
        }
    }

    #[test]
    fn a_version_begins_with_a_digit() {
        for text in ["", "v", "bookworm", "x86_64", "-1", ".5", "vv1", "٣"] {
            assert!(Version::parse(text).is_none(), "{text:?}");
        }
        assert_eq!(version(" v3.12 ").to_string(), "v3.12");
    }

    #[test]
    fn a_series_covers_what_is_below_it() {
        for (series, member) in [
            ("3.12", "3.12"),
            ("3.12", "3.12.0"),
            ("3.12", "3.12.4"),
            ("3.12", "v3.12.4"),
            ("15.4", "15.4p1"),
            ("3", "3.13.0a4"),
            ("9.0", "9"),
            ("9.0", "9.0.3"),
            ("9.0", "9p1"),
            ("9p1", "9.0p1"),
            ("1.0-rc", "1.0-rc2"),
            ("2024-10", "2024-10-01"),
        ] {
            assert!(
                version(series).covers(&version(member)),
                "{series} covers {member}"
            );
        }
    }

    #[test]
    fn a_series_does_not_cover_its_neighbours_or_pre_releases() {
        for (series, stranger) in [
            ("3.12", "3.120"),
            ("3.12", "3.1"),
            ("3.12", "3.13"),
            ("3.12", "3"),
            ("3.12", "3.12rc1"),
            ("9.0", "9.1"),
            ("9.0", "9.0-rc1"),
            ("9.0.5", "9p5"),
            ("9p1", "9.0.1"),
        ] {
            assert!(
                !version(series).covers(&version(stranger)),
                "{series} covers {stranger}"
            );
        }
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let near_misses = "[0-2]{1,2}([.-]?(0|1|00|10|rc|a|b|p|dev|beta)){0,5}";
        prop_oneof![near_misses, "v?[0-9][0-9a-zA-Z.~+ -]{0,16}", "[0-9]{1,60}"]
            .prop_map(|text| version(&text))
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let trimmed = text.trim();
            if let Some(version) = Version::parse(&text) {
                prop_assert_eq!(version.text(), trimmed);
            }
        }

        #[test]
        fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b) == Ordering::Equal);
            if a <= b && b <= c {
                prop_assert!(a <= c, "{} <= {} <= {}", a, b, c);
            }
            if a == b {
                prop_assert_eq!(a.cmp(&c), b.cmp(&c));
            }
        }

        #[test]
        fn every_version_is_of_its_own_series(a in any_version(), b in any_version()) {
            prop_assert!(a.covers(&a));
            if a.covers(&b) {
                prop_assert!(b >= a, "{} covers {}", a, b);
            }
        }

        #[test]
        fn covering_is_transitive(a in any_version(), b in any_version(), c in any_version()) {
            if a.covers(&b) && b.covers(&c) {
                prop_assert!(a.covers(&c), "{} covers {} covers {}", a, b, c);
            }
        }

        #[test]
        fn numbers_of_any_length_sort_by_value(a in any::<u128>(), b in any::<u128>()) {
            let order = version(&a.to_string()).cmp(&version(&b.to_string()));
            prop_assert_eq!(order, a.cmp(&b));
        }
    }
}
