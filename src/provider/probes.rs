//! Requests that come from machines that look after this process, not from those that use it.

use std::sync::Arc;

/// The paths of probes and scrapes: they never stop, so they neither start the warm-up nor count as
/// traffic, and the gate lets them through, because a liveness probe must not fail while a registry is slow.
///
/// Built in are exactly `/readiness`, `/health`, `/healthz`, `/livez`, `/readyz` and `/metrics`, and
/// everything below `/grpc.health.v1.Health/`. A clone shares the list.
///
/// ```
/// use tower_graceful::provider::ProbePaths;
/// let probes = ProbePaths::default().with("/ping");
/// assert!(probes.contains("/ping") && probes.contains("/grpc.health.v1.Health/Check"));
/// assert!(!probes.contains("/ping/pong"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProbePaths {
    more: Option<Arc<[Box<str>]>>,
}

impl ProbePaths {
    /// The same list and this path, compared exactly.
    #[must_use]
    pub fn with(self, path: &str) -> Self {
        let known = self.more.iter().flat_map(|more| more.iter()).cloned();
        Self { more: Some(known.chain([path.into()]).collect()) }
    }

    /// Whether a request for `path` (without its query) is a probe.
    pub fn contains(&self, path: &str) -> bool {
        let built_in = match path {
            "/readiness" | "/health" | "/healthz" | "/livez" | "/readyz" | "/metrics" => true,
            _ => path.starts_with("/grpc.health.v1.Health/"),
        };
        built_in || self.more.as_deref().is_some_and(|more| more.iter().any(|probe| **probe == *path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_whole_but_for_grpc_health() {
        let probes = ProbePaths::default().with("/a").with("/b");
        for path in ["/a", "/b", "/healthz", "/grpc.health.v1.Health/Watch"] {
            assert!(probes.contains(path), "{path}");
        }
        for path in ["/", "/healthz/", "/health/orders", "/ab", "/grpc.health.v1.HealthCheck/Check", ""] {
            assert!(!probes.contains(path), "{path}");
        }
    }
}
