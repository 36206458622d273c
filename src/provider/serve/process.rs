//! What the parts of one provider share: what it was told to do, where it stands, what it has been asked.

use super::settings::Settings;
use super::told::Callers;
use super::{InFlight, Lifecycle, Tasks};
use crate::model::{Instance, Phase, UnixMillis, WarmUp};
use crate::observe::{LeaveCause, Role, Witness};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{SetOnce, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// One provider, from its builder to its end.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) settings: Settings,
    pub(super) lifecycle: Lifecycle,
    pub(super) in_flight: InFlight,
    pub(super) callers: Callers,
    pub(super) tasks: Tasks,
    pub(super) asked: Asked,
    pub(super) progress: watch::Sender<Progress>,
    /// Set when connections are told to end.
    pub(super) draining: SetOnce<()>,
    /// Set when what has not ended is cut, to the number of requests that are under way.
    pub(super) cutting: SetOnce<u64>,
    pub(super) witness: Witness,
    /// Set when the warm-up begins.
    pub(super) warm_up_began: SetOnce<UnixMillis>,
    /// The curve that holds: this process's own, unless operators have set another one.
    pub(super) warm_up: watch::Sender<WarmUp>,
    /// Whether recent callers are sent notices: by this process's own setting, unless operators have set
    /// another one.
    #[cfg(feature = "notice")]
    pub(super) notices: watch::Sender<bool>,
    /// Set when the last request has ended or was cut, to how long that took.
    pub(super) drain_took: SetOnce<Duration>,
}

/// What a person wants to know of a provider beyond its phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// What the start waits for; nothing once it has come.
    pub(super) waiting_for: Option<&'static str>,
    /// Why it has not come yet.
    pub(super) error: Option<String>,
    /// Absent until everything is bound.
    pub(super) bound: Option<Bound>,
    /// Whether readiness waits for the warm-up, which is not over.
    pub(super) warming: bool,
    /// Whether consumers have had their time to turn away.
    pub(super) lame_duck_is_over: bool,
}

/// Where a provider has come to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bound {
    /// Where the application listens, in the order of its listeners; a Unix socket has no such address.
    pub addresses: Vec<SocketAddr>,
    /// Where `/readiness` is, unless it is turned off.
    pub readiness: Option<SocketAddr>,
    /// Where `/offline` is, unless it is turned off.
    pub offline: Option<SocketAddr>,
    /// Where `/metrics` is, if it is anywhere.
    pub metrics: Option<SocketAddr>,
    /// What is registered, or would be.
    pub instance: Instance,
}

impl Bound {
    /// Where the application listens: the first of its addresses, which is also what is advertised unless
    /// a setting says otherwise.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }
}

/// What a provider has been asked, each at most once; who comes late still learns of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    offline: SetOnce<(Instant, LeaveCause)>,
    shutdown: SetOnce<(Instant, LeaveCause)>,
    abort: SetOnce<()>,
}

impl Process {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            lifecycle: Lifecycle::new(),
            in_flight: InFlight::named(),
            callers: Callers::new(settings.pace.cache_time),
            tasks: Tasks::new(),
            asked: Asked::default(),
            progress: watch::Sender::default(),
            draining: SetOnce::new(),
            cutting: SetOnce::new(),
            witness: Witness::new(Role::Provider, &settings.service, &settings.observers),
            warm_up_began: SetOnce::new(),
            warm_up: watch::Sender::new(settings.warm_up),
            #[cfg(feature = "notice")]
            notices: watch::Sender::new(settings.notices.wanted),
            drain_took: SetOnce::new(),
            settings,
        }
    }

    /// Resolves when the process has been asked to end, and says when that was.
    pub(super) async fn told_to_stop(&self) -> Instant {
        if self.settings.exit_after_offline {
            self.asked.to_leave().await
        } else {
            self.asked.shutdown.wait().await.0
        }
    }

    /// Says what the start waits for from here on.
    pub(super) fn wait_for(&self, what: &'static str) {
        tracing::debug!("waiting for {what}");
        self.progress.send_modify(|progress| {
            progress.waiting_for = Some(what);
            progress.error = None;
        });
    }

    /// Whether whoever asks for readiness may send requests.
    pub(super) fn is_ready(&self) -> bool {
        self.lifecycle.phase() == Phase::Serving && !self.progress.borrow().warming
    }

    /// Resolves when whoever asks for readiness may send requests, or never will again.
    pub(super) async fn settled(&self) {
        self.lifecycle.reached(Phase::Serving).await;
        let mut progress = self.progress.subscribe();
        tokio::select! {
            // Refused only when the sender is gone, which lives in `self`.
            _ = progress.wait_for(|progress| !progress.warming) => {}
            _ = self.lifecycle.reached(Phase::Leaving) => {}
        }
    }

    /// Whether recent callers are told by a notice that this instance leaves.
    #[cfg(feature = "notice")]
    pub(super) fn sends_notices(&self) -> bool {
        *self.notices.borrow()
    }

    /// Resolves when connections are to end.
    pub(super) async fn drains(&self) {
        self.draining.wait().await;
    }

    /// Resolves when what has not ended is cut.
    pub(super) async fn cuts(&self) {
        self.cutting.wait().await;
    }

    /// Waits until consumers have had their time, and the last request has been answered.
    pub(super) async fn drained(&self) {
        let mut progress = self.progress.subscribe();
        // Refused only when the sender is gone, which lives in `self`.
        let _ = progress.wait_for(|progress| progress.lame_duck_is_over).await;
        self.in_flight.idle().await;
    }
}

impl Asked {
    /// Leave the registry's list, and stay.
    pub(super) fn go_offline(&self, cause: LeaveCause) {
        let _ = self.offline.set((Instant::now(), cause)); // The first time counts.
    }

    /// Leave and end. Says whether this was the first time.
    pub(super) fn shut_down(&self, cause: LeaveCause) -> bool {
        self.shutdown.set((Instant::now(), cause)).is_ok()
    }

    /// End at once.
    pub(super) fn abort(&self, cause: LeaveCause) {
        self.shut_down(cause);
        let _ = self.abort.set(()); // Once is enough.
    }

    /// Resolves when there is reason to leave, and says since when.
    pub(super) async fn to_leave(&self) -> Instant {
        let asked = tokio::select! {
            asked = self.offline.wait() => asked.0,
            asked = self.shutdown.wait() => asked.0,
        };
        self.since().unwrap_or(asked)
    }

    /// When leaving began to be asked for; nothing before.
    pub(super) fn since(&self) -> Option<Instant> {
        self.first().map(|(asked, _)| asked)
    }

    /// What asked for it first.
    pub(super) fn cause(&self) -> Option<LeaveCause> {
        self.first().map(|(_, cause)| cause)
    }

    fn first(&self) -> Option<(Instant, LeaveCause)> {
        let both = [self.offline.get().copied(), self.shutdown.get().copied()];
        both.into_iter().flatten().min_by_key(|(asked, _)| *asked)
    }

    /// Resolves when there is no more time.
    pub(super) async fn to_abort(&self) {
        self.abort.wait().await;
    }
}

/// Looks at a [`Provider`](super::Provider) from outside while it serves; a clone looks at the same one.
#[derive(Clone, Debug)]
pub struct ProviderHandle(pub(super) Arc<Process>);

impl ProviderHandle {
    /// The present phase.
    pub fn phase(&self) -> Phase {
        self.0.lifecycle.phase()
    }

    /// Waits until the provider has come to `phase` or gone past it, and returns where it is then.
    pub async fn reached(&self, phase: Phase) -> Phase {
        self.0.lifecycle.reached(phase).await
    }

    /// The lifecycle of the provider. It steps by itself; to end it there is
    /// [`ShutdownHandle`].
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.0.lifecycle
    }

    /// Requests under way, without probes.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.count()
    }

    /// What is waited for at the end, after the connections and like them until the deadline.
    pub fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Runs `future` as a task that is waited for at the end: work that must be finished even when the
    /// caller that asked for it has given up, and its handler is dropped. What does not end by itself looks
    /// at [`draining`](Self::draining).
    ///
    /// What is still under way at the deadline is named in the [`Report`](super::Report) with this `name`,
    /// and left to the end of the process.
    ///
    /// ```
    /// # use tower_graceful::provider::ProviderHandle;
    /// # fn handler(provider: &ProviderHandle) {
    /// provider.spawn("charge order 7", async { /* .. */ });
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn<F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        tokio::spawn(self.0.tasks.track(name, future))
    }

    /// Waits until connections are told to end: consumers have had their time to turn away. What does not
    /// end by itself, a WebSocket or a stream of events, is to end now, or is cut at the deadline and counted
    /// in the [`Report`](super::Report). `examples/long_lived.rs` has one of each kind.
    ///
    /// ```
    /// use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
    /// # use tower_graceful::provider::ProviderHandle;
    /// async fn talk(mut socket: WebSocket, provider: ProviderHandle) -> Result<(), axum::Error> {
    ///     provider.draining().await; // Beside whatever it talks about.
    ///     let goodbye = CloseFrame { code: close_code::AWAY, reason: "".into() }; // 1001: going away.
    ///     socket.send(Message::Close(Some(goodbye))).await
    /// }
    /// ```
    pub async fn draining(&self) {
        self.0.drains().await;
    }

    /// Waits until all ports are bound, and says where; nothing when the provider ended before.
    pub async fn bound(&self) -> Option<Bound> {
        let mut progress = self.0.progress.subscribe();
        tokio::select! {
            biased;
            progress = progress.wait_for(|progress| progress.bound.is_some()) => progress.ok()?.bound.clone(),
            _ = self.0.lifecycle.reached(Phase::Stopped) => None,
        }
    }
}

/// Ends a [`Provider`](super::Provider) from code, as signals do from outside; a clone ends the same one.
#[derive(Clone, Debug)]
pub struct ShutdownHandle(pub(super) Arc<Process>);

impl ShutdownHandle {
    /// As the first signal: leave, drain, end. Asked again, it changes nothing.
    pub fn shut_down(&self) {
        self.0.asked.shut_down(LeaveCause::Handle);
    }

    /// As a second signal: cut what is open, and end at once.
    pub fn abort(&self) {
        self.0.asked.abort(LeaveCause::Handle);
    }
}
