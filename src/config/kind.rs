//! What a setting accepts, and the value it reads.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::model::{Secret, Span};
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
