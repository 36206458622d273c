//! Puts this instance on the registry's list, and takes it off.

use super::FirstRequest;
use super::ordered;
use super::process::Process;
use super::settings::Settings;
use crate::model::{
    Address, Instance, InstanceKey, Leaving, Metadata, Snapshot, UnixMillis, WarmUpClock, key,
};
use crate::naming::Causes;
use crate::naming::{self, Naming, Order, Register, Snapshots, Told, backoff};
use crate::observe::{LeaveCause, ProviderEvent};
use std::future::pending;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::{self, Instant};

/// How often the registry is asked for its list while this instance is not on it.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How long a deregistration may take: a registry that is away must not hold up the way out. One that waits
/// for consumers that hang does so for two seconds.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// What a provider says of itself.
pub(super) fn describe(settings: &Settings, address: Address, epoch: UnixMillis) -> Instance {
    let ours = [(key::VERSION, env!("CARGO_PKG_VERSION").to_owned()), (key::EPOCH, epoch.to_string())];
    let curve = settings.warm_up.to_metadata();
    let theirs = settings.metadata.iter().map(|(key, value)| (key, value.to_owned()));
    let metadata: Metadata = theirs.chain(ours).chain(curve).collect();
    #[cfg(feature = "notice")]
    let metadata = if settings.notices.wanted {
        metadata.with(key::NOTICE, true).with(key::NOTICE_KEY, settings.notices.secret.key())
    } else {
        metadata
    };
    let key = InstanceKey { address: address.clone(), cluster: settings.cluster.clone() };
    Instance { key, weight: settings.weight, ..Instance::new(address) }.with_metadata(metadata)
}

/// One instance and the list it stands on.
#[derive(Debug)]
pub(super) struct Registration<'a> {
    process: &'a Process,
    instance: Instance,
    /// The list it stands on, or will: held, so that the registry goes on telling.
    list: OnceLock<Snapshots>,
    /// Held while it is written anew: two at once, and the older could take back what the newer says.
    writing: tokio::sync::Mutex<()>,
}

impl<'a> Registration<'a> {
    pub(super) fn new(process: &'a Process, instance: Instance) -> Self {
        Self { process, instance, list: OnceLock::new(), writing: tokio::sync::Mutex::default() }
    }

    fn registry(&self) -> Option<&dyn Naming> {
        self.process.settings.registry.as_deref()
    }

    /// Follows the list of the service before this instance stands on it. Nothing without a registry, and where
    /// it does not give the list: [`enter`](Self::enter) asks for it again.
    pub(super) async fn follow(&self) -> Option<Snapshots> {
        let list = self.registry()?.subscribe(&self.process.settings.service).await;
        let list = list
            .inspect_err(|error| tracing::debug!(error = %Causes(error), "no list before the registration"))
            .ok()?;
        Some(self.list.get_or_init(|| list).clone())
    }

    /// Registers, and waits until the registry's own list shows this process. Asks again for as long as
    /// the registry may change its mind.
    ///
    /// # Errors
    /// When the registry will never take it.
    pub(super) async fn enter(&self) -> Result<(), naming::Error> {
        let Some(registry) = self.registry() else { return Ok(()) };
        let service = &self.process.settings.service;
        self.process.wait_for("the registry to take the registration");
        self.again_until_ok(|| self.register(registry)).await?;
        self.process.wait_for("the registry to list this instance");
        let mut list = match self.list.get() {
            Some(list) => list.clone(),
            None => self.again_until_ok(|| registry.subscribe(service)).await?,
        };
        if !is_listed(&list.latest(), &self.instance) {
            list.refresh(); // A push may take its time.
        }
        while time::timeout(LIST_EVERY, list.wait_for(|list| is_listed(list, &self.instance))).await.is_err()
        {
            list.refresh();
        }
        let _ = self.list.set(list); // It enters once.
        self.process.progress.send_modify(|progress| progress.waiting_for = None);
        self.process.note(&ProviderEvent::Registered { instance: &self.instance });
        Ok(())
    }

    async fn register(&self, registry: &dyn Naming) -> Result<(), naming::Error> {
        let settings = &self.process.settings;
        let now = || settings.clock.now();
        let start = (settings.warm_up.clock() == WarmUpClock::Registration).then(now);
        registry.register(&settings.service, &self.warming_since(start)).await?;
        self.process.warm_up_begins(start);
        Ok(())
    }

    /// Sees the warm-up through: writes its start into the registration when the first request has come, and
    /// has the instance ready when it is over, where readiness waits for that. Never resolves: it is dropped
    /// when this instance leaves, so that nothing registers it again.
    pub(super) async fn warm_up(&self, first: &FirstRequest) {
        let curve = self.process.settings.warm_up;
        if curve.clock() == WarmUpClock::FirstRequest {
            if self.process.progress.borrow().warming {
                self.process.wait_for("the first request, which starts the warm-up");
            }
            self.announce_start(first.comes().await).await;
        }
        if self.process.progress.borrow().warming {
            self.process.wait_for("the warm-up to end");
            self.process.warmed_up(Instant::now()).await;
            self.process.progress.send_modify(|progress| {
                (progress.warming, progress.waiting_for) = (false, None);
            });
            tracing::info!("warm, and ready");
        }
        pending::<()>().await;
    }

    /// Takes over what operators set on this instance while it runs. Never resolves.
    pub(super) async fn follow_orders(&self) {
        let Some(list) = self.list.get() else { return pending().await };
        let following = ordered::follow(self.process, &self.instance, list.clone());
        #[cfg(feature = "notice")]
        tokio::join!(following, self.announce_key());
        #[cfg(not(feature = "notice"))]
        following.await;
    }

    /// Does what the registry orders. Never resolves.
    pub(super) async fn take_orders(&self) {
        let Some(registry) = self.registry() else { return pending().await };
        loop {
            match registry.ordered(&self.process.settings.service, &self.instance).await {
                Order::Offline { actor } => {
                    tracing::info!(actor, "the registry orders this instance to leave");
                    self.process.asked.go_offline(LeaveCause::Operator);
                }
            }
        }
    }

    async fn announce_start(&self, start: UnixMillis) {
        if self.registry().is_none() {
            return;
        }
        self.process.warm_up_begins(Some(start));
        match self.write_anew(|metadata| metadata).await {
            Ok(()) => {
                tracing::debug!(start = start.as_u64(), "the registry knows that the warm-up has begun");
            }
            Err(error) => {
                tracing::warn!(%error, "the start of the warm-up is not known: consumers send little");
            }
        }
    }

    /// Writes into the registration what notices are proved with, when operators want some: of who sends none
    /// it would make every list longer.
    #[cfg(feature = "notice")]
    async fn announce_key(&self) {
        if self.instance.metadata.get(key::NOTICE_KEY).is_some() {
            return; // It has been there from the start.
        }
        let mut notices = self.process.notices.subscribe();
        while notices.wait_for(|wanted| *wanted).await.is_ok() {
            if let Err(error) = self.write_anew(|metadata| metadata).await {
                tracing::warn!(%error, "the registry does not know the key of notices: nobody will believe them");
            }
            let _ = notices.wait_for(|wanted| !wanted).await; // Fails only as the one above.
        }
    }

    /// Writes into the registration that this instance leaves, and how fast.
    pub(super) async fn announce_leaving(&self, leaving: Leaving) {
        if let Err(error) = self.write_anew(|metadata| metadata.with(key::LEAVING, leaving)).await {
            tracing::warn!(%error, "the registry does not tell that this instance fades: only the answers do");
        }
    }

    /// Registers with all that has been added since the start, and `more`.
    async fn write_anew(&self, more: impl Fn(Metadata) -> Metadata) -> Result<(), naming::Error> {
        let Some(registry) = self.registry() else { return Ok(()) };
        let _writing = self.writing.lock().await;
        let instance = self.warming_since(self.process.warm_up_began.get().copied());
        let metadata = more(instance.metadata.clone());
        #[cfg(feature = "notice")]
        let metadata = if self.process.sends_notices() {
            metadata.with(key::NOTICE_KEY, self.process.settings.notices.secret.key())
        } else {
            metadata
        };
        let instance = instance.with_metadata(metadata);
        self.again_until_ok(|| registry.register(&self.process.settings.service, &instance)).await
    }

    /// What is registered, without what has been added since.
    #[cfg(feature = "notice")]
    pub(super) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Whether [`leave`](Self::leave) is likely to hear which consumers know.
    pub(super) fn hears_of_consumers(&self) -> bool {
        self.registry().is_some_and(Register::hears_of_consumers)
    }

    /// Takes this instance off the list, or gives up: both end within a bound. Says which consumers know.
    pub(super) async fn leave(&self) -> Told {
        let Some(registry) = self.registry() else { return Told::default() };
        let left = registry.leave(&self.process.settings.service, &self.instance.key);
        let instance = self.instance.address();
        match time::timeout(LEAVE_MAX, left).await {
            Ok(Ok(told)) => {
                self.process.note(&ProviderEvent::Deregistered { instance });
                for untold in &told.untold {
                    tracing::warn!(consumer = %untold, "a consumer has not said that it knows");
                }
                return told;
            }
            Ok(Err(error)) => self
                .process
                .note(&ProviderEvent::NotDeregistered { instance, why: format_args!("{}", Causes(&error)) }),
            Err(_) => self.process.note(&ProviderEvent::NotDeregistered {
                instance,
                why: format_args!("no answer within {LEAVE_MAX:?}"),
            }),
        }
        Told::default()
    }

    fn warming_since(&self, start: Option<UnixMillis>) -> Instance {
        let instance = self.instance.clone();
        match start {
            Some(start) => {
                let metadata = instance.metadata.with(key::WARM_UP_START, start);
                instance.with_metadata(metadata)
            }
            None => instance,
        }
    }

    async fn again_until_ok<T, F>(&self, ask: impl Fn() -> F) -> Result<T, naming::Error>
    where
        F: Future<Output = Result<T, naming::Error>>,
    {
        let mut attempt = 0_u32;
        loop {
            let error = match ask().await {
                Ok(answer) => {
                    self.process.progress.send_modify(|progress| progress.error = None);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if !may_change(&error) {
                return Err(error);
            }
            let pause = backoff::delay(attempt, fastrand::f64());
            tracing::warn!(error = %Causes(&error), retry_in = ?pause, "the registry did not do what it was asked");
            self.process.progress.send_modify(|progress| progress.error = Some(Causes(&error).to_string()));
            time::sleep(pause).await;
            attempt = attempt.saturating_add(1);
        }
    }
}

/// Whether the list shows this very process, not one that had its address before.
fn is_listed(list: &Snapshot, instance: &Instance) -> bool {
    list.get(&instance.key).is_some_and(|listed| listed.epoch() == instance.epoch())
}

/// Whether asking again can help; an operator may lift a refusal.
fn may_change(error: &naming::Error) -> bool {
    match error {
        naming::Error::Unavailable { .. } | naming::Error::Refused { .. } => true,
        naming::Error::Invalid { .. } | naming::Error::Closed => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_shows_a_predecessor_does_not_show_this_process() {
        let at = |epoch: u64| {
            let instance = Instance::new("10.0.0.7:8080".parse().unwrap());
            instance.with_metadata(Metadata::from_iter([(key::EPOCH, epoch.to_string())]))
        };
        let list = |instances| Snapshot::new("orders".parse().unwrap(), 1, instances);
        assert!(is_listed(&list(vec![at(2)]), &at(2)));
        assert!(!is_listed(&list(vec![at(1)]), &at(2)));
        assert!(!is_listed(&list(Vec::new()), &at(2)));
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let source = std::io::Error::other("connection refused");
        let error =
            naming::Error::Unavailable { tried: "register".to_owned(), source: std::sync::Arc::new(source) };
        assert_eq!(Causes(&error).to_string(), "the registry is unavailable (register): connection refused");
    }
}
