//! Waiting for word that a machine is taken back, from a metadata service in this process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dormouse::model::{Span, Timestamp};
use dormouse::remote::{Notice, Remote, RemoteError, Session, Ssh};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::host::{Host, OpenSsh, Server, Shell};
use crate::run::{PATIENCE, attempt, build, eventually, read, step};

const INTERVAL: Span = Span::from_millis(50);

/// A metadata service, version 2.
#[derive(Clone)]
struct Metadata {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Tokens given out.
    tokens: u32,
    /// The only one that is taken.
    valid: u32,
    /// Looks at a notice with a valid token.
    looks: u32,
    refused: u32,
    notice: Option<&'static str>,
}

impl Metadata {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base/", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let service = Self { url, state };
        let serving = service.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = serving.clone();
                // A client that hangs up concerns only its own connection.
                tokio::spawn(async move { drop(service.serve(stream).await) });
            }
        });
        service
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let request = String::from_utf8(request).unwrap();
        let (status, body) = self.answer(&request);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await
    }

    fn answer(&self, request: &str) -> (&'static str, String) {
        let mut state = self.state();
        let lower = request.to_ascii_lowercase();
        if request.starts_with("PUT /base/latest/api/token HTTP/") {
            assert!(
                lower.contains("x-aws-ec2-metadata-token-ttl-seconds: 21600"),
                "{request}"
            );
            state.tokens += 1;
            state.valid = state.tokens;
            return ("200 OK", format!("token-{}==", state.tokens));
        }
        assert!(
            request.starts_with("GET /base/latest/meta-data/spot/instance-action HTTP/"),
            "{request}"
        );
        let valid = format!("x-aws-ec2-metadata-token: token-{}==\r\n", state.valid);
        if !lower.contains(&valid) {
            state.refused += 1;
            return ("401 Unauthorized", "<html>".to_owned());
        }
        state.looks += 1;
        match state.notice {
            Some(notice) => ("200 OK", notice.to_owned()),
            None => ("404 Not Found", "<html>\n<b>404 { }</b>".to_owned()),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn looked_at(&self, times: u32) {
        let before = self.state().looks;
        eventually("the machine looks", || self.state().looks >= before + times).await;
    }
}

const TERMINATE: &str = "{\"action\": \"terminate\", \"time\": \"2026-11-21T08:00:00Z\"}";

fn terminate() -> Notice {
    Notice {
        action: "terminate".to_owned(),
        at: Timestamp::from_micros(1_795_248_000_000_000),
    }
}

/// Waits in a task of its own.
fn wait(
    session: &Arc<dyn Session>,
    metadata: &Metadata,
) -> tokio::task::JoinHandle<Result<Notice, RemoteError>> {
    let (session, url) = (Arc::clone(session), metadata.url.clone());
    tokio::spawn(async move { session.await_notice(&url, INTERVAL).await })
}

async fn outcome(
    waiting: tokio::task::JoinHandle<Result<Notice, RemoteError>>,
) -> Result<Notice, RemoteError> {
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("in time")
        .unwrap()
}

/// Processes of the machine, by the home that they have.
fn processes(home: &Path) -> usize {
    let mark = format!("HOME={}\0", home.display());
    let is_ours = |environment: Vec<u8>| {
        environment
            .windows(mark.len())
            .any(|part| part == mark.as_bytes())
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("environ")).ok())
        .filter(|environment| is_ours(environment.clone()))
        .count()
}

macro_rules! machines {
    ($($name:ident: $server:ident, $program:literal;)*) => {
        $(
            mod $name {
                use super::*;
                const SHELL: Shell = Shell { program: $program, beliefs: "" };

                #[tokio::test]
                async fn a_notice_comes_while_a_build_runs() {
                    let host = Host::start(Server::$server, SHELL).await;
                    super::a_notice_comes_while_a_build_runs(&host).await;
                }

                #[tokio::test]
                async fn a_wait_that_is_given_up_leaves_nothing() {
                    let host = Host::start(Server::$server, SHELL).await;
                    super::a_wait_that_is_given_up_leaves_nothing(&host).await;
                }

                #[tokio::test]
                async fn a_wait_ends_with_the_session() {
                    let host = Host::start(Server::$server, SHELL).await;
                    super::a_wait_ends_with_the_session(&host).await;
                }
            }
        )*
    };
}

machines! {
    local_dash: Local, "/usr/bin/dash";
    local_busybox: Local, "/usr/bin/busybox";
    openssh_dash: OpenSsh, "/usr/bin/dash";
    openssh_bash: OpenSsh, "/usr/bin/bash";
    openssh_busybox: OpenSsh, "/usr/bin/busybox";
    openssh_mksh: OpenSsh, "/usr/bin/mksh";
    openssh_zsh: OpenSsh, "/usr/bin/zsh";
}

async fn a_notice_comes_while_a_build_runs(host: &Host) {
    let metadata = Metadata::start().await;
    let waiting = wait(&host.session, &metadata);
    let run = host
        .session
        .start(attempt(), build(vec![step("echo one")]), 0);
    let told = read(run.await.unwrap()).await;
    assert_eq!((told.text().as_str(), told.code()), ("one\n", Some(0)));
    metadata.looked_at(3).await;
    assert_eq!(metadata.state().tokens, 1, "a token is used again");
    // As after a token has run out.
    metadata.state().valid = 0;
    metadata.looked_at(2).await;
    assert_eq!(metadata.state().tokens, 2);
    assert_eq!(metadata.state().refused, 1);
    metadata.state().notice = Some(TERMINATE);
    assert_eq!(outcome(waiting).await, Ok(terminate()));
}

async fn a_wait_that_is_given_up_leaves_nothing(host: &Host) {
    let before = processes(&host.home);
    let metadata = Metadata::start().await;
    let waiting = wait(&host.session, &metadata);
    metadata.looked_at(1).await;
    assert!(processes(&host.home) > before);
    waiting.abort();
    eventually("its processes end", || processes(&host.home) == before).await;
    assert!(host.session.is_open());
    let output = host
        .session
        .command("echo here", Bytes::new(), Span::from_secs(20));
    assert_eq!(output.await.unwrap().stdout, b"here\n");
}

async fn a_wait_ends_with_the_session(host: &Host) {
    let before = processes(&host.home);
    let session = host.connect().await;
    let metadata = Metadata::start().await;
    let waiting = wait(&session, &metadata);
    metadata.looked_at(1).await;
    session.close().await;
    let outcome = outcome(waiting).await;
    assert!(
        matches!(outcome, Err(RemoteError::Disconnected { .. })),
        "{outcome:?}"
    );
    eventually("its processes end", || processes(&host.home) == before).await;
}

/// A machine on which only these programs are found.
async fn bare_machine(directory: &Path, programs: &[&str]) -> (OpenSsh, Arc<dyn Session>) {
    let bin = directory.join("bin");
    fs::create_dir(&bin).unwrap();
    symlink("/usr/bin/dash", bin.join("sh")).unwrap();
    for program in ["cat", "sleep"].iter().chain(programs) {
        let path = Path::new("/usr/bin").join(program);
        let path = if path.exists() {
            path
        } else {
            Path::new("/bin").join(program)
        };
        assert!(path.exists(), "{program} must be installed");
        symlink(path, bin.join(program)).unwrap();
    }
    let server = OpenSsh::start(directory, &bin, &bin.display().to_string(), "");
    let connecting = Ssh::default()
        .connect(&server.target, Span::from_secs(20))
        .await;
    (server, connecting.unwrap())
}

#[tokio::test]
async fn any_program_that_speaks_http_will_do() {
    for programs in [
        &["curl"][..],
        &["wget"],
        &["perl"],
        &["python3"],
        &["bash", "timeout"],
        &["busybox"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (_server, session) = bare_machine(directory.path(), programs).await;
        let metadata = Metadata::start().await;
        let waiting = wait(&session, &metadata);
        let looking = tokio::time::timeout(PATIENCE, metadata.looked_at(2)).await;
        assert!(looking.is_ok(), "{programs:?}");
        metadata.state().notice = Some(TERMINATE);
        assert_eq!(outcome(waiting).await, Ok(terminate()), "{programs:?}");
    }
}

#[tokio::test]
async fn a_machine_that_cannot_ask_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, session) = bare_machine(directory.path(), &[]).await;
    let metadata = Metadata::start().await;
    let outcome = outcome(wait(&session, &metadata)).await;
    assert!(
        matches!(outcome, Err(RemoteError::NotSupported { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_service_that_hangs_up_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, session) = bare_machine(directory.path(), &["curl"]).await;
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", rude.local_addr().unwrap());
    let asking = async {
        for _ in 0..3 {
            drop(rude.accept().await.unwrap());
        }
    };
    tokio::select! {
        outcome = session.await_notice(&url, INTERVAL) => panic!("{outcome:?}"),
        asked = tokio::time::timeout(PATIENCE, asking) => asked.unwrap(),
    }
}
