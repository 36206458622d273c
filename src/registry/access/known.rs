//! Passwords that were right a moment ago, so that who sends one with every call, or many programs that log in
//! as one user after a restart, do not have it hashed each time.
//!
//! What is kept is a signature of name and password by a key of this process, and it counts for the user's
//! present stamp only. Only the right password is found here, so finding tells nothing to whoever guesses.

use super::password::{HashError, random};
use super::user::UserName;
use ring::hmac;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a password is known: a change of it ends that anyway.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);
/// Passwords that are known at one time, a hundred bytes each; with more users some are hashed more often.
const KNOWN_MAX: usize = 4096;

/// Name and password, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Proof([u8; 32]);

/// The passwords of the last minutes.
pub(crate) struct Known {
    key: hmac::Key,
    proven: HashMap<Proof, (u64, Instant)>,
}

impl Known {
    /// None yet.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn new() -> Result<Self, HashError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?);
        Ok(Self { key, proven: HashMap::new() })
    }

    /// What stands for a password.
    pub(crate) fn proof(&self, name: &UserName, password: &str) -> Proof {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(name.as_str().as_bytes());
        context.update(b"\0"); // Names have none, so no two pairs are one text.
        context.update(password.as_bytes());
        let mut proof = [0; 32];
        proof.copy_from_slice(context.sign().as_ref());
        Proof(proof)
    }

    /// Whether it was right for a user with this stamp, a moment ago.
    pub(crate) fn holds(&self, proof: Proof, stamp: u64, now: Instant) -> bool {
        let known = self.proven.get(&proof);
        known.is_some_and(|(known, at)| *known == stamp && now.saturating_duration_since(*at) < KNOWN_FOR)
    }

    /// Notes that it was right.
    pub(crate) fn prove(&mut self, proof: Proof, stamp: u64, now: Instant) {
        if self.proven.len() >= KNOWN_MAX {
            self.proven.retain(|_, (_, at)| now.saturating_duration_since(*at) < KNOWN_FOR);
        }
        if self.proven.len() >= KNOWN_MAX {
            self.proven.clear();
        }
        self.proven.insert(proof, (stamp, now));
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_for_a_while_and_for_one_state_of_its_user() {
        let (mut known, now) = (Known::new().unwrap(), Instant::now());
        let (ann, bob): (UserName, UserName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let proof = known.proof(&ann, "correct horse");
        assert!(!known.holds(proof, 1, now));
        known.prove(proof, 1, now);
        assert!(known.holds(proof, 1, now));
        assert!(!known.holds(proof, 2, now), "the user has changed");
        assert!(!known.holds(proof, 1, now + KNOWN_FOR));
        assert_ne!(proof, known.proof(&ann, "correct horsf"));
        assert_ne!(proof, known.proof(&bob, "correct horse"));
        for n in 0..=KNOWN_MAX {
            known.prove(known.proof(&ann, &n.to_string()), 1, now);
        }
        assert!(known.proven.len() <= KNOWN_MAX);
    }
}
