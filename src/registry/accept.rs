//! Takes connections, serves them, and lets them end.

use axum::BoxError;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tower_service::Service;

/// How long requests that are under way at the end may take.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);
/// How long the head of an HTTP/1 request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the head of a request: parameters may stand in its path.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// Silence after which an HTTP/2 peer is asked whether it is there, so that a vanished one does not hold
/// its socket for ever. No limit is set on what peers may ask: some ping every minute without a stream.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long the answer may take.
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Pause after the system has refused a connection: its file descriptors may be exhausted.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 and HTTP/2 on `listener` with one service for each connection, until `closing` is true;
/// then lets requests under way end, for a limited time.
///
/// More than `connections_max` at once are closed as they come: a client with other servers to try should
/// learn at once.
pub(super) async fn serve<S, B>(
    listener: TcpListener,
    mut make: impl FnMut(SocketAddr) -> S,
    connections_max: usize,
    mut closing: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < connections_max => {
                connections.spawn(serve_one(stream, make(peer), closing.clone()));
            }
            Ok((_, peer)) => tracing::warn!(%peer, connections_max, "connection refused: there are too many"),
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                sleep(AFTER_REFUSAL).await;
            }
        }
    }
    drop(listener);
    let all_closed = async { while connections.join_next().await.is_some() {} };
    if timeout(CLOSED_WITHIN, all_closed).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut: their requests took too long");
        connections.shutdown().await;
    }
}

async fn serve_one<S, B>(stream: TcpStream, service: S, mut closing: watch::Receiver<bool>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection without nodelay");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    let service = service_fn(move |request| service.clone().oneshot(request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let early = tokio::select! {
        ended = &mut connection => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    let ended = if let Some(ended) = early {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended with an error");
    }
}

/// Whether a connection failed by itself, before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}
