//! One thing for people: a name and a value per line.

use super::{Paper, Tone, paint, words};

/// Names with values, in order.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    rows: Vec<(&'static str, String, Tone)>,
}

impl Fields {
    /// Adds a value.
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<String>) {
        self.toned(name, value, Tone::Plain);
    }

    /// Adds a value that means something.
    pub(crate) fn toned(&mut self, name: &'static str, value: impl Into<String>, tone: Tone) {
        self.rows
            .push((name, words::printable(&value.into()), tone));
    }

    /// Adds a value if there is one.
    pub(crate) fn maybe(&mut self, name: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// A line each, values aligned.
    pub(crate) fn draw(&self, paper: Paper) -> String {
        let widest = self.rows.iter().map(|(name, ..)| name.len()).max();
        let width = widest.unwrap_or(0) + 2;
        let line = |(name, value, tone): &(&str, String, Tone)| {
            let label = paint(
                &format!("{:width$}", format!("{name}:")),
                Tone::Faint,
                paper.color,
            );
            let value = paint(&words::or_none(value.clone()), *tone, paper.color);
            format!("{label}{value}\n")
        };
        self.rows.iter().map(line).collect()
    }
}
