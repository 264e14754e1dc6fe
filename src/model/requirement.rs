//! What a build needs of an image.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything a build needs, by capability name; all must hold.
pub type Requirements = BTreeMap<String, Requirement>;

/// What one capability must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// The image must have it, with whatever value.
    Present,
    /// The image must not have it.
    Absent,
    /// One value of the image must satisfy one of these.
    AnyOf(Vec<Constraint>),
}

/// A comparison, or several joined by commas, that one value must satisfy together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// The same text, or the same version, or a version below it (`3.12` accepts `3.12.4`).
    Is(String),
    /// All of these hold for one and the same value, as in `>=3.11, <3.13`.
    All(Vec<(Operator, String)>),
}

/// How a value is compared with the version in a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `==`: equal, trailing zeros aside.
    Equal,
    /// `!=`: neither equal nor below it.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl fmt::Display for Requirement {
    /// As it would stand behind `needs`: `any`, `none`, or the alternatives joined with `or`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("any"),
            Self::Absent => f.write_str("none"),
            Self::AnyOf(constraints) => write_joined(f, constraints, " or "),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(text) => f.write_str(text),
            Self::All(comparisons) => {
                for (index, (operator, text)) in comparisons.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{operator}{text}")?;
                }
                Ok(())
            }
        }
    }
}

impl Operator {
    /// Every operator with its sign, longer signs first: a reader may take the first that fits.
    pub const SIGNS: [(&'static str, Self); 6] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("<", Self::Less),
        (">", Self::Greater),
    ];

    /// The sign, as written in documents.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    items: &[impl fmt::Display],
    separator: &str,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_print_as_they_are_written() {
        let range = Constraint::All(vec![
            (Operator::GreaterOrEqual, "3.11".to_owned()),
            (Operator::Less, "3.13".to_owned()),
        ]);
        let either = Requirement::AnyOf(vec![Constraint::Is("2.7".to_owned()), range]);
        assert_eq!(either.to_string(), "2.7 or >=3.11, <3.13");
        assert_eq!(Requirement::Present.to_string(), "any");
        assert_eq!(Requirement::Absent.to_string(), "none");
    }

    #[test]
    fn the_table_of_signs_is_the_signs() {
        for (sign, operator) in Operator::SIGNS {
            assert_eq!(operator.sign(), sign);
        }
    }
}
