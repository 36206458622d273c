//! One HTTP/2 connection to the registry, and nothing that would silently make another.
//!
//! To the registry the transport *is* the client: what it registered goes with it. A client that reconnects
//! behind one's back would lose every registration without a word, so this one does not.

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::client::Grpc;
use tower_service::Service;

use crate::protocol::MESSAGE_BYTES_MAX;

/// Pause without any byte after which a ping is sent. Above the health check, which asks much more: this
/// is a net below it, and rare enough for servers that count pings.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long the answer to a ping may take.
const PING_WITHIN: Duration = Duration::from_secs(10);

/// Exactly one HTTP/2 connection. Dropping it closes it at once, whatever is under way.
pub(super) struct Transport {
    grpc: Grpc<Http2>,
    tasks: Tasks,
}

impl Transport {
    /// Begins HTTP/2 on `io`; `origin` becomes the authority of every request.
    pub(super) async fn over<I>(io: I, origin: http::Uri) -> hyper::Result<Self>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let tasks = Tasks::default();
        let (requests, connection) = http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_WITHIN)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(io))
            .await?;
        tasks.execute(connection);
        let grpc = Grpc::with_origin(Http2(requests), origin)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { grpc, tasks })
    }

    /// A handle for calls on this transport.
    pub(super) fn grpc(&self) -> Grpc<Http2> {
        self.grpc.clone()
    }

    /// Runs a task that ends with the transport.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.execute(task);
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// The sending half of the connection, as a service.
#[derive(Clone, Debug)]
pub(super) struct Http2(SendRequest<Body>);

impl Service<http::Request<Body>> for Http2 {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// The tasks of one connection. hyper hands the socket itself to one of them, so ending them all is what
/// closes it, also when the peer is silent.
#[derive(Clone)]
struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Tasks {
    fn abort(&self) {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(tasks); // Outside the lock; dropping a set aborts its tasks.
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        if let Some(tasks) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            while tasks.try_join_next().is_some() {} // hyper starts one per request: keep only those that run.
            tasks.spawn(async move {
                task.await;
            });
        }
    }
}
