//! What an image stands for now: its AMI, and every pool it can be launched from with its price.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ami::{self, MachineImage};
use super::caches::Caches;
use super::clients::Clients;
use super::errors::refuse;
use super::prices::{self, Disk, OnDemandPrices, SpotPrices, address_rate, disk_rate};
use super::reference::{OPERATION, Reference, Resolved};
use super::settings::Settings;
use super::shapes::{MOST_TYPES, Needs, Place, select};
use super::types::{ZoneSubnets, fetch_catalogue, fetch_subnets};
use crate::model::{ImageSpec, Market, Offering, Rate, Shape};
use crate::provider::{ErrorKind, ProviderError, Resolution};

/// New types come by the week, new zones by the year.
const CATALOGUE_FRESH: Duration = Duration::from_hours(6);
/// Subnets are changed by people, who look whether it helped.
const SUBNETS_FRESH: Duration = Duration::from_mins(10);

/// How EC2 bills machines without licence fees.
const WITHOUT_FEES: &str = "Linux/UNIX";

/// Finds the AMI of an image, the types that fit it, and what they cost.
///
/// # Errors
/// `Config` when the image cannot be had like this; else what AWS said.
pub(super) async fn resolve(
    clients: &Clients,
    settings: &Settings,
    caches: &Caches,
    spec: &ImageSpec,
) -> Result<Resolution, ProviderError> {
    let config = |message: String| refuse(OPERATION, ErrorKind::Config, message);
    let reference = Reference::read(spec)?;
    let Some(wish) = &spec.wish else {
        let message = "on EC2, `shapes` must be a map that says what sizes must be like";
        return Err(config(message.to_owned()));
    };
    let image = Box::pin(ami::find(clients, spec, &reference)).await?;
    let room_mib = room_to_hibernate(&reference, &image).map_err(config)?;

    let catalogue = Box::pin(fetch_catalogue(clients));
    let catalogue = caches
        .catalogue
        .get("", |_| CATALOGUE_FRESH, catalogue)
        .await?;
    let subnets = Box::pin(fetch_subnets(clients, settings));
    let subnets = caches.subnets.get("", |_| SUBNETS_FRESH, subnets).await?;
    let needs = Needs {
        wish,
        image: &image,
        hibernate: reference.hibernate,
        room_mib,
    };
    let places = select(&needs, &catalogue, &subnets).map_err(config)?;

    let names: Vec<_> = places
        .iter()
        .map(|place| place.facts.name.as_str())
        .collect();
    let on_demand = prices::on_demand(clients, settings, caches, &names).await;
    let places = cheapest(places, &on_demand.rates).map_err(config)?;
    let (spot, spot_source) = spot_prices(clients, caches, &places).await;

    let found = resolved(&reference, &image, &places, &subnets);
    let offerings = Pricing {
        settings,
        resolved: &found,
        subnets: &subnets,
        on_demand: &on_demand,
        spot: &spot,
    };
    let mut sources = vec![on_demand.source.clone(), spot_source];
    if image.platform != WITHOUT_FEES {
        sources.push(format!("without the fees of {}", image.platform));
    }
    Ok(Resolution {
        description: image.describe(),
        offerings: offerings.of(&places),
        prices: sources.join("; "),
        reference: found.to_text(),
    })
}

/// How much memory a root volume of a chosen size has room for, if machines are to hibernate.
fn room_to_hibernate(reference: &Reference, image: &MachineImage) -> Result<Option<u32>, String> {
    let Some(gib) = reference.root.gib else {
        return Ok(None);
    };
    let Some(room) = gib.checked_sub(image.root_gib) else {
        let (id, least) = (&image.id, image.root_gib);
        return Err(format!(
            "root.size {gib}GiB is too small: the AMI {id} needs {least}GiB"
        ));
    };
    Ok(reference.hibernate.then_some(room.saturating_mul(1_024)))
}

/// The cheapest types, at most as many as are offered; those of unknown price are left out.
fn cheapest<'t>(
    places: Vec<Place<'t>>,
    rates: &BTreeMap<String, Rate>,
) -> Result<Vec<Place<'t>>, String> {
    let names: Vec<_> = places
        .iter()
        .map(|place| place.facts.name.clone())
        .collect();
    let mut priced: Vec<_> = places
        .into_iter()
        .filter_map(|place| Some((*rates.get(&place.facts.name)?, place)))
        .collect();
    if priced.is_empty() {
        let names = names
            .iter()
            .take(MOST_TYPES)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        return Err(format!(
            "no price is known for any type that fits ({names})"
        ));
    }
    priced.sort_by(|(rate, place), (other_rate, other)| {
        (rate, &place.facts.name).cmp(&(other_rate, &other.facts.name))
    });
    priced.truncate(MOST_TYPES);
    Ok(priced.into_iter().map(|(_, place)| place).collect())
}

/// Spot prices with a clause about them. Without an answer nothing is offered on that market.
async fn spot_prices(
    clients: &Clients,
    caches: &Caches,
    places: &[Place<'_>],
) -> (Arc<SpotPrices>, String) {
    let sold = places.iter().filter(|place| place.facts.spot);
    let mut names: Vec<_> = sold.map(|place| place.facts.name.as_str()).collect();
    names.sort_unstable();
    if names.is_empty() {
        return (
            Arc::default(),
            "none of the types is sold as spot".to_owned(),
        );
    }
    match prices::on_the_spot_market(clients, caches, &names).await {
        Ok(spot) => (spot, "latest spot prices".to_owned()),
        Err(error) => {
            tracing::warn!(%error, "spot prices cannot be read; nothing is offered on that market");
            (
                Arc::default(),
                "no spot prices, since EC2 did not answer".to_owned(),
            )
        }
    }
}

/// What a launch must know.
fn resolved(
    reference: &Reference,
    image: &MachineImage,
    places: &[Place<'_>],
    subnets: &BTreeMap<String, ZoneSubnets>,
) -> Resolved {
    // Memory is written to the root volume.
    let memory = places
        .iter()
        .map(|place| place.facts.memory_mib)
        .max()
        .unwrap_or(0);
    let extra = if reference.hibernate {
        memory.div_ceil(1_024)
    } else {
        0
    };
    let is_used = |zone: &String| {
        places
            .iter()
            .any(|place| place.zones.contains(&zone.as_str()))
    };
    let root = &reference.root;
    Resolved {
        ami: image.id.clone(),
        architecture: image.architecture.clone(),
        root_device: image.root_device.clone(),
        root_gib: root.gib.unwrap_or(image.root_gib + extra),
        volume: root.kind,
        iops: root.iops,
        throughput: root.throughput,
        encrypted: reference.hibernate,
        hibernate: reference.hibernate,
        subnets: subnets
            .iter()
            .filter(|(zone, _)| is_used(zone))
            .map(|(zone, subnets)| (zone.clone(), subnets.ids.clone()))
            .collect(),
    }
}

/// All that a price is made of.
struct Pricing<'a> {
    settings: &'a Settings,
    resolved: &'a Resolved,
    subnets: &'a BTreeMap<String, ZoneSubnets>,
    on_demand: &'a OnDemandPrices,
    spot: &'a SpotPrices,
}

impl Pricing<'_> {
    /// Every type in every zone on every market, cheapest first.
    fn of(&self, places: &[Place<'_>]) -> Vec<Offering> {
        let mut offerings = Vec::new();
        for place in places {
            for zone in &place.zones {
                let name = place.facts.name.as_str();
                let list = self.on_demand.rates.get(name).copied();
                let list = list.filter(|_| place.facts.on_demand);
                let spot = self.spot.rate(name, zone).filter(|_| place.facts.spot);
                offerings
                    .extend(list.map(|rate| self.offering(place, zone, Market::OnDemand, rate)));
                offerings.extend(spot.map(|rate| self.offering(place, zone, Market::Spot, rate)));
            }
        }
        offerings.sort_by(|a, b| {
            let price = |offering: &Offering| offering.shape.price_usd_micro_per_hour;
            (price(a), a).cmp(&(price(b), b))
        });
        offerings
    }

    fn offering(&self, place: &Place<'_>, zone: &str, market: Market, rate: Rate) -> Offering {
        let disk = Disk {
            gib: self.resolved.root_gib,
            kind: self.resolved.volume,
            iops: self.resolved.iops,
            throughput: self.resolved.throughput,
        };
        let disk = disk_rate(&self.settings.region, &disk);
        let public = self.subnets.get(zone).is_some_and(|subnets| subnets.public);
        let address = if public {
            address_rate()
        } else {
            Rate::default()
        };
        let parts = [rate, disk, address].map(Rate::micros_per_hour);
        Offering {
            shape: Shape {
                name: place.facts.name.clone(),
                vcpus: place.facts.vcpus,
                memory_mib: place.facts.memory_mib,
                price_usd_micro_per_hour: Rate::from_micros_per_hour(parts.iter().sum()),
            },
            zone: zone.to_owned(),
            market,
            asleep: disk,
        }
    }
}

#[cfg(test)]
mod tests;
