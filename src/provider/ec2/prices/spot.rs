//! The spot market: the latest price of each type in each zone.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{InstanceType, SpotPrice};

use super::super::clients::{Call, Clients};
use super::super::errors::refuse;
use super::amount::dollars;
use crate::model::Rate;
use crate::provider::{ErrorKind, ProviderError};

/// What we are doing, as errors say it.
const OPERATION: &str = "reading spot prices";
/// What is run: Linux, in a VPC or (in old records) not.
const PRODUCTS: [&str; 2] = ["Linux/UNIX", "Linux/UNIX (Amazon VPC)"];
/// Rows of one page: the most that is promised.
const PAGE: i32 = 1_000;
/// Most pages that are read: sixty types in six zones are one.
const MOST_PAGES: u32 = 50;

/// Latest spot prices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct SpotPrices {
    rates: BTreeMap<(String, String), (DateTime, Rate)>,
}

impl SpotPrices {
    /// What a type costs in a zone, if it is sold there.
    pub(in super::super) fn rate(&self, name: &str, zone: &str) -> Option<Rate> {
        let key = (name.to_owned(), zone.to_owned());
        self.rates.get(&key).map(|(_, rate)| *rate)
    }

    /// Made up, for tests of what is made of them.
    #[cfg(test)]
    pub(in super::super) fn of(rows: &[(&str, &str, u64)]) -> Self {
        let entry = |&(name, zone, micros): &(&str, &str, u64)| {
            let price = (DateTime::from_secs(0), Rate::from_micros_per_hour(micros));
            ((name.to_owned(), zone.to_owned()), price)
        };
        Self {
            rates: rows.iter().map(entry).collect(),
        }
    }

    /// Takes note of a row; of several for a type and zone, the latest counts.
    fn note(&mut self, row: &SpotPrice) {
        let (Some(name), Some(zone), Some(at)) =
            (&row.instance_type, &row.availability_zone, row.timestamp)
        else {
            return;
        };
        let rate = row.spot_price.as_deref().and_then(dollars);
        let Some(rate) = rate.filter(|rate| rate.micros_per_hour() > 0) else {
            return;
        };
        let known = self
            .rates
            .entry((name.as_str().to_owned(), zone.clone()))
            .or_insert((at, rate));
        if at >= known.0 {
            *known = (at, rate);
        }
    }
}

/// Asks for the latest prices of some types in all zones.
pub(super) async fn fetch(clients: &Clients, types: &[&str]) -> Result<SpotPrices, ProviderError> {
    let types = types.iter().map(|&name| InstanceType::from(name)).collect();
    let request = clients
        .ec2
        .describe_spot_price_history()
        .set_instance_types(Some(types))
        .set_product_descriptions(Some(PRODUCTS.map(str::to_owned).to_vec()))
        // From now on: this gives each pool's price that holds now, and nothing older.
        .start_time(now())
        .max_results(PAGE);
    let mut prices = SpotPrices::default();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let page = request.clone().set_next_token(token).send();
        let call = Call::new("DescribeSpotPriceHistory", OPERATION);
        let answer = clients.call(call, page).await?;
        for row in answer.spot_price_history.unwrap_or_default() {
            prices.note(&row);
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(prices);
        }
    }
    let message = format!("DescribeSpotPriceHistory gave {MOST_PAGES} pages and no end");
    Err(refuse(OPERATION, ErrorKind::Unknown, message))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a parameter of AWS's question, like the time in its signature; nothing is decided by it"
)]
fn now() -> DateTime {
    DateTime::from(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, zone: &str, price: &str, at: i64) -> SpotPrice {
        SpotPrice::builder()
            .instance_type(InstanceType::from(name))
            .availability_zone(zone)
            .spot_price(price)
            .timestamp(DateTime::from_secs(at))
            .build()
    }

    #[test]
    fn the_latest_price_of_each_pool_counts() {
        let mut prices = SpotPrices::default();
        for row in [
            row("c7i.large", "a", "0.031000", 20),
            row("c7i.large", "a", "0.030000", 10),
            row("c7i.large", "b", "0.029000", 10),
            row("c7i.large", "b", "0.0295000001", 30),
            row("m7i.large", "a", "much", 30),
            row("m7i.large", "b", "0.0", 30),
            SpotPrice::builder().build(),
        ] {
            prices.note(&row);
        }
        let micros = |name, zone| prices.rate(name, zone).map(Rate::micros_per_hour);
        assert_eq!(micros("c7i.large", "a"), Some(31_000));
        assert_eq!(micros("c7i.large", "b"), Some(29_501));
        assert_eq!(micros("m7i.large", "a"), None);
        assert_eq!(micros("m7i.large", "b"), None);
    }
}
