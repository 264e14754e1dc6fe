//! The validated configuration, as the rest of the house sees it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use tracing_subscriber::filter::Targets;

use crate::model::{Jump, Money, Secret, Span};

/// Everything an operator may set, validated. `settings` documents each field.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything lives that must survive a restart.
    pub data_dir: PathBuf,
    /// Address and port of the HTTP API.
    pub listen: SocketAddr,
    /// Whether requests need a token.
    pub auth: Authentication,
    /// A token accepted as admin.
    pub admin_token: Option<Secret>,
    /// The durable state.
    pub store: StoreConfig,
    /// Where build logs go.
    pub logs: LogsConfig,
    /// Where machines come from.
    pub providers: ProvidersConfig,
    /// Timing and limits of the engine.
    pub engine: EngineConfig,
    /// What pipelines get when their document does not say.
    pub pipelines: PipelineDefaults,
    /// What the server says about itself.
    pub log: LogConfig,
}

/// In the data directory: the admin token that a server makes when it starts for the first time,
/// readable by its own user only. The command line on the same host finds it there.
const ADMIN_TOKEN_FILE: &str = "admin-token";

impl Config {
    /// Where the server leaves the first admin token, mode 0600, and where the command line looks
    /// for it when it is given none.
    pub fn admin_token_file(&self) -> PathBuf {
        self.data_dir.join(ADMIN_TOKEN_FILE)
    }
}

/// Whether requests need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Every request to the API carries a token.
    Required,
    /// Anybody who reaches the port is an admin: loopback only.
    Open,
}

/// The durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The `SQLite` database.
    pub path: PathBuf,
}

/// Where build logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsConfig {
    /// The directory of the segments.
    pub directory: PathBuf,
    /// A bucket in its place.
    pub s3: Option<S3Config>,
}

/// A bucket for build logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// Where in S3.
    pub place: S3Place,
    /// Where S3 is served, when that is not AWS.
    pub endpoint_url: Option<String>,
    /// The bucket's region; `None` for what the environment says.
    pub region: Option<String>,
}

/// A bucket and a prefix in it: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket's name.
    pub bucket: String,
    /// What every key begins with, without slashes around; may be empty.
    pub prefix: String,
}

impl S3Place {
    pub(super) fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        // The rules for names of buckets in the S3 user guide.
        let may_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.bytes().all(may_name);
        // Of the signs that S3 calls safe in keys.
        let may_lead = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
        let is_prefix = prefix.len() <= 512
            && prefix.bytes().all(may_lead)
            && (prefix.is_empty()
                || prefix
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | "..")));
        (is_bucket && is_prefix).then(|| Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    pub(super) fn print(&self) -> String {
        match self.prefix.as_str() {
            "" => format!("s3://{}", self.bucket),
            prefix => format!("s3://{}/{prefix}", self.bucket),
        }
    }
}

/// Where machines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvidersConfig {
    /// Machines as processes on this host; `None` when switched off.
    pub local: Option<LocalConfig>,
    /// EC2 providers, by the name that images refer to.
    pub ec2: BTreeMap<String, Ec2Config>,
}

/// Machines as processes on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Where each machine has its home.
    pub directory: PathBuf,
}

/// One EC2 provider: machines in one region of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Config {
    /// The region.
    pub region: String,
    /// The profile of the shared AWS files.
    pub profile: Option<String>,
    /// The ARN of a role to take on after logging in.
    pub role: Option<String>,
    /// Where all API calls go.
    pub endpoint_url: Option<String>,
    /// The tag by which machines are known as ours; `None` for one that is made and kept.
    pub installation: Option<String>,
    /// The subnets machines are put into, by id; at least one.
    pub subnets: Vec<String>,
    /// The security groups of machines, by id; none for the VPC's default one.
    pub security_groups: Vec<String>,
    /// The name of the instance profile of machines.
    pub instance_profile: Option<String>,
    /// Which of a machine's addresses are tried.
    pub address: AddressChoice,
    /// A host to go through.
    pub jump: Option<JumpConfig>,
    /// The URL of an SQS queue with interruption notices.
    pub interruption_queue: Option<String>,
    /// Where machines read what EC2 says of them; `{address}` stands for the machine's address.
    pub metadata_url: String,
    /// Where SSH servers of machines listen.
    pub ssh_port: u16,
    /// Least time between two listings.
    pub poll_interval: Span,
}

/// Which of a machine's addresses are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChoice {
    /// The one in its subnet.
    Private,
    /// The one the world sees.
    Public,
    /// First the private, then the public one.
    Both,
}

/// A host that connections to machines go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpConfig {
    /// Whose account, where.
    pub address: JumpAddress,
    /// The file of the private key to log in with.
    pub key: PathBuf,
    /// The public key that the host must present, OpenSSH format.
    pub host_key: String,
}

impl JumpConfig {
    /// The host with its key, which is read from its file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn load(&self) -> std::io::Result<Jump> {
        let JumpAddress { user, host, port } = self.address.clone();
        Ok(Jump {
            user,
            host,
            port,
            client_private: Secret::new(std::fs::read_to_string(&self.key)?),
            host_public: self.host_key.clone(),
        })
    }
}

/// An account on a host: `user@host:port`, the port 22 when it is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpAddress {
    /// The account.
    pub user: String,
    /// The host's name or address.
    pub host: String,
    /// The port of its SSH server.
    pub port: u16,
}

impl JumpAddress {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (user, place) = text.split_once('@')?;
        let (host, port) = match place.strip_prefix('[') {
            // An IPv6 address, whose colons are not the port's.
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (
                    host,
                    port.strip_prefix(':').or(port.is_empty().then_some("22"))?,
                )
            }
            None => place.split_once(':').unwrap_or((place, "22")),
        };
        let is_word = |word: &str, signs: &[u8]| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
            !word.is_empty() && word.bytes().all(known)
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (is_word(user, b"-_.") && is_word(host, b"-.:")).then(|| Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
        })
    }

    pub(super) fn print(&self) -> String {
        let Self { user, host, port } = self;
        if host.contains(':') {
            format!("{user}@[{host}]:{port}")
        } else {
            format!("{user}@{host}:{port}")
        }
    }
}

/// Timing and limits of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Time between full listings of each provider.
    pub sweep_interval: Span,
    /// A machine that hears nothing for this long powers itself off.
    pub lease: Span,
    /// Longest time for one SSH connection with login.
    pub connect_timeout: Span,
    /// Time between asking a build to stop and killing it.
    pub stop_grace: Span,
    /// Longest wait for open requests when the server stops.
    pub shutdown_grace: Span,
    /// Longest time a build waits for capacity before it ends as an infrastructure failure.
    pub capacity_wait: Span,
    /// Failed launches per image and hour that open its breaker.
    pub launch_failures: u32,
    /// Cost of failed launches per image and hour that opens its breaker.
    pub launch_failure_cost: Money,
    /// Interruptions of one image within 10 minutes after which it is on-demand for a while.
    pub spot_interruptions: u32,
    /// Passes of the planner that are kept.
    pub record_plans: u32,
}

/// What pipelines get when their document does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineDefaults {
    /// Longest time a build may run.
    pub timeout: Span,
    /// Log bytes kept of a build.
    pub log_limit_bytes: u64,
    /// Attempts that infrastructure failures may use up.
    pub attempts: u32,
}

/// What the server says about itself.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Levels, by module.
    pub level: Targets,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the server's own log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_s3_read_what_they_print() {
        for text in ["s3://logs", "s3://my.logs-1/a/b_c.d"] {
            assert_eq!(S3Place::read(text).unwrap().print(), text);
        }
        assert_eq!(S3Place::read("s3://logs/x/").unwrap().prefix, "x");
        for text in [
            "logs",
            "s3://",
            "s3://ab",
            "s3://Logs",
            "s3://logs//x",
            "s3://logs/../x",
        ] {
            assert_eq!(S3Place::read(text), None, "{text}");
        }
    }

    #[test]
    fn jump_hosts_read_what_they_print() {
        for text in [
            "me@bastion.example.org:22",
            "me@10.0.0.1:2222",
            "me@[fd00::1]:22",
        ] {
            assert_eq!(JumpAddress::read(text).unwrap().print(), text);
        }
        assert_eq!(JumpAddress::read("me@host").unwrap().port, 22);
        assert_eq!(JumpAddress::read("me@[::1]").unwrap().port, 22);
        for text in [
            "host",
            "@host",
            "me@",
            "me@host:0",
            "me@host:x",
            "me@[::1]x",
            "m e@host",
        ] {
            assert_eq!(JumpAddress::read(text), None, "{text}");
        }
    }
}
