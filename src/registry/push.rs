//! What a subscriber is still to be told, and when.
//!
//! For each service that a connection follows, one push at most is under way; while it is, changes only make
//! a note that there is something newer. A push is made from the list as it is when it is sent, so memory
//! is bounded by the number of subscriptions, however many changes come and however slow the reader is.
//! After a quiet time a change is pushed at once; in a storm pushes keep a distance that grows with the list.

use super::order::{Order, Orders};
use super::peer::{Destination, Peer};
use super::query::Clusters;
use crate::model::ServiceKey;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// On a connection a list is sent again, as it then is, until it is acknowledged: it is never lost, and a
/// client that does not answer is found out by other means. Nacos' value.
pub(crate) const ON_A_CONNECTION: Patience = Patience { within: Duration::from_secs(5), repeats_max: None };
/// How long a subscriber that refused a push is left alone. Nacos' value.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// How long a push is put off that may not be made now.
const PUT_OFF_FOR: Duration = Duration::from_secs(5);
/// Least distance of two lists of one service to one subscriber: twenty a second are plenty, and a thousand
/// subscribers of a service that never rests leave time for others. It also keeps a push that follows a
/// subscription behind the subscription's answer, which travels on another stream.
const DISTANCE: Duration = Duration::from_millis(50);
/// What each host of a list adds to the distance: writing one costs a microsecond or two, so pushing takes a
/// tenth of a core at most, for each subscriber, in the worst storm.
const DISTANCE_PER_HOST: Duration = Duration::from_micros(20);
/// Greatest distance: what Nacos always waits.
const DISTANCE_MAX: Duration = Duration::from_millis(500);

/// A connection as the hub sees it: told of changes, by a task of its own.
#[derive(Debug, Default)]
pub(crate) struct Subscriber {
    peer: Arc<Peer>,
    pushes: Mutex<Pushes>,
    wake: Notify,
    /// Somebody may wait for what it acknowledges.
    answered: Notify,
    /// What it is to be ordered.
    orders: Orders,
    /// Its transport is to end.
    closed: AtomicBool,
    /// It is to be asked to connect to another server.
    moves_to: Mutex<Option<Destination>>,
}

impl Subscriber {
    /// The connection of `peer`, which follows nothing yet.
    pub(crate) fn new(peer: Peer) -> Self {
        Self { peer: Arc::new(peer), ..Self::default() }
    }

    /// Who it is.
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The notes, for a moment.
    pub(crate) fn pushes(&self) -> MutexGuard<'_, Pushes> {
        // A panic elsewhere costs at most one note, which the next change makes again.
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `service` has changed, and wakes whoever waits in [`Subscriber::woken`].
    pub(crate) fn changed(&self, service: &ServiceKey, now: Instant) {
        if self.pushes().changed(service, now) {
            self.wake.notify_one();
        }
    }

    /// Takes the answer to the push with this request id.
    pub(crate) fn answer(&self, id: u64, success: bool, now: Instant) -> Answer {
        let answer = self.pushes().answer(id, success, now);
        self.answered.notify_waiters();
        answer
    }

    /// Ends to follow `service`; whether it was followed.
    pub(crate) fn leave(&self, service: &ServiceKey) -> bool {
        let followed = self.pushes().leave(service);
        self.answered.notify_waiters();
        followed
    }

    /// Has its task ask it to connect to another server.
    pub(crate) fn ask_to_move(&self, to: Destination) {
        *self.moves_to.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
        self.wake.notify_one();
    }

    /// Has its task end its transport.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Whether its transport is to end.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Has its task give it an order.
    pub(crate) fn order(&self, order: Order) {
        self.orders.push(order);
        self.wake.notify_one();
    }

    /// What it is to be ordered next.
    pub(crate) fn take_order(&self) -> Option<Order> {
        self.orders.take()
    }

    /// To which server it is to be asked to connect; asked once.
    pub(crate) fn take_move(&self) -> Option<Destination> {
        self.moves_to.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until the list of `service` at `revision` or a newer one is acknowledged; whether it is, or
    /// nobody follows the service here any more.
    pub(crate) async fn knows(&self, service: &ServiceKey, revision: u64) -> bool {
        loop {
            let answered = self.answered.notified(); // Before the look: it misses nothing after it.
            match self.pushes().acknowledged(service) {
                Some(acknowledged) if acknowledged < revision => {}
                acknowledged => return acknowledged.is_some(),
            }
            answered.await;
        }
    }

    /// Waits until [`Pushes::next`] may have become earlier, or it is to be asked to move or given an order.
    ///
    /// # Cancel safety
    /// No call is missed when this is dropped before it resolves.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// How a subscriber that does not acknowledge a list is dealt with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long an acknowledgement may take before the list, as it then is, is sent again.
    pub(crate) within: Duration,
    /// How often one list is sent again before it is given up; without a bound for as long as somebody follows.
    pub(crate) repeats_max: Option<u8>,
}

impl Default for Patience {
    fn default() -> Self {
        ON_A_CONNECTION
    }
}

/// The notes about everything that is followed: for a connection, its services. Pure: moments come in as
/// arguments.
#[derive(Debug)]
pub(crate) struct Pushes<K = ServiceKey> {
    patience: Patience,
    tracks: HashMap<K, Track>,
    /// The `next` of every track that has one.
    agenda: BTreeSet<(Instant, K)>,
    /// The pushes under way by their request id; one for each track at most.
    under_way: HashMap<u64, K>,
    last_id: u64,
}

#[derive(Debug)]
struct Track {
    clusters: Clusters,
    /// Highest revision that the subscriber is known to have.
    acknowledged: u64,
    acknowledged_at: Instant,
    /// Request id and revision of the push under way.
    sent: Option<(u64, u64)>,
    /// How often lists have been sent again since the last that was acknowledged, or given up.
    repeats: u8,
    /// Whether something may have changed since the list that goes out next, or went out last, was asked for.
    wanted: bool,
    /// Whether it is for a change that the list now goes out.
    asked: bool,
    /// Keeps the distance.
    not_before: Instant,
    next: Option<Instant>,
}

/// An answer's success, and the revision that it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Acknowledged(u64),
    Refused,
    /// Answers nothing that is still under way.
    Late,
}

impl<K> Default for Pushes<K> {
    fn default() -> Self {
        Self::new(Patience::default())
    }
}

impl<K> Pushes<K> {
    /// Nothing is followed yet.
    pub(crate) fn new(patience: Patience) -> Self {
        let (tracks, agenda, under_way) = (HashMap::new(), BTreeSet::new(), HashMap::new());
        Self { patience, tracks, agenda, under_way, last_id: 0 }
    }
}

impl<K: Clone + Ord + Hash> Pushes<K> {
    /// Begins to follow `service`, the subscriber being given the list at `revision` as its answer. A second
    /// subscription to one service takes the place of the first.
    pub(crate) fn follow(
        &mut self,
        service: &K,
        clusters: Clusters,
        (revision, hosts): (u64, usize),
        now: Instant,
    ) {
        self.leave(service);
        let track = Track {
            clusters,
            acknowledged: revision,
            acknowledged_at: now,
            sent: None,
            repeats: 0,
            wanted: false,
            asked: false,
            not_before: now + distance(hosts),
            next: None,
        };
        self.tracks.insert(service.clone(), track);
    }

    /// Ends to follow `service`; whether it was followed.
    pub(crate) fn leave(&mut self, service: &K) -> bool {
        self.schedule(service, None);
        let Some(track) = self.tracks.remove(service) else { return false };
        self.under_way.remove(&track.sent.unwrap_or_default().0);
        true
    }

    /// How many pushes are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The services that are followed.
    pub(crate) fn services(&self) -> impl ExactSizeIterator<Item = &K> {
        self.tracks.keys()
    }

    /// The newest list of `service` that the subscriber is known to have; nothing when it does not follow it.
    pub(crate) fn acknowledged(&self, service: &K) -> Option<u64> {
        self.tracks.get(service).map(|track| track.acknowledged)
    }

    /// Whether a list of `service` had to be sent again, and none has been acknowledged since.
    #[cfg(feature = "console")]
    pub(crate) fn is_behind(&self, service: &K) -> bool {
        self.tracks.get(service).is_some_and(|track| track.repeats > 0)
    }

    /// To whom the push under way with this request id was sent.
    pub(crate) fn whose(&self, id: u64) -> Option<&K> {
        self.under_way.get(&id)
    }

    /// The clusters that the subscriber asks for, and the newest list of `service` that it is known to have,
    /// with the moment of which it is; nothing when it does not follow it.
    pub(crate) fn following(&self, service: &K) -> Option<(&Clusters, u64, Instant)> {
        self.tracks.get(service).map(|track| (&track.clusters, track.acknowledged, track.acknowledged_at))
    }

    /// Notes that `service` has changed; whether [`Pushes::next`] may have become earlier.
    pub(crate) fn changed(&mut self, service: &K, now: Instant) -> bool {
        let Some(track) = self.tracks.get_mut(service) else { return false };
        track.wanted = true;
        if track.next.is_some() {
            return false; // It waits for its distance, or for an answer.
        }
        let at = track.not_before.max(now);
        self.schedule(service, Some(at));
        true
    }

    /// When the next push is due; nothing while nobody has anything to be told.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// A service that is to be pushed by `now`. Ask for its list, and then [`Pushes::send`]: what changes
    /// between the two may be missing in that list, and is pushed after it.
    pub(crate) fn due(&mut self, now: Instant) -> Option<K> {
        let service = self.agenda.first().filter(|(at, _)| *at <= now).map(|(_, service)| service.clone())?;
        if let Some(track) = self.tracks.get_mut(&service) {
            track.asked |= std::mem::take(&mut track.wanted);
        }
        Some(service)
    }

    /// Writes down that the list at `revision` goes out, and returns its request id and which clusters to put
    /// in; nothing when the subscriber knows that list already or has left.
    pub(crate) fn send(
        &mut self,
        service: &K,
        (revision, hosts): (u64, usize),
        now: Instant,
    ) -> Option<(u64, Clusters)> {
        let track = self.tracks.get_mut(service)?;
        let asked = std::mem::take(&mut track.asked);
        if let Some((unanswered, _)) = track.sent.take() {
            self.under_way.remove(&unanswered);
            track.repeats = track.repeats.saturating_add(1);
        }
        let given_up = self.patience.repeats_max.is_some_and(|max| track.repeats > max);
        if given_up {
            track.repeats = 0; // The next change is worth a new try, also one that came meanwhile.
        }
        if revision <= track.acknowledged || given_up && !asked {
            let next = track.wanted.then(|| track.not_before.max(now));
            self.schedule(service, next);
            return None;
        }
        self.last_id += 1;
        let (id, clusters) = (self.last_id, track.clusters.clone());
        track.sent = Some((id, revision));
        track.not_before = now + distance(hosts);
        self.under_way.insert(id, service.clone());
        self.schedule(service, Some(now + self.patience.within));
        Some((id, clusters))
    }

    /// Puts the push that is due to `service` off for a while: something stands against it that may pass.
    pub(crate) fn put_off(&mut self, service: &K, now: Instant) {
        let Some(track) = self.tracks.get_mut(service) else { return };
        track.wanted = true;
        self.schedule(service, Some(now + PUT_OFF_FOR));
    }

    /// Takes the answer to the push with this request id.
    pub(crate) fn answer(&mut self, id: u64, success: bool, now: Instant) -> Answer {
        let Some(service) = self.under_way.remove(&id) else { return Answer::Late };
        let Some(track) = self.tracks.get_mut(&service) else { return Answer::Late };
        let Some((_, revision)) = track.sent.take() else { return Answer::Late };
        let answer = if success { Answer::Acknowledged(revision) } else { Answer::Refused };
        if success {
            (track.acknowledged, track.acknowledged_at, track.repeats) = (revision, now, 0);
        } else {
            track.not_before = track.not_before.max(now + AFTER_REFUSAL);
        }
        let next = (track.wanted || !success).then(|| track.not_before.max(now));
        self.schedule(&service, next);
        answer
    }

    fn schedule(&mut self, service: &K, next: Option<Instant>) {
        let Some(track) = self.tracks.get_mut(service) else { return };
        if let Some(at) = std::mem::replace(&mut track.next, next) {
            self.agenda.remove(&(at, service.clone()));
        }
        self.agenda.extend(next.map(|at| (at, service.clone())));
    }
}

fn distance(hosts: usize) -> Duration {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    DISTANCE.saturating_add(DISTANCE_PER_HOST.saturating_mul(hosts)).min(DISTANCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    fn following(revision: u64, now: Instant) -> Pushes {
        let mut pushes = Pushes::default();
        pushes.follow(&orders(), Clusters::default(), (revision, 0), now);
        pushes
    }

    /// Sends the list that is due by `now`.
    fn send(pushes: &mut Pushes, list: (u64, usize), now: Instant) -> Option<(u64, Clusters)> {
        assert_eq!(pushes.due(now), Some(orders()));
        pushes.send(&orders(), list, now)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn after_a_quiet_time_a_change_is_due_at_once() {
        let start = Instant::now();
        let mut pushes = following(1, start);
        assert_eq!(pushes.next(), None);
        assert!(pushes.changed(&orders(), start + LONG));
        assert_eq!(pushes.next(), Some(start + LONG));
        assert_eq!(pushes.due(start + LONG), Some(orders()));
    }

    #[test]
    fn a_storm_makes_one_push_at_a_time_and_the_next_has_the_latest() {
        let start = Instant::now();
        let (mut pushes, now) = (following(1, start), start + LONG);
        pushes.changed(&orders(), now);
        let (id, _) = send(&mut pushes, (2, 1_000), now).unwrap();
        for _ in 0..1_000 {
            assert!(!pushes.changed(&orders(), now), "one is under way");
        }
        assert_eq!(pushes.next(), Some(now + ON_A_CONNECTION.within));
        assert_eq!(pushes.answer(id, true, now), Answer::Acknowledged(2));
        assert_eq!(pushes.next(), Some(now + distance(1_000)));
        assert!(send(&mut pushes, (1_002, 1_000), now + distance(1_000)).is_some());
    }

    #[test]
    fn what_changes_while_a_list_is_made_is_pushed_after_it() {
        let start = Instant::now();
        for known in [1, 2] {
            let mut pushes = following(known, start);
            pushes.changed(&orders(), start);
            let now = start + LONG;
            assert_eq!(pushes.due(now), Some(orders()));
            pushes.changed(&orders(), now); // The list at 2 has been looked at; this makes it 3.
            if let Some((id, _)) = pushes.send(&orders(), (2, 0), now) {
                assert_eq!(pushes.answer(id, true, now), Answer::Acknowledged(2));
            }
            let next = pushes.next().expect("who knows 2 is told of 3");
            assert!(send(&mut pushes, (3, 0), next).is_some());
        }
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_with_fresh_data() {
        let start = Instant::now() + LONG;
        let mut pushes = following(1, start - LONG);
        pushes.changed(&orders(), start);
        let (first, _) = send(&mut pushes, (2, 0), start).unwrap();
        let later = start + ON_A_CONNECTION.within;
        let (second, _) = send(&mut pushes, (2, 0), later).unwrap();
        assert_eq!(pushes.answer(first, true, later), Answer::Late);
        assert_eq!(pushes.answer(second, true, later), Answer::Acknowledged(2));
        assert_eq!(pushes.next(), None);
    }

    #[test]
    fn a_refusal_is_retried_after_a_second() {
        let start = Instant::now() + LONG;
        let mut pushes = following(1, start - LONG);
        pushes.changed(&orders(), start);
        let (id, _) = send(&mut pushes, (2, 0), start).unwrap();
        assert_eq!(pushes.answer(id, false, start), Answer::Refused);
        assert_eq!(pushes.next(), Some(start + AFTER_REFUSAL));
        assert!(send(&mut pushes, (2, 0), start + AFTER_REFUSAL).is_some());
    }

    #[test]
    fn a_list_that_the_subscriber_has_is_not_pushed() {
        let start = Instant::now() + LONG;
        let mut pushes = following(7, start - LONG);
        pushes.changed(&orders(), start); // The change is in the list of the answer already.
        assert_eq!(send(&mut pushes, (7, 0), start), None);
        assert_eq!(pushes.next(), None);
    }

    #[test]
    fn who_has_left_is_told_nothing() {
        let start = Instant::now();
        let mut pushes = following(1, start);
        pushes.changed(&orders(), start);
        let (id, _) = pushes.send(&orders(), (2, 0), start).unwrap();
        assert!(pushes.leave(&orders()));
        assert!(!pushes.leave(&orders()));
        assert_eq!(pushes.answer(id, true, start), Answer::Late);
        assert!(!pushes.changed(&orders(), start));
        assert_eq!(pushes.send(&orders(), (3, 0), start), None);
        assert_eq!((pushes.next(), pushes.services().len(), pushes.under_way.len()), (None, 0, 0));
    }

    #[test]
    fn the_distance_grows_with_the_list_up_to_half_a_second() {
        assert_eq!(distance(0), Duration::from_millis(50));
        assert_eq!(distance(1_000), Duration::from_millis(70));
        assert_eq!(distance(usize::MAX), Duration::from_millis(500));
    }
}
