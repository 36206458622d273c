//! The cell between whoever learns of instances and whoever chooses among them.

use crate::model::{Instance, ServiceKey, Snapshot};
use crate::observe::Observer;
use std::fmt;
use std::future::pending;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The reading half: one service's newest [`Snapshot`], a level that a late reader still sees.
///
/// A clone shares the cell. When the last reader is gone, the writing half is told by
/// [`Publisher::abandoned`].
///
/// ```
/// # use tower_graceful::{model::{Instance, Snapshot}, naming::{Publisher, Snapshots}};
/// let (publisher, snapshots) = Publisher::new("orders".parse()?);
/// publisher.publish(Snapshot::new("orders".parse()?, 1, vec![Instance::new("10.0.0.7:8080".parse()?)]));
/// assert_eq!(snapshots.latest().instances().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
    latest: watch::Receiver<Published>,
}

/// The writing half of [`Snapshots`].
pub struct Publisher {
    shared: Arc<Shared>,
    latest: watch::Sender<Published>,
}

/// A snapshot and the moment it was put into the cell: a reader that looks later still knows when the news
/// came.
#[derive(Clone, Debug)]
struct Published {
    snapshot: Arc<Snapshot>,
    at: Instant,
}

impl From<Arc<Snapshot>> for Published {
    fn from(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, at: Instant::now() }
    }
}

#[derive(Default)]
struct Shared {
    /// Who wants to be told what readers do about the instances.
    observer: Option<Arc<dyn Observer>>,
    /// Counts published snapshots: what a reader looks at before every pick.
    version: AtomicU64,
    /// Holds one permit at most, so any number of wishes makes one refresh.
    wanted: Notify,
    /// Since when nothing can be learned, while that is so.
    away_since: Mutex<Option<Instant>>,
}

impl Shared {
    fn away_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// A cell for `service` that holds the empty snapshot of revision 0.
    pub fn new(service: ServiceKey) -> (Self, Snapshots) {
        Self::observed(service, None)
    }

    /// The same, whose readers tell `observer` what happens to the instances: whoever balances by them does.
    pub fn observed(service: ServiceKey, observer: Option<Arc<dyn Observer>>) -> (Self, Snapshots) {
        let (sender, receiver) = watch::channel(Arc::new(Snapshot::empty(service)).into());
        let shared = Arc::new(Shared { observer, ..Shared::default() });
        (Self { shared: shared.clone(), latest: sender }, Snapshots { shared, latest: receiver })
    }

    /// Puts `snapshot` into the cell.
    ///
    /// Once this returns, the snapshot is applied: every pick looks at [`Snapshots::version`] before it
    /// chooses. An acknowledgement sent afterwards is therefore true.
    pub fn publish(&self, snapshot: impl Into<Arc<Snapshot>>) {
        self.put(snapshot.into().into());
    }

    /// Puts in a snapshot that is `age` old already, because it was kept somewhere meanwhile:
    /// [`Snapshots::latest_at`] tells when it was news, as far back as this machine's clock reaches.
    pub fn publish_aged(&self, snapshot: impl Into<Arc<Snapshot>>, age: Duration) {
        let now = Instant::now();
        let at = now.checked_sub(age).unwrap_or(now);
        self.put(Published { snapshot: snapshot.into(), at });
    }

    /// Says since when nothing can be learned of the instances, because whoever tells of them is away; `None` once
    /// they are back. Default `None`.
    pub fn away_since(&self, since: Option<Instant>) {
        *self.shared.away_since() = since;
    }

    /// Another reader of the cell.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots { shared: self.shared.clone(), latest: self.latest.subscribe() }
    }

    /// Waits until a reader asks for the list to be fetched at once. Wishes that come while nobody waits
    /// count as one.
    ///
    /// # Cancel safety
    /// A wish is not lost when this is dropped before it resolves.
    pub async fn refresh_wanted(&self) {
        self.shared.wanted.notified().await;
    }

    /// Waits until no reader is left.
    pub async fn abandoned(&self) {
        self.latest.closed().await;
    }

    /// Whether no reader is left now.
    pub fn is_abandoned(&self) -> bool {
        self.latest.is_closed()
    }

    /// Counts under the cell's lock: whoever sees the number finds the snapshot, and whoever is woken by the
    /// snapshot finds the number.
    fn put(&self, mut published: Published) {
        self.latest.send_modify(|latest| {
            mem::swap(latest, &mut published); // The old one is dropped outside the lock.
            self.shared.version.fetch_add(1, Ordering::Release);
        });
    }
}

impl Snapshots {
    /// A list that never changes, for services whose addresses are known beforehand.
    pub fn fixed(service: ServiceKey, instances: Vec<Instance>) -> Self {
        let (publisher, snapshots) = Publisher::new(service.clone());
        publisher.publish(Snapshot::new(service, 1, instances));
        snapshots
    }

    /// The newest snapshot.
    pub fn latest(&self) -> Arc<Snapshot> {
        self.latest.borrow().snapshot.clone()
    }

    /// The newest snapshot and the moment it was published; of the empty one, the moment the cell was made.
    pub fn latest_at(&self) -> (Arc<Snapshot>, Instant) {
        let published = self.latest.borrow();
        (published.snapshot.clone(), published.at)
    }

    /// For how long nothing could have been learned of the instances until now, because whoever tells of them is
    /// away; nothing while they are there. A list that is old while they are is one that has not changed.
    pub fn away_for(&self) -> Option<Duration> {
        self.shared.away_since().map(|since| since.elapsed())
    }

    /// Who wants to be told what happens to these instances, if anybody does.
    pub fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.shared.observer.as_ref()
    }

    /// Number of snapshots published so far: one atomic load. Read it before [`Snapshots::latest`], and
    /// what `latest` returns is at least as new.
    #[inline]
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Waits for a snapshot that this handle has not waited for yet; for ever where none can come.
    ///
    /// # Cancel safety
    /// No snapshot is lost when this is dropped before it resolves.
    pub async fn changed(&mut self) -> Arc<Snapshot> {
        if self.latest.changed().await.is_err() {
            pending::<()>().await;
        }
        self.latest.borrow_and_update().snapshot.clone()
    }

    /// Waits until the newest snapshot satisfies `condition`, and returns it.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn wait_for(&mut self, mut condition: impl FnMut(&Snapshot) -> bool) -> Arc<Snapshot> {
        // Cloned at once: a borrowed cell must not be held across a wait, nor sent to another thread.
        let found = self.latest.wait_for(|published| condition(&published.snapshot)).await;
        match found.map(|published| published.snapshot.clone()) {
            Ok(snapshot) => snapshot,
            Err(_) => pending().await,
        }
    }

    /// Asks the source for the list at once, without waiting for it. Where the source cannot be asked, this
    /// does nothing.
    pub fn refresh(&self) {
        self.shared.wanted.notify_one();
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshots").field(&self.latest()).finish()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.latest.borrow().snapshot).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready, task};

    fn one(revision: u64) -> Snapshot {
        let instance = Instance::new("10.0.0.7:8080".parse().unwrap());
        Snapshot::new("orders".parse().unwrap(), revision, vec![instance])
    }

    #[tokio::test]
    async fn a_late_reader_sees_the_newest_snapshot() {
        let (publisher, mut snapshots) = Publisher::new("orders".parse().unwrap());
        publisher.publish(one(1));
        publisher.publish(one(2));
        assert_eq!(snapshots.version(), 2);
        assert_eq!(snapshots.changed().await.revision(), 2);
        assert_eq!(snapshots.wait_for(|s| s.revision() >= 2).await.revision(), 2);
        assert_pending!(task::spawn(snapshots.changed()).poll());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_is_woken_by_a_snapshot_finds_it_counted() {
        let (publisher, mut snapshots) = Publisher::new("orders".parse().unwrap());
        let publishing = tokio::spawn(async move {
            for revision in 1..=20_000 {
                publisher.publish(one(revision));
            }
            publisher
        });
        while snapshots.latest().revision() < 20_000 {
            let woken_by = snapshots.changed().await.revision();
            assert!(snapshots.version() >= woken_by);
        }
        drop(publishing.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_may_be_old_when_it_is_published() {
        let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
        publisher.publish_aged(one(1), Duration::from_secs(5));
        assert_eq!(snapshots.latest_at().1.elapsed(), Duration::from_secs(5));
        publisher.publish_aged(one(2), Duration::MAX);
        assert_eq!((snapshots.latest().revision(), snapshots.version()), (2, 2));
    }

    #[tokio::test]
    async fn many_wishes_for_a_refresh_make_one() {
        let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
        snapshots.refresh();
        snapshots.refresh();
        assert_ready!(task::spawn(publisher.refresh_wanted()).poll());
        assert_pending!(task::spawn(publisher.refresh_wanted()).poll());
    }

    #[tokio::test]
    async fn the_writer_learns_that_no_reader_is_left() {
        let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
        let clone = snapshots.clone();
        drop(snapshots);
        assert_pending!(task::spawn(publisher.abandoned()).poll());
        drop(clone);
        assert_ready!(task::spawn(publisher.abandoned()).poll());
    }

    #[tokio::test]
    async fn a_fixed_list_never_changes() {
        let mut fixed = Snapshots::fixed("orders".parse().unwrap(), one(1).instances().to_vec());
        assert_eq!(fixed.latest().instances().len(), 1);
        fixed.changed().await;
        assert_pending!(task::spawn(fixed.changed()).poll());
    }
}
