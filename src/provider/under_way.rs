//! What requests under way are called, as far as they take long: what a drain waits for has a name.
//!
//! A request that is answered at once has none: only one that waits, or whose answer does, is written down, in
//! one of several places, so that the cores of a large machine seldom meet in one.

use http::{Method, Request};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Places to write in.
const PLACES: usize = 16;
/// Requests that are written down in one place: what comes beyond them is younger than they are.
const OF_PLACE_MAX: usize = 512;
/// Bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 48;

/// The names of those that wait.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    next: AtomicU64,
    places: [Place; PLACES],
}

/// Two cache lines, which processors fetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(Mutex<Slots>);

/// Rows that are used again, so that a request that waits allocates nothing.
#[derive(Debug, Default)]
struct Slots {
    written: Vec<Option<Written>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Written {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    number: u64,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    since: Instant,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    words: Words,
}

/// A method, and the beginning of a path.
#[derive(Debug)]
pub(super) struct Words {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    method: Method,
    path: [u8; PATH_BYTES_MAX],
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    len: usize,
}

/// What one request is called.
#[derive(Debug, Default)]
pub(super) enum Name {
    /// Nobody will ask.
    #[default]
    None,
    /// It may be asked for once the request takes long.
    Kept(Words),
    /// It stands in the list: under this number, in this row of its place.
    Written { number: u64, row: usize },
}

impl Name {
    /// Of this request.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path().as_bytes();
        let len = path.len().min(PATH_BYTES_MAX);
        let mut words = Words { method: request.method().clone(), path: [0; PATH_BYTES_MAX], len };
        words.path[..len].copy_from_slice(&path[..len]);
        Self::Kept(words)
    }
}

impl Slots {
    /// The row that it stands in, if there is one for it.
    fn write(&mut self, written: Written) -> Option<usize> {
        if let Some(row) = self.free.pop() {
            self.written[row] = Some(written);
            return Some(row);
        }
        let row = self.written.len();
        (row < OF_PLACE_MAX).then(|| {
            self.written.push(Some(written));
            row
        })
    }

    fn erase(&mut self, row: usize) {
        self.written[row] = None;
        self.free.push(row);
    }
}

impl UnderWay {
    /// The request waits: it may take long.
    pub(super) fn waits(&self, name: &mut Name) {
        *name = match std::mem::take(name) {
            Name::Kept(words) => {
                let number = self.next.fetch_add(1, Relaxed);
                let written = Written { number, since: Instant::now(), words };
                let row = self.place(number).write(written);
                row.map_or(Name::None, |row| Name::Written { number, row })
            }
            known @ (Name::None | Name::Written { .. }) => known,
        };
    }

    /// It has ended.
    pub(super) fn ends(&self, name: &Name) {
        if let Name::Written { number, row } = name {
            self.place(*number).erase(*row);
        }
    }

    fn place(&self, number: u64) -> MutexGuard<'_, Slots> {
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is small")]
        let place = &self.places[(number % PLACES as u64) as usize];
        // Each change is complete in itself; a panic elsewhere cannot leave it half made.
        place.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest of those that wait, at most `max` of them.
    #[cfg(feature = "serve")]
    pub(super) fn oldest(&self, now: Instant, max: usize) -> Vec<crate::observe::LongRequest> {
        let mut oldest: Vec<(u64, crate::observe::LongRequest)> = Vec::new();
        for place in 0..PLACES as u64 {
            let place = self.place(place);
            let mut waiting: Vec<&Written> = place.written.iter().flatten().collect();
            waiting.sort_unstable_by_key(|written| written.number);
            oldest.extend(waiting.into_iter().take(max).map(|Written { number, since, words }| {
                let path = String::from_utf8_lossy(&words.path[..words.len]).into_owned();
                let age = now.saturating_duration_since(*since);
                (*number, crate::observe::LongRequest::new(words.method.to_string(), path, age))
            }));
        }
        oldest.sort_unstable_by_key(|(number, _)| *number);
        oldest.into_iter().map(|(_, request)| request).take(max).collect()
    }
}

/// What is told when an answer's body is not at its end yet.
#[allow(unnameable_types, reason = "sealed: the guards of this crate are all there are")]
pub trait Waits {
    /// More of it will come, later.
    fn waits(&mut self) {}
}

#[cfg(all(test, feature = "serve"))]
mod tests {
    use super::*;

    fn names(under_way: &UnderWay, max: usize) -> Vec<String> {
        let oldest = under_way.oldest(Instant::now(), max);
        oldest.into_iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    #[test]
    fn the_oldest_are_told_without_their_queries_and_forgotten_when_they_end() {
        let under_way = UnderWay::default();
        let mut waiting: Vec<Name> = (0..40)
            .map(|n| Name::of(&Request::post(format!("/export/{n}?secret=7")).body(()).unwrap()))
            .collect();
        for name in &mut waiting {
            under_way.waits(name);
        }
        assert_eq!(names(&under_way, 2), ["POST /export/0", "POST /export/1"]);
        under_way.waits(&mut waiting[0]); // Again, which changes nothing.
        under_way.ends(&std::mem::take(&mut waiting[0]));
        assert_eq!(names(&under_way, 1), ["POST /export/1"]);
        for name in &waiting {
            under_way.ends(name);
        }
        assert!(names(&under_way, 9).is_empty());
    }

    #[test]
    fn a_crowd_takes_little_room() {
        let under_way = UnderWay::default();
        let path = format!("/{}", "x".repeat(5000));
        for _ in 0..3 * PLACES * OF_PLACE_MAX {
            under_way.waits(&mut Name::of(&Request::get(&*path).body(()).unwrap()));
        }
        assert_eq!(names(&under_way, usize::MAX).len(), PLACES * OF_PLACE_MAX);
        assert_eq!(names(&under_way, 1)[0].len(), "GET ".len() + PATH_BYTES_MAX);
    }
}
