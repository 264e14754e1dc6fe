//! Names and lines: texts that get printed in terminals, tables and paths.

use super::document::{Field, Key, Problems, Table, is_printable, quoted};
use super::limits::NAME_CHARACTERS;

/// What a name may be made of.
const NAME_RULE: &str = "expected letters, digits, `.`, `_`, `-` or `+`, a letter or digit first";

/// Why a text is no name; `what` says whose.
fn name_problem(what: &str, name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let shaped = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(legal);
    if !shaped {
        return Some(format!(
            "{} is no name for {what}; {NAME_RULE}",
            quoted(name)
        ));
    }
    let length = name.chars().count();
    (length > NAME_CHARACTERS).then(|| {
        format!(
            "the name of {what} has {length} characters; at most {NAME_CHARACTERS} are accepted"
        )
    })
}

/// Takes note when a key is no name.
pub(super) fn check_name(what: &str, key: &Key<'_>, problems: &mut Problems) {
    if let Some(problem) = name_problem(what, key.text) {
        key.refuse(problems, problem);
    }
}

/// Takes note when a rendered text is no name.
pub(super) fn check_name_text(what: &str, name: &str, field: &Field<'_>, problems: &mut Problems) {
    if let Some(problem) = name_problem(what, name) {
        field.refuse(problems, problem);
    }
}

/// Reads a name from a value.
pub(super) fn read_name(what: &str, field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let name = field.text(problems)?;
    check_name_text(what, name, field, problems);
    Some(name.to_owned())
}

/// Reads a name from a key that must be there.
pub(super) fn required_name(
    what: &str,
    key: &str,
    table: &Table<'_>,
    problems: &mut Problems,
) -> Option<String> {
    let field = table.required(key, problems)?;
    read_name(what, field, problems)
}

/// Takes note when a text is not fit to be printed on one line.
pub(super) fn check_line(
    what: &str,
    text: &str,
    longest: usize,
    field: &Field<'_>,
    problems: &mut Problems,
) {
    if text.trim().is_empty() {
        field.refuse(problems, format!("{what} is empty"));
    }
    if !text.chars().all(is_printable) {
        let message = format!(
            "{what} {} has characters that cannot be printed on one line",
            quoted(text)
        );
        field.refuse(problems, message);
    }
    let length = text.chars().count();
    if length > longest {
        let message = format!("{what} has {length} characters; at most {longest} are accepted");
        field.refuse(problems, message);
    }
}

/// Takes note when a text holds what no script, variable or argument can hold.
pub(super) fn check_no_nul(text: &str, field: &Field<'_>, problems: &mut Problems) {
    if text.contains('\0') {
        field.refuse(
            problems,
            "the text has a NUL character, which a shell cannot hold",
        );
    }
}
