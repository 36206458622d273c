//! What readers see of an instance, when others than itself have had their say.
//!
//! Pure. An operator's word on the instance counts most, then what is said of the whole service, then the
//! registration. Only keys of metadata that configure are laid over a whole service: those that tell about
//! one process would make all instances the same one.

use super::fact::Overrides;
use crate::model::{Instance, InstanceKey, Metadata, Sources, UnixMillis, key};
use std::collections::{BTreeMap, BTreeSet};

/// Keys of a service's metadata with this prefix hold for each of its instances.
const PREFIX: &str = "graceful.";
/// Keys that tell about one process, and hold for no other.
const OF_ONE_PROCESS: [&str; 5] =
    [key::VERSION, key::EPOCH, key::WARM_UP_START, key::LEAVING, "graceful.notice.key"];

/// Keys that tell those who are yet to come what to do, and say nothing of who is there.
const OF_THOSE_TO_COME: [&str; 1] = [key::DELAY];

/// What lies over the registrations of one service.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    of_all: Metadata,
    to_come: Metadata,
    of_one: BTreeMap<InstanceKey, Laid>,
}

#[derive(Debug)]
struct Laid {
    overrides: Overrides,
    /// Since when the instance is not there.
    missing_since: Option<UnixMillis>,
}

impl Overlay {
    /// Takes what is said of the whole service from its metadata.
    pub(super) fn lay_over_all(&mut self, metadata: &Metadata) {
        let holds = |key: &str| key.starts_with(PREFIX) && !OF_ONE_PROCESS.contains(&key);
        let (to_come, of_all): (Vec<_>, Vec<_>) = metadata
            .iter()
            .filter(|(key, _)| holds(key))
            .partition(|(key, _)| OF_THOSE_TO_COME.contains(key));
        self.of_all = of_all.into_iter().collect();
        self.to_come = to_come.into_iter().collect();
    }

    /// Takes what operators have set on one instance, in the place of what they had set before.
    pub(super) fn lay_over(&mut self, key: &InstanceKey, overrides: Option<Overrides>) {
        match overrides {
            Some(overrides) => self.of_one.insert(key.clone(), Laid { overrides, missing_since: None }),
            None => self.of_one.remove(key),
        };
    }

    /// Notes whether an instance is there.
    pub(super) fn note(&mut self, key: &InstanceKey, is_there: bool, now: UnixMillis) {
        if let Some(laid) = self.of_one.get_mut(key) {
            let since = laid.missing_since.unwrap_or(now);
            laid.missing_since = (!is_there).then_some(since);
        }
    }

    /// Since when an instance on which something is set is not there.
    pub(super) fn missing_since(&self, key: &InstanceKey) -> Option<UnixMillis> {
        self.of_one.get(key)?.missing_since
    }

    /// Whether nothing is laid over one instance or another.
    pub(super) fn is_clear_of_overrides(&self) -> bool {
        self.of_one.is_empty()
    }

    /// Whose word counts more than the registrations', by the keys that matter to this crate, and what is said
    /// of the service.
    pub(super) fn sources(&self) -> Sources {
        let here = self.of_one.iter().filter(|(_, laid)| laid.missing_since.is_none());
        let set = here.filter_map(|(key, laid)| {
            let keys = laid.overrides.metadata.iter().map(|(key, _)| key);
            let keys: BTreeSet<_> = keys.filter(|key| key.starts_with(PREFIX)).map(str::to_owned).collect();
            (!keys.is_empty()).then(|| (key.clone(), keys))
        });
        let service = self.of_all.iter().map(|(key, _)| key.to_owned()).collect();
        let settings = self.of_all.iter().chain(self.to_come.iter()).collect();
        Sources { service, instances: set.collect(), settings }
    }

    /// Whether readers are given an instance with this registration.
    pub(super) fn gives(&self, registered: &Instance) -> bool {
        let set = self.of_one.get(&registered.key).and_then(|laid| laid.overrides.enabled);
        set.unwrap_or(registered.enabled)
    }

    /// The instance as readers see it.
    pub(super) fn show(&self, registered: Instance) -> Instance {
        let mut shown = registered;
        if !self.of_all.is_empty() {
            shown.metadata = shown.metadata.iter().chain(self.of_all.iter()).collect();
        }
        let Some(Laid { overrides: set, .. }) = self.of_one.get(&shown.key) else { return shown };
        shown.enabled = set.enabled.unwrap_or(shown.enabled);
        shown.weight = set.weight.unwrap_or(shown.weight);
        if !set.metadata.is_empty() {
            shown.metadata = shown.metadata.iter().chain(set.metadata.iter()).collect();
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Source, Weight};

    #[test]
    fn an_operator_counts_more_than_the_service_and_that_more_than_the_registration() {
        let words = [("a", "1"), ("graceful.warmup", "10"), ("graceful.warmup.floor", "0.5")];
        let registered =
            Instance::new("10.0.0.7:80".parse().unwrap()).with_metadata(words.into_iter().collect());
        let mut overlay = Overlay::default();
        let of_all = [("graceful.warmup", "60"), ("graceful.notice", "true"), (key::EPOCH, "7"), ("a", "2")];
        overlay.lay_over_all(&of_all.into_iter().collect());
        let (weight, metadata) =
            (Weight::new(0.5).unwrap(), Metadata::from_iter([("graceful.notice", "false")]));
        let overrides = Overrides { enabled: Some(false), weight: Some(weight), metadata };
        overlay.lay_over(&registered.key, Some(overrides));
        assert!(!overlay.gives(&registered));
        let shown = overlay.show(registered.clone());
        assert_eq!((shown.enabled, shown.weight), (false, weight));
        let expected = [
            ("a", "1"),
            ("graceful.notice", "false"),
            ("graceful.warmup", "60"),
            ("graceful.warmup.floor", "0.5"),
        ];
        assert_eq!(shown.metadata, expected.into_iter().collect());
        let source = |overlay: &Overlay, word| overlay.sources().of(&registered.key, word);
        assert_eq!(source(&overlay, "graceful.notice"), Some(Source::Instance));
        assert_eq!(source(&overlay, "graceful.warmup"), Some(Source::Service));
        assert_eq!(["graceful.warmup.floor", "a"].map(|word| source(&overlay, word)), [None; 2]);
        assert_eq!(overlay.sources().settings.get("graceful.warmup"), Some("60"));
        overlay.lay_over(&registered.key, None);
        assert_eq!(source(&overlay, "graceful.notice"), Some(Source::Service));
        assert!(overlay.gives(&registered));
        assert_eq!(overlay.show(registered).metadata.get("graceful.notice"), Some("true"));
    }

    #[test]
    fn what_is_said_to_those_who_are_yet_to_come_is_told_and_laid_over_nobody() {
        let registered = Instance::new("10.0.0.7:80".parse().unwrap());
        let mut overlay = Overlay::default();
        overlay.lay_over_all(&Metadata::from_iter([(key::DELAY, "30"), ("owner", "ann")]));
        assert_eq!(overlay.show(registered.clone()), registered);
        let sources = overlay.sources();
        assert_eq!(sources.settings, Metadata::from_iter([(key::DELAY, "30")]));
        assert_eq!((sources.of(&registered.key, key::DELAY), sources.is_empty()), (None, false));
    }
}
