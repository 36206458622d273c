//! The handle on the client.

use super::dial::{Dial, Tcp};
use super::reports::Reports;
use super::settings::{NacosBuilder, Settings};
use super::shared::{Following, Shared};
use super::{DEREGISTER_TRIES, TOLD_WITHIN, TRIES, worker};
use crate::Clock;
use crate::model::{Address, Instance, InstanceKey, ServiceKey};
use crate::naming::{BoxFuture, Error, Order, Register, Snapshots, Subscribe, Told};
use crate::observe::Observer;
use std::fmt;
use std::future::{pending, ready};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// A client of a registry that speaks Nacos' gRPC protocol. See the [module docs](super).
///
/// A clone shares connection, registrations and subscriptions. When the last clone is dropped, the
/// connection ends at once and the registry takes off what was registered; [`Nacos::close`] does so in
/// order and waits for it. [`Snapshots`] that are read after that keep their last list.
#[derive(Clone)]
pub struct Nacos {
    inner: Arc<Inner>,
}

/// What ends with the last handle.
struct Inner {
    shared: Arc<Shared>,
    /// What is told the registry, if anything is.
    reports: Option<Arc<Reports>>,
    settings: Settings,
    runtime: Handle,
    task: AbortHandle,
    /// Closed when the task has ended.
    ended: watch::Receiver<()>,
    /// Listen to the readers of each followed service.
    listeners: Mutex<JoinSet<()>>,
}

impl Nacos {
    /// Begins the settings of a client of the registry at `servers`: its `HOST:PORT` of HTTP, or a list of them
    /// with commas. A client connects to one of them, and to the next when the connection is lost.
    pub fn builder(servers: &str) -> NacosBuilder {
        NacosBuilder::new(servers)
    }

    pub(super) fn spawn(settings: Settings, runtime: &Handle) -> Self {
        let dial = Tcp {
            #[cfg(feature = "tls")]
            tls: settings.tls.clone(),
        };
        Self::spawn_with(Arc::new(dial), settings, runtime)
    }

    pub(super) fn spawn_with(dial: Arc<dyn Dial>, settings: Settings, runtime: &Handle) -> Self {
        let files = settings.snapshot_files.clone();
        let shared = Arc::new(Shared::new(settings.keep_empty, files.is_some()));
        let reports = settings.reports.then(|| Reports::new(Clock::system(), settings.namespace.clone()));
        let (running, ended) = watch::channel(());
        let work = worker::run(shared.clone(), reports.clone(), dial, settings.clone());
        let (unsaved, to_measure) = (shared.clone(), reports.clone());
        let task = runtime.spawn(async move {
            let measuring = async {
                match to_measure {
                    Some(reports) => reports.measure().await,
                    None => pending().await,
                }
            };
            let work = async {
                tokio::select! {
                    () = work => {}
                    () = measuring => {}
                }
            };
            match files {
                Some(files) => _ = tokio::join!(work, files.keep(&unsaved)),
                None => work.await,
            }
            drop(running);
        });
        let (runtime, task) = (runtime.clone(), task.abort_handle());
        let listeners = Mutex::default();
        Self { inner: Arc::new(Inner { shared, reports, settings, runtime, task, ended, listeners }) }
    }

    /// Follows `service`, written as `name` or `group@@name`: [`Subscribe::subscribe`] for a name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name is not valid, and those of [`Subscribe::subscribe`].
    pub async fn subscribe(&self, service: &str) -> Result<Snapshots, Error> {
        let service = service.parse().map_err(|e| Error::Invalid { message: format!("{e}") })?;
        Subscribe::subscribe(self, &service).await
    }

    /// Takes off what is registered, ends the connection and the task, and waits for its end, `within` at
    /// most; when that has passed, everything is cut off. Calls from here on fail with [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the registry has not acknowledged that all instances are off. It takes
    /// them off by itself when it notices that the connection is gone.
    pub async fn close(&self, within: Duration) -> Result<(), Error> {
        let Inner { shared, task, .. } = &*self.inner;
        shared.close();
        self.inner.listeners().abort_all();
        let in_time = timeout(within, self.inner.ended()).await.is_ok();
        task.abort();
        self.inner.ended().await;
        match shared.held() {
            0 => Ok(()),
            held => {
                let tried = format!("closing: {held} instances not acknowledged as off");
                Err(match shared.trouble() {
                    Some(trouble) if in_time => trouble.to_unavailable(tried),
                    _ => Error::Unavailable {
                        tried,
                        source: Arc::new(io::Error::from(io::ErrorKind::TimedOut)),
                    },
                })
            }
        }
    }

    /// Waits until the registry counts as away, or does not let this client in, and then starts from the file of
    /// `service`, if there is one.
    async fn start_from_file(&self, service: &ServiceKey) {
        let Inner { shared, settings, .. } = &*self.inner;
        let (Some(files), Ok(service)) = (settings.snapshot_files.clone(), settings.resolve(service)) else {
            return;
        };
        _ = timeout(shared.patience(settings.request_timeout), shared.shut_out()).await;
        let Some((list, age)) = files.load(service).await else { return };
        let (name, instances) = (list.service().clone(), list.instances().len());
        if instances > 0 && shared.start_from(list, age) {
            let age_s = age.as_secs();
            tracing::warn!(service.name = %name, instances, age_s, "no word of the registry: started from a file");
        }
    }

    /// Takes an instance off at once, and returns the wait for the outcome, `who_knows` longer for consumers.
    fn take_off<'a>(
        &self,
        service: &ServiceKey,
        instance: &'a InstanceKey,
        who_knows: Option<Duration>,
    ) -> impl Future<Output = Result<Told, Error>> + use<'a> {
        let Inner { shared, settings, .. } = &*self.inner;
        let take_off = |service| shared.deregister(&service, instance, who_knows.is_some());
        let call = settings.resolve(service).and_then(take_off);
        let bound = settings.request_timeout * DEREGISTER_TRIES + who_knows.unwrap_or_default();
        async move { call?.outcome(bound, ready(()), || format!("deregistering {instance:?}")).await }
    }

    pub(super) fn begin_subscribe(&self, service: &ServiceKey) -> Result<Following, Error> {
        let inner = &*self.inner;
        let service = inner.settings.resolve(service)?;
        let mut following = inner.shared.subscribe(&service, self.observer())?;
        if let Some(cell) = following.anew.take() {
            let mut listeners = inner.listeners();
            while listeners.try_join_next().is_some() {} // Keep only those that run.
            listeners.spawn_on(inner.shared.clone().listen(service, cell), &inner.runtime);
        }
        Ok(following)
    }
}

impl Inner {
    async fn ended(&self) {
        while self.ended.clone().changed().await.is_ok() {}
    }

    fn listeners(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort(); // The connection goes with the task, and the listeners with their set.
    }
}

impl Register for Nacos {
    /// Waits over reconnects, [`TRIES`] times the request timeout at most, but not for a registry that does not
    /// let this user in: that it says at once, in the registry's words. When it fails or is dropped
    /// before it resolves, the instance is not registered, and one that was registered under its key before
    /// stays as it was.
    ///
    /// # Errors
    /// [`Error::Refused`] in the registry's words, at once. [`Error::Invalid`] when the metadata are too long,
    /// the instance is not ephemeral, is of another namespace, or is deregistered meanwhile.
    /// [`Error::Unavailable`], [`Error::Closed`].
    fn register<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a Instance,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let Inner { shared, settings, .. } = &*self.inner;
            let service = settings.resolve(service)?;
            settings.check_metadata(&instance.metadata)?;
            if !instance.ephemeral {
                let message = "a connection registers ephemeral instances only".to_owned();
                return Err(Error::Invalid { message });
            }
            let call = shared.register(&service, instance)?;
            let bound = settings.request_timeout * TRIES;
            let tried = || format!("registering {:?} of {service}", instance.key);
            call.outcome(bound, ready(()), tried).await.map(drop)
        })
    }

    /// Takes effect with the call, before the future is polled. Waits [`DEREGISTER_TRIES`] times the request
    /// timeout at most; whatever comes of it, nothing registers the instance again.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the registry has not acknowledged it in time: it takes the instance off
    /// by itself when it notices that the connection is gone. [`Error::Closed`], [`Error::Refused`],
    /// [`Error::Invalid`] for another namespace.
    fn deregister<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let deregistered = self.take_off(service, instance, None);
        Box::pin(async { deregistered.await.map(drop) })
    }

    /// As [`deregister`](Self::deregister), with [`TOLD_WITHIN`] more to wait. Consumers are heard of by
    /// this crate's registry; it counts those whose client is this one, which acknowledges a list when all who
    /// choose by it see it.
    fn leave<'a>(
        &'a self,
        service: &'a ServiceKey,
        instance: &'a InstanceKey,
    ) -> BoxFuture<'a, Result<Told, Error>> {
        Box::pin(self.take_off(service, instance, Some(TOLD_WITHIN)))
    }

    /// Whether the present connection leads to a registry of this crate, as far as is known: its lists say
    /// so, so it is known of whoever follows a service.
    fn hears_of_consumers(&self) -> bool {
        self.inner.shared.hears()
    }

    /// Orders come from this crate's registry: from whoever may change instances there.
    fn ordered<'a>(&'a self, service: &'a ServiceKey, instance: &'a Instance) -> BoxFuture<'a, Order> {
        Box::pin(async move {
            let Inner { shared, settings, .. } = &*self.inner;
            let Ok(service) = settings.resolve(service) else { return pending().await };
            match shared.await_order(service, instance).await {
                Ok(order) => order,
                Err(_) => pending().await, // The client is closed.
            }
        })
    }

    /// Takes note for the registry, unless [`reports`](NacosBuilder::reports) are off.
    fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.inner.reports.as_ref().map(Reports::observer)
    }

    fn address(&self) -> Option<Address> {
        self.inner.settings.servers.first().map(|server| server.grpc.clone())
    }

    fn trouble(&self) -> Option<Error> {
        let tried = format!("connecting to {}", self.inner.settings.names());
        self.inner.shared.trouble().map(|trouble| trouble.to_unavailable(tried))
    }
}

impl Subscribe for Nacos {
    /// Waits over reconnects, [`TRIES`] times the request timeout at most, and not for a registry that does not
    /// let this user in; with
    /// [`snapshot_files`](NacosBuilder::snapshot_files) only until the registry has been away for the request
    /// timeout, if there is a file. All subscribers of a service share one cell; when the last is gone, the
    /// subscription ends.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`], [`Error::Closed`]; [`Error::Invalid`] for another namespace.
    fn subscribe<'a>(&'a self, service: &'a ServiceKey) -> BoxFuture<'a, Result<Snapshots, Error>> {
        Box::pin(async move {
            let Following { first, snapshots, .. } = self.begin_subscribe(service)?;
            let bound = self.inner.settings.request_timeout * TRIES;
            // Who has a file needs no registry to begin, not even one that says no.
            let from_file = self.start_from_file(service);
            first.outcome(bound, from_file, || format!("subscribing to {service}")).await?;
            Ok(snapshots)
        })
    }
}

impl fmt::Debug for Nacos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { namespace, .. } = &self.inner.settings;
        f.debug_struct("Nacos")
            .field("servers", &self.inner.settings.names())
            .field("namespace", namespace)
            .finish_non_exhaustive()
    }
}
