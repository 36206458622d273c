//! Where this process stands between start and stop, known to every layer.

use crate::model::Phase;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A shared handle on the [`Phase`] of this process; a clone is the same lifecycle.
///
/// Reading it is one atomic load. It only moves forward, so a step that comes too late changes nothing.
///
/// ```
/// use tower_graceful::{model::Phase, provider::Lifecycle};
/// let lifecycle = Lifecycle::new();
/// assert!(lifecycle.serve());
/// assert!(lifecycle.leave());
/// assert!(!lifecycle.serve(), "who leaves does not serve again");
/// assert_eq!(lifecycle.phase(), Phase::Leaving);
/// ```
#[derive(Clone, Default)]
pub struct Lifecycle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The phase as the layers read it with every request.
    phase: AtomicU8,
    /// When it ceased to serve, having served.
    left: OnceLock<Instant>,
    /// The phase for those who wait; its lock orders the steps.
    steps: watch::Sender<Phase>,
}

impl Lifecycle {
    /// A lifecycle in [`Phase::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.0.phase.load(Ordering::Acquire))]
    }

    /// Lets requests in. Says whether this was a step: it is none once the process leaves.
    pub fn serve(&self) -> bool {
        self.step(Phase::Serving)
    }

    /// Begins to leave: from here on answers say so. Says whether this was a step.
    pub fn leave(&self) -> bool {
        self.step(Phase::Leaving)
    }

    /// Whether it serves, or has served.
    pub(super) fn has_served(&self) -> bool {
        match self.phase() {
            Phase::Starting => false,
            Phase::Serving => true,
            Phase::Leaving | Phase::Stopped => self.0.left.get().is_some(),
        }
    }

    /// How long it has been leaving; nothing before that, and where it never served.
    pub(super) fn leaving_for(&self) -> Option<Duration> {
        self.0.left.get().map(Instant::elapsed)
    }

    /// Ends. Says whether this was a step.
    pub fn stop(&self) -> bool {
        self.step(Phase::Stopped)
    }

    /// The phase as a cell to watch: its present value, and each change. Whoever looks late sees where the
    /// process is, not every step on the way.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use tower_graceful::{model::Phase, provider::Lifecycle};
    /// let lifecycle = Lifecycle::new();
    /// let mut phases = lifecycle.phases();
    /// lifecycle.serve();
    /// phases.changed().await.unwrap();
    /// assert_eq!(*phases.borrow_and_update(), Phase::Serving);
    /// # });
    /// ```
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.0.steps.subscribe()
    }

    /// Waits until the process has come to `phase` or gone past it, and returns where it is then.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn reached(&self, phase: Phase) -> Phase {
        self.phases().wait_for(|now| *now >= phase).await.map_or(Phase::Stopped, |now| *now)
    }

    fn step(&self, next: Phase) -> bool {
        self.0.steps.send_if_modified(|phase| {
            let may = phase.may_become(next);
            if may {
                if *phase == Phase::Serving {
                    self.0.left.get_or_init(Instant::now);
                }
                *phase = next;
                self.0.phase.store(next as u8, Ordering::Release);
            }
            may
        })
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lifecycle").field(&self.phase()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready_eq, task};

    #[test]
    fn a_step_is_seen_by_every_clone_and_happens_once() {
        let lifecycle = Lifecycle::new();
        let clone = lifecycle.clone();
        for (step, phase) in
            [(Lifecycle::serve as fn(&_) -> bool, Phase::Serving), (Lifecycle::leave, Phase::Leaving)]
        {
            assert!(step(&lifecycle));
            assert!(!step(&clone));
            assert_eq!(clone.phase(), phase);
        }
        assert!(clone.stop());
        assert!(!lifecycle.leave());
        assert_eq!(lifecycle.phase(), Phase::Stopped);
    }

    #[test]
    fn who_leaves_during_the_start_has_never_served() {
        let (broken_off, whole, brief) = (Lifecycle::new(), Lifecycle::new(), Lifecycle::new());
        broken_off.leave();
        for lifecycle in [&whole, &brief] {
            assert!(!lifecycle.has_served());
            lifecycle.serve();
            assert!(lifecycle.has_served());
        }
        whole.leave();
        for lifecycle in [&broken_off, &whole, &brief] {
            lifecycle.stop();
        }
        assert_eq!([&broken_off, &whole, &brief].map(Lifecycle::has_served), [false, true, true]);
    }

    #[test]
    fn who_waits_for_a_phase_is_woken_by_it_or_by_one_behind_it() {
        let lifecycle = Lifecycle::new();
        let mut serving = task::spawn(lifecycle.reached(Phase::Serving));
        assert_pending!(serving.poll());
        lifecycle.leave();
        assert!(serving.is_woken());
        assert_ready_eq!(serving.poll(), Phase::Leaving);
        assert_ready_eq!(task::spawn(lifecycle.reached(Phase::Starting)).poll(), Phase::Leaving);
    }
}
