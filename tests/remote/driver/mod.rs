//! What a run does, on every kind of machine.

mod ends;
mod output;
mod starts;

use crate::host::{Host, Server, Shell};
use crate::run::{Told, attempt, build, step};
use ends::*;
use output::*;
use starts::*;

/// Every scenario on every kind of machine.
macro_rules! machines {
    ($($machine:ident: $server:ident, $program:literal, $beliefs:literal;)*) => {
        $(machines!(@scenarios $machine, $server, $program, $beliefs,
            codes_follow_the_rules
            boundaries_do_not_need_newlines
            junk_comes_through
            a_very_long_line_comes_through
            standard_error_may_be_reopened
            variables_hold_any_text
            a_step_is_at_home
            a_step_can_be_interrupted
            a_step_inherits_no_descriptors
            a_second_start_follows_the_first
            of_many_starts_one_runs
            a_cut_connection_loses_and_repeats_nothing
            a_killed_supervisor_is_lost
            a_killed_step_loop_is_lost
            a_daemon_does_not_hold_the_end_up
            an_unknown_process_does_not_hold_the_end_up
            background_processes_end_with_their_step
            a_step_is_stopped_alone
            an_attempt_is_stopped_by_force
            a_stalled_reader_does_not_hold_up_a_stop
            two_attempts_side_by_side_do_not_disturb_each_other
            a_line_is_seen_at_once
            probes_tell_the_truth
            discarding_leaves_nothing
            what_cannot_be_discarded_is_said
            a_machine_that_was_not_prepared_is
        );)*
    };
    (@scenarios $machine:ident, $server:ident, $program:literal, $beliefs:literal, $($scenario:ident)*) => {
        mod $machine {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    let shell = Shell { program: $program, beliefs: $beliefs };
                    let host = Host::start(Server::$server, shell).await;
                    super::$scenario(&host).await;
                }
            )*
        }
    };
}

machines! {
    local_dash: Local, "/usr/bin/dash", "";
    local_bash: Local, "/usr/bin/bash", "";
    local_busybox: Local, "/usr/bin/busybox", "";
    local_mksh: Local, "/usr/bin/mksh", "";
    local_zsh: Local, "/usr/bin/zsh", "";
    // As on a system without /proc, GNU tail and setsid.
    local_plain: Local, "/usr/bin/dash", "dm_proc=no dm_tail=plain dm_statfs=no dm_session=perl\n";
    openssh_dash: OpenSsh, "/usr/bin/dash", "";
    openssh_bash: OpenSsh, "/usr/bin/bash", "";
    openssh_busybox: OpenSsh, "/usr/bin/busybox", "";
    openssh_mksh: OpenSsh, "/usr/bin/mksh", "";
    openssh_zsh: OpenSsh, "/usr/bin/zsh", "";
    openssh_plain: OpenSsh, "/usr/bin/mksh", "dm_proc=no dm_tail=plain dm_statfs=no dm_session=python3\n";
}

/// A log that takes seconds: not for every shell.
async fn a_large_log_is_exact(server: Server) {
    let shell = Shell {
        program: "/usr/bin/dash",
        beliefs: "",
    };
    let host = Host::start(server, shell).await;
    let steps = vec![step("seq 1 100000000 | head -c 100000000")];
    let mut run = host
        .session
        .start(attempt(), build(steps), 0)
        .await
        .unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |_| false).await;
    let mut expected = Vec::with_capacity(100_000_020);
    for number in 1_u32.. {
        if expected.len() >= 100_000_000 {
            break;
        }
        expected.extend_from_slice(number.to_string().as_bytes());
        expected.push(b'\n');
    }
    expected.truncate(100_000_000);
    assert!(told.log == expected, "{} bytes differ", told.log.len());
    assert_eq!(told.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_is_exact_on_local() {
    a_large_log_is_exact(Server::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_is_exact_on_openssh() {
    a_large_log_is_exact(Server::OpenSsh).await;
}
