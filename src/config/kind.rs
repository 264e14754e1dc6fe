//! What a setting accepts, and the value it reads.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::model::{Money, Secret, Span};
use crate::spec::ByteSize;

/// How the text of a setting becomes a value.
pub(super) trait Kind: Sync {
    /// What it becomes.
    type Value;

    /// The value, or `None` when the text is not accepted. Relative paths count from `base`.
    fn read(&self, text: &str, base: &Path) -> Option<Self::Value>;

    /// What is accepted, to end the sentence "expected …".
    fn accepts(&self) -> String;

    /// The value as text that reads as the same value, wherever it stands.
    fn print(&self, value: &Self::Value) -> String;

    /// Whether the text must never be printed.
    fn is_secret(&self) -> bool {
        false
    }

    /// Whether the text is a list with commas.
    fn is_list(&self) -> bool {
        false
    }
}

/// A file or directory; `~/` is the home directory only in the shell, not here.
#[derive(Debug, Clone, Copy)]
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(&self, text: &str, base: &Path) -> Option<PathBuf> {
        let usable = !text.is_empty() && !text.starts_with("~/") && !text.contains('\u{fffd}');
        usable.then(|| base.join(text))
    }

    fn accepts(&self) -> String {
        "a path, absolute or relative to the file it stands in".to_owned()
    }

    fn print(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// An address and port to listen on.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenAddress;

impl Kind for ListenAddress {
    type Value = SocketAddr;

    fn read(&self, text: &str, _base: &Path) -> Option<SocketAddr> {
        text.parse().ok()
    }

    fn accepts(&self) -> String {
        "an IP address and a port, as in 127.0.0.1:8470 or [::1]:8470".to_owned()
    }

    fn print(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// One of a few words.
#[derive(Debug)]
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Sync> Kind for Choice<T> {
    type Value = T;

    fn read(&self, text: &str, _base: &Path) -> Option<T> {
        self.0
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }

    fn accepts(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        words.join(" or ")
    }

    fn print(&self, value: &T) -> String {
        self.0
            .iter()
            .find(|(_, known)| known == value)
            .map_or_else(String::new, |(word, _)| (*word).to_owned())
    }
}

/// `true` or `false`.
pub(super) const SWITCH: Choice<bool> = Choice(&[("true", true), ("false", false)]);

/// A whole number between two bounds, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    /// Least.
    pub(super) min: u32,
    /// Most.
    pub(super) max: u32,
}

impl Kind for Count {
    type Value = u32;

    fn read(&self, text: &str, _base: &Path) -> Option<u32> {
        let number: u32 = text.parse().ok()?;
        (self.min..=self.max).contains(&number).then_some(number)
    }

    fn accepts(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn print(&self, value: &u32) -> String {
        value.to_string()
    }
}

/// A length of time between two bounds, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    /// Shortest.
    pub(super) min: Span,
    /// Longest.
    pub(super) max: Span,
}

impl Kind for Length {
    type Value = Span;

    fn read(&self, text: &str, _base: &Path) -> Option<Span> {
        let span: Span = text.parse().ok()?;
        (self.min..=self.max).contains(&span).then_some(span)
    }

    fn accepts(&self) -> String {
        format!(
            "a length of time with a unit, as in 90s, 5m or 1h30m, from {} to {}",
            self.min, self.max
        )
    }

    fn print(&self, value: &Span) -> String {
        value.to_string()
    }
}

/// An amount of bytes between two bounds, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Least.
    pub(super) min: u64,
    /// Most.
    pub(super) max: u64,
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, text: &str, _base: &Path) -> Option<u64> {
        let ByteSize(bytes) = text.parse().ok()?;
        (self.min..=self.max).contains(&bytes).then_some(bytes)
    }

    fn accepts(&self) -> String {
        format!(
            "a size with a unit, as in 64MiB, from {} to {}",
            ByteSize(self.min),
            ByteSize(self.max)
        )
    }

    fn print(&self, value: &u64) -> String {
        ByteSize(*value).to_string()
    }
}

/// What to log: a level, or levels by module.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogFilter;

impl Kind for LogFilter {
    type Value = Targets;

    fn read(&self, text: &str, _base: &Path) -> Option<Targets> {
        // A word without `=` would pass as a module's name: a misspelt level must not.
        let clear = text
            .split(',')
            .all(|part| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok());
        text.parse().ok().filter(|_| clear && !text.is_empty())
    }

    fn accepts(&self) -> String {
        "error, warn, info, debug or trace, also by module as in info,dormouse::engine=debug"
            .to_owned()
    }

    fn print(&self, value: &Targets) -> String {
        value.to_string()
    }
}

/// A text that is never printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretText {
    /// Shorter ones can be guessed.
    pub(super) min_chars: usize,
}

impl Kind for SecretText {
    type Value = Secret;

    fn read(&self, text: &str, _base: &Path) -> Option<Secret> {
        let usable = text.chars().count() >= self.min_chars
            && text.chars().all(|letter| letter.is_ascii_graphic());
        usable.then(|| Secret::new(text.to_owned()))
    }

    fn accepts(&self) -> String {
        format!(
            "at least {} printable ASCII characters without spaces",
            self.min_chars
        )
    }

    fn print(&self, value: &Secret) -> String {
        value.to_string()
    }

    fn is_secret(&self) -> bool {
        true
    }
}

/// A text with a form of its own.
#[derive(Debug)]
pub(super) struct Text<T: 'static> {
    /// What is accepted.
    pub(super) accepts: &'static str,
    /// Reads it.
    pub(super) read: fn(&str) -> Option<T>,
    /// Prints what it reads.
    pub(super) print: fn(&T) -> String,
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn read(&self, text: &str, _base: &Path) -> Option<T> {
        (self.read)(text)
    }

    fn accepts(&self) -> String {
        self.accepts.to_owned()
    }

    fn print(&self, value: &T) -> String {
        (self.print)(value)
    }
}

impl Text<String> {
    /// A name, an id or the like: letters, digits and a few signs, no spaces and no commas.
    pub(super) const fn word(accepts: &'static str) -> Self {
        Self {
            accepts,
            read: read_word,
            print: String::clone,
        }
    }

    /// The address of a service.
    pub(super) const fn url() -> Self {
        Self {
            accepts: "a URL, as in https://host or http://127.0.0.1:5000/path",
            read: read_url,
            print: String::clone,
        }
    }
}

/// Longest name, id or URL: those of AWS have at most 2,048 characters.
const LONGEST_TEXT: usize = 2_048;

fn read_word(text: &str) -> Option<String> {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@{}".contains(&byte);
    let usable = !text.is_empty() && text.len() <= LONGEST_TEXT && text.bytes().all(is_sign);
    usable.then(|| text.to_owned())
}

fn read_url(text: &str) -> Option<String> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))?;
    let host = rest.split('/').next().unwrap_or_default();
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    (!host.is_empty() && printable && text.len() <= LONGEST_TEXT).then(|| text.to_owned())
}

/// Several of a kind, with commas between; at least one.
#[derive(Debug)]
pub(super) struct List<K> {
    /// What each is.
    pub(super) of: K,
    /// Most of them.
    pub(super) most: usize,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, text: &str, base: &Path) -> Option<Self::Value> {
        let parts = text.split(',').map(|part| self.of.read(part.trim(), base));
        let values: Vec<K::Value> = parts.collect::<Option<_>>()?;
        (values.len() <= self.most).then_some(values)
    }

    fn accepts(&self) -> String {
        format!("{}; a list of up to {}", self.of.accepts(), self.most)
    }

    fn print(&self, value: &Self::Value) -> String {
        let parts: Vec<String> = value.iter().map(|one| self.of.print(one)).collect();
        parts.join(", ")
    }

    fn is_list(&self) -> bool {
        true
    }
}

/// An amount of money between two bounds, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dollars {
    /// Least.
    pub(super) min: Money,
    /// Most.
    pub(super) max: Money,
}

impl Kind for Dollars {
    type Value = Money;

    fn read(&self, text: &str, _base: &Path) -> Option<Money> {
        let number = text.strip_prefix('$').unwrap_or(text);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
        let dollars: i64 = whole.parse().ok()?;
        let amount = Money::from_micros(dollars.checked_mul(1_000_000)?.checked_add(micros)?);
        (self.min..=self.max).contains(&amount).then_some(amount)
    }

    fn accepts(&self) -> String {
        let (min, max) = (self.print(&self.min), self.print(&self.max));
        format!("dollars, as in $1 or $1.50, from {min} to {max}")
    }

    fn print(&self, value: &Money) -> String {
        let text = value.to_string();
        let text = text.trim_end_matches('0');
        match text.strip_suffix('.') {
            Some(whole) => whole.to_owned(),
            // Cents are two digits.
            None if text
                .rsplit('.')
                .next()
                .is_some_and(|cents| cents.len() == 1) =>
            {
                format!("{text}0")
            }
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<K: Kind>(kind: &K, text: &str) -> Option<K::Value> {
        kind.read(text, Path::new("/base"))
    }

    #[test]
    fn bounds_are_included() {
        let count = Count { min: 1, max: 10 };
        assert_eq!(read(&count, "1"), Some(1));
        assert_eq!(read(&count, "10"), Some(10));
        for text in ["0", "11", "-1", "ten", ""] {
            assert_eq!(read(&count, text), None, "{text}");
        }
        let length = Length {
            min: Span::from_secs(1),
            max: Span::from_secs(60),
        };
        assert_eq!(read(&length, "1m"), Some(Span::from_secs(60)));
        assert_eq!(read(&length, "61s"), None);
        assert_eq!(read(&length, "30"), None);
    }

    #[test]
    fn sizes_read_what_they_print() {
        let size = Size {
            min: 1 << 10,
            max: 1 << 40,
        };
        for (text, bytes) in [("1KiB", 1 << 10), ("64MiB", 64 << 20), ("1500B", 1500)] {
            assert_eq!(read(&size, text), Some(bytes), "{text}");
            assert_eq!(read(&size, &size.print(&bytes)), Some(bytes), "{text}");
        }
        for text in ["64", "MiB", "1023B", "99999999999GiB", "1.5GiB"] {
            assert_eq!(read(&size, text), None, "{text}");
        }
    }

    #[test]
    fn dollars_read_what_they_print() {
        let dollars = Dollars {
            min: Money::ZERO,
            max: Money::from_micros(10_000_000),
        };
        for (text, micros, printed) in [
            ("1", 1_000_000, "$1"),
            ("$1.50", 1_500_000, "$1.50"),
            ("0.5", 500_000, "$0.50"),
            ("$0.000125", 125, "$0.000125"),
            ("$10", 10_000_000, "$10"),
            ("0", 0, "$0"),
        ] {
            let amount = Money::from_micros(micros);
            assert_eq!(read(&dollars, text), Some(amount), "{text}");
            assert_eq!(dollars.print(&amount), printed);
            assert_eq!(read(&dollars, printed), Some(amount));
        }
        for text in [
            "",
            "$",
            "-1",
            "1.",
            ".5",
            "10.01",
            "1e3",
            "1 dollar",
            "1.0000001",
        ] {
            assert_eq!(read(&dollars, text), None, "{text}");
        }
    }

    #[test]
    fn lists_have_commas() {
        let list = List {
            of: Text::word("words"),
            most: 2,
        };
        let expected = vec!["a-1".to_owned(), "b".to_owned()];
        assert_eq!(read(&list, "a-1, b").as_ref(), Some(&expected));
        assert_eq!(read(&list, &list.print(&expected)).unwrap().len(), 2);
        for text in ["", "a,", "a b", "a,b,c"] {
            assert_eq!(read(&list, text), None, "{text}");
        }
    }

    #[test]
    fn urls_have_a_scheme_and_a_host() {
        let url = Text::url();
        assert!(read(&url, "http://127.0.0.1:5000/x").is_some());
        for text in ["", "http://", "ftp://x", "host", "https://a b"] {
            assert_eq!(read(&url, text), None, "{text}");
        }
    }

    #[test]
    fn relative_paths_count_from_the_base() {
        assert_eq!(read(&FilePath, "x/y"), Some(PathBuf::from("/base/x/y")));
        assert_eq!(read(&FilePath, "/x"), Some(PathBuf::from("/x")));
        assert_eq!(read(&FilePath, "~/x"), None);
        assert_eq!(read(&FilePath, ""), None);
    }

    #[test]
    fn log_filters_take_levels_by_module() {
        assert!(read(&LogFilter, "info,dormouse::engine=debug").is_some());
        assert!(read(&LogFilter, "dormouse=loud").is_none());
        assert!(read(&LogFilter, "inof").is_none());
        assert!(read(&LogFilter, "").is_none());
    }
}
