//! The whole consumer side in its one right order: failover(goodbye(balance(client))).
//!
//! Balance is innermost, because it says which instance answered; goodbye hears every single answer, also
//! those that failover does not pass on.

use super::balance::{Balance, BalanceLayer, Dial};
use super::failover::{Failover, FailoverLayer};
use super::goodbye::{Goodbye, GoodbyeLayer};
#[cfg(feature = "notice")]
use super::notice::Notices;
use crate::model::Instance;
use crate::naming::Snapshots;
use crate::observe::Observer;
use tower_layer::Layer;

/// Makes a client that knows its fleet: it balances by warmth and load, drops who says goodbye, and sends
/// what was never applied elsewhere.
///
/// Around one client that dials whatever the URI names ([`http_client`](super::http_client)) it is a layer;
/// with a client for each instance, use [`GracefulClientLayer::over`].
///
/// ```
/// # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
/// use tower::{Service, ServiceBuilder, service_fn};
/// use tower_graceful::consumer::GracefulClientLayer;
/// let client = service_fn(async |_: http::Request<_>| Ok::<_, std::io::Error>(http::Response::new(String::new())));
/// let mut orders = ServiceBuilder::new().layer(GracefulClientLayer::new(snapshots)).service(client);
/// let answer = orders.call(http::Request::new(String::from("one book, please")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct GracefulClientLayer {
    failover: FailoverLayer,
    goodbye: GoodbyeLayer,
    balance: BalanceLayer,
}

/// What [`GracefulClientLayer`] makes of per-instance services `S`.
pub type GracefulClient<S> = Failover<Goodbye<Balance<S>>>;

impl GracefulClientLayer {
    /// A stack over the instances of `snapshots`, each layer with its defaults.
    pub fn new(snapshots: Snapshots) -> Self {
        BalanceLayer::new(snapshots).into()
    }

    /// The name of this application, for providers to know their callers by. Default none.
    #[must_use]
    pub fn with_app(self, app: impl Into<String>) -> Self {
        Self { balance: self.balance.with_app(app), ..self }
    }

    /// Tells `observer` what happens; see [`BalanceLayer::with_observer`].
    #[must_use]
    pub fn with_observer(self, observer: impl Observer) -> Self {
        Self { balance: self.balance.with_observer(observer), ..self }
    }

    /// Has instances that leave tell so at `notices`; see [`BalanceLayer::with_notices`].
    #[cfg(feature = "notice")]
    #[must_use]
    pub fn with_notices(self, notices: &Notices) -> Self {
        Self { balance: self.balance.with_notices(notices), ..self }
    }

    /// Another failover than the default one.
    #[must_use]
    pub fn with_failover(self, failover: FailoverLayer) -> Self {
        Self { failover, ..self }
    }

    /// The stack over the services that `make` makes, one for each instance; see [`BalanceLayer::over`].
    pub fn over<S>(&self, make: impl Fn(&Instance) -> S + Send + Sync + 'static) -> GracefulClient<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        self.around(self.balance.over(make))
    }

    fn around<S>(&self, balance: Balance<S>) -> GracefulClient<S> {
        self.failover.layer(self.goodbye.layer(balance))
    }
}

impl From<BalanceLayer> for GracefulClientLayer {
    /// The stack over a balancer with settings of its own.
    fn from(balance: BalanceLayer) -> Self {
        Self { failover: FailoverLayer::new(), goodbye: GoodbyeLayer::new(), balance }
    }
}

impl<C: Clone + Send + Sync + 'static> Layer<C> for GracefulClientLayer {
    type Service = GracefulClient<Dial<C>>;

    fn layer(&self, inner: C) -> Self::Service {
        self.around(self.balance.layer(inner))
    }
}
