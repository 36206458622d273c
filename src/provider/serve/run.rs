//! The process around the layers: bind, serve, register, wait, leave, drain, stop.

use super::app::App;
use super::delay::{delay, listen};
use super::error::ServeError;
use super::hooks::{self, Hook};
use super::leave::{fade, lame_duck};
use super::listen::Listen;
use super::listeners::{Doors, Server};
use super::oneself::Oneself;
use super::ports::Ports;
use super::prepare::{Preparation, prepare};
use super::process::{Process, ProviderHandle, ShutdownHandle};
use super::register::{Registration, describe};
use super::report::{Cut, Marks, Report};
use super::settings::{Once, ProviderBuilder, Settings};
use super::signal::Signals;
use super::{GracefulLayer, advertise, pulse, systemd, told};
use crate::model::{Instance, Phase, UnixMillis};
use crate::naming::header::OfflineTag;
use crate::observe::{LeaveCause, ProviderEvent};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{self, Instant, MissedTickBehavior};

/// An application that starts and leaves gracefully.
///
/// It serves at once, but refuses requests (503 with `graceful-refused` and `Retry-After`) until the
/// application is [prepared](ProviderBuilder::register_when) and the registry's own list shows it; only then
/// is it ready. When asked to leave, by SIGTERM, SIGINT, `/offline`
/// or a [`ShutdownHandle`], it
///
/// 1. says so in every answer (`graceful-offline`, on HTTP/1 also `connection: close`), and is not ready;
/// 2. hands its load over bit by bit, where a [fade](ProviderBuilder::leave_fade) is set, and takes its name
///    off the registry's list;
/// 3. goes on serving until no request has come for the quiet period and every recent caller has been told;
/// 4. lets every connection end (GOAWAY on HTTP/2), serves what is still in the port's queue, closes the
///    port;
/// 5. waits for what is under way, connections, upgraded ones and [tasks](ProviderHandle::spawn), and does
///    what was to be done [last](Server::on_stopped), all until the deadline;
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
    preparation: Option<Preparation>,
}

impl Provider {
    /// Settings for a provider of `service`: a name, or `group@@name`.
    pub fn builder(service: &str) -> ProviderBuilder {
        ProviderBuilder::new(Some(service))
    }

    /// Settings for a provider whose service the environment names: `GRACEFUL_SERVICE`, a name or
    /// `group@@name`.
    pub fn builder_from_env() -> ProviderBuilder {
        ProviderBuilder::new(None)
    }

    pub(super) fn new(settings: Settings, preparation: Option<Preparation>) -> Self {
        let epoch = settings.clock.now();
        let process = Arc::new(Process::new(settings));
        process.show_pulse();
        Self { process, epoch, preparation }
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

    /// Serves `app` on `listener` from the first request to the last; returns when all is over. Short for
    /// a [`server`](Self::server) with one listener, and its [`run`](Server::run).
    ///
    /// # Errors
    /// As [`Server::run`].
    ///
    /// # Cancel safety
    /// As [`Server::run`].
    pub async fn serve(self, listener: impl Listen, app: impl App) -> Result<Report, ServeError> {
        self.server().listen(listener, app).run().await
    }

    /// This provider with listeners yet to be named: several, of different kinds, or none.
    pub fn server(self) -> Server {
        Server::new(self)
    }
}

/// The process of `provider` behind `doors`, from the first step to the last.
pub(super) async fn run(provider: Provider, doors: Doors, hooks: Vec<Hook>) -> Result<Report, ServeError> {
    let Provider { ref process, epoch, preparation } = provider;
    let _ends = Ends(process); // However this ends, who waits for the provider learns of it.
    // Before anything that takes time: as process 1 it would not be heard at all until then.
    let signals = process.settings.signals.then(Signals::install).transpose();
    let signals = signals.map_err(ServeError::Signals)?;
    let addresses = doors.addresses().map_err(ServeError::Listener)?;
    let first = addresses.first().copied();
    let ports = Ports::bind(&process.settings, first).await?;
    let instance = instance(&process.settings, first, epoch).await?;
    let fade = process.settings.pace.leave_fade;
    let tag = OfflineTag { fade, ..OfflineTag::new(instance.address().clone(), epoch) };
    let layer = GracefulLayer::new(process.lifecycle.clone(), &tag)
        .with_in_flight(process.in_flight.clone())
        .with_gate(process.settings.gated)
        .with_probes(process.settings.probes.clone())
        .with_warm_up_ignored(process.settings.warm_up_ignored.clone())
        .with_clock(process.settings.clock.clone())
        .with_witness(process.witness.clone());
    ports.announce(process, addresses, instance.clone());

    let registration = Registration::new(process, instance);
    let (oneself, inside) = Oneself::new();
    let inside = preparation.is_some().then_some(inside);
    let life = async {
        let marks = async {
            let start = async {
                let word = watch::Sender::default();
                let begin = async {
                    let began = Instant::now();
                    prepare(process, preparation, oneself).await?;
                    delay(process, began, word.subscribe()).await;
                    Ok::<(), ServeError>(())
                };
                tokio::select! {
                    biased; // What the registry says at once is known before anything is waited for.
                    () = listen(process, registration.follow(), &word) => {}
                    begun = begin => begun?,
                }
                registration.enter().await.map_err(ServeError::Registration)
            };
            let marks = live(process, &registration, &layer, start).await;
            let _ = process.draining.set(()); // Nobody else sets it.
            marks
        };
        let (connections, marks) = tokio::join!(doors.serve(process, &layer, inside), marks);
        let tasks = unfinished_tasks(process).await;
        let hooks = hooks::run(hooks, process).await;
        process.has_drained();
        process.tell_late_callers();
        process.lifecycle.stop();
        let cut_tasks = tasks.len() + hooks.len();
        process.note(&ProviderEvent::Stopped { cut_connections: connections, cut_tasks });
        marks.map(|marks| marks.report(process, Cut { connections, tasks, hooks }))
    };
    let (report, (), ()) =
        tokio::join!(life, ports.serve(process), look_after(process, &registration, &layer, signals));
    report
}

/// What this process is to consumers.
async fn instance(
    settings: &Settings,
    listener: Option<SocketAddr>,
    epoch: UnixMillis,
) -> Result<Instance, ServeError> {
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
    Ok(describe(settings, advertise::address(place)?, epoch))
}

/// From the start to the moment when connections may be told to end.
async fn live(
    process: &Process,
    registration: &Registration<'_>,
    layer: &GracefulLayer,
    start: impl Future<Output = Result<(), ServeError>>,
) -> Result<Marks, ServeError> {
    let mut marks = Marks::begin();
    let asked = &process.asked;
    tokio::select! {
        biased;
        _ = asked.to_leave() => tracing::info!("asked to leave during the start"),
        started = start => {
            started.inspect_err(|_| _ = asked.shut_down(LeaveCause::StartFailed))?;
            let settings = &process.settings;
            let warming = settings.ready_once == Once::Warm && !settings.warm_up.window().is_zero();
            process.progress.send_modify(|progress| progress.warming = warming);
            process.lifecycle.serve();
            process.note(&ProviderEvent::Serving);
            if warming {
                process.note(&ProviderEvent::ReadinessWaits { window: settings.warm_up.window() });
            }
        }
    }
    marks.started = Instant::now();
    tokio::select! {
        biased;
        _ = asked.to_leave() => {}
        () = registration.warm_up(layer.first_request()) => {}
        () = registration.follow_orders() => {}
    }

    marks.left = Instant::now();
    (marks.in_flight_at_signal, marks.begun_at_signal) =
        (process.in_flight.count(), process.in_flight.begun());
    let has_served = process.lifecycle.phase() == Phase::Serving;
    process.lifecycle.leave();
    let cause = asked.cause().unwrap_or(LeaveCause::Handle);
    process.note(&ProviderEvent::Leaving { cause, in_flight: marks.in_flight_at_signal });
    if has_served {
        // Otherwise there is no load to hand over.
        tokio::select! {
            biased;
            () = asked.to_abort() => {}
            () = fade(process, registration) => {}
        }
    }
    marks.faded = Instant::now();
    process.callers.come_late_from_now_on();
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

/// Waits for the tasks, and names those that did not end in time.
async fn unfinished_tasks(process: &Process) -> Vec<String> {
    tokio::select! {
        biased;
        () = process.tasks.idle() => Vec::new(),
        () = process.cuts() => process.tasks.names(),
    }
}

/// Has what is still open cut: at the deadline, or when asked to.
async fn cut_in_time(process: &Process) {
    process.drains().await;
    let deadline = async {
        let told = process.told_to_stop().await;
        time::sleep_until(told + process.settings.pace.ended_within()).await;
    };
    let why = tokio::select! {
        () = deadline => "time is up: cutting",
        () = process.asked.to_abort() => "aborted",
    };
    let in_flight = process.in_flight.count();
    tracing::warn!(in_flight, tasks = ?process.tasks.names(), "{why}");
    process.tell_what_holds();
    let _ = process.cutting.set(in_flight); // Nobody else sets it.
}

/// Passes signals on, and time, until the provider stops.
async fn look_after(
    process: &Process,
    registration: &Registration<'_>,
    layer: &GracefulLayer,
    signals: Option<Signals>,
) {
    let signals = async {
        let Some(mut signals) = signals else { return pending().await };
        loop {
            let name = signals.next().await;
            tracing::info!("{name} received");
            let cause = LeaveCause::Signal(name);
            if !process.asked.shut_down(cause) {
                process.asked.abort(cause);
            }
        }
    };
    let ticks = async {
        let mut ticks = time::interval_at(Instant::now() + told::TICK, told::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            process.callers.tick();
            process.tell_late_callers();
        }
    };
    let cutting = async {
        cut_in_time(process).await;
        pending::<()>().await;
    };
    tokio::select! {
        () = signals => {}
        () = ticks => {}
        () = cutting => {}
        () = systemd::keep_informed(process) => {}
        () = registration.take_orders() => {}
        () = pulse::follow_warm_up(process, layer.first_request()) => {}
        () = pulse::tell_when_drained(process) => {}
        () = process.follow_what_holds() => {}
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
