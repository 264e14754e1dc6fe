//! Cost reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::MoneyView;
use crate::model::Timestamp;
use crate::store::{CostGroup, CostRow};

/// What a cost report is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CostGroupWord {
    /// Build id.
    Build,
    /// Pipeline id.
    Pipeline,
    /// Project.
    Project,
    /// Image name.
    Image,
    /// Day in UTC.
    Day,
}

impl CostGroupWord {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Pipeline => "pipeline",
            Self::Project => "project",
            Self::Image => "image",
            Self::Day => "day",
        }
    }
}

impl From<CostGroupWord> for CostGroup {
    fn from(group: CostGroupWord) -> Self {
        match group {
            CostGroupWord::Build => Self::Build,
            CostGroupWord::Pipeline => Self::Pipeline,
            CostGroupWord::Project => Self::Project,
            CostGroupWord::Image => Self::Image,
            CostGroupWord::Day => Self::Day,
        }
    }
}

/// What one group cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostRowView {
    /// The group's value; empty for overhead that belongs to no group.
    pub key: String,
    /// All of it.
    pub total: MoneyView,
    /// Money by category: `boot`, `work`, `retry`, `idle`, `drain`.
    pub by_category: BTreeMap<String, MoneyView>,
    /// Machine time by category, in milliseconds.
    pub time_millis: BTreeMap<String, u64>,
}

impl From<CostRow> for CostRowView {
    fn from(row: CostRow) -> Self {
        Self {
            key: row.key,
            total: row.total.into(),
            by_category: row
                .by_category
                .into_iter()
                .map(|(category, money)| (category.word().to_owned(), money.into()))
                .collect(),
            time_millis: row
                .time
                .into_iter()
                .map(|(category, span)| (category.word().to_owned(), span.micros() / 1_000))
                .collect(),
        }
    }
}

/// What was spent on stretches of machine time that began in `[from, to)`, dearest group first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostReport {
    /// What it is grouped by.
    pub by: CostGroupWord,
    /// From this moment on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Up to before this moment.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The dearest groups.
    pub rows: Vec<CostRowView>,
    /// The sum of the rows shown.
    pub total: MoneyView,
    /// Whether there are more groups than rows; `total` leaves those out.
    pub truncated: bool,
    /// Where the prices of images come from that do not say their own, and of when they are, by
    /// image. Machines keep the price that they were launched at.
    pub prices: BTreeMap<String, String>,
}
