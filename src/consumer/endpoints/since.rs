//! Moments in the life of an instance, on this consumer's own clock.

use std::time::Duration;
use tokio::time::Instant;

/// Something of an instance that has begun: its warm-up, or its way out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Since {
    seen: Instant,
    /// Age at that moment.
    ahead: Duration,
}

/// When a list came, and what was known before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// Whether nothing was known before.
    pub(super) first: bool,
    pub(super) published: Instant,
    pub(super) now: Instant,
}

impl Since {
    pub(super) const fn now(now: Instant) -> Self {
        Self { seen: now, ahead: Duration::ZERO }
    }

    /// The beginning of something that a list speaks of, and whose age is `told` by wall clocks.
    ///
    /// What was seen to appear is as old as the news of it, whatever the clocks say. Only of what stood in
    /// the first list already the age is told by wall clocks; one that runs ahead of ours makes it 0, from
    /// where it grows as time passes.
    pub(super) const fn heard(told: Duration, news: News) -> Self {
        if news.first { Self { seen: news.now, ahead: told } } else { Self::now(news.published) }
    }

    pub(super) fn age(self, now: Instant) -> Duration {
        self.ahead.saturating_add(now.saturating_duration_since(self.seen))
    }

    /// When the age is `span`, or was first seen to be more; nothing beyond every clock.
    pub(super) fn at_age(self, span: Duration) -> Option<Instant> {
        self.seen.checked_add(span.saturating_sub(self.ahead))
    }
}
