//! Floor 1: decides what machines to launch, bind and end.

mod report;

pub use report::{Explanation, ImageVerdict, MachineCost, PlanReport, WaitingReport};
