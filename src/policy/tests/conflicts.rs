//! What is allowed and hardly meant: policies that contradict one another, and what nobody sells.

use super::*;
use crate::model::Market;

#[test]
fn rivals_are_told_once_by_name() {
    let idle = |timeout, spec: PolicySpec| PolicySpec {
        idle_timeout: Some(timeout),
        ..spec
    };
    let auto = |spec| idle(IdleTimeout::Auto, spec);
    let short = |spec| idle(IdleTimeout::After(Span::from_secs(60)), spec);
    let policies = [
        named("z", auto(selecting(&["web", "lib"], &[], &[], &[]))),
        named("a", short(selecting(&["web"], &[], &[], &[]))),
        named("same-as-z", auto(selecting(&["lib"], &[], &[], &[]))),
        named("pattern", auto(selecting(&["w*"], &[], &[], &[]))),
        named("other", auto(selecting(&["docs"], &[], &[], &[]))),
        named("image", auto(selecting(&[], &["debian"], &[], &[]))),
        named(
            "says-something-else",
            PolicySpec {
                slots: Some(2),
                ..selecting(&["web"], &[], &[], &[])
            },
        ),
    ];
    let expected = Rivals {
        holds: "a".to_owned(),
        yields: "z".to_owned(),
        knobs: vec![Knob("idle.timeout")],
    };
    assert_eq!(rivals(&policies), [expected]);
}

#[test]
fn what_nobody_sells_is_told_of_with_the_policy_that_asks_for_it() {
    let buying = |market, spec: PolicySpec| PolicySpec {
        market: Some(market),
        ..spec
    };
    let spot = buying(MarketChoice::Spot, PolicySpec::default());
    let fallback = buying(
        MarketChoice::SpotWithFallback,
        selecting(&[], &["gpu"], &[], &[]),
    );
    // Machines are bought for images: what is said of a project does not come into it.
    let project = buying(
        MarketChoice::OnDemand,
        selecting(&["web"], &["debian"], &[], &[]),
    );
    let policies = [
        named("all", spot),
        named("gpu", fallback),
        named("web", project),
    ];
    let sold = |image: &str, markets: &[Market]| Sold {
        image: image.to_owned(),
        provider: "local".to_owned(),
        markets: markets.to_vec(),
    };
    let images = [
        sold("debian", &[Market::OnDemand]),
        sold("both", &[Market::OnDemand, Market::Spot]),
        sold("gpu", &[Market::OnDemand]),
        sold("not-known-yet", &[]),
    ];
    let found = unsold(&policies, &images);
    let expected = Unsold {
        image: "debian".to_owned(),
        provider: "local".to_owned(),
        buy: MarketChoice::Spot,
        policy: Some("all".to_owned()),
    };
    assert_eq!(found, [expected]);
    let said = found[0].to_string();
    assert!(
        said.contains("policy all asks for spot capacity for image debian"),
        "{said}"
    );
    assert!(
        said.contains("`market: spot-with-fallback` or `market: on-demand`"),
        "{said}"
    );
    assert_eq!(unsold(&[], &images), [], "the built-in market is on-demand");
    let only_spot = unsold(&[], &[sold("odd", &[Market::Spot])]);
    assert_eq!(only_spot[0].policy, None);
}
