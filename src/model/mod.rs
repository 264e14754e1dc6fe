//! Floor 0: the nouns of the vocabulary and their legal transitions.
//!
//! Plain data with `serde`; no async, no IO, no clock, no randomness. Every floor above may use it;
//! it uses nothing of the house. State changes of a machine, a build and an attempt happen in one
//! method each (`Machine::enter`, `Build::enter`, `Attempt::enter`), which refuse illegal steps.

mod attempt;
mod budget;
mod build;
mod capability;
mod catalogue;
mod change;
mod claims;
mod event;
mod id;
mod ledger;
mod log;
mod machine;
mod money;
mod offering;
mod policy;
mod requirement;
mod schedule;
mod secret;
mod time;
mod transition;
mod version;

pub use attempt::{Attempt, AttemptState, Cursor, Outcome, StepRecord};
pub use budget::{AtLimit, Budget, BudgetEach, BudgetNews, BudgetNote, BudgetPart, Period};
pub use build::{Build, BuildResult, BuildSpec, BuildState, Cancel, Pipeline, Step};
pub use capability::{Capabilities, CapabilityValue};
pub use catalogue::{Billing, Image, ImageSpec, ImageState, Login, MOST_SLOTS, Shape};
pub use change::{Change, Subject, Token, TokenRole};
pub use claims::Claims;
pub use event::{Event, EventKind};
pub use id::{AttemptId, BuildId, IdParseError, LaunchId, MachineId, PackId, PipelineId, TokenId};
pub use ledger::{Category, Entry};
pub use log::{Extent, LineMark};
pub use machine::{
    AtMost, Boot, Endpoint, Hold, InstanceId, Jump, Machine, MachineKeys, MachineState, Reason,
    Tariff,
};
pub use money::{Money, MoneyParseError, Rate};
pub use offering::{Launch, Market, Offering, Pool, ShapeWish};
pub use policy::{
    IdleTimeout, MarketChoice, OnDemandWhen, Policy, PolicySpec, Quarantine, RestAt, Reuse,
    SleepKind, Superseded, Warm,
};
pub use requirement::{Constraint, Operator, Requirement, Requirements};
pub use schedule::{WarmWindow, time_zone, time_zone_names};
pub use secret::Secret;
pub use time::{Span, SpanParseError, Timestamp};
pub use transition::IllegalTransition;
pub use version::Version;
