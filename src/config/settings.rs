//! Every setting: its key, what it accepts, its default, and why one would change it.
//!
//! This table is the one source for the file's keys, the environment's names, `config show`, the
//! commented example and the look-up of misspelt keys. A new setting is a constant here, a line in
//! [`ALL`], and a field of `Config`.

use super::kind::{Choice, Count, FilePath, Kind, Length, ListenAddress, LogFilter, SWITCH};
use super::kind::{SecretText, Size};
use super::value::{Authentication, LogFormat};
use crate::model::Span;

/// One setting.
#[derive(Debug)]
pub(super) struct Setting<K> {
    /// Where it stands in the file: `engine.sweep_interval`.
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

    /// The environment variable that sets it: `DORMOUSE_ENGINE_SWEEP_INTERVAL`.
    fn variable(&self) -> String {
        format!(
            "DORMOUSE_{}",
            self.key().replace('.', "_").to_ascii_uppercase()
        )
    }
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
}

/// All settings, in the order in which people read them.
pub(super) const ALL: [&'static dyn Describe; 20] = [
    &DATA_DIR,
    &LISTEN,
    &AUTH,
    &ADMIN_TOKEN,
    &STORE_PATH,
    &LOGS_DIRECTORY,
    &LOGS_FLUSH_INTERVAL,
    &LOCAL_ENABLED,
    &LOCAL_DIRECTORY,
    &LOCAL_MAX_MACHINES,
    &SWEEP_INTERVAL,
    &LEASE,
    &CONNECT_TIMEOUT,
    &STOP_GRACE,
    &SHUTDOWN_GRACE,
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

/// `logs.flush_interval`
pub(super) static LOGS_FLUSH_INTERVAL: Setting<Length> = Setting {
    key: "logs.flush_interval",
    kind: Length {
        min: Span::from_millis(1),
        max: Span::from_secs(10),
    },
    default: Default::Text("20ms"),
    doc: "How long log bytes may wait to be stored together. Followers see a line this much later.",
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

/// `providers.local.max_machines`
pub(super) static LOCAL_MAX_MACHINES: Setting<Count> = Setting {
    key: "providers.local.max_machines",
    kind: Count { min: 1, max: 1_000 },
    default: Default::Text("32"),
    doc: "Local machines at once; beyond it the provider says that it has no capacity.",
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
        let mut keys: Vec<String> = ALL.iter().map(|setting| setting.variable()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), ALL.len());
    }
}
