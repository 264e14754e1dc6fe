//! Texts of strangers, made fit for terminals and for one line.

/// Longest piece of a document that is repeated in a message, in characters.
const LONGEST: usize = 60;

/// `text` on one line: control characters and those that turn the writing direction are escaped,
/// and what is longer than a line is cut.
pub fn printable(text: &str) -> String {
    shortened(text, LONGEST)
}

/// As [`printable`], cut after `longest` characters.
pub(in crate::spec) fn shortened(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == longest {
            shown.push('…');
            break;
        }
        if is_printable(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

/// `text` as [`printable`], in quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text))
}

/// Whether a terminal shows `c` as a character and keeps its state.
pub(in crate::spec) fn is_printable(c: char) -> bool {
    let turns_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_lines = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    !c.is_control() && !turns_direction && !breaks_lines
}

/// The one of `known` that `word` was probably meant to be: at most a third of it is different.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Comparing costs the product of the lengths; names are short.
    let word: String = word.chars().take(LONGEST).collect();
    let distance = |name: &str| strsim::osa_distance(&word, name);
    let (distance, name) = known
        .into_iter()
        .map(|name| (distance(name), name))
        .min_by_key(|(distance, _)| *distance)?;
    let allowed = word.chars().count().max(3) / 3;
    (distance <= allowed).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_characters() {
        assert_eq!(printable("a\x1b[31m\n\u{202e}é"), r"a\u{1b}[31m\n\u{202e}é");
        assert_eq!(printable(&"x".repeat(100)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn slips_of_the_keyboard_are_recognised_and_other_words_are_not() {
        let known = ["steps", "needs", "matrix", "env"];
        for (slip, meant) in [
            ("step", "steps"),
            ("setps", "steps"),
            ("Matrix", "matrix"),
            ("evn", "env"),
        ] {
            assert_eq!(nearest(slip, known), Some(meant), "{slip}");
        }
        for word in ["runs-on", "x", "", "strategy"] {
            assert_eq!(nearest(word, known), None, "{word}");
        }
    }
}
