//! The nodes of a document.

use super::printable::quoted;
use super::problem::Place;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// Where a scalar ends; where a list or map begins.
    pub end: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text, number, flag or nothing.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in document order, its keys unique.
    Map(Vec<Entry>),
}

/// A text, number, flag or nothing: which of them is for the reader to say.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// The text in the document, unquoted: `3.10` is `3.10`.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bare, so that it may be a number, a flag or nothing.
    Plain,
    /// In quotes, or with a tag that says text.
    Quoted,
    /// As a block of lines behind `|` or `>`.
    Block,
}

/// A key of a map with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

impl Scalar {
    /// Whether it is nothing: an empty place, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain
            && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The flag that it is, if it is one.
    pub fn flag(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.style == Style::Plain => Some(true),
            "false" | "False" | "FALSE" if self.style == Style::Plain => Some(false),
            _ => None,
        }
    }
}

impl Node {
    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// What it is, for `expected …, found …`.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => quoted(&scalar.text),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// The same value as JSON. Only numbers that print as they were written become numbers, so
    /// that `3.10` is the text `3.10`.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

impl Scalar {
    fn to_json(&self) -> serde_json::Value {
        if self.is_null() {
            return serde_json::Value::Null;
        }
        if let Some(flag) = self.flag() {
            return flag.into();
        }
        let number = serde_json::from_str::<serde_json::Number>(&self.text).ok();
        match number.filter(|number| self.style == Style::Plain && number.to_string() == self.text)
        {
            Some(number) => number.into(),
            None => self.text.as_str().into(),
        }
    }
}
