//! Tokens that somebody has logged out of, and that would count for a while yet.
//!
//! Pure. They live in memory: after a restart such a token counts again until its time is up, so whoever fears
//! for one sets another password, which ends them all.

use std::collections::BTreeMap;

/// Tokens that are remembered, a hundred bytes each: people log out, and programs do not. Beyond that the one
/// that counts no more soonest is forgotten.
const MAX: usize = 10_000;

/// Such tokens by their signatures, with the second from which on each counts no more anyway.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(BTreeMap<Box<str>, u64>);

impl Ended {
    /// Whether a token is among them.
    pub(super) fn holds(&self, token: &str) -> bool {
        !self.0.is_empty() && self.0.contains_key(signature(token))
    }

    /// The same with one more, which counts until the second `exp`; `now_s` is the present one.
    pub(super) fn with(&self, token: &str, exp: u64, now_s: u64) -> Self {
        let lasting = self.0.iter().filter(|(_, exp)| **exp > now_s);
        let mut ended: BTreeMap<_, _> = lasting.map(|(token, exp)| (token.clone(), *exp)).collect();
        if ended.len() >= MAX
            && let Some(soonest) = ended.iter().min_by_key(|(_, exp)| **exp).map(|(token, _)| token.clone())
        {
            ended.remove(&soonest);
        }
        ended.insert(signature(token).into(), exp);
        Self(ended)
    }
}

/// What of a token is another one of each.
fn signature(token: &str) -> &str {
    token.rsplit('.').next().unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_remembered_for_as_long_as_it_would_count() {
        let ended = Ended::default().with("head.claims.one", 10, 1);
        assert!(ended.holds("head.claims.one") && !ended.holds("head.claims.two"));
        let later = ended.with("head.claims.two", 20, 10);
        assert!(!later.holds("head.claims.one") && later.holds("head.claims.two"));
    }

    #[test]
    fn they_are_bounded_and_the_one_that_ends_soonest_makes_room() {
        let mut ended = Ended::default();
        let full = (0..MAX as u64).map(|n| (n.to_string().into(), 100 + n));
        ended.0.extend(full);
        let ended = ended.with("new", 1000, 1);
        assert_eq!(ended.0.len(), MAX);
        assert!(ended.holds("new") && ended.holds("1") && !ended.holds("0"));
    }
}
