//! Every setting: its key, what it accepts, its default, and why one would change it.
//!
//! This table is the one source for the file's keys, the environment's names, `config show`, the
//! commented example and the look-up of misspelt keys. A new setting is a constant here, a line in
//! [`ALL`], and a field of `Config`.
//!
//! A key with a `*` is a template: the operator names any number of sections in its place, and each
//! of them has the setting. `ec2` has such settings.

use super::ec2;
use super::kind::{Choice, Count, FilePath, Kind, Length, ListenAddress, LogFilter, SWITCH};
use super::kind::{Dollars, SecretText, Size, Text};
use super::value::{Authentication, LogFormat, S3Place};
use crate::model::{Money, Span};

/// One setting.
#[derive(Debug)]
pub(super) struct Setting<K> {
    /// Where it stands in the file: `engine.sweep_interval`; `*` for a name that the operator gives.
    pub(super) key: &'static str,
    /// What it accepts.
    pub(super) kind: K,
    /// What it is when nobody says otherwise.
    pub(super) default: Default,
    /// What it does, and when to change it.
    pub(super) doc: &'static str,
}

/// What a setting is when nobody says otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    /// This text.
    Text(&'static str),
    /// A directory of this name among the user's data: `$XDG_DATA_HOME`, else `~/.local/share`.
    AmongUserData(&'static str),
    /// A file or directory of this name in the data directory.
    InDataDirectory(&'static str),
    /// Nothing at all.
    Unset,
    /// Somebody has to say.
    Required,
}

/// What can be said of a setting without knowing its type.
pub(super) trait Describe: Sync {
    /// Where it stands in the file.
    fn key(&self) -> &'static str;
    /// What it is when nobody says otherwise.
    fn default(&self) -> Default;
    /// What it does.
    fn doc(&self) -> &'static str;
    /// What is accepted.
    fn accepts(&self) -> String;
    /// Whether its value must never be printed.
    fn is_secret(&self) -> bool;
    /// Whether it takes several values.
    fn is_list(&self) -> bool;

    /// Whether its key has a place for a name.
    fn is_template(&self) -> bool {
        self.key().contains(NAME_PLACE)
    }

    /// Its key for a section of this name.
    fn key_for(&self, name: &str) -> String {
        self.key().replace(NAME_PLACE, name)
    }

    /// Whether a key of the file is this setting's.
    fn matches(&self, key: &str) -> bool {
        has_pattern(key, self.key())
    }
}

/// Stands for a name in the key of a template.
const NAME_PLACE: &str = "*";

/// The environment variable that sets what a key sets: `DORMOUSE_ENGINE_SWEEP_INTERVAL`.
pub(super) fn variable(key: &str) -> String {
    let name = key.replace(['.', '-'], "_").to_ascii_uppercase();
    format!("DORMOUSE_{name}")
}

/// Whether a key has this pattern: the same words, any where the pattern has a place for a name.
fn has_pattern(key: &str, pattern: &str) -> bool {
    let (mut words, mut wanted) = (key.split('.'), pattern.split('.'));
    loop {
        match (words.next(), wanted.next()) {
            (None, None) => return true,
            (Some(word), Some(want)) if word == want || want == NAME_PLACE => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

/// The setting that a key of the file sets.
pub(super) fn find(key: &str) -> Option<&'static dyn Describe> {
    ALL.iter().copied().find(|setting| setting.matches(key))
}

/// What a key of the file opens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Section<'k> {
    /// A section of the table.
    Fixed,
    /// One of this name, which the operator gave.
    Named(&'k str),
}

/// The section that a key opens, if it is one.
pub(super) fn section(key: &str) -> Option<Section<'_>> {
    let pattern = sections().find(|pattern| has_pattern(key, pattern))?;
    if pattern.ends_with(NAME_PLACE) {
        return Some(Section::Named(key.rsplit('.').next().unwrap_or_default()));
    }
    Some(Section::Fixed)
}

impl<K: Kind> Describe for Setting<K> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn default(&self) -> Default {
        self.default
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn accepts(&self) -> String {
        self.kind.accepts()
    }

    fn is_secret(&self) -> bool {
        self.kind.is_secret()
    }

    fn is_list(&self) -> bool {
        self.kind.is_list()
    }
}

/// All settings, in the order in which people read them.
pub(super) const ALL: [&'static dyn Describe; 41] = [
    &DATA_DIR,
    &LISTEN,
    &AUTH,
    &ADMIN_TOKEN,
    &STORE_PATH,
    &LOGS_DIRECTORY,
    &LOGS_STORE,
    &LOGS_ENDPOINT_URL,
    &LOGS_REGION,
    &LOCAL_ENABLED,
    &LOCAL_DIRECTORY,
    &ec2::REGION,
    &ec2::SUBNETS,
    &ec2::SECURITY_GROUPS,
    &ec2::PROFILE,
    &ec2::ROLE,
    &ec2::ENDPOINT_URL,
    &ec2::INSTALLATION,
    &ec2::INSTANCE_PROFILE,
    &ec2::ADDRESS,
    &ec2::SSH_PORT,
    &ec2::JUMP_HOST,
    &ec2::JUMP_KEY,
    &ec2::JUMP_HOST_KEY,
    &ec2::INTERRUPTION_QUEUE,
    &ec2::METADATA_URL,
    &ec2::POLL_INTERVAL,
    &SWEEP_INTERVAL,
    &LEASE,
    &CONNECT_TIMEOUT,
    &STOP_GRACE,
    &SHUTDOWN_GRACE,
    &CAPACITY_WAIT,
    &LAUNCH_FAILURES,
    &LAUNCH_FAILURE_COST,
    &SPOT_INTERRUPTIONS,
    &TIMEOUT,
    &LOG_LIMIT,
    &ATTEMPTS,
    &LOG_LEVEL,
    &LOG_FORMAT,
];

/// The names of all sections, some more than once: `providers`, `providers.local`.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|setting| {
        let key = setting.key();
        key.match_indices('.').filter_map(|(dot, _)| key.get(..dot))
    })
}

const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const DAY: Span = Span::from_secs(86_400);

/// `data_dir`
pub(super) static DATA_DIR: Setting<FilePath> = Setting {
    key: "data_dir",
    kind: FilePath,
    default: Default::AmongUserData("dormouse"),
    doc: "Where everything lives that must survive a restart. A service sets /var/lib/dormouse.",
};

/// `listen`
pub(super) static LISTEN: Setting<ListenAddress> = Setting {
    key: "listen",
    kind: ListenAddress,
    default: Default::Text("127.0.0.1:8470"),
    doc: "Address and port of the HTTP API. There is no TLS: put a proxy in front to leave the host.",
};

/// `auth`
pub(super) static AUTH: Setting<Choice<Authentication>> = Setting {
    key: "auth",
    kind: Choice(&[
        ("required", Authentication::Required),
        ("open", Authentication::Open),
    ]),
    default: Default::Text("required"),
    doc: "Whether requests need a token. With open, every user of this host is an admin.",
};

/// `admin_token`
pub(super) static ADMIN_TOKEN: Setting<SecretText> = Setting {
    key: "admin_token",
    kind: SecretText { min_chars: 20 },
    default: Default::Unset,
    doc: "A token accepted as admin, for set-up by other tools. Better in the environment than here.",
};

/// `store.path`
pub(super) static STORE_PATH: Setting<FilePath> = Setting {
    key: "store.path",
    kind: FilePath,
    default: Default::InDataDirectory("dormouse.sqlite"),
    doc: "The SQLite database, on a local disk: its write-ahead log does not work over a network.",
};

/// `logs.directory`
pub(super) static LOGS_DIRECTORY: Setting<FilePath> = Setting {
    key: "logs.directory",
    kind: FilePath,
    default: Default::InDataDirectory("logs"),
    doc: "Where build logs are stored, compressed. The place that fills a disk first.",
};

/// `logs.store`
pub(super) static LOGS_STORE: Setting<Text<S3Place>> = Setting {
    key: "logs.store",
    kind: Text {
        accepts: "a bucket and a prefix in it, as in s3://bucket/prefix",
        read: S3Place::read,
        print: S3Place::print,
    },
    default: Default::Unset,
    doc: "An S3 bucket for build logs in place of the directory. Credentials are the environment's.",
};

/// `logs.endpoint_url`
pub(super) static LOGS_ENDPOINT_URL: Setting<Text<String>> = Setting {
    key: "logs.endpoint_url",
    kind: Text::url(),
    default: Default::Unset,
    doc: "Where the bucket is served, when that is not AWS.",
};

/// `logs.region`
pub(super) static LOGS_REGION: Setting<Text<String>> = Setting {
    key: "logs.region",
    kind: Text::word("a region, as in eu-central-1"),
    default: Default::Unset,
    doc: "The region of the bucket; unset, the environment's AWS_REGION.",
};

/// `providers.local.enabled`
pub(super) static LOCAL_ENABLED: Setting<Choice<bool>> = Setting {
    key: "providers.local.enabled",
    kind: SWITCH,
    default: Default::Text("true"),
    doc: "Machines as processes on this host, under this user. Not a border: run only what you trust.",
};

/// `providers.local.directory`
pub(super) static LOCAL_DIRECTORY: Setting<FilePath> = Setting {
    key: "providers.local.directory",
    kind: FilePath,
    default: Default::InDataDirectory("machines"),
    doc: "Where each local machine has its home while it lives.",
};

/// `engine.sweep_interval`
pub(super) static SWEEP_INTERVAL: Setting<Length> = Setting {
    key: "engine.sweep_interval",
    kind: Length {
        min: SECOND,
        max: HOUR,
    },
    default: Default::Text("10s"),
    doc: "Time between full listings of each provider; a lost machine is noticed within two.",
};

/// `engine.lease`
pub(super) static LEASE: Setting<Length> = Setting {
    key: "engine.lease",
    kind: Length {
        min: Span::from_secs(10),
        max: DAY,
    },
    default: Default::Text("10m"),
    doc: "A machine that hears nothing from here for this long powers itself off.",
};

/// `engine.connect_timeout`
pub(super) static CONNECT_TIMEOUT: Setting<Length> = Setting {
    key: "engine.connect_timeout",
    kind: Length {
        min: SECOND,
        max: Span::from_secs(300),
    },
    default: Default::Text("10s"),
    doc: "Longest time for one SSH connection with login. Raise it for machines far away.",
};

/// `engine.stop_grace`
pub(super) static STOP_GRACE: Setting<Length> = Setting {
    key: "engine.stop_grace",
    kind: Length {
        min: Span::ZERO,
        max: Span::from_secs(600),
    },
    default: Default::Text("10s"),
    doc: "Time a canceled or timed out build has to clean up before its processes are killed.",
};

/// `engine.shutdown_grace`
pub(super) static SHUTDOWN_GRACE: Setting<Length> = Setting {
    key: "engine.shutdown_grace",
    kind: Length {
        min: Span::ZERO,
        max: Span::from_secs(300),
    },
    default: Default::Text("10s"),
    doc: "Longest wait for open requests when the server stops. Builds go on without it.",
};

/// `engine.capacity_wait`
pub(super) static CAPACITY_WAIT: Setting<Length> = Setting {
    key: "engine.capacity_wait",
    kind: Length {
        min: Span::from_secs(60),
        max: Span::from_secs(30 * 86_400),
    },
    default: Default::Text("6h"),
    doc: "A build that finds no capacity anywhere for this long ends as infra_failure.",
};

/// `engine.launch_failures`
pub(super) static LAUNCH_FAILURES: Setting<Count> = Setting {
    key: "engine.launch_failures",
    kind: Count {
        min: 1,
        max: 10_000,
    },
    default: Default::Text("20"),
    doc: "Failed launches of an image within an hour after which no more are tried for a while.",
};

/// `engine.launch_failure_cost`
pub(super) static LAUNCH_FAILURE_COST: Setting<Dollars> = Setting {
    key: "engine.launch_failure_cost",
    kind: Dollars {
        min: Money::ZERO,
        max: Money::from_micros(100_000_000_000),
    },
    default: Default::Text("$1"),
    doc: "Money that failed launches of an image may cost within an hour; then none is tried.",
};

/// `engine.spot_interruptions`
pub(super) static SPOT_INTERRUPTIONS: Setting<Count> = Setting {
    key: "engine.spot_interruptions",
    kind: Count { min: 1, max: 1_000 },
    default: Default::Text("5"),
    doc: "Interruptions of an image within 10 minutes after which it is on-demand for a while.",
};

/// `engine.record_plans`
pub(super) static RECORD_PLANS: Setting<Count> = Setting {
    key: "engine.record_plans",
    kind: Count {
        min: 0,
        max: 10_000,
    },
    default: Default::Text("0"),
    doc: "Passes of the planner that did something, kept for `dormouse replay`; unsound ones always are.",
};

/// `pipelines.timeout`
pub(super) static TIMEOUT: Setting<Length> = Setting {
    key: "pipelines.timeout",
    kind: Length {
        min: SECOND,
        max: Span::from_secs(7 * 86_400),
    },
    default: Default::Text("1h"),
    doc: "Longest time a build may run when its document does not say.",
};

/// `pipelines.log_limit`
pub(super) static LOG_LIMIT: Setting<Size> = Setting {
    key: "pipelines.log_limit",
    kind: Size {
        min: 1 << 10,
        max: 1 << 40,
    },
    default: Default::Text("100MiB"),
    doc: "Log bytes kept of a build when its document does not say; the rest is cut with a marker.",
};

/// `pipelines.attempts`
pub(super) static ATTEMPTS: Setting<Count> = Setting {
    key: "pipelines.attempts",
    kind: Count { min: 1, max: 10 },
    default: Default::Text("3"),
    doc: "Machines a build may lose to infrastructure failures when its document does not say.",
};

/// `log.level`
pub(super) static LOG_LEVEL: Setting<LogFilter> = Setting {
    key: "log.level",
    kind: LogFilter,
    default: Default::Text("info"),
    doc: "What the server says about itself on standard error.",
};

/// `log.format`
pub(super) static LOG_FORMAT: Setting<Choice<LogFormat>> = Setting {
    key: "log.format",
    kind: Choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    default: Default::Text("text"),
    doc: "Lines for people, or one JSON object per line for log collectors.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_variables_are_unique() {
        let mut keys: Vec<String> = ALL.iter().map(|one| variable(one.key())).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), ALL.len());
    }

    #[test]
    fn a_name_may_stand_only_where_a_template_has_a_place() {
        let key = "providers.ec2.my-cloud.region";
        assert_eq!(find(key).map(Describe::key), Some("providers.ec2.*.region"));
        assert_eq!(
            section("providers.ec2.my-cloud"),
            Some(Section::Named("my-cloud"))
        );
        assert_eq!(section("providers.ec2"), Some(Section::Fixed));
        for key in [
            "providers.ec2.region",
            "providers.ec2.a.b.region",
            "providers.ec3.a.region",
        ] {
            assert!(find(key).is_none(), "{key}");
        }
        assert_eq!(section("engine.sweep_interval"), None);
    }
}
