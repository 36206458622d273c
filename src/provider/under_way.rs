//! What requests under way are called, as far as they take long: what a drain waits for has a name.
//!
//! A request that is answered at once has none: only one that waits, or whose answer does, is written down, in
//! one of several places, so that the cores of a large machine seldom meet in one.

use http::Request;
use http::uri::PathAndQuery;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Places to write in.
const PLACES: usize = 16;
/// Requests that are written down in one place: what comes beyond them is younger than they are.
const OF_PLACE_MAX: usize = 512;
/// Characters of a path that are kept.
const PATH_CHARS_MAX: usize = 48;

/// The names of those that wait.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    next: AtomicU64,
    places: [Place; PLACES],
}

/// Two cache lines, which processors fetch in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place(Mutex<BTreeMap<u64, Written>>);

#[derive(Debug)]
struct Written {
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    since: Instant,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    method: http::Method,
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "nobody asks"))]
    path: Box<str>,
}

/// What one request is called.
#[derive(Debug, Default)]
pub(super) enum Name {
    /// Nobody will ask.
    #[default]
    None,
    /// It may be asked for once the request takes long.
    Kept { method: http::Method, path: Option<PathAndQuery> },
    /// It stands in the list under this number.
    Written(u64),
}

impl Name {
    /// Of this request.
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self::Kept { method: request.method().clone(), path: request.uri().path_and_query().cloned() }
    }
}

impl UnderWay {
    /// The request waits: it may take long.
    pub(super) fn waits(&self, name: &mut Name) {
        let Name::Kept { method, path } = name else { return };
        let method = method.clone();
        let path = path.as_ref().map_or("", PathAndQuery::path);
        let end = path.char_indices().nth(PATH_CHARS_MAX).map_or(path.len(), |(end, _)| end);
        let written = Written { since: Instant::now(), method, path: path[..end].into() };
        let number = self.next.fetch_add(1, Relaxed);
        let mut place = self.place(number);
        *name = if place.len() < OF_PLACE_MAX {
            place.insert(number, written);
            Name::Written(number)
        } else {
            Name::None
        };
    }

    /// It has ended.
    pub(super) fn ends(&self, name: &Name) {
        if let Name::Written(number) = name {
            self.place(*number).remove(number);
        }
    }

    fn place(&self, number: u64) -> MutexGuard<'_, BTreeMap<u64, Written>> {
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
            let told = place.iter().take(max).map(|(number, written)| {
                let age = now.saturating_duration_since(written.since);
                let (method, path) = (written.method.as_str(), &*written.path);
                (*number, crate::observe::LongRequest::new(method.to_owned(), path.to_owned(), age))
            });
            oldest.extend(told);
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
        under_way.ends(&waiting[0]);
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
        assert_eq!(names(&under_way, 1)[0].len(), "GET ".len() + PATH_CHARS_MAX);
    }
}
