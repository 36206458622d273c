//! A client: its transport, and the session on its stream.

use super::detection::{Detection, Verdict};
use crate::model::Namespace;
use crate::protocol::Payload;
use crate::protocol::message::{
    ClientDetectionRequest, ConnectResetRequest, ConnectionSetupRequest, ErrorResponse, Message,
    NotifySubscriberRequest, NotifySubscriberResponse, Response, SetupAckRequest,
};
use crate::protocol::report::GracefulCommandResponse;
use crate::provider::serve::server::Wire;
use crate::registry::access::{Access, UserName};
use crate::registry::bound::Bound;
use crate::registry::command::ConnectionId;
use crate::registry::hub::Hub;
use crate::registry::order::Given;
use crate::registry::peer::{Destination, Peer};
use crate::registry::push::{Answer, ON_A_CONNECTION, Subscriber};
use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::Instrument;

/// How long a unary request waits for a set-up that may have been sent just before it, on another stream:
/// the set-up has no answer that its sender could wait for.
const SETUP_AWAITED: Duration = Duration::from_millis(200);
/// Messages that wait for the client to read: pushes are made when there is room, so this needs no more.
const OUTBOX_LEN: usize = 4;
/// How long a client that has been told to move, because the registry ends, may take to end its stream: it
/// connects elsewhere first, which takes a few round trips.
const MOVED_WITHIN: Duration = Duration::from_secs(1);
/// Request id of messages whose answers are not told apart; lists are numbered from 1 on.
const UNNUMBERED: &str = "0";

/// One HTTP/2 transport, which is one client.
#[derive(Debug)]
pub(super) struct Transport {
    id: String,
    peer: SocketAddr,
    access: Arc<Access>,
    /// Whose token came last.
    user: Mutex<Option<UserName>>,
    stage: watch::Sender<Stage>,
    opened_at: Instant,
    /// When the client was last heard, in microseconds after `opened_at`.
    heard_us: AtomicU64,
    closing: watch::Receiver<bool>,
    /// Absent from a transport that no port serves.
    wire: Option<Arc<Wire>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No stream yet, or one without its first message.
    Early { streaming: bool },
    /// Set up.
    Connected(ConnectionId),
    /// The stream has ended, and with it the client.
    Ended,
}

impl Transport {
    pub(super) fn new(
        access: Arc<Access>,
        peer: SocketAddr,
        wire: Option<Arc<Wire>>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let id = format!("{}_{}_{}", access.hub().now(), peer.ip().to_canonical(), peer.port());
        let stage = watch::Sender::new(Stage::Early { streaming: false });
        Self {
            id,
            peer,
            access,
            user: Mutex::default(),
            stage,
            opened_at: Instant::now(),
            heard_us: AtomicU64::new(0),
            closing,
            wire,
        }
    }

    /// Ends the transport with all that is on it.
    fn hang_up(&self) {
        if let Some(wire) = &self.wire {
            wire.hang_up();
        }
    }

    /// Name of the transport as clients are told it; unique in the life of the process.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn hub(&self) -> &Hub {
        self.access.hub()
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// Notes who uses the transport: its subscriptions are theirs.
    pub(super) fn note_user(&self, user: &UserName) {
        let mut noted = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.as_ref() != Some(user) {
            *noted = Some(user.clone());
        }
    }

    /// Whether lists of a namespace may be sent down the stream.
    fn may_read(&self, namespace: &Namespace) -> bool {
        let user = self.user.lock().unwrap_or_else(PoisonError::into_inner);
        self.access.may_still_read(user.as_ref(), namespace)
    }

    /// The connection on this transport, waiting a moment if it is still being set up.
    pub(super) async fn connection(&self) -> Option<ConnectionId> {
        if let Stage::Connected(id) = *self.stage.borrow() {
            return Some(id); // Without a timer, which every request would set up and take down.
        }
        let mut stage = self.stage.subscribe();
        let settled = stage.wait_for(|stage| !matches!(stage, Stage::Early { .. }));
        match *timeout(SETUP_AWAITED, settled).await.ok()?.ok()? {
            Stage::Connected(id) => Some(id),
            Stage::Early { .. } | Stage::Ended => None,
        }
    }

    /// Notes that the client has said something.
    pub(super) fn heard(&self) {
        let us = u64::try_from(self.opened_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.heard_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Whether the registry ends.
    pub(super) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    fn heard_at(&self) -> Instant {
        self.opened_at + Duration::from_micros(self.heard_us.load(Ordering::Relaxed))
    }

    /// Takes the transport's one stream; whether it was still free.
    fn take_stream(&self) -> bool {
        let free = |stage: &mut Stage| {
            let free = *stage == Stage::Early { streaming: false };
            if free {
                *stage = Stage::Early { streaming: true };
            }
            free
        };
        self.stage.send_if_modified(free)
    }
}

/// The client's stream, from its opening to its end; what the client published ends when this is dropped.
pub(super) struct Session {
    transport: Arc<Transport>,
    inbound: Streaming<Payload>,
    outbox: mpsc::Sender<Result<Payload, Status>>,
    connection: Option<Connection>,
    detection: Detection,
    /// When the lists were sent that are not yet acknowledged, by request id, the oldest first.
    sent: BTreeMap<u64, Instant>,
    given: Given,
}

/// A client that is set up.
struct Connection {
    id: ConnectionId,
    subscriber: Arc<Subscriber>,
}

/// Why a session ended, in words for the log.
type End = &'static str;
const CLOSING: End = "the registry is shutting down";
const CLOSED: End = "an operator has closed the connection";
/// How long a client that an operator parts with may take to read why, before its transport is cut.
const CUT_AFTER: Duration = Duration::from_secs(1);

impl Session {
    /// Opens the session in a task of its own, and returns what goes down the stream.
    ///
    /// The task ends with the stream, whichever side ends it: it hears of the client's end by `inbound`, and
    /// of the transport's by the receiver being dropped.
    ///
    /// # Errors
    /// When the transport has its stream already, or the registry ends.
    pub(super) fn open(
        transport: Arc<Transport>,
        inbound: Streaming<Payload>,
    ) -> Result<ReceiverStream<Result<Payload, Status>>, Status> {
        if transport.is_closing() {
            return Err(Status::unavailable(CLOSING));
        }
        if !transport.take_stream() {
            return Err(Status::failed_precondition("this transport has had its stream: open another one"));
        }
        transport.heard();
        let (outbox, receiver) = mpsc::channel(OUTBOX_LEN);
        let span = tracing::info_span!("connection", id = transport.id);
        let (connection, detection) = (None, Detection::default());
        let (sent, given) = (BTreeMap::new(), Given::default());
        let session = Self { transport, inbound, outbox, connection, detection, sent, given };
        tokio::spawn(session.run().instrument(span));
        Ok(ReceiverStream::new(receiver))
    }

    async fn run(mut self) {
        let (mut closing, outbox) = (self.transport.closing.clone(), self.outbox.clone());
        let mut gone_by = None;
        let end: End = loop {
            let look_at = match self.detection.judge(self.transport.heard_at(), Instant::now()) {
                Verdict::Wait(at) => at,
                Verdict::Ask => {
                    let request_id = UNNUMBERED.to_owned();
                    self.tell(&ClientDetectionRequest { request_id, ..ClientDetectionRequest::default() });
                    continue;
                }
                Verdict::Gone => break "the client is silent",
            };
            if let Some(Destination(to)) = self.subscriber().and_then(Subscriber::take_move) {
                self.tell(&ConnectResetRequest::to(to.as_ref()));
            }
            while let Some(order) = self.subscriber().and_then(Subscriber::take_order) {
                let order = self.given.send(order);
                self.tell(&order);
            }
            if self.subscriber().is_some_and(Subscriber::is_closed) {
                break CLOSED;
            }
            let push_at = self.subscriber().and_then(|subscriber| subscriber.pushes().next());
            let push_due = push_at.is_some_and(|at| at <= Instant::now());
            let wake_at = push_at.filter(|_| !push_due).map_or(look_at, |at| at.min(look_at));
            tokio::select! {
                message = self.inbound.message() => match message {
                    Ok(Some(payload)) => self.receive(&payload),
                    Ok(None) => break "the client has ended its stream",
                    Err(status) if status.code() == Code::OutOfRange => {
                        self.transport.hub().metrics().refuse(Bound::Message);
                        break "a message was too long";
                    }
                    Err(_) => break "the stream broke",
                },
                () = outbox.closed() => break "the transport ended",
                room = outbox.reserve(), if push_due => match room {
                    Ok(room) => self.push(room),
                    Err(_) => break "the transport ended",
                },
                () = woken(self.connection.as_ref()) => {}
                () = sleep_until(wake_at) => {}
                _ = closing.wait_for(|closing| *closing), if gone_by.is_none() => {
                    let request_id = UNNUMBERED.to_owned();
                    self.tell(&ConnectResetRequest { request_id, ..ConnectResetRequest::default() });
                    gone_by = Some(Instant::now() + MOVED_WITHIN);
                }
                () = sleep_until(gone_by.unwrap_or(wake_at)), if gone_by.is_some() => break CLOSING,
            }
        };
        let _ = self.outbox.try_send(Err(Status::unavailable(end)));
        if self.connection.is_some() {
            tracing::info!(reason = end, "client went");
        }
        if end == CLOSED {
            let transport = self.transport.clone();
            drop(self); // The stream ends with it, so that a client that reads is gone by itself.
            let _ = timeout(CUT_AFTER, outbox.closed()).await;
            transport.hang_up();
        }
    }

    fn subscriber(&self) -> Option<&Subscriber> {
        self.connection.as_ref().map(|connection| &*connection.subscriber)
    }

    fn receive(&mut self, payload: &Payload) {
        self.transport.heard();
        match payload.kind() {
            ConnectionSetupRequest::KIND => match payload.read() {
                Ok(setup) => self.set_up(&setup),
                Err(error) => tracing::warn!(%error, "connection set-up is not readable"),
            },
            NotifySubscriberResponse::KIND => {
                self.answered(|response: &NotifySubscriberResponse| &response.request_id, payload);
            }
            GracefulCommandResponse::KIND => {
                self.obeyed(|response: &GracefulCommandResponse| &response.request_id, payload);
            }
            ErrorResponse::KIND if self.obeyed(|response: &ErrorResponse| &response.request_id, payload) => {}
            ErrorResponse::KIND => self.answered(|response: &ErrorResponse| &response.request_id, payload),
            _ => {} // Whatever it says, it lives: the answer to a detection, to a set-up ack, or a newcomer.
        }
    }

    /// Makes the transport a connection; a second set-up changes nothing.
    fn set_up(&mut self, setup: &ConnectionSetupRequest) {
        if self.connection.is_none() {
            let hub = self.transport.hub();
            let transport = self.transport.id().to_owned();
            let peer = Peer { transport, ..Peer::new(self.transport.peer, setup, hub.now()) };
            tracing::info!(version = peer.version, app = peer.app, "client came");
            let (id, subscriber) = hub.connect(peer);
            self.connection = Some(Connection { id, subscriber });
            self.transport.stage.send_replace(Stage::Connected(id));
        }
        if setup.ability_table.is_some() {
            // Whoever sends a table waits for one.
            let abilities = [
                ("supportPersistentInstanceByGrpc", true),
                ("fuzzyWatch", false),
                ("lock", false),
                ("mcp", false),
            ];
            let ability_table = abilities.map(|(name, able)| (name.to_owned(), able)).into();
            let request_id = UNNUMBERED.to_owned();
            self.tell(&SetupAckRequest { request_id, ability_table, ..SetupAckRequest::default() });
        }
    }

    /// Sends a message that is no list. Where there is no room for it the client is not reading, and there is
    /// no use in telling.
    fn tell(&self, message: &impl Message) {
        let _ = self.outbox.try_send(Ok(Payload::new(message)));
    }

    /// Sends the list that is due into `room`.
    fn push(&mut self, room: mpsc::Permit<'_, Result<Payload, Status>>) {
        let Some(subscriber) = self.subscriber() else { return };
        let now = Instant::now();
        let Some(service) = subscriber.pushes().due(now) else { return };
        if !self.transport.may_read(&service.namespace) {
            // Clients do not subscribe again while their connection stands: so the right may come back, and with
            // it the list.
            tracing::debug!(service.name = %service, "no list pushed: the user may not read now");
            subscriber.pushes().put_off(&service, now);
            return;
        }
        let view = self.transport.hub().view(&service);
        let (revision, hosts) = (view.snapshot.revision(), view.snapshot.instances().len());
        let Some((id, clusters)) = subscriber.pushes().send(&service, (revision, hosts), now) else { return };
        tracing::debug!(service.name = %service, revision, hosts, "list pushed");
        while self.sent.first_entry().is_some_and(|oldest| now - *oldest.get() > ON_A_CONNECTION.within) {
            self.sent.pop_first(); // It has been sent again since.
        }
        self.sent.insert(id, now);
        let push = NotifySubscriberRequest {
            request_id: id.to_string(),
            namespace: service.namespace.to_string(),
            service_name: service.name.to_string(),
            group_name: service.group.to_string(),
            service_info: view.message(&clusters, false),
            ..NotifySubscriberRequest::default()
        };
        room.send(Ok(Payload::new(&push)));
    }

    /// Takes the answer to an order; whether it is one.
    fn obeyed<R: Response>(&mut self, request_id: impl Fn(&R) -> &str, payload: &Payload) -> bool {
        let Ok(response) = payload.read::<R>() else { return false };
        let taken = match response.failure() {
            None => Ok(()),
            Some((_, why)) => Err(why.to_owned()),
        };
        self.given.answered(request_id(&response), taken)
    }

    /// Takes the answer to a push; one that fails is of its own type or a plain error.
    fn answered<R: Response>(&mut self, request_id: impl Fn(&R) -> &str, payload: &Payload) {
        let Ok(response) = payload.read::<R>() else { return };
        let Ok(id) = request_id(&response).parse() else { return };
        let (failure, now) = (response.failure(), Instant::now());
        let sent = self.sent.remove(&id);
        let Some(subscriber) = self.subscriber() else { return };
        match subscriber.answer(id, failure.is_none(), now) {
            Answer::Acknowledged(revision) => {
                tracing::debug!(revision, "list acknowledged");
                if let Some(sent) = sent {
                    self.transport.hub().metrics().pushes.record(now - sent);
                }
            }
            Answer::Refused => tracing::debug!(?failure, "list refused"),
            Answer::Late => {}
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(Connection { id, .. }) = self.connection {
            self.transport.hub().disconnect(id);
        }
        self.transport.stage.send_replace(Stage::Ended);
    }
}

/// Waits until the subscriber has something to be told; for ever before the set-up.
async fn woken(connection: Option<&Connection>) {
    match connection {
        Some(connection) => connection.subscriber.woken().await,
        None => pending().await,
    }
}
