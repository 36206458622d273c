//! Probes of persistent instances, as tasks beside the hub.

use super::{Hub, State};
use crate::model::{Address, InstanceKey, ServiceKey, UnixMillis};
use crate::registry::command::{Client, Command};
use crate::registry::error::Refusal;
use crate::registry::fact::Fact;
use crate::registry::health::{ClusterRecord, Finding, Probe, Target};
use crate::registry::probe;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Probes under way at once: with all of them waiting for dead machines, 200 instances a second are probed.
const PROBES_MAX: usize = 256;

impl Hub {
    /// Probes persistent instances, for ever.
    ///
    /// # Cancel safety
    /// Dropping this ends the probes that are under way.
    pub(crate) async fn check(&self) {
        let mut probes = JoinSet::new();
        loop {
            let (due, next) = self.due_probes(PROBES_MAX - probes.len());
            for (target, probe, address) in due {
                probes.spawn(async move { (target, probe::run(&probe, &address).await) });
            }
            let next = next.filter(|_| probes.len() < PROBES_MAX);
            let wait = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = probes.join_next() => {
                    // One that panicked has found nothing, and is a defect that the runtime has told.
                    if let Ok((target, finding)) = done {
                        self.found(&target, finding);
                    }
                }
                () = wait => {}
                () = self.probed_earlier.notified() => {}
            }
        }
    }

    /// Sets the health of a persistent instance that is not probed.
    ///
    /// # Errors
    /// When there is none, it is probed, or it is an ephemeral one.
    pub(crate) fn set_health(
        &self,
        service: &ServiceKey,
        key: &InstanceKey,
        healthy: bool,
    ) -> Result<(), Refusal> {
        let target = Target { service: service.clone(), key: key.clone() };
        {
            let state = self.state();
            if state.ledger.instance(service, key).is_none() {
                let is_ephemeral = state.catalog.has_instance(service, key);
                return Err(if is_ephemeral { Refusal::OwnHealth } else { Refusal::NotFound });
            }
            if state.probe_of(&target).is_some() {
                return Err(Refusal::Probed { service: target.service, cluster: target.key.cluster });
            }
        }
        let Target { service, key } = target;
        self.execute(Command::SetHealth { client: Client::Kept(key), service, healthy })
    }

    fn due_probes(&self, room: usize) -> (Vec<(Target, Probe, Address)>, Option<Instant>) {
        let (mut state, now) = (self.state(), Instant::now());
        let mut probes = Vec::new();
        for target in state.health.due(now, room) {
            match state.probe_of(&target) {
                Some((probe, address)) => probes.push((target, probe, address)),
                None => state.found(&target, None, self.now(), now),
            }
        }
        (probes, state.health.next())
    }

    fn found(&self, target: &Target, finding: Finding) {
        self.state().found(target, Some(finding), self.now(), Instant::now());
    }
}

impl State {
    /// Begins or ends to probe what a fact speaks of.
    pub(super) fn probe(&mut self, fact: &Fact, now: Instant) {
        let Fact::Instance { service, key, instance } = fact else { return };
        let target = Target { service: service.clone(), key: key.clone() };
        match instance {
            Some(_) => self.health.begin(target, now, fastrand::f64()),
            None => self.health.end(&target),
        }
    }

    /// How and where to knock; nothing for those who are not probed, or cannot be.
    fn probe_of(&self, target: &Target) -> Option<(Probe, Address)> {
        let record = self.ledger.record(&target.service);
        let cluster = record.and_then(|record| record.clusters.get(&target.key.cluster));
        let ClusterRecord { probe, port, .. } = cluster.cloned().unwrap_or_default();
        let address = &target.key.address;
        let address = Address::new(address.host(), port.unwrap_or_else(|| address.port())).ok()?;
        (probe != Probe::None && address.port() != 0).then_some((probe, address))
    }

    /// Takes a finding, or that there was nothing to be probed, which leaves the health as it is.
    fn found(&mut self, target: &Target, finding: Option<Finding>, now: UnixMillis, at: Instant) {
        let listed = self.catalog.snapshot(&target.service).get(&target.key).map(|listed| listed.healthy);
        let Some(healthy) = listed else { return };
        let unchanged = if healthy { Finding::Up } else { Finding::Missed };
        let finding = finding.unwrap_or(unchanged);
        if let Some(healthy) = self.health.found(target, healthy, finding, at) {
            let (client, service) = (Client::Kept(target.key.clone()), target.service.clone());
            // A frozen hub refuses, and that is as good.
            let _ = self.execute(Command::SetHealth { client, service, healthy }, now, at);
            tracing::info!(service.name = %target.service, instance = ?target.key, healthy, "probe found otherwise");
        }
    }
}
