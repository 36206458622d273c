//! Whose word it is that a listed instance does not say what it registered.

use super::{InstanceKey, Metadata};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Who has said a word of an instance's metadata that counts more than its registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// An operator, of this instance. Counts most.
    Instance,
    /// Whoever describes the service, of all its instances.
    Service,
}

impl Source {
    /// Its word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The keys of metadata that are not the registrations' own in one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    /// Said of the service, and so of each instance.
    pub(crate) service: BTreeSet<String>,
    /// Said of one instance.
    pub(crate) instances: BTreeMap<InstanceKey, BTreeSet<String>>,
    /// What is said of the service, also for instances that are yet to come, by keys of this crate's.
    pub(crate) settings: Metadata,
}

impl Sources {
    /// Who has said the word at `key` of an instance; nothing where that is the registration, or nobody.
    pub(crate) fn of(&self, instance: &InstanceKey, key: &str) -> Option<Source> {
        let of_instance = self.instances.get(instance).is_some_and(|keys| keys.contains(key));
        let of_service = || self.service.contains(key).then_some(Source::Service);
        if of_instance { Some(Source::Instance) } else { of_service() }
    }

    /// Whether everyone says what it registered, and nothing is said of who is yet to come.
    #[cfg(feature = "protocol")]
    pub(crate) fn is_empty(&self) -> bool {
        self.service.is_empty() && self.instances.is_empty() && self.settings.is_empty()
    }
}
