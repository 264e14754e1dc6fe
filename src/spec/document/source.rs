//! The text of a document, to be looked into by place.

use super::problem::Place;

/// A text with the offsets of its lines.
#[derive(Debug)]
pub struct Source<'t> {
    text: &'t str,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    /// Finds the lines of `text`.
    pub fn new(text: &'t str) -> Self {
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|offset| offset + 1);
        Self {
            text,
            lines: std::iter::once(0).chain(breaks).collect(),
        }
    }

    /// The text from `place` on; empty when there is no such place.
    pub fn rest(&self, place: Place) -> &'t str {
        self.offset(place)
            .and_then(|offset| self.text.get(offset..))
            .unwrap_or("")
    }

    /// The place of occurrence number `index` (from 0) of `needle` between two places.
    pub fn find(&self, needle: &str, index: usize, from: Place, to: Place) -> Option<Place> {
        let start = self.offset(from)?;
        let end = self.offset(to)?;
        let (within, _) = self
            .text
            .get(start..end)?
            .match_indices(needle)
            .nth(index)?;
        self.place(start + within)
    }

    fn offset(&self, place: Place) -> Option<usize> {
        let start = *self
            .lines
            .get(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        let line = self.text.get(start..)?;
        let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
        let within = line
            .char_indices()
            .map(|(offset, _)| offset)
            .chain([line.len()]);
        within.skip(column).map(|offset| start + offset).next()
    }

    fn place(&self, offset: usize) -> Option<Place> {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = *self.lines.get(line.checked_sub(1)?)?;
        let column = self.text.get(start..offset)?.chars().count() + 1;
        Some(Place {
            line: u32::try_from(line).ok()?,
            column: u32::try_from(column).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let source = Source::new("é: x\n  ü ab ab\n");
        let (from, to) = (Place::START, Place { line: 3, column: 1 });
        assert_eq!(
            source.find("ab", 0, from, to),
            Some(Place { line: 2, column: 5 })
        );
        assert_eq!(
            source.find("ab", 1, from, to),
            Some(Place { line: 2, column: 8 })
        );
        assert_eq!(source.find("ab", 2, from, to), None);
        assert_eq!(source.rest(Place { line: 2, column: 8 }), "ab\n");
        assert_eq!(source.rest(Place { line: 9, column: 1 }), "");
    }
}
