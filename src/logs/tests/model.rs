//! A random history of an attempt, against the obvious: its log is what the machine printed, up to
//! the limit, and everybody sees a stretch of exactly that.

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::super::{Flush, Recorder};
use super::world::{ATTEMPT, Fault, World, at, drain, soon, text};
use crate::model::Extent;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// This many bytes arrive from the machine.
    Push(u64),
    /// A flush begins, if it may.
    Begin,
    /// The flush under way is awaited; its extent is committed, and that is told.
    Commit,
    /// The flush under way is awaited; its commit fails.
    FailCommit,
    /// The flush under way is awaited and committed, but the process dies before it is told.
    CommitAndCrash,
    /// A later write to storage fails.
    FailWrite(bool),
    /// The process dies; a recorder starts with the next push.
    Crash,
    /// Part of the log is read: permille of its length.
    Read(u64, u64),
    /// Somebody follows from here on: permille of the length.
    Follow(u64),
    /// Others get to work this often.
    Yield(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_000_u64).prop_map(Step::Push),
        2 => (0..200_000_u64).prop_map(Step::Push),
        1 => (0..1_500_000_u64).prop_map(Step::Push),
        6 => Just(Step::Begin),
        6 => Just(Step::Commit),
        1 => Just(Step::FailCommit),
        1 => Just(Step::CommitAndCrash),
        1 => any::<bool>().prop_map(Step::FailWrite),
        1 => Just(Step::Crash),
        4 => (0..=1_000_u64, 0..=1_000_u64).prop_map(|(from, to)| Step::Read(from, to)),
        1 => (0..=1_000_u64).prop_map(Step::Follow),
        4 => (0..20_u8).prop_map(Step::Yield),
    ]
}

/// The attempt's driver, and what it should bring about.
struct History {
    world: World,
    limit: u64,
    recorder: Option<Recorder>,
    flush: Option<(Flush, u64)>,
    /// Bytes of the machine's log that the recorder was given.
    pushed: u64,
    /// Bytes that the machine has printed, as far as anybody has ever seen.
    printed: u64,
    /// Bytes of the machine's log that the last commit counted.
    counted: u64,
    followers: Vec<(u64, JoinHandle<Vec<u8>>)>,
    clock: i64,
}

impl History {
    fn new(limit: u64) -> Self {
        Self {
            world: World::new(),
            limit,
            recorder: None,
            flush: None,
            pushed: 0,
            printed: 0,
            counted: 0,
            followers: Vec::new(),
            clock: 0,
        }
    }

    /// The log after `machine` bytes of the machine's: the model.
    fn expected(&self, machine: u64) -> Vec<u8> {
        if machine <= self.limit {
            return text(0..machine);
        }
        let marker = format!(
            "\n[dormouse: log limit of {} bytes reached; the rest is dropped]\n",
            self.limit
        );
        [text(0..self.limit), marker.into_bytes()].concat()
    }

    fn recorder(&mut self) -> &mut Recorder {
        if self.recorder.is_none() {
            self.pushed = self.counted;
        }
        let (world, limit) = (&self.world, self.limit);
        self.recorder.get_or_insert_with(|| world.recorder(limit))
    }

    fn push(&mut self, len: u64) {
        let recorder = self.recorder();
        if recorder.is_full() {
            return;
        }
        self.clock += 7;
        let (now, from) = (at(self.clock), self.pushed);
        self.recorder().push(&text(from..from + len), now);
        self.pushed += len;
        self.printed = self.printed.max(self.pushed);
    }

    fn begin(&mut self) {
        let pushed = self.pushed;
        if let Some(flush) = self.recorder.as_mut().and_then(Recorder::begin_flush) {
            self.flush = Some((flush, pushed));
        }
    }

    /// The extent of the flush under way, and the machine's offset that goes with it.
    async fn answer(&mut self) -> Option<(Extent, u64)> {
        let (flush, machine) = self.flush.take()?;
        if let Ok(extent) = soon(flush).await {
            return Some((extent, machine));
        }
        self.fail();
        None
    }

    fn fail(&mut self) {
        let now = at(self.clock);
        self.recorder().flush_failed(now);
    }

    async fn commit(&mut self) {
        if let Some((extent, machine)) = self.answer().await {
            self.world.index.commit(extent.clone());
            self.counted = machine;
            self.recorder().committed(&extent);
        }
    }

    fn crash(&mut self) {
        self.recorder = None;
        self.flush = None;
    }

    async fn read(&self, from: u64, to: u64) {
        let machine = match self.recorder {
            Some(_) => self.pushed,
            None => self.counted,
        };
        let all = self.expected(machine);
        let length = self.world.logs.length(ATTEMPT, self.world.index.as_ref());
        assert_eq!(length.await.unwrap(), all.len() as u64);
        let place = |permille: u64| permille * all.len() as u64 / 1_000;
        let (from, to) = (place(from), place(to));
        let read = self.world.read(from, to).await.unwrap();
        let range = usize::try_from(from).unwrap()..usize::try_from(to.max(from)).unwrap();
        assert!(read == all[range], "{from}..{to}");
    }

    fn follow(&mut self, from: u64) {
        let from = from * self.expected(self.counted).len() as u64 / 1_000;
        let follower = tokio::spawn(drain(from, self.world.follow(from)));
        self.followers.push((from, follower));
    }

    async fn run(&mut self, step: Step) {
        match step {
            Step::Push(len) => self.push(len),
            Step::Begin => self.begin(),
            Step::Commit => self.commit().await,
            Step::FailCommit => {
                if self.answer().await.is_some() {
                    self.fail();
                }
            }
            Step::CommitAndCrash => {
                if let Some((extent, machine)) = self.answer().await {
                    self.world.index.commit(extent);
                    self.counted = machine;
                    self.crash();
                }
            }
            Step::FailWrite(true) => self.world.storage.fail_next(Fault::BeforeWriting),
            Step::FailWrite(false) => self.world.storage.fail_next(Fault::AfterWriting),
            Step::Crash => self.crash(),
            Step::Read(from, to) => self.read(from, to).await,
            Step::Follow(from) => self.follow(from),
            Step::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Brings everything home as a driver does, and lets the followers end.
    async fn finish(mut self) {
        self.push(100);
        while self.recorder().unstored() > 0 || self.pushed < self.printed {
            self.commit().await;
            self.push(self.printed - self.pushed);
            self.begin();
        }
        self.read(0, 1_000).await;
        self.world.index.set_over(ATTEMPT);
        self.recorder.take().unwrap().finish();
        assert_eq!(self.world.logs.room.registry.held(), 0);
        self.read(0, 1_000).await;
        let all = self.expected(self.pushed);
        for (from, follower) in self.followers {
            let seen = soon(follower).await.unwrap();
            assert!(seen == all[usize::try_from(from).unwrap()..], "from {from}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nobody_ever_sees_anything_but_the_log(
        steps in prop::collection::vec(step(), 1..80),
        limit in prop_oneof![Just(u64::MAX), 0..3_000_u64, 1_000..1_000_000_u64],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut history = History::new(limit | 1); // Odd, so that the marker says bytes.
            for step in steps {
                history.run(step).await;
            }
            history.finish().await;
        });
    }
}
