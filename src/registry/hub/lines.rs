//! Lines of the log about instances that come and go: no more of them than anybody reads.
//!
//! When a registry restarts, or a data centre, all instances come within seconds. A line for each would cost as
//! much as to register it, and bury what else there is to read; what has happened to one of them is told by
//! the events under `/graceful/v1`.

use crate::model::UnixMillis;
use crate::registry::command::{Change, Event};
use std::sync::{Mutex, PoisonError};

/// Lines in a second: releases of a few services at once.
const LINES_MAX: u32 = 100;

/// Writes the lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<Second>);

/// What has been written in the last second in which anything happened. Pure: moments come in as arguments.
#[derive(Debug, Default)]
struct Second {
    /// Since 1970.
    number: u64,
    written: u32,
    left_out: u32,
}

impl Lines {
    /// Writes what readers see of a change.
    pub(super) fn tell(&self, events: &[Event], now: UnixMillis) {
        for Event { service, instance, change } in events {
            match change {
                Change::Changed => tracing::debug!(service.name = %service, ?instance, "instance changed"),
                Change::Came if self.admit(now) => {
                    tracing::info!(service.name = %service, ?instance, "instance came");
                }
                Change::Went(reason) if self.admit(now) => {
                    tracing::info!(service.name = %service, ?instance, %reason, "instance went");
                }
                Change::Came | Change::Went(_) => {}
            }
        }
    }

    /// Writes how many lines have been left out, once their second is over.
    pub(super) fn catch_up(&self, now: UnixMillis) {
        self.at(now, |_| ());
    }

    fn admit(&self, now: UnixMillis) -> bool {
        self.at(now, Second::admit)
    }

    fn at<T>(&self, now: UnixMillis, then: impl FnOnce(&mut Second) -> T) -> T {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner); // Numbers are whole.
        let (left_out, done) = (second.turn(now), then(&mut second));
        drop(second);
        if left_out > 0 {
            tracing::info!(left_out, "more instances came and went than there are lines for");
        }
        done
    }
}

impl Second {
    /// Begins another second, if it is another one, and returns how many lines the last one left out.
    fn turn(&mut self, now: UnixMillis) -> u32 {
        let number = now.as_u64() / 1000;
        if number == self.number {
            return 0;
        }
        std::mem::replace(self, Self { number, ..Self::default() }).left_out
    }

    /// Whether there is room for a line.
    fn admit(&mut self) -> bool {
        let room = self.written < LINES_MAX;
        *if room { &mut self.written } else { &mut self.left_out } += 1;
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_storm_the_first_lines_are_written_and_the_others_counted() {
        let (mut second, at) = (Second::default(), UnixMillis::new);
        assert_eq!(second.turn(at(5_000)), 0);
        let admitted = (0..LINES_MAX + 7).filter(|_| second.admit()).count();
        assert_eq!(admitted, LINES_MAX as usize);
        assert_eq!(second.turn(at(5_999)), 0, "the second is not over");
        assert!(!second.admit());
        assert_eq!(second.turn(at(6_000)), 8);
        assert!(second.admit());
        assert_eq!(second.turn(at(4_000)), 0, "a clock that is set back begins another second too");
    }
}
