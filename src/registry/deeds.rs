//! What operators have done to services as a whole lately. What they do to an instance is among its events.
//!
//! Pure: moments come in as arguments. One bounded ring for all services; nothing is decided by it.

use super::access::Operator;
use super::fact::ServiceRecord;
use crate::model::{ServiceKey, UnixMillis};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Deeds in all: people do them, or scripts that do the same again and again. About a megabyte.
const MAX: usize = 2000;
/// How long a deed is kept: as long as the events of instances.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Letters of what is said about one.
const DETAIL_CHARS_MAX: usize = 200;

/// One change of what holds for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) at: UnixMillis,
    pub(crate) service: ServiceKey,
    /// `created`, `changed` or `deleted`.
    pub(crate) what: &'static str,
    /// What holds otherwise than before.
    pub(crate) detail: String,
    pub(crate) by: Option<Operator>,
}

/// The deeds of all services, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Deeds(VecDeque<Deed>);

impl Deeds {
    pub(crate) fn record(&mut self, deed: Deed) {
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        self.0.push_back(deed);
    }

    /// What was done to one service, the newest first.
    pub(crate) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = &Deed> {
        self.0.iter().rev().filter(move |deed| deed.service == *service)
    }

    /// Forgets what was done too long before `now`.
    pub(crate) fn tidy(&mut self, now: UnixMillis) {
        while self.0.front().is_some_and(|oldest| now.since(oldest.at) > KEPT) {
            self.0.pop_front();
        }
    }
}

/// What it means that a service's record becomes another one, in a word and in detail; nothing when it means
/// nothing to people, as when what was said of a service that nobody created is forgotten with it.
pub(crate) fn meaning(
    before: Option<&ServiceRecord>,
    after: Option<&ServiceRecord>,
) -> Option<(&'static str, String)> {
    let Some(after) = after else {
        return before.filter(|before| before.lasting).map(|_| ("deleted", String::new()));
    };
    let created = after.lasting && before.is_none_or(|before| !before.lasting);
    let nothing_said = ServiceRecord::new(after.kind);
    let before = before.unwrap_or(&nothing_said);
    let mut words = Vec::new();
    if created {
        words.push(after.kind.as_str().to_owned());
    }
    if before.protect_threshold != after.protect_threshold {
        words.push(format!("protection threshold {}", after.protect_threshold));
    }
    let metadata = before.metadata.iter().chain(after.metadata.iter());
    for key in metadata.map(|(key, _)| key).collect::<BTreeSet<_>>() {
        match after.metadata.get(key) {
            value if value == before.metadata.get(key) => {}
            Some(value) => words.push(format!("{key}={value}")),
            None => words.push(format!("{key} taken back")),
        }
    }
    if before.selector != after.selector {
        words.push("selector".to_owned());
    }
    if before.clusters != after.clusters {
        words.push("probes of a cluster".to_owned());
    }
    if words.is_empty() {
        return None;
    }
    let detail = words.join(", ").chars().take(DETAIL_CHARS_MAX).collect();
    Some((if created { "created" } else { "changed" }, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use crate::registry::fact::Kind;

    #[test]
    fn a_deed_says_what_holds_otherwise_than_before() {
        let plain = ServiceRecord::new(Kind::Ephemeral);
        let created = ServiceRecord { lasting: true, protect_threshold: 0.5, ..plain.clone() };
        let metadata = Metadata::from_iter([("graceful.warmup", "60"), ("owner", "ann")]);
        let said = ServiceRecord { metadata, ..created.clone() };
        let meaning = |before, after| {
            meaning(before, after).map(|(what, detail): (_, String)| format!("{what}: {detail}"))
        };
        let expected = "created: ephemeral, protection threshold 0.5";
        assert_eq!(meaning(None, Some(&created)).as_deref(), Some(expected));
        assert_eq!(meaning(Some(&plain), Some(&created)).as_deref(), Some(expected));
        let expected = "changed: graceful.warmup=60, owner=ann";
        assert_eq!(meaning(Some(&created), Some(&said)).as_deref(), Some(expected));
        let expected = "changed: graceful.warmup taken back, owner taken back";
        assert_eq!(meaning(Some(&said), Some(&created)).as_deref(), Some(expected));
        assert_eq!(meaning(Some(&said), None).as_deref(), Some("deleted: "));
        assert_eq!(meaning(Some(&said), Some(&said)), None);
        assert_eq!(meaning(Some(&plain), None), None, "nobody had created it");
        let long =
            ServiceRecord { metadata: Metadata::from_iter([("k", "v".repeat(60_000))]), ..plain.clone() };
        assert!(meaning(Some(&plain), Some(&long)).unwrap().len() < 300);
    }

    #[test]
    fn deeds_are_few_and_are_kept_for_a_day() {
        let mut deeds = Deeds::default();
        let deed = |service: &str, at| Deed {
            at: UnixMillis::new(at),
            service: service.parse().unwrap(),
            what: "changed",
            detail: String::new(),
            by: None,
        };
        for at in 0..MAX as u64 + 5 {
            deeds.record(deed(if at == 7 { "carts" } else { "orders" }, at));
        }
        assert_eq!(deeds.0.len(), MAX);
        assert_eq!(deeds.of(&"carts".parse().unwrap()).count(), 1);
        let newest = deeds.of(&"orders".parse().unwrap()).next().unwrap();
        assert_eq!(newest.at.as_u64(), MAX as u64 + 4);
        deeds.tidy(UnixMillis::new(1000) + KEPT);
        assert_eq!(deeds.0.front().unwrap().at.as_u64(), 1000);
    }
}
