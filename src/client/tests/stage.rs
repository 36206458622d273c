//! A registry played by a test, on HTTP/2 over pipes in memory, so that paused time holds.

use crate::client::dial::{Dial, Io};
use crate::client::servers::{Port, Server};
use crate::client::{Nacos, NacosBuilder};
use crate::naming::{BoxError, BoxFuture};
use crate::protocol::Payload;
use crate::protocol::entity::ServiceInfo;
use crate::protocol::message::{
    ConnectionSetupRequest, ErrorResponse, HealthCheckRequest, HealthCheckResponse, Message,
    NotifySubscriberRequest, Request, Response, ServerCheckRequest, ServerCheckResponse,
};
use futures_util::stream::{Stream, poll_fn};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

mod gate;

pub(super) use gate::Gate;

/// Longest wait for anything on the stage, in paused time: twice what a client waits at most.
const SOON: Duration = Duration::from_secs(30);

/// The wire to the stage; clients dial it.
#[derive(Clone)]
pub(super) struct Wire {
    arrivals: mpsc::UnboundedSender<Arrival>,
    /// Hosts at which nobody answers the door.
    away: Arc<Mutex<BTreeSet<String>>>,
    gate: Gate,
    refused: Arc<AtomicUsize>,
}

/// A connection, and the host that was dialled.
type Arrival = (String, DuplexStream);

/// The registry's side: takes connections.
pub(super) struct Stage {
    pub(super) wire: Wire,
    dialled: mpsc::UnboundedReceiver<Arrival>,
    /// Questions for health that are answered by "unknown" before the setup counts, on each connection.
    pub(super) overtaken: usize,
    /// Whether the registry promises to send its abilities.
    pub(super) promises_abilities: bool,
}

/// The registry's side of one connection.
pub(super) struct Peer {
    pub(super) setup: ConnectionSetupRequest,
    /// The host that was dialled.
    pub(super) host: String,
    /// Questions besides those of the handshake and for health.
    questions: mpsc::UnboundedReceiver<Question>,
    /// What the client says on the stream.
    said: mpsc::UnboundedReceiver<Payload>,
    stream: mpsc::UnboundedSender<Payload>,
    /// Questions for health that are answered by "unknown".
    unknown: Arc<AtomicUsize>,
    frozen: watch::Sender<bool>,
    connection: JoinHandle<()>,
}

struct Question {
    payload: Payload,
    reply: oneshot::Sender<Payload>,
}

/// Answers one question.
pub(super) struct Reply<R> {
    answer: oneshot::Sender<Payload>,
    question: R,
    /// The token that came with it.
    pub(super) token: Option<String>,
}

/// What the registry does on one connection.
struct Role {
    asking: mpsc::UnboundedSender<Question>,
    saying: mpsc::UnboundedSender<Payload>,
    pushes: Mutex<Option<mpsc::UnboundedReceiver<Payload>>>,
    overtaken: Arc<AtomicUsize>,
    promises_abilities: bool,
}

impl Dial for Wire {
    fn dial<'a>(&'a self, server: &'a Server, port: Port) -> BoxFuture<'a, Result<Box<dyn Io>, BoxError>> {
        Box::pin(async move {
            let host = server.address(port).host().to_owned();
            if self.away.lock().unwrap().contains(&host) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
            }
            let (near, far) = duplex(64 * 1024);
            match port {
                Port::Http => self.gate.open(far),
                Port::Grpc => self
                    .arrivals
                    .send((host, far))
                    .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?,
            }
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let (arrivals, dialled) = mpsc::unbounded_channel();
        let (away, gate, refused) = (Arc::default(), Gate::default(), Arc::default());
        let wire = Wire { arrivals, away, gate, refused };
        Self { wire, dialled, overtaken: 0, promises_abilities: false }
    }

    /// A stage with a client on it and their first connection.
    pub(super) async fn with_client() -> (Self, Nacos, Peer) {
        let mut stage = Self::new();
        let nacos = stage.connect(Nacos::builder("stage:8848"));
        let peer = stage.accept().await;
        (stage, nacos, peer)
    }

    /// A client that dials this stage.
    pub(super) fn connect(&self, builder: NacosBuilder) -> Nacos {
        Nacos::spawn_with(Arc::new(self.wire.clone()), builder.check().unwrap(), &Handle::current())
    }

    /// From here on nobody answers the door, or somebody does again.
    pub(super) fn set_away(&self, away: bool) {
        self.set_host_away("stage", away);
    }

    /// The same at one host.
    pub(super) fn set_host_away(&self, host: &str, away: bool) {
        let mut hosts = self.wire.away.lock().unwrap();
        if away {
            hosts.insert(host.to_owned())
        } else {
            hosts.remove(host)
        };
    }

    /// Where users log in.
    pub(super) fn gate(&self) -> &Gate {
        &self.wire.gate
    }

    /// Number of dials while nobody answered the door.
    pub(super) fn refused(&self) -> usize {
        self.wire.refused.load(Ordering::Relaxed)
    }

    /// Whether nobody has dialled without being taken.
    pub(super) fn wire_is_quiet(&self) -> bool {
        self.dialled.is_empty()
    }

    /// Takes the next connection and goes through the handshake.
    pub(super) async fn accept(&mut self) -> Peer {
        let (host, io) = timeout(SOON, self.dialled.recv()).await.expect("a client dials").unwrap();
        let (asking, questions) = mpsc::unbounded_channel();
        let (saying, mut said) = mpsc::unbounded_channel();
        let (stream, pushes) = mpsc::unbounded_channel();
        let (frozen, mut freeze) = watch::channel(false);
        let overtaken = Arc::new(AtomicUsize::new(self.overtaken));
        let role = Arc::new(Role {
            asking,
            saying,
            pushes: Mutex::new(Some(pushes)),
            overtaken: overtaken.clone(),
            promises_abilities: self.promises_abilities,
        });
        let play = hyper::service::service_fn(move |request| {
            let role = role.clone();
            async move { Ok::<_, Infallible>(role.play(request).await) }
        });
        let connection = tokio::spawn(async move {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let serve = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(io), play);
            tokio::pin!(serve);
            tokio::select! {
                _ = serve.as_mut() => {}
                () = async { drop(freeze.wait_for(|frozen| *frozen).await) } => pending().await, // Stays open.
            }
        });
        let setup = timeout(SOON, said.recv()).await.expect("a setup").unwrap().read().unwrap();
        Peer { setup, host, questions, said, stream, unknown: overtaken, frozen, connection }
    }
}

impl Role {
    async fn play(&self, request: http::Request<Incoming>) -> http::Response<Body> {
        let mut grpc = tonic::server::Grpc::new(ProstCodec::<Payload, Payload>::default());
        match request.uri().path() {
            "/Request/request" => {
                let unary = service_fn(async |request: tonic::Request<Payload>| {
                    self.answer(request.into_inner()).await.map(tonic::Response::new)
                });
                grpc.unary(unary, request).await
            }
            "/BiRequestStream/requestBiStream" => {
                let streaming = service_fn(async |request: tonic::Request<Streaming<Payload>>| {
                    Ok(tonic::Response::new(self.open(request.into_inner())))
                });
                grpc.streaming(streaming, request).await
            }
            path => panic!("{path}"),
        }
    }

    async fn answer(&self, payload: Payload) -> Result<Payload, Status> {
        match payload.kind() {
            ServerCheckRequest::KIND => {
                let (connection_id, support_ability_negotiation) = ("stage".into(), self.promises_abilities);
                let response =
                    ServerCheckResponse { connection_id, support_ability_negotiation, ..Default::default() };
                Ok(Payload::new(&response.succeed("")))
            }
            HealthCheckRequest::KIND => {
                let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
                Ok(match self.overtaken.fetch_update(set, get, |left| left.checked_sub(1)) {
                    Ok(_) => Payload::new(&ErrorResponse::default().fail("", 500, "unregistered")),
                    Err(_) => Payload::new(&HealthCheckResponse::default().succeed("")),
                })
            }
            _ => {
                let (reply, answer) = oneshot::channel();
                let _ = self.asking.send(Question { payload, reply });
                answer.await.map_err(|_| Status::unavailable("no answer"))
            }
        }
    }

    fn open(&self, mut incoming: Streaming<Payload>) -> impl Stream<Item = Result<Payload, Status>> + use<> {
        let saying = self.saying.clone();
        tokio::spawn(async move {
            while let Ok(Some(payload)) = incoming.message().await {
                let _ = saying.send(payload);
            }
        });
        let mut pushes = self.pushes.lock().unwrap().take().expect("one stream");
        poll_fn(move |cx| pushes.poll_recv(cx).map(|push| push.map(Ok)))
    }
}

impl Peer {
    /// The next question, which must be of this kind.
    pub(super) async fn asked<R: Request>(&mut self) -> Reply<R> {
        let Question { payload, reply } =
            timeout(SOON, self.questions.recv()).await.expect("the client asks").unwrap();
        let question = payload.read().unwrap();
        let token = payload.metadata.unwrap().headers.remove("accessToken");
        Reply { answer: reply, question, token }
    }

    /// Whether a question waits that has not been taken.
    pub(super) fn is_asked(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Sends a message down the stream.
    pub(super) fn say<M: Message>(&self, message: &M) {
        self.stream.send(Payload::new(message)).unwrap();
    }

    /// Pushes a list.
    pub(super) fn push(&self, id: &str, info: ServiceInfo) {
        let request_id = id.to_owned();
        self.say(&NotifySubscriberRequest {
            request_id,
            service_info: info,
            ..NotifySubscriberRequest::default()
        });
    }

    /// The next message that the client says on the stream.
    pub(super) async fn heard<M: Message>(&mut self) -> M {
        timeout(SOON, self.said.recv()).await.expect("the client speaks").unwrap().read().unwrap()
    }

    /// Closes the connection at once.
    pub(super) fn cut(self) {
        self.connection.abort();
    }

    /// Answers every question for health by "unknown" from here on.
    pub(super) fn disown(&self) {
        self.unknown.store(usize::MAX, Ordering::Relaxed);
    }

    /// Leaves the connection open without ever reading or writing again.
    pub(super) fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Waits until the client has closed the connection.
    pub(super) async fn closed(&mut self) {
        timeout(SOON, &mut self.connection).await.expect("the client leaves").unwrap();
    }
}

impl<R: Request> Reply<R> {
    pub(super) fn question(&self) -> &R {
        &self.question
    }

    pub(super) fn yes(self) {
        self.with(R::Response::default());
    }

    pub(super) fn with(self, response: R::Response) {
        self.answer.send(Payload::new(&response.succeed(""))).expect("the client waits");
    }

    /// Fails in an answer of the question's own kind.
    pub(super) fn no(self, code: i32, message: &str) {
        self.answer.send(Payload::new(&R::Response::default().fail("", code, message))).unwrap();
    }

    /// Fails in an envelope of its own, as Nacos mostly does.
    pub(super) fn error(self, code: i32, message: &str) {
        self.answer.send(Payload::new(&ErrorResponse::default().fail("", code, message))).unwrap();
    }

    /// Never answers, and leaves the question open.
    pub(super) fn never(self) -> impl Sized {
        self.answer
    }
}
