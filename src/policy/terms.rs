//! The terms that hold for a thing, knob by knob, with where each comes from.

use std::collections::BTreeMap;

use crate::model::{
    IdleTimeout, MarketChoice, OnDemandWhen, Policy, PolicySpec, Quarantine, Rate, RestAt, Reuse,
    SleepKind, Span, Superseded, Warm,
};

use super::select::{Specificity, Subject, speaks_of};

/// Idle time where nothing is known that `auto` could be made of.
pub const DEFAULT_IDLE_TIMEOUT: Span = Span::from_secs(5 * 60);
/// What an hour of waiting is worth unless a policy says otherwise: a third of what a developer
/// costs, for people do other things while they wait.
pub const DEFAULT_VALUE_OF_WAIT: Rate = Rate::from_micros_per_hour(20_000_000);
/// Lifetime unless a policy says otherwise: a day keeps caches warm and drift small.
pub const DEFAULT_MAX_LIFETIME: Span = Span::from_secs(24 * 3_600);
/// Machines of an image that may be asleep at once unless a policy says otherwise.
pub const DEFAULT_MAX_ASLEEP: u32 = 2;
/// Time asleep unless a policy says otherwise: over a weekend, but not for weeks.
pub const DEFAULT_ASLEEP_TIMEOUT: Span = Span::from_secs(3 * 24 * 3_600);

/// What holds for a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How long a machine may stand idle.
    pub idle_timeout: IdleTimeout,
    /// What an hour of waiting is worth.
    pub value_of_wait: Rate,
    /// What becomes of a machine that stood idle for long enough.
    pub sleep: SleepKind,
    /// Most machines of an image asleep at once.
    pub max_asleep: u32,
    /// How long a machine may be asleep.
    pub asleep_timeout: Span,
    /// Machines to be at hand.
    pub warm: Warm,
    /// How capacity is bought.
    pub market: MarketChoice,
    /// Builds for which spare capacity will not do.
    pub on_demand: OnDemandWhen,
    /// Whose builds may follow one another.
    pub reuse: Reuse,
    /// Age at which a machine takes no further build.
    pub max_lifetime: Span,
    /// Builds after which a machine takes no further one.
    pub max_builds: u32,
    /// Builds side by side.
    pub slots: u32,
    /// How full a machine may get.
    pub rest_at: RestAt,
    /// Share of a project beside others.
    pub weight: u32,
    /// What becomes of superseded builds.
    pub superseded: Superseded,
    /// When a new image version is bad.
    pub quarantine: Quarantine,
}

impl Terms {
    /// What holds where no policy says anything.
    pub fn built_in() -> Self {
        Self {
            idle_timeout: IdleTimeout::Auto,
            value_of_wait: DEFAULT_VALUE_OF_WAIT,
            sleep: SleepKind::default(),
            max_asleep: DEFAULT_MAX_ASLEEP,
            asleep_timeout: DEFAULT_ASLEEP_TIMEOUT,
            warm: Warm::default(),
            market: MarketChoice::default(),
            on_demand: OnDemandWhen::default(),
            reuse: Reuse::default(),
            max_lifetime: DEFAULT_MAX_LIFETIME,
            max_builds: u32::MAX,
            slots: 1,
            rest_at: RestAt::default(),
            weight: 1,
            superseded: Superseded::default(),
            quarantine: Quarantine::default(),
        }
    }
}

/// A knob of [`Terms`], named as in policy files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Knob(pub &'static str);

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// No policy says anything.
    BuiltIn,
    /// This version of a policy.
    Policy {
        /// Its name.
        name: String,
        /// Its version.
        version: u32,
    },
}

/// Terms, and where each value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The values.
    pub terms: Terms,
    /// Their sources.
    pub sources: BTreeMap<Knob, Source>,
}

/// Merges the policies that speak of a thing.
pub fn effective<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    subject: &Subject<'_>,
) -> Effective {
    let mut found: Vec<&Policy> = policies
        .into_iter()
        .filter(|policy| speaks_of(&policy.spec, subject))
        .collect();
    found.sort_by_cached_key(|policy| Specificity::of(policy));
    let mut merge = Merge {
        policies: found,
        sources: BTreeMap::new(),
    };
    let built_in = Terms::built_in();
    let terms = Terms {
        idle_timeout: merge.knob("idle.timeout", built_in.idle_timeout, |s| s.idle_timeout),
        value_of_wait: merge.knob("idle.value_of_wait", built_in.value_of_wait, |s| {
            s.value_of_wait
        }),
        sleep: merge.knob("idle.then", built_in.sleep, |s| s.sleep),
        max_asleep: merge.knob("idle.asleep.machines", built_in.max_asleep, |s| {
            s.max_asleep
        }),
        asleep_timeout: merge.knob("idle.asleep.timeout", built_in.asleep_timeout, |s| {
            s.asleep_timeout
        }),
        warm: merge.knob("warm", built_in.warm, |s| s.warm.clone()),
        market: merge.knob("market.buy", built_in.market, |s| s.market),
        on_demand: merge.knob("market.on_demand", built_in.on_demand, |s| s.on_demand),
        reuse: merge.knob("reuse.by", built_in.reuse, |s| s.reuse),
        max_lifetime: merge.knob("reuse.lifetime", built_in.max_lifetime, |s| s.max_lifetime),
        max_builds: merge.knob("reuse.builds", built_in.max_builds, |s| {
            s.max_builds_per_machine
        }),
        slots: merge.knob("reuse.slots", built_in.slots, |s| s.slots),
        rest_at: merge.knob("reuse.rest_at", built_in.rest_at, |s| s.rest_at),
        weight: merge.knob("share.weight", built_in.weight, |s| s.weight),
        superseded: merge.knob("share.superseded", built_in.superseded, |s| s.superseded),
        quarantine: merge.knob("health.quarantine", built_in.quarantine, |s| s.quarantine),
    };
    Effective {
        terms,
        sources: merge.sources,
    }
}

struct Merge<'a> {
    /// The most specific first.
    policies: Vec<&'a Policy>,
    sources: BTreeMap<Knob, Source>,
}

impl Merge<'_> {
    fn knob<T>(
        &mut self,
        name: &'static str,
        built_in: T,
        read: impl Fn(&PolicySpec) -> Option<T>,
    ) -> T {
        let mut said = self.policies.iter().filter_map(|policy| {
            let source = Source::Policy {
                name: policy.name.clone(),
                version: policy.version,
            };
            Some((read(&policy.spec)?, source))
        });
        let (value, source) = said.next().unwrap_or((built_in, Source::BuiltIn));
        self.sources.insert(Knob(name), source);
        value
    }
}
