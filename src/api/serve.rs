//! Listens, and ends in an orderly way.
//!
//! `axum::serve` would do, were it not for the limits on heads of requests and for a hard end: with
//! an open event stream its graceful shutdown waits for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::limits::{ACCEPT_RETRY_PAUSE, HEADER_READ_TIMEOUT, MAX_CONNECTIONS, MAX_HEADER_BYTES};

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every connection ended by itself.
    Gracefully,
    /// Some were cut when the grace was over.
    Cut,
}

/// Serves until `shutdown`, then lets connections finish what they are at for as long as `grace`,
/// then cuts them. Open event streams end at `shutdown`, if the router was made with that token.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    grace: Duration,
) -> Ended {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    while let Some((stream, place)) = next_connection(&listener, &places, &shutdown).await {
        connections.spawn(drive(Connection {
            stream,
            place,
            router: router.clone(),
            shutdown: shutdown.clone(),
            cut: cut.clone(),
        }));
    }
    drop(listener);
    connections.close();
    let ended = tokio::time::timeout(grace, connections.wait()).await;
    cut.cancel();
    connections.wait().await;
    match ended {
        Ok(()) => Ended::Gracefully,
        Err(_elapsed) => Ended::Cut,
    }
}

/// The next connection, once there is a place for it; none at shutdown.
async fn next_connection(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    shutdown
        .run_until_cancelled(async {
            // The semaphore is never closed.
            let place = Arc::clone(places).acquire_owned().await.ok()?;
            Some((accept(listener).await, place))
        })
        .await
        .flatten()
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "a connection failed before it began");
            }
            Err(error) => {
                tracing::warn!(%error, "accepting connections failed; trying again");
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

struct Connection {
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    router: Router,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

async fn drive(connection: Connection) {
    let Connection {
        stream,
        place,
        router,
        shutdown,
        cut,
    } = connection;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "small answers on this connection will be slow");
    }
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_header_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut http = std::pin::pin!(http);
    let end = tokio::select! {
        end = http.as_mut() => Some(end),
        () = shutdown.cancelled() => {
            http.as_mut().graceful_shutdown();
            cut.run_until_cancelled(http.as_mut()).await
        }
    };
    if let Some(Err(error)) = end {
        // Clients go away as they please.
        tracing::debug!(%error, "a connection ended early");
    }
    drop(place);
}
