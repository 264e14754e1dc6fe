//! Positioned documents: YAML (and so JSON) to a tree whose every node knows its place, and a
//! reader that collects every problem of a document at once.
//!
//! It knows nothing of pipelines; `config` reads its file with it, too. Scalars keep the text of
//! the document: `3.10` stays `3.10` and never becomes a number on the way.
//!
//! Of YAML it takes one document of maps, lists and scalars with anchors and aliases (bounded);
//! tags other than `!!str`, merge keys and keys that are no texts are problems with a place.

mod load;
mod printable;
mod problem;
mod read;
mod source;
mod tree;

pub use load::{Document, DocumentLimits, load};
pub(in crate::spec) use printable::{is_printable, shortened};
pub use printable::{nearest, printable, quoted};
pub use problem::{Place, Problem, Problems};
pub(in crate::spec) use read::unknown;
pub use read::{Field, Key, Table};
pub use source::Source;
pub use tree::{Entry, Node, Scalar, Style, Value};

#[cfg(test)]
mod tests;
