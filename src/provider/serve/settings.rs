//! What a provider can be told, checked once before anything starts.

mod check;
mod environment;
mod pace;
mod span;
mod token;

pub(super) use pace::Pace;
pub(super) use token::Token;

use super::error::InvalidSetting;
use super::oneself::Oneself;
use super::prepare::Preparation;
use super::{ProbePaths, Provider};
use crate::Clock;
use crate::model::{Address, Cluster, Metadata, ServiceKey, WarmUp, Weight};
#[cfg(feature = "notice")]
use crate::naming::notice::NoticeSecret;
use crate::naming::{BoxError, Naming};
#[cfg(feature = "metrics")]
use crate::observe::Metrics;
use crate::observe::{Observer, Observers};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How a [`Provider`] is told what to do; made by [`Provider::builder`].
///
/// What is not given here is taken from the environment where a variable is named, and is the default
/// otherwise.
///
/// ```
/// use tower_graceful::{model::WarmUp, naming::InProcess, provider::Provider};
/// let provider = Provider::builder("orders")
///     .registry(InProcess::new())
///     .warm_up(WarmUp::default())
///     .metadata("zone", "a")
///     .readiness_bind(([127, 0, 0, 1], 0).into())
///     .build()?;
/// # Ok::<(), tower_graceful::provider::InvalidSetting>(())
/// ```
#[derive(Debug)]
#[must_use = "`build` makes the provider"]
pub struct ProviderBuilder {
    service: Option<String>,
    namespace: Option<String>,
    group: Option<String>,
    cluster: Option<String>,
    weight: Option<f64>,
    metadata: Vec<(String, String)>,
    warm_up: Option<WarmUp>,
    registry: Option<Arc<dyn Naming>>,
    registry_addr: Option<SocketAddr>,
    advertise: Option<Address>,
    readiness: Option<Port>,
    offline: Option<Port>,
    offline_token: Option<String>,
    #[cfg(feature = "metrics")]
    metrics: Option<Metrics>,
    #[cfg(feature = "metrics")]
    metrics_bind: Option<SocketAddr>,
    observers: Observers,
    exit_after_offline: Option<bool>,
    signals: bool,
    gated: Option<bool>,
    register_after: Option<Duration>,
    preparation: Option<Preparation>,
    ready_after_warm_up: Option<bool>,
    notice: Option<bool>,
    probes: ProbePaths,
    warm_up_ignored: Vec<String>,
    quiet_period: Option<Duration>,
    lame_duck_max: Option<Duration>,
    drain_timeout: Option<Duration>,
    leave_fade: Option<Duration>,
    cache_time: Option<Duration>,
    clock: Clock,
}

/// Where a port of ours is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Off,
    At(SocketAddr),
    /// On the address of the application.
    Beside(u16),
}

/// What an instance has to be to count as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Once {
    Listed,
    Warm,
}

/// How recent callers are told that this instance leaves.
#[cfg(feature = "notice")]
#[derive(Clone, Debug)]
pub(super) struct Notices {
    /// Whether they are, unless operators have it otherwise.
    pub(super) wanted: bool,
    /// What this instance proves with that a notice is its own.
    pub(super) secret: NoticeSecret,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) service: ServiceKey,
    pub(super) cluster: Cluster,
    pub(super) weight: Weight,
    pub(super) metadata: Metadata,
    pub(super) warm_up: WarmUp,
    pub(super) registry: Option<Arc<dyn Naming>>,
    pub(super) registry_addr: Option<SocketAddr>,
    pub(super) advertise: Option<Address>,
    pub(super) readiness: Port,
    pub(super) offline: Port,
    pub(super) offline_token: Option<Token>,
    #[cfg(feature = "metrics")]
    pub(super) metrics: Option<Metrics>,
    /// Off where metrics have no port of their own: kept they may be all the same.
    pub(super) metrics_port: Port,
    pub(super) observers: Observers,
    pub(super) exit_after_offline: bool,
    pub(super) signals: bool,
    pub(super) gated: bool,
    pub(super) register_after: Duration,
    pub(super) ready_once: Once,
    #[cfg(feature = "notice")]
    pub(super) notices: Notices,
    pub(super) probes: ProbePaths,
    /// These and what is ignored by the warm-up alone.
    pub(super) warm_up_ignored: ProbePaths,
    pub(super) pace: Pace,
    pub(super) clock: Clock,
}

impl ProviderBuilder {
    pub(super) fn new(service: Option<&str>) -> Self {
        Self {
            service: service.map(str::to_owned),
            namespace: None,
            group: None,
            cluster: None,
            weight: None,
            metadata: Vec::new(),
            warm_up: None,
            registry: None,
            registry_addr: None,
            advertise: None,
            readiness: None,
            offline: None,
            offline_token: None,
            #[cfg(feature = "metrics")]
            metrics: None,
            #[cfg(feature = "metrics")]
            metrics_bind: None,
            observers: Observers::default(),
            exit_after_offline: None,
            signals: true,
            gated: None,
            register_after: None,
            preparation: None,
            ready_after_warm_up: None,
            notice: None,
            probes: ProbePaths::default(),
            warm_up_ignored: Vec::new(),
            quiet_period: None,
            lame_duck_max: None,
            drain_timeout: None,
            leave_fade: None,
            cache_time: None,
            clock: Clock::system(),
        }
    }

    /// Where this instance registers, and looks whether it is listed. Without one the process serves at
    /// once, and has nothing to take back when it leaves.
    pub fn registry(self, registry: impl Naming) -> Self {
        Self { registry: Some(Arc::new(registry)), ..self }
    }

    /// Address to which a route decides what is advertised for a listener on all addresses. Default: where
    /// the registry says that it is.
    pub fn registry_addr(self, address: SocketAddr) -> Self {
        Self { registry_addr: Some(address), ..self }
    }

    /// Address under which consumers reach this instance. Default: `GRACEFUL_ADVERTISE`, else the
    /// listener's address, for `0.0.0.0` and `[::]` the source address of the route to
    /// [`registry_addr`](Self::registry_addr).
    pub fn advertise(self, address: impl Into<Address>) -> Self {
        Self { advertise: Some(address.into()), ..self }
    }

    /// Namespace of the service. Default `GRACEFUL_NAMESPACE`, else `public`.
    pub fn namespace(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Group of the service. Default `GRACEFUL_GROUP`, else that of the service's name, else `DEFAULT_GROUP`.
    pub fn group(self, group: &str) -> Self {
        Self { group: Some(group.to_owned()), ..self }
    }

    /// Cluster of this instance. Default `GRACEFUL_CLUSTER`, else `DEFAULT`.
    pub fn cluster(self, cluster: &str) -> Self {
        Self { cluster: Some(cluster.to_owned()), ..self }
    }

    /// Registered weight, finite and not negative. Default `GRACEFUL_WEIGHT`, else 1.
    pub fn weight(self, weight: f64) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// One more word of the registration; keys that begin with `graceful.` are ours.
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How consumers ramp this instance. Default: [`WarmUp::default`], with what `GRACEFUL_WARMUP_SECONDS`,
    /// `GRACEFUL_WARMUP_EXPONENT`, `GRACEFUL_WARMUP_FLOOR` and `GRACEFUL_WARMUP_CLOCK` say.
    pub fn warm_up(self, warm_up: WarmUp) -> Self {
        Self { warm_up: Some(warm_up), ..self }
    }

    /// Whether requests are refused until this instance is listed. Default `GRACEFUL_GATE`, else true.
    pub fn gate(self, gated: bool) -> Self {
        Self { gated: Some(gated), ..self }
    }

    /// How long to wait before the registration, counted from the start. 0 s to 10 min; default
    /// `GRACEFUL_REGISTER_AFTER` (seconds), else 0 s. What an operator says of the service (`graceful.delay`, in
    /// this crate's registry) counts in place of it, until this instance registers.
    pub fn register_after(self, delay: Duration) -> Self {
        Self { register_after: Some(delay), ..self }
    }

    /// What must have been done before the registration: load caches, or call [`Oneself`] until warm, which
    /// is the best cure for a cold start. It begins once everything is bound; meanwhile requests are refused
    /// and readiness says what it waits for. When it fails, or panics, the provider does not serve; when the
    /// process is asked to leave meanwhile, it is dropped. With
    /// [`register_after`](Self::register_after) both must be over. Given again, the last one counts.
    ///
    /// ```
    /// use tower_graceful::provider::{Oneself, Provider};
    /// # async fn load_caches() -> std::io::Result<()> { Ok(()) }
    /// // Calls itself until answers come no faster:
    /// let provider = Provider::builder("orders")
    ///     .register_when(async |oneself: Oneself| oneself.until_warm("/orders/7").await)
    ///     .build()?;
    /// // Or any future of the application's:
    /// let provider = Provider::builder("orders").register_when(|_| load_caches()).build()?;
    /// let (loaded, has_loaded) = tokio::sync::oneshot::channel::<()>();
    /// let provider = Provider::builder("orders").register_when(|_| has_loaded).build()?;
    /// # Ok::<(), tower_graceful::provider::InvalidSetting>(())
    /// ```
    pub fn register_when<F, T, E>(self, prepare: impl FnOnce(Oneself) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self { preparation: Some(Preparation::new(prepare)), ..self }
    }

    /// Whether this instance is ready once its warm-up is over; default `GRACEFUL_READY_AFTER_WARMUP`, else
    /// false: it is ready once it is listed. Consumers that follow the registry call it all the same, which
    /// is what warms it; a rollout that waits for readiness then waits for warm instances. An instance that
    /// nobody calls warms up only by the clock [`WarmUpClock::Registration`](crate::model::WarmUpClock).
    pub fn ready_after_warm_up(self, waits: bool) -> Self {
        Self { ready_after_warm_up: Some(waits), ..self }
    }

    /// The paths on the application's own port that are no real requests. Default [`ProbePaths::default`].
    pub fn probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    /// One more path that does not start the warm-up, compared exactly; in everything else it is a request
    /// like any other. The [`probes`](Self::probes) never do. Those of `GRACEFUL_WARMUP_IGNORED_PATHS` come
    /// on top: a list with commas, or where that is not set, of
    /// `profile_micro_service_record_warmup_ignored_path`.
    pub fn warm_up_ignores(mut self, path: &str) -> Self {
        self.warm_up_ignored.push(path.to_owned());
        self
    }

    /// Where `/readiness`, `/health` and `/livez` are; port 0 takes any. Default:
    /// `GRACEFUL_READINESS_BIND` (or `off`), else port 55199 on the application's address, because probes come from
    /// outside.
    pub fn readiness_bind(self, address: SocketAddr) -> Self {
        Self { readiness: Some(Port::At(address)), ..self }
    }

    /// No readiness port.
    pub fn without_readiness(self) -> Self {
        Self { readiness: Some(Port::Off), ..self }
    }

    /// Where `/offline` is; port 0 takes any. Default: `GRACEFUL_OFFLINE_BIND` (or `off`), else
    /// 127.0.0.1:54199.
    /// Anything but loopback needs an [`offline_token`](Self::offline_token).
    pub fn offline_bind(self, address: SocketAddr) -> Self {
        Self { offline: Some(Port::At(address)), ..self }
    }

    /// No offline port.
    pub fn without_offline(self) -> Self {
        Self { offline: Some(Port::Off), ..self }
    }

    /// What `/offline` asks for as `Authorization: Bearer TOKEN`: at least 16 characters. Default
    /// `GRACEFUL_OFFLINE_TOKEN`, else none.
    pub fn offline_token(self, token: &str) -> Self {
        Self { offline_token: Some(token.to_owned()), ..self }
    }

    /// Keeps `metrics` of this provider, and answers `GET /metrics` with them: beside `/offline`, on its port
    /// and to those whom it lets in, unless [`metrics_bind`](Self::metrics_bind) says otherwise.
    ///
    /// ```
    /// use tower_graceful::{observe::Metrics, provider::Provider};
    /// let provider = Provider::builder("orders").metrics(Metrics::alone()).build()?;
    /// # Ok::<(), tower_graceful::provider::InvalidSetting>(())
    /// ```
    #[cfg(feature = "metrics")]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Where `/metrics` is, on a port of its own and for everyone who reaches it; port 0 takes any. Where no
    /// [`metrics`](Self::metrics) are given, this asks for [`Metrics::global`]. Default:
    /// `GRACEFUL_METRICS_BIND`, else beside `/offline`.
    #[cfg(feature = "metrics")]
    pub fn metrics_bind(self, address: SocketAddr) -> Self {
        Self { metrics_bind: Some(address), ..self }
    }

    /// Tells `observer` what happens. Called again, all are told.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self { observers: self.observers.and(observer), ..self }
    }

    /// Whether `/offline` ends the process once it has drained. Default `GRACEFUL_EXIT_AFTER_OFFLINE`, else
    /// false: it stays until a signal, because what watches processes would start it again.
    pub fn exit_after_offline(self, exits: bool) -> Self {
        Self { exit_after_offline: Some(exits), ..self }
    }

    /// Leaves signals alone, for a process that has other things to end: only `/offline` and a
    /// [`ShutdownHandle`](super::ShutdownHandle) end the provider. By default SIGTERM and SIGINT do.
    pub fn without_signals(self) -> Self {
        Self { signals: false, ..self }
    }

    /// How long no request may have begun before traffic counts as gone. 10 ms to 60 s and less than
    /// [`lame_duck_max`](Self::lame_duck_max), unless that is 0; default `GRACEFUL_QUIET_PERIOD` (seconds),
    /// else 500 ms.
    pub fn quiet_period(self, period: Duration) -> Self {
        Self { quiet_period: Some(period), ..self }
    }

    /// How long to go on serving while consumers learn that this instance leaves. 0 s to 10 min and less
    /// than [`drain_timeout`](Self::drain_timeout); default `GRACEFUL_LAME_DUCK_MAX` (seconds), else 10 s.
    /// With less than the default [`quiet_period`](Self::quiet_period) it always takes this long.
    pub fn lame_duck_max(self, limit: Duration) -> Self {
        Self { lame_duck_max: Some(limit), ..self }
    }

    /// When all is over, counted from the first signal or the end of the [fade](Self::leave_fade). 100 ms to
    /// 1 h, and with the fade less than `GRACEFUL_GRACE_PERIOD` (seconds) where that is set; default `GRACEFUL_DRAIN_TIMEOUT` (seconds), else
    /// 25 s, Kubernetes giving 30.
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        Self { drain_timeout: Some(timeout), ..self }
    }

    /// Over how long this instance hands its load over before it leaves the registry's list: it announces
    /// that it leaves, and goes on serving while consumers choose it less and less. It is not ready
    /// meanwhile, and adds to all other times. 0 s to 10 min in whole seconds; default `GRACEFUL_LEAVE_FADE`
    /// (seconds), else 0 s: consumers turn away at once.
    ///
    /// What is cached for each caller, or warmed up slowly elsewhere, is a reason for a fade.
    pub fn leave_fade(self, fade: Duration) -> Self {
        Self { leave_fade: Some(fade), ..self }
    }

    /// Whether recent callers that take notices (consumers with `Notices`) are told in a message of their own
    /// that this instance leaves, so that those that call rarely know as well. Default `GRACEFUL_NOTICE`,
    /// else false. Its registration says so, with the hash of a secret that the notices reveal.
    #[cfg(feature = "notice")]
    pub fn notice(self, sends: bool) -> Self {
        Self { notice: Some(sends), ..self }
    }

    /// For how long a consumer may use an old list: callers of this last while must have been told before
    /// the process goes. 0 s to 10 min; default `GRACEFUL_CACHE_TIME` (seconds), else 30 s.
    pub fn cache_time(self, time: Duration) -> Self {
        Self { cache_time: Some(time), ..self }
    }

    /// The wall clock, for tests. Default the system's.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Checks the settings and reads the environment. Nothing is bound and nothing runs yet.
    ///
    /// # Errors
    /// When a setting is not valid; the error names it and says what is accepted.
    pub fn build(mut self) -> Result<Provider, InvalidSetting> {
        let preparation = self.preparation.take();
        // What is not Unicode is refused by its name, not passed over.
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Ok(Provider::new(self.check(variable)?, preparation))
    }
}

#[cfg(test)]
mod tests;
