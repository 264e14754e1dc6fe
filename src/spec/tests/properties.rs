//! Properties of all parsers.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::*;
use super::{DEFAULT_POLICY, IMAGES, PIPELINES, lines};

/// Parses as everything; what matters is that it comes back, with problems in order and in place.
fn parse_all(text: &str) -> Result<(), TestCaseError> {
    let results = [
        parse_pipeline(text, &PipelineLimits::default()).err(),
        parse_image(text).err(),
        parse_policy(text).err(),
    ];
    let last_line = u32::try_from(text.lines().count()).unwrap() + 1;
    for problems in results.into_iter().flatten() {
        prop_assert!(!problems.is_empty());
        prop_assert!(problems.is_sorted());
        for problem in &problems {
            prop_assert!(
                problem.column >= 1 && (1..=last_line).contains(&problem.line),
                "{}",
                problem
            );
            let shown = problem.to_string();
            prop_assert!(!shown.chars().any(char::is_control), "{:?}", shown);
        }
    }
    Ok(())
}

/// A valid document with a few pieces cut out, doubled or put in.
fn mutated() -> impl Strategy<Value = String> {
    let documents: Vec<&str> = PIPELINES
        .into_iter()
        .chain(IMAGES.iter().map(|(_, text)| *text))
        .chain([DEFAULT_POLICY])
        .collect();
    let piece = prop::sample::select(vec![
        "\n",
        " ",
        "  ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        "\"",
        "&a ",
        "*a",
        "|",
        ">",
        "#",
        "!",
        "~",
        "\t",
        "${{",
        "}}",
        "${{ matrix.python }}",
        "\u{0}",
        "\u{feff}",
        "é",
        "\r\n",
        "---\n",
        "999999999999999999999",
        "\\",
    ]);
    let edit = (
        any::<prop::sample::Index>(),
        0..12_usize,
        piece,
        any::<bool>(),
    );
    let edits = prop::collection::vec(edit, 1..6);
    (prop::sample::select(documents), edits).prop_map(|(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (place, length, piece, keep) in edits {
            let start = place.index(text.len() + 1);
            let end = if keep {
                start
            } else {
                (start + length).min(text.len())
            };
            text.splice(start..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

/// Axes with the number of their values, and the cells that are excluded.
fn matrices() -> impl Strategy<Value = (Vec<usize>, Vec<Vec<Option<usize>>>)> {
    prop::collection::vec(1..4_usize, 1..4).prop_flat_map(|axes| {
        let rule: Vec<_> = axes
            .iter()
            .map(|count| prop::option::of(0..*count))
            .collect();
        let rules = prop::collection::vec(rule, 0..4);
        let named = |rule: &Vec<Option<usize>>| rule.iter().any(Option::is_some);
        (
            Just(axes),
            rules.prop_map(move |rules| rules.into_iter().filter(named).collect()),
        )
    })
}

/// Every cell of the product, last axis fastest.
fn cells(axes: &[usize]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![vec![]], |cells, count| {
        let longer = |cell: &Vec<usize>| {
            let cell = cell.clone();
            (0..*count).map(move |value| [cell.clone(), vec![value]].concat())
        };
        cells.iter().flat_map(longer).collect()
    })
}

fn needs_document(needs: &[BTreeSet<usize>]) -> String {
    let builds = needs.iter().enumerate().map(|(build, needed)| {
        let needed: Vec<_> = needed.iter().map(|needed| format!("b{needed}")).collect();
        format!(
            "  b{build}: {{needs: [{}], steps: [x]}}\n",
            needed.join(", ")
        )
    });
    format!("name: p\nbuilds:\n{}", builds.collect::<String>())
}

/// Whether the graph has an order in which every build comes after what it needs.
fn is_ordered(needs: &[Vec<usize>]) -> bool {
    let mut done = BTreeSet::new();
    while done.len() < needs.len() {
        let ready = |build: &usize| {
            !done.contains(build) && needs[*build].iter().all(|need| done.contains(need))
        };
        let Some(build) = (0..needs.len()).find(ready) else {
            return false;
        };
        done.insert(build);
    }
    true
}

proptest! {
    #[test]
    fn arbitrary_texts_are_answered(text in any::<String>()) {
        parse_all(&text)?;
    }

    #[test]
    fn mutated_documents_are_answered(text in mutated()) {
        parse_all(&text)?;
    }

    #[test]
    fn a_matrix_has_every_cell_that_is_not_excluded((axes, exclude) in matrices()) {
        let mut matrix = String::new();
        for (axis, count) in axes.iter().enumerate() {
            let values: Vec<_> = (0..*count).map(|value| value.to_string()).collect();
            write!(matrix, "a{axis}: [{}], ", values.join(", ")).unwrap();
        }
        let rules = exclude.iter().map(|rule| {
            let named = rule.iter().enumerate().filter_map(|(axis, value)| Some(format!("a{axis}: {}", (*value)?)));
            format!("{{{}}}", named.collect::<Vec<_>>().join(", "))
        });
        let rules = rules.collect::<Vec<_>>().join(", ");
        let text = format!("name: p\nbuilds: {{b: {{steps: [x], matrix: {{{matrix} exclude: [{rules}]}}}}}}\n");

        let mut kept = cells(&axes);
        kept.retain(|cell| !exclude.iter().any(|rule| {
            rule.iter().zip(cell).all(|(wanted, value)| wanted.is_none_or(|wanted| wanted == *value))
        }));
        let expected: Vec<_> = kept.iter().map(|cell| {
            let values: Vec<_> = cell.iter().map(usize::to_string).collect();
            format!("b ({})", values.join(", "))
        }).collect();
        match parse_pipeline(&text, &PipelineLimits::default()) {
            Ok(draft) => {
                let names: Vec<_> = draft.builds.into_iter().map(|build| build.name).collect();
                prop_assert_eq!(names, expected);
            }
            Err(problems) => prop_assert!(expected.is_empty(), "{}\n{}", text, lines(&problems)),
        }
    }

    #[test]
    fn needs_are_accepted_exactly_when_they_have_an_order(
        needs in prop::collection::vec(prop::collection::btree_set(0..8_usize, 0..3), 8),
    ) {
        let listed: Vec<Vec<usize>> = needs.iter().map(|needed| needed.iter().copied().collect()).collect();
        match parse_pipeline(&needs_document(&needs), &PipelineLimits::default()) {
            Ok(draft) => {
                let drafted: Vec<_> = draft.builds.into_iter().map(|build| build.needs).collect();
                prop_assert_eq!(&drafted, &listed);
                prop_assert!(is_ordered(&drafted));
            }
            Err(problems) => {
                prop_assert!(!is_ordered(&listed));
                prop_assert!(problems.iter().all(|problem| problem.message.contains("in a circle")));
            }
        }
    }

    #[test]
    fn requirement_texts_are_read_or_refused(text in any::<String>()) {
        if let Ok(constraint) = parse_constraint(&text) {
            prop_assert_eq!(parse_constraint(&constraint.to_string()), Ok(constraint));
        }
    }
}
