//! What is said to a shell on the machine: the runner, an attempt as assignments, calls.
//!
//! Pure text; nothing here does IO. Everything goes to a shell's standard input, never into an
//! argument list, because arguments can be read by every user of the machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::{RemoteError, Stop};
use crate::model::{AttemptId, BuildSpec, Span, Step};

const RUNNER: &str = include_str!("runner.sh");
const PREPARE: &str = include_str!("prepare.sh");

/// First byte of a step boundary in the log: ASCII "record separator", which no sane output holds.
pub(super) const CONTROL: u8 = 0x1e;

/// The command that every call starts with: the login shell need not be a POSIX one.
pub(super) const SHELL: &str = "exec sh";

/// Name of the runner's file. It holds a hash, so that another version of us finds its own.
static RUNNER_NAME: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    hash.update(RUNNER);
    hash.update(PREPARE);
    format!("runner-{}", hexadecimal(&hash.finalize(), 6))
});

/// Says `ready` and how full the machine is: disk, inodes, memory, in percent.
const READY: &str = r#". "./.dormouse/@NAME@" && dm_room "$dm_blocks" || exit 73
echo "ready $dm_disk $dm_inodes $dm_memory"
"#;

/// Puts the runner on the machine and starts its lease, if one is given; prints `ready` and how full
/// the machine is.
pub(super) fn prepare(first_lease: Option<Span>) -> String {
    // Read anew for every build, so without what only people read.
    let read_by_shells = |line: &&str| !line.is_empty() && !line.trim_start().starts_with('#');
    let runner: String = RUNNER
        .lines()
        .filter(read_by_shells)
        .flat_map(|line| [line.trim_start(), "\n"])
        .collect();
    let mut script = PREPARE
        .replace("@NAME@", &RUNNER_NAME)
        .replace("@RUNNER@", &runner.replace('\'', r"'\''"));
    if let Some(length) = first_lease {
        script.push_str(&lease(length));
    }
    script.push_str(&READY.replace("@NAME@", &RUNNER_NAME));
    script
}

/// Starts an attempt, or follows it when it has been started.
///
/// # Errors
/// [`RemoteError::Unrunnable`] for what no shell can express: a NUL byte, an odd variable name.
pub(super) fn start(
    attempt: AttemptId,
    build: &BuildSpec,
    from: u64,
) -> Result<String, RemoteError> {
    let mut script = source(attempt);
    let _ = writeln!(script, "dm_steps={}", build.steps.len());
    let _ = writeln!(script, "dm_control='{}'", char::from(CONTROL));
    let _ = writeln!(script, "dm_nonce={}", nonce(attempt));
    let own = BTreeMap::from([
        ("CI".to_owned(), "true".to_owned()),
        ("DORMOUSE".to_owned(), "true".to_owned()),
        ("DORMOUSE_BUILD".to_owned(), build.name.clone()),
        ("DORMOUSE_PIPELINE".to_owned(), build.pipeline.to_string()),
        ("DORMOUSE_PROJECT".to_owned(), build.project.clone()),
    ]);
    environment(&mut script, "dm_environment", [&own, &build.env])?;
    for (index, step) in build.steps.iter().enumerate() {
        describe(&mut script, index, step)?;
    }
    let _ = writeln!(script, "dm_start {from} whole");
    Ok(script)
}

/// What a machine's shell is told for an attempt: to take the runner, and to start. For trying the
/// runner under a shell without a machine.
///
/// # Errors
/// As `start`.
pub fn conversation(attempt: AttemptId, build: &BuildSpec) -> Result<[String; 2], RemoteError> {
    Ok([prepare(None), start(attempt, build, 0)?])
}

/// Follows an attempt that was started earlier.
pub(super) fn follow(attempt: AttemptId, from: u64) -> String {
    format!("{}dm_follow {from}\n", source(attempt))
}

/// Asks how an attempt stands.
pub(super) fn probe(attempt: AttemptId) -> String {
    format!("{}dm_probe\n", source(attempt))
}

/// Ends processes of an attempt.
pub(super) fn stop(attempt: AttemptId, what: Stop, grace: Span) -> String {
    let what = match what {
        Stop::Step(index) => index.to_string(),
        Stop::Attempt => "all".to_owned(),
    };
    let tenths = grace.micros().div_ceil(100_000);
    format!("{}dm_stop {what} {tenths}\n", source(attempt))
}

/// Ends the log of an attempt whose steps are over.
pub(super) fn release(attempt: AttemptId) -> String {
    format!("{}dm_release\n", source(attempt))
}

/// Removes an attempt, from a shell of its own.
pub(super) fn discard(attempt: AttemptId) -> String {
    format!("{}{DISCARD}", source(attempt))
}

/// The same for the shell that has run the attempt and still listens.
pub(super) const DISCARD: &str = "dm_discard\n";

/// Writes the machine's lease, in seconds from now; the machine counts from the file's change.
pub(super) fn lease(lease: Span) -> String {
    let seconds = lease.micros().div_ceil(1_000_000);
    format!(
        "[ -d .dormouse ] || mkdir -m 700 .dormouse\nprintf '%s\\n' {seconds} >.dormouse/lease || exit 73\n"
    )
}

/// The word by which marks of this attempt's log are told from its output. A build cannot print it
/// by accident; one that wants to can spoil the display of its own steps and nothing else.
pub(super) fn nonce(attempt: AttemptId) -> String {
    let mut hash = Sha256::new();
    hash.update(b"dormouse step boundary ");
    hash.update(attempt.bits().to_be_bytes());
    hexadecimal(&hash.finalize(), 8)
}

fn source(attempt: AttemptId) -> String {
    let name = &*RUNNER_NAME;
    format!(
        "[ -e .dormouse/{name} ] || exit {NO_RUNNER}\n. ./.dormouse/{name}\ndm_attempt={attempt}\n"
    )
}

/// Exit status of a call on a machine that was not prepared.
pub(super) const NO_RUNNER: u32 = 78;

fn describe(script: &mut String, index: usize, step: &Step) -> Result<(), RemoteError> {
    let own = BTreeMap::from([("DORMOUSE_STEP_NAME".to_owned(), step.name.clone())]);
    environment(
        script,
        &format!("dm_environment_{index}"),
        [&own, &step.env],
    )?;
    let continues = if step.continue_on_error {
        "continue"
    } else {
        ""
    };
    let always = if step.always { "always" } else { "" };
    let _ = writeln!(script, "dm_flags_{index}={continues}{always}");
    let text = quoted(&step.run)?;
    let _ = writeln!(script, "dm_text_{index}={text}'\n'");
    Ok(())
}

/// A function that exports variables, the later maps over the earlier ones.
fn environment(
    script: &mut String,
    function: &str,
    maps: [&BTreeMap<String, String>; 2],
) -> Result<(), RemoteError> {
    let _ = writeln!(script, "{function}() {{\n:");
    for (name, value) in maps.into_iter().flatten() {
        if !is_name(name) {
            return Err(RemoteError::Unrunnable {
                detail: format!("{name:?} is not a name for an environment variable"),
            });
        }
        let _ = writeln!(script, "export {name}={}", quoted(value)?);
    }
    script.push_str("}\n");
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        && name
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit())
}

/// Single quotes hold every byte but themselves.
pub(super) fn quoted(text: &str) -> Result<String, RemoteError> {
    if text.contains('\0') {
        return Err(RemoteError::Unrunnable {
            detail: "a step or variable holds a NUL byte".to_owned(),
        });
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

fn hexadecimal(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_keeps_every_character() {
        assert_eq!(quoted("it's $HOME\n\\").unwrap(), "'it'\\''s $HOME\n\\'");
        assert!(matches!(
            quoted("a\0b"),
            Err(RemoteError::Unrunnable { .. })
        ));
    }

    #[test]
    fn names_that_a_shell_cannot_assign_are_refused() {
        for name in ["", "1A", "A-B", "A B", "Ä", "A=B"] {
            assert!(!is_name(name), "{name:?}");
        }
        for name in ["A", "_a1", "PATH"] {
            assert!(is_name(name), "{name:?}");
        }
    }

    #[test]
    fn the_prepared_text_holds_the_runner_without_comments() {
        let text = prepare(None);
        assert!(text.contains("\ndm_start() {\n") && text.contains("\ndm_discard() {\n"));
        assert!(!text.contains("@RUNNER@\n") && !text.contains("agentless"));
        assert!(!RUNNER.contains("DORMOUSE_RUNNER_ENDS"));
    }

    #[test]
    fn signals_are_sent_in_one_place_only() {
        let sends = |line: &&str| line.trim_start().contains("kill -");
        let code = RUNNER
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        assert_eq!(
            code.filter(sends).count(),
            2,
            "the check for `--`, and dm_send"
        );
    }

    /// A shell with the runner loaded, as on a machine, in a home of its own.
    #[expect(
        clippy::disallowed_methods,
        reason = "the runner is tested with real shells"
    )]
    fn shell(home: &std::path::Path, input: &[u8]) -> std::process::Output {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut shell = Command::new("sh");
        shell.current_dir(home).env("HOME", home);
        shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let sent = child.stdin.take().unwrap().write_all(input);
        assert!(sent.is_ok() || input.len() > 60_000, "{sent:?}");
        child.wait_with_output().unwrap()
    }

    fn prepared_home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let output = shell(home.path(), prepare(None).as_bytes());
        assert!(output.stdout.starts_with(b"ready "), "{output:?}");
        home
    }

    #[test]
    fn what_is_no_process_gets_no_signal() {
        let home = prepared_home();
        let script = format!(
            "{}kill() {{ echo \"$@\"; }}\ndm_send TERM '' - -- 0 -0 1 -1 -01 1x -1x '(sh)' S 5 -6 '7 8' -9-\n",
            source(AttemptId::from_bits(1))
        );
        let output = shell(home.path(), script.as_bytes());
        let sent = String::from_utf8(output.stdout).unwrap();
        assert_eq!(sent, "-s TERM -- 5\n-s TERM -- -6\n");
    }

    #[test]
    fn a_cut_upload_starts_nothing() {
        let home = prepared_home();
        let attempt = AttemptId::from_bits(5);
        let script = start(attempt, &spec("touch \"$HOME/ran\"; echo 'one two'"), 0).unwrap();
        let whole = script.trim_end().len();
        // Every place in the last part, and some everywhere.
        let cuts = (0..whole).filter(|cut| cut % 37 == 0 || cut + 60 > whole);
        for cut in cuts {
            shell(home.path(), &script.as_bytes()[..cut]);
            assert!(!home.path().join("ran").exists(), "cut at {cut} of {whole}");
        }
        let output = shell(home.path(), script.as_bytes());
        assert!(home.path().join("ran").exists(), "{output:?}");
    }

    fn spec(run: &str) -> BuildSpec {
        BuildSpec {
            pipeline: crate::model::PipelineId::from_bits(1),
            name: "build".to_owned(),
            project: "project".to_owned(),
            labels: BTreeMap::new(),
            priority: 0,
            matrix: BTreeMap::new(),
            requires: crate::model::Requirements::default(),
            image: None,
            fresh: false,
            deadline: None,
            needs: Vec::new(),
            steps: vec![Step {
                name: "step".to_owned(),
                run: run.to_owned(),
                env: BTreeMap::new(),
                timeout: None,
                continue_on_error: false,
                always: false,
            }],
            env: BTreeMap::new(),
            timeout: Span::from_secs(1),
            max_attempts: 1,
            log_limit_bytes: 1,
            submitted_at: crate::model::Timestamp::default(),
        }
    }

    #[test]
    fn every_attempt_has_its_own_nonce() {
        let (one, two) = (AttemptId::from_bits(1), AttemptId::from_bits(2));
        assert_ne!(nonce(one), nonce(two));
        assert_eq!(nonce(one), nonce(one));
    }
}
