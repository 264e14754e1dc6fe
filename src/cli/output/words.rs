//! Times, amounts and sizes as people read them.

use crate::api::view::MoneyView;
use crate::model::{Span, Timestamp};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What a missing value shows.
pub(crate) const NONE: &str = "-";

/// How long ago `at` was: `12s ago`, `3m ago`; or how far it lies ahead: `in 3m`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now + Span::from_secs(1) {
        return format!("in {}", coarse(at.since(now)));
    }
    let past = now.since(at);
    if past < Span::from_secs(1) {
        "now".to_owned()
    } else {
        format!("{} ago", coarse(past))
    }
}

/// A length of time in its largest unit, rounded down.
fn coarse(span: Span) -> String {
    let seconds = span.micros() / 1_000_000;
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => format!("{}h", seconds / HOUR),
        DAY.. => format!("{}d", seconds / DAY),
    }
}

/// A length of time in its two largest units: `350ms`, `4.2s`, `3m 07s`, `2h 05m`, `4d 03h`.
pub(crate) fn length(span: Span) -> String {
    let millis = span.micros() / 1_000;
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", millis % 1_000 / 100),
        10..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m {:02}s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{}h {:02}m", seconds / HOUR, seconds % HOUR / MINUTE),
        DAY.. => format!("{}d {:02}h", seconds / DAY, seconds % DAY / HOUR),
    }
}

/// A length of time in milliseconds.
pub(crate) fn millis(millis: u64) -> String {
    length(Span::from_millis(millis))
}

/// An amount of money, at most to the hundredth of a cent: `$12.34`, `$0.0042`, `<$0.0001`.
pub(crate) fn money(amount: &MoneyView) -> String {
    micro_usd(amount.micro_usd)
}

/// The same from micro-dollars.
pub(crate) fn micro_usd(amount: i64) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let micros = amount.unsigned_abs();
    match micros {
        0 => "$0".to_owned(),
        1..100 => format!("{sign}<$0.0001"),
        100..1_000_000 => format!("{sign}$0.{:04}", micros / 100),
        1_000_000.. => {
            let cents = micros / 10_000;
            format!("{sign}${}.{:02}", cents / 100, cents % 100)
        }
    }
}

/// A price per hour from micro-dollars: `$0.0416/h`.
pub(crate) fn rate(micro_usd_per_hour: u64) -> String {
    let amount = i64::try_from(micro_usd_per_hour).unwrap_or(i64::MAX);
    format!("{}/h", micro_usd(amount))
}

/// An amount of bytes: `0 B`, `999 B`, `1.4 MiB`.
pub(crate) fn bytes(amount: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(amount) * 10;
    let mut unit = "B";
    for next in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = next;
    }
    if unit == "B" {
        format!("{amount} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// `1 build`, `3 builds`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// `a=1 b=2`, or a dash for nothing.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let parts: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    or_none(parts.join(" "))
}

/// The text, or a dash for an empty one.
pub(crate) fn or_none(text: String) -> String {
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
    }
}

/// Text from the outside without control characters, which could play with the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_show_two_units() {
        let cases = [
            (0, "0ms"),
            (350, "350ms"),
            (4_250, "4.2s"),
            (59_999, "59s"),
            (187_000, "3m 07s"),
            (7_500_000, "2h 05m"),
            (356_400_000, "4d 03h"),
        ];
        for (given, text) in cases {
            assert_eq!(millis(given), text);
        }
    }

    #[test]
    fn times_are_told_relative_to_now() {
        let now = Timestamp::from_micros(1_000_000_000);
        assert_eq!(ago(now, now), "now");
        assert_eq!(ago(now - Span::from_secs(180), now), "3m ago");
        assert_eq!(ago(now + Span::from_secs(90), now), "in 1m");
    }

    #[test]
    fn money_is_rounded_down_but_never_to_nothing() {
        let cases = [
            (0, "$0"),
            (99, "<$0.0001"),
            (4_250, "$0.0042"),
            (999_999, "$0.9999"),
            (12_345_678, "$12.34"),
            (-1_500_000, "-$1.50"),
        ];
        for (amount, text) in cases {
            assert_eq!(micro_usd(amount), text);
        }
    }

    #[test]
    fn bytes_use_powers_of_1024() {
        for (amount, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }
}
