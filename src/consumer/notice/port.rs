//! A port of its own for notices, for applications without a server.

use super::Notices;
use super::answer::Problem;
use crate::model::Address;
use crate::naming::notice::PATH;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use std::{fmt, io};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time;
use tower_service::Service as _;

/// Connections at once; each is gone after [`CONNECTION_MAX`]. One more is closed as it comes.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may last: one notice and its answer take milliseconds.
const CONNECTION_MAX: Duration = Duration::from_secs(5);
/// How long the head of a request may take.
const HEAD_WITHIN: Duration = Duration::from_secs(2);
/// Bytes of the head of a request: the least that hyper takes, and ten times what a notice has.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Wait after the system refused to accept (descriptors used up): trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A port that takes notices and nothing else, over HTTP/1.1. See the [module docs](super).
#[derive(Debug)]
pub struct NoticePort {
    listener: TcpListener,
    notices: Notices,
}

impl NoticePort {
    /// Binds a loopback address, and tells instances to send notices there; port 0 is any free one. Only
    /// instances on this machine reach it: for others see [`bind_beyond_loopback`](Self::bind_beyond_loopback).
    ///
    /// # Errors
    /// When the address is not a loopback one, or cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        if !address.ip().to_canonical().is_loopback() {
            return Err(BindError::BeyondLoopback(address));
        }
        let listener = listen(address).await?;
        let advertised = listener.local_addr().map_err(|source| BindError::Io { address, source })?;
        Ok(Self { listener, notices: Notices::mounted(advertised.into()) })
    }

    /// Binds any address, such as `0.0.0.0:54299`, so that other machines reach it, and tells instances to
    /// send notices to `advertised`, where port 0 stands for the one that was bound.
    ///
    /// Whoever can reach the port can send requests to it; without an instance's secret they change nothing.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use tower_graceful::consumer::NoticePort;
    /// let pod_ip = "10.0.0.9"; // For example from the environment.
    /// let advertised = tower_graceful::model::Address::new(pod_ip, 0)?;
    /// let port = NoticePort::bind_beyond_loopback("0.0.0.0:0".parse()?, advertised).await?;
    /// assert_eq!(port.notices().advertised().host(), "10.0.0.9");
    /// assert_ne!(port.notices().advertised().port(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the address cannot be bound, or `advertised` is no address that can be called.
    pub async fn bind_beyond_loopback(address: SocketAddr, advertised: Address) -> Result<Self, BindError> {
        if advertised.socket_addr().is_some_and(|advertised| advertised.ip().is_unspecified()) {
            return Err(BindError::Unreachable(advertised));
        }
        let listener = listen(address).await?;
        let bound = listener.local_addr().map_err(|source| BindError::Io { address, source })?;
        let advertised = match advertised.port() {
            0 => advertised.with_port(bound.port()),
            _ => advertised,
        };
        Ok(Self { listener, notices: Notices::mounted(advertised) })
    }

    /// What balancers are built with.
    pub fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// Answers notices until `end` resolves; then closes the port, lets the open connections finish (5 s at
    /// most), and returns.
    ///
    /// # Cancel safety
    /// Dropping the future closes the port and its connections.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let Self { listener, notices } = self;
        tracing::debug!(advertised = %notices.advertised(), "notices are heard");
        let (mut end, mut connections) = (pin!(end), JoinSet::new());
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                Some(_) = connections.join_next() => {} // Each has said itself what went wrong.
                accepted = accept(&listener) => {
                    if connections.len() < CONNECTIONS_MAX {
                        connections.spawn(serve_one(accepted, notices.clone()));
                    }
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError::Io { address, source })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::debug!(%error, "the system refuses to accept a connection for notices");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn serve_one(stream: TcpStream, notices: Notices) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut notices = notices.clone();
        async move {
            if request.uri().path() == PATH {
                notices.call(request).await
            } else {
                Ok(Problem::Elsewhere.into())
            }
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false); // An instance leaves once.
    match time::timeout(CONNECTION_MAX, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for notices broke"),
        Err(_) => tracing::debug!("a connection for notices lasted too long"),
    }
}

/// Why there is no port for notices.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// Other machines would reach it, and nobody has said that they may.
    BeyondLoopback(SocketAddr),
    /// No instance can send anything to the address that it would be told.
    Unreachable(Address),
    /// The system refused.
    Io {
        /// What was to be bound.
        address: SocketAddr,
        /// Why it was not.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeyondLoopback(address) => {
                write!(f, "{address} is reached from other machines: `bind_beyond_loopback` allows it")
            }
            Self::Unreachable(address) => write!(
                f,
                "nobody can send notices to {address}: accepted as advertised is what instances can call"
            ),
            Self::Io { address, .. } => write!(f, "cannot bind {address} for notices"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::BeyondLoopback(_) | Self::Unreachable(_) => None,
        }
    }
}
