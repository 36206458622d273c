//! How many instances of a service are what.

use crate::model::Instance;
use serde::Serialize;

/// The instances of one service, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) instances: usize,
    /// Those that take traffic: healthy and enabled.
    pub(crate) serving: usize,
    pub(crate) unhealthy: usize,
    pub(crate) disabled: usize,
    /// Those that say that they leave.
    pub(crate) leaving: usize,
}

impl Tally {
    /// The same with one instance more.
    pub(super) fn and(self, instance: &Instance) -> Self {
        let one = usize::from;
        Self {
            instances: self.instances + 1,
            serving: self.serving + one(instance.healthy && instance.enabled),
            unhealthy: self.unhealthy + one(!instance.healthy),
            disabled: self.disabled + one(!instance.enabled),
            leaving: self.leaving + one(instance.leaving().is_some()),
        }
    }
}
