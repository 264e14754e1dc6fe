//! What a machine says about itself: what is left of an attempt, and how full it is. The lines are those
//! of `dm_discard` and of `prepare`.

use super::Discarded;
use crate::model::{Left, Usage};

/// Reads `ready DISK INODES MEMORY`, the last line that a prepared machine prints.
pub(super) fn read_ready(said: &[u8]) -> Option<Usage> {
    let said = std::str::from_utf8(said).ok()?;
    let mut words = said.lines().next_back()?.split_ascii_whitespace();
    if words.next()? != "ready" {
        return None;
    }
    read_usage(&mut words)
}

/// Reads `discarded DIRECTORY PROCESSES DISK INODES MEMORY`.
pub(super) fn read_discarded(line: &str) -> Option<Discarded> {
    let mut words = line.split_ascii_whitespace();
    if words.next()? != "discarded" {
        return None;
    }
    let is_directory_left = match words.next()? {
        "gone" => false,
        "left" => true,
        _ => return None,
    };
    let left = match (words.next()?, is_directory_left) {
        (_, true) => Some(Left::Directory),
        // No system is known that can neither show environments in /proc nor with `ps`.
        ("?", false) => Some(Left::Unknown),
        (count, false) => {
            let count = count.parse().ok()?;
            (count > 0).then_some(Left::Processes(count))
        }
    };
    let usage = read_usage(&mut words)?;
    Some(Discarded { left, usage })
}

fn read_usage<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Usage> {
    let mut percent = || {
        let word = words.next()?;
        // What is above cannot be, so it is not known.
        Some(word.parse().ok().filter(|percent| *percent <= 100))
    };
    Some(Usage {
        disk: percent()?,
        inodes: percent()?,
        memory: percent()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_apart() {
        let left = |line: &str| read_discarded(line).map(|said| said.left);
        assert_eq!(left("discarded gone 0 1 2 3"), Some(None));
        assert_eq!(
            left("discarded gone 2 1 2 3"),
            Some(Some(Left::Processes(2)))
        );
        assert_eq!(left("discarded left 0 1 2 3"), Some(Some(Left::Directory)));
        assert_eq!(left("discarded gone ? 1 2 3"), Some(Some(Left::Unknown)));
        for line in [
            "",
            "discarded",
            "discarded gone",
            "discarded gone 0 1 2",
            "discarded away 0 1 2 3",
            "discarded gone x 1 2 3",
            "sh: discarded: not found",
        ] {
            assert_eq!(left(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_nothing() {
        let usage = |disk, inodes, memory| Usage {
            disk,
            inodes,
            memory,
        };
        let read = |said: &str| read_ready(said.as_bytes());
        assert_eq!(
            read("motd\nready 93 ? 0\n"),
            Some(usage(Some(93), None, Some(0)))
        );
        assert_eq!(read("ready - 4000000000 -1"), Some(usage(None, None, None)));
        assert_eq!(read("ready"), None);
        assert_eq!(read("ready 1 2 3\nsh: bad\n"), None);
    }
}
