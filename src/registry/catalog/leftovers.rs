//! Of whom something is said though they are gone, by the moment since when: so that it is dropped in time, and
//! nobody looks through all that is said.

use crate::model::{InstanceKey, ServiceKey, UnixMillis};
use std::collections::BTreeSet;
use std::time::Duration;

/// What something is said of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Service(ServiceKey),
    Instance(ServiceKey, InstanceKey),
}

/// Those who are gone.
#[derive(Debug, Default)]
pub(super) struct Leftovers(BTreeSet<(UnixMillis, Subject)>);

impl Leftovers {
    /// Notes since when a subject is gone, or that it is not, in the place of what was noted before.
    pub(super) fn note(
        &mut self,
        (before, after): (Option<UnixMillis>, Option<UnixMillis>),
        subject: impl FnOnce() -> Subject,
    ) {
        if before == after {
            return;
        }
        let subject = subject();
        if let Some(before) = before {
            self.0.remove(&(before, subject.clone()));
        }
        self.0.extend(after.map(|after| (after, subject)));
    }

    /// Those who have been gone for `kept_for`, the longest gone first.
    pub(super) fn gone_for(&self, kept_for: Duration, now: UnixMillis) -> impl Iterator<Item = &Subject> {
        let due = self.0.iter().take_while(move |(since, _)| now.since(*since) >= kept_for);
        due.map(|(_, subject)| subject)
    }
}
