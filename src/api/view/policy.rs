//! Policies, and what holds for a thing when several speak of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{IdleTimeout, Policy, Span, Timestamp};
use crate::policy::{self, Said, Source, Specificity, Subject};

/// A key of a policy file with its value as it stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaidView {
    /// The path of the key.
    #[schema(example = "idle.value_of_wait")]
    pub key: String,
    /// Its value, on one line of YAML.
    #[schema(example = "$60/h")]
    pub value: String,
}

impl From<Said> for SaidView {
    fn from(said: Said) -> Self {
        Self {
            key: said.key.to_owned(),
            value: said.value,
        }
    }
}

/// One version of a policy. What it does not say falls through to less specific policies, then to
/// the built-in value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Its version, counting up from 1.
    pub version: u32,
    /// Images it speaks of; empty for all.
    pub images: Vec<String>,
    /// Most machines at once among what it speaks of.
    pub max_machines: Option<u32>,
    /// How long a machine may stand idle before it goes away.
    #[schema(value_type = Option<String>, example = "10m")]
    pub idle_timeout: Option<IdleTimeout>,
    /// Age at which a machine takes no further build.
    #[schema(value_type = Option<String>, example = "1d")]
    pub max_lifetime: Option<Span>,
    /// Builds after which a machine takes no further one.
    pub max_builds_per_machine: Option<u32>,
    /// Everything that it says, selectors included, key by key as in its file.
    #[serde(default)]
    pub says: Vec<SaidView>,
    /// The same as a policy file, without comments.
    #[serde(default)]
    pub document: String,
    /// When this version was applied.
    #[schema(value_type = String, format = DateTime)]
    pub applied_at: Timestamp,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        let spec = policy.spec;
        Self {
            says: policy::said(&spec).into_iter().map(Into::into).collect(),
            document: policy::document(&policy.name, &spec),
            name: policy.name,
            version: policy.version,
            images: spec.images,
            max_machines: spec.max_machines,
            idle_timeout: spec.idle_timeout,
            max_lifetime: spec.max_lifetime,
            max_builds_per_machine: spec.max_builds_per_machine,
            applied_at: policy.applied_at,
        }
    }
}

/// A version of a policy, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

impl PolicyRef {
    fn of(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            version: policy.version,
        }
    }
}

/// What holds for a thing: a build, a machine, or a class of either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveView {
    /// The project that was asked for.
    pub project: Option<String>,
    /// The image that was asked for.
    pub image: Option<String>,
    /// The image's provider.
    pub provider: Option<String>,
    /// The labels that were asked for.
    pub labels: BTreeMap<String, String>,
    /// The priority that was asked for.
    pub priority: Option<i32>,
    /// The policies that speak of it, the most specific first.
    pub policies: Vec<PolicyRef>,
    /// Every knob, with the policy that decides it.
    pub knobs: Vec<KnobView>,
    /// Limits and budgets; all of them hold.
    pub limits: Vec<LimitView>,
}

/// A knob: the most specific policy that sets it decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnobView {
    /// The path of the key in policy files.
    #[schema(example = "idle.timeout")]
    pub key: String,
    /// Its value as in a policy file; null for no limit, or nothing.
    #[schema(example = "10m")]
    pub value: Option<String>,
    /// The policy that says so; null for the built-in value.
    pub policy: Option<PolicyRef>,
}

/// A limit or a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// The path of the key in policy files.
    #[schema(example = "limits.machines")]
    pub key: String,
    /// Its value as in a policy file.
    #[schema(example = "20")]
    pub value: String,
    /// The policy that says so; null for the built-in value.
    pub policy: Option<PolicyRef>,
}

impl EffectiveView {
    /// What `policies` say of a thing; `built_in` is the most machines at once if none that speaks of
    /// everything says it.
    pub fn new(policies: &[Policy], subject: &Subject<'_>, built_in: u32) -> Self {
        let mut speaking: Vec<&Policy> = policies
            .iter()
            .filter(|policy| policy::speaks_of(&policy.spec, subject))
            .collect();
        speaking.sort_by_cached_key(|policy| Specificity::of(policy));
        let effective = policy::effective(speaking.iter().copied(), subject);
        Self {
            project: subject.project.map(str::to_owned),
            image: subject.image.map(str::to_owned),
            provider: subject.provider.map(str::to_owned),
            labels: subject.labels.cloned().unwrap_or_default(),
            priority: subject.priority,
            policies: speaking
                .iter()
                .map(|policy| PolicyRef::of(policy))
                .collect(),
            knobs: policy::rows(&effective).into_iter().map(knob).collect(),
            limits: limits(policies, &speaking, built_in),
        }
    }
}

fn knob(row: policy::Row) -> KnobView {
    KnobView {
        key: row.key.to_owned(),
        value: row.value,
        policy: match row.source {
            Source::BuiltIn => None,
            Source::Policy { name, version } => Some(PolicyRef { name, version }),
        },
    }
}

fn limits(policies: &[Policy], speaking: &[&Policy], built_in: u32) -> Vec<LimitView> {
    let of_policy = |policy: &&Policy| {
        let by = PolicyRef::of(policy);
        policy::bounds(&policy.spec)
            .into_iter()
            .map(move |bound| LimitView {
                key: bound.key.to_owned(),
                value: bound.value,
                policy: Some(by.clone()),
            })
    };
    let mut limits: Vec<LimitView> = speaking.iter().flat_map(of_policy).collect();
    // What has no selectors speaks of a thing of which nothing is known.
    let bounds_all = |policy: &Policy| {
        policy.spec.max_machines.is_some() && policy::speaks_of(&policy.spec, &Subject::default())
    };
    if !policies.iter().any(bounds_all) {
        limits.push(LimitView {
            key: "limits.machines".to_owned(),
            value: built_in.to_string(),
            policy: None,
        });
    }
    limits
}
