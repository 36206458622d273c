//! What happens to this process' instances and in its balancers, collected for the registry.
//!
//! Layers tell it as to any observer, and pay for it now and then only: requests are counted where they are
//! counted anyway, and read once a second. What waits is bounded. A registry that does not know reports is
//! told one of each connection; while it is silent, and in a client without a connection, the oldest is dropped.

mod subject;
mod words;

use crate::Clock;
use crate::model::{InstanceKey, Namespace, Phase, ServiceKey, UnixMillis};
use crate::observe::{ConsumerEvent, Gauge, Observer, ProviderEvent, ProviderReading, Reading, Role};
use crate::protocol::report::GracefulReportRequest;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use subject::Subject;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// Providers and followed services of one process that are told of: as many as a registry takes of one
/// connection.
const SUBJECTS_MAX: usize = 100;
/// Reports that are on their way at one time.
pub(super) const AT_ONCE: usize = 8;

/// What there is to tell; shared by who observes and the client's task.
#[derive(Debug)]
pub(super) struct Reports {
    clock: Clock,
    namespace: Namespace,
    book: Mutex<Book>,
    /// Rings when there may be something to tell.
    bell: Notify,
    /// Rings when there is a provider to be measured.
    measuring: Notify,
}

#[derive(Debug, Default)]
struct Book {
    entries: BTreeMap<u64, Entry>,
    last: u64,
    /// Whether the registry behind the present connection does not know reports.
    deaf: bool,
}

struct Entry {
    subject: Subject,
    gauge: Option<Weak<dyn Gauge>>,
    /// Observers that tell of it.
    tellers: usize,
}

impl Reports {
    /// Of a client of this namespace.
    pub(super) fn new(clock: Clock, namespace: Namespace) -> Arc<Self> {
        let book = Mutex::default();
        Arc::new(Self { clock, namespace, book, bell: Notify::new(), measuring: Notify::new() })
    }

    /// Who takes note of it all.
    pub(super) fn observer(self: &Arc<Self>) -> Arc<dyn Observer> {
        Arc::new(Reporter(self.clone()))
    }

    /// Measures requests at the turn of each second. Never resolves.
    pub(super) async fn measure(&self) {
        loop {
            if self.gauges().is_empty() {
                self.measuring.notified().await;
                continue;
            }
            let past_ms = self.clock.now().as_u64() % 1000;
            sleep(Duration::from_millis(1000 - past_ms)).await;
            // A timer may be a little early by the wall clock.
            let turned = self.clock.now().as_u64().saturating_add(500) / 1000;
            self.measure_at(turned.saturating_sub(1));
        }
    }

    /// What has been counted since the last time belongs to the present second.
    pub(super) fn measure_now(&self) {
        self.measure_at(self.clock.now().as_u64() / 1000);
    }

    fn measure_at(&self, second: u64) {
        // Read outside of the lock: whoever is measured may be telling something.
        let read = self.gauges().into_iter().filter_map(|(id, gauge)| match gauge.read() {
            Reading::Provider(reading) => Some((id, reading)),
            Reading::Consumer(_) => None,
        });
        let read: Vec<(u64, ProviderReading)> = read.collect();
        let mut book = self.book();
        for (id, reading) in read {
            if let Some(entry) = book.entries.get_mut(&id) {
                entry.subject.measured(second, &reading);
                if reading.phase == Phase::Stopped {
                    entry.gauge = None;
                }
            }
        }
        book.tidy();
        drop(book);
        self.bell.notify_one();
    }

    /// When there is something to tell next.
    pub(super) fn due(
        &self,
        now: Instant,
        is_known: impl Fn(&ServiceKey, Option<&InstanceKey>) -> bool,
    ) -> Option<Instant> {
        let book = self.book();
        let heard = if book.deaf { None } else { Some(book.entries.values()) };
        heard?.filter_map(|entry| entry.subject.due(now, entry.gauge.is_some(), &is_known)).min()
    }

    /// What is to be told now, [`AT_ONCE`] reports at most.
    pub(super) fn take(
        &self,
        now: Instant,
        is_known: impl Fn(&ServiceKey, Option<&InstanceKey>) -> bool,
    ) -> Vec<GracefulReportRequest> {
        self.take_of(now, |entry| {
            entry.subject.due(now, entry.gauge.is_some(), &is_known).is_some_and(|due| due <= now)
        })
    }

    /// All that waits of instances of `service`, or of everything: they are about to go.
    pub(super) fn take_last(&self, now: Instant, service: Option<&ServiceKey>) -> Vec<GracefulReportRequest> {
        self.measure_now();
        self.take_of(now, |entry| {
            let wanted = service.is_none_or(|service| entry.subject.is(Role::Provider, service));
            wanted && entry.subject.has_something() && entry.subject.due(now, false, |_, _| true).is_some()
        })
    }

    fn take_of(&self, now: Instant, wanted: impl Fn(&Entry) -> bool) -> Vec<GracefulReportRequest> {
        let (mut book, sent_at) = (self.book(), self.clock.now());
        if book.deaf {
            return Vec::new();
        }
        let wanted = book.entries.values_mut().filter(|entry| wanted(entry)).take(AT_ONCE);
        let reports = wanted.map(|entry| entry.subject.take(now, sent_at)).collect();
        book.tidy();
        reports
    }

    /// There is a new connection, perhaps with another registry.
    pub(super) fn connected(&self) {
        let mut book = self.book();
        book.deaf = false;
        book.entries.values_mut().for_each(|entry| entry.subject.connected());
        book.tidy();
    }

    /// The registry behind the present connection does not know reports.
    pub(super) fn is_deaf(&self) {
        let mut book = self.book();
        book.deaf = true;
        book.tidy();
    }

    /// Waits until there may be something to tell.
    ///
    /// # Cancel safety
    /// Nothing is missed when this is dropped before it resolves.
    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    fn gauges(&self) -> Vec<(u64, Arc<dyn Gauge>)> {
        let mut book = self.book();
        let gauges = book.entries.iter_mut().filter_map(|(id, entry)| {
            let gauge = entry.gauge.as_ref()?.upgrade();
            if gauge.is_none() {
                entry.gauge = None;
            }
            Some((*id, gauge?))
        });
        gauges.collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Each change of the book is complete in itself; a panic elsewhere cannot leave it half made.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what waits to be told of one subject.
    fn change(&self, id: u64, change: impl FnOnce(&mut Subject)) {
        let mut book = self.book();
        if let Some(entry) = book.entries.get_mut(&id) {
            change(&mut entry.subject);
        }
        if book.deaf {
            book.tidy();
        }
        drop(book);
        self.bell.notify_one();
    }
}

impl Book {
    /// Forgets of whom nobody tells any more, when all has been told or nobody would take it; and what waits
    /// for nobody.
    fn tidy(&mut self) {
        if self.deaf {
            self.entries.values_mut().for_each(|entry| entry.subject.clear());
        }
        self.entries.retain(|_, entry| entry.tellers > 0 || entry.subject.waits_here());
    }

    /// What is told of one side of a service: each provider is one of its own, and the consumers of a service
    /// are one. Nothing when there are too many.
    fn enter(&mut self, role: Role, service: ServiceKey) -> Option<u64> {
        self.tidy();
        let known = self.entries.iter_mut().find(|(_, entry)| entry.subject.is(role, &service));
        if let Some((id, entry)) = known.filter(|_| role == Role::Consumer) {
            entry.tellers += 1;
            return Some(*id);
        }
        if self.entries.len() >= SUBJECTS_MAX {
            return None;
        }
        self.last += 1;
        let subject = Subject::new(service, role);
        self.entries.insert(self.last, Entry { subject, gauge: None, tellers: 1 });
        Some(self.last)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Takes note for the registry.
#[derive(Debug)]
struct Reporter(Arc<Reports>);

impl Observer for Reporter {
    fn of(&self, role: Role, service: &ServiceKey) -> Option<Arc<dyn Observer>> {
        let service = subject::in_namespace(&self.0.namespace, service)?;
        let id = self.0.book().enter(role, service)?;
        Some(Arc::new(Teller { reports: self.0.clone(), id }))
    }

    fn hears_requests(&self) -> bool {
        false
    }
}

/// Takes note of what happens on one side of one service.
#[derive(Debug)]
struct Teller {
    reports: Arc<Reports>,
    id: u64,
}

impl Observer for Teller {
    fn hears_requests(&self) -> bool {
        false
    }

    fn consumer(&self, _: &ServiceKey, event: &ConsumerEvent<'_>) {
        if let Some(note) = words::of_consumer(self.reports.clock.now(), event) {
            self.reports.change(self.id, |subject| subject.note(note));
        }
    }

    fn provider(&self, _: &ServiceKey, at: UnixMillis, event: &ProviderEvent<'_>) {
        let note = words::of_provider(at, event);
        self.reports.change(self.id, |subject| {
            if let ProviderEvent::Registered { instance } = event {
                subject.is_at(instance);
            }
            if let ProviderEvent::CalledLate { caller } = event {
                subject.came_late(at, caller);
            }
            if let Some(note) = note {
                subject.note(note);
            }
        });
    }

    fn follow(&self, gauge: Weak<dyn Gauge>) {
        if let Some(entry) = self.reports.book().entries.get_mut(&self.id)
            && entry.subject.is_provider()
        {
            entry.gauge = Some(gauge);
        }
        self.reports.measuring.notify_one();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut book = self.reports.book();
        if let Some(entry) = book.entries.get_mut(&self.id) {
            entry.tellers -= 1;
        }
        book.tidy();
    }
}
