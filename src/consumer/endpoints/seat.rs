//! The calls in flight at an instance, and how they are counted.
//!
//! A call holds a reference of its own to the instance that it goes to; the number of these references is the
//! number of calls in flight. So to count a call and to keep its instance are one write to shared memory, and
//! that is the only one that a choice makes.

use super::endpoint::Endpoint;
use super::sync;
use crate::model::Instance;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The seats of one endpoint: outlives tables and flaps of the list, and so does the count.
pub(super) struct Seats {
    endpoint: Arc<Endpoint>,
    /// Everyone else who holds it is a call.
    seat: sync::Arc<Seat>,
}

/// What a call holds, right behind the count: who writes that reads this at no cost. Padded, so that the count
/// of a neighbour, written by other cores at the same time, is on other cache lines.
struct Seat {
    endpoint: Arc<Endpoint>,
    governed: bool,
    /// Operators may change it while the instance runs.
    sends_notices: AtomicBool,
    _padding: [u8; PADDING_BYTES],
}

/// With the two counts of an `Arc` and what stands before it, two cache lines: processors fetch them in pairs.
const PADDING_BYTES: usize = 96;

impl Seats {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Arc<Self> {
        let seat = Seat {
            endpoint: endpoint.clone(),
            governed: endpoint.instance().is_governed(),
            sends_notices: AtomicBool::new(endpoint.instance().sends_notices()),
            _padding: [0; PADDING_BYTES],
        };
        Arc::new(Self { endpoint, seat: sync::Arc::new(seat) })
    }

    #[inline]
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// How many calls are in flight.
    #[inline]
    pub(super) fn taken(&self) -> u32 {
        calls(&self.seat)
    }

    /// Takes over what the registry lists the instance with from now on.
    pub(super) fn renew(&self, listed: &Instance) {
        self.seat.sends_notices.store(listed.sends_notices(), Ordering::Relaxed);
    }

    /// Counts a call.
    #[inline]
    pub(super) fn take(&self) -> Guard {
        Guard(self.seat.clone())
    }
}

#[inline]
fn calls(seat: &sync::Arc<Seat>) -> u32 {
    u32::try_from(sync::Arc::strong_count(seat) - 1).unwrap_or(u32::MAX)
}

impl fmt::Debug for Seats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} in flight", self.endpoint, self.taken())
    }
}

/// Counts a call as in flight until it is dropped.
pub(in crate::consumer) struct Guard(sync::Arc<Seat>);

impl Guard {
    #[inline]
    pub(in crate::consumer) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    /// Whether its endpoint wears our layers: asked on every call, so that it is kept where a call looks anyway.
    #[inline]
    pub(in crate::consumer) fn is_governed(&self) -> bool {
        self.0.governed
    }

    /// Whether its endpoint wants to know where it can tell us that it leaves: asked on every call as well.
    #[inline]
    pub(in crate::consumer) fn sends_notices(&self) -> bool {
        self.0.sends_notices.load(Ordering::Relaxed)
    }

    /// How many calls are in flight at its endpoint, this one included.
    pub(in crate::consumer) fn in_flight(&self) -> u32 {
        calls(&self.0)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(self.endpoint()).finish()
    }
}

#[cfg(all(test, graceful_loom))]
mod loom_tests {
    use super::super::endpoint::Fleet;
    use super::*;
    use crate::naming::Snapshots;
    use crate::observe::Observers;
    use loom::thread;

    fn seats() -> Arc<Seats> {
        let fleet =
            Fleet::new(Snapshots::fixed("orders".parse().unwrap(), Vec::new()), &Observers::default());
        Seats::new(Endpoint::new(Instance::new("10.0.0.7:8080".parse().unwrap()), fleet))
    }

    #[test]
    fn loom_calls_that_come_and_go_at_once_are_all_counted() {
        loom::model(|| {
            let seats = seats();
            let held = seats.take();
            let calls = [(); 2].map(|()| {
                let seats = seats.clone();
                thread::spawn(move || {
                    let call = seats.take();
                    assert!((2..=3).contains(&call.in_flight()));
                    drop(call);
                })
            });
            assert!((1..=3).contains(&seats.taken()));
            calls.into_iter().for_each(|call| call.join().unwrap());
            assert_eq!(seats.taken(), 1);
            drop(held);
            assert_eq!(seats.taken(), 0);
        });
    }

    #[test]
    fn loom_a_call_keeps_its_endpoint_when_the_list_has_forgotten_it() {
        loom::model(|| {
            let seats = seats();
            let endpoint = Arc::downgrade(seats.endpoint());
            let call = seats.take();
            let answers =
                thread::spawn(move || assert_eq!(call.endpoint().instance().address().port(), 8080));
            drop(seats);
            answers.join().unwrap();
            assert!(endpoint.upgrade().is_none(), "and no longer");
        });
    }
}
