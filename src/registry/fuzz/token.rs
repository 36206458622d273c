//! Tokens.

use super::super::access::{Claims, TokenKey};
use crate::model::UnixMillis;

/// A text that somebody shows as a token, and as the claims of one that was signed. No text is a token by
/// chance, and what was signed is read as it was, as long as it counts.
pub(crate) fn token(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let (key, now) = (TokenKey::from_bytes([7; 32]), UnixMillis::new(1_732_060_800_000));
    assert!(key.read(text, now).is_err(), "a forged token");
    let Ok(claims) = serde_json::from_str::<Claims>(text) else { return };
    let token = key.sign(&claims);
    if let Ok(read) = key.read(&token, now) {
        assert!(read == claims && claims.exp > now.as_u64() / 1000, "{read:?}");
    }
    let other = TokenKey::from_bytes([8; 32]);
    assert!(other.read(&token, now).is_err(), "a token of another key");
}
