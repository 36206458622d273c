//! Free words of an instance or a service.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// String keys with string values, sorted by key; a clone shares them.
///
/// All of them are one text, for a registry holds a hundred thousand of these: each key, and each value after
/// it, stands behind its length in bytes, as in `7:version1:24:zone1:a`.
///
/// ```
/// use tower_graceful::model::Metadata;
/// let metadata = Metadata::from_iter([("zone", "a"), ("version", "2")]);
/// assert_eq!(metadata.get("zone"), Some("a"));
/// assert_eq!(metadata.with("zone", "b").get("zone"), Some("b"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Arc<str>);

impl Metadata {
    /// Metadata without any key.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// The value of `key` read as a `T`; nothing when it is absent or does not read as one.
    pub fn parse<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.trim().parse().ok()
    }

    /// The same metadata with `key` set to `value`.
    #[must_use]
    pub fn with(&self, key: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        self.iter().chain([(key, value.as_str())]).collect()
    }

    /// The same metadata without `key`.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        self.iter().filter(|(k, _)| *k != key).collect()
    }

    /// All keys with their values, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        Entries { rest: &self.0 }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Length of all keys and values together, in characters: what Nacos limits to 1024.
    pub fn chars(&self) -> usize {
        self.iter().map(|(key, value)| key.chars().count() + value.chars().count()).sum()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Metadata {
    /// Of several values for one key the last one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        entries.reverse();
        entries.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref())); // Stable: the last given comes first,
        entries.dedup_by(|(later, _), (kept, _)| later.as_ref() == kept.as_ref()); // and stays.
        let mut text = String::new();
        for word in entries.iter().flat_map(|(key, value)| [key.as_ref(), value.as_ref()]) {
            let _ = write!(text, "{}:{word}", word.len()); // Into a string, which takes everything.
        }
        Self(text.into())
    }
}

/// What is left of the text of some metadata.
struct Entries<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = first_word(self.rest)?;
        let (value, rest) = first_word(rest)?;
        self.rest = rest;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = Self { rest: self.rest }.fold(0, |left, _| left + 1);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// The first word of a text, and what follows it.
fn first_word(text: &str) -> Option<(&str, &str)> {
    let (len, rest) = text.split_once(':')?;
    rest.split_at_checked(len.parse().ok()?)
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_counts() {
        let metadata = Metadata::from_iter([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(metadata.with("a", 4).get("a"), Some("4"));
        assert_eq!(metadata.without("a"), Metadata::from_iter([("b", "3")]));
        assert_eq!(metadata.get("c"), None);
    }

    #[test]
    fn words_may_be_empty_or_hold_anything() {
        let words = [("", "1:a"), ("2:", ""), ("\u{0}", "\u{fc}\u{10348}"), ("k", "12:")];
        let metadata = Metadata::from_iter(words);
        assert_eq!((metadata.len(), metadata.chars()), (4, 12));
        for (key, value) in words {
            assert_eq!(metadata.get(key), Some(value));
        }
        let mut entries = metadata.iter();
        entries.next();
        assert_eq!((entries.len(), Metadata::new().len()), (3, 0));
    }
}
