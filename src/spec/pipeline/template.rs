//! Texts with `${{ … }}`.
//!
//! The expressions are those of the template library, cut down to what cannot grow: names, text
//! literals, comparisons, `~`, `if … else` and a few filters. There are no blocks and no comments,
//! so shell text with `{%`, `{#`, `{{` or `${x}` passes untouched.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Template, UndefinedBehavior, Value, filters};

use crate::spec::document::{Field, Place, Problems, Source, quoted, shortened};

/// What begins an expression.
const OPEN: &str = "${{";
/// What ends one.
const CLOSE: &str = "}}";

/// Instructions that rendering one text may take: some three thousand expressions.
const FUEL: u64 = 10_000;

/// Longest expression: many times what belongs into a document.
const EXPRESSION_BYTES: usize = 500;

/// Longest result of `replace`, in bytes. It is the one filter that multiplies, and filters chain.
const REPLACED_BYTES: usize = 4 << 10;

/// Longest message of the library that is passed on, in characters.
const MESSAGE_CHARACTERS: usize = 200;

/// The library, set up for our texts.
pub(super) struct Templates<'d> {
    environment: Environment<'d>,
    source: &'d Source<'d>,
}

/// A text that may have templates in it.
pub(super) struct Text<'e> {
    pub(super) field: Field<'e>,
    written: &'e str,
    template: Option<Template<'e, 'e>>,
    source: &'e Source<'e>,
}

/// What templates may name.
pub(super) struct Scope {
    values: Value,
    known: String,
}

impl<'d> Templates<'d> {
    pub(super) fn new(source: &'d Source<'d>) -> Self {
        let mut environment = Environment::empty();
        if let Ok(syntax) = syntax() {
            environment.set_syntax(syntax);
        }
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_debug(true); // For the place and the name of what is undefined.
        environment.set_formatter(|output, _, value| {
            let kind = value.kind();
            if matches!(
                kind,
                ValueKind::String | ValueKind::Number | ValueKind::Bool
            ) {
                return Ok(output.write_fmt(format_args!("{value}"))?);
            }
            let message = format!("expected a text, found {kind}");
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_filter("lower", filters::lower);
        environment.add_filter("upper", filters::upper);
        environment.add_filter("trim", filters::trim);
        environment.add_filter("default", filters::default);
        environment.add_filter("replace", replace);
        environment.add_test("defined", minijinja::tests::is_defined);
        Self {
            environment,
            source,
        }
    }

    /// Compiles the text of a field, if it has templates.
    pub(super) fn text<'e>(
        &'e self,
        field: &Field<'e>,
        problems: &mut Problems,
    ) -> Option<Text<'e>> {
        let text = field.text(problems)?;
        self.compile(field, text, problems)
    }

    /// As [`Templates::text`], but nothing is an empty text.
    pub(super) fn text_or_nothing<'e>(
        &'e self,
        field: &Field<'e>,
        problems: &mut Problems,
    ) -> Option<Text<'e>> {
        if field.node().is_null() {
            return self.compile(field, "", problems);
        }
        self.text(field, problems)
    }

    fn compile<'e>(
        &'e self,
        field: &Field<'e>,
        text: &'e str,
        problems: &mut Problems,
    ) -> Option<Text<'e>> {
        let mut compiled = Text {
            field: field.clone(),
            written: text,
            template: None,
            source: self.source,
        };
        if !text.contains(OPEN) {
            return Some(compiled);
        }
        if let Err((offset, refusal)) = check_expressions(text) {
            let message = format!("template: {refusal}");
            problems.add(compiled.place_of(offset), field.path(), message);
            return None;
        }
        match self.environment.template_from_str(text) {
            Ok(template) => {
                compiled.template = Some(template);
                Some(compiled)
            }
            Err(error) => {
                compiled.refuse(&error, "", problems);
                None
            }
        }
    }
}

/// Templates in `${{ }}`. The library has no way to do without blocks and comments, so theirs begin
/// with a character that no document can hold (a raw NUL is no YAML, and an escaped one is refused).
fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder()
        .variable_delimiters(OPEN, CLOSE)
        .block_delimiters("\0{%", "%}\0")
        .comment_delimiters("\0{#", "#}\0")
        .keep_trailing_newline(true)
        .build()
}

/// Refuses, before the library sees them, expressions that could make it use memory or stack
/// without measure. Where, and why.
fn check_expressions(text: &str) -> Result<(), (usize, String)> {
    let mut seen = 0;
    while let Some(found) = text.get(seen..).and_then(|rest| rest.find(OPEN)) {
        let inside = seen + found + OPEN.len();
        let length = check_expression(text.get(inside..).unwrap_or(""))
            .map_err(|refusal| (inside, refusal))?;
        seen = inside + length;
    }
    Ok(())
}

/// The length of the expression that `text` begins with, its end included.
///
/// Refused are `*`, with which the library repeats texts up to 100 MB a time; braces and brackets,
/// without which `}}` is an end wherever it stands outside of quotes; and long expressions, because
/// the library follows nesting (and every chain of operators and filters nests) on the stack.
fn check_expression(text: &str) -> Result<usize, String> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((offset, c)) = characters.next() {
        if offset > EXPRESSION_BYTES {
            return Err(format!(
                "an expression is longer than {EXPRESSION_BYTES} bytes"
            ));
        }
        if let Some(open) = quote {
            if c == '\\' {
                characters.next();
            } else if c == open {
                quote = None;
            }
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '}' if characters.as_str().starts_with('}') => return Ok(offset + CLOSE.len()),
            '*' | '{' | '}' | '[' | ']' | '\0' => {
                return Err(format!(
                    "{} is not supported outside of quotes",
                    quoted(&c.to_string())
                ));
            }
            _ => {}
        }
    }
    Ok(text.len())
}

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let found = text.matches(from).count();
    if text.len().saturating_add(found.saturating_mul(to.len())) > REPLACED_BYTES {
        let message = format!("replace makes more than {REPLACED_BYTES} bytes");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    Ok(text.replace(from, to))
}

impl<'e> Text<'e> {
    /// The text with its templates filled in.
    pub(super) fn render(&self, scope: &Scope, problems: &mut Problems) -> Option<Cow<'e, str>> {
        let Some(template) = &self.template else {
            return Some(Cow::Borrowed(self.written));
        };
        match template.render(scope.values.clone()) {
            Ok(text) => Some(Cow::Owned(text)),
            Err(error) => {
                self.refuse(&error, &scope.known, problems);
                None
            }
        }
    }

    fn refuse(&self, error: &Error, known: &str, problems: &mut Problems) {
        let detail = error
            .detail()
            .map(|detail| shortened(detail, MESSAGE_CHARACTERS));
        let detail = detail.unwrap_or_else(|| error.kind().to_string());
        let hint = hint(error.kind(), known);
        let offset = error.range().map_or(0, |range| range.start);
        let message = format!("template: {detail}{hint}");
        problems.add(self.place_of(offset), self.field.path(), message);
    }

    /// Where in the document the expression stands that `offset` of the text is part of. Quotes,
    /// folds and indents make the text another one than the document's, but they keep the number of
    /// expressions.
    fn place_of(&self, offset: usize) -> Place {
        let before = self.written.get(..offset).unwrap_or(self.written);
        let index = before.matches(OPEN).count().saturating_sub(1);
        let node = self.field.node();
        self.source
            .find(OPEN, index, node.place, node.end)
            .unwrap_or(node.place)
    }
}

/// What there is instead.
fn hint(kind: ErrorKind, known: &str) -> String {
    if kind == ErrorKind::UndefinedError {
        format!("; known: {known}")
    } else if kind == ErrorKind::UnknownFilter {
        "; known: default, lower, replace, trim, upper".to_owned()
    } else if kind == ErrorKind::UnknownTest {
        "; known: defined".to_owned()
    } else if kind == ErrorKind::OutOfFuel {
        "; one text has too many expressions".to_owned()
    } else {
        String::new()
    }
}

impl Scope {
    /// What the pipeline's own texts may name.
    pub(super) fn of_pipeline(name: &str, project: &str) -> Self {
        Self {
            values: minijinja::context! {
                pipeline => minijinja::context! { name, project },
            },
            known: "pipeline.name, pipeline.project".to_owned(),
        }
    }

    /// What a build's texts may name: its combination of the matrix, its full name, the pipeline.
    pub(super) fn of_build(
        matrix: &BTreeMap<String, String>,
        build: &str,
        pipeline: &str,
        project: &str,
    ) -> Self {
        let axes = matrix.keys().map(|axis| format!("matrix.{axis}, "));
        Self {
            values: minijinja::context! {
                matrix,
                build => minijinja::context! { name => build },
                pipeline => minijinja::context! { name => pipeline, project },
            },
            known: axes.collect::<String>() + "build.name, pipeline.name, pipeline.project",
        }
    }
}
