//! Which services are in use, by the hosts that mean them.

use super::Reason;
use crate::consumer::GracefulClient;
use crate::model::ServiceKey;
use crate::naming::{Error, Snapshots};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Bounded; read without a lock, changed under one.
pub(super) struct Directory<S> {
    hosts: ArcSwap<Hosts<S>>,
    /// When those that nobody used were given up last; held by whoever changes `hosts`.
    swept: Mutex<Instant>,
    services_max: NonZeroUsize,
}

type Hosts<S> = HashMap<Box<str>, Arc<Entry<S>>>;

/// A service that was asked for.
pub(super) struct Entry<S> {
    service: ServiceKey,
    /// Since the last sweep; a flag that stays up costs callers nothing to look at.
    used: AtomicBool,
    resolved: OnceCell<Resolved<S>>,
    failures: Mutex<Failures>,
}

pub(super) struct Resolved<S> {
    pub(super) snapshots: Snapshots,
    pub(super) stack: GracefulClient<S>,
}

/// How many subscriptions have failed, and with what the last one did.
#[derive(Default)]
struct Failures {
    count: u64,
    last: Option<Error>,
}

impl<S> Directory<S> {
    /// Who is called once a minute stays; a subscription costs little.
    const SWEEP_EVERY: Duration = Duration::from_secs(5 * 60);

    pub(super) fn new(services_max: NonZeroUsize) -> Self {
        Self { hosts: ArcSwap::default(), swept: Mutex::new(Instant::now()), services_max }
    }

    /// The stack of the service that `host` means, if it is there already.
    pub(super) fn stack(&self, host: &str) -> Option<GracefulClient<S>> {
        let hosts = self.hosts.load();
        let entry = hosts.get(host)?;
        entry.touch();
        entry.resolved.get().map(|resolved| resolved.stack.clone())
    }

    /// The service that `host` means, which is `service_of` it when nobody has asked before.
    pub(super) fn enter(
        &self,
        host: &str,
        service_of: impl FnOnce() -> Result<ServiceKey, Reason>,
    ) -> Result<Arc<Entry<S>>, Reason> {
        if let Some(entry) = self.hosts.load().get(host) {
            return Ok(entry.clone());
        }
        let service = service_of()?;
        let mut swept = self.lock();
        let mut hosts = Hosts::clone(&self.hosts.load());
        if let Some(entry) = hosts.get(host) {
            return Ok(entry.clone());
        }
        if swept.elapsed() >= Self::SWEEP_EVERY {
            *swept = Instant::now();
            hosts.retain(|_, entry| entry.used.load(Ordering::Relaxed));
            for entry in hosts.values() {
                entry.used.store(false, Ordering::Relaxed);
            }
        }
        if hosts.len() >= self.services_max.get() {
            hosts.retain(|_, entry| entry.is_alive());
        }
        if hosts.len() >= self.services_max.get() {
            return Err(Reason::TooMany { service, services_max: self.services_max });
        }
        let same = hosts.values().find(|entry| entry.service == service).cloned();
        let entry = same.unwrap_or_else(|| Entry::new(service));
        hosts.insert(host.into(), entry.clone());
        self.hosts.store(Arc::new(hosts));
        Ok(entry)
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        // A panic elsewhere cannot leave the map half changed: it is stored whole.
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hosts in use.
    pub(super) fn hosts(&self) -> Vec<Box<str>> {
        self.hosts.load().keys().cloned().collect()
    }
}

impl<S> Entry<S> {
    fn new(service: ServiceKey) -> Arc<Self> {
        let (resolved, failures) = (OnceCell::new(), Mutex::default());
        Arc::new(Self { service, used: AtomicBool::new(true), resolved, failures })
    }

    pub(super) fn service(&self) -> &ServiceKey {
        &self.service
    }

    fn touch(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether someone is listed, or may be for all that is known.
    fn is_alive(&self) -> bool {
        match self.resolved.get() {
            Some(resolved) => !resolved.snapshots.latest().instances().is_empty(),
            None => self.failures().count == 0,
        }
    }

    /// What `resolve` comes to: one at a time, and those that wait for one that fails share its failure.
    pub(super) async fn resolved<F>(&self, resolve: impl FnOnce() -> F) -> Result<&Resolved<S>, Error>
    where
        F: Future<Output = Result<Resolved<S>, Error>>,
    {
        let before = self.failures().count;
        let once = async || {
            if let Some(error) = self.failed_since(before) {
                return Err(error);
            }
            resolve().await.inspect_err(|error| self.failures().add(error.clone()))
        };
        self.resolved.get_or_try_init(once).await
    }

    fn failed_since(&self, count: u64) -> Option<Error> {
        let failures = self.failures();
        failures.last.clone().filter(|_| failures.count > count)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        // A panic elsewhere cannot leave a count without its error: both are set in one place that does not panic.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    fn add(&mut self, error: Error) {
        self.count += 1;
        self.last = Some(error);
    }
}
