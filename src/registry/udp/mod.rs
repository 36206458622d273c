//! Pushes lists as datagrams to clients of version 1, which otherwise hear of changes by polling.
//!
//! Only a hint that comes sooner: a datagram may be lost, be stopped on the way, or be too small for a long
//! list, and then the next poll brings what it did not. So nothing here is kept for longer than a poll or two
//! would take, and what is not acknowledged is sent once more and no further.
//!
//! A datagram goes where the question over HTTP came from, to the port that it named, and never elsewhere:
//! whoever asks cannot have somebody else flooded. It goes only for as long as its reader may read. A registry
//! with TLS sends none.

mod ears;

pub(crate) use ears::{Ear, Ears};

use super::access::Access;
use super::push::Answer;
use super::texts::Form;
use crate::model::ServiceKey;
use crate::protocol::datagram;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How often those are forgotten who ask no more. Nacos' value.
const FORGOTTEN_EVERY: Duration = Duration::from_secs(5);
/// Datagrams that are sent before acknowledgements are looked at again.
const DATAGRAMS_AT_ONCE: usize = 64;
/// Pause after a failure of the socket, which may last.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// The lowest port that somebody may listen at: those below belong to services of the machine, and a client
/// is given one of its own.
const PORT_MIN: u16 = 1024;

/// Everyone who listens, shared by the hub and the one task that tells them.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    ears: Mutex<Ears>,
    wake: Notify,
}

impl Audience {
    /// The notes, for a moment.
    pub(crate) fn ears(&self) -> MutexGuard<'_, Ears> {
        // A panic elsewhere costs at most one note, which the next poll makes good.
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `service` has changed.
    pub(crate) fn changed(&self, service: &ServiceKey, now: Instant) {
        if self.ears().changed(service, now) {
            self.wake.notify_one();
        }
    }
}

/// Where a client listens that has asked from `asker`, calls itself `agent` and names `port`; nothing when it
/// does not listen.
pub(crate) fn listening_at(asker: IpAddr, port: u16, agent: &str) -> Option<SocketAddr> {
    let listens = port >= PORT_MIN && datagram::is_taken_by(agent);
    listens.then(|| SocketAddr::new(asker, port))
}

/// Tells everyone who listens, for ever.
pub(crate) async fn push(access: &Access, socket: &UdpSocket) {
    let (audience, mut buffer) = (access.hub().audience(), [0; datagram::ANSWER_BYTES_MAX]);
    let mut forget = interval(FORGOTTEN_EVERY);
    forget.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = audience.ears().next();
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => take(audience, &buffer[..length], from),
                Err(error) => {
                    tracing::debug!(%error, "no datagrams can be received");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            },
            () = due(next) => push_due(access, socket).await,
            () = audience.wake.notified() => {}
            _ = forget.tick() => audience.ears().forget_silent(Instant::now()),
        }
    }
}

async fn due(next: Option<Instant>) {
    match next {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Takes an answer, if it is one.
fn take(audience: &Audience, answer: &[u8], from: SocketAddr) {
    let from = SocketAddr::new(from.ip(), from.port()); // Without the scope that an address in IPv6 may have.
    let Some(number) = datagram::acknowledged(answer) else { return };
    if let Answer::Acknowledged(revision) = audience.ears().acknowledge(number, from, Instant::now()) {
        tracing::debug!(%from, revision, "datagram acknowledged");
    }
}

/// Whether who listens may still be told: that they asked in time is not enough.
fn may_still_read(access: &Access, audience: &Audience, ear: &Ear) -> bool {
    let user = audience.ears().user_of(ear).cloned();
    access.may_still_read(user.as_ref(), &ear.service.namespace)
}

/// Sends a portion of what is due.
async fn push_due(access: &Access, socket: &UdpSocket) {
    let hub = access.hub();
    for _ in 0..DATAGRAMS_AT_ONCE {
        let (audience, now) = (hub.audience(), Instant::now());
        let Some(ear) = audience.ears().due(now) else { return };
        if !may_still_read(access, audience, &ear) {
            audience.ears().leave(&ear); // Until a question is answered again.
            continue;
        }
        let view = hub.view(&ear.service); // Without the notes' lock: changes take that under the hub's.
        let (revision, hosts) = (view.snapshot.revision(), view.snapshot.instances().len());
        let Some(number) = audience.ears().send(&ear, (revision, hosts), now) else { continue };
        let list = view.written(Form::Http, &ear.clusters, ear.healthy_only);
        let Some(datagram) = datagram::write(&list, number) else {
            tracing::debug!(service.name = %ear.service, hosts, "a list fits into no datagram: its readers poll");
            continue;
        };
        let (service, to) = (&ear.service, ear.address);
        match socket.send_to(&datagram, to).await {
            Ok(_) => tracing::debug!(service.name = %service, %to, revision, "list pushed as a datagram"),
            Err(error) => tracing::debug!(service.name = %service, %to, %error, "no datagram can be sent"),
        }
    }
}
