//! What outlives the process, by services.

use super::Hub;
use crate::model::{Instance, InstanceKey, ServiceKey};
use crate::registry::fact::{Kind, Overrides, ServiceRecord};
use std::sync::Arc;

/// What is kept of one service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptService {
    pub(crate) service: ServiceKey,
    pub(crate) kind: Kind,
    /// One that says nothing, where nobody has said anything.
    pub(crate) record: Arc<ServiceRecord>,
    /// Persistent ones as they were registered.
    pub(crate) instances: Vec<Instance>,
    pub(crate) overrides: Vec<(InstanceKey, Overrides)>,
}

impl Hub {
    /// What is kept of as many as `most` services after one, sorted.
    pub(crate) fn kept(&self, after: Option<&ServiceKey>, most: usize) -> Vec<KeptService> {
        let state = self.state();
        let services = state.ledger.services_after(after, most).into_iter();
        let kept = services.map(|service| {
            let kind = state.present().kind(&service).unwrap_or(Kind::Ephemeral);
            let record = state.ledger.record(&service).cloned();
            let (instances, overrides) = state.ledger.kept_in(&service);
            KeptService {
                record: record.unwrap_or_else(|| Arc::new(ServiceRecord::new(kind))),
                kind,
                instances,
                overrides,
                service,
            }
        });
        kept.collect()
    }
}
