//! The request of a launch, as it is recorded before it is sent: whatever upgrade or restart comes
//! in between, the same bytes go out again under the same token.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::errors::refuse;
use super::reference::{Reference, Resolved};
use super::settings::{AddressChoice, Settings};
use super::tags;
use super::user_data::{Switch, user_data};
use crate::model::{LaunchId, Market, Pool, Secret, Timestamp};
use crate::provider::{ErrorKind, LaunchOrder, PreparedLaunch, ProviderError};

/// Counts up whenever a request would be read differently.
const VERSION: u32 = 1;
/// Most pools of one fleet. EC2 takes 300 of them; the choice gets no better after some dozen.
pub(super) const MOST_OVERRIDES: usize = 40;

/// A launch, with nothing left to choose but what EC2 chooses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// How to read the rest.
    pub version: u32,
    /// What it is for.
    pub launch: LaunchId,
    /// The call it goes out by.
    pub method: Method,
    /// How capacity is bought.
    pub market: Market,
    /// Most machines; fewer are better than none.
    pub count: u32,
    /// The AMI.
    pub image: String,
    /// Base64.
    pub user_data: String,
    /// By id; none for the VPC's own.
    pub security_groups: Vec<String>,
    /// By name.
    pub instance_profile: Option<String>,
    /// Whether machines get a public address whatever their subnet says.
    pub public_address: bool,
    /// Whether memory can be written to disk later.
    pub hibernate: bool,
    /// The root disk.
    pub root: RootDisk,
    /// Of everything that comes into being.
    pub tags: BTreeMap<String, String>,
}

/// By which call a launch goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    /// `RunInstances`, for a single pool.
    Run(Place),
    /// `CreateFleet` of type instant: EC2 picks among pools, cheapest first in this list.
    Fleet(Vec<Place>),
}

/// A pool, with the subnet that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The instance type.
    pub shape: String,
    /// The zone.
    pub zone: String,
    /// One of its subnets.
    pub subnet: String,
}

/// The root disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RootDisk {
    /// Its device name, as the AMI has it: another one would add a second disk.
    pub device: String,
    /// Its size.
    pub gib: u32,
    /// How it is stored.
    pub volume: String,
    /// Its operations per second, if they were chosen.
    pub iops: Option<u32>,
    /// Its MiB per second, if they were chosen.
    pub throughput: Option<u32>,
    /// Whether it must be encrypted.
    pub encrypted: bool,
}

impl RootDisk {
    fn of(resolved: &Resolved) -> Self {
        Self {
            device: resolved.root_device.clone(),
            gib: resolved.root_gib,
            volume: resolved.volume.word().to_owned(),
            iops: resolved.iops,
            throughput: resolved.throughput,
            encrypted: resolved.encrypted,
        }
    }
}

impl Request {
    /// What an order comes to, given what its image stands for and one subnet for each zone.
    ///
    /// # Errors
    /// `Config` when the order cannot be sent by anybody.
    pub(super) fn new(
        settings: &Settings,
        resolved: &Resolved,
        subnets: &BTreeMap<String, String>,
        order: &LaunchOrder,
    ) -> Result<Self, ProviderError> {
        let switch = Switch {
            user: &order.image.spec.login.user,
            lease: order.lease,
            expires_at: order.expires_at,
        };
        let extra = Reference::read(&order.image.spec)?.user_data;
        Ok(Self {
            version: VERSION,
            launch: order.launch,
            method: method(subnets, order)?,
            market: order.market,
            count: order.count,
            image: resolved.ami.clone(),
            user_data: STANDARD.encode(user_data(&order.keys, &switch, extra.as_deref())?),
            security_groups: settings.security_groups.clone(),
            instance_profile: settings.instance_profile.clone(),
            public_address: match settings.address {
                AddressChoice::Private => false,
                AddressChoice::Public | AddressChoice::Both => true,
            },
            hibernate: resolved.hibernate,
            root: RootDisk::of(resolved),
            tags: own_tags(settings, order),
        })
    }

    /// Its bytes and its token.
    pub(super) fn prepared(&self) -> Result<PreparedLaunch, ProviderError> {
        let text = serde_json::to_string(self).map_err(cannot)?;
        Ok(PreparedLaunch {
            token: token(self.launch, &text),
            request: Secret::new(text),
        })
    }

    /// Reads what was recorded.
    ///
    /// # Errors
    /// `Config` when another version of this program has recorded it in a way that we cannot read.
    pub(super) fn read(prepared: &PreparedLaunch) -> Result<Self, ProviderError> {
        // The error would quote the text, which is secret.
        let request: Self = serde_json::from_str(prepared.request.expose())
            .map_err(|error| cannot(format!("not ours, at column {}", error.column())))?;
        if request.version == VERSION {
            Ok(request)
        } else {
            Err(cannot(format!("version {} of it", request.version)))
        }
    }

    /// When it was decided: the time in the launch's id.
    pub(super) fn decided_at(&self) -> Timestamp {
        let millis = i64::try_from(self.launch.bits() >> 80).unwrap_or(0);
        Timestamp::from_micros(millis * 1_000)
    }

    /// The pools it may be served from.
    pub(super) fn pools(&self) -> Vec<Pool> {
        self.places().iter().map(|place| self.pool(place)).collect()
    }

    /// A place as a pool.
    pub(super) fn pool(&self, place: &Place) -> Pool {
        Pool {
            shape: place.shape.clone(),
            zone: place.zone.clone(),
            market: self.market,
        }
    }

    /// Where it may go.
    pub(super) fn places(&self) -> &[Place] {
        match &self.method {
            Method::Run(place) => std::slice::from_ref(place),
            Method::Fleet(places) => places,
        }
    }
}

impl std::fmt::Debug for Request {
    /// Without the user data, which holds a private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("launch", &self.launch)
            .field("method", &self.method)
            .field("market", &self.market)
            .field("count", &self.count)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

fn cannot(message: impl std::fmt::Display) -> ProviderError {
    refuse("preparing a launch", ErrorKind::Config, message)
}

/// One pool goes out by `RunInstances`, which says at once what is wrong with it; more of them by
/// `CreateFleet`.
fn method(
    subnets: &BTreeMap<String, String>,
    order: &LaunchOrder,
) -> Result<Method, ProviderError> {
    let mut places = Vec::new();
    for offering in &order.offerings {
        let subnet = subnets.get(&offering.zone);
        let subnet = subnet.ok_or_else(|| {
            let zone = &offering.zone;
            cannot(format!("no subnet of the provider is in the zone {zone}"))
        })?;
        let place = Place {
            shape: offering.shape.name.clone(),
            zone: offering.zone.clone(),
            subnet: subnet.clone(),
        };
        // A fleet with the same pool twice is refused as a whole.
        if places.len() < MOST_OVERRIDES && !places.contains(&place) {
            places.push(place);
        }
    }
    match <[Place; 1]>::try_from(places) {
        Ok([place]) => Ok(Method::Run(place)),
        Err(places) if places.is_empty() => Err(cannot("the order offers no pool")),
        Err(places) => Ok(Method::Fleet(places)),
    }
}

fn own_tags(settings: &Settings, order: &LaunchOrder) -> BTreeMap<String, String> {
    let image = &order.image.name;
    [
        (tags::INSTALLATION, settings.installation.clone()),
        (tags::LAUNCH, order.launch.to_string()),
        (tags::IMAGE, image.clone()),
        (tags::EXPIRES_AT, order.expires_at.to_string()),
        (tags::NAME, format!("dormouse {image}")),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// What makes EC2 recognise a request that it has seen: no other request has it, so a changed one
/// is never refused for using it again. EC2 takes up to 64 characters; these are 52.
fn token(launch: LaunchId, request: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(launch.to_string());
    hash.update([0]);
    hash.update(request);
    base32(&hash.finalize())
}

/// Lower-case letters and digits, five bits each.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |index: usize| {
        let byte = bytes.get(index / 8).copied().unwrap_or(0);
        usize::from(byte >> (7 - index % 8) & 1)
    };
    (0..bytes.len() * 8)
        .step_by(5)
        .filter_map(|start| {
            let digit = (start..start + 5).fold(0, |digit, index| digit * 2 + bit(index));
            DIGITS.get(digit).map(|digit| char::from(*digit))
        })
        .collect()
}

#[cfg(test)]
#[path = "tests/request.rs"]
pub(super) mod tests;
