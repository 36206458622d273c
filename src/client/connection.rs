//! A connection that the registry knows: the handshake on a transport, and the messages on it.

use super::alert;
use super::dial::Dial;
use super::failure::Failure;
use super::login::{Login, Pass};
use super::servers::{Port, Server};
use super::settings::Settings;
use super::transport::{Http2, Transport};
use crate::model::Namespace;
use crate::naming::BoxError;
use crate::naming::header::CallerTag;
use crate::protocol::message::{
    ConnectionSetupRequest, ErrorResponse, HealthCheckRequest, Message, Request, Response, ServerCheckRequest,
};
use crate::protocol::{ACCESS_TOKEN, Payload, Unreadable, code};
use http::uri::PathAndQuery;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic_prost::ProstCodec;

/// How this client calls itself.
const CLIENT_VERSION: &str = concat!("Tower-Graceful:v", env!("CARGO_PKG_VERSION"));
/// How often the registry is asked whether the setup has arrived. It comes on the stream and is not
/// answered, so a question that overtakes it is answered by "unknown".
const SETUP_ASKS: u32 = 6;
/// Pause after the first such question; each further one is twice as long, 620 ms in all.
const SETUP_PAUSE: Duration = Duration::from_millis(20);
/// Requests of the registry that wait to be handled. One is enough: where it is slow, the registry's own
/// flow control holds the next ones back, each of which may be as large as a message can be.
const INBOX_MAX: usize = 1;
/// Answers that wait to be written. Nothing is taken from the inbox while there is no room for its answer.
const ANSWERS_MAX: usize = 16;

/// One connection that the registry has set up for us. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Connection {
    caller: Caller,
    inbox: mpsc::Receiver<Result<Payload, Status>>,
    answers: mpsc::Sender<Payload>,
    _transport: Transport,
}

/// Asks questions on a connection; a clone asks on the same one.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    grpc: Grpc<Http2>,
    within: Duration,
    hears: Hears,
    login: Arc<Login>,
    server: Server,
    /// When the connection began.
    since: Instant,
}

/// Whether a registry hears of consumers what they know, and says so; a clone speaks of the same one. Only
/// this crate's does: it is known by its lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Hears(Arc<AtomicBool>);

impl Hears {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, hears: bool) {
        self.0.store(hears, Ordering::Relaxed);
    }
}

impl Connection {
    /// Logs in at a server, dials it and introduces this client: who are you, here is my stream, do you know me now?
    ///
    /// No table of abilities is sent, for there is none to negotiate, and so the registry sends none; that
    /// the setup has arrived is learnt by asking, with every version of Nacos alike.
    pub(super) async fn open(
        dial: &dyn Dial,
        server: &Server,
        login: &Arc<Login>,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let since = Instant::now(); // Before the login: its token is one of this connection.
        login.enter(server).await?;
        let within = settings.request_timeout;
        let io = bounded("connecting", within, dial.dial(server, Port::Grpc)).await?;
        let (io, alert) = alert::watch(io);
        let over = Transport::over(io, server.origin.clone());
        let transport = bounded("beginning HTTP/2", within, over).await?;

        let (login, server) = (login.clone(), server.clone());
        let mut caller =
            Caller { grpc: transport.grpc(), within, hears: Hears::default(), login, server, since };
        let server = caller.ask(&ServerCheckRequest::default()).await;
        let server = server.map_err(|failure| alert.explain_failure(failure))?;
        let (answers, outbox) = mpsc::channel(ANSWERS_MAX);
        let (arrivals, inbox) = mpsc::channel(INBOX_MAX);
        let setup = Payload::new(&setup(settings));
        answers.try_send(setup).map_err(|full| Failure::broken("setting up", full))?;
        transport.spawn(read_stream(transport.grpc(), outbox, arrivals));
        caller.await_setup().await?;
        tracing::debug!(connection.id = %server.connection_id, "the registry knows this connection");
        Ok(Self { caller, inbox, answers, _transport: transport })
    }

    /// A handle for questions on this connection.
    pub(super) fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// Waits for the registry's next request, and for room to answer it.
    ///
    /// # Cancel safety
    /// No request is lost when this is dropped before it resolves.
    pub(super) async fn request(&mut self) -> Result<(Payload, mpsc::Permit<'_, Payload>), Failure> {
        let ended = || Failure::broken("reading the stream", "the registry ended it");
        let permit = self.answers.reserve().await.map_err(|_| ended())?;
        let payload = self.inbox.recv().await.ok_or_else(ended)?;
        Ok((payload.map_err(|status| Failure::broken("reading the stream", status))?, permit))
    }
}

impl Caller {
    /// Whether the registry hears of consumers.
    pub(super) fn hears(&self) -> &Hears {
        &self.hears
    }

    /// When this client is to log in again.
    pub(super) fn login_due(&self) -> Option<Instant> {
        self.login.due()
    }

    /// Logs in again.
    pub(super) async fn log_in(&self) -> Result<(), Failure> {
        self.login.refresh(&self.server).await
    }

    /// Asks one question and reads its answer.
    pub(super) async fn ask<R: Request>(&mut self, question: &R) -> Result<R::Response, Failure> {
        self.ask_for(Duration::ZERO, question).await
    }

    /// Asks a question whose answer itself takes `longer`; once more with a new token if the present one is
    /// refused.
    pub(super) async fn ask_for<R: Request>(
        &mut self,
        longer: Duration,
        question: &R,
    ) -> Result<R::Response, Failure> {
        let pass = self.login.pass();
        let answered = self.send(longer, question, &pass).await;
        if !matches!(answered, Err(Failure::Refused { code: code::FORBIDDEN, .. })) {
            return answered;
        }
        match self.login.renewed(&self.server, &pass, self.since).await? {
            Some(pass) => self.send(longer, question, &pass).await,
            None => answered,
        }
    }

    async fn send<R: Request>(
        &mut self,
        longer: Duration,
        question: &R,
        pass: &Pass,
    ) -> Result<R::Response, Failure> {
        let path = PathAndQuery::from_static("/Request/request");
        let codec = ProstCodec::<Payload, Payload>::default();
        let payload = Payload::new(question);
        let payload = match pass.token() {
            Some(token) => payload.with_header(ACCESS_TOKEN, token),
            None => payload,
        };
        let request = tonic::Request::new(payload);
        let answered = bounded(R::KIND, self.within + longer, self.grpc.unary(request, path, codec)).await?;
        read_answer::<R>(&answered.into_inner())
    }

    /// Asks until the registry knows this connection.
    async fn await_setup(&mut self) -> Result<(), Failure> {
        let mut asked = 0;
        loop {
            match self.ask(&HealthCheckRequest::default()).await {
                Ok(_) => return Ok(()),
                Err(failure @ Failure::Broken(_)) => return Err(failure),
                Err(failure) if asked + 1 == SETUP_ASKS => return Err(failure),
                Err(_) => sleep(SETUP_PAUSE * 2u32.saturating_pow(asked)).await,
            }
            asked += 1;
        }
    }
}

/// Waits for what is tried, a bounded time.
async fn bounded<T, E: Into<BoxError>>(
    tried: &'static str,
    within: Duration,
    trying: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match timeout(within, trying).await {
        Ok(result) => result.map_err(|source| Failure::broken(tried, source)),
        Err(elapsed) => Err(Failure::broken(tried, elapsed)),
    }
}

/// The first message on the stream.
fn setup(settings: &Settings) -> ConnectionSetupRequest {
    let mut labels = BTreeMap::from([("source".into(), "sdk".into()), ("module".into(), "naming".into())]);
    if !settings.app.is_empty() {
        labels.insert("AppName".into(), settings.app.clone());
    }
    // The same id that this process's calls carry: it tells a leaving provider that the pushes acknowledged
    // here reach that caller.
    let caller = CallerTag::of_this_process(&settings.app);
    labels.insert("graceful.caller".into(), format!("{:016x}", caller.id));
    // Nacos' own clients leave the default namespace blank here.
    let tenant =
        if settings.namespace == Namespace::default() { "" } else { settings.namespace.as_str() }.to_owned();
    let client_version = CLIENT_VERSION.to_owned();
    ConnectionSetupRequest { client_version, tenant, labels, ..ConnectionSetupRequest::default() }
}

/// Reads the answer to an `R`; a failure may come in an envelope of its own kind.
fn read_answer<R: Request>(payload: &Payload) -> Result<R::Response, Failure> {
    let unreadable = |source: Unreadable| Failure::broken(R::KIND, source);
    if payload.kind() == ErrorResponse::KIND {
        let error: ErrorResponse = payload.read().map_err(unreadable)?;
        return Err(Failure::answered(error.error_code, &error.message));
    }
    let answer: R::Response = payload.read().map_err(unreadable)?;
    match answer.failure() {
        Some((code, message)) => Err(Failure::answered(code, message)),
        None => Ok(answer),
    }
}

/// Carries the stream's messages into the inbox until either end is gone. The registry may leave the stream
/// without any answer until it has something to say, so nothing waits for this to begin.
async fn read_stream(
    mut grpc: Grpc<Http2>,
    outbox: mpsc::Receiver<Payload>,
    arrivals: mpsc::Sender<Result<Payload, Status>>,
) {
    let path = PathAndQuery::from_static("/BiRequestStream/requestBiStream");
    let codec = ProstCodec::<Payload, Payload>::default();
    let outbox = tonic::Request::new(ReceiverStream::new(outbox));
    let mut stream = match grpc.streaming(outbox, path, codec).await {
        Ok(opened) => opened.into_inner(),
        Err(status) => {
            let _ = arrivals.send(Err(status)).await; // Nobody is left to tell when this fails.
            return;
        }
    };
    while let Some(next) = stream.message().await.transpose() {
        let ended = next.is_err();
        if arrivals.send(next).await.is_err() || ended {
            return;
        }
    }
}
