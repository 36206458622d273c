//! What is counted in a cell: requests where they are sent, executions where they happen.

use super::common::line::{Executed, Outcome};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tower_graceful::Clock;
use tower_graceful::model::UnixMillis;

/// Everything that was counted.
#[derive(Debug, Default)]
pub struct Book {
    /// What became of the requests of the steady load.
    pub steady: Vec<Outcome>,
    /// And of those of the rare callers.
    pub rare: Vec<Outcome>,
    /// Every provider, in the order of their start.
    pub providers: Vec<Life>,
}

/// A provider's life, as far as a release is concerned.
#[derive(Debug, Default)]
pub struct Life {
    /// Every execution: the request's id, and when it reached the handler.
    pub executions: Vec<(String, UnixMillis)>,
    /// When it was told to go: by a signal, or by `/offline`.
    pub told: Option<UnixMillis>,
    /// When its process was gone.
    pub exited: Option<UnixMillis>,
}

impl Book {
    /// All requests, whoever sent them.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.steady.iter().chain(&self.rare)
    }

    /// How many requests were executed more than once, and how many were answered though nobody executed
    /// them: the second would mean that the counting is wrong.
    pub fn miscounted(&self) -> (usize, usize) {
        let mut counts = HashMap::<&str, u32>::new();
        for (id, _) in self.providers.iter().flat_map(|life| &life.executions) {
            *counts.entry(id).or_default() += 1;
        }
        let answered = self.outcomes().filter(|outcome| outcome.lost.is_none());
        let unexecuted = answered.filter(|outcome| !counts.contains_key(outcome.id.as_str())).count();
        (counts.values().filter(|count| **count > 1).count(), unexecuted)
    }

    /// From being told to go to the exit, of each provider that was, shortest first.
    pub fn drains(&self) -> Vec<Duration> {
        let drains = self.providers.iter().filter_map(|life| Some(life.exited?.since(life.told?)));
        let mut drains: Vec<_> = drains.collect();
        drains.sort_unstable();
        drains
    }

    /// How long after being told to go a provider got its last request, at most; zero when none did.
    pub fn last_after_signal(&self) -> Duration {
        let last = self.providers.iter().filter_map(|life| {
            let last = life.executions.iter().map(|(_, at)| *at).max()?;
            Some(last.since(life.told?))
        });
        last.max().unwrap_or_default()
    }
}

/// A book that several tasks write; a clone shares it.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<Book>>);

impl Tally {
    /// The book as it stands; held for a moment only.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A provider starts; returns its place in [`Book::providers`].
    pub fn provider(&self) -> usize {
        let mut book = self.book();
        book.providers.push(Life::default());
        book.providers.len() - 1
    }

    /// The provider at `place` says what it has executed.
    pub fn executed(&self, place: usize, executed: Executed) {
        let requests = executed.requests.into_iter().map(|(id, at)| (id, UnixMillis::new(at)));
        self.book().providers[place].executions.extend(requests);
    }

    /// The provider at `place` is told to go now.
    pub fn told(&self, place: usize) {
        self.book().providers[place].told = Some(Clock::system().now());
    }

    /// The process of the provider at `place` was gone at `at`.
    pub fn exited(&self, place: usize, at: UnixMillis) {
        self.book().providers[place].exited = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::line::Lost;
    use super::*;

    fn outcome(id: &str, is_lost: bool) -> Outcome {
        let lost = is_lost.then(|| Lost { kind: "broken".into(), reason: String::new() });
        Outcome { id: id.into(), lag_ms: 0.0, lost }
    }

    fn life(executions: &[(&str, u64)], told: u64, exited: u64) -> Life {
        let each = executions.iter().map(|(id, at)| ((*id).to_owned(), UnixMillis::new(*at)));
        let moment = |at| (at > 0).then(|| UnixMillis::new(at));
        Life { executions: each.collect(), told: moment(told), exited: moment(exited) }
    }

    #[test]
    fn executions_are_counted_over_all_providers() {
        let providers = vec![life(&[("a", 1), ("b", 2)], 0, 0), life(&[("a", 3)], 0, 0)];
        let steady = vec![outcome("a", false), outcome("b", true), outcome("c", true)];
        let rare = vec![outcome("d", false)];
        let book = Book { steady, rare, providers };
        assert_eq!(book.miscounted(), (1, 1), "a twice, d never");
    }

    #[test]
    fn drains_and_the_last_request_count_from_the_moment_of_being_told() {
        let leaving = [life(&[("a", 90), ("b", 140)], 100, 700), life(&[("c", 120)], 110, 610)];
        let serving = life(&[("d", 9_000)], 0, 0);
        let book = Book { providers: leaving.into_iter().chain([serving]).collect(), ..Book::default() };
        assert_eq!(book.drains(), [500, 600].map(Duration::from_millis));
        assert_eq!(book.last_after_signal(), Duration::from_millis(40));
        assert_eq!(Book::default().last_after_signal(), Duration::ZERO);
    }
}
