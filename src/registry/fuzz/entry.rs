//! Entries of a data directory.

use super::super::storage::{read_entry, write_entry};
use super::live;

/// A key and, below it, a value. What can be read is written as something that is read as the same, and a
/// registry can start from it.
pub(crate) fn entry(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let entries = text.split("\n\n").filter_map(|entry| entry.split_once('\n'));
    let facts: Vec<_> = entries.filter_map(|(key, value)| read_entry(key, value).ok()).collect();
    for fact in &facts {
        let (key, value) = write_entry(fact).expect("facts can be written");
        let again = read_entry(&key, &value.expect("something is said"));
        assert_eq!(again.as_ref().ok(), Some(fact), "{again:?}");
    }
    live(async |hub| {
        hub.restore(facts);
        let _ = hub.counts();
    });
}
