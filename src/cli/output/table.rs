//! Tables for people: aligned columns without borders that fit the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement};
use comfy_table::{Row, Table as Layout};

/// Spaces behind each column.
const GAP: u16 = 2;

/// A sentence wrapped into fewer columns than this is no longer read.
const LEAST_WIDTH: u16 = 16;

/// What a cell means, which gives it its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    Plain,
    /// Ended well.
    Good,
    /// Ended badly.
    Bad,
    /// Under way.
    Active,
    /// Deserves a look.
    Odd,
    /// Of less interest.
    Faint,
}

impl Tone {
    /// What the word of a state or a result means.
    pub(crate) fn of_word(word: &str) -> Self {
        match word {
            "success" | "active" | "idle" | "changed" => Self::Good,
            "failure" | "infra_failure" | "timed_out" | "over_budget" => Self::Bad,
            "running" | "busy" => Self::Active,
            "booting" | "intended" | "bound" | "draining" | "canceled" | "cut" => Self::Odd,
            "gone" | "skipped" | "superseded" | "removed" | "unchanged" | "not_run" => Self::Faint,
            _ => Self::Plain,
        }
    }

    /// The code of the ANSI sequence; none for plain text.
    pub(crate) const fn ansi(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Active => Some("36"),
            Self::Odd => Some("33"),
            Self::Faint => Some("90"),
        }
    }

    /// The same for tables.
    const fn color(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Bad => Some(Color::Red),
            Self::Active => Some(Color::Cyan),
            Self::Odd => Some(Color::Yellow),
            Self::Faint => Some(Color::DarkGrey),
        }
    }
}

/// How a column behaves when the terminal is narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Always there in full: ids and states, which people copy.
    Whole,
    /// May be cut or wrapped: names and sentences.
    Shrink,
    /// Goes away first; lower numbers go before higher ones.
    Drop(u8),
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    fit: Fit,
    right: bool,
}

/// A column of texts.
pub(crate) const fn column(title: &'static str, fit: Fit) -> Column {
    Column {
        title,
        fit,
        right: false,
    }
}

/// A column of numbers, aligned at the right.
pub(crate) const fn numbers(title: &'static str, fit: Fit) -> Column {
    Column {
        title,
        fit,
        right: true,
    }
}

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paper {
    /// Width of the terminal; `None` when there is none: one line per row, however long.
    pub(crate) width: Option<u16>,
    /// Whether to use colours.
    pub(crate) color: bool,
}

/// Rows of texts under columns.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// Without rows yet.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a text for each column. Control characters become spaces.
    pub(crate) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        let clean = |(text, tone): (String, Tone)| (super::words::printable(&text), tone);
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text; nothing at all without rows.
    pub(crate) fn draw(&self, paper: Paper) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut layout = Layout::new();
        layout.load_style(NOTHING);
        layout.set_header(self.columns.iter().map(header).collect::<Vec<Cell>>());
        layout.add_rows(self.rows.iter().map(|row| self.cells(row)));
        if let Some(width) = paper.width {
            layout.set_content_arrangement(ContentArrangement::Dynamic);
            layout.set_width(width);
        }
        let widths = layout.column_max_content_widths();
        let hidden = paper
            .width
            .map_or_else(Vec::new, |limit| self.hidden(&widths, limit));
        for (index, column) in self.columns.iter().enumerate() {
            let Some(place) = layout.column_mut(index) else {
                continue;
            };
            place.set_padding((0, GAP));
            if hidden.contains(&index) {
                place.set_constraint(ColumnConstraint::Hidden);
            } else if column.fit != Fit::Shrink {
                place.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        if paper.color {
            layout.enforce_styling();
        } else {
            layout.force_no_tty();
        }
        let lines = layout.lines();
        lines.fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    fn cells(&self, row: &[(String, Tone)]) -> Row {
        let pairs = self.columns.iter().zip(row);
        Row::from(pairs.map(|(column, (text, tone))| {
            let cell = Cell::new(text).set_alignment(column.alignment());
            match tone.color() {
                Some(color) => cell.fg(color),
                None => cell,
            }
        }))
    }

    /// The columns that a terminal of this width has no room for.
    fn hidden(&self, widths: &[u16], limit: u16) -> Vec<usize> {
        let mut hidden = Vec::new();
        loop {
            let needed: u16 = self
                .columns
                .iter()
                .zip(widths)
                .enumerate()
                .filter(|(index, _)| !hidden.contains(index))
                .map(|(_, (column, width))| match column.fit {
                    Fit::Shrink => (*width).min(LEAST_WIDTH) + GAP,
                    Fit::Whole | Fit::Drop(_) => width.saturating_add(GAP),
                })
                .fold(0, u16::saturating_add);
            let first_to_go = self
                .columns
                .iter()
                .enumerate()
                .filter(|(index, _)| !hidden.contains(index))
                .filter_map(|(index, column)| match column.fit {
                    Fit::Drop(rank) => Some((rank, index)),
                    Fit::Whole | Fit::Shrink => None,
                })
                .min();
            match first_to_go {
                Some((_, index)) if needed > limit => hidden.push(index),
                Some(_) | None => return hidden,
            }
        }
    }
}

impl Column {
    const fn alignment(&self) -> CellAlignment {
        if self.right {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        }
    }
}

fn header(column: &Column) -> Cell {
    Cell::new(column.title)
        .set_alignment(column.alignment())
        .add_attribute(Attribute::Bold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paper = Paper {
        width: None,
        color: false,
    };

    fn sample() -> Table {
        let mut table = Table::new(&[
            column("ID", Fit::Whole),
            column("STATE", Fit::Whole),
            column("NAME", Fit::Shrink),
            numbers("COST", Fit::Drop(2)),
            column("PROJECT", Fit::Drop(1)),
        ]);
        for (id, state, name) in [
            (
                "bld_01",
                "running",
                "test (3.12, sqlite) on a rather long matrix",
            ),
            ("bld_02", "failure", "a\u{1b}[31mb"),
        ] {
            table.row([
                (id.to_owned(), Tone::Plain),
                (state.to_owned(), Tone::of_word(state)),
                (name.to_owned(), Tone::Plain),
                ("$0.0042".to_owned(), Tone::Plain),
                ("compiler".to_owned(), Tone::Faint),
            ]);
        }
        table
    }

    #[test]
    fn without_a_terminal_each_row_is_one_line() {
        insta::assert_snapshot!(sample().draw(PLAIN));
    }

    #[test]
    fn a_narrow_terminal_loses_columns_then_wraps() {
        let draw = |width| {
            let text = sample().draw(Paper {
                width: Some(width),
                color: false,
            });
            assert!(
                text.lines()
                    .all(|line| line.chars().count() <= usize::from(width)),
                "{text}"
            );
            text
        };
        insta::assert_snapshot!([draw(100), draw(50), draw(36)].join("\n"));
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        assert!(!sample().draw(PLAIN).contains('\u{1b}'));
        let colored = sample().draw(Paper {
            width: None,
            color: true,
        });
        assert!(
            colored.contains("\u{1b}[38;5;9mfailure") || colored.contains("\u{1b}[31m"),
            "{colored:?}"
        );
    }

    #[test]
    fn no_rows_draw_nothing() {
        assert_eq!(Table::new(&[column("ID", Fit::Whole)]).draw(PLAIN), "");
    }
}
