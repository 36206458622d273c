//! Large messages: so many bytes of them at once, bodies over HTTP among them, and one message at a time worked
//! on, away from everyone else.
//!
//! A message of 10 MiB takes tens of milliseconds to read. On a thread of the runtime all requests and pushes
//! that are next on it would wait for that; and as many of them as there may be requests under way would fill
//! any memory.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// A message is large from here on: hundreds of instances. What is shorter is read in less time than it takes
/// to give it to another thread and wait, and 4096 of them, all requests under way, are 256 MiB.
pub(crate) const LARGE_FROM: usize = 64 * 1024;
/// Bytes that all large messages take together, from their arrival until they are answered: twelve as long as
/// a message may be by default, and what the registry takes for 200 000 instances. Where a message may be
/// longer than that, one has room.
const BYTES_MAX: usize = 128 * 1024 * 1024;
/// Large messages that are worked on at once: the other threads and cores are for everyone else.
const AT_ONCE: usize = 1;

/// What large messages take of a registry.
#[derive(Clone, Debug)]
pub(crate) struct Large {
    taken: Arc<AtomicUsize>,
    at_once: Arc<Semaphore>,
    bytes_max: usize,
}

impl Large {
    /// Messages may have so many bytes each.
    pub(crate) fn new(message_bytes_max: usize) -> Self {
        let bytes_max = BYTES_MAX.max(message_bytes_max);
        Self { taken: Arc::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)), bytes_max }
    }

    /// The room of a message of which nothing has come yet.
    pub(crate) fn room(&self) -> Room {
        Room { taken: self.taken.clone(), bytes: 0, bytes_max: self.bytes_max }
    }

    /// Does `work` when no other is being done, on a thread that may be kept busy.
    ///
    /// # Cancel safety
    /// Work that has begun is done to its end, and no other is begun before.
    pub(crate) async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = self.at_once.clone().acquire_owned().await;
        let work = move || {
            let _turn = turn; // Nobody closes it, so it is one.
            work()
        };
        match spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => pending().await, // The runtime ends, and this with it.
        }
    }
}

/// The room that one message takes, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    bytes: usize,
    bytes_max: usize,
}

impl Room {
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that so many bytes of the message have come; whether there is room for them.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        if bytes <= LARGE_FROM || bytes <= self.bytes {
            return true;
        }
        let more = bytes - self.bytes;
        self.bytes = bytes;
        self.taken.fetch_add(more, Relaxed) + more <= self.bytes_max
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[test]
    fn there_is_room_for_so_many_bytes_and_again_when_some_have_gone() {
        let large = Large::new(1);
        let mut rooms: Vec<Room> = (0..2).map(|_| large.room()).collect();
        for room in &mut rooms {
            assert!(room.grow_to(LARGE_FROM) && room.grow_to(BYTES_MAX / 4) && room.grow_to(BYTES_MAX / 2));
        }
        let mut next = large.room();
        assert!(next.grow_to(LARGE_FROM), "what is not large is not counted");
        assert!(!next.grow_to(LARGE_FROM + 1));
        drop((rooms.pop(), next));
        assert!(large.room().grow_to(BYTES_MAX / 2));
        assert!(!large.room().grow_to(BYTES_MAX / 2 + 1));
        assert!(
            Large::new(2 * BYTES_MAX).room().grow_to(2 * BYTES_MAX),
            "one has room, however long it may be"
        );
    }

    #[tokio::test]
    async fn one_is_worked_on_at_a_time_also_when_nobody_waits_for_it_any_more() {
        let large = Large::new(1);
        let (begun, begins) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let first = {
            let large = large.clone();
            tokio::spawn(async move {
                let work = move || (begun.send(()).is_ok(), ended.blocking_recv().is_ok());
                large.apart(work).await
            })
        };
        begins.await.unwrap();
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(large.at_once.available_permits(), 0, "its turn lasts as long as its work");
        let second = large.apart(|| "done");
        end.send(()).unwrap();
        assert_eq!(second.await, "done");
    }
}
