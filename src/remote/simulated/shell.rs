//! The language of simulated steps, a command a line:
//!
//! | command | does |
//! |---|---|
//! | `echo TEXT` | prints a line |
//! | `bytes N` | prints N bytes, of which none repeats soon |
//! | `sleep SPAN` | takes that long |
//! | `exit N` | ends the step |
//! | `stubborn` | from here on a polite stop is ignored |
//! | `fill disk N` | the machine's disk is N percent full from its end on; also `inodes`, `memory` |
//! | `litter N` | leaves N processes that cannot be ended; `litter directory` leaves its directory |
//! | `uptime SPAN` | ends the step with 1 unless the machine has been up for that long |
//!
//! Anything else is not found, as in any shell.

use std::collections::VecDeque;

use crate::model::{Left, Resource, Span};

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Prints.
    Print(Vec<u8>),
    /// Takes time.
    Sleep(Span),
    /// Ends the step.
    Exit(i32),
    /// Ignores polite stops from here on.
    Stubborn,
    /// Fills the machine.
    Fill(Resource, u32),
    /// Leaves something.
    Litter(Left),
    /// Ends the step with 1 unless the machine has been up for that long.
    Uptime(Span),
}

/// Exit code of a command that is not there, as shells have it.
const NOT_FOUND: i32 = 127;

/// Reads a step's text.
pub(super) fn parse(text: &str) -> VecDeque<Command> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.flat_map(parse_line).collect()
}

fn parse_line(line: &str) -> Vec<Command> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let read = match word {
        "echo" => Some(Command::Print(format!("{rest}\n").into_bytes())),
        "bytes" => rest.parse().ok().map(|count| Command::Print(noise(count))),
        "sleep" => rest.parse().ok().map(Command::Sleep),
        "exit" => rest.parse().ok().map(Command::Exit),
        "stubborn" => Some(Command::Stubborn),
        "fill" => parse_fill(rest),
        "litter" if rest == "directory" => Some(Command::Litter(Left::Directory)),
        "litter" => rest
            .parse()
            .ok()
            .map(|count| Command::Litter(Left::Processes(count))),
        "uptime" => rest.parse().ok().map(Command::Uptime),
        _ => None,
    };
    match read {
        Some(command) => vec![command],
        None => vec![
            Command::Print(format!("sh: {line}: not found\n").into_bytes()),
            Command::Exit(NOT_FOUND),
        ],
    }
}

fn parse_fill(rest: &str) -> Option<Command> {
    let (what, percent) = rest.split_once(' ')?;
    let what = match what {
        "disk" => Resource::Disk,
        "inodes" => Resource::Inodes,
        "memory" => Resource::Memory,
        _ => return None,
    };
    Some(Command::Fill(what, percent.parse().ok()?))
}

/// Bytes in which a lost, repeated or swapped piece shows: a counter in every line.
fn noise(count: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0_u64..)
        .flat_map(|line| format!("{line:015x}\n").into_bytes())
        .take(count)
        .collect();
    if let Some(last) = bytes.last_mut() {
        *last = b'\n';
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_command() {
        let read = parse("echo a b\n\n  sleep 2s\nuptime 1m\nstubborn\nexit 3\n");
        let expected = [
            Command::Print(b"a b\n".to_vec()),
            Command::Sleep(Span::from_secs(2)),
            Command::Uptime(Span::from_secs(60)),
            Command::Stubborn,
            Command::Exit(3),
        ];
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_not_known_is_not_found() {
        let read = parse("make test");
        assert_eq!(read.back(), Some(&Command::Exit(NOT_FOUND)));
    }

    #[test]
    fn noise_has_its_length_and_does_not_repeat() {
        let bytes = noise(1_000);
        assert_eq!(bytes.len(), 1_000);
        assert_ne!(bytes[..160], bytes[160..320]);
    }
}
