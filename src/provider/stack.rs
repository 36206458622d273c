//! The provider's layers in their one right order.

use super::drain::{Drain, DrainLayer, InFlight};
use super::gate::{Gate, GateLayer};
use super::offline::{Offline, OfflineLayer};
use super::warmup::{FirstRequest, WarmUp, WarmUpLayer};
use super::{Lifecycle, ProbePaths};
use crate::Clock;
use crate::model::ServiceKey;
use crate::naming::header::OfflineTag;
use crate::observe::{Observer, Observers, Role, Witness};
use tower_layer::Layer;

/// `drain(offline(gate(warmup(inner))))`.
///
/// Counting comes first, so that refused requests count as traffic: who still calls must be known. The tag
/// goes onto refusals too. And the gate stands before the warm-up, because a refused request warms nothing.
///
/// Under `Provider::serve` the layers are in place. Alone, under `axum::serve` or tonic,
/// they do all that an answer can do, and miss what only a server can: connections without requests are
/// not told (no GOAWAY until the server shuts down), a request in the buffer of a closing connection or in
/// the port's queue can be lost, nobody knows which callers have been told, and the phases are yours to
/// step.
///
/// ```
/// use tower_graceful::provider::{GracefulLayer, Lifecycle};
/// use tower_graceful::{model::UnixMillis, naming::header::OfflineTag};
/// let lifecycle = Lifecycle::new();
/// let tag = OfflineTag::new("10.0.0.7:8080".parse()?, UnixMillis::new(1_732_060_800_000));
/// let graceful = GracefulLayer::new(lifecycle.clone(), &tag);
/// let in_flight = graceful.in_flight().clone();
/// let app = axum::Router::<()>::new().layer(graceful);
/// lifecycle.serve();
/// // On a signal: `lifecycle.leave()`, wait until consumers have heard, then `in_flight.idle().await`.
/// # Ok::<(), tower_graceful::model::InvalidAddress>(())
/// ```
#[derive(Clone, Debug)]
pub struct GracefulLayer {
    lifecycle: Lifecycle,
    offline: OfflineLayer,
    in_flight: InFlight,
    first_request: FirstRequest,
    probes: ProbePaths,
    warm_up_ignored: Option<ProbePaths>,
    gated: bool,
    witness: Option<Witness>,
}

impl GracefulLayer {
    /// Follows `lifecycle`; `tag` names this instance.
    pub fn new(lifecycle: Lifecycle, tag: &OfflineTag) -> Self {
        Self {
            offline: OfflineLayer::new(lifecycle.clone(), tag),
            lifecycle,
            in_flight: InFlight::new(),
            first_request: FirstRequest::new(Clock::system()),
            probes: ProbePaths::default(),
            warm_up_ignored: None,
            gated: true,
            witness: None,
        }
    }

    /// The same stack with a gate (default) or without: then requests are handled as soon as they come.
    #[must_use]
    pub fn with_gate(self, gated: bool) -> Self {
        Self { gated, ..self }
    }

    /// The same stack with other probes. Default [`ProbePaths::default`].
    #[must_use]
    pub fn with_probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    /// The same stack with other paths that do not start the warm-up. Default: the probes.
    #[must_use]
    pub fn with_warm_up_ignored(self, paths: ProbePaths) -> Self {
        Self { warm_up_ignored: Some(paths), ..self }
    }

    /// The same stack counting into `in_flight`. Default a count of its own.
    #[must_use]
    pub fn with_in_flight(self, in_flight: InFlight) -> Self {
        Self { in_flight, ..self }
    }

    /// The same stack whose first request is dated by `clock`. Default the system's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { first_request: FirstRequest::new(clock), ..self }
    }

    /// The same stack, telling `observer` what becomes of each request to `service`. Default nobody. The rest
    /// of what a provider tells, `Provider::serve` does.
    #[must_use]
    pub fn with_observer(self, service: &ServiceKey, observer: impl Observer) -> Self {
        self.with_witness(Witness::new(Role::Provider, service, &Observers::from(observer)))
    }

    pub(super) fn with_witness(self, witness: Witness) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The requests under way in all services of this layer and of its clones.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// When the first real request came.
    pub fn first_request(&self) -> &FirstRequest {
        &self.first_request
    }
}

impl<S> Layer<S> for GracefulLayer {
    type Service = Drain<Offline<Gate<WarmUp<S>>>>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { lifecycle, offline, in_flight, first_request, probes, warm_up_ignored, gated, witness } =
            self.clone();
        let warm_up = WarmUpLayer::new(lifecycle.clone(), first_request)
            .with_probes(warm_up_ignored.unwrap_or_else(|| probes.clone()));
        let gate = if gated { GateLayer::new(lifecycle.clone()) } else { GateLayer::open() };
        let gate = gate.with_probes(probes.clone());
        let gate = match witness {
            Some(witness) => gate.with_witness(lifecycle, witness),
            None => gate,
        };
        DrainLayer::new(in_flight).with_probes(probes).layer(offline.layer(gate.layer(warm_up.layer(inner))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMillis;
    use crate::naming::header::{OFFLINE, REFUSED};
    use crate::observe::Outcome;
    use http::{Request, Response, StatusCode};
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use tower::{ServiceExt as _, service_fn};

    fn tag() -> OfflineTag {
        OfflineTag::new("10.0.0.7:8080".parse().unwrap(), UnixMillis::new(1))
    }

    #[tokio::test]
    async fn a_refused_request_counts_as_traffic_but_does_not_start_the_warm_up() {
        let lifecycle = Lifecycle::new();
        let layer = GracefulLayer::new(lifecycle.clone(), &tag());
        let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
        let call = || service.clone().oneshot(Request::get("/").body(()).unwrap());

        let refused = call().await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[REFUSED], "?1");
        assert_eq!((layer.in_flight().begun(), layer.first_request().moment()), (1, None));

        lifecycle.serve();
        assert_eq!(call().await.unwrap().status(), StatusCode::OK);
        assert!(layer.first_request().moment().is_some());
        lifecycle.leave();
        assert_eq!(call().await.unwrap().headers()[OFFLINE], tag().to_value());
    }

    #[tokio::test]
    async fn what_only_the_warm_up_ignores_is_traffic_and_stands_behind_the_gate() {
        let lifecycle = Lifecycle::new();
        let layer = GracefulLayer::new(lifecycle.clone(), &tag())
            .with_warm_up_ignored(ProbePaths::default().with("/ping"));
        let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
        let call = |path: &str| service.clone().oneshot(Request::get(path).body(()).unwrap());
        assert_eq!(call("/ping").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        lifecycle.serve();
        assert_eq!(call("/ping").await.unwrap().status(), StatusCode::OK);
        assert_eq!((layer.in_flight().begun(), layer.first_request().moment()), (2, None));
        call("/pong").await.unwrap();
        assert!(layer.first_request().moment().is_some());
    }

    #[derive(Debug, Default)]
    struct Outcomes(Mutex<Vec<Outcome>>);

    impl Observer for Outcomes {
        fn answered(&self, outcome: Outcome) {
            self.0.lock().unwrap().push(outcome);
        }
    }

    #[tokio::test]
    async fn what_becomes_of_each_request_is_told_and_probes_are_none() {
        for gated in [true, false] {
            let (lifecycle, told) = (Lifecycle::new(), Arc::<Outcomes>::default());
            let layer = GracefulLayer::new(lifecycle.clone(), &tag()).with_gate(gated);
            let service = layer
                .with_observer(&"orders".parse().unwrap(), told.clone())
                .layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
            let call = |path| service.clone().oneshot(Request::get(path).body(()).unwrap());
            for step in [None, Some(Lifecycle::serve as fn(&_) -> bool), Some(Lifecycle::leave)] {
                step.map(|step| step(&lifecycle));
                call("/").await.unwrap();
                call("/livez").await.unwrap();
            }
            let first = if gated { Outcome::RefusedStarting } else { Outcome::Served };
            assert_eq!(told.0.lock().unwrap()[..], [first, Outcome::Served, Outcome::AfterOffline]);
        }
    }

    #[tokio::test]
    async fn a_start_that_is_broken_off_refuses_and_tells_of_it() {
        let (lifecycle, told) = (Lifecycle::new(), Arc::<Outcomes>::default());
        let layer = GracefulLayer::new(lifecycle.clone(), &tag());
        let service = layer
            .with_observer(&"orders".parse().unwrap(), told.clone())
            .layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
        lifecycle.leave();
        let refusal = service.oneshot(Request::get("/").body(()).unwrap()).await.unwrap();
        assert!(refusal.headers().contains_key(REFUSED) && refusal.headers().contains_key(OFFLINE));
        assert_eq!(told.0.lock().unwrap()[..], [Outcome::RefusedLeaving]);
    }

    #[tokio::test]
    async fn without_a_gate_requests_are_handled_before_the_process_serves() {
        let layer = GracefulLayer::new(Lifecycle::new(), &tag()).with_gate(false);
        let service = layer.layer(service_fn(async |_| Ok::<_, Infallible>(Response::new(()))));
        let answer = service.oneshot(Request::get("/").body(()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(layer.first_request().moment(), None);
    }
}
