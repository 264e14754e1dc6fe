//! Dormouse keeps build machines asleep until a build needs them.
//!
//! It holds a catalogue of dormant machine images, each annotated with the configurations it can
//! build; boots machines on demand when queued builds match; drives them over plain SSH; streams the
//! logs home; and ends machines the moment they stop being worth their price.
//!
//! # Floors
//! A room uses only rooms on lower floors; `tests/law.rs` holds that.
//!
//! | floor | rooms | what they do |
//! |---|---|---|
//! | 0 | [`model`] | nouns and their legal transitions: plain data |
//! | 1 | [`spec`], [`matching`], [`policy`], [`forecast`], [`planner`], [`ledger`] | decide: pure functions of values |
//! | 2 | [`clock`], [`config`], [`provider`], [`store`], [`remote`], [`logs`] | ports: one outside system each |
//! | 3 | [`books`] | everything that is not over, and the only ways it changes; no effects |
//! | 4 | [`engine`], [`simulate`] | the only place where decisions meet effects; the same decisions on virtual time |
//! | 5 | [`api`] | translates for clients; decides nothing |
//! | 6 | [`app`], [`cli`], [`mod@bench`] | composition root; one file per command; measurements |
//!
//! # Life of a build
//! A pipeline document is expanded by [`spec`] into builds, which the [`engine`] commits as `queued`
//! rows. A pass of the [`planner`] over a snapshot binds each to a machine that is up and has room, to
//! one that is coming, or to a new launch on the cheapest image that fits ([`matching`]). The decision is
//! audited, committed, and only then carried out: the [`provider`] launches, [`remote`] connects with
//! pinned keys and starts the build detached, its log comes home into [`logs`] from a byte offset, and
//! its end is committed together with the last of its log and its [`ledger`] entries. The machine goes
//! idle; the idle policy decides.
//!
//! # Invariants
//! 1. Below floor 2 nothing reads a clock, an environment variable, a file, a socket or an unseeded
//!    random source.
//! 2. A plan leaves no choices to execution.
//! 3. A pass takes no hints: requests write intent and nudge. Losing every nudge only costs latency.
//! 4. No complete answer, no destruction: a partial listing never makes anything an orphan. Two
//!    sightings, a minimum age and a deletion budget per sweep.
//! 5. Intent first: a machine's row with its keys is committed before the provider is called, and its
//!    id is the idempotency token. An ambiguous answer means "may exist" until a listing settles it.
//! 6. A machine leaves the books only on proof: terminated, or absent from repeated complete
//!    listings. Instances without our tag, and machines on hold, are never touched.
//! 7. Only a machine that is idle and proved clean, coming, or busy with fewer builds than its image
//!    and policy allow side by side, is bound; only one without a build is drained. A build is bound to
//!    a specific machine at decision time, so that no later pass launches for it again.
//! 8. Limits and budgets are checked and taken in the pass that records the launch: what is committed
//!    and the worst case of what runs never exceed a budget by more than a billing quantum per machine.
//!    A failed launch cools its image down and uses up an attempt of its build; it never counts as
//!    capacity.
//! 9. Each accepted build reaches exactly one result, which never changes; it has at most one current
//!    attempt; a lost machine requeues it.
//! 10. Log bytes at home are a prefix of the bytes on the machine (step markers taken out) at every
//!     instant, and all of them at the end. `finished` shows only after the last byte is stored.
//! 11. Empty queue and no warm floor: zero machines within the idle timeout plus one sweep. With the
//!     orchestrator dead, every machine powers itself off when its lease runs out.
//! 12. Build cost plus overhead equals machine cost, exactly. Entries are appended.
//! 13. State changes happen in one function per entity and, in the store, by compare-and-set; each
//!     leaves one event.
//! 14. Secrets never appear in logs, events, process arguments or `Debug` output.
//! 15. Every queue, retry, page, log, body and concurrency has a named limit with its reason.

pub mod api;
pub mod app;
pub mod bench;
pub mod books;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod forecast;
pub mod ledger;
pub mod logs;
pub mod matching;
pub mod model;
pub mod planner;
pub mod policy;
pub mod provider;
pub mod remote;
pub mod simulate;
pub mod spec;
pub mod store;
