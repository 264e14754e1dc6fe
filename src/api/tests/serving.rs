//! Real sockets: limits on heads, and an orderly end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::fake_desk::STUCK;
use super::things;
use super::world::World;
use crate::api::limits::MAX_HEADER_BYTES;
use crate::api::{Ended, serve};
use crate::model::{Change, PipelineId};

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn served(world: &World, grace: Duration) -> (SocketAddr, JoinHandle<Ended>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve(
        listener,
        world.router.clone(),
        world.shutdown.clone(),
        grace,
    );
    (address, tokio::spawn(server))
}

async fn send(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer dm_reader\r\n\r\n")
}

async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    while !text.contains(wanted) {
        let read = timeout(PATIENCE, stream.read(&mut buffer)).await;
        let count = read.expect("an answer in time").unwrap();
        assert!(count > 0, "the connection ended after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    read.expect("an end in time").unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn an_open_stream_and_an_idle_connection_do_not_hold_up_the_end() {
    let world = World::new();
    let build = things::build(1, PipelineId::from_bits(1));
    let path = format!("/api/v1/builds/{}/log/stream", build.id);
    world.store.put([Change::InsertBuild(build)]);
    let (address, server) = served(&world, PATIENCE).await;
    let mut streaming = send(address, &get(&path)).await;
    let head = read_until(&mut streaming, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut idle = send(address, &get("/healthz")).await;
    read_until(&mut idle, "\"ok\"").await;
    let _silent = TcpStream::connect(address).await.unwrap();

    world.shutdown.cancel();
    let ended = timeout(PATIENCE / 2, server).await.unwrap().unwrap();
    assert_eq!(ended, Ended::Gracefully);
    let rest = read_to_end(&mut streaming).await;
    assert!(
        rest.ends_with("0\r\n\r\n"),
        "the stream ended whole: {rest:?}"
    );
    let late = TcpStream::connect(address).await;
    assert!(late.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_request_under_way_is_finished_and_one_that_hangs_is_cut() {
    let world = World::new();
    let (address, server) = served(&world, Duration::from_millis(500)).await;
    let post = format!(
        "POST /api/v1/pipelines HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dm_admin\r\n\
         Content-Type: text/yaml\r\nContent-Length: {}\r\n\r\n",
        STUCK.len()
    );
    let mut stuck = send(address, &format!("{post}{STUCK}")).await;
    let mut slow = send(address, &format!("{post}n")).await;
    // The server has seen both requests once it answers a third.
    let mut third = send(address, &get("/healthz")).await;
    read_until(&mut third, "\"ok\"").await;
    world.shutdown.cancel();
    slow.write_all(b"ight").await.unwrap();
    let answer = read_until(&mut slow, "\"repeated\"").await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let ended = timeout(PATIENCE, server).await.unwrap().unwrap();
    assert_eq!(ended, Ended::Cut);
    assert_eq!(read_to_end(&mut stuck).await, "");
}

#[tokio::test]
async fn heads_are_bounded() {
    let world = World::new();
    let (address, server) = served(&world, PATIENCE).await;
    for (padding, status) in [
        (MAX_HEADER_BYTES - 1_000, "HTTP/1.1 200"),
        (MAX_HEADER_BYTES, "HTTP/1.1 431"),
    ] {
        let padding = "x".repeat(padding);
        let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nPadding: {padding}\r\n\r\n");
        let mut stream = send(address, &head).await;
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with(status), "{answer}");
    }
    world.shutdown.cancel();
    timeout(PATIENCE, server).await.unwrap().unwrap();
}
