//! AWS's price list: on-demand prices of Linux on shared hardware, without licence fees.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_pricing::types::{Filter, FilterType};
use serde::Deserialize;
use tokio::time::timeout;

use super::super::clients::{Call, Clients};
use super::super::errors::refuse;
use super::amount::dollars;
use crate::model::Rate;
use crate::provider::{ErrorKind, ProviderError};

/// What we are doing, as errors say it.
const OPERATION: &str = "reading the price list";
/// Products of one page: the most that it gives.
const PAGE: i32 = 100;
/// Most pages that are read: six times what a region has.
const MOST_PAGES: u32 = 100;
/// The whole of it; a network without a way there must not hold up images for long.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the price list said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct ListPrices {
    /// What an instance costs, by type.
    pub rates: BTreeMap<String, Rate>,
    /// The day it was published, as in `2026-11-20`.
    pub day: Option<String>,
    /// Why there is no answer, if there is none.
    pub failed: Option<String>,
}

/// A product with its prices; everything else in it is left aside.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    product: Product,
    #[serde(default)]
    terms: Terms,
    #[serde(default)]
    publication_date: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Product {
    attributes: Attributes,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(default)]
    instance_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Terms {
    #[serde(default, rename = "OnDemand")]
    on_demand: BTreeMap<String, Term>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    #[serde(default)]
    price_dimensions: BTreeMap<String, Dimension>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dimension {
    #[serde(default)]
    unit: String,
    #[serde(default)]
    price_per_unit: BTreeMap<String, String>,
}

/// Reads the list: of some types, or of the whole region.
pub(super) async fn fetch(clients: &Clients, region: &str, only: Option<&[&str]>) -> ListPrices {
    let answer = timeout(PATIENCE, fetch_all(clients, region, only)).await;
    let why = match answer {
        Ok(Ok(prices)) => return prices,
        Ok(Err(error)) => error.message,
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    tracing::warn!(
        region,
        why,
        "the price list did not answer; the bundled table is used"
    );
    ListPrices {
        failed: Some(first_clause(&why)),
        ..ListPrices::default()
    }
}

/// What stands before the first colon or bracket: an error can be a long story.
fn first_clause(why: &str) -> String {
    let clause = why.split([':', '(']).next().unwrap_or_default();
    clause.trim().to_owned()
}

async fn fetch_all(
    clients: &Clients,
    region: &str,
    only: Option<&[&str]>,
) -> Result<ListPrices, ProviderError> {
    let mut prices = ListPrices::default();
    match only {
        None => fetch_some(clients, region, None, &mut prices).await?,
        Some(types) => {
            for name in types {
                fetch_some(clients, region, Some(name), &mut prices).await?;
            }
        }
    }
    Ok(prices)
}

async fn fetch_some(
    clients: &Clients,
    region: &str,
    only: Option<&str>,
    prices: &mut ListPrices,
) -> Result<(), ProviderError> {
    let mut wanted = vec![
        ("regionCode", region),
        ("operatingSystem", "Linux"),
        ("tenancy", "Shared"),
        ("preInstalledSw", "NA"),
        ("capacitystatus", "Used"),
    ];
    wanted.extend(only.map(|name| ("instanceType", name)));
    let filters = wanted
        .into_iter()
        .map(|(field, value)| filter(field, value));
    let filters: Vec<_> = filters.collect::<Result<_, _>>()?;
    let request = clients
        .pricing
        .get_products()
        .service_code("AmazonEC2")
        .set_filters(Some(filters))
        .max_results(PAGE);
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let page = request.clone().set_next_token(token).send();
        let answer = clients
            .call(Call::new("GetProducts", OPERATION), page)
            .await?;
        for text in answer.price_list.unwrap_or_default() {
            note(&text, prices);
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(());
        }
    }
    let message = format!("GetProducts gave {MOST_PAGES} pages and no end");
    Err(refuse(OPERATION, ErrorKind::Unknown, message))
}

fn filter(field: &str, value: &str) -> Result<Filter, ProviderError> {
    Filter::builder()
        .r#type(FilterType::TermMatch)
        .field(field)
        .value(value)
        .build()
        .map_err(|error| refuse(OPERATION, ErrorKind::Config, error))
}

/// Takes note of what a product costs an hour. What cannot be read, or costs nothing (capacity that
/// is reserved), is left out; of several prices the highest counts.
fn note(text: &str, prices: &mut ListPrices) {
    let Ok(listed) = serde_json::from_str::<Listed>(text) else {
        return;
    };
    let Some(name) = listed.product.attributes.instance_type else {
        return;
    };
    let terms = listed.terms.on_demand.values();
    let dimensions = terms.flat_map(|term| term.price_dimensions.values());
    let hourly = dimensions
        .filter(|dimension| dimension.unit.eq_ignore_ascii_case("hrs"))
        .filter_map(|dimension| dollars(dimension.price_per_unit.get("USD")?));
    let Some(rate) = hourly.filter(|rate| rate.micros_per_hour() > 0).max() else {
        return;
    };
    let known = prices.rates.entry(name).or_insert(rate);
    *known = rate.max(*known);
    let day = listed
        .publication_date
        .and_then(|time| time.get(..10).map(str::to_owned));
    prices.day = day.max(prices.day.take());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn product(name: &str, unit: &str, dollars: &[&str], day: &str) -> String {
        let dimensions: BTreeMap<_, _> = dollars
            .iter()
            .enumerate()
            .map(|(n, usd)| {
                (
                    format!("D{n}"),
                    json!({"unit": unit, "pricePerUnit": {"USD": usd}, "description": "x"}),
                )
            })
            .collect();
        json!({
            "product": {"productFamily": "Compute Instance", "sku": "S",
                "attributes": {"instanceType": name, "vcpu": "2", "tenancy": "Shared"}},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": {"S.T": {"priceDimensions": dimensions, "sku": "S"}},
                "Reserved": {"S.R": {"priceDimensions": {"X": {"unit": "Hrs", "pricePerUnit": {"USD": "9"}}}}}},
            "version": "1", "publicationDate": format!("{day}T10:00:00Z")
        })
        .to_string()
    }

    #[test]
    fn products_are_read_and_odd_ones_left_out() {
        let mut prices = ListPrices::default();
        for text in [
            product("c7i.large", "Hrs", &["0.0892500000"], "2026-11-20"),
            product(
                "m7i.large",
                "Hrs",
                &["0.0000000000", "0.1008000000"],
                "2026-11-19",
            ),
            product("free.large", "Hrs", &["0.0000000000"], "2026-11-21"),
            product("odd.large", "Quantity", &["1.0"], "2026-11-21"),
            product("worse.large", "Hrs", &["cheap"], "2026-11-21"),
            "{}".to_owned(),
            "not JSON".to_owned(),
            json!({"product": {"attributes": {}}}).to_string(),
        ] {
            note(&text, &mut prices);
        }
        let micros: Vec<_> = prices
            .rates
            .iter()
            .map(|(name, rate)| (name.as_str(), rate.micros_per_hour()))
            .collect();
        assert_eq!(micros, [("c7i.large", 89_250), ("m7i.large", 100_800)]);
        assert_eq!(prices.day.as_deref(), Some("2026-11-20"));
    }
}
