//! Accepts connections, serves them, and lets them end.
//!
//! Ending is the hard half. A connection whose request lies unread in a buffer must not be told to end,
//! or that request is lost; a port that is closed resets the connections that the kernel has accepted and
//! nobody has fetched. So: every connection reads what has arrived before it is told to end, the kernel's
//! queue is emptied before the port closes, and what then does not end by itself is aborted and counted.

use super::connection::Connection;
pub(crate) use super::handling::Handling;
use super::heads::{Awaited, HEAD_TIMEOUT, LOOK_EVERY, Waits};
use super::listen::Listen;
use super::turned_away::TurnedAway;
pub(crate) use super::wire::{Accepted, Wire};
use crate::naming::BoxError;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::{self, Instant, Interval, interval};
use tower_service::Service;

/// First wait after the system refused to accept (descriptors or memory used up), doubled up to
/// [`ACCEPT_PAUSE_MAX`]: trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Longest wait after the system refused to accept: a freed descriptor is used within this time.
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connections fetched from the kernel's queue before the port closes: as many as the longest queue that
/// systems allow by default, so that a storm of new connections cannot keep the port open.
const ACCEPT_LAST_MAX: usize = 4096;
/// How long a listener that cannot be asked what is waiting is listened to before it closes: a connection
/// that was made before arrives within this time.
pub(super) const ACCEPT_QUIET: Duration = Duration::from_millis(2);

/// Silence after which an HTTP/2 peer is asked whether it is there, so that one that vanished does not hold
/// its connection for ever. No limit is set on what peers ask us: some ping every minute.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long the answer may take.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// How long aborted connections may take to let go of what they hold.
const ABORTED_WITHIN: Duration = Duration::from_millis(100);

/// What the connections of one port may take of this process.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Connections at once. One more is told so and closed: a client with other servers to try learns at once.
    pub(crate) connections: usize,
    /// Connections at once from one IP address.
    pub(crate) connections_per_address: usize,
    /// Bytes of the head of a request.
    pub(crate) head_bytes: u32,
    /// Who works on the requests of an HTTP/2 connection.
    pub(crate) handling: Handling,
    /// Where it is counted how often one of these was reached.
    pub(crate) refusals: Arc<Refusals>,
}

/// How often a bound was reached.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_per_address: AtomicU64,
    /// Over HTTP/1 only: over HTTP/2 nobody is told.
    pub(crate) heads: AtomicU64,
}

impl Default for Bounds {
    /// As many connections as the system lets a process have, and heads of 64 KiB: more than any proxy
    /// passes on.
    fn default() -> Self {
        Self {
            connections: usize::MAX,
            connections_per_address: usize::MAX,
            head_bytes: 64 * 1024,
            handling: Handling::Apart,
            refusals: Arc::default(),
        }
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
pub(crate) async fn serve<L, M, S, B>(
    listener: L,
    bounds: Bounds,
    make: M,
    drain: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> usize
where
    L: Listen,
    M: FnMut(&Arc<Wire>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    serve_through(listener, bounds, no_handshake, make, drain, abort).await
}

/// As [`serve`], speaking HTTP over what `handshake` makes of each connection.
pub(crate) async fn serve_through<L, F, Opened, T, M, S, B>(
    mut listener: L,
    bounds: Bounds,
    handshake: F,
    mut make: M,
    drain: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> usize
where
    L: Listen,
    F: Fn(Accepted<L>) -> Opened + Clone + Send + 'static,
    Opened: Future<Output = io::Result<T>> + Send + 'static,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    M: FnMut(&Arc<Wire>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (http, refusals) = (http(&bounds), bounds.refusals.clone());
    let mut connect = move |io: L::Io, Place { wire, open, end }: Place| {
        let (service, mut http, handshake) = (make(&wire), http.clone(), handshake.clone());
        http.http1().timer(Waits::new(wire.clone())).header_read_timeout(HEAD_TIMEOUT);
        let io = Accepted::new(io, wire.clone());
        let refusals = refusals.clone();
        Connection { io, handshake, http, service, wire, open, refusals }.run(end)
    };
    let mut connections = Connections::new(bounds);
    connections.accept_until(drain, &mut listener, &mut connect).await;
    connections.tell_all_to_end();
    connections.accept_rest(listener, &mut connect).await;
    connections.tell_all_to_end();
    connections.end(abort).await
}

/// The handshake of connections that need none.
pub(super) fn no_handshake<L: Listen>(io: Accepted<L>) -> Ready<io::Result<Accepted<L>>> {
    ready(Ok(io))
}

fn http(bounds: &Bounds) -> auto::Builder<Handling> {
    let mut http = auto::Builder::new(bounds.handling);
    http.http1().max_buf_size(usize::try_from(bounds.head_bytes).unwrap_or(usize::MAX));
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_WITHIN)
        .max_header_list_size(bounds.head_bytes);
    http
}

/// The connections of one port.
struct Connections {
    bounds: Bounds,
    tasks: JoinSet<()>,
    each: HashMap<task::Id, Known>,
    /// When to look who keeps us waiting.
    looks: Interval,
    /// How many come from each address.
    per_address: HashMap<IpAddr, usize>,
    away: TurnedAway,
    /// A copy lives in every connection, upgraded ones included: when the last is gone, so are they.
    open: mpsc::Sender<Infallible>,
    all_closed: mpsc::Receiver<Infallible>,
}

/// What a port knows of one connection.
struct Known {
    /// Dropping it tells the connection to end.
    stay: Option<oneshot::Sender<Infallible>>,
    /// Where it comes from.
    ip: Option<IpAddr>,
    awaited: Awaited,
    task: AbortHandle,
}

/// What a connection holds of its port.
struct Place {
    wire: Arc<Wire>,
    open: mpsc::Sender<Infallible>,
    /// Resolves when the connection is to end.
    end: oneshot::Receiver<Infallible>,
}

impl Connections {
    fn new(bounds: Bounds) -> Self {
        let (open, all_closed) = mpsc::channel(1);
        Self {
            bounds,
            tasks: JoinSet::new(),
            each: HashMap::new(),
            per_address: HashMap::new(),
            away: TurnedAway::default(),
            looks: interval(LOOK_EVERY),
            open,
            all_closed,
        }
    }

    async fn accept_until<L, C, R>(
        &mut self,
        drain: impl Future<Output = ()>,
        listener: &mut L,
        connect: &mut C,
    ) where
        L: Listen,
        C: FnMut(L::Io, Place) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let (mut drain, mut pause) = (pin!(drain), ACCEPT_PAUSE);
        loop {
            tokio::select! {
                biased;
                () = &mut drain => return,
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
                now = self.looks.tick() => cut_overdue(&mut self.each, now),
                (io, peer) = accept(listener, &mut pause) => self.start(io, peer, connect),
            }
        }
    }

    fn start<I, C, R>(&mut self, io: I, peer: Option<SocketAddr>, connect: &mut C)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        C: FnMut(I, Place) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let ip = peer.map(|peer| peer.ip().to_canonical());
        if let Some((refused, too_many)) = self.refusal(ip) {
            // The first tells an operator what to look for; a flood of them would hide everything else.
            if refused.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(
                    ?peer,
                    connections = self.tasks.len(),
                    "connection refused: there are too many"
                );
            }
            return self.away.tell(io, too_many);
        }
        let (wire, (stay, end)) = (Arc::new(Wire::new(peer)), oneshot::channel());
        let awaited = Awaited::new(wire.clone());
        let task = self.tasks.spawn(connect(io, Place { wire, open: self.open.clone(), end }));
        self.each.insert(task.id(), Known { stay: Some(stay), ip, awaited, task });
        if let Some(ip) = ip {
            *self.per_address.entry(ip).or_default() += 1;
        }
    }

    /// What counts that there are too many connections, and their name, if there are.
    fn refusal(&self, ip: Option<IpAddr>) -> Option<(&AtomicU64, &'static str)> {
        let Bounds { connections, connections_per_address, refusals, .. } = &self.bounds;
        if self.tasks.len() >= *connections {
            return Some((&refusals.connections, "connections"));
        }
        let of_address = ip.and_then(|ip| self.per_address.get(&ip)).copied().unwrap_or(0);
        let refused = (&refusals.connections_per_address, "connections from one address");
        (of_address >= *connections_per_address).then_some(refused)
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
        if let Some(ip) = self.each.remove(&id).and_then(|known| known.ip)
            && let Entry::Occupied(mut count) = self.per_address.entry(ip)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    fn tell_all_to_end(&mut self) {
        self.each.values_mut().for_each(|known| known.stay = None);
    }

    /// Serves what the listener has waiting, and closes the port.
    async fn accept_rest<L, C, R>(&mut self, mut listener: L, connect: &mut C)
    where
        L: Listen,
        C: FnMut(L::Io, Place) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        for _ in 0..ACCEPT_LAST_MAX {
            match listener.accept_waiting().await {
                None => return,
                Some(Ok((io, peer))) => self.start(io, peer, connect),
                Some(Err(error)) if concerns_one_connection(&error) => {}
                Some(Err(error)) => {
                    return tracing::warn!(%error, "the port closed with connections in its queue");
                }
            }
        }
    }

    async fn end(mut self, abort: impl Future<Output = ()>) -> usize {
        let Self { tasks, each, looks, open, all_closed, .. } = &mut self;
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
        let looking = async {
            loop {
                cut_overdue(each, looks.tick().await);
            }
        };
        tokio::select! {
            biased;
            () = ended => return 0,
            () = &mut abort => {}
            () = looking => {}
        }
        let cut = open.upgrade().map_or(0, |open| open.strong_count() - 1);
        self.tasks.abort_all();
        // A handler that blocks its thread cannot be aborted, and must not hold up the end either.
        let aborted = async { while self.tasks.join_next().await.is_some() {} };
        let _ = time::timeout(ABORTED_WITHIN, aborted).await;
        cut
    }
}

/// Ends the connections that have kept us waiting for the head of a request for too long.
fn cut_overdue(each: &mut HashMap<task::Id, Known>, now: Instant) {
    for Known { awaited, task, .. } in each.values_mut() {
        if !task.is_finished() && awaited.is_overdue(now) {
            tracing::debug!(peer = ?awaited.peer(), "no request came: connection closed");
            task.abort();
        }
    }
}

/// The next connection; waits while the system refuses to accept, `pause` at first.
async fn accept<L: Listen>(listener: &mut L, pause: &mut Duration) -> (L::Io, Option<SocketAddr>) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                *pause = ACCEPT_PAUSE;
                return accepted;
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, retry_in = ?pause, "the system refuses to accept connections");
                let paused = *pause;
                *pause = (paused * 2).min(ACCEPT_PAUSE_MAX);
                time::sleep(paused).await;
            }
        }
    }
}

/// Whether accepting failed for the one connection that went away meanwhile, so that the next may come.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    [ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted].contains(&error.kind())
}

#[cfg(test)]
mod tests;
