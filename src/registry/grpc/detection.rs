//! Finds out whether a client that says nothing is still there.

use std::time::Duration;
use tokio::time::Instant;

/// Silence after which a client is asked. Nacos' value; clients that live say something every 5 s.
const ASKED_AFTER: Duration = Duration::from_secs(20);
/// Time that it has to answer. Nacos' value.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What is known about one client. Pure: moments come in as arguments.
#[derive(Debug, Default)]
pub(super) struct Detection {
    asked_at: Option<Instant>,
}

/// What to do about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again at this moment.
    Wait(Instant),
    /// Ask whether it is there, and look again.
    Ask,
    /// It is gone.
    Gone,
}

impl Detection {
    /// Judges a client that was last heard at `heard_at`.
    pub(super) fn judge(&mut self, heard_at: Instant, now: Instant) -> Verdict {
        self.asked_at = self.asked_at.filter(|asked_at| *asked_at > heard_at);
        match self.asked_at {
            Some(asked_at) if now >= asked_at + ANSWERED_WITHIN => Verdict::Gone,
            Some(asked_at) => Verdict::Wait(asked_at + ANSWERED_WITHIN),
            None if now >= heard_at + ASKED_AFTER => {
                self.asked_at = Some(now);
                Verdict::Ask
            }
            None => Verdict::Wait(heard_at + ASKED_AFTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_asked_after_20_seconds_and_gone_after_25() {
        let (mut detection, heard_at) = (Detection::default(), Instant::now());
        let after = |ms| heard_at + Duration::from_millis(ms);
        assert_eq!(detection.judge(heard_at, after(0)), Verdict::Wait(after(20_000)));
        assert_eq!(detection.judge(heard_at, after(20_000)), Verdict::Ask);
        assert_eq!(detection.judge(heard_at, after(20_001)), Verdict::Wait(after(25_000)));
        assert_eq!(detection.judge(heard_at, after(25_000)), Verdict::Gone);
    }

    #[test]
    fn whatever_it_says_after_the_question_is_an_answer() {
        let (mut detection, heard_at) = (Detection::default(), Instant::now());
        let after = |s| heard_at + Duration::from_secs(s);
        assert_eq!(detection.judge(heard_at, after(20)), Verdict::Ask);
        assert_eq!(detection.judge(after(24), after(26)), Verdict::Wait(after(44)));
        assert_eq!(detection.judge(after(24), after(44)), Verdict::Ask);
    }
}
