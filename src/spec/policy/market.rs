//! `market`: how capacity is bought.

use super::super::document::{Field, Problems, Table};
use super::read::{read_choice, read_percent, read_span};
use crate::model::{MarketChoice, OnDemandWhen, PolicySpec, Span};

/// Reads `market`: a word alone, or a map of the word and the exceptions.
pub(super) fn read_market(field: &Field<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    if field.is_scalar() {
        spec.market = read_word(field, problems);
        return;
    }
    let Some(market) = field.table(&["buy", "on_demand"], problems) else {
        return;
    };
    spec.market = market
        .get("buy")
        .and_then(|field| read_word(field, problems));
    let Some(field) = market.get("on_demand") else {
        return;
    };
    spec.on_demand = read_on_demand(field, problems);
    if spec.market == Some(MarketChoice::OnDemand) {
        field.refuse(
            problems,
            "everything is bought on demand already; expected `buy: spot` or \
             `buy: spot-with-fallback` beside it",
        );
    }
}

fn read_word(field: &Field<'_>, problems: &mut Problems) -> Option<MarketChoice> {
    let choices = [
        MarketChoice::OnDemand,
        MarketChoice::Spot,
        MarketChoice::SpotWithFallback,
    ];
    let choices = choices.map(|choice| (choice.word(), choice));
    read_choice("market", choices, field, problems)
}

fn read_on_demand(field: &Field<'_>, problems: &mut Problems) -> Option<OnDemandWhen> {
    const KEYS: [&str; 3] = ["longer_than", "deadline_within", "risk_above"];
    let table: Table<'_> = field.table(&KEYS, problems)?;
    Some(OnDemandWhen {
        longer_than: read_span("longer_than", Span::ZERO, &table, problems),
        deadline_within: read_span("deadline_within", Span::ZERO, &table, problems),
        risk_above_percent: read_percent("risk_above", 0, &table, problems),
    })
}
