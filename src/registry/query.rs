//! The read side: which instances of a list, and which page of the names, a reader asked for.

use super::bound::Bound;
use super::error::Refusal;
use super::fact::{Kind, ServiceRecord};
use super::texts::{Form, Texts};
use crate::model::{Cluster, Instance, InstanceKey, Removal, ServiceKey, Snapshot, Sources, UnixMillis};
use crate::protocol::entity::ServiceInfo;
use crate::protocol::written::Written;
use std::sync::Arc;

/// A service at one moment: who is there, and who has gone lately.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) removed: Vec<Removal>,
    /// When the first of those who have gone is to be told no more.
    pub(crate) until: Option<UnixMillis>,
    /// When no greater a share of the instances than this is healthy, all are given as healthy; nothing where
    /// nobody has said anything of the service.
    pub(crate) protect_threshold: Option<f64>,
    pub(crate) sources: Sources,
    pub(crate) texts: Texts,
}

/// Time between two polls that lists propose, in milliseconds: clients over HTTP learn by polling only, and
/// some of them give a list up that is older than three seconds.
pub(crate) const POLL_MILLIS: u64 = 2_000;

impl View {
    /// Whether it is what readers are given at `now`, if the list has not changed.
    pub(crate) fn holds(&self, now: UnixMillis) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// The list for a reader of some clusters, as text that is written for the first of them.
    pub(crate) fn written(&self, form: Form, clusters: &Clusters, healthy_only: bool) -> Written {
        self.texts.get_or_write((form, clusters, healthy_only), || {
            let info = self.service_info(clusters, healthy_only);
            match form {
                Form::Grpc => info,
                Form::Http => info.grouped(self.snapshot.service(), POLL_MILLIS),
            }
        })
    }

    /// The same for a message over gRPC.
    pub(crate) fn message(&self, clusters: &Clusters, healthy_only: bool) -> ServiceInfo {
        ServiceInfo::from_written(self.written(Form::Grpc, clusters, healthy_only))
    }

    /// The list for a reader of some clusters, in its wire form.
    pub(crate) fn service_info(&self, clusters: &Clusters, healthy_only: bool) -> ServiceInfo {
        let (service, revision) = (self.snapshot.service(), self.snapshot.revision());
        let info = |hosts: &mut dyn Iterator<Item = &Instance>| {
            let info = ServiceInfo::new(service, revision, clusters.asked(), hosts);
            info.explained(&self.removed).set_by(&self.sources)
        };
        if !self.is_protected(clusters) {
            return info(&mut listed(&self.snapshot, clusters, healthy_only));
        }
        let all: Vec<_> = listed(&self.snapshot, clusters, false).cloned().collect();
        let all: Vec<_> = all.into_iter().map(|host| Instance { healthy: true, ..host }).collect();
        ServiceInfo { reach_protection_threshold: true, ..info(&mut all.iter()) }
    }

    /// Whether so few of the instances are healthy that sending everyone there would break them too.
    ///
    /// A threshold of 0 protects as well: when nobody is healthy.
    fn is_protected(&self, clusters: &Clusters) -> bool {
        let Some(threshold) = self.protect_threshold else { return false };
        let all = listed(&self.snapshot, clusters, false).count();
        let healthy = listed(&self.snapshot, clusters, true).count();
        all > 0 && healthy as f64 / all as f64 <= threshold
    }
}

/// A service as operators see it: everyone who is registered, and what is said of the service.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Of its instances; the record may be older.
    pub(crate) kind: Kind,
    pub(crate) record: Arc<ServiceRecord>,
}

/// Which services an operator looks for: those whose name, group and addresses contain what is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    pub(crate) name: String,
    pub(crate) group: String,
    /// A part of `host:port` of one of its instances.
    pub(crate) address: String,
    /// Whether those without instances are left out.
    pub(crate) ignore_empty: bool,
}

impl Search {
    /// Whether a service with these instances is looked for.
    pub(crate) fn finds<'a>(
        &self,
        service: &ServiceKey,
        instances: impl Iterator<Item = &'a InstanceKey>,
    ) -> bool {
        let mut instances = instances.peekable();
        service.name.as_str().contains(&self.name)
            && service.group.as_str().contains(&self.group)
            && (!self.ignore_empty || instances.peek().is_some())
            && (self.address.is_empty()
                || instances.any(|key| key.address.to_string().contains(&self.address)))
    }
}

/// The clusters that a reader wants to see, in its own words: a comma list, where nothing means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Clusters(String);

/// Length of the comma list, in bytes: room for dozens of clusters, kept for each subscription.
const CLUSTERS_BYTES_MAX: usize = 4096;

impl Clusters {
    /// Takes the words as they are: the answer repeats them to the letter.
    pub(crate) fn new(asked: String) -> Result<Self, Refusal> {
        if asked.len() > CLUSTERS_BYTES_MAX {
            return Err(Refusal::TooMany { bound: Bound::ClusterList, max: CLUSTERS_BYTES_MAX });
        }
        Ok(Self(asked))
    }

    /// What was asked, to the letter.
    pub(crate) fn asked(&self) -> &str {
        &self.0
    }

    /// Whether instances of `cluster` are wanted.
    pub(crate) fn admit(&self, cluster: &Cluster) -> bool {
        let mut wanted = self.0.split(',').map(str::trim).filter(|name| !name.is_empty()).peekable();
        wanted.peek().is_none() || wanted.any(|name| name == cluster.as_str())
    }
}

/// What readers get to see of a list: never a disabled instance, unhealthy ones unless `healthy_only`.
fn listed<'a>(
    snapshot: &'a Snapshot,
    clusters: &'a Clusters,
    healthy_only: bool,
) -> impl Iterator<Item = &'a Instance> {
    let wanted = move |instance: &&Instance| {
        instance.enabled && (instance.healthy || !healthy_only) && clusters.admit(&instance.key.cluster)
    };
    snapshot.instances().iter().filter(wanted)
}

/// A page of something long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// From 1 on.
    number: usize,
    size: usize,
}

impl Page {
    /// Page `number` from 1 on, of `size` entries up to `size_max`, both brought into their range: clients ask for
    /// the largest number there is where they want all.
    pub(crate) fn new(number: usize, size: usize, size_max: usize) -> Self {
        Self { number: number.max(1), size: size.clamp(1, size_max.max(1)) }
    }

    /// Its number, and the entries of each page.
    pub(crate) fn place(self) -> (usize, usize) {
        (self.number, self.size)
    }

    /// The entries on this page; none past the end.
    pub(crate) fn of<T>(self, all: impl Iterator<Item = T>) -> Vec<T> {
        all.skip((self.number - 1).saturating_mul(self.size)).take(self.size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(port: u16, cluster: &str) -> Instance {
        let mut instance = Instance::new(crate::model::Address::new("10.0.0.7", port).unwrap());
        instance.key.cluster = cluster.parse().unwrap();
        instance
    }

    #[test]
    fn a_reader_sees_its_clusters_and_never_what_is_disabled() {
        let (mut disabled, mut unhealthy) = (instance(3, "DEFAULT"), instance(4, "b"));
        (disabled.enabled, unhealthy.healthy) = (false, false);
        let all = vec![instance(1, "DEFAULT"), instance(2, "a"), disabled, unhealthy];
        let snapshot = Snapshot::new("orders".parse().unwrap(), 1, all);
        let ports = |asked: &str, healthy_only| -> Vec<u16> {
            let clusters = Clusters::new(asked.to_owned()).unwrap();
            listed(&snapshot, &clusters, healthy_only).map(|instance| instance.address().port()).collect()
        };
        assert_eq!(ports("", false), [1, 2, 4]);
        assert_eq!(ports(",", false), [1, 2, 4]);
        assert_eq!(ports("", true), [1, 2]);
        assert_eq!(ports("a, b", false), [2, 4]);
        assert_eq!(ports("DEFAULT", false), [1]);
        assert_eq!(ports("c", false), [] as [u16; 0]);
    }

    #[test]
    fn when_too_few_are_healthy_all_are_given_and_as_healthy() {
        let mut sick = instance(1, "DEFAULT");
        sick.healthy = false;
        let mut hidden = instance(9, "DEFAULT");
        hidden.enabled = false;
        let given = |healthy: u16, protect_threshold, healthy_only| {
            let well = (2..2 + healthy).map(|port| instance(port, "DEFAULT"));
            let all = well.chain([sick.clone(), hidden.clone()]).collect();
            let snapshot = Arc::new(Snapshot::new("orders".parse().unwrap(), 1, all));
            let (removed, sources, texts) = (Vec::new(), Sources::default(), Texts::default());
            let view = View { snapshot, removed, until: None, protect_threshold, sources, texts };
            let info = view.service_info(&Clusters::default(), healthy_only);
            let healthy = info.hosts.iter().filter(|host| host.healthy).count();
            (info.reach_protection_threshold, info.hosts.len(), healthy)
        };
        assert_eq!(given(1, Some(0.5), false), (true, 2, 2), "half of them");
        assert_eq!(given(1, Some(0.5), true), (true, 2, 2), "also to whoever wants the healthy ones only");
        assert_eq!(given(2, Some(0.5), false), (false, 3, 2));
        assert_eq!(given(0, Some(0.0), false), (true, 1, 1), "none is not more than none");
        assert_eq!(given(0, None, false), (false, 1, 0), "nobody has said anything");
    }

    #[test]
    fn pages_count_from_one_and_end_with_the_entries() {
        let new = |number, size| Page::new(number, size, 100);
        assert_eq!(new(1, 2).of(1..=5), [1, 2]);
        assert_eq!(new(3, 2).of(1..=5), [5]);
        assert_eq!(new(4, 2).of(1..=5), [] as [i32; 0]);
        assert_eq!(new(0, 0).of(1..=5), [1]);
        assert_eq!(new(usize::MAX, usize::MAX).of(1..=5), [] as [i32; 0]);
        assert_eq!(new(2, 101).of(1..=150).len(), 50);
        assert_eq!(new(2, 101).place(), (2, 100));
    }
}
