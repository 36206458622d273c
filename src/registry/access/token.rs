//! Tokens: who somebody is and until when, signed.
//!
//! A token is a JSON web token with HMAC-SHA256 and one header, to the letter: the algorithm that a token
//! names for itself is never looked at, so there is none to be chosen by whoever forges one. The key is
//! random and made at the first start; there is no other, and none that could be known from elsewhere.

use super::decide::Denied;
use super::password::{HashError, random};
use super::user::UserName;
use crate::model::UnixMillis;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// `{"alg":"HS256","typ":"JWT"}`, and the point after it.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.";
/// Bytes of a token: twice what one with the longest name has.
const TOKEN_BYTES_MAX: usize = 512;

/// Signs tokens, and knows them again. Its bytes are shown to the storage only.
#[derive(Clone)]
pub(crate) struct TokenKey {
    bytes: [u8; 32],
    key: hmac::Key,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Name of the user.
    pub(crate) sub: String,
    /// The user's stamp when the token was given.
    pub(crate) stamp: u64,
    /// From when on it counts no more, in seconds since 1970.
    pub(crate) exp: u64,
    /// Makes each token another one, so that the end of one login is not that of another; 0 in those that were
    /// given before there were such numbers.
    #[serde(default)]
    pub(crate) jti: u64,
}

impl Claims {
    /// Those of a token that is given now and lasts for `ttl`, or a part of a second longer.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn new(
        user: &UserName,
        stamp: u64,
        now: UnixMillis,
        ttl: Duration,
    ) -> Result<Self, HashError> {
        let (exp, jti) = (now.as_u64().div_ceil(1000) + ttl.as_secs(), u64::from_le_bytes(random()?));
        Ok(Self { sub: user.to_string(), stamp, exp, jti })
    }
}

impl TokenKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn generate() -> Result<Self, HashError> {
        random().map(Self::from_bytes)
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes }
    }

    /// For the storage.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The token that says this.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims are text and numbers");
        let mut token = HEADER.to_owned();
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// What a token says, if it was signed with this key and still counts.
    ///
    /// # Errors
    /// When it was not, or has expired.
    pub(crate) fn read(&self, token: &str, now: UnixMillis) -> Result<Claims, Denied> {
        let claims = self.signed(token).ok_or(Denied::BadToken)?;
        if now.as_u64() >= claims.exp.saturating_mul(1000) {
            return Err(Denied::Expired);
        }
        Ok(claims)
    }

    fn signed(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let claims = signed.strip_prefix(HEADER)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

impl PartialEq for TokenKey {
    /// Of what was stored: no secret is compared with a guess here.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for TokenKey {}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
pub(crate) mod forged {
    //! Tokens as attackers make them.
    use super::*;

    /// The key that Nacos shipped with and published, as it stands in its settings.
    pub(crate) const NACOS_KEY: &str =
        "SecretKey012345678901234567890123456789012345678901234567890123456789";

    /// The bytes that Nacos makes of it: it reads the text as base64, as far as that goes.
    pub(crate) fn nacos_key() -> Vec<u8> {
        base64::engine::general_purpose::STANDARD.decode(&NACOS_KEY[..NACOS_KEY.len() / 4 * 4]).unwrap()
    }

    /// A token with any header and claims, signed with any key.
    pub(crate) fn token(header: &str, claims: &str, key: &[u8]) -> String {
        let [header, claims] = [header, claims].map(|json| URL_SAFE_NO_PAD.encode(json));
        let signed = format!("{header}.{claims}");
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_000_500);

    fn claims() -> Claims {
        Claims { jti: 5, ..Claims::new(&"ann".parse().unwrap(), 7, NOW, Duration::from_secs(10)).unwrap() }
    }

    #[test]
    fn a_token_counts_for_its_lifetime_to_the_second() {
        let key = TokenKey::generate().unwrap();
        let token = key.sign(&claims());
        assert_eq!(key.read(&token, NOW).unwrap(), claims());
        assert_eq!(key.read(&token, NOW + Duration::from_millis(10_499)).unwrap(), claims());
        let late = NOW + Duration::from_millis(10_500);
        assert_eq!(key.read(&token, late).unwrap_err(), Denied::Expired);
        let kept = TokenKey::from_bytes(*key.bytes());
        assert!(kept.read(&token, NOW).is_ok(), "the key outlives a restart");
    }

    #[test]
    fn no_token_but_its_own_counts() {
        let key = TokenKey::generate().unwrap();
        let (header, said) = (r#"{"alg":"HS256","typ":"JWT"}"#, serde_json::to_string(&claims()).unwrap());
        let own = forged::token(header, &said, key.bytes());
        assert!(key.read(&own, NOW).is_ok(), "the forger knows the form");
        let none = forged::token(r#"{"alg":"none"}"#, &said, b"");
        let unsigned = none.rsplit_once('.').unwrap().0;
        let nacos = r#"{"sub":"nacos","exp":99999999999}"#;
        for bad in [
            String::new(),
            "everyone".to_owned(),
            "..".to_owned(),
            forged::token(header, &said, forged::NACOS_KEY.as_bytes()),
            forged::token(header, &said, &forged::nacos_key()),
            forged::token(r#"{"alg":"HS256"}"#, nacos, &forged::nacos_key()),
            forged::token(header, nacos, key.bytes()),
            forged::token(r#"{"alg":"HS512","typ":"JWT"}"#, &said, key.bytes()),
            none.clone(),
            unsigned.to_owned(),
            format!("{unsigned}."),
            own.rsplit_once('.').unwrap().0.to_owned() + ".",
            TokenKey::generate().unwrap().sign(&claims()),
            own[..own.len() - 1].to_owned(),
            format!("{own}{}", "A".repeat(TOKEN_BYTES_MAX)),
        ] {
            assert_eq!(key.read(&bad, NOW).unwrap_err(), Denied::BadToken, "{bad}");
        }
    }

    #[test]
    fn no_two_tokens_are_the_same_and_those_without_a_number_are_read() {
        let (key, ann) = (TokenKey::generate().unwrap(), "ann".parse().unwrap());
        let given = || key.sign(&Claims::new(&ann, 7, NOW, Duration::from_secs(10)).unwrap());
        assert_ne!(given(), given());
        let old = forged::token(
            r#"{"alg":"HS256","typ":"JWT"}"#,
            r#"{"sub":"ann","stamp":7,"exp":9999}"#,
            key.bytes(),
        );
        assert_eq!(key.read(&old, NOW).unwrap().jti, 0);
    }

    #[test]
    fn the_longest_token_is_read() {
        let key = TokenKey::generate().unwrap();
        let longest = Claims { sub: "n".repeat(64), stamp: u64::MAX, exp: u64::MAX, jti: u64::MAX };
        assert_eq!(key.read(&key.sign(&longest), NOW).unwrap(), longest);
    }

    #[test]
    fn a_key_shows_itself_to_nobody() {
        assert_eq!(format!("{:?}", TokenKey::generate().unwrap()), "TokenKey(..)");
    }
}
