//! The notices of one address: who hears them, and what came of them.

use super::answer::{self, Problem};
use crate::consumer::endpoints::Fleet;
use crate::model::Address;
use crate::naming::BoxFuture;
use crate::naming::notice::Notice;
use crate::observe::{AsideCause, ConsumerEvent};
use http::{Request, Response};
use http_body::Body;
use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tower_service::Service;

/// Takes notices from instances that leave, for every balancer that was built with
/// [`with_notices`](crate::consumer::BalanceLayer::with_notices). See the [module docs](super).
///
/// It is a service of the route [`PATH`](crate::naming::notice::PATH), on a [`NoticePort`](super::NoticePort)
/// or mounted elsewhere. A clone shares everything.
#[derive(Clone)]
pub struct Notices {
    shared: Arc<Shared>,
}

struct Shared {
    advertised: Address,
    fleets: Mutex<Vec<Weak<Fleet>>>,
    room: Arc<Semaphore>,
    applied: AtomicU64,
    repeated: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
}

/// What came of a notice, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Nobody lists such an instance, or the secret is not its own.
    Refused,
    /// Its sender is aside already.
    Repeated,
    /// Its sender is aside from now on.
    Applied,
}

impl Notices {
    /// Notices that are answered at once; each holds no more than its body, and a fleet has fewer instances
    /// that leave in one moment.
    const AT_ONCE_MAX: usize = 64;

    /// Notices that come to a route of a server of yours. `advertised` is where instances reach that server,
    /// without TLS; the route is [`PATH`](crate::naming::notice::PATH).
    pub fn mounted(advertised: Address) -> Self {
        Self {
            shared: Arc::new(Shared {
                advertised,
                fleets: Mutex::default(),
                room: Arc::new(Semaphore::new(Self::AT_ONCE_MAX)),
                applied: AtomicU64::new(0),
                repeated: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                malformed: AtomicU64::new(0),
            }),
        }
    }

    /// Where instances are told to send notices.
    pub fn advertised(&self) -> &Address {
        &self.shared.advertised
    }

    /// How many notices have put their sender aside.
    pub fn applied(&self) -> u64 {
        self.shared.applied.load(Ordering::Relaxed)
    }

    /// How many came from someone who was aside already: they changed nothing.
    pub fn repeated(&self) -> u64 {
        self.shared.repeated.load(Ordering::Relaxed)
    }

    /// How many proved nothing (403): forged, of an instance that is not listed, or of an earlier epoch.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// How many requests were no notices at all, or too many at once.
    pub fn malformed(&self) -> u64 {
        self.shared.malformed.load(Ordering::Relaxed)
    }

    /// Lets `fleet` hear notices, for as long as its balancer lives.
    pub(in crate::consumer) fn link(&self, fleet: &Arc<Fleet>) {
        let mut fleets = self.shared.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.retain(|fleet| fleet.strong_count() > 0);
        fleets.push(Arc::downgrade(fleet));
    }

    fn fleets(&self) -> Vec<Arc<Fleet>> {
        let fleets = self.shared.fleets.lock().unwrap_or_else(PoisonError::into_inner);
        fleets.iter().filter_map(Weak::upgrade).collect()
    }

    /// Puts the sender of `notice` aside wherever its registration proves that it is the sender.
    pub(super) fn hear(&self, notice: &Notice) -> Outcome {
        let outcome = self.fleets().into_iter().filter_map(|fleet| hear(&fleet, notice)).max();
        if outcome.is_none() {
            let (service, instance) = (&notice.service, &notice.instance);
            tracing::debug!(service.name = %service, %instance, "a notice of a service that is not called");
        }
        let outcome = outcome.unwrap_or(Outcome::Refused);
        let counter = match outcome {
            Outcome::Applied => &self.shared.applied,
            Outcome::Repeated => &self.shared.repeated,
            Outcome::Refused => &self.shared.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }
}

/// What comes of `notice` with one balancer; nothing when that is another service's.
fn hear(fleet: &Fleet, notice: &Notice) -> Option<Outcome> {
    let list = fleet.snapshots().latest();
    if *list.service() != notice.service {
        return None;
    }
    let &Notice { ref instance, epoch, fade, .. } = notice;
    let ignored = |repeated| fleet.tell(&ConsumerEvent::NoticeIgnored { instance, epoch, repeated });
    if !list.instances().iter().any(|listed| notice.comes_from(listed)) {
        ignored(false);
        return Some(Outcome::Refused);
    }
    // Asked first: a tombstone that is put again is held for longer.
    if !fleet.knows(instance, epoch, fade) && fleet.put_aside(instance, epoch, fade, AsideCause::Notice) {
        return Some(Outcome::Applied);
    }
    ignored(true);
    Some(Outcome::Repeated)
}

impl<B> Service<Request<B>> for Notices
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<String>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let notices = self.clone();
        let room = self.shared.room.clone().try_acquire_owned().ok();
        Box::pin(async move {
            let read = if room.is_some() { answer::read(request).await } else { Err(Problem::Crowd) };
            Ok(match read.map(|notice| notices.hear(&notice)) {
                Ok(Outcome::Applied | Outcome::Repeated) => answer::done(),
                Ok(Outcome::Refused) => Problem::Unproven.into(),
                Err(problem) => {
                    notices.shared.malformed.fetch_add(1, Ordering::Relaxed);
                    problem.into()
                }
            })
        })
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices")
            .field("advertised", self.advertised())
            .field("applied", &self.applied())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}
