//! Instances that fail in exactly one way, written by their bytes, and what becomes of a request that meets
//! one of them first.

use super::*;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::Connect;
use std::io;
use std::num::NonZeroU32;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tower::util::BoxCloneSyncService;
use tower_graceful::consumer::classify::{Applied, Cause, cause};
use tower_graceful::consumer::{BalanceLayer, FailoverLayer};

pub(super) type Body = ReplayBody<Full<Bytes>>;
/// The client of one instance.
pub(super) type Each = BoxCloneSyncService<http::Request<Body>, http::Response<Incoming>, BoxError>;

/// An instance that fails, and the client that meets it.
pub(super) struct Broken {
    pub(super) addr: SocketAddr,
    client: Each,
    taken: Arc<AtomicU64>,
    header_timeout: Duration,
    serving: Option<AbortHandle>,
}

impl Broken {
    /// Where nobody listens, or only a client of its own knows what happens.
    pub(super) fn at(addr: SocketAddr, client: Each) -> Self {
        let (taken, header_timeout) = (Arc::default(), Duration::from_secs(60));
        Self { addr, client, taken, header_timeout, serving: None }
    }

    /// Serves every connection by `script`, and is dialled over `client`.
    pub(super) async fn serving<F>(
        client: Client<HttpConnector, Body>,
        script: impl Fn(Connection) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (listener, addr) = listener().await;
        let mut broken = Self::at(addr, dialling(client, addr));
        let taken = broken.taken.clone();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(script(Connection { stream, taken: taken.clone() }));
            }
        });
        broken.serving = Some(serving.abort_handle());
        broken
    }

    /// Never accepts a connection, and closes its port when a request waits in the queue.
    #[cfg(target_os = "linux")]
    pub(super) async fn closing_with_a_queue(client: Client<HttpConnector, Body>) -> Self {
        let (listener, addr) = listener().await;
        let mut broken = Self::at(addr, dialling(client, addr));
        let serving = tokio::spawn(async move {
            while !has_queued(addr) {
                tokio::task::yield_now().await;
            }
            drop(listener);
        });
        broken.serving = Some(serving.abort_handle());
        broken
    }

    /// Another client than one of the pool.
    pub(super) fn dialled_by(mut self, client: impl FnOnce(SocketAddr) -> Each) -> Self {
        self.client = client(self.addr);
        self
    }

    pub(super) fn with_header_timeout(mut self, header_timeout: Duration) -> Self {
        self.header_timeout = header_timeout;
        self
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(SocketAddr::from(ANY)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A header of the requests, so long that the arrival of a head can be told from that of a preface.
const LONG: usize = 4000;

/// Whether the kernel holds a request that was sent to `addr` and has not been read.
#[cfg(target_os = "linux")]
fn has_queued(addr: SocketAddr) -> bool {
    const ESTABLISHED: &str = "01";
    let local = format!("0100007F:{:04X}", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|line| {
        // Number, own address, the other's, state, bytes to send ":" bytes unread.
        line[1] == local
            && line[3] == ESTABLISHED
            && usize::from_str_radix(&line[4][9..], 16).unwrap() > LONG / 2
    })
}

/// Sends to `addr` whatever the URI says.
pub(super) fn dialling<C>(client: Client<C, Body>, addr: SocketAddr) -> Each
where
    C: Connect + Clone + Send + Sync + 'static,
{
    BoxCloneSyncService::new(tower::service_fn(move |mut request: http::Request<Body>| {
        *request.uri_mut() = format!("http://{addr}{}", request.uri().path()).parse().unwrap();
        let answer = client.request(request);
        async move { Ok(answer.await?) }
    }))
}

/// One connection, as the failing instance has it.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    taken: Arc<AtomicU64>,
}

impl Connection {
    /// Takes an HTTP/1 request and reads it whole: a socket that is closed with something unread resets.
    pub(super) async fn request(&mut self) -> io::Result<()> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(self.stream.read_u8().await?.into());
        }
        let len = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        self.stream.read_exact(&mut vec![0; len.map_or(0, |len| len.parse().unwrap())]).await?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &str) -> io::Result<()> {
        self.stream.write_all(bytes.as_bytes()).await
    }

    /// Stays until the client hangs up.
    pub(super) async fn linger(mut self) -> io::Result<()> {
        self.stream.read_to_end(&mut Vec::new()).await.map(|_| ())
    }

    /// Ends with a reset instead of an orderly end.
    pub(super) fn reset(self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Begins HTTP/2.
    pub(super) async fn frames(mut self) -> io::Result<Frames> {
        self.stream.read_exact(&mut [0; 24]).await?; // The client's preface.
        let mut frames = Frames(self);
        frames.send(frame::SETTINGS, 0, 0, &[]).await?;
        Ok(frames)
    }
}

/// Kinds and flags of HTTP/2 frames (RFC 9113, 6).
pub(super) mod frame {
    pub(in crate::consumer) const DATA: u8 = 0;
    pub(in crate::consumer) const HEADERS: u8 = 1;
    pub(in crate::consumer) const RST_STREAM: u8 = 3;
    pub(in crate::consumer) const SETTINGS: u8 = 4;
    pub(in crate::consumer) const GOAWAY: u8 = 7;
    pub(in crate::consumer) const END_STREAM: u8 = 1;
    pub(in crate::consumer) const END_HEADERS: u8 = 4;
}

/// An HTTP/2 connection by its frames.
pub(super) struct Frames(Connection);

impl Frames {
    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) -> io::Result<()> {
        let len = u8::try_from(payload.len()).unwrap();
        self.0.stream.write_all(&[0, 0, len, kind, flags, 0, 0, 0, stream]).await?;
        self.0.stream.write_all(payload).await
    }

    /// Takes a request: reads its head.
    pub(super) async fn request(&mut self) -> io::Result<()> {
        self.pass(frame::HEADERS).await?;
        self.0.taken.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads up to a frame of this kind, and that.
    pub(super) async fn pass(&mut self, kind: u8) -> io::Result<()> {
        loop {
            let mut head = [0; 9];
            self.0.stream.read_exact(&mut head).await?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            self.0.stream.read_exact(&mut vec![0; len]).await?;
            if head[3] == kind {
                return Ok(());
            }
        }
    }

    /// Ends in order: a socket that is closed with something unread resets.
    pub(super) async fn end(mut self) -> io::Result<()> {
        self.0.stream.shutdown().await?;
        self.linger().await
    }

    pub(super) async fn linger(self) -> io::Result<()> {
        self.0.linger().await
    }

    pub(super) fn reset(self) -> io::Result<()> {
        self.0.reset()
    }
}

/// What was seen of a POST, of a GET, and of the error of a request that is sent once only.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) failure: Option<(Cause, Applied)>,
    pub(super) post: Seen,
    pub(super) get: Seen,
}

/// How often a request was taken, by the broken instance and by the one that works, and how it ended.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) broken: u64,
    pub(super) working: u64,
    pub(super) end: End,
}

#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// The answer of the one that works, whole.
    Served,
    Failed,
    /// An answer whose body broke off.
    BrokenOff,
    /// The broken instance's refusal.
    Refused,
}

/// The caller never learns that there was a broken instance, which took the request so many times.
pub(super) const fn served_after(broken: u64) -> Seen {
    Seen { broken, working: 1, end: End::Served }
}

/// Nobody else gets what the broken instance took.
pub(super) const fn failed_after(broken: u64) -> Seen {
    Seen { broken, working: 0, end: End::Failed }
}

/// Retried whatever its method, because the broken instance has never taken it.
pub(super) const fn never(cause: Cause) -> Row {
    Row { failure: Some((cause, Applied::Never)), post: served_after(0), get: served_after(0) }
}

/// Taken by the broken instance; only a GET goes to the other.
pub(super) const fn unknown(cause: Cause) -> Row {
    Row { failure: Some((cause, Applied::Unknown)), post: failed_after(1), get: served_after(1) }
}

/// Taken, and answered in part: nobody else gets it, whatever its method.
pub(super) fn answered_in_part() -> Row {
    let seen = || Seen { broken: 1, working: 0, end: End::BrokenOff };
    Row { failure: None, post: seen(), get: seen() }
}

/// Read and refused: an answer, not an error.
pub(super) const fn refused() -> Row {
    Row { failure: None, post: served_after(1), get: served_after(1) }
}

/// Sends a POST and a GET, each to a broken instance of its own first, and once more to learn the error.
pub(super) async fn row(broken: impl AsyncFn() -> Broken) -> Row {
    let request = || http::Request::builder().uri("/echo").header("long", "x".repeat(LONG));
    let post = request().method("POST").body(Full::from("order")).unwrap();
    let get = request().body(Full::default()).unwrap();
    let once = FailoverLayer::new().with_tries(NonZeroU32::MIN);
    let failure = send(broken().await, once, get.clone()).await.1.map(|error| {
        let cause = cause(&*error);
        (cause, cause.applied())
    });
    let post = send(broken().await, FailoverLayer::new(), post).await.0;
    let get = send(broken().await, FailoverLayer::new(), get).await.0;
    Row { failure, post, get }
}

/// Sends to a fleet of `broken` and one that works, which echoes.
pub(super) async fn send(
    broken: Broken,
    failover: FailoverLayer,
    request: http::Request<Full<Bytes>>,
) -> (Seen, Option<BoxError>) {
    let naming = InProcess::new();
    let sent = request.body().clone();
    naming.register(&orders(), &Instance::new(broken.addr.into())).await.unwrap();
    let working = Running::start(&naming, ANY, 1, echo()).await;
    working.seldom(&naming).await;

    let (addr, client) = (broken.addr, broken.client.clone());
    let balance = BalanceLayer::new(naming.subscribe(&orders()).await.unwrap());
    let layer = GracefulClientLayer::from(balance.with_header_timeout(broken.header_timeout));
    let stack = layer.with_failover(failover).over(move |instance| match instance.address().socket_addr() {
        Some(at) if at != addr => dialling(http_client(), at),
        _ => client.clone(),
    });
    let (end, error) = match stack.oneshot(request).await {
        Err(error) => (End::Failed, Some(error)),
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => (End::Refused, None),
        Ok(answer) => match answer.into_body().collect().await {
            Err(_) => (End::BrokenOff, None),
            Ok(body) => {
                assert_eq!(body.to_bytes(), sent.collect().await.unwrap().to_bytes());
                (End::Served, None)
            }
        },
    };
    let broken = broken.taken.load(Ordering::Relaxed);
    (Seen { broken, working: working.calls(), end }, error)
}
