//! How many retries there may be: when a whole fleet refuses, the load must not multiply.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// A bucket that time fills, looked at without a lock.
pub(super) struct Budget {
    created: Instant,
    /// When the bucket will be full again, in nanoseconds from `created` on.
    pub(super) full_ns: AtomicU64,
}

impl Budget {
    /// What a busy consumer sends to one instance of its fleet, should that one be gone altogether.
    const PER_SECOND: u64 = 1000;

    /// A second's worth at once: a restart fails everything that is under way in the same instant.
    const BURST: u64 = 1000;

    pub(super) fn new() -> Self {
        Self { created: Instant::now(), full_ns: AtomicU64::new(0) }
    }

    /// Takes one; `false` when there is none.
    pub(super) fn spend(&self) -> bool {
        let now_ns = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let spent = |full_ns| after_one_more(full_ns, now_ns);
        self.full_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

/// When the bucket is full again if one more is taken now; nothing when it is empty.
fn after_one_more(full_ns: u64, now_ns: u64) -> Option<u64> {
    const EACH_NS: u64 = 1_000_000_000 / Budget::PER_SECOND;
    let full_ns = full_ns.max(now_ns).saturating_add(EACH_NS);
    (full_ns - now_ns <= Budget::BURST * EACH_NS).then_some(full_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_bucket_that_time_fills() {
        let mut full_ns = 0;
        let mut spend = |now_ns| {
            let after = after_one_more(full_ns, now_ns);
            full_ns = after.unwrap_or(full_ns);
            after.is_some()
        };
        assert_eq!((0..5000).filter(|_| spend(0)).count() as u64, Budget::BURST);
        assert!(!spend(999_999));
        assert!(spend(1_000_000) && !spend(1_000_000));
        let one_minute = 60_000_000_000;
        assert_eq!((0..5000).filter(|_| spend(one_minute)).count() as u64, Budget::BURST);
    }
}
