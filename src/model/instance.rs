//! One running copy of a service.

use super::{Address, Cluster, Leaving, Metadata, UnixMillis, WarmUp, WarmUpAge, Weight, key};
use std::fmt;

/// What tells the instances of one service apart in a registry: address and cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Where the instance is reached.
    pub address: Address,
    /// Cluster inside the service.
    pub cluster: Cluster,
}

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.cluster)
    }
}

/// One running copy of a service, as its registration describes it.
///
/// ```
/// use tower_graceful::model::Instance;
/// let instance = Instance::new("10.0.0.7:8080".parse()?);
/// assert!(instance.takes_traffic() && !instance.is_governed());
/// # Ok::<(), tower_graceful::model::InvalidAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// What tells it apart from the service's other instances.
    pub key: InstanceKey,
    /// Registered weight, before any warm-up.
    pub weight: Weight,
    /// Whether its heartbeats or health checks are in order.
    pub healthy: bool,
    /// Whether operators let it take traffic.
    pub enabled: bool,
    /// Whether it goes when its connection or its heartbeats end.
    pub ephemeral: bool,
    /// Free words; ours are listed in [`key`].
    pub metadata: Metadata,
}

impl Instance {
    /// A healthy, enabled, ephemeral instance of full weight without metadata in the default cluster.
    pub fn new(address: Address) -> Self {
        Self {
            key: InstanceKey { address, cluster: Cluster::default() },
            weight: Weight::FULL,
            healthy: true,
            enabled: true,
            ephemeral: true,
            metadata: Metadata::new(),
        }
    }

    /// The same instance with other metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Where it is reached.
    pub fn address(&self) -> &Address {
        &self.key.address
    }

    /// Start of its process, when the registration tells: the same address with another epoch is another
    /// instance.
    pub fn epoch(&self) -> Option<UnixMillis> {
        self.metadata.parse(key::EPOCH)
    }

    /// Whether it wears this crate's layers.
    pub fn is_governed(&self) -> bool {
        self.metadata.get(key::VERSION).is_some()
    }

    /// Whether it tells those who ask for it that it leaves, with a notice of its own.
    pub fn sends_notices(&self) -> bool {
        self.metadata.parse(key::NOTICE) == Some(true)
    }

    /// Whether it is to be chosen: healthy, and [eligible](Self::is_eligible).
    pub fn takes_traffic(&self) -> bool {
        self.healthy && self.is_eligible()
    }

    /// Whether it may be chosen at all, if only as a last resort when nobody healthy is left. One at port 0 cannot be reached, and may be registered all the same.
    pub fn is_eligible(&self) -> bool {
        self.enabled && self.weight > Weight::NONE && self.address().port() != 0
    }

    /// Its warm-up curve and where it stands on it at `now` by the wall clock; nothing when its
    /// registration speaks of no warm-up: such an instance is warm.
    pub fn warm_up(&self, now: UnixMillis) -> Option<(WarmUp, WarmUpAge)> {
        let curve = WarmUp::from_metadata(&self.metadata)?;
        let begun = WarmUp::begun_in(&self.metadata);
        Some((curve, begun.map_or(WarmUpAge::NotStarted, |begun| WarmUpAge::Running(now.since(begun)))))
    }

    /// Since when it leaves and how fast, when its registration says that it does.
    pub fn leaving(&self) -> Option<Leaving> {
        self.metadata.parse(key::LEAVING)
    }
}
