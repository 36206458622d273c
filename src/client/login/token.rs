//! What a login gives, and how long it is good for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Part of a token's life after which it is replaced at the earliest, and what chance adds to it: clients
/// that were let in at one moment do not all come back in one moment, and a registry that is away at the
/// time has a tenth of the life left to come back in.
const LIVED_LEAST: f64 = 0.7;
const LIVED_MORE: f64 = 0.2;
/// No token is replaced sooner, however short its life: each login costs the registry some work.
const LIVES_LEAST: Duration = Duration::from_secs(1);
/// No life is longer: whatever the registry says, it is asked again once in a while.
const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long the refusal of a token that was given on the same connection is the registry's last word: the
/// user lacks the right, and another token would not have it either.
const TRUSTED_FOR: Duration = Duration::from_secs(10);

/// A token of the registry.
#[derive(Clone)]
pub(super) struct Token {
    text: Arc<str>,
    given: Instant,
    replace_at: Instant,
    dies_at: Instant,
}

impl Token {
    /// One that was asked for at a moment, with the rest of its life at that moment, and `chance` in
    /// `0.0..=1.0`.
    pub(super) fn new(text: String, asked: Instant, life: Duration, chance: f64) -> Self {
        let life = life.min(LIFE_MAX);
        let lived = life.mul_f64(LIVED_LEAST + LIVED_MORE * chance.clamp(0.0, 1.0)).max(LIVES_LEAST);
        Self { text: text.into(), given: asked, replace_at: asked + lived, dies_at: asked + life }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// When it is to be replaced.
    pub(super) fn replace_at(&self) -> Instant {
        self.replace_at
    }

    /// Whether it is still good for anything.
    pub(super) fn lives(&self, now: Instant) -> bool {
        now < self.dies_at
    }

    /// Whether it is this very one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// Whether a registry that refuses it now, on a connection that began at `connected`, may not know it any
    /// more: it has restarted, the user has changed, or the token has died.
    pub(super) fn may_be_dead(&self, connected: Instant, now: Instant) -> bool {
        self.given < connected || now >= self.given + TRUSTED_FOR
    }
}

impl fmt::Debug for Token {
    /// Without its text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("replace_at", &self.replace_at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_replaced_before_it_dies_but_not_all_the_time() {
        let now = Instant::now();
        let lives = |s, chance| {
            let token = Token::new("t".into(), now, Duration::from_secs(s), chance);
            (token.replace_at() - now).as_millis()
        };
        assert_eq!([lives(18_000, 0.0), lives(18_000, 1.0)], [12_600_000, 16_200_000]);
        assert_eq!([lives(2, 0.0), lives(2, 1.0)], [1_400, 1_800]);
        assert_eq!(lives(u64::MAX, 0.0), LIFE_MAX.mul_f64(0.7).as_millis());
        assert_eq!([lives(1, 1.0), lives(0, 0.0)], [1_000, 1_000]);
    }

    #[test]
    fn the_refusal_of_a_token_that_was_just_given_is_meant() {
        let given = Instant::now();
        let token = Token::new("t".into(), given, Duration::from_secs(60), 0.0);
        let after = |s| given + Duration::from_secs(s);
        assert!(token.may_be_dead(after(1), after(2)), "it is of an earlier connection");
        assert!(!token.may_be_dead(given - Duration::from_secs(1), after(9)));
        assert!(token.may_be_dead(given - Duration::from_secs(1), after(10)));
        let shown = format!("{:?}", Token::new("s3cret".into(), given, Duration::ZERO, 0.0));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
