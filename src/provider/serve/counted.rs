//! How many requests came, and what became of them, apart for callers with the consumer's layers and others.
//!
//! These numbers only grow, and nobody takes the time of a request: whoever wants them by the second looks
//! once a second. Connections count in several places, because what all of them share is fought for by all
//! cores.

use crate::observe::RequestCounts;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Places to count in: enough that few of the cores of a large machine meet in one, and 2 kB of memory.
const PLACES: usize = 16;

/// The requests of one provider.
#[derive(Debug, Default)]
pub(super) struct Counted([Place; PLACES]);

/// Two cache lines, which processors fetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place {
    governed: Counts,
    ungoverned: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    started: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
}

impl Counted {
    /// A request has come on the connection with this number.
    pub(super) fn start(&self, connection: u64, governed: bool) {
        self.of(connection, governed).started.fetch_add(1, Relaxed);
    }

    /// It has been answered, or given up.
    pub(super) fn finish(&self, connection: u64, governed: bool, failed: bool) {
        let counts = self.of(connection, governed);
        if failed {
            counts.failed.fetch_add(1, Relaxed);
        }
        counts.finished.fetch_add(1, Relaxed);
    }

    /// All of them: with callers that have the consumer's layers, and others.
    pub(super) fn read(&self) -> (RequestCounts, RequestCounts) {
        let sum = |of: fn(&Place) -> &Counts| {
            self.0.iter().map(of).fold(RequestCounts::default(), |sum, counts| RequestCounts {
                started: sum.started + counts.started.load(Relaxed),
                finished: sum.finished + counts.finished.load(Relaxed),
                failed: sum.failed + counts.failed.load(Relaxed),
            })
        };
        (sum(|place| &place.governed), sum(|place| &place.ungoverned))
    }

    fn of(&self, connection: u64, governed: bool) -> &Counts {
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is small")]
        let place = &self.0[(connection % PLACES as u64) as usize];
        if governed { &place.governed } else { &place.ungoverned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_add_up_and_callers_are_told_apart() {
        let counted = Counted::default();
        for connection in 0..40 {
            counted.start(connection, connection % 2 == 0);
            counted.finish(connection, connection % 2 == 0, connection % 4 == 0);
        }
        counted.start(7, false);
        let (governed, ungoverned) = counted.read();
        assert_eq!((governed.started, governed.finished, governed.failed), (20, 20, 10));
        assert_eq!((ungoverned.started, ungoverned.finished, ungoverned.failed), (21, 20, 0));
    }
}
