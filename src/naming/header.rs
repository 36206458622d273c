//! The headers that providers and consumers exchange.
//!
//! They are structured fields (RFC 9651): a string with parameters. Every hop removes those it receives, so
//! that a proxying service never passes on what its own backend or its own caller said.
//!
//! ```
//! use tower_graceful::{model::UnixMillis, naming::header::OfflineTag};
//! let tag = OfflineTag::new("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
//! assert_eq!(tag.to_value(), r#""10.0.0.7:8080";epoch=1732060800000;fade=0"#);
//! assert_eq!(OfflineTag::from_value(&tag.to_value()), Some(tag));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::structured::{Item, Parameter, Quoted};
use crate::model::{Address, UnixMillis};
#[cfg(feature = "provider")]
use http::HeaderMap;
use http::{HeaderName, HeaderValue};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::Duration;

/// On answers of an instance that is leaving: an [`OfflineTag`].
pub const OFFLINE: HeaderName = HeaderName::from_static("graceful-offline");
/// On requests to governed instances: a [`CallerTag`].
pub const CALLER: HeaderName = HeaderName::from_static("graceful-caller");
/// On a 503 that a provider's layers gave without calling the handler: [`REFUSED_TRUE`].
pub const REFUSED: HeaderName = HeaderName::from_static("graceful-refused");
/// The value of [`REFUSED`].
pub const REFUSED_TRUE: HeaderValue = HeaderValue::from_static("?1");

/// What is said under `name`. Looks through the headers, which are few: the hash of one name of ours costs as
/// much as a look at ten of them.
#[cfg(feature = "provider")]
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(present, value)| (present == name).then_some(value))
}

/// Takes `name` off, which is rarely there.
#[cfg(feature = "provider")]
pub(crate) fn remove(headers: &mut HeaderMap, name: &HeaderName) {
    if find(headers, name).is_some() {
        headers.remove(name);
    }
}

/// Says which instance leaves: `"10.0.0.7:8080";epoch=1732060800000;fade=0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineTag {
    /// Address under which the instance is registered.
    pub address: Address,
    /// Start of its process: tells it from a successor at the same address.
    pub epoch: UnixMillis,
    /// Time over which its weight falls to zero; whole seconds.
    pub fade: Duration,
}

impl OfflineTag {
    /// A tag that takes the instance out at once.
    pub fn new(address: Address, epoch: UnixMillis) -> Self {
        Self { address, epoch, fade: Duration::ZERO }
    }

    /// The header's value.
    pub fn to_value(&self) -> HeaderValue {
        let Self { address, epoch, fade } = self;
        value(format_args!("\"{address}\";epoch={epoch};fade={}", fade.as_secs()))
    }

    /// Reads the header's value; nothing when it is not one of ours.
    pub fn from_value(value: &HeaderValue) -> Option<Self> {
        let item = Item::parse(value)?;
        Some(Self {
            address: item.text.parse().ok()?,
            epoch: UnixMillis::new(item.integer("epoch")?),
            fade: Duration::from_secs(item.integer("fade").unwrap_or(0)),
        })
    }
}

/// Says which consumer process calls: `"9f86d081884c7d65";app="storefront";notice="10.0.0.9:54299"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerTag {
    /// Random id of the process.
    pub id: u64,
    /// Name of the application; empty when it has none.
    pub app: String,
    /// Where it wants to be told that the instance leaves; said only to instances that do so.
    pub notice: Option<Address>,
}

impl CallerTag {
    /// The tag of this process: its id is drawn once, at the first call.
    pub fn of_this_process(app: &str) -> Self {
        static ID: OnceLock<u64> = OnceLock::new();
        // `RandomState` is keyed by the operating system: processes that start together differ too.
        let id = *ID.get_or_init(|| RandomState::new().hash_one(std::process::id()));
        Self { id, app: app.to_owned(), notice: None }
    }

    /// The header's value.
    pub fn to_value(&self) -> HeaderValue {
        let Self { id, app, notice } = self;
        let app = Some(Quoted(app)).filter(|app| !app.0.is_empty());
        let notice = notice.as_ref().map(ToString::to_string);
        let notice = notice.as_deref().map(Quoted);
        value(format_args!("\"{id:016x}\"{}{}", Parameter("app", app), Parameter("notice", notice)))
    }

    /// Reads the header's value; nothing when it is not one of ours.
    pub fn from_value(value: &HeaderValue) -> Option<Self> {
        let item = Item::parse(value)?;
        let id = u64::from_str_radix(&item.text, 16).ok().filter(|_| item.text.len() == 16)?;
        let notice = item.string("notice").and_then(|notice| notice.parse().ok());
        Some(Self { id, app: item.string("app").unwrap_or_default().to_owned(), notice })
    }

    /// Reads only the id, and allocates nothing: what a provider does with every request. Nothing when the
    /// value does not begin like one of ours.
    pub fn id_in(value: &HeaderValue) -> Option<u64> {
        let (quoted, parameters) = value.as_bytes().split_at_checked(18)?;
        let [b'"', hex @ .., b'"'] = quoted else { return None };
        let id = u64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
        matches!(parameters, [] | [b';' | b' ', ..]).then_some(id)
    }
}

fn value(text: fmt::Arguments<'_>) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).expect("addresses, numbers and quoted strings are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offline(value: &str) -> Option<OfflineTag> {
        OfflineTag::from_value(&HeaderValue::from_str(value).ok()?)
    }

    #[test]
    fn unknown_parameters_are_skipped_and_the_last_of_a_repeated_one_counts() {
        let tag = offline(r#"  "10.0.0.7:80";new=:YWJj:;x=?1;y=1.5;z;epoch=1; epoch=2;fade=20 "#).unwrap();
        assert_eq!((tag.epoch, tag.fade), (UnixMillis::new(2), Duration::from_secs(20)));
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        for bad in [
            "",
            "offline",
            r#""10.0.0.7:80""#,
            r#""10.0.0.7:80";epoch="1""#,
            r#""nowhere";epoch=1"#,
            r#""10.0.0.7:80;epoch=1"#,
            r#""10.0.0.7:80";Epoch=1"#,
            r#""10.0.0.7:80";epoch=-1"#,
            r#""10.0.0.7:80";epoch=1234567890123456"#,
            r#""10.0.0.7:80";epoch=1, "b""#,
            r#""\a:80";epoch=1"#,
        ] {
            assert_eq!(offline(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_caller_says_where_it_takes_notices() {
        let notice = "10.0.0.9:54299".parse().ok();
        let tag = CallerTag { id: 0x9f86_d081_884c_7d65, app: "storefront".to_owned(), notice };
        let value = r#""9f86d081884c7d65";app="storefront";notice="10.0.0.9:54299""#;
        assert_eq!(tag.to_value(), value);
        let nowhere = HeaderValue::from_static(r#""9f86d081884c7d65";app="storefront";notice="54299""#);
        assert_eq!(CallerTag::from_value(&nowhere), Some(CallerTag { notice: None, ..tag }));
    }

    proptest! {
        #[test]
        fn a_caller_tag_survives_its_header(id: u64, app in "[ -~]{0,40}", v6: [u16; 8], port: Option<u16>) {
            let notice = port.map(|port| Address::new(&std::net::Ipv6Addr::from(v6).to_string(), port).unwrap());
            let tag = CallerTag { id, app, notice };
            let value = tag.to_value();
            prop_assert_eq!(CallerTag::id_in(&value), Some(tag.id));
            prop_assert_eq!(CallerTag::from_value(&value), Some(tag));
        }

        #[test]
        fn no_value_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = (OfflineTag::from_value(&value), CallerTag::from_value(&value));
                let _ = CallerTag::id_in(&value);
            }
        }
    }
}
