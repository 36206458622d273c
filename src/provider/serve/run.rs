//! The process around the layers: bind, serve, register, wait, leave, drain, stop.

use super::error::ServeError;
use super::leave::lame_duck;
use super::process::{Bound, Process, ProviderHandle, ShutdownHandle};
use super::register::{Registration, describe};
use super::report::Report;
use super::server::Bounds;
use super::settings::{Port, ProviderBuilder, Settings};
use super::signal::Signals;
use super::{GracefulLayer, advertise, manage, server, told};
use crate::model::{Instance, Phase, UnixMillis};
use crate::naming;
use crate::naming::header::OfflineTag;
use axum::Router;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::SetOnce;
use tokio::time::{self, Instant, MissedTickBehavior};
use tower_layer::Layer as _;

/// How long the ports beside the application's may take to end, once it has.
const PORTS_END_MAX: Duration = Duration::from_secs(1);

/// An axum application that starts and leaves gracefully.
///
/// It serves at once, but refuses requests (503 with `graceful-refused` and `Retry-After`) until the
/// registry's own list shows it; only then is it ready. When asked to leave, by SIGTERM, SIGINT, `/offline`
/// or a [`ShutdownHandle`], it
///
/// 1. says so in every answer (`graceful-offline`, on HTTP/1 also `connection: close`), and is not ready;
/// 2. takes its name off the registry's list;
/// 3. goes on serving until no request has come for the quiet period and every recent caller has been told;
/// 4. lets every connection end (GOAWAY on HTTP/2), serves what is still in the port's queue, closes the
///    port;
/// 5. waits for what is under way, until the deadline;
/// 6. cuts what is left, and returns the [`Report`].
///
/// After `/offline` alone it stays after step 3, until a signal. A second signal cuts at once.
///
/// ```no_run
/// use tower_graceful::{model::WarmUp, naming::InProcess, provider::Provider};
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
/// let provider = Provider::builder("orders").registry(InProcess::new()).warm_up(WarmUp::default()).build()?;
/// let report = provider.serve(listener, router).await?;
/// println!("{report}");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Provider {
    process: Arc<Process>,
    epoch: UnixMillis,
}

impl Provider {
    /// Settings for a provider of `service`: a name, or `group@@name`.
    pub fn builder(service: &str) -> ProviderBuilder {
        ProviderBuilder::new(service)
    }

    pub(super) fn new(settings: Settings) -> Self {
        let epoch = settings.clock.now();
        Self { process: Arc::new(Process::new(settings)), epoch }
    }

    #[cfg(test)]
    pub(super) fn into_process(self) -> Arc<Process> {
        self.process
    }

    /// Looks at this provider while it serves.
    pub fn handle(&self) -> ProviderHandle {
        ProviderHandle(self.process.clone())
    }

    /// Ends this provider from code.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle(self.process.clone())
    }

    /// Serves `router` on `listener` from the first request to the last; returns when all is over.
    ///
    /// SIGTERM and SIGINT are this provider's from here on, for the rest of the process, unless it was built
    /// [`without_signals`](ProviderBuilder::without_signals).
    ///
    /// # Errors
    /// When a port is taken or a setting cannot be right here, before anything is registered; or when the
    /// registry says that it will never take this registration. A registry that is away is no error: the
    /// start waits for it, and readiness says so.
    ///
    /// # Cancel safety
    /// Dropping the future cuts every connection and leaves the registration to its lease.
    pub async fn serve(self, listener: TcpListener, router: Router) -> Result<Report, ServeError> {
        // The whole process is a large value, and those who call this hold it in theirs.
        Box::pin(self.run(listener, router)).await
    }

    async fn run(self, listener: TcpListener, router: Router) -> Result<Report, ServeError> {
        let Self { process, epoch } = &self;
        let _ends = Ends(process); // However this ends, who waits for the provider learns of it.
        // Before anything that takes time: as process 1 it would not be heard at all until then.
        let signals = process.settings.signals.then(Signals::install).transpose();
        let signals = signals.map_err(ServeError::Signals)?;
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        let ports = Ports::bind(&process.settings, address).await?;
        let instance = self.instance(address).await?;
        let tag = OfflineTag::new(instance.address().clone(), *epoch);
        let layer = GracefulLayer::new(process.lifecycle.clone(), &tag)
            .with_in_flight(process.in_flight.clone())
            .with_gate(process.settings.gated)
            .with_probes(process.settings.probes.clone())
            .with_clock(process.settings.clock.clone());
        ports.announce(process, address, instance.clone());

        // The layers anew for each connection: what connections share is counted by other cores as well.
        let (drain, probes) = (SetOnce::<()>::new(), &process.settings.probes);
        let connections = server::serve(
            listener,
            Bounds::default(),
            |wire| process.callers.follow(wire, probes.clone(), layer.layer(router.clone())),
            async { () = *drain.wait().await },
            time_is_up(process),
        );
        let registration = Registration::new(process, instance);
        let life = async {
            let (cut, marks) = tokio::join!(connections, async {
                let marks = live(process, &registration, &layer).await;
                let _ = drain.set(()); // Nobody else sets it.
                marks
            });
            process.lifecycle.stop();
            marks.map(|marks| marks.report(process, cut))
        };
        let (report, (), ()) = tokio::join!(life, ports.serve(process), pass_on(process, signals));
        report.map_err(ServeError::Registration)
    }

    async fn instance(&self, listener: SocketAddr) -> Result<Instance, ServeError> {
        let settings = &self.process.settings;
        let registry = settings.registry.as_ref().and_then(|registry| registry.address());
        let place = advertise::Place {
            given: settings.advertise.as_ref(),
            listener,
            registry: match (settings.registry_addr, registry) {
                (None, Some(address)) => advertise::resolve(&address).await,
                (given, _) => given,
            },
            registers: settings.registry.is_some(),
        };
        Ok(describe(settings, advertise::address(place)?, self.epoch))
    }
}

/// From the start to the moment when connections may be told to end.
async fn live(
    process: &Process,
    registration: &Registration<'_>,
    layer: &GracefulLayer,
) -> Result<Marks, naming::Error> {
    let mut marks = Marks::begin();
    let asked = &process.asked;
    tokio::select! {
        biased;
        _ = asked.to_leave() => tracing::info!("asked to leave during the start"),
        entered = registration.enter() => {
            entered.inspect_err(|_| asked.abort())?;
            process.lifecycle.serve();
            tracing::info!(service.name = %process.settings.service, "serving");
        }
    }
    marks.started = Instant::now();
    tokio::select! {
        biased;
        _ = asked.to_leave() => {}
        () = registration.announce_warm_up(layer.first_request()) => {}
    }

    marks.left = Instant::now();
    (marks.in_flight_at_signal, marks.begun_at_signal) =
        (process.in_flight.count(), process.in_flight.begun());
    process.lifecycle.leave();
    tracing::info!(in_flight = marks.in_flight_at_signal, "leaving");
    tokio::select! {
        biased;
        () = asked.to_abort() => {}
        () = lame_duck(process, registration, process.settings.pace.lame_duck_max) => {}
    }
    marks.lame_duck_over = Instant::now();
    marks.untold = process.callers.untold();
    process.progress.send_modify(|progress| progress.lame_duck_is_over = true);
    marks.told_to_stop = process.told_to_stop().await;
    marks.draining = Instant::now();
    tracing::info!(in_flight = process.in_flight.count(), "draining");
    Ok(marks)
}

/// Resolves when what is still open must be cut: at the deadline, or when asked to.
async fn time_is_up(process: &Process) {
    let deadline = async {
        let told = process.told_to_stop().await;
        time::sleep_until(told + process.settings.pace.drain_timeout).await;
    };
    tokio::select! {
        () = deadline => tracing::warn!(in_flight = process.in_flight.count(), "time is up: cutting"),
        () = process.asked.to_abort() => tracing::warn!(in_flight = process.in_flight.count(), "aborted"),
    }
}

/// Passes signals on, and time, until the provider stops.
async fn pass_on(process: &Process, signals: Option<Signals>) {
    let signals = async {
        let Some(mut signals) = signals else { return pending().await };
        loop {
            let name = signals.next().await;
            tracing::info!("{name} received");
            if !process.asked.shut_down() {
                process.asked.abort();
            }
        }
    };
    let ticks = async {
        let mut ticks = time::interval_at(Instant::now() + told::TICK, told::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            process.callers.tick();
        }
    };
    tokio::select! {
        () = signals => {}
        () = ticks => {}
        _ = process.lifecycle.reached(Phase::Stopped) => {}
    }
}

/// Says that the provider has stopped when it goes out of scope.
struct Ends<'a>(&'a Process);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lifecycle.stop();
    }
}

/// The ports beside the application's.
struct Ports {
    readiness: Option<TcpListener>,
    offline: Option<TcpListener>,
}

impl Ports {
    async fn bind(settings: &Settings, application: SocketAddr) -> Result<Self, ServeError> {
        Ok(Self {
            readiness: bind("readiness_bind", settings.readiness, application).await?,
            offline: bind("offline_bind", settings.offline, application).await?,
        })
    }

    fn announce(&self, process: &Process, address: SocketAddr, instance: Instance) {
        let at = |port: &Option<TcpListener>| port.as_ref().and_then(|port| port.local_addr().ok());
        let (readiness, offline) = (at(&self.readiness), at(&self.offline));
        tracing::info!(%address, ?readiness, ?offline, instance = %instance.address(), "bound");
        let bound = Bound { address, readiness, offline, instance };
        process.progress.send_modify(|progress| progress.bound = Some(bound));
    }

    async fn serve(self, process: &Arc<Process>) {
        let readiness = serve_port(self.readiness, manage::readiness_routes(process.clone()), process);
        let offline = serve_port(self.offline, manage::offline_routes(process.clone()), process);
        tokio::join!(readiness, offline);
    }
}

async fn bind(
    setting: &'static str,
    port: Port,
    application: SocketAddr,
) -> Result<Option<TcpListener>, ServeError> {
    let address = match port {
        Port::Off => return Ok(None),
        Port::At(address) => address,
        Port::Beside(port) => SocketAddr::new(application.ip(), port),
    };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|source| ServeError::Bind { setting, address, source })
}

async fn serve_port(listener: Option<TcpListener>, routes: Router, process: &Process) {
    let Some(listener) = listener else { return };
    let stopped = async { _ = process.lifecycle.reached(Phase::Stopped).await };
    let cut = async { time::sleep(PORTS_END_MAX).await }; // Counts from its first poll: the stop.
    server::serve(listener, Bounds::default(), |_| routes.clone(), stopped, cut).await;
}

/// When what happened.
#[derive(Debug)]
struct Marks {
    began: Instant,
    started: Instant,
    left: Instant,
    lame_duck_over: Instant,
    told_to_stop: Instant,
    draining: Instant,
    in_flight_at_signal: u64,
    begun_at_signal: u64,
    untold: usize,
}

impl Marks {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            started: now,
            left: now,
            lame_duck_over: now,
            told_to_stop: now,
            draining: now,
            in_flight_at_signal: 0,
            begun_at_signal: 0,
            untold: 0,
        }
    }

    fn report(&self, process: &Process, cut: usize) -> Report {
        let ended = Instant::now();
        let report = Report {
            starting: self.started - self.began,
            serving: self.left - self.started,
            lame_duck: self.lame_duck_over - self.left,
            draining: ended - self.draining,
            drain_time: ended - self.told_to_stop,
            in_flight_at_signal: self.in_flight_at_signal,
            requests_after_signal: process.in_flight.begun() - self.begun_at_signal,
            untold_callers: self.untold,
            cut_connections: cut,
        };
        tracing::info!("stopped: {report}");
        report
    }
}
