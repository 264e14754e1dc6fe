//! What machines cost: instances by AWS's price list, by a bundled table when that does not answer,
//! or by the spot market's latest prices; disks and addresses by constants.
//!
//! Whole micro-dollars an hour throughout, rounded up: what is planned with is never too little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::caches::Caches;
use super::clients::Clients;
use super::settings::Settings;
use crate::model::Rate;
use crate::provider::ProviderError;

mod amount;
mod bundled;
mod extras;
mod list;
mod spot;

pub(super) use extras::{Disk, address_rate, disk_rate};
pub(super) use list::ListPrices;
pub(super) use spot::SpotPrices;

/// List prices change by the month; a day's worth of being late is an hour's.
const LIST_FRESH: Duration = Duration::from_hours(12);
/// How soon the price list is asked again that did not answer: often enough to come back, seldom
/// enough that a network without a way to it does not delay every look at an image.
const LIST_AGAIN: Duration = Duration::from_mins(30);
/// Spot prices move by the hour.
const SPOT_FRESH: Duration = Duration::from_mins(10);

/// Up to so many types are asked for one by one, a call each; for more the whole region's list is
/// read, which is about fifteen calls.
const MOST_SINGLE: usize = 8;

/// On-demand prices by type, and a clause that says where they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OnDemandPrices {
    /// What an instance costs; types of unknown price are not in it.
    pub rates: BTreeMap<String, Rate>,
    /// Where that comes from, and of when it is.
    pub source: String,
}

/// On-demand prices of some types. Never fails: what the list does not say is in the bundled table,
/// or not known.
pub(super) async fn on_demand(
    clients: &Clients,
    settings: &Settings,
    caches: &Caches,
    types: &[&str],
) -> OnDemandPrices {
    let single = types.len() <= MOST_SINGLE;
    let question = if single {
        types.join(" ")
    } else {
        String::new()
    };
    let fresh = |known: &ListPrices| match known.failed {
        Some(_) => LIST_AGAIN,
        None => LIST_FRESH,
    };
    let ask = Box::pin(async {
        let only = single.then_some(types);
        Ok::<_, std::convert::Infallible>(list::fetch(clients, &settings.region, only).await)
    });
    let Ok(listed) = caches.list.get(&question, fresh, ask).await;
    merge(&listed, &settings.region, types)
}

/// Prices from the list, the missing ones from the bundled table.
fn merge(listed: &ListPrices, region: &str, types: &[&str]) -> OnDemandPrices {
    let mut rates = BTreeMap::new();
    let mut bundled = Vec::new();
    for &name in types {
        if let Some(rate) = listed.rates.get(name) {
            rates.insert(name.to_owned(), *rate);
        } else if let Some(rate) = bundled::rate(region, name) {
            rates.insert(name.to_owned(), rate);
            bundled.push(name);
        }
    }
    let mut sources = Vec::new();
    if bundled.len() < rates.len() || rates.is_empty() && listed.failed.is_none() {
        let day = listed.day.as_deref().unwrap_or("an unknown day");
        sources.push(format!("price list of {day}"));
    }
    if !bundled.is_empty() {
        let mut source = bundled::describe(region);
        if let Some(why) = &listed.failed {
            source = format!("{source}, since the price list did not answer ({why})");
        } else {
            source = format!("{source} for {} types that the list lacks", bundled.len());
        }
        sources.push(source);
    }
    OnDemandPrices {
        rates,
        source: sources.join("; "),
    }
}

/// Latest spot prices of some types in all zones, at most ten minutes old.
///
/// # Errors
/// What EC2 said.
pub(super) async fn on_the_spot_market(
    clients: &Clients,
    caches: &Caches,
    types: &[&str],
) -> Result<Arc<SpotPrices>, ProviderError> {
    let ask = Box::pin(spot::fetch(clients, types));
    caches.spot.get(&types.join(" "), |_| SPOT_FRESH, ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(rates: &[(&str, u64)], failed: Option<&str>) -> ListPrices {
        let rate =
            |&(name, micros): &(&str, u64)| (name.to_owned(), Rate::from_micros_per_hour(micros));
        ListPrices {
            rates: rates.iter().map(rate).collect(),
            day: Some("2026-11-20".to_owned()),
            failed: failed.map(str::to_owned),
        }
    }

    #[test]
    fn the_list_goes_before_the_table_and_the_source_is_told() {
        let both = merge(
            &listed(&[("c7i.large", 90_000)], None),
            "us-east-1",
            &["c7i.large", "m7g.large", "none.such"],
        );
        let micros: Vec<_> = both
            .rates
            .iter()
            .map(|(name, rate)| (name.as_str(), rate.micros_per_hour()))
            .collect();
        assert_eq!(micros, [("c7i.large", 90_000), ("m7g.large", 81_600)]);
        assert_eq!(
            both.source,
            "price list of 2026-11-20; bundled table of 2026-07-20 for 1 types that the list lacks"
        );
        let one = merge(
            &listed(&[("c7i.large", 90_000)], None),
            "us-east-1",
            &["c7i.large"],
        );
        assert_eq!(one.source, "price list of 2026-11-20");
        let none = merge(&listed(&[], Some("no way")), "us-east-1", &["c7i.large"]);
        assert_eq!(
            none.source,
            "bundled table of 2026-07-20, since the price list did not answer (no way)"
        );
    }
}
