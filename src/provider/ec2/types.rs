//! The instance types of a region, and the zones and subnets in which they can be launched.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types as sdk;

use super::clients::{Call, Clients};
use super::errors::refuse;
use super::reference::OPERATION;
use super::settings::{AddressChoice, Settings};
use crate::provider::{ErrorKind, ProviderError};

/// Types of one page: the most that EC2 gives.
const TYPES_PAGE: i32 = 100;
/// Rows of types by zone and of subnets on one page: the most that EC2 gives.
const PAGE: i32 = 1_000;
/// Most pages of one listing: ten times what the largest region has.
const MOST_PAGES: u32 = 150;

/// An instance type, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "these are facts, not states")]
pub(super) struct TypeFacts {
    /// Its name, as in `c7i.large`.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory.
    pub memory_mib: u32,
    /// What it runs: `x86_64`, `arm64`, …
    pub architectures: Vec<String>,
    /// How it boots: `uefi`, `legacy-bios`.
    pub boot_modes: Vec<String>,
    /// Whether AWS counts it among the current ones.
    pub is_current: bool,
    /// Whether it is a whole computer.
    pub is_metal: bool,
    /// Whether it has disks of its own.
    pub has_local_disk: bool,
    /// Whether it has a GPU or another accelerator.
    pub has_accelerator: bool,
    /// Whether its network needs an AMI that drives ENA.
    pub needs_ena: bool,
    /// Whether it can hibernate.
    pub hibernates: bool,
    /// Whether it is sold on demand.
    pub on_demand: bool,
    /// Whether it is sold as spare capacity.
    pub spot: bool,
}

impl TypeFacts {
    /// The part of the name before the dot.
    pub(super) fn family(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }
}

/// What a region sells, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Catalogue {
    /// All types.
    pub types: Vec<TypeFacts>,
    /// The zones of each type.
    pub zones: BTreeMap<String, BTreeSet<String>>,
}

/// Subnets of one zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ZoneSubnets {
    /// Their ids.
    pub ids: Vec<String>,
    /// Whether a machine there gets a public address, which has a price.
    pub public: bool,
}

/// Asks for all types and their zones.
pub(super) async fn fetch_catalogue(clients: &Clients) -> Result<Catalogue, ProviderError> {
    let (types, zones) = tokio::try_join!(fetch_types(clients), fetch_zones(clients))?;
    Ok(Catalogue { types, zones })
}

async fn fetch_types(clients: &Clients) -> Result<Vec<TypeFacts>, ProviderError> {
    let mut types = Vec::new();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let request = clients
            .ec2
            .describe_instance_types()
            .max_results(TYPES_PAGE);
        let page = request.set_next_token(token).send();
        let answer = clients
            .call(Call::new("DescribeInstanceTypes", OPERATION), page)
            .await?;
        types.extend(
            answer
                .instance_types
                .unwrap_or_default()
                .iter()
                .filter_map(read_type),
        );
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            types.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(types);
        }
    }
    Err(endless("DescribeInstanceTypes"))
}

async fn fetch_zones(
    clients: &Clients,
) -> Result<BTreeMap<String, BTreeSet<String>>, ProviderError> {
    let mut zones: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let request = clients
            .ec2
            .describe_instance_type_offerings()
            .location_type(sdk::LocationType::AvailabilityZone)
            .max_results(PAGE);
        let page = request.set_next_token(token).send();
        let call = Call::new("DescribeInstanceTypeOfferings", OPERATION);
        let answer = clients.call(call, page).await?;
        for offering in answer.instance_type_offerings.unwrap_or_default() {
            if let (Some(kind), Some(zone)) = (offering.instance_type, offering.location) {
                zones
                    .entry(kind.as_str().to_owned())
                    .or_default()
                    .insert(zone);
            }
        }
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(zones);
        }
    }
    Err(endless("DescribeInstanceTypeOfferings"))
}

fn endless(action: &str) -> ProviderError {
    let message = format!("{action} gave {MOST_PAGES} pages and no end");
    refuse(OPERATION, ErrorKind::Unknown, message)
}

/// Asks for the subnets that machines are put into: the chosen ones, or each zone's default.
pub(super) async fn fetch_subnets(
    clients: &Clients,
    settings: &Settings,
) -> Result<BTreeMap<String, ZoneSubnets>, ProviderError> {
    let mut request = clients.ec2.describe_subnets();
    if settings.subnets.is_empty() {
        let default = sdk::Filter::builder()
            .name("default-for-az")
            .values("true")
            .build();
        request = request.filters(default);
    } else {
        // By their ids there are no pages.
        request = request.set_subnet_ids(Some(settings.subnets.clone()));
    }
    let answer = clients
        .call(Call::new("DescribeSubnets", OPERATION), request.send())
        .await?;
    let asked = settings.address != AddressChoice::Private;
    let mut zones: BTreeMap<String, ZoneSubnets> = BTreeMap::new();
    for subnet in answer.subnets.unwrap_or_default() {
        let (Some(id), Some(zone)) = (subnet.subnet_id, subnet.availability_zone) else {
            continue;
        };
        let entry = zones.entry(zone).or_default();
        entry.ids.push(id);
        entry.ids.sort();
        entry.public |= asked || subnet.map_public_ip_on_launch.unwrap_or(false);
    }
    if zones.is_empty() {
        let message = "there is no default subnet; set `subnets` of the provider";
        return Err(refuse(OPERATION, ErrorKind::Config, message));
    }
    Ok(zones)
}

/// Reads what EC2 says of a type; nothing of one that it says too little of.
fn read_type(info: &sdk::InstanceTypeInfo) -> Option<TypeFacts> {
    let vcpus = info.v_cpu_info.as_ref()?.default_v_cpus?;
    let memory = info.memory_info.as_ref()?.size_in_mib?;
    let processor = info.processor_info.as_ref()?;
    let architectures = processor
        .supported_architectures
        .as_deref()
        .unwrap_or_default();
    let modes = info.supported_boot_modes.as_deref().unwrap_or_default();
    let markets = info.supported_usage_classes.as_deref().unwrap_or_default();
    let ena = info
        .network_info
        .as_ref()
        .and_then(|network| network.ena_support.as_ref());
    Some(TypeFacts {
        name: info.instance_type.as_ref()?.as_str().to_owned(),
        vcpus: u32::try_from(vcpus).ok()?,
        memory_mib: u32::try_from(memory).ok()?,
        architectures: architectures
            .iter()
            .map(|word| word.as_str().to_owned())
            .collect(),
        boot_modes: modes.iter().map(|word| word.as_str().to_owned()).collect(),
        is_current: info.current_generation.unwrap_or(false),
        is_metal: info.bare_metal.unwrap_or(false),
        has_local_disk: info.instance_storage_supported.unwrap_or(false),
        has_accelerator: info.gpu_info.is_some()
            || info.fpga_info.is_some()
            || info.inference_accelerator_info.is_some()
            || info.neuron_info.is_some()
            || info.media_accelerator_info.is_some(),
        needs_ena: ena == Some(&sdk::EnaSupport::Required),
        hibernates: info.hibernation_supported.unwrap_or(false),
        on_demand: markets.contains(&sdk::UsageClassType::OnDemand),
        spot: markets.contains(&sdk::UsageClassType::Spot),
    })
}
