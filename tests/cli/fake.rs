//! A small model of a server: remembers every request, and answers as it is told, cut connections
//! included.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query, below `/api/v1`.
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: String,
}

/// What to answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) end: End,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// The connection is cut.
    Cut,
    /// It stays open without another byte.
    Open,
}

impl Answer {
    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self {
            status,
            kind: "application/json",
            pieces: vec![value.to_string().into_bytes()],
            end: End::Whole,
        }
    }

    pub(crate) fn problem(status: u16, word: &str, detail: &str) -> Self {
        let value = serde_json::json!({
            "type": format!("urn:dormouse:problem:{word}"),
            "title": word, "status": status, "detail": detail, "instance": "/",
        });
        Self::json(status, &value)
    }

    pub(crate) fn bytes(pieces: &[&[u8]], end: End) -> Self {
        Self {
            status: 200,
            kind: "text/plain",
            pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
            end,
        }
    }

    pub(crate) fn events(events: &[String], end: End) -> Self {
        Self {
            status: 200,
            kind: "text/event-stream",
            pieces: events
                .iter()
                .map(|event| event.clone().into_bytes())
                .collect(),
            end,
        }
    }
}

type Handler = dyn Fn(usize, &Seen) -> Answer + Send + Sync;

/// A server that runs until it is dropped; then its connections are cut, as when a process dies.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    handler: Box<Handler>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

impl Fake {
    /// Answers each request by its number, counted from 0, and its content.
    pub(crate) fn start(handler: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), handler)
    }

    /// The same at an address where a server was before.
    pub(crate) fn start_at(
        address: SocketAddr,
        handler: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let state = Arc::new(State {
            handler: Box::new(handler),
            seen: Mutex::default(),
            connections: Mutex::default(),
            over: AtomicBool::new(false),
        });
        Self {
            address: listener.local_addr().unwrap(),
            state: Arc::clone(&state),
            thread: Some(std::thread::spawn(move || accept(&listener, &state))),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address));
        let panicked = self.thread.take().map(std::thread::JoinHandle::join);
        for connection in self.state.connections.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
        if !std::thread::panicking() {
            panicked.unwrap().unwrap();
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((stream, _)) = listener.accept() {
        if state.over.load(Ordering::SeqCst) {
            return;
        }
        let kept = stream.try_clone().unwrap();
        state.connections.lock().unwrap().push(kept);
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            // A client that goes away in the middle is what some tests are about.
            let _ = converse(stream, &state);
        });
    }
}

/// One request, one answer, the end.
fn converse(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(seen) = read_request(&mut reader)? else {
        return Ok(());
    };
    let number = {
        let mut all = state.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let answer = (state.handler)(number, &seen);
    write!(
        stream,
        "HTTP/1.1 {} Told\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n",
        answer.status, answer.kind
    )?;
    for piece in answer.pieces.iter().filter(|piece| !piece.is_empty()) {
        write!(stream, "{:x}\r\n", piece.len())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    match answer.end {
        End::Whole => stream.write_all(b"0\r\n\r\n")?,
        End::Cut => {}
        End::Open => {
            reader.read_to_end(&mut Vec::new())?;
        }
    }
    stream.shutdown(Shutdown::Both)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let header = |name: &str| {
        lines.iter().skip(1).find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length = header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut words = lines[0].split(' ');
    let method = words.next().unwrap().to_owned();
    let path = words.next().unwrap();
    Ok(Some(Seen {
        method,
        path: path.strip_prefix("/api/v1").unwrap_or(path).to_owned(),
        token: header("authorization"),
        last_event_id: header("last-event-id"),
        idempotency_key: header("idempotency-key"),
        body: String::from_utf8(body).unwrap(),
    }))
}
