//! What a provider refused is left alone for a while: a pool without capacity, a zone without
//! addresses, a market whose quota is used up, an image that it does not like, or all of it.

use crate::model::{Image, Launch, Machine, Market, Pool, Span, Timestamp};
use crate::provider::{ErrorKind, ProviderError};

/// How long each is left alone at least, as is documented.
const POOL: Span = Span::from_secs(120);
const ZONE: Span = Span::from_secs(60);
const MARKET: Span = Span::from_secs(180);
const IMAGE: Span = Span::from_secs(15 * 60);
const PROVIDER: Span = Span::from_secs(60);

/// What is left alone, and until when.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<(Closed, Timestamp)>);

#[derive(Debug)]
enum Closed {
    Pool(Pool),
    Zone(String),
    Market(Market),
    Image(String, u32),
    Provider,
}

impl Refusals {
    /// A launch was answered with refusals.
    pub(super) fn take(&mut self, launch: &Launch, refusals: &[ProviderError], now: Timestamp) {
        self.0.retain(|(_, until)| now < *until);
        for refusal in refusals {
            let pools = match refusal.pools.as_slice() {
                [] => launch.pools.iter(),
                pools => pools.iter(),
            };
            let closed: Vec<(Closed, Span)> = match refusal.kind {
                ErrorKind::PoolEmpty => pools.map(|p| (Closed::Pool(p.clone()), POOL)).collect(),
                ErrorKind::Address => pools
                    .map(|pool| (Closed::Zone(pool.zone.clone()), ZONE))
                    .collect(),
                ErrorKind::Quota => pools
                    .map(|pool| (Closed::Market(pool.market), MARKET))
                    .collect(),
                ErrorKind::Config => {
                    let image = Closed::Image(launch.image.clone(), launch.image_version);
                    vec![(image, IMAGE)]
                }
                ErrorKind::Auth => vec![(Closed::Provider, PROVIDER)],
                // They blame nobody.
                ErrorKind::Throttled | ErrorKind::Unknown => Vec::new(),
            };
            let closed = closed.into_iter();
            self.0.extend(closed.map(|(what, span)| (what, now + span)));
        }
    }

    /// Another version of an image is tried at once.
    pub(super) fn image(&mut self, image: &Image) {
        self.0.retain(|(closed, _)| match closed {
            Closed::Image(name, _) => *name != image.name,
            Closed::Pool(_) | Closed::Zone(_) | Closed::Market(_) | Closed::Provider => true,
        });
    }

    /// What was refused is forgotten.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A launch was decided.
    pub(super) fn launched(&self, machine: &Machine, now: Timestamp) -> Result<(), String> {
        let pool = machine.pool();
        let is_closed = |closed: &Closed| match closed {
            Closed::Pool(closed) => *closed == pool,
            Closed::Zone(zone) => *zone == pool.zone,
            Closed::Market(market) => *market == pool.market,
            Closed::Image(name, version) => {
                *name == machine.image && *version == machine.image_version
            }
            Closed::Provider => true,
        };
        let mut open = self.0.iter().filter(|(_, until)| now < *until);
        match open.find(|(closed, _)| is_closed(closed)) {
            Some((closed, until)) => Err(format!(
                "{} of {} is launched in {pool}, but {closed:?} was refused and is left alone \
                 until {until}",
                machine.id, machine.image
            )),
            None => Ok(()),
        }
    }
}
