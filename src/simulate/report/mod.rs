//! What outcomes mean: figures to compare, and a page with charts.
//!
//! `figures` is a pure function of a scenario's outcome; everything printed anywhere comes from it.
//! Money and times are whole numbers, ratios are per mille; nothing is rounded before it is shown.

mod charts;
mod figures;
mod html;
mod waste;

pub use figures::{
    Column, Figures, Ratios, Report, Sample, Split, Waits, figures, ratios, recorded_waits,
};
pub use html::html;
pub use waste::{Waste, WasteReason};

#[cfg(test)]
mod tests;
