//! Free words of an instance or a service.

use std::fmt;
use std::sync::Arc;

/// String keys with string values, sorted by key; a clone shares them.
///
/// ```
/// use tower_graceful::model::Metadata;
/// let metadata = Metadata::from_iter([("zone", "a"), ("version", "2")]);
/// assert_eq!(metadata.get("zone"), Some("a"));
/// assert_eq!(metadata.with("zone", "b").get("zone"), Some("b"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Metadata(Arc<[Entry]>);

type Entry = (Box<str>, Box<str>);

impl Metadata {
    /// Metadata without any key.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.0[at].1)
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
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
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

impl Default for Metadata {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Metadata {
    /// Of several values for one key the last one counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        entries.reverse();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b)); // Stable: the last given comes first, and stays.
        entries.dedup_by(|(later, _), (kept, _)| later == kept);
        Self(entries.into())
    }
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
}
