//! Reading values out of a tree, with every problem taken note of.
//!
//! A method that returns `None` has added a problem; the caller goes on with the rest of the
//! document, and [`Problems::finish`] refuses the whole in the end.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::printable::{nearest, printable, quoted};
use super::problem::{Place, Problems};
use super::tree::{Entry, Node, Scalar, Value};

/// A node with the path that leads to it.
#[derive(Debug, Clone)]
pub struct Field<'d> {
    node: &'d Node,
    path: String,
}

/// A key of a map, with its place and path.
#[derive(Debug, Clone)]
pub struct Key<'d> {
    /// The key.
    pub text: &'d str,
    /// Where it stands.
    pub place: Place,
    /// Its path, which is its value's path, too.
    pub path: String,
}

/// A map with known keys.
#[derive(Debug)]
pub struct Table<'d> {
    place: Place,
    path: String,
    fields: BTreeMap<&'d str, Field<'d>>,
}

impl<'d> Field<'d> {
    /// The root of a document.
    pub const fn root(node: &'d Node) -> Self {
        Self {
            node,
            path: String::new(),
        }
    }

    /// The node itself.
    pub const fn node(&self) -> &'d Node {
        self.node
    }

    /// Where it begins.
    pub const fn place(&self) -> Place {
        self.node.place
    }

    /// The path that leads to it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is neither a list nor a map.
    pub const fn is_scalar(&self) -> bool {
        matches!(self.node.value, Value::Scalar(_))
    }

    /// Takes note of a problem with it.
    pub fn refuse(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.add(self.place(), &self.path, message);
    }

    /// Takes note that it is not what it should be.
    pub fn expected(&self, problems: &mut Problems, what: &str) {
        let found = self.node.describe();
        self.refuse(problems, format!("expected {what}, found {found}"));
    }

    /// A scalar that is something.
    pub fn scalar(&self, problems: &mut Problems) -> Option<&'d Scalar> {
        match &self.node.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                self.expected(problems, "a text");
                None
            }
        }
    }

    /// A text; numbers and flags are taken as they are written.
    pub fn text(&self, problems: &mut Problems) -> Option<&'d str> {
        self.scalar(problems).map(|scalar| scalar.text.as_str())
    }

    /// `true` or `false`.
    pub fn flag(&self, problems: &mut Problems) -> Option<bool> {
        let flag = match &self.node.value {
            Value::Scalar(scalar) => scalar.flag(),
            Value::List(_) | Value::Map(_) => None,
        };
        if flag.is_none() {
            self.expected(problems, "true or false");
        }
        flag
    }

    /// A whole number in a range.
    pub fn integer<N>(&self, range: RangeInclusive<N>, problems: &mut Problems) -> Option<N>
    where
        N: FromStr + PartialOrd + fmt::Display,
    {
        let number = match &self.node.value {
            Value::Scalar(scalar) => scalar.text.parse().ok(),
            Value::List(_) | Value::Map(_) => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("a whole number from {} to {}", range.start(), range.end());
            self.expected(problems, &what);
        }
        number
    }

    /// A text that `T` reads; its error should say what would be accepted.
    pub fn parse<T>(&self, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        match self.text(problems)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(problems, error.to_string());
                None
            }
        }
    }

    /// As [`Field::parse`], within a range.
    pub fn parse_within<T>(&self, range: RangeInclusive<T>, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display,
    {
        let value = self.parse(problems)?;
        if !range.contains(&value) {
            let (least, most) = (range.start(), range.end());
            let message = format!("{value} is out of range; expected {least} to {most}");
            self.refuse(problems, message);
        }
        Some(value)
    }

    /// The items of a list.
    pub fn list(&self, problems: &mut Problems) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            self.expected(problems, "a list");
            return None;
        };
        Some(self.items(items))
    }

    /// The items of a list, or the one value that stands for a list of one.
    pub fn one_or_more(&self) -> Vec<Self> {
        match &self.node.value {
            Value::List(items) => self.items(items),
            Value::Scalar(_) | Value::Map(_) => vec![self.clone()],
        }
    }

    fn items(&self, items: &'d [Node]) -> Vec<Self> {
        let numbered = items.iter().enumerate();
        numbered
            .map(|(index, node)| Self {
                node,
                path: format!("{}[{index}]", self.path),
            })
            .collect()
    }

    /// The entries of a map with free keys.
    pub fn entries(&self, problems: &mut Problems) -> Option<Vec<(Key<'d>, Self)>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected(problems, "a map");
            return None;
        };
        Some(entries.iter().map(|entry| self.entry(entry)).collect())
    }

    fn entry(&self, entry: &'d Entry) -> (Key<'d>, Self) {
        let path = below(&self.path, &entry.key);
        let key = Key {
            text: &entry.key,
            place: entry.place,
            path: path.clone(),
        };
        (
            key,
            Self {
                node: &entry.value,
                path,
            },
        )
    }

    /// A map that has no other keys than the `known` ones. A key without a value counts as absent.
    pub fn table(&self, known: &[&str], problems: &mut Problems) -> Option<Table<'d>> {
        let entries = self.entries(problems)?;
        let mut fields = BTreeMap::new();
        for (key, field) in entries {
            if !known.contains(&key.text) {
                key.unknown("key", known, problems);
            } else if !field.node.is_null() {
                fields.insert(key.text, field);
            }
        }
        Some(Table {
            place: self.place(),
            path: self.path.clone(),
            fields,
        })
    }
}

impl Key<'_> {
    /// Takes note of a problem with the key.
    pub fn refuse(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.add(self.place, &self.path, message);
    }

    /// Takes note that there is no `what` of this name, with the nearest and the whole list.
    pub fn unknown(&self, what: &str, known: &[&str], problems: &mut Problems) {
        let message = unknown(what, self.text, known);
        self.refuse(problems, message);
    }
}

/// `unknown key "step" (did you mean "steps"?); known: …`.
pub(in crate::spec) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    /// Longest list of names that is told: the known keys of any table fit.
    const MOST_NAMES: usize = 20;
    let guess = nearest(name, known.iter().copied())
        .map(|nearest| format!(" (did you mean {}?)", quoted(nearest)))
        .unwrap_or_default();
    let shown: Vec<_> = known
        .iter()
        .take(MOST_NAMES)
        .map(|name| printable(name))
        .collect();
    let more = if known.len() > MOST_NAMES {
        ", …"
    } else {
        ""
    };
    let list = if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    };
    format!(
        "unknown {what} {}{guess}; known: {list}{more}",
        quoted(name)
    )
}

/// The path of `key` below `path`.
pub(super) fn below(path: &str, key: &str) -> String {
    let key = printable(key);
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

impl<'d> Table<'d> {
    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<&Field<'d>> {
        self.fields.get(key)
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &str, problems: &mut Problems) -> Option<&Field<'d>> {
        let field = self.fields.get(key);
        if field.is_none() {
            problems.add(
                self.place,
                &self.path,
                format!("the key {} is missing", quoted(key)),
            );
        }
        field
    }
}
