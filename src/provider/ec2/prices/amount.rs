//! Decimal dollars, as AWS writes them, to whole micro-dollars.

use crate::model::Rate;

/// Reads dollars with any number of decimals, rounded up to whole micro-dollars. Never through a
/// floating-point number.
pub(super) fn dollars(text: &str) -> Option<Rate> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (kept, dropped) = fraction.split_at(fraction.len().min(6));
    let micros: u64 = format!("{kept:0<6}").parse().ok()?;
    let up = u64::from(dropped.bytes().any(|digit| digit != b'0'));
    let micros = whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(micros + up)?;
    Some(Rate::from_micros_per_hour(micros))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dollars_are_read_exactly_and_rounded_up() {
        for (text, micros) in [
            ("0.0892500000", 89_250),
            ("17.9923200000", 17_992_320),
            ("0.015600", 15_600),
            ("3", 3_000_000),
            ("0.00001", 10),
            ("0.0000001", 1),
            ("1.9999999", 2_000_000),
            ("0.0000000000", 0),
        ] {
            assert_eq!(
                dollars(text),
                Some(Rate::from_micros_per_hour(micros)),
                "{text}"
            );
        }
        for text in [
            "",
            ".5",
            "-1",
            "1e3",
            "1,5",
            "$1",
            "1.2.3",
            " 1",
            "99999999999999999999",
        ] {
            assert_eq!(dollars(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn micros_come_back(micros in 0..1_000_000_000_000_u64, zeros in 0..5_usize) {
            let text = format!("{}.{:06}{}", micros / 1_000_000, micros % 1_000_000, "0".repeat(zeros));
            prop_assert_eq!(dollars(&text), Some(Rate::from_micros_per_hour(micros)));
        }
    }
}
