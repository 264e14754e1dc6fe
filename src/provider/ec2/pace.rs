//! How fast we call: the account's token buckets, kept on our side, so that EC2 rarely has to
//! refuse us and other tools in the account keep their share.
//!
//! EC2 has one bucket per account, region and action, and for some actions a second one that counts
//! instances. Each [`Governor`] mirrors those of one account and region at a share of their size.
//! Since each action has buckets of its own, no burst of launches holds up the ends of machines.
//! When EC2 refuses nevertheless, the action's speed is halved and recovers step by step.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A bucket: how many calls (or instances) at once, and how many per second after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    burst: u32,
    per_second: u32,
}

const fn limit(burst: u32, per_second: u32) -> Limit {
    Limit { burst, per_second }
}

/// Buckets of single actions, as documented in
/// <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>.
const CALLS: &[(&str, Limit)] = &[
    ("RunInstances", limit(5, 2)),
    ("StartInstances", limit(5, 2)),
    ("TerminateInstances", limit(100, 5)),
    ("CreateTags", limit(100, 10)),
];
/// Of actions that read; ours are all filtered or paginated.
const READING: Limit = limit(100, 20);
/// Of actions that change something.
const MUTATING: Limit = limit(50, 5);

/// Buckets that count instances. `CreateFleet` is not listed there; it is taken to draw from the
/// bucket of `RunInstances`, whose work it does.
const INSTANCES: &[(&str, &str, Limit)] = &[
    ("RunInstances", "RunInstances/instances", limit(1000, 2)),
    ("CreateFleet", "RunInstances/instances", limit(1000, 2)),
    ("StartInstances", "StartInstances/instances", limit(1000, 2)),
    ("StopInstances", "StopInstances/instances", limit(1000, 20)),
    (
        "TerminateInstances",
        "TerminateInstances/instances",
        limit(1000, 20),
    ),
];

/// Levels are in millionths, so that slow flows are not rounded away.
const TOKEN: i64 = 1_000_000;
/// Microseconds in a second.
const MICROS: u64 = 1_000_000;
/// Full speed, in percent.
const FULL: u32 = 100;
/// The slowest we get: still some calls a minute, or recovery would never be seen.
const LEAST: u32 = 5;
/// Speed comes back by so much of the full one ...
const RECOVERY: u32 = 10;
/// ... each time so much passes without a refusal.
const RECOVERY_TIME: Duration = Duration::from_secs(5);
/// Refusals of calls that were under way together are one refusal.
const ONE_REFUSAL: Duration = Duration::from_secs(1);

/// Who has buckets of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    /// Profile and role: two of them may be one account, which costs a slow-down, never more.
    pub login: (Option<String>, Option<String>),
    /// The region.
    pub region: String,
    /// Where calls go, if not to AWS.
    pub endpoint: Option<String>,
}

/// The governors of this process. Several providers on one account and region share one.
static GOVERNORS: Mutex<BTreeMap<Account, Weak<Governor>>> = Mutex::new(BTreeMap::new());

/// Lets calls of one account and region through, no faster than they may be.
#[derive(Debug)]
pub(super) struct Governor {
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// Percent of the documented rates that we take.
    share: u32,
    by_name: BTreeMap<&'static str, Bucket>,
}

/// A token bucket. Whoever takes more than there is leaves it in debt, and waits until that is paid.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Millionths of tokens that were there ...
    level: i64,
    /// ... at this time.
    at: Instant,
    /// Percent of the full speed at which it fills.
    speed: u32,
    /// When speed was last lost or won.
    changed_at: Instant,
}

impl Governor {
    /// The governor of an account; the lowest share of those who share it counts.
    pub(super) fn of(account: Account, share: u32) -> Arc<Self> {
        let mut governors = locked(&GOVERNORS);
        governors.retain(|_, governor| governor.strong_count() > 0);
        if let Some(governor) = governors.get(&account).and_then(Weak::upgrade) {
            let mut buckets = locked(&governor.buckets);
            buckets.share = buckets.share.min(share.max(1));
            drop(buckets);
            return governor;
        }
        let governor = Arc::new(Self::new(share));
        governors.insert(account, Arc::downgrade(&governor));
        governor
    }

    fn new(share: u32) -> Self {
        Self {
            buckets: Mutex::new(Buckets {
                share: share.max(1),
                by_name: BTreeMap::new(),
            }),
        }
    }

    /// Returns when `action` may be called for `instances` instances (0 where they do not count).
    /// Those who ask first go first.
    pub(super) async fn pass(&self, action: &'static str, instances: u32) {
        let at = {
            let mut buckets = locked(&self.buckets);
            let now = Instant::now();
            let call = buckets.take(action, calls_limit(action), 1, now);
            match instances_limit(action) {
                Some((name, limit)) if instances > 0 => {
                    call.max(buckets.take(name, limit, instances, now))
                }
                Some(_) | None => call,
            }
        };
        if at > Instant::now() {
            sleep_until(at).await;
        }
    }

    /// EC2 said that `action` was called too often.
    pub(super) fn refused(&self, action: &'static str) {
        let now = Instant::now();
        let mut buckets = locked(&self.buckets);
        buckets.slow_down(action, calls_limit(action), 0, now);
        // It does not say which bucket ran dry. This one takes minutes to fill, so it is not taken
        // for empty before it was refused several times.
        if let Some((name, limit)) = instances_limit(action) {
            buckets.slow_down(name, limit, 50, now);
        }
    }
}

impl Buckets {
    /// Takes tokens; they may be used from the returned time on.
    fn take(&mut self, name: &'static str, limit: Limit, tokens: u32, now: Instant) -> Instant {
        let share = self.share;
        let bucket = self.filled(name, limit, now);
        bucket.level -= i64::from(tokens) * TOKEN;
        let debt = u64::try_from(-bucket.level).unwrap_or(0);
        now + Duration::from_micros(debt * MICROS / bucket.per_second(limit, share))
    }

    /// Halves the speed and leaves no more than so many percent of what is there.
    fn slow_down(&mut self, name: &'static str, limit: Limit, left: i64, now: Instant) {
        let bucket = self.filled(name, limit, now);
        if bucket.speed < FULL && now.duration_since(bucket.changed_at) < ONE_REFUSAL {
            return;
        }
        bucket.speed = (bucket.speed / 2).max(LEAST);
        bucket.changed_at = now;
        bucket.level = bucket
            .level
            .min(bucket.level.max(0) * left / i64::from(FULL));
    }

    /// The bucket with what has flown in by now.
    fn filled(&mut self, name: &'static str, limit: Limit, now: Instant) -> &mut Bucket {
        let share = self.share;
        let bucket = self.by_name.entry(name).or_insert(Bucket {
            level: whole(limit, share),
            at: now,
            speed: FULL,
            changed_at: now,
        });
        bucket.fill(limit, share, now);
        bucket
    }
}

impl Bucket {
    /// Millionths of tokens that flow in per second. Share and speed are both in percent.
    fn per_second(&self, limit: Limit, share: u32) -> u64 {
        let percents = u64::from(share) * u64::from(self.speed);
        (u64::from(limit.per_second) * percents * 100).max(1)
    }

    /// Lets in what came since, at the speed that it had step by step.
    fn fill(&mut self, limit: Limit, share: u32, now: Instant) {
        while self.speed < FULL && now.duration_since(self.changed_at) >= RECOVERY_TIME {
            self.changed_at += RECOVERY_TIME;
            self.flow(limit, share, self.changed_at);
            self.speed = (self.speed + RECOVERY).min(FULL);
        }
        self.flow(limit, share, now);
    }

    fn flow(&mut self, limit: Limit, share: u32, until: Instant) {
        let micros = until.saturating_duration_since(self.at).as_micros();
        let came = micros * u128::from(self.per_second(limit, share)) / u128::from(MICROS);
        let came = i64::try_from(came).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(came).min(whole(limit, share));
        self.at = self.at.max(until);
    }
}

/// What fits into a bucket.
fn whole(limit: Limit, share: u32) -> i64 {
    i64::from((limit.burst * share / FULL).max(1)) * TOKEN
}

fn calls_limit(action: &str) -> Limit {
    let reads = ["Describe", "Get", "List", "Receive"];
    match CALLS.iter().find(|(name, _)| *name == action) {
        Some((_, limit)) => *limit,
        None if reads.iter().any(|start| action.starts_with(start)) => READING,
        None => MUTATING,
    }
}

fn instances_limit(action: &str) -> Option<(&'static str, Limit)> {
    INSTANCES
        .iter()
        .find(|(name, _, _)| *name == action)
        .map(|(_, bucket, limit)| (*bucket, *limit))
}

/// What is behind these locks is whole after every statement, so a panic elsewhere spoils nothing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn time_for(governor: &Governor, action: &'static str, calls: u32, each: u32) -> u128 {
        let start = Instant::now();
        for _ in 0..calls {
            governor.pass(action, each).await;
        }
        start.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let governor = Governor::new(60);
        // 60 % of 5 at once, then of 2 per second.
        assert_eq!(time_for(&governor, "RunInstances", 3, 1).await, 0);
        let took = time_for(&governor, "RunInstances", 12, 1).await;
        assert!((9_990..=10_020).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn launches_never_hold_up_ends() {
        let governor = Governor::new(60);
        let launches = time_for(&governor, "RunInstances", 20, 100);
        let ends = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            time_for(&governor, "TerminateInstances", 50, 10).await
        };
        let (launches, ends) = tokio::join!(launches, ends);
        assert!(launches > 60_000, "{launches}");
        assert_eq!(ends, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn fleets_draw_on_the_instances_of_single_launches() {
        let governor = Governor::new(100);
        assert_eq!(time_for(&governor, "CreateFleet", 10, 100).await, 0);
        let took = time_for(&governor, "RunInstances", 1, 10).await;
        assert!((4_990..=5_010).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_halves_the_speed_which_comes_back() {
        let governor = Governor::new(100);
        for _ in 0..3 {
            // Of calls that were under way together.
            governor.refused("CreateFleet");
        }
        let slow = time_for(&governor, "CreateFleet", 1, 0).await;
        assert!((399..=402).contains(&slow), "{slow}");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(time_for(&governor, "CreateFleet", 50, 0).await, 0);
        let normal = time_for(&governor, "CreateFleet", 1, 0).await;
        assert!((199..=202).contains(&normal), "{normal}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_launch_does_not_end_launching() {
        let governor = Governor::new(100);
        governor.pass("CreateFleet", 3).await;
        governor.refused("CreateFleet");
        for _ in 0..10 {
            let took = time_for(&governor, "CreateFleet", 1, 2).await;
            assert!(took <= 402, "{took}");
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn providers_of_one_account_and_region_share() {
        let account = |region: &str| Account {
            login: (Some("shared by a test".to_owned()), None),
            region: region.to_owned(),
            endpoint: None,
        };
        let one = Governor::of(account("here"), 60);
        let same = Governor::of(account("here"), 60);
        let other = Governor::of(account("there"), 60);
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &other));
    }
}
