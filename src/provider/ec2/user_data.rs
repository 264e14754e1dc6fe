//! What a machine is told before its first boot: its host key, who may log in, and when to end.
//!
//! The dead-man switch is armed first, before anything that could hang or fail: a loop that runs as
//! root and powers the machine off when its lease has run out. It needs no network, no permission
//! and nobody alive elsewhere, since the machine was launched so that powering off terminates it.
//! What is written here is readable on the machine (as user data), so the host key is replaced once
//! the machine is ready. For cloud-init; Windows machines are out of scope.

use std::fmt::Write as _;

use crate::model::{MachineKeys, Span, Timestamp};
use crate::provider::{ErrorKind, ProviderError};

use super::errors::refuse;

/// Most bytes of user data that EC2 takes, before it is encoded.
const MOST_BYTES: usize = 16 * 1024;
/// How often a machine looks at its lease. Two of them pass at most until it acts.
const LOOK_SECONDS: u64 = 5;
/// How long each way of powering off gets before the next one is tried.
const POWEROFF_SECONDS: u64 = 20;

/// When a machine ends by itself.
#[derive(Debug, Clone)]
pub(super) struct Switch<'a> {
    /// The account that runs builds, below whose home the lease is.
    pub user: &'a str,
    /// How long it may take until a lease is first seen, and after each sleep.
    pub lease: Span,
    /// When it ends whatever the lease says.
    pub expires_at: Timestamp,
}

/// How the switch's script looks at its machine, so that tests can give it another one.
#[derive(Debug)]
struct Surroundings<'a> {
    accounts: &'a str,
    sysrq: &'a str,
    look_seconds: u64,
    poweroff_seconds: u64,
}

const MACHINE: Surroundings<'_> = Surroundings {
    accounts: "/etc/passwd",
    sysrq: "/proc/sysrq-trigger",
    look_seconds: LOOK_SECONDS,
    poweroff_seconds: POWEROFF_SECONDS,
};

/// The loop. It counts from the lease file's change, as whoever renews it does. A lease of before
/// this boot, or of before a jump of the clock (which is what hibernation looks like from inside),
/// says nothing; there is time to renew it.
const WATCH: &str = r#"PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
off() {
  sync
  poweroff
  sleep "$rest"
  shutdown -h now
  sleep "$rest"
  poweroff -f
  sleep "$rest"
  echo o >"$sysrq"
  sleep "$rest"
}
look() {
  home=$(sed -n "s|^$user:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\).*|\1|p" "$accounts")
  file=$home/.dormouse/lease
  until=$((since + grace))
  [ -n "$home" ] && [ -f "$file" ] || return 0
  at=$(stat -c %Y "$file" 2>/dev/null || stat -f %m "$file" 2>/dev/null) || return 0
  [ "$at" -ge "$since" ] || return 0
  length=
  read -r length <"$file" || :
  case $length in
    # Perhaps it is being written just now.
    '' | *[!0-9]* | ??????????*) until=$((at + grace)) ;;
    *) until=$((at + length)) ;;
  esac
}
since=$(date +%s)
last=$since
while :; do
  sleep "$tick"
  now=$(date +%s)
  if [ "$now" -lt "$last" ] || [ "$now" -gt $((last + tick + 60)) ]; then
    since=$now
  fi
  last=$now
  look
  if [ "$now" -gt "$until" ] || [ "$now" -gt "$end" ]; then
    off
  fi
done
"#;

/// Writes the loop to a file and starts it away from cloud-init: as a unit of systemd where that
/// runs, since it restarts what dies, else in a session of its own. Runs at every boot.
const ARM: &str = r#"umask 077
mkdir -p /run/dormouse 2>/dev/null && at=/run/dormouse || at=/var/tmp
cat >"$at/watch" <<'DORMOUSE'
@WATCH@DORMOUSE
systemd-run --no-block --unit=dormouse-watch --property=DefaultDependencies=no \
  --property=Restart=always --property=RestartSec=1 /bin/sh "$at/watch" 2>/dev/null && exit 0
if command -v setsid >/dev/null 2>&1; then
  setsid /bin/sh "$at/watch" </dev/null >/dev/null 2>&1 &
else
  nohup /bin/sh "$at/watch" </dev/null >/dev/null 2>&1 &
fi
exit 0
"#;

/// The user data of the machines of one launch, with shell commands of the image's own to be run as
/// root once, after all else.
///
/// # Errors
/// `Config` when the account's name is none, or when it is all too long.
pub(super) fn user_data(
    keys: &MachineKeys,
    switch: &Switch<'_>,
    extra: Option<&str>,
) -> Result<String, ProviderError> {
    let operation = "writing user data";
    if !is_account(switch.user) {
        let message = format!("{:?} is not the name of an account", switch.user);
        return Err(refuse(operation, ErrorKind::Config, message));
    }
    let watch = watch(switch, &MACHINE);
    let mut text = "#cloud-config\nbootcmd:\n- - /bin/sh\n  - -c\n  - |\n".to_owned();
    indent(&mut text, 4, &ARM.replace("@WATCH@", &watch));
    text.push_str("ssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n");
    indent(&mut text, 4, keys.host_private.expose());
    let host_public = quoted(&keys.host_public);
    let _ = writeln!(text, "  ed25519_public: {host_public}");
    // The default account of the image gets the name of the one that runs builds.
    if switch.user == "root" {
        text.push_str("disable_root: false\n");
    } else {
        let _ = writeln!(text, "user: {}", switch.user);
    }
    let client_public = quoted(&keys.client_public);
    let _ = writeln!(text, "ssh_authorized_keys:\n- {client_public}");
    if let Some(extra) = extra {
        text.push_str("runcmd:\n- - /bin/sh\n  - -c\n  - |\n");
        indent(&mut text, 4, extra);
    }
    if text.len() > MOST_BYTES {
        let message = format!(
            "{} bytes, more than the {MOST_BYTES} that EC2 takes",
            text.len()
        );
        return Err(refuse(operation, ErrorKind::Config, message));
    }
    Ok(text)
}

/// The loop with its values in front.
fn watch(switch: &Switch<'_>, surroundings: &Surroundings<'_>) -> String {
    let user = switch.user;
    let grace = switch.lease.micros().div_ceil(1_000_000);
    let end = switch.expires_at.micros() / 1_000_000;
    let Surroundings {
        accounts,
        sysrq,
        look_seconds,
        poweroff_seconds,
    } = surroundings;
    format!(
        "user={user} grace={grace} end={end} tick={look_seconds} rest={poweroff_seconds}\n\
         accounts={accounts} sysrq={sysrq}\n{WATCH}"
    )
}

/// Names that `useradd` takes everywhere, which need no quotes in any language used here.
fn is_account(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && name.len() <= 32
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        })
}

fn indent(text: &mut String, by: usize, block: &str) {
    for line in block.lines() {
        if !line.is_empty() {
            text.extend(std::iter::repeat_n(' ', by));
            text.push_str(line);
        }
        text.push('\n');
    }
}

/// A string of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.trim().to_owned()).to_string()
}

#[cfg(test)]
#[path = "tests/user_data.rs"]
mod tests;
