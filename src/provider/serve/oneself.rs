//! A provider calls itself before it registers: the cure for a cold start.
//!
//! Code that has never run is slow, and caches are empty: the first callers of a new instance pay for
//! that. Here the first caller is the instance itself, while nobody else knows of it.

use super::listen::Listen;
use crate::naming::{BoxError, BoxFuture};
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{self, Instant};
use tower_service::Service;

/// Bytes on their way between the two ends of a connection to oneself: a window as TCP begins with.
const WINDOW: usize = 64 * 1024;
/// Connections that wait to be accepted: callers beyond these wait as well.
const WAITING_MAX: usize = 64;
/// Host of requests that name none.
const HOST_OF_ONESELF: &str = "localhost";

/// Calls the application of this provider from within, past the gate and all layers, while the process
/// starts: given to what [`register_when`](super::ProviderBuilder::register_when) waits for.
///
/// It speaks HTTP/1.1 to the first of the provider's listeners, without its port and its handshake;
/// requests whose version is HTTP/2 are sent so, and thus it is a service that clients of tonic take. Such
/// calls are no traffic, and do not start the warm-up.
#[derive(Clone, Debug)]
pub struct Oneself {
    door: mpsc::Sender<DuplexStream>,
}

impl Oneself {
    /// A client, and where its connections arrive.
    pub(super) fn new() -> (Self, Inside) {
        let (door, arriving) = mpsc::channel(WAITING_MAX);
        (Self { door }, Inside(arriving))
    }

    /// Gets `path` (with its query), reads the answer to its end, and returns its status.
    ///
    /// # Errors
    /// When `path` is none, when the provider has no listener, or when the answer breaks off.
    pub async fn get(&self, path: &str) -> Result<StatusCode, BoxError> {
        let uri = Uri::builder().path_and_query(path).build()?;
        let mut request = Request::new(Nothing);
        *request.uri_mut() = uri;
        let answer = send(self.door.clone(), request).await?;
        let (head, body) = answer.into_parts();
        let mut body = pin!(body);
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            frame?;
        }
        Ok(head.status)
    }

    /// Gets `path` again and again, one call after another, until it is not answered any faster; returns how
    /// many calls that took, 20 to 10 000. After 10 s it is warm enough, however that goes on.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when an answer is an error (its status 400 or above): what fails warms
    /// nothing.
    ///
    /// ```no_run
    /// # use tower_graceful::provider::{Oneself, Provider};
    /// # fn build() -> Result<Provider, tower_graceful::provider::InvalidSetting> {
    /// Provider::builder("orders").register_when(async |oneself: Oneself| oneself.until_warm("/orders/7").await).build()
    /// # }
    /// ```
    pub async fn until_warm(&self, path: &str) -> Result<usize, BoxError> {
        let (began, mut pace) = (Instant::now(), Pace::default());
        for calls in 1..=CALLS_MAX {
            let asked = Instant::now();
            let status = match time::timeout_at(began + WARM_WITHIN, self.get(path)).await {
                Ok(status) => status?,
                Err(_) if calls > 1 => return Ok(calls - 1),
                Err(_) => return Err(format!("{path} is not answered within {WARM_WITHIN:?}").into()),
            };
            if status.is_client_error() || status.is_server_error() {
                return Err(format!("{path} is answered {status}").into());
            }
            if pace.is_steady_after(asked.elapsed()) || began.elapsed() >= WARM_WITHIN {
                return Ok(calls);
            }
        }
        Ok(CALLS_MAX)
    }
}

/// More calls than a cache or a code path takes to be warm.
const CALLS_MAX: usize = 10_000;
/// A start that takes longer than this on account of a number that will not settle helps nobody.
const WARM_WITHIN: Duration = Duration::from_secs(10);
/// Calls whose times are compared with those of as many before: one slow answer among them does not count.
const RUN: usize = 10;
/// Faster by less than this part is no faster.
const NO_FASTER: f64 = 0.95;

/// Whether answers still come faster and faster.
#[derive(Debug, Default)]
struct Pace {
    run: Vec<Duration>,
    /// The median of the run before.
    before: Option<Duration>,
}

impl Pace {
    fn is_steady_after(&mut self, answered_in: Duration) -> bool {
        self.run.push(answered_in);
        if self.run.len() < RUN {
            return false;
        }
        self.run.sort_unstable();
        let median = self.run[RUN / 2];
        self.run.clear();
        let before = self.before.replace(median);
        before.is_some_and(|before| median >= before.mul_f64(NO_FASTER))
    }
}

impl<B> Service<Request<B>> for Oneself
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Incoming>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(send(self.door.clone(), request))
    }
}

/// Sends `request` on a connection of its own.
async fn send<B>(
    door: mpsc::Sender<DuplexStream>,
    mut request: Request<B>,
) -> Result<Response<Incoming>, BoxError>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let (here, there) = tokio::io::duplex(WINDOW);
    door.send(there).await.map_err(|_| "the provider has no listener, or ends")?;
    let io = TokioIo::new(here);
    if request.version() == Version::HTTP_2 {
        let mut uri = request.uri().clone().into_parts();
        uri.scheme.get_or_insert(Scheme::HTTP);
        uri.authority.get_or_insert_with(|| Authority::from_static(HOST_OF_ONESELF));
        *request.uri_mut() = Uri::from_parts(uri)?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection); // Ends with the last of its answers.
        Ok(sender.send_request(request).await?)
    } else {
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static(HOST_OF_ONESELF));
        let (mut sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

/// The body of a request that has none.
#[derive(Debug)]
struct Nothing;

impl Body for Nothing {
    type Data = bytes::Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, io::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(0)
    }
}

/// Where connections from within arrive.
#[derive(Debug)]
pub(super) struct Inside(mpsc::Receiver<DuplexStream>);

impl Listen for Inside {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, None)),
            None => pending().await, // Nobody can connect any more.
        }
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{self, Bounds};
    use super::*;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tower::service_fn;

    /// Calls an application that answers `answers` times and then never again.
    async fn until_warm_of_one_that_answers(answers: usize) -> Result<usize, BoxError> {
        let (oneself, inside) = Oneself::new();
        let asked = Arc::new(AtomicUsize::new(0));
        let app = service_fn(move |_: Request<Incoming>| {
            let answered = asked.fetch_add(1, Ordering::SeqCst) < answers;
            async move {
                if !answered {
                    pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        });
        let serving = server::serve(inside, Bounds::default(), |_| app.clone(), pending(), pending());
        tokio::select! {
            _ = serving => unreachable!("nobody ends it"),
            calls = oneself.until_warm("/") => calls,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_not_waited_for_beyond_the_time() {
        let began = Instant::now();
        assert_eq!(until_warm_of_one_that_answers(3).await.unwrap(), 3);
        assert_eq!(began.elapsed(), WARM_WITHIN);
        let error = until_warm_of_one_that_answers(0).await.unwrap_err();
        assert_eq!(error.to_string(), "/ is not answered within 10s");
    }

    /// After how many answers, each in its time, the pace is steady.
    fn steady_after(answered_in: impl Iterator<Item = u64>) -> Option<usize> {
        let mut pace = Pace::default();
        let mut times = answered_in.map(Duration::from_micros);
        times.position(|time| pace.is_steady_after(time)).map(|position| position + 1)
    }

    #[test]
    fn who_answers_no_faster_than_before_is_warm() {
        assert_eq!(steady_after(std::iter::repeat_n(100, 100)), Some(2 * RUN));
        let warming = (0..50_u64).map(|call| 1_000 / (call / 10 + 1)).chain(std::iter::repeat_n(200, 50));
        assert_eq!(steady_after(warming), Some(60));
        assert_eq!(steady_after((0..100).map(|call| 1 << (40 - call / 3))), None, "it still gets faster");
    }

    #[test]
    fn one_slow_answer_does_not_count() {
        let once_slow = (0..100).map(|call| if call == 3 { 1_000_000 } else { 100 });
        assert_eq!(steady_after(once_slow), Some(2 * RUN));
    }
}
