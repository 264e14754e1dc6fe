//! The model: every attempt on every machine, every open connection, and the troubles to come.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::run::{Ended, Run};
use super::{Ground, Host};
use crate::model::{AttemptId, BuildSpec, Left, Span, Timestamp, Usage};
use crate::remote::{Discarded, Notice, Rekey};

/// What happens to one call on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallTrouble {
    /// The connection drops before the call has an effect.
    LostBefore,
    /// The connection drops before the answer; the effect is there.
    LostAfter,
}

/// What is known of an attempt on the machines, for those who look back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What it printed.
    pub printed: Vec<u8>,
    /// Its exit code, if it came to an end of its own.
    pub code: Option<i32>,
    /// How often it was begun; more than once breaks the run contract.
    pub begun: u32,
}

/// Drives simulated machines. Clones drive the same ones.
#[derive(Debug, Clone)]
pub struct SimulatedRemote {
    pub(super) ground: Arc<dyn Ground>,
    state: Arc<Mutex<State>>,
    /// Moves with every notice that is given.
    noticed: Arc<watch::Sender<u64>>,
}

#[derive(Debug)]
struct State {
    /// Attempts that have a directory on their machine.
    runs: BTreeMap<(String, AttemptId), Run>,
    /// Attempts whose directory was removed.
    discarded: BTreeMap<AttemptId, Ran>,
    begun: BTreeMap<AttemptId, u32>,
    /// What attempts have left that cannot be removed.
    litter: BTreeMap<(String, AttemptId), Left>,
    /// How full machines are on which something was written, and all others.
    usage: BTreeMap<String, Usage>,
    usage_at_first: Usage,
    links: Vec<(SocketAddr, CancellationToken)>,
    calls: VecDeque<Option<CallTrouble>>,
    /// Keys that were replaced, by machine.
    rekeyed: BTreeMap<String, KeyChange>,
    /// What machines say to a change of keys.
    rekeying: Rekey,
    /// How long they take for it.
    rekey_span: Span,
    /// Notices that were given, by machine.
    notices: BTreeMap<String, Notice>,
}

/// A change of a machine's keys: at once for the one that lets in, in the end for the other.
#[derive(Debug, Clone)]
struct KeyChange {
    host_before: String,
    keys: PublicKeys,
    done: Timestamp,
}

/// The public halves of a machine's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKeys {
    pub(super) host: String,
    pub(super) client: String,
}

impl SimulatedRemote {
    /// Machines that stand on `ground`.
    pub fn new(ground: Arc<dyn Ground>) -> Self {
        Self {
            ground,
            state: Arc::new(Mutex::new(State::default())),
            noticed: Arc::new(watch::Sender::new(0)),
        }
    }

    /// The next calls on sessions meet these troubles, one each; those after them meet none.
    pub fn trouble_calls(&self, troubles: impl IntoIterator<Item = CallTrouble>) {
        self.state().calls.extend(troubles.into_iter().map(Some));
    }

    /// So many calls meet no trouble before those that are said next.
    pub fn let_calls_through(&self, count: usize) {
        self.state().calls.extend(std::iter::repeat_n(None, count));
    }

    /// Forgets all troubles that have not happened yet.
    pub fn calm(&self) {
        self.state().calls.clear();
    }

    /// Whether machines let their keys be changed: [`Rekey::Done`] until something else is said.
    pub fn answer_rekeys(&self, answer: Rekey) {
        self.state().rekeying = answer;
    }

    /// How long machines take from now on to change their keys. All the while they let in with the
    /// new key only, and present the old one.
    pub fn rekeys_take(&self, span: Span) {
        self.state().rekey_span = span;
    }

    /// The machine at an address learns that it is taken back; whether there is one.
    pub fn give_notice(&self, address: SocketAddr, notice: Notice) -> bool {
        let Some(host) = self.ground.host(address) else {
            return false;
        };
        self.state().notices.insert(host.name, notice);
        self.noticed.send_modify(|count| *count += 1);
        true
    }

    /// Cuts all connections, or those to one address; how many there were.
    pub fn cut(&self, address: Option<SocketAddr>) -> usize {
        let mut state = self.state();
        let (cut, kept) = std::mem::take(&mut state.links)
            .into_iter()
            .filter(|(_, closed)| !closed.is_cancelled())
            .partition::<Vec<_>, _>(|(to, _)| address.is_none_or(|address| *to == address));
        state.links = kept;
        for (_, closed) in &cut {
            closed.cancel();
        }
        cut.len()
    }

    /// Kills the supervisor of an attempt; whether it was running.
    pub fn lose_supervisor(&self, attempt: AttemptId) -> bool {
        let now = self.ground.now();
        let mut state = self.state();
        let found = state.runs.iter_mut().find(|((_, id), _)| *id == attempt);
        let Some((_, run)) = found.filter(|(_, run)| run.ended().is_none()) else {
            return false;
        };
        run.lose(now);
        true
    }

    /// What the machines know of an attempt; none if it never began.
    pub fn ran(&self, attempt: AttemptId) -> Option<Ran> {
        let state = self.state();
        if let Some(ran) = state.discarded.get(&attempt) {
            return Some(ran.clone());
        }
        let (_, run) = state.runs.iter().find(|((_, id), _)| *id == attempt)?;
        Some(state.ran(attempt, run))
    }

    /// Begins the attempt on `host`, unless it is there.
    pub(super) fn begin(&self, host: &Host, attempt: AttemptId, build: &Arc<BuildSpec>) {
        let now = self.ground.now();
        let mut state = self.state();
        let State { runs, begun, .. } = &mut *state;
        if let Entry::Vacant(place) = runs.entry((host.name.clone(), attempt)) {
            place.insert(Run::new(Arc::clone(build), (host.boot, host.up_since), now));
            *begun.entry(attempt).or_default() += 1;
        }
    }

    /// Looks at an attempt on `host` as it stands now; none if it is not there.
    pub(super) fn look<R>(
        &self,
        host: &Host,
        attempt: AttemptId,
        look: impl FnOnce(&mut Run) -> R,
    ) -> Option<R> {
        let now = self.ground.now();
        let mut state = self.state();
        let run = state.runs.get_mut(&(host.name.clone(), attempt))?;
        if run.boot == host.boot {
            run.advance(now);
        }
        Some(look(run))
    }

    /// Removes an attempt from `host`; what is left of it all the same.
    pub(super) fn discard(&self, host: &Host, attempt: AttemptId) -> Discarded {
        let mut state = self.state();
        let key = (host.name.clone(), attempt);
        if let Some(run) = state.runs.remove(&key) {
            let ran = state.ran(attempt, &run);
            state.discarded.insert(attempt, ran);
            if let Some(left) = run.litter {
                state.litter.insert(key.clone(), left);
            }
            let usage = state.usage_of(host);
            let usage = Usage {
                disk: run.filled.disk.or(usage.disk),
                inodes: run.filled.inodes.or(usage.inodes),
                memory: run.filled.memory.or(usage.memory),
            };
            state.usage.insert(host.name.clone(), usage);
        }
        Discarded {
            left: state.litter.get(&key).copied(),
            usage: state.usage_of(host),
        }
    }

    /// How full `host` is.
    pub(super) fn usage(&self, host: &Host) -> Usage {
        self.state().usage_of(host)
    }

    /// Machines on which nothing was written are as full as this from now on.
    pub fn fill_all(&self, usage: Usage) {
        self.state().usage_at_first = usage;
    }

    /// Notes an open connection, so that it can be cut.
    pub(super) fn link(&self, address: SocketAddr) -> CancellationToken {
        let closed = CancellationToken::new();
        let mut state = self.state();
        state.links.retain(|(_, closed)| !closed.is_cancelled());
        state.links.push((address, closed.clone()));
        closed
    }

    /// What happens to the next call.
    pub(super) fn next_call(&self) -> Option<CallTrouble> {
        self.state().calls.pop_front().flatten()
    }

    /// The keys of a machine, if they were replaced or are being replaced.
    pub(super) fn rekeyed(&self, host: &Host) -> Option<PublicKeys> {
        let change = self.state().rekeyed.get(&host.name).cloned()?;
        let mut keys = change.keys;
        if self.ground.now() < change.done {
            keys.host = change.host_before;
        }
        Some(keys)
    }

    /// Begins to replace the keys of a machine, if machines allow that, and when it will be done.
    pub(super) fn rekey(&self, host: &Host, keys: PublicKeys) -> (Rekey, Timestamp) {
        let before = self.rekeyed(host).map(|keys| keys.host);
        let host_before = before.unwrap_or_else(|| host.host_public.clone());
        let mut state = self.state();
        let done = self.ground.now() + state.rekey_span;
        if state.rekeying == Rekey::Done {
            let change = KeyChange {
                host_before,
                keys,
                done,
            };
            state.rekeyed.insert(host.name.clone(), change);
        }
        (state.rekeying, done)
    }

    /// The notice that a machine was given.
    pub(super) fn notice(&self, host: &Host) -> Option<Notice> {
        self.state().notices.get(&host.name).cloned()
    }

    /// Tells of notices to come.
    pub(super) fn notices(&self) -> watch::Receiver<u64> {
        self.noticed.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            runs: BTreeMap::new(),
            discarded: BTreeMap::new(),
            begun: BTreeMap::new(),
            litter: BTreeMap::new(),
            usage: BTreeMap::new(),
            usage_at_first: Usage::default(),
            links: Vec::new(),
            calls: VecDeque::new(),
            rekeyed: BTreeMap::new(),
            rekeying: Rekey::Done,
            rekey_span: Span::ZERO,
            notices: BTreeMap::new(),
        }
    }
}

impl State {
    fn usage_of(&self, host: &Host) -> Usage {
        let usage = self.usage.get(&host.name);
        usage.copied().unwrap_or(self.usage_at_first)
    }

    fn ran(&self, attempt: AttemptId, run: &Run) -> Ran {
        let code = match run.ended() {
            Some(Ended::Done(code)) => Some(code),
            Some(Ended::Lost) | None => None,
        };
        Ran {
            printed: run.printed(),
            code,
            begun: self.begun.get(&attempt).copied().unwrap_or(0),
        }
    }
}
