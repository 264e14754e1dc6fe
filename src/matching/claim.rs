//! One capability against one requirement, with every version read beforehand.

use crate::model::{CapabilityValue, Constraint, Operator, Requirement, Version};

/// A text, and the version that it may be.
#[derive(Debug)]
pub(super) struct Value<'a> {
    text: &'a str,
    version: Option<Version>,
}

/// What an image claims for one capability.
#[derive(Debug)]
pub(super) enum Claim<'a> {
    /// It has it (or not), without a value to compare.
    Flag(bool),
    /// It has these values.
    Values(Vec<Value<'a>>),
}

/// A requirement, read once and compared with many claims.
#[derive(Debug)]
pub(super) enum Need<'a> {
    /// Any value.
    Present,
    /// No value.
    Absent,
    /// A value that passes one of these.
    AnyOf(Vec<Test<'a>>),
}

/// A constraint, read once.
#[derive(Debug)]
pub(super) enum Test<'a> {
    Is(Value<'a>),
    All(Vec<(Operator, Value<'a>)>),
}

impl<'a> Value<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            version: Version::parse(text),
        }
    }

    /// Whether `other` is the same text, the same version or a version below this one.
    fn covers(&self, other: &Self) -> bool {
        self.text == other.text
            || matches!((&self.version, &other.version), (Some(a), Some(b)) if a.covers(b))
    }

    /// Compares as versions with `holds`; false when either is no version.
    fn compares(&self, bound: &Self, holds: impl Fn(&Version, &Version) -> bool) -> bool {
        matches!((&self.version, &bound.version), (Some(a), Some(b)) if holds(a, b))
    }
}

impl<'a> Claim<'a> {
    pub(super) fn of(capability: &'a CapabilityValue) -> Self {
        match capability {
            CapabilityValue::Flag(there) => Self::Flag(*there),
            CapabilityValue::Values(texts) => {
                Self::Values(texts.iter().map(|text| Value::of(text)).collect())
            }
        }
    }
}

impl<'a> Need<'a> {
    pub(super) fn of(requirement: &'a Requirement) -> Self {
        match requirement {
            Requirement::Present => Self::Present,
            Requirement::Absent => Self::Absent,
            Requirement::AnyOf(constraints) => {
                Self::AnyOf(constraints.iter().map(Test::of).collect())
            }
        }
    }

    /// Whether `claim` meets the requirement; `None` is an image that does not know the capability.
    pub(super) fn accepts(&self, claim: Option<&Claim<'_>>) -> bool {
        let values = match claim {
            None | Some(Claim::Flag(false)) => return matches!(self, Self::Absent),
            Some(Claim::Flag(true)) => return matches!(self, Self::Present),
            Some(Claim::Values(values)) => values,
        };
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::AnyOf(tests) => values
                .iter()
                .any(|value| tests.iter().any(|test| test.passes(value))),
        }
    }
}

impl<'a> Test<'a> {
    fn of(constraint: &'a Constraint) -> Self {
        match constraint {
            Constraint::Is(text) => Self::Is(Value::of(text)),
            Constraint::All(comparisons) => Self::All(
                comparisons
                    .iter()
                    .map(|(operator, text)| (*operator, Value::of(text)))
                    .collect(),
            ),
        }
    }

    fn passes(&self, value: &Value<'_>) -> bool {
        match self {
            Self::Is(wanted) => wanted.covers(value),
            Self::All(comparisons) => comparisons
                .iter()
                .all(|(operator, bound)| holds(*operator, value, bound)),
        }
    }
}

/// Whether `value` stands to `bound` as `operator` says. Equality works on any text; order only on
/// versions.
fn holds(operator: Operator, value: &Value<'_>, bound: &Value<'_>) -> bool {
    match operator {
        Operator::Equal => value.text == bound.text || value.compares(bound, |a, b| a == b),
        Operator::NotEqual => !bound.covers(value),
        Operator::Less => value.compares(bound, |a, b| a < b),
        Operator::LessOrEqual => value.compares(bound, |a, b| a <= b),
        Operator::Greater => value.compares(bound, |a, b| a > b),
        Operator::GreaterOrEqual => value.compares(bound, |a, b| a >= b),
    }
}
