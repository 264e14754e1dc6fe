use crate::model::{MarketChoice, Policy, PolicySpec, Timestamp};
use crate::policy::unheard;

fn policy(spec: PolicySpec) -> Policy {
    Policy {
        name: "web".to_owned(),
        version: 1,
        spec,
        applied_at: Timestamp::default(),
        rev: 0,
    }
}

#[test]
fn what_holds_for_machines_is_not_said_by_whose_builds_they_run() {
    let of_machines = PolicySpec {
        market: Some(MarketChoice::Spot),
        max_builds_per_machine: Some(3),
        weight: Some(2),
        ..PolicySpec::default()
    };
    let by_project = PolicySpec {
        projects: vec!["web".to_owned()],
        ..of_machines.clone()
    };
    let found = unheard(&[policy(by_project)]);
    let keys: Vec<_> = found.iter().map(|unheard| unheard.keys.clone()).collect();
    assert_eq!(keys, [["market.buy", "reuse.builds"]]);
    let words = found[0].to_string();
    assert!(words.contains("policy web selects builds, and market.buy, reuse.builds hold for all"));
    let by_image = PolicySpec {
        images: vec!["debian".to_owned()],
        ..of_machines
    };
    let heard = PolicySpec {
        projects: vec!["web".to_owned()],
        weight: Some(2),
        ..PolicySpec::default()
    };
    assert_eq!(unheard(&[policy(by_image), policy(heard)]), []);
}
