//! Log text as builds print it: compiler and test lines with names, numbers, times and hashes.

use std::fmt::Write as _;

use rand::rngs::ChaCha20Rng;
use rand::{RngExt, SeedableRng};

const WORDS: &str = "parser lexer storage index engine planner remote session ledger catalogue \
    matching version capability machine attempt pipeline token event policy image stream cursor \
    extent provider";

/// This many bytes of it, always the same.
pub(crate) fn log_text(len: usize) -> Vec<u8> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut rng = ChaCha20Rng::seed_from_u64(2010);
    let mut text = String::with_capacity(len + 256);
    let mut micros = 0_u64;
    while text.len() < len {
        micros += rng.random_range(0..90_000_u64);
        let mut word = || words.get(rng.random_range(0..words.len())).copied();
        let names = [word(), word(), word()].map(Option::unwrap_or_default);
        let kind = rng.random_range(0..6_u8);
        let (number, hash) = (rng.random_range(0..100_000_u32), rng.random::<u64>());
        // Writing to a string cannot fail.
        line(&mut text, kind, names, (number, hash, micros)).unwrap_or_default();
    }
    text.truncate(len);
    text.into_bytes()
}

fn line(
    text: &mut String,
    kind: u8,
    [one, two, three]: [&str; 3],
    (number, hash, micros): (u32, u64, u64),
) -> std::fmt::Result {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    match kind {
        0 => writeln!(
            text,
            "   Compiling {one}-{two} v{}.{}",
            number % 9,
            number % 31
        ),
        1 => writeln!(text, "test {one}::{two}::tests::{three}_{number} ... ok"),
        2 => writeln!(
            text,
            "[{seconds:>9}.{fraction:06}] {one}: {two} {three} took {number} us"
        ),
        3 => writeln!(
            text,
            "cc -O2 -g -Wall -Wextra -Wno-unused-parameter -fPIC -fstack-protector-strong -DNDEBUG \
             -D_FORTIFY_SOURCE=2 -Isrc/{one} -Iinclude -c -o build/{two}/{three}.o src/{two}/{three}.c"
        ),
        4 => writeln!(text, "Downloading {one}-{two} ({hash:016x}) {number} bytes"),
        _ => writeln!(
            text,
            "src/{one}/{two}.rs:{number}:9: warning: unused variable `{three}`"
        ),
    }
}
