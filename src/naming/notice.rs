//! What a leaving instance sends to the consumers that ask for it, and how they know that it comes from it.
//!
//! A consumer that calls rarely sees no tagged answer, so it is told: `POST` [`PATH`] with a [`Notice`]. That
//! must not be a switch with which strangers turn instances off. So an instance draws a secret when it
//! starts, publishes its hash in its registration ([`key::NOTICE_KEY`]), and reveals the secret when it
//! leaves: whoever knows it is that instance, and has no further use for it.
//!
//! ```
//! use tower_graceful::model::{Instance, Metadata, UnixMillis, key};
//! use tower_graceful::naming::notice::{Notice, NoticeSecret};
//! let secret = NoticeSecret::random()?;
//! let (address, epoch) = ("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
//! let registered = Instance::new(address).with_metadata(Metadata::from_iter([
//!     (key::EPOCH, epoch.to_string()),
//!     (key::NOTICE, true.to_string()),
//!     (key::NOTICE_KEY, secret.key().to_string()),
//! ]));
//!
//! let notice = Notice::new("orders".parse()?, registered.address().clone(), epoch, secret);
//! let sent = notice.to_json();
//! assert!(Notice::from_json(sent.as_bytes())?.comes_from(&registered));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::model::{Address, Instance, ServiceKey, UnixMillis, key};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::io;
use std::str::FromStr;
use std::time::Duration;

/// Where a consumer takes notices, below the address that it tells instances.
pub const PATH: &str = "/graceful/notice";

/// Says that an instance leaves, and proves who says so:
/// `{"service":"public##DEFAULT_GROUP@@orders","instance":"10.0.0.7:8080","epoch":1732060800000,"secret":"9f86…","fade_s":0}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The service that the instance belongs to.
    pub service: ServiceKey,
    /// Address under which it is registered.
    pub instance: Address,
    /// Start of its process: tells it from a successor at the same address.
    pub epoch: UnixMillis,
    /// What only that process has known so far.
    pub secret: NoticeSecret,
    /// Time over which its weight falls to zero; whole seconds.
    pub fade: Duration,
}

impl Notice {
    /// A notice that takes the instance out at once.
    pub fn new(service: ServiceKey, instance: Address, epoch: UnixMillis, secret: NoticeSecret) -> Self {
        Self { service, instance, epoch, secret, fade: Duration::ZERO }
    }

    /// Whether the registration of `instance` proves that this notice comes from it: address, epoch, and the
    /// hash of the secret.
    pub fn comes_from(&self, instance: &Instance) -> bool {
        let published = instance.metadata.parse(key::NOTICE_KEY);
        *instance.address() == self.instance
            && instance.epoch() == Some(self.epoch)
            && published.is_some_and(|published: NoticeKey| published == self.secret.key())
    }

    /// The body of the request.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic")]
    pub fn to_json(&self) -> String {
        let body = Body {
            service: self.service.to_string(),
            instance: self.instance.to_string(),
            epoch: self.epoch.as_u64(),
            secret: Hex(&self.secret.0).to_string(),
            fade_s: self.fade.as_secs(),
        };
        serde_json::to_string(&body).expect("strings and numbers are JSON")
    }

    /// Reads the body of the request; fields that it does not know are skipped.
    ///
    /// # Errors
    /// When it is no notice; the error says what is wrong and repeats no value.
    pub fn from_json(body: &[u8]) -> Result<Self, InvalidNotice> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| InvalidNotice(format!("no JSON of a notice (column {})", error.column())))?;
        Ok(Self {
            service: body.service.parse().map_err(|_| InvalidNotice::field("service", "a service's name"))?,
            instance: body.instance.parse().map_err(|_| InvalidNotice::field("instance", "HOST:PORT"))?,
            epoch: UnixMillis::new(body.epoch),
            secret: NoticeSecret(bytes(&body.secret).ok_or_else(|| InvalidNotice::field("secret", HEX))?),
            fade: Duration::from_secs(body.fade_s),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    service: String,
    instance: String,
    epoch: u64,
    secret: String,
    #[serde(default)] // Without a fade it is clear all the same that the instance leaves.
    fade_s: u64,
}

/// Something that is not a [`Notice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNotice(String);

impl InvalidNotice {
    fn field(name: &str, accepted: &str) -> Self {
        Self(format!("`{name}` is not valid: accepted is {accepted}"))
    }
}

impl fmt::Display for InvalidNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InvalidNotice {}

/// 32 random bytes that a process keeps to itself until it leaves. It never shows in logs.
#[derive(Clone)]
pub struct NoticeSecret([u8; SECRET_BYTES]);

/// As long as its hash: guessing one is not easier than finding the other.
const SECRET_BYTES: usize = 32;

/// What secrets and their hashes are written as.
const HEX: &str = "64 hexadecimal digits";

impl NoticeSecret {
    /// A secret from the system's source of randomness.
    ///
    /// # Errors
    /// When the system has none.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// What the registration says of it, under [`key::NOTICE_KEY`]: the SHA-256 of its bytes.
    pub fn key(&self) -> NoticeKey {
        NoticeKey(Sha256::digest(self.0).into())
    }
}

impl PartialEq for NoticeSecret {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for NoticeSecret {}

impl fmt::Debug for NoticeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoticeSecret(..)")
    }
}

/// The hash of a [`NoticeSecret`], for everyone to know: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct NoticeKey([u8; SECRET_BYTES]);

impl PartialEq for NoticeKey {
    fn eq(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl Eq for NoticeKey {}

impl fmt::Display for NoticeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl FromStr for NoticeKey {
    type Err = InvalidNotice;

    fn from_str(text: &str) -> Result<Self, InvalidNotice> {
        bytes(text).map(Self).ok_or_else(|| InvalidNotice::field(key::NOTICE_KEY, HEX))
    }
}

/// Takes the same time wherever the first difference lies.
fn is_same(one: &[u8; SECRET_BYTES], other: &[u8; SECRET_BYTES]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    differences == 0
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn bytes(hex: &str) -> Option<[u8; SECRET_BYTES]> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; SECRET_BYTES];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use proptest::prelude::*;

    /// The SHA-256 of "abc" padded with zeros to 32 bytes, as `sha256sum` has it.
    const KEY: &str = "26426d7cb06a12643ccfe84107603083d835c37f000a12f734137a0c8df77f26";

    fn abc() -> NoticeSecret {
        let mut bytes = [0; SECRET_BYTES];
        bytes[..3].copy_from_slice(b"abc");
        NoticeSecret(bytes)
    }

    fn notice() -> Notice {
        let address = "10.0.0.7:8080".parse().unwrap();
        Notice::new("orders".parse().unwrap(), address, UnixMillis::new(1_732_060_800_000), abc())
    }

    fn registered(changed: &[(&str, &str)]) -> Instance {
        let said = [(key::EPOCH, "1732060800000"), (key::NOTICE, "true"), (key::NOTICE_KEY, KEY)];
        let metadata = said.iter().chain(changed).copied().collect::<Metadata>();
        Instance::new("10.0.0.7:8080".parse().unwrap()).with_metadata(metadata)
    }

    #[test]
    fn the_body_is_what_the_protocol_says() {
        let secret = "6162630000000000000000000000000000000000000000000000000000000000";
        let body = format!(
            r#"{{"service":"public##DEFAULT_GROUP@@orders","instance":"10.0.0.7:8080","epoch":1732060800000,"secret":"{secret}","fade_s":0}}"#
        );
        assert_eq!(notice().to_json(), body);
        assert_eq!(Notice::from_json(body.as_bytes()), Ok(notice()));
        let later = body.replace(r#","fade_s":0"#, r#","new":[1]"#);
        assert_eq!(Notice::from_json(later.as_bytes()), Ok(notice()));
        let written_by_hand = body.replace("public##DEFAULT_GROUP@@orders", "orders");
        assert_eq!(Notice::from_json(written_by_hand.as_bytes()), Ok(notice()));
    }

    #[test]
    fn what_is_no_notice_is_told_by_its_field_and_not_by_its_value() {
        let body = notice().to_json();
        for (good, bad, told) in [
            ("10.0.0.7:8080", "10.0.0.7", "`instance`"),
            ("public##DEFAULT_GROUP@@orders", "@@", "`service`"),
            ("616263", "61626", "`secret`"),
            ("616263", "+16263", "`secret`"),
            ("616263", "61626300", "`secret`"),
            ("1732060800000", "-1", "JSON"),
            ("\"epoch\"", "\"start\"", "JSON"),
            ("}", "", "JSON"),
        ] {
            assert!(body.contains(good), "{good}");
            let error = Notice::from_json(body.replace(good, bad).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("6162"), "{bad}: {error}");
        }
    }

    #[test]
    fn only_the_registration_with_the_hash_of_the_secret_proves_a_notice() {
        assert_eq!(abc().key().to_string(), KEY);
        assert!(notice().comes_from(&registered(&[])));
        assert!(notice().comes_from(&registered(&[(key::NOTICE_KEY, &KEY.to_uppercase())])));
        for (key, other) in [
            (key::EPOCH, "1732060800001"),
            (key::EPOCH, ""),
            (key::NOTICE_KEY, &KEY.replace("2642", "0642")),
            (key::NOTICE_KEY, &KEY.replace("7f26", "7f20")),
            (key::NOTICE_KEY, &KEY[1..]),
            (key::NOTICE_KEY, ""),
        ] {
            assert!(!notice().comes_from(&registered(&[(key, other)])), "{key}={other}");
        }
        let elsewhere = Notice { instance: "10.0.0.7:8081".parse().unwrap(), ..notice() };
        assert!(!elsewhere.comes_from(&registered(&[])));
    }

    #[test]
    fn every_secret_is_another_and_shows_in_no_log() {
        let (one, other) = (NoticeSecret::random().unwrap(), NoticeSecret::random().unwrap());
        assert!(one != other && one.key() != other.key());
        assert!(format!("{:?}", notice()).contains("secret: NoticeSecret(..)"));
    }

    proptest! {
        #[test]
        fn a_notice_survives_its_body(secret: [u8; SECRET_BYTES], epoch: u64, fade: u64) {
            let notice = Notice {
                epoch: UnixMillis::new(epoch),
                secret: NoticeSecret(secret),
                fade: Duration::from_secs(fade),
                ..notice()
            };
            prop_assert_eq!(Notice::from_json(notice.to_json().as_bytes()), Ok(notice));
        }

        #[test]
        fn no_body_panics(body: Vec<u8>, text in r#"\{("secret"|"epoch"|:|,|[0-9a-f]{0,64}|"|é){0,9}\}"#) {
            let _ = (Notice::from_json(&body), Notice::from_json(text.as_bytes()));
            let _ = NoticeKey::from_str(&text);
        }
    }
}
