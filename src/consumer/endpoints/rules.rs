//! By which rules a balancer chooses.

use super::bound::MaxAmplification;
use crate::Clock;
use crate::consumer::pick::Policy;
use crate::model::Instance;
use crate::observe::Observers;
use std::fmt;
use std::sync::Arc;

/// The settings of a balancer that concern its choice, and who is told of it.
#[derive(Clone, Debug)]
pub(in crate::consumer) struct Rules {
    pub(in crate::consumer) policy: Policy,
    /// Nothing lets the ramps be, whatever is left of the fleet.
    pub(in crate::consumer) max_amplification: Option<MaxAmplification>,
    pub(in crate::consumer) subset: Subset,
    pub(in crate::consumer) clock: Clock,
    pub(in crate::consumer) observers: Observers,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            max_amplification: Some(MaxAmplification::default()),
            subset: Subset::default(),
            clock: Clock::system(),
            observers: Observers::default(),
        }
    }
}

/// Which instances of a service count at all: those that every filter lets through.
#[derive(Clone, Default)]
pub(in crate::consumer) struct Subset(Vec<Filter>);

type Filter = Arc<dyn Fn(&Instance) -> bool + Send + Sync>;

impl Subset {
    /// Those of this subset that `filter` lets through too.
    pub(in crate::consumer) fn and(
        mut self,
        filter: impl Fn(&Instance) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.0.push(Arc::new(filter));
        self
    }

    pub(super) fn has(&self, instance: &Instance) -> bool {
        self.0.iter().all(|filter| filter(instance))
    }
}

impl fmt::Debug for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subset({} filters)", self.0.len())
    }
}
