//! Which subnet leads to which zone.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::clients::{Call, Clients};
use super::errors::refuse;
use super::reference::Resolved;
use super::settings::Settings;
use super::tags::filter;
use crate::provider::{ErrorKind, ProviderError};

const OPERATION: &str = "looking up subnets";

/// One subnet for each zone, as last seen: the one with most free addresses. (A fleet must not have
/// two of one zone.)
#[derive(Debug, Default)]
pub(super) struct Subnets {
    by_zone: RwLock<BTreeMap<String, String>>,
}

impl Subnets {
    /// The subnet to launch into for each zone that an image was resolved to.
    pub(super) fn of(&self, resolved: &Resolved) -> BTreeMap<String, String> {
        let best = self.by_zone.read().unwrap_or_else(PoisonError::into_inner);
        let chosen = resolved.subnets.iter().filter_map(|(zone, subnets)| {
            let best = best.get(zone).filter(|best| subnets.contains(best));
            Some((zone.clone(), best.or_else(|| subnets.first())?.clone()))
        });
        chosen.collect()
    }

    /// Looks them up.
    ///
    /// # Errors
    /// Those of the call, and `Config` when there is none.
    pub(super) async fn learn(
        &self,
        clients: &Clients,
        settings: &Settings,
    ) -> Result<(), ProviderError> {
        let mut best: BTreeMap<String, (i32, String)> = BTreeMap::new();
        for (zone, free, subnet) in look_up(clients, settings).await? {
            let candidate = (free, subnet);
            if best.get(&zone).is_none_or(|known| *known < candidate) {
                best.insert(zone, candidate);
            }
        }
        if best.is_empty() {
            let message =
                "the provider names no subnet that exists, and its region has no default ones";
            return Err(refuse(OPERATION, ErrorKind::Config, message));
        }
        let found: BTreeMap<String, String> = best
            .into_iter()
            .map(|(zone, (_, subnet))| (zone, subnet))
            .collect();
        let mut by_zone = self.by_zone.write().unwrap_or_else(PoisonError::into_inner);
        *by_zone = found;
        Ok(())
    }
}

async fn look_up(
    clients: &Clients,
    settings: &Settings,
) -> Result<Vec<(String, i32, String)>, ProviderError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let request = clients.ec2.describe_subnets().set_next_token(next);
        // Ids cannot go together with a page size.
        let request = if settings.subnets.is_empty() {
            request
                .filters(filter("default-for-az", &["true"]))
                .max_results(200)
        } else {
            request.set_subnet_ids(Some(settings.subnets.clone()))
        };
        let call = Call::new("DescribeSubnets", OPERATION);
        let page = clients.call(call, request.send()).await?;
        found.extend(page.subnets().iter().filter_map(|subnet| {
            let zone = subnet.availability_zone()?.to_owned();
            let free = subnet.available_ip_address_count().unwrap_or(0);
            Some((zone, free, subnet.subnet_id()?.to_owned()))
        }));
        next = page
            .next_token()
            .filter(|token| !token.is_empty())
            .map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
}
