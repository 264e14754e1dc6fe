//! How things stand in a world.

use std::sync::Arc;

use dormouse::engine::StoreIndex;
use dormouse::model::{
    Attempt, AttemptId, Build, BuildId, BuildResult, BuildState, Event, Machine, MachineId,
    MachineState, Reason, Subject,
};
use dormouse::store::{BuildFilter, Page, Store};
use futures::TryStreamExt;

use super::super::store::WatchedStore;
use super::{World, secs};

impl World {
    pub(crate) fn builds(&self) -> Vec<Build> {
        let page = Page {
            before: None,
            limit: 10_000,
        };
        self.wait(self.store().builds(&BuildFilter::default(), page))
            .unwrap()
    }

    pub(crate) fn build(&self, id: BuildId) -> Build {
        self.wait(self.store().build(id)).unwrap().unwrap()
    }

    pub(crate) fn word(&self, id: BuildId) -> &'static str {
        self.build(id).state.word()
    }

    /// A build's result and the reason for it.
    pub(crate) fn result(&self, id: BuildId) -> (BuildResult, String) {
        match self.build(id).state {
            BuildState::Finished { result, reason, .. } => (result, reason),
            state @ (BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Bound { .. }
            | BuildState::Running { .. }) => {
                panic!("{id} is {}\n{}", state.word(), self.picture())
            }
        }
    }

    pub(crate) fn attempts(&self, build: BuildId) -> Vec<Attempt> {
        self.wait(self.store().attempts(build)).unwrap()
    }

    /// The machine and attempt that a build is bound to.
    pub(crate) fn binding(&self, build: BuildId) -> (MachineId, AttemptId) {
        let state = self.build(build).state;
        state
            .binding()
            .unwrap_or_else(|| panic!("{build} is {}", state.word()))
    }

    /// Machines that are not gone.
    pub(crate) fn machines(&self) -> Vec<Machine> {
        self.machines_with(false)
    }

    pub(crate) fn all_machines(&self) -> Vec<Machine> {
        self.machines_with(true)
    }

    fn machines_with(&self, gone: bool) -> Vec<Machine> {
        let page = Page {
            before: None,
            limit: 10_000,
        };
        self.wait(self.store().machines(gone, page)).unwrap()
    }

    pub(crate) fn machine(&self, id: MachineId) -> Machine {
        self.wait(self.store().machine(id)).unwrap().unwrap()
    }

    /// Lets time pass until a build stands where `word` says.
    pub(crate) fn until_word(&self, id: BuildId, word: &str) {
        self.until(&format!("{id} is {word}"), secs(3_600), |world| {
            world.word(id) == word
        });
    }

    pub(crate) fn events(&self, subject: Option<&Subject>) -> Vec<Event> {
        let events = self.store().events(subject, 0, 100_000);
        let events = self.wait(events).unwrap();
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// The messages of all events about something.
    pub(crate) fn messages(&self, subject: &Subject) -> Vec<String> {
        let events = self.events(Some(subject)).into_iter();
        events.map(|event| event.message).collect()
    }

    /// Whether something was said about an image.
    pub(crate) fn image_says(&self, image: &str, words: &str) -> bool {
        let messages = self.messages(&Subject::Image(image.to_owned()));
        messages.iter().any(|message| message.contains(words))
    }

    /// The log of an attempt as it is at home.
    pub(crate) fn log_of(&self, attempt: AttemptId) -> Vec<u8> {
        let store = Arc::clone(&self.process().store) as Arc<dyn Store>;
        let index = Arc::new(StoreIndex::new(store));
        let stream = self.process().logs.read(attempt, index, 0, u64::MAX);
        let chunks: Vec<bytes::Bytes> = self.wait(stream.try_collect()).unwrap();
        chunks.concat()
    }

    /// The log of a build's last attempt, as text.
    pub(crate) fn log(&self, build: BuildId) -> String {
        let attempt = self.attempts(build).pop().expect("an attempt");
        String::from_utf8(self.log_of(attempt.id)).unwrap()
    }

    /// Waits for an answer of the store.
    pub(crate) fn read<T>(&self, question: impl AsyncFnOnce(&WatchedStore) -> T) -> T {
        self.wait(question(self.store()))
    }

    /// Where everything stands, for messages of failed tests.
    pub(crate) fn picture(&self) -> String {
        let mut lines = vec![format!("at {}", self.now())];
        for build in self.builds() {
            lines.push(format!(
                "{} {:?}: {:?}",
                build.id, build.spec.name, build.state
            ));
        }
        for machine in self.machines() {
            lines.push(format!("{} {:?}", machine.id, machine.state));
        }
        for life in self.cloud.alive() {
            lines.push(format!("{life:?}"));
        }
        let events = self.events(None);
        for event in &events[events.len().saturating_sub(30)..] {
            lines.push(format!(
                "{} {:?} {}: {}",
                event.at,
                event.subject,
                event.kind.word(),
                event.message
            ));
        }
        lines.join("\n")
    }
}

/// Why a machine is ended, if it is.
pub(crate) fn why_ended(machine: &Machine) -> Option<Reason> {
    match &machine.state {
        MachineState::Draining { reason, .. } | MachineState::Gone { reason } => {
            Some(reason.clone())
        }
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. } => None,
    }
}

/// Whether a machine stands idle.
pub(crate) const fn is_idle(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Idle { .. })
}
