//! What providers and consumers say to each other.

use super::header::{CallerTag, OfflineTag};
use super::notice::Notice;
use http::HeaderValue;

/// One text as the value of each header and as the body of a notice. What can be read is written as something
/// that is read as the same.
pub(crate) fn words(input: &[u8]) {
    if let Ok(notice) = Notice::from_json(input) {
        assert_eq!(Notice::from_json(notice.to_json().as_bytes()), Ok(notice));
    }
    let Ok(value) = HeaderValue::from_bytes(input) else { return };
    if let Some(tag) = OfflineTag::from_value(&value) {
        assert_eq!(OfflineTag::from_value(&tag.to_value()), Some(tag));
    }
    if let Some(tag) = CallerTag::from_value(&value) {
        assert_eq!(CallerTag::from_value(&tag.to_value()).as_ref(), Some(&tag));
        let trimmed = HeaderValue::from_bytes(input.trim_ascii()).expect("a part of a value is one");
        assert_eq!(CallerTag::id_in(&trimmed), Some(tag.id), "both ways to read the id");
    }
}
