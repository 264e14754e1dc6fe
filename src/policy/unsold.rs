//! Images that policies ask to be bought as nobody sells them: their builds would wait for ever.

use std::fmt;

use crate::model::{Market, MarketChoice, Policy};

use super::select::Subject;
use super::terms::{Knob, Source, effective};

/// On which markets an image can be had, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sold {
    /// The image's name.
    pub image: String,
    /// Its provider.
    pub provider: String,
    /// The markets; none while it is not known where the image can be launched.
    pub markets: Vec<Market>,
}

/// An image that cannot be had as policies ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsold {
    /// The image's name.
    pub image: String,
    /// Its provider.
    pub provider: String,
    /// What policies ask for.
    pub buy: MarketChoice,
    /// The policy that says so; none where it is built in.
    pub policy: Option<String>,
}

/// The images of which nothing is sold as policies ask for, in their order.
pub fn unsold(policies: &[Policy], images: &[Sold]) -> Vec<Unsold> {
    images
        .iter()
        .filter_map(|sold| unsold_image(policies, sold))
        .collect()
}

fn unsold_image(policies: &[Policy], sold: &Sold) -> Option<Unsold> {
    // Machines are bought for an image, whoever's builds they are for.
    let subject = Subject {
        image: Some(&sold.image),
        provider: Some(&sold.provider),
        ..Subject::default()
    };
    let effective = effective(policies, &subject);
    let buy = effective.terms.market;
    let is_sold = match buy {
        MarketChoice::OnDemand => sold.markets.contains(&Market::OnDemand),
        MarketChoice::Spot => sold.markets.contains(&Market::Spot),
        MarketChoice::SpotWithFallback => true,
    };
    if is_sold || sold.markets.is_empty() {
        return None;
    }
    let policy = match effective.sources.get(&Knob("market.buy")) {
        Some(Source::Policy { name, .. }) => Some(name.clone()),
        Some(Source::BuiltIn) | None => None,
    };
    Some(Unsold {
        image: sold.image.clone(),
        provider: sold.provider.clone(),
        buy,
        policy,
    })
}

/// One sentence for people, with what to change.
impl fmt::Display for Unsold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, other) = match self.buy {
            MarketChoice::OnDemand => (Market::OnDemand.word(), MarketChoice::Spot.word()),
            MarketChoice::Spot | MarketChoice::SpotWithFallback => {
                (Market::Spot.word(), MarketChoice::OnDemand.word())
            }
        };
        let who = match &self.policy {
            Some(policy) => format!("policy {policy} asks"),
            None => "no policy asks otherwise than".to_owned(),
        };
        let (image, provider) = (&self.image, &self.provider);
        let both = MarketChoice::SpotWithFallback.word();
        write!(
            f,
            "{who} for {asked} capacity for image {image}, of which provider {provider} has none: \
             its builds would wait for ever; expected `market: {both}` or `market: {other}`"
        )
    }
}
