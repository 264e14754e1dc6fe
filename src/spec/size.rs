//! Numbers of bytes, as people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. Text form: a whole number with a unit, as in `100MiB`; bare for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a size (expected a whole number with a unit, as in 512MiB or 4GiB)", super::document::quoted(.0))]
pub struct ByteSizeParseError(String);

/// Units with their bytes, largest first; the binary ones come first because sizes print in them.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

impl FromStr for ByteSize {
    type Err = ByteSizeParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| ByteSizeParseError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<ByteSize> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let scale = match unit {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).map(ByteSize)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale));
        let (unit, scale) = exact.copied().unwrap_or(("B", 1));
        f.pad(&format!("{}{unit}", self.0 / scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_what_they_print() {
        for (text, bytes, printed) in [
            ("0", 0, "0B"),
            ("17", 17, "17B"),
            ("100MiB", 100 << 20, "100MiB"),
            ("1 GiB", 1 << 30, "1GiB"),
            ("2048KiB", 2 << 20, "2MiB"),
            ("5kB", 5_000, "5000B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(
                (size.0, size.to_string().as_str()),
                (bytes, printed),
                "{text}"
            );
            assert_eq!(printed.parse(), Ok(size));
        }
    }

    #[test]
    fn sizes_without_number_or_with_unknown_unit_are_refused() {
        for text in [
            "",
            "MiB",
            "1.5GiB",
            "-1",
            "5 miles",
            "5mb",
            "99999999999TiB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
