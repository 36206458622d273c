//! Accepts connections, serves them, and lets them end.
//!
//! Ending is the hard half. A connection whose request lies unread in a buffer must not be told to end,
//! or that request is lost; a port that is closed resets the connections that the kernel has accepted and
//! nobody has fetched. So: every connection reads what has arrived before it is told to end, the kernel's
//! queue is emptied before the port closes, and what then does not end by itself is aborted and counted.

use super::wire::Tapped;
pub(crate) use super::wire::Wire;
use crate::naming::BoxError;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time;
use tower::ServiceExt as _;
use tower_service::Service;

/// How long a request head may take to arrive: an end to connections that send a byte now and then. Hyper
/// counts the time between two requests in, so it is also how long an idle connection is kept: longer than
/// clients keep theirs (90 s in hyper and Go), because a request that crosses our closing is lost.
const HEAD_TIMEOUT: Duration = Duration::from_secs(95);
/// How long a draining connection may take to read what has arrived. A client that has just connected
/// sends within this time if it connected in order to send.
const UNREAD_MAX: Duration = Duration::from_millis(50);
/// First wait after the system refused to accept (descriptors or memory used up), doubled up to
/// [`ACCEPT_PAUSE_MAX`]: trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Longest wait after the system refused to accept: a freed descriptor is used within this time.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections fetched from the kernel's queue before the port closes: as many as the longest queue that
/// systems allow by default, so that a storm of new connections cannot keep the port open.
const ACCEPT_LAST_MAX: usize = 4096;

/// Silence after which an HTTP/2 peer is asked whether it is there, so that one that vanished does not hold
/// its connection for ever. No limit is set on what peers ask us: some ping every minute.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long the answer may take.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// How long aborted connections may take to let go of what they hold.
const ABORTED_WITHIN: Duration = Duration::from_millis(100);

/// What the connections of one port may take of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once. One more is closed as it comes: a client with other servers to try learns at once.
    pub(crate) connections: usize,
    /// Bytes of the head of a request.
    pub(crate) head_bytes: u32,
}

impl Default for Bounds {
    /// As many connections as the system lets a process have, and heads of 64 KiB: more than any proxy
    /// passes on.
    fn default() -> Self {
        Self { connections: usize::MAX, head_bytes: 64 * 1024 }
    }
}

/// Serves the connections of `listener`, each with the service that `make` gives for it, until
/// `drain` resolves; then lets every connection end, closes the port, and aborts what is left when `abort`
/// resolves. Returns how many connections were cut.
///
/// HTTP/1.1 and HTTP/2 with prior knowledge are served on the same port. `abort` is not looked at before
/// `drain` has resolved. Upgraded connections are waited for like any other, but only their own tasks can
/// end them: one that is still open at the abort is counted and left alone.
///
/// # Cancel safety
/// Dropping the future closes the port and aborts every connection.
pub(crate) async fn serve<M, S, B>(
    listener: TcpListener,
    bounds: Bounds,
    make: M,
    drain: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> usize
where
    M: FnMut(&Arc<Wire>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let mut connections = Connections::new(bounds, make);
    connections.accept_until(&listener, drain).await;
    connections.tell_all_to_end();
    connections.accept_rest(listener);
    connections.end(abort).await
}

/// The connections of one port.
struct Connections<M> {
    make: M,
    most: usize,
    http: auto::Builder<TokioExecutor>,
    tasks: JoinSet<()>,
    /// One for each task; dropping it tells the connection to end.
    stay: HashMap<task::Id, oneshot::Sender<Infallible>>,
    /// A copy lives in every connection, upgraded ones included: when the last is gone, so are they.
    open: mpsc::Sender<Infallible>,
    all_closed: mpsc::Receiver<Infallible>,
}

impl<M, S, B> Connections<M>
where
    M: FnMut(&Arc<Wire>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn new(bounds: Bounds, make: M) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(usize::try_from(bounds.head_bytes).unwrap_or(usize::MAX));
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PONG_WITHIN)
            .max_header_list_size(bounds.head_bytes);
        let (open, all_closed) = mpsc::channel(1);
        let most = bounds.connections;
        Self { make, most, http, tasks: JoinSet::new(), stay: HashMap::new(), open, all_closed }
    }

    async fn accept_until(&mut self, listener: &TcpListener, drain: impl Future<Output = ()>) {
        let (mut drain, mut accepted) = (pin!(drain), pin!(accept(listener)));
        loop {
            tokio::select! {
                biased;
                () = &mut drain => return,
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                (stream, peer) = &mut accepted => {
                    self.start(stream, peer);
                    accepted.set(accept(listener));
                }
            }
        }
    }

    fn start(&mut self, stream: TcpStream, peer: SocketAddr) {
        if self.tasks.len() >= self.most {
            tracing::warn!(%peer, connections = self.tasks.len(), "connection refused: there are too many");
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            // Without it small answers may wait 40 ms for the peer's acknowledgement; they still arrive.
            tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
        }
        let (io, wire) = Tapped::new(stream, peer, self.open.clone());
        let (service, called) = ((self.make)(&wire), wire.clone());
        let service = hyper::service::service_fn(move |request| {
            called.call();
            service.clone().oneshot(request)
        });
        let connection = self.http.serve_connection_with_upgrades(io, service).into_owned();
        let (stay, end) = oneshot::channel();
        let id = self.tasks.spawn(run(connection, wire, end)).id();
        self.stay.insert(id, stay);
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::warn!("a handler panicked: its connection is lost");
                }
                error.id()
            }
        };
        self.stay.remove(&id);
    }

    fn tell_all_to_end(&mut self) {
        self.stay.clear();
    }

    /// Serves what the kernel has accepted, and closes the port. Asks the system itself: what the runtime
    /// knows of the port's readiness is stale until its driver has turned.
    fn accept_rest(&mut self, listener: TcpListener) {
        let listener = match listener.into_std() {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "the port closed without a last look at its queue"),
        };
        for _ in 0..ACCEPT_LAST_MAX {
            let accepted = listener.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return tracing::warn!(%error, "the port closed with connections in its queue"),
            }
        }
        self.tell_all_to_end();
    }

    async fn end(mut self, abort: impl Future<Output = ()>) -> usize {
        let Self { tasks, open, all_closed, .. } = &mut self;
        let mut abort = pin!(abort);
        let open = std::mem::replace(open, mpsc::channel(1).0).downgrade();
        let ended = async {
            while let Some(ended) = tasks.join_next().await {
                if ended.is_err_and(|error| error.is_panic()) {
                    tracing::warn!("a handler panicked: its connection is lost");
                }
            }
            all_closed.recv().await;
        };
        tokio::select! {
            biased;
            () = ended => return 0,
            () = &mut abort => {}
        }
        let cut = open.upgrade().map_or(0, |open| open.strong_count() - 1);
        self.tasks.abort_all();
        // A handler that blocks its thread cannot be aborted, and must not hold up the end either.
        let aborted = async { while self.tasks.join_next().await.is_some() {} };
        let _ = time::timeout(ABORTED_WITHIN, aborted).await;
        cut
    }
}

/// One connection from its first byte to its last. `end` resolves when it is to end, one way or the other.
async fn run(
    connection: impl GracefulConnection<Error = BoxError>,
    wire: Arc<Wire>,
    end: oneshot::Receiver<Infallible>,
) {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        result = connection.as_mut() => return log_end(&wire, result),
        _ = end => {}
        () = mute(&wire) => return tracing::debug!(peer = %wire.peer(), "no request came: connection closed"),
    }
    wire.peek_from_now_on();
    let read_all = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if wire.has_read_all() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Ok(Some(result)) = time::timeout(UNREAD_MAX, read_all).await {
        return log_end(&wire, result);
    }
    connection.as_mut().graceful_shutdown();
    log_end(&wire, connection.await);
}

/// The next connection; waits while the system refuses to accept.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = ACCEPT_PAUSE;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "the system refuses to accept connections");
                time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// Whether accepting failed for the one connection that went away meanwhile, so that the next may come.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}

/// Resolves when the connection has been open for [`HEAD_TIMEOUT`] without saying anything. Hyper's own
/// timeout begins once the protocol is known.
async fn mute(wire: &Wire) {
    time::sleep(HEAD_TIMEOUT).await;
    if !wire.is_mute() {
        pending::<()>().await;
    }
}

fn log_end(wire: &Wire, result: Result<(), BoxError>) {
    if let Err(error) = result {
        tracing::debug!(peer = %wire.peer(), error, "connection broke");
    }
}

#[cfg(test)]
mod tests;
