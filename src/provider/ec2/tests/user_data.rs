//! The switch is run for real, by two shells, in a directory that has its own accounts file and its
//! own ways of powering off: nothing here can reach those of the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::*;
use crate::model::{MachineId, Secret};

/// Far from anything that a loaded host could make of one second.
const DEADLINE: Duration = Duration::from_mins(1);
const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];
const FAR: i64 = 4_000_000_000;

fn keys() -> MachineKeys {
    MachineKeys {
        machine: MachineId::from_bits(7),
        host_private: Secret::new("-----BEGIN KEY-----\nline\n-----END KEY-----\n".to_owned()),
        host_public: "ssh-ed25519 AAAAhost host\n".to_owned(),
        client_private: Secret::new("never sent".to_owned()),
        client_public: "ssh-ed25519 AAAAclient dormouse\n".to_owned(),
        is_shared: true,
        next: None,
    }
}

fn switch(user: &str) -> Switch<'_> {
    Switch {
        user,
        lease: Span::from_secs(300),
        expires_at: Timestamp::from_micros(FAR * 1_000_000),
    }
}

fn parsed(text: &str) -> serde_json::Value {
    assert!(text.starts_with("#cloud-config\n"), "{text}");
    serde_yaml::from_str(text).unwrap()
}

#[test]
fn cloud_init_reads_what_was_meant() {
    let text = user_data(&keys(), &switch("builder"), None).unwrap();
    let read = parsed(&text);
    assert_eq!(
        read["ssh_keys"]["ed25519_private"],
        keys().host_private.expose()
    );
    assert_eq!(
        read["ssh_keys"]["ed25519_public"],
        "ssh-ed25519 AAAAhost host"
    );
    assert_eq!(
        read["ssh_authorized_keys"][0],
        "ssh-ed25519 AAAAclient dormouse"
    );
    assert_eq!(read["ssh_deletekeys"], true);
    assert_eq!(read["user"], "builder");
    let script = read["bootcmd"][0][2].as_str().unwrap();
    assert!(
        script.contains("user=builder grace=300 end=4000000000 tick=5"),
        "{script}"
    );
    assert!(script.contains("systemd-run --no-block"), "{script}");
    assert!(!text.contains("never sent"), "{text}");
}

#[test]
fn the_switch_is_armed_before_all_else() {
    let text = user_data(&keys(), &switch("builder"), None).unwrap();
    assert!(text.starts_with("#cloud-config\nbootcmd:\n"), "{text}");
}

#[test]
fn root_may_log_in_only_where_it_runs_the_builds() {
    let read = parsed(&user_data(&keys(), &switch("root"), None).unwrap());
    assert_eq!(read["disable_root"], false);
    assert_eq!(read["user"], serde_json::Value::Null);
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["", "a b", "$(reboot)", "x;y", "../root", "Übung", "-f"] {
        let error = user_data(&keys(), &switch(name), None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config, "{name}");
    }
}

#[test]
fn what_ec2_would_not_take_is_refused_here() {
    let mut keys = keys();
    keys.host_private = Secret::new("x".repeat(MOST_BYTES));
    let error = user_data(&keys, &switch("builder"), None).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("more than the 16384"), "{error}");
}

/// A directory that a switch takes for its machine.
struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let machine = Self { directory };
        fs::create_dir_all(machine.path("bin")).unwrap();
        fs::create_dir_all(machine.path("home/.dormouse")).unwrap();
        let home = machine.path("home");
        let accounts = format!(
            "root:x:0:0:root:/nowhere:/bin/sh\nbuilder:x:1000:1000:,,,:{}:/bin/sh\n",
            home.display()
        );
        fs::write(machine.path("passwd"), accounts).unwrap();
        for way in ["poweroff", "shutdown"] {
            machine.program(way, "");
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A way of powering off that only writes down that it was called, and what is `then` done.
    fn program(&self, name: &str, then: &str) {
        let file = self.path("bin").join(name);
        let log = self.path("log");
        let text = format!(
            "#!/bin/sh\necho {name} \"$@\" >>{}\n{then}\n",
            log.display()
        );
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    }

    fn lease(&self, seconds: &str) {
        fs::write(self.path("home/.dormouse/lease"), format!("{seconds}\n")).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs the loop; it dies with the returned child.
    fn start(&self, shell: &[&str], lease: u64, expires_at: i64) -> Child {
        let accounts = self.path("passwd");
        let sysrq = self.path("sysrq");
        let surroundings = Surroundings {
            accounts: accounts.to_str().unwrap(),
            sysrq: sysrq.to_str().unwrap(),
            look_seconds: 1,
            poweroff_seconds: 1,
        };
        let switch = Switch {
            user: "builder",
            lease: Span::from_secs(lease),
            expires_at: Timestamp::from_micros(expires_at * 1_000_000),
        };
        let text = watch(&switch, &surroundings);
        // The fakes come first in the path; nothing else may end a machine.
        assert!(!text.contains("/proc/sysrq-trigger"), "{text}");
        let script = self.path("watch");
        fs::write(&script, text).unwrap();
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let (program, arguments) = shell.split_first().unwrap();
        Command::new(program)
            .args(arguments)
            .arg(&script)
            .env_clear()
            .env("PATH", path)
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}: {}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.len() > 0)
}

#[tokio::test]
async fn a_machine_that_is_never_visited_ends_and_tries_every_way() {
    for shell in SHELLS {
        let machine = Machine::new();
        let _running = machine.start(shell, 2, FAR);
        machine
            .wait_for("the last way", |machine| exists(&machine.path("sysrq")))
            .await;
        let log = machine.log();
        assert!(
            log.starts_with("poweroff\nshutdown -h now\npoweroff -f\n"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn a_renewed_lease_keeps_it_and_a_lease_that_ran_out_ends_it() {
    for shell in SHELLS {
        let machine = Machine::new();
        let _running = machine.start(shell, 2, FAR);
        let renewed_until = Instant::now() + Duration::from_secs(6);
        while Instant::now() < renewed_until {
            machine.lease("5");
            assert_eq!(machine.log(), "", "it ended under a lease");
            sleep(Duration::from_millis(300)).await;
        }
        machine
            .wait_for("the end", |machine| machine.log().contains("poweroff"))
            .await;
    }
}

#[tokio::test]
async fn no_lease_outlasts_the_end_of_its_time() {
    for shell in SHELLS {
        let machine = Machine::new();
        let _running = machine.start(shell, 3_600, 1_000);
        machine.lease("999999");
        machine
            .wait_for("the end", |machine| machine.log().contains("poweroff"))
            .await;
    }
}

#[tokio::test]
async fn a_lease_of_before_this_boot_and_one_that_is_none_do_not_count() {
    for (shell, content) in [(SHELLS[0], "999999"), (SHELLS[1], "a lot")] {
        let machine = Machine::new();
        machine.lease(content);
        let file = fs::File::options()
            .write(true)
            .open(machine.path("home/.dormouse/lease"))
            .unwrap();
        if content.parse::<u64>().is_ok() {
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
                .unwrap();
        }
        let _running = machine.start(shell, 2, FAR);
        machine
            .wait_for("the end", |machine| machine.log().contains("poweroff"))
            .await;
    }
}

#[tokio::test]
async fn a_machine_that_slept_has_time_to_be_visited() {
    // Inside, hibernation is a jump of the clock.
    let machine = Machine::new();
    let clock = machine.path("clock");
    fs::write(&clock, "0").unwrap();
    machine.program(
        "date",
        &format!("echo $(($(/bin/date +%s) + $(cat {})))", clock.display()),
    );
    let mut running = machine.start(SHELLS[0], 3_600, FAR);
    machine.lease("1000");
    let looks = |machine: &Machine| machine.log().matches("date").count();
    machine
        .wait_for("two looks", |machine| looks(machine) >= 3)
        .await;
    // A day later the lease has long run out.
    fs::write(&clock, "86400").unwrap();
    let before = looks(&machine);
    machine
        .wait_for("two more looks", |machine| looks(machine) >= before + 3)
        .await;
    assert!(!machine.log().contains("poweroff"), "{}", machine.log());
    running.kill().await.unwrap();
}
