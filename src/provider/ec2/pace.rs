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

/// A token bucket, told by the time at which it would be full again: taking a token moves that time
/// ahead, and one has to wait while it lies further ahead than a whole bucket takes to fill.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
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
        buckets.slow_down(action, calls_limit(action), now);
        // It does not say which bucket ran dry.
        if let Some((name, limit)) = instances_limit(action) {
            buckets.slow_down(name, limit, now);
        }
    }
}

impl Buckets {
    /// Takes tokens; they may be used from the returned time on.
    fn take(&mut self, name: &'static str, limit: Limit, tokens: u32, now: Instant) -> Instant {
        let share = self.share;
        let bucket = self.bucket(name, now);
        bucket.recover(now);
        let each = bucket.interval(limit, share);
        bucket.full_at = bucket.full_at.max(now) + each * tokens;
        let whole = each * burst(limit, share);
        // Ahead by more than a whole bucket: the rest of it has to flow in first.
        now + (bucket.full_at - now).saturating_sub(whole)
    }

    /// Halves the speed and takes the bucket for empty.
    fn slow_down(&mut self, name: &'static str, limit: Limit, now: Instant) {
        let share = self.share;
        let bucket = self.bucket(name, now);
        bucket.recover(now);
        if bucket.speed < FULL && now.duration_since(bucket.changed_at) < ONE_REFUSAL {
            return;
        }
        bucket.speed = (bucket.speed / 2).max(LEAST);
        bucket.changed_at = now;
        let whole = bucket.interval(limit, share) * burst(limit, share);
        bucket.full_at = bucket.full_at.max(now + whole);
    }

    fn bucket(&mut self, name: &'static str, now: Instant) -> &mut Bucket {
        self.by_name.entry(name).or_insert(Bucket {
            full_at: now,
            speed: FULL,
            changed_at: now,
        })
    }
}

impl Bucket {
    /// Time for one token at the present speed.
    fn interval(&self, limit: Limit, share: u32) -> Duration {
        let per_second = u64::from(limit.per_second) * u64::from(share) * u64::from(self.speed);
        // Both are in percent.
        let whole = 1_000_000_000 * u64::from(FULL) * u64::from(FULL);
        Duration::from_nanos(whole / per_second.max(1))
    }

    fn recover(&mut self, now: Instant) {
        while self.speed < FULL && now.duration_since(self.changed_at) >= RECOVERY_TIME {
            self.speed = (self.speed + RECOVERY).min(FULL);
            self.changed_at += RECOVERY_TIME;
        }
    }
}

fn burst(limit: Limit, share: u32) -> u32 {
    (limit.burst * share / FULL).max(1)
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
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(time_for(&governor, "CreateFleet", 50, 0).await, 0);
        let normal = time_for(&governor, "CreateFleet", 1, 0).await;
        assert!((199..=202).contains(&normal), "{normal}");
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
