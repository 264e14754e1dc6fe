//! Requirements as texts for people.

use std::collections::BTreeMap;

use crate::model::{Constraint, Operator, Requirement, Requirements};

/// What a build needs, by capability: `present`, `absent`, or alternatives joined by ` | `.
pub(super) fn requirement_texts(requires: &Requirements) -> BTreeMap<String, String> {
    requires
        .iter()
        .map(|(name, requirement)| (name.clone(), requirement_text(requirement)))
        .collect()
}

fn requirement_text(requirement: &Requirement) -> String {
    match requirement {
        Requirement::Present => "present".to_owned(),
        Requirement::Absent => "absent".to_owned(),
        Requirement::AnyOf(constraints) => constraints
            .iter()
            .map(constraint_text)
            .collect::<Vec<_>>()
            .join(" | "),
    }
}

fn constraint_text(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Is(value) => value.clone(),
        Constraint::All(parts) => parts
            .iter()
            .map(|(operator, version)| format!("{}{version}", operator_text(*operator)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

const fn operator_text(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_like_the_document() {
        let both = Requirement::AnyOf(vec![
            Constraint::All(vec![
                (Operator::GreaterOrEqual, "3.11".to_owned()),
                (Operator::Less, "3.13".to_owned()),
            ]),
            Constraint::Is("2.7".to_owned()),
        ]);
        let requires = Requirements::from([
            ("docker".to_owned(), Requirement::Absent),
            ("git".to_owned(), Requirement::Present),
            ("python".to_owned(), both),
        ]);
        let texts = requirement_texts(&requires);
        assert_eq!(texts["docker"], "absent");
        assert_eq!(texts["git"], "present");
        assert_eq!(texts["python"], ">=3.11, <3.13 | 2.7");
    }
}
