//! Passwords: as they are given, as they are kept, and the bounded work between the two.
//!
//! A hash takes 19 MiB and some twenty milliseconds on purpose. It is made on a thread that may block, a few
//! at a time, so that a storm of logins takes neither the memory nor the threads of whoever serves lists.

use super::InvalidUser;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::task::spawn_blocking;

/// Memory of one hash, in KiB, and passes over it: the least that OWASP recommends for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Hashes that are made at one time: 76 MiB.
const PARALLEL: usize = 4;
/// Logins that wait for one of these: about as many as are done before the first client gives up.
const WAITING_MAX: usize = 512;

/// A password: 8 to 256 characters. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<str>);

/// What is kept of a password: argon2id in the PHC string format, with its salt and costs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(Arc<str>);

/// Makes and compares hashes for many callers.
#[derive(Debug)]
pub(crate) struct Hashing {
    /// Places for those who wait, and for those who have their turn.
    places: Semaphore,
    turns: Semaphore,
    /// What is compared with where there is no user: that must take as long.
    nobodys: PasswordHash,
}

/// Why there is no hash.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("{WAITING_MAX} logins wait, and no more can: try again")]
    Busy,
    #[error("the system gives no random numbers, or no memory for a hash")]
    Failed,
}

impl Password {
    /// Checks the password.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn new(text: &str) -> Result<Self, InvalidUser> {
        if (8..=256).contains(&text.chars().count()) {
            return Ok(Self(text.into()));
        }
        Err(InvalidUser::Password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PasswordHash {
    /// Makes one, with a salt of its own. It takes its time: see the module's docs.
    pub(crate) fn of(password: &Password) -> Result<Self, HashError> {
        Self::make(password.0.as_bytes(), &random::<16>()?)
    }

    /// A hash that no password has.
    pub(crate) fn nobodys() -> Self {
        // The salt and the hash are of the right lengths, so that comparing takes as long as with any other.
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        Self(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}").into())
    }

    /// What was kept, if it has the form.
    pub(crate) fn from_kept(text: &str) -> Option<Self> {
        argon2::password_hash::phc::PasswordHash::new(text).ok().map(|_| Self(text.into()))
    }

    /// What is to be kept.
    pub(crate) fn kept(&self) -> &str {
        &self.0
    }

    fn make(password: &[u8], salt: &[u8]) -> Result<Self, HashError> {
        let hash = argon2()?.hash_password_with_salt(password, salt).map_err(|_| HashError::Failed)?;
        Ok(Self(hash.to_string().into()))
    }

    fn is_of(&self, password: &str) -> bool {
        let verified = argon2().map(|argon2| argon2.verify_password(password.as_bytes(), &*self.0));
        verified.is_ok_and(|verified| verified.is_ok())
    }
}

fn argon2() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| HashError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Bytes that nobody can guess.
///
/// # Errors
/// When the system has none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HashError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| HashError::Failed)?;
    Ok(bytes)
}

impl Default for Hashing {
    fn default() -> Self {
        let (places, turns) = (Semaphore::new(WAITING_MAX), Semaphore::new(PARALLEL));
        Self { places, turns, nobodys: PasswordHash::nobodys() }
    }
}

impl Hashing {
    /// The hash of a new password.
    ///
    /// # Errors
    /// When too many wait, or the system fails.
    pub(crate) async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.in_turn(move || PasswordHash::of(&password)).await?
    }

    /// Whether a password is the one that was kept. Without one it takes as long, and is not.
    ///
    /// # Errors
    /// When too many wait.
    pub(crate) async fn is_of(
        &self,
        kept: Option<&PasswordHash>,
        password: String,
    ) -> Result<bool, HashError> {
        let known = kept.is_some();
        let kept = kept.unwrap_or(&self.nobodys).clone();
        self.in_turn(move || kept.is_of(&password) && known).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let _place = self.places.try_acquire().map_err(|error| match error {
            TryAcquireError::NoPermits => HashError::Busy,
            TryAcquireError::Closed => HashError::Failed,
        })?;
        let _turn = self.turns.acquire().await.map_err(|_| HashError::Failed)?;
        spawn_blocking(work).await.map_err(|_| HashError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_by_its_hash_and_nobodys_hash_is_of_no_password() {
        let hashing = Hashing::default();
        let password = Password::new("correct horse").unwrap();
        let kept = hashing.hash(password.clone()).await.unwrap();
        assert!(kept.kept().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", kept.kept());
        assert_ne!(kept, hashing.hash(password).await.unwrap(), "each has a salt of its own");
        let kept = PasswordHash::from_kept(kept.kept()).unwrap();
        let is_of = async |kept, word: &str| hashing.is_of(kept, word.to_owned()).await.unwrap();
        assert!(is_of(Some(&kept), "correct horse").await);
        assert!(!is_of(Some(&kept), "correct horsf").await);
        assert!(!is_of(None, "correct horse").await);
        assert!(
            PasswordHash::from_kept(PasswordHash::nobodys().kept()).is_some(),
            "comparing it takes as long"
        );
    }

    #[tokio::test]
    async fn who_finds_all_places_taken_is_told_so_at_once() {
        let hashing = Hashing::default();
        let _all = hashing.places.acquire_many(u32::try_from(WAITING_MAX).unwrap()).await.unwrap();
        assert!(matches!(hashing.is_of(None, String::new()).await, Err(HashError::Busy)));
    }

    #[test]
    fn a_password_has_a_length_and_shows_itself_to_nobody() {
        assert!(Password::new("1234567").is_err() && Password::new(&"x".repeat(257)).is_err());
        let password = Password::new("correct horse").unwrap();
        assert_eq!(
            format!("{password:?} {:?}", PasswordHash::of(&password).unwrap()),
            "Password(..) PasswordHash(..)"
        );
    }
}
