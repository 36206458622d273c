//! How many instances of a service are what.

use crate::model::Instance;
use serde::Serialize;

/// The instances of one service, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) instances: usize,
    /// Those that take traffic: healthy, enabled, of a weight and at a port.
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
            serving: self.serving + one(instance.takes_traffic()),
            unhealthy: self.unhealthy + one(!instance.healthy),
            disabled: self.disabled + one(!instance.enabled),
            leaving: self.leaving + one(instance.leaving().is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Weight};

    #[test]
    fn an_instance_without_weight_or_port_serves_nobody() {
        let at = |port| Instance::new(Address::new("10.0.0.7", port).unwrap());
        let resting = Instance { weight: Weight::NONE, ..at(81) };
        let tally = [at(80), resting, at(0)].iter().fold(Tally::default(), Tally::and);
        assert_eq!((tally.instances, tally.serving, tally.unhealthy), (3, 1, 0));
    }
}
