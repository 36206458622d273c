//! Where a registry is, and where it keeps what outlives it.

use super::Hub;
use serde::Serialize;
use std::net::SocketAddr;

/// What whoever starts a registry has chosen of its place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Whereabouts {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) tls: bool,
    /// Nothing where everything is in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_dir: Option<String>,
}

impl Hub {
    /// Says where it is, once.
    pub(crate) fn is_at(&self, place: Whereabouts) {
        _ = self.whereabouts.set(place);
    }

    /// Where it is; nothing of one that has no ports.
    pub(crate) fn whereabouts(&self) -> Option<&Whereabouts> {
        self.whereabouts.get()
    }
}
