//! Where this provider's metrics are read.

use crate::observe::Metrics;
use axum::Router;
use axum::http::StatusCode;
use std::net::SocketAddr;

/// That `/metrics` is answered, and where.
#[derive(Clone, Debug)]
pub(super) struct Scrape {
    pub(super) metrics: Metrics,
    /// A port of its own; nothing when it is beside `/offline`.
    pub(super) bind: Option<SocketAddr>,
}

impl Scrape {
    /// Nothing where neither is asked for.
    pub(super) fn new(metrics: Option<Metrics>, bind: Option<SocketAddr>) -> Option<Self> {
        let metrics = metrics.or_else(|| bind.map(|_| Metrics::global()))?;
        Some(Self { metrics, bind })
    }

    /// What a port of its own answers.
    pub(super) fn routes(&self) -> Router {
        let nowhere = async || (StatusCode::NOT_FOUND, "here is GET /metrics\n");
        Router::new().route_service("/metrics", self.metrics.clone()).fallback(nowhere)
    }
}
