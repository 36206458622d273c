//! What one client, one service and one request may take, and what is said and counted where that is exceeded.

use super::names::{NAME_BYTES_MAX, Names};
use crate::protocol::MESSAGE_BYTES_MAX;

/// Bounds that whoever starts a registry may choose; [`Settings`](super::Settings) tells what each is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) body_bytes: usize,
    pub(crate) message_bytes: usize,
    pub(crate) requests: usize,
    pub(crate) services_per_client: usize,
    pub(crate) instances_per_client: usize,
    pub(crate) instances_per_service: usize,
    pub(crate) page_size: usize,
    pub(crate) names: Names,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            message_bytes: MESSAGE_BYTES_MAX,
            requests: 4096,
            services_per_client: 10_000,
            instances_per_client: 100_000,
            instances_per_service: 100_000,
            page_size: 10_000,
            names: Names { bytes_max: NAME_BYTES_MAX },
        }
    }
}

/// A bound that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Connections of one port.
    Connections,
    /// Connections of one port from one address.
    ConnectionsPerAddress,
    /// Bytes of a request's head.
    Head,
    /// Bytes of a request's body.
    Body,
    /// Bytes of a message over gRPC.
    Message,
    /// Bytes of all large messages and bodies.
    LargeMessages,
    /// Requests under way at once.
    Requests,
    /// Characters of metadata.
    Metadata,
    /// Bytes of a name.
    Name,
    /// Instances in one request.
    Batch,
    /// Bytes in the list of clusters that a subscriber asks for.
    ClusterList,
    /// Clusters of one service.
    Clusters,
    /// Instances in all.
    Instances,
    InstancesPerService,
    InstancesPerClient,
    ServicesPerClient,
    /// Services that one connection follows.
    Subscriptions,
    /// Instances and services that one connection reports of.
    Reported,
    /// Namespaces that have a name.
    Namespaces,
    /// Changes that wait to be stored.
    Waiting,
}

impl Bound {
    pub(crate) const ALL: [Self; 20] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Head,
        Self::Body,
        Self::Message,
        Self::LargeMessages,
        Self::Requests,
        Self::Metadata,
        Self::Name,
        Self::Batch,
        Self::ClusterList,
        Self::Clusters,
        Self::Instances,
        Self::InstancesPerService,
        Self::InstancesPerClient,
        Self::ServicesPerClient,
        Self::Subscriptions,
        Self::Reported,
        Self::Namespaces,
        Self::Waiting,
    ];

    /// Its name in the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections-per-address",
            Self::Head => "head",
            Self::Body => "body",
            Self::Message => "message",
            Self::LargeMessages => "large-messages",
            Self::Requests => "requests",
            Self::Metadata => "metadata",
            Self::Name => "name",
            Self::Batch => "batch",
            Self::ClusterList => "cluster-list",
            Self::Clusters => "clusters",
            Self::Instances => "instances",
            Self::InstancesPerService => "instances-per-service",
            Self::InstancesPerClient => "instances-per-client",
            Self::ServicesPerClient => "services-per-client",
            Self::Subscriptions => "subscriptions",
            Self::Reported => "reported",
            Self::Namespaces => "namespaces",
            Self::Waiting => "waiting",
        }
    }

    /// What there are too many of.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections of one address",
            Self::Head => "bytes in the head of a request",
            Self::Body => "bytes in the body of a request",
            Self::Message => "bytes in a message",
            Self::LargeMessages => "bytes in large messages and bodies",
            Self::Requests => "requests under way",
            Self::Metadata => "characters of metadata",
            Self::Name => "bytes in a name",
            Self::Batch => "instances in one request",
            Self::ClusterList => "bytes in the list of clusters",
            Self::Clusters => "clusters of one service",
            Self::Instances => "instances",
            Self::InstancesPerService => "instances of one service",
            Self::InstancesPerClient => "instances of one client",
            Self::ServicesPerClient => "services of one client",
            Self::Subscriptions => "subscriptions of one connection",
            Self::Reported => "instances and services that one connection reports of",
            Self::Namespaces => "namespaces with a name",
            Self::Waiting => "changes that wait to be stored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_counted_at_their_places_and_documented() {
        let documented = include_str!("../../docs/metrics.md");
        let (_, line) = documented.split_once("- `bound`: ").unwrap();
        let names: Vec<&str> = line.lines().next().unwrap().split('`').skip(1).step_by(2).collect();
        for (place, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!((bound as usize, names.get(place)), (place, Some(&bound.as_str())));
        }
        assert_eq!(names.len(), Bound::ALL.len());
    }
}
