//! Whether an instance can be connected to, as far as this consumer's own calls tell.
//!
//! A connect that fails puts its instance aside for a wait, which grows with every failure in a row. After
//! each wait exactly one request tries it; when that gets an answer, whatever it says, the instance is used
//! again as if nothing had been. Nothing of this needs a task or a timer: the table that is made without the
//! instance knows when the wait is over, and the next pick claims the trial.
//!
//! Many calls meet the same failure at once. Each carries the [`Verdict`] that it was sent under, and only what
//! speaks of the newest one counts: calls that were under way when an instance failed neither fail it
//! again nor clear it.

use crate::naming::backoff;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What one consumer knows of connections to one incarnation of an instance.
#[derive(Debug, Default)]
pub(super) struct Health {
    verdict: AtomicU32,
    /// Whoever changes it changes the verdict as well, before others can see it.
    failing: Mutex<Option<Failing>>,
}

/// What was held of an instance's health when a call was sent to it. Odd when it was failing, and another
/// number after every change of mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::consumer) struct Verdict(u32);

/// An instance that no connection could be made to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::consumer) struct Failing {
    /// In a row: one for each wait, however many calls it met.
    failures: u32,
    since: Instant,
    /// From then on a request may try it.
    trial_at: Instant,
    /// Whether one does. Should it tell nothing, another one may from `trial_at` on.
    on_trial: bool,
}

impl Failing {
    /// Longest wait after a first failure: an instance that was only busy is missed for no longer.
    const FIRST: Duration = Duration::from_secs(1);

    /// No wait is longer: a trial can cost a request the time of a connect, and so does not come more often
    /// to who has been away for long.
    const LONGEST: Duration = Duration::from_secs(30);

    /// A trial that has told nothing by then is forgotten: its future was dropped, or the answer is slow in
    /// coming. Longer than a connect takes, and a second trial of someone slow does no harm.
    const TRIAL: Duration = Duration::from_secs(10);

    fn first(now: Instant, chance: f64) -> Self {
        Self { failures: 0, since: now, trial_at: now, on_trial: false }.after_another(now, chance)
    }

    /// The same after one more failure; nothing while a wait is on, for that counts once.
    fn failed(self, now: Instant, chance: f64) -> Option<Self> {
        (self.on_trial || now >= self.trial_at).then(|| self.after_another(now, chance))
    }

    fn after_another(self, now: Instant, chance: f64) -> Self {
        let wait = backoff::growing(Self::FIRST, Self::LONGEST, self.failures, chance);
        let failures = self.failures.saturating_add(1);
        Self { failures, trial_at: now + wait, on_trial: false, ..self }
    }

    /// The same with one request under way to try it; nothing while its wait lasts, or while another one is.
    fn tried(self, now: Instant) -> Option<Self> {
        (now >= self.trial_at).then_some(Self { trial_at: now + Self::TRIAL, on_trial: true, ..self })
    }

    /// How many waits it has been given.
    pub(in crate::consumer) fn failures(self) -> u32 {
        self.failures
    }

    /// When the first of them began.
    pub(in crate::consumer) fn since(self) -> Instant {
        self.since
    }

    /// From when on the next request may try it.
    pub(in crate::consumer) fn trial_at(self) -> Instant {
        self.trial_at
    }
}

impl Verdict {
    #[inline]
    pub(super) fn is_failing(self) -> bool {
        self.0 % 2 == 1
    }
}

impl Health {
    #[inline]
    pub(super) fn verdict(&self) -> Verdict {
        Verdict(self.verdict.load(Ordering::Relaxed))
    }

    /// What is held against the instance; nothing, as nearly always, costs no lock.
    pub(super) fn failing(&self) -> Option<Failing> {
        if self.verdict().is_failing() { *self.lock() } else { None }
    }

    /// A call that was sent under `verdict` got no connection; gives what follows when that counts.
    pub(super) fn failed(&self, verdict: Verdict, now: Instant, chance: f64) -> Option<Failing> {
        let mut failing = self.lock();
        if self.verdict() != verdict {
            return None;
        }
        let next = match *failing {
            None => Failing::first(now, chance),
            Some(before) => before.failed(now, chance)?,
        };
        *failing = Some(next);
        self.verdict
            .store(verdict.0.wrapping_add(if verdict.is_failing() { 2 } else { 1 }), Ordering::Relaxed);
        Some(next)
    }

    /// A call that was sent under `verdict` was answered; whether that ends a failure.
    pub(super) fn answered(&self, verdict: Verdict) -> bool {
        let mut failing = self.lock();
        let recovered = verdict.is_failing() && self.verdict() == verdict;
        if recovered {
            *failing = None;
            self.verdict.store(verdict.0.wrapping_add(1), Ordering::Relaxed);
        }
        recovered
    }

    /// Whether whoever asks is to try the instance: one after each wait.
    pub(super) fn claim_trial(&self, now: Instant) -> bool {
        let mut failing = self.lock();
        let tried = failing.and_then(|failing| failing.tried(now));
        *failing = tried.or(*failing);
        tried.is_some()
    }

    /// Ends the wait: something speaks for the instance, but only a trial can tell.
    pub(super) fn end_wait(&self, now: Instant) {
        if let Some(failing) = self.lock().as_mut().filter(|failing| !failing.on_trial) {
            failing.trial_at = failing.trial_at.min(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Failing>> {
        // Nothing in here can panic half-way.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What a call says that is sent and fails at `now`, with the longest of waits.
    fn fail(health: &Health, now: Instant) -> Option<Failing> {
        health.failed(health.verdict(), now, 1.0)
    }

    #[test]
    fn waits_grow_with_every_failure_in_a_row_and_differ_by_chance() {
        let (health, mut now) = (Health::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let failing = fail(&health, now).unwrap();
            assert_eq!(failing.trial_at(), now + seconds * SECOND);
            now = failing.trial_at();
        }
        assert_eq!(health.failing().unwrap().failures(), 7);
        assert!(health.answered(health.verdict()) && health.failing().is_none());
        let least = health.failed(health.verdict(), now, 0.0).unwrap();
        assert_eq!((least.failures(), least.trial_at()), (1, now + SECOND / 2), "it begins anew");
    }

    #[test]
    fn many_calls_that_meet_one_failure_count_once() {
        let (health, now) = (Health::default(), Instant::now());
        let sent = [health.verdict(); 3];
        let news = sent.map(|verdict| health.failed(verdict, now, 1.0).is_some());
        assert_eq!(news, [true, false, false]);
        // However late they are; and those that were sent since, because nobody else is left, wait too.
        assert!(health.failed(sent[2], now + 100 * SECOND, 1.0).is_none());
        assert!(fail(&health, now + SECOND / 2).is_none());
        assert_eq!(health.failing().unwrap().failures(), 1);
        assert_eq!(fail(&health, now + SECOND).unwrap().failures(), 2);
    }

    #[test]
    fn what_was_under_way_when_an_instance_failed_does_not_clear_it() {
        let (health, now) = (Health::default(), Instant::now());
        let before = health.verdict();
        fail(&health, now);
        assert!(!health.answered(before) && health.failing().is_some());
        let during = health.verdict();
        assert!(health.answered(during) && health.failing().is_none());
        assert!(health.failed(during, now, 1.0).is_none(), "nor does it fail it anew when it has recovered");
        assert!(!health.answered(health.verdict()), "a sound one has nothing to recover from");
    }

    #[test]
    fn one_request_after_each_wait_may_try() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(!health.claim_trial(now), "there is nothing to try");
        fail(&health, now);
        assert!(!health.claim_trial(now + SECOND / 2));
        assert!(health.claim_trial(now + SECOND) && !health.claim_trial(now + 2 * SECOND));
        // It fails long before it would be forgotten.
        assert_eq!(fail(&health, now + 2 * SECOND).unwrap().trial_at(), now + 4 * SECOND);
        assert!(!health.claim_trial(now + 3 * SECOND) && health.claim_trial(now + 4 * SECOND));
        // Nothing is heard of that one.
        assert!(!health.claim_trial(now + 13 * SECOND) && health.claim_trial(now + 14 * SECOND));
    }

    #[test]
    fn a_wait_can_be_ended_but_not_a_trial() {
        let (health, now) = (Health::default(), Instant::now());
        health.end_wait(now);
        fail(&health, now);
        health.end_wait(now);
        assert!(health.claim_trial(now));
        health.end_wait(now);
        assert!(!health.claim_trial(now));
    }
}
