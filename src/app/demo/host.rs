//! What this host can build with, found by asking the programs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What was found.
#[derive(Debug)]
pub(super) struct Host {
    /// Shells by name, with the command that makes each of them a POSIX one.
    pub(super) shells: BTreeMap<&'static str, &'static str>,
    /// Compilers and tools, with their versions.
    pub(super) tools: BTreeMap<&'static str, String>,
    /// Interpreters, with their versions.
    pub(super) interpreters: BTreeMap<&'static str, String>,
    /// Directories that machines look for programs in.
    pub(super) path: String,
}

/// Shells and how to start them as a POSIX shell.
const SHELLS: [(&str, &str); 6] = [
    ("dash", "dash"),
    ("bash", "bash --posix"),
    ("busybox", "busybox sh"),
    ("mksh", "mksh"),
    ("ksh", "ksh"),
    ("zsh", "zsh --emulate sh"),
];
const TOOLS: [(&str, &str); 5] = [
    ("rust", "rustc --version"),
    ("cc", "cc --version"),
    ("make", "make --version"),
    ("git", "git --version"),
    ("cmake", "cmake --version"),
];
const INTERPRETERS: [(&str, &str); 4] = [
    ("python", "python3 --version"),
    ("perl", "perl -e 'printf q{%vd}, $^V'"),
    ("node", "node --version"),
    ("lua", "lua -v"),
];

/// Asks this host.
pub(super) fn probe() -> Host {
    let path = search_path();
    let shells = SHELLS
        .into_iter()
        .filter(|(name, _)| run(&path, &format!("command -v {name}")).is_some());
    let versions = |programs: &[(&'static str, &str)]| {
        let found = programs
            .iter()
            .filter_map(|(name, ask)| Some((*name, version(&run(&path, ask)?)?)));
        found.collect()
    };
    Host {
        shells: shells.collect(),
        tools: versions(&TOOLS),
        interpreters: versions(&INTERPRETERS),
        path,
    }
}

impl Host {
    /// In words.
    pub(super) fn sentence(&self) -> String {
        let shells: Vec<&str> = self.shells.keys().copied().collect();
        let versions = self.tools.iter().chain(&self.interpreters);
        let versions: Vec<String> = versions
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        format!("{}; {}", shells.join(", "), versions.join(", "))
    }
}

/// Machine processes whose home is below `directory`: none, if all went well.
pub(super) fn machines_left(directory: &Path) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let wanted = directory.as_os_str().as_encoded_bytes().to_vec();
    processes
        .filter_map(Result::ok)
        .filter(|entry| {
            let own = std::process::id().to_string();
            entry.file_name().to_str() != Some(&own)
        })
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| memchr::memmem::find(line, &wanted).is_some())
        .count()
}

/// The usual directories, and that of the Rust toolchain itself: its proxies want a home that
/// machines do not share.
fn search_path() -> String {
    const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let sysroot = run(&inherited.to_string_lossy(), "rustc --print sysroot");
    match sysroot {
        Some(sysroot) => {
            let tools = PathBuf::from(sysroot.trim()).join("bin");
            format!("{}:{USUAL}", tools.display())
        }
        None => USUAL.to_owned(),
    }
}

/// What a command prints, when it succeeds.
#[expect(
    clippy::disallowed_methods,
    reason = "the demonstration asks its host what it has"
)]
fn run(path: &str, command: &str) -> Option<String> {
    let shell = Command::new("sh")
        .args(["-c", command])
        .env("PATH", path)
        .output()
        .ok()?;
    shell
        .status
        .success()
        .then(|| String::from_utf8_lossy(&shell.stdout).into_owned())
}

/// The first word of a text that looks like a version.
fn version(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','));
    let trimmed = words.map(|word| word.trim_start_matches('v'));
    let mut versions =
        trimmed.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    versions.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, expected) in [
            ("rustc 1.95.0 (f2d3ce0bd 2026-03-21)", "1.95.0"),
            ("cc (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0-14+deb12u1"),
            ("v20.20.2\n", "20.20.2"),
            ("GNU Make 4.3\nCopyright", "4.3"),
        ] {
            assert_eq!(version(text).as_deref(), Some(expected));
        }
        assert_eq!(version("no version here"), None);
    }
}
