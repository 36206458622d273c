//! What a provider tells of itself: what it comes to on its way, and how it stands when somebody asks.

use super::FirstRequest;
use super::process::Process;
use crate::model::{Phase, UnixMillis, WarmUpAge, WarmUpClock};
use crate::observe::{Gauge, ProviderEvent, ProviderReading, Reading};
use std::future::pending;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A way out that takes less is nobody's concern.
const HELD_AFTER: Duration = Duration::from_secs(1);
/// The longest distance between two times that it is told what holds it up.
const HELD_EVERY_MAX: Duration = Duration::from_secs(30);
/// Requests that are named then: the oldest say why, and fit in one line.
const HOLDING_MAX: usize = 3;

impl Process {
    /// Traces what has happened, and tells who observes.
    pub(super) fn note(&self, event: &ProviderEvent<'_>) {
        self.witness.provider(self.settings.clock.now(), event);
    }

    /// Tells who has called late since this was done last.
    pub(super) fn tell_late_callers(&self) {
        for caller in self.callers.take_late() {
            self.note(&ProviderEvent::CalledLate { caller: &caller });
        }
    }

    /// Tells which requests the end waits for.
    pub(super) fn tell_what_holds(&self) {
        let names = self.in_flight.names();
        let requests = names.map(|names| names.oldest(Instant::now(), HOLDING_MAX)).unwrap_or_default();
        if !requests.is_empty() {
            self.note(&ProviderEvent::HeldUp { requests: &requests, in_flight: self.in_flight.count() });
        }
    }

    /// Tells what holds up the way out, when it has lasted a second, two, four and so on. Never resolves.
    pub(super) async fn follow_what_holds(&self) {
        let left = self.asked.to_leave().await;
        let mut after = HELD_AFTER;
        while self.drain_took.get().is_none() {
            sleep_until(left + after).await;
            if self.lifecycle.phase() == Phase::Leaving && self.drain_took.get().is_none() {
                self.tell_what_holds();
            }
            after += after.min(HELD_EVERY_MAX);
        }
        pending::<()>().await;
    }

    /// Lets who observes read how this process stands.
    pub(super) fn show_pulse(self: &Arc<Self>) {
        let gauge: Weak<dyn Gauge> = Arc::<Self>::downgrade(self);
        self.witness.follow(gauge);
    }

    /// The clock of the warm-up runs since `start`, if that is known.
    pub(super) fn warm_up_begins(&self, start: Option<UnixMillis>) {
        if let Some(start) = start {
            let _ = self.warm_up_began.set(start); // The first time counts, as it does in the registration.
        }
    }

    /// Resolves when a warm-up that has `begun` is over, by the curve that holds meanwhile.
    pub(super) async fn warmed_up(&self, begun: Instant) {
        let mut curve = self.warm_up.subscribe();
        loop {
            let end = begun + curve.borrow_and_update().window();
            tokio::select! {
                () = sleep_until(end) => return,
                Ok(()) = curve.changed() => {}
            }
        }
    }

    /// Tells that the last request has ended, or was cut; nothing when that has been told, or when this
    /// process has not left.
    pub(super) fn has_drained(&self) {
        let after = self.asked.since().map(|since| since.elapsed());
        let Some(after) = after.filter(|_| self.lifecycle.phase() == Phase::Leaving) else { return };
        if self.drain_took.set(after).is_ok() {
            let abandoned = self.cutting.get().copied().unwrap_or_default();
            self.note(&ProviderEvent::Drained { after, abandoned });
        }
    }
}

impl Gauge for Process {
    fn read(&self) -> Reading {
        let now = self.settings.clock.now();
        let age = self
            .warm_up_began
            .get()
            .map_or(WarmUpAge::NotStarted, |&start| WarmUpAge::Running(now.since(start)));
        let since = self.asked.since();
        let (governed, ungoverned) = self.callers.requests();
        Reading::Provider(ProviderReading {
            governed,
            ungoverned,
            phase: self.lifecycle.phase(),
            in_flight: self.in_flight.count(),
            warm_up: self.warm_up.borrow().factor(age),
            leaving: self.drain_took.get().copied().or_else(|| since.map(|since| since.elapsed())),
        })
    }
}

/// Tells of the warm-up as it goes. Never resolves.
pub(super) async fn follow_warm_up(process: &Process, first: &FirstRequest) {
    let curve = &process.settings.warm_up;
    let (cause, window) = (curve.clock(), curve.window());
    let mut path = None;
    if !window.is_zero() {
        if cause == WarmUpClock::FirstRequest {
            process.warm_up_begins(Some(first.comes().await));
            path = first.path();
        } else if process.settings.registry.is_none() {
            process.lifecycle.reached(Phase::Serving).await;
            process.warm_up_begins(Some(process.settings.clock.now()));
        }
        process.warm_up_began.wait().await;
        process.note(&ProviderEvent::WarmUpStarted { cause, path, window });
        process.warmed_up(Instant::now()).await;
        let window = process.warm_up.borrow().window();
        process.note(&ProviderEvent::WarmUpFinished { window });
    }
    pending::<()>().await;
}

/// Tells when the last request has ended. Never resolves.
pub(super) async fn tell_when_drained(process: &Process) {
    tokio::select! {
        biased;
        () = process.drained() => {}
        () = process.cuts() => {}
    }
    process.has_drained();
    pending::<()>().await;
}
