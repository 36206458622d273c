//! One connection, from its first byte to its last.

use super::handling::Handling;
use super::listen::Listen;
use super::server::Refusals;
use super::wire::{Accepted, Tapped, Wire};
use crate::naming::BoxError;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::time;
use tower::ServiceExt as _;
use tower_service::Service;

/// How long a handshake may take: a few round trips around the world, and a loaded machine.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a handshake may go on once connections are told to end: it is a round trip or two from its end,
/// or has never begun.
const HANDSHAKE_REST_MAX: Duration = Duration::from_secs(1);
/// How long a draining connection may take to read what has arrived. A client that has just connected
/// sends within this time if it connected in order to send.
const UNREAD_MAX: Duration = Duration::from_millis(50);
/// How long a draining connection may take to read the rest of a head that has begun to come: hyper takes a
/// connection that was used before for idle then, and would close it. The rest is a packet or two behind,
/// and one that was lost is sent again within this time.
const HEAD_REST_MAX: Duration = Duration::from_secs(5);

/// A connection that was accepted, and what it takes to serve it.
pub(super) struct Connection<L: Listen, F, S> {
    pub(super) io: Accepted<L>,
    pub(super) handshake: F,
    pub(super) http: auto::Builder<Handling>,
    pub(super) service: S,
    pub(super) wire: Arc<Wire>,
    /// Goes with the stream, into an upgrade too.
    pub(super) open: mpsc::Sender<Infallible>,
    pub(super) refusals: Arc<Refusals>,
}

impl<L, F, Opened, T, S, B> Connection<L, F, S>
where
    L: Listen,
    F: FnOnce(Accepted<L>) -> Opened,
    Opened: Future<Output = io::Result<T>>,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// Serves it; `end` resolves when it is to end, one way or the other.
    pub(super) async fn run(self, end: oneshot::Receiver<Infallible>) {
        let Self { io, handshake, http, service, wire, open, refusals } = self;
        let (mut handshake, mut end) = (pin!(handshake(io)), Some(end));
        let opened = tokio::select! {
            biased;
            opened = time::timeout(HANDSHAKE_MAX, &mut handshake) => opened,
            () = told(&mut end) => time::timeout(HANDSHAKE_REST_MAX, &mut handshake).await,
        };
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(peer = ?wire.peer(), %error, "handshake failed"),
            Err(_) => return tracing::debug!(peer = ?wire.peer(), "the handshake took too long"),
        };
        let called = wire.clone();
        let service = hyper::service::service_fn(move |request| {
            called.call();
            service.clone().oneshot(request)
        });
        let stream = Tapped::new(stream, wire.clone(), open);
        let spoken = speak(http.serve_connection_with_upgrades(stream, service), &wire, end);
        let ended = tokio::select! {
            ended = spoken => ended,
            () = wire.hung_up() => return tracing::debug!(peer = ?wire.peer(), "connection cut"),
        };
        if let Err(error) = ended {
            if error.downcast_ref().is_some_and(hyper::Error::is_parse_too_large) {
                refusals.heads.fetch_add(1, Ordering::Relaxed);
            }
            tracing::debug!(peer = ?wire.peer(), error, "connection broke");
        }
    }
}

async fn speak(
    connection: impl GracefulConnection<Error = BoxError>,
    wire: &Wire,
    mut end: Option<oneshot::Receiver<Infallible>>,
) -> Result<(), BoxError> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        () = told(&mut end) => {}
    }
    wire.peek_from_now_on();
    for (limit, is_over) in
        [(UNREAD_MAX, Wire::has_read_all as fn(&Wire) -> bool), (HEAD_REST_MAX, Wire::is_between_heads)]
    {
        let served = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if is_over(wire) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Ok(Some(result)) = time::timeout(limit, served).await {
            return result;
        }
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Resolves when the connection is to end; at once if it has resolved before.
async fn told(end: &mut Option<oneshot::Receiver<Infallible>>) {
    if let Some(told) = end {
        _ = told.await; // Nothing is sent: dropping the sender tells it.
        *end = None;
    }
}
