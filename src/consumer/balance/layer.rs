//! The settings of a balancer, as a layer over one client.

use super::{Balance, Dial};
use crate::Clock;
use crate::consumer::endpoints::{InvalidAmplification, MaxAmplification, Rules};
#[cfg(feature = "notice")]
use crate::consumer::notice::Notices;
use crate::consumer::pick::Policy;
use crate::model::{Cluster, Instance, InvalidName};
use crate::naming::Snapshots;
use crate::observe::Observer;
use std::time::Duration;
use tower_layer::Layer;

/// Balances over one HTTP client that dials whatever the URI names, such as hyper-util's pool.
///
/// The service that it makes for an instance sets the scheme (`http`) and the authority of each request to
/// the instance's address, and keeps path and query; so a URI may be `/orders/7` or `http://orders/orders/7`.
/// A `Host` header that you gave is kept, and is what an HTTP/1.1 provider sees as its name; otherwise, and
/// always on HTTP/2, the provider sees the address that was dialled. Where the service's name has to arrive
/// (virtual hosts, TLS), give each instance a client of its own: [`BalanceLayer::over`].
#[derive(Clone, Debug)]
pub struct BalanceLayer {
    pub(super) snapshots: Snapshots,
    pub(super) rules: Rules,
    pub(super) wait: Duration,
    pub(super) header_timeout: Option<Duration>,
    pub(super) app: String,
    #[cfg(feature = "notice")]
    pub(super) notices: Option<Notices>,
}

impl BalanceLayer {
    /// Time for a fleet that is just starting to be registered, and less than what callers wait.
    const WAIT: Duration = Duration::from_secs(5);

    /// A call that hangs on a lost connection ends at last; an answer that takes longer to begin is rare.
    const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

    /// Balances over the instances of `snapshots` with [`Policy::P2c`].
    pub fn new(snapshots: Snapshots) -> Self {
        Self {
            snapshots,
            rules: Rules::default(),
            wait: Self::WAIT,
            header_timeout: Some(Self::HEADER_TIMEOUT),
            app: String::new(),
            #[cfg(feature = "notice")]
            notices: None,
        }
    }

    /// Another way of choosing. Default [`Policy::P2c`] with `c` = 1.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { rules: Rules { policy: policy.sound(), ..self.rules }, ..self }
    }

    /// How many times its load before a warm instance may get when others have left and their successors are
    /// cold still; beyond that the ramps give way. Default 1.5; `None` lets them be.
    ///
    /// ```
    /// # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
    /// use tower_graceful::consumer::BalanceLayer;
    /// let layer = BalanceLayer::new(snapshots).with_max_amplification(2.0)?;
    /// assert!(layer.with_max_amplification(0.5).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When it is below 1 or not finite.
    pub fn with_max_amplification(self, times: impl Into<Option<f64>>) -> Result<Self, InvalidAmplification> {
        let max_amplification = times.into().map(MaxAmplification::new).transpose()?;
        Ok(Self { rules: Rules { max_amplification, ..self.rules }, ..self })
    }

    /// Only the instances of these clusters. Default all; a blank name means `DEFAULT`.
    ///
    /// ```
    /// # let snapshots = tower_graceful::naming::Snapshots::fixed("orders".parse()?, Vec::new());
    /// use tower_graceful::consumer::BalanceLayer;
    /// let nearby = BalanceLayer::new(snapshots)
    ///     .with_clusters(["gz"])?
    ///     .with_filter(|instance| instance.metadata.get("version") == Some("2"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a name is not that of a cluster.
    pub fn with_clusters<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidName> {
        let clusters = names.into_iter().map(Cluster::new).collect::<Result<Vec<_>, _>>()?;
        Ok(self.with_filter(move |instance| clusters.contains(&instance.key.cluster)))
    }

    /// Only the instances that `filter` lets through, and every filter given before. Default all.
    ///
    /// It is asked once for each instance in each new list, in the pick that first sees that list. Where it
    /// lets nobody through there is nobody to choose: the others are no reserve.
    #[must_use]
    pub fn with_filter(self, filter: impl Fn(&Instance) -> bool + Send + Sync + 'static) -> Self {
        Self { rules: Rules { subset: self.rules.subset.and(filter), ..self.rules }, ..self }
    }

    /// The clock that tells the age of what began before this consumer did: warm-ups, and ways out. Default
    /// the system's.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { rules: Rules { clock, ..self.rules }, ..self }
    }

    /// How long a call waits for the first instance while there is none. Default 5 s; zero fails at once.
    #[must_use]
    pub fn with_wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// How long a call waits, once an instance is chosen, until that is ready and its answer begins; then it
    /// fails with [`HeaderTimeout`](crate::consumer::HeaderTimeout). Default 60 s; `None` waits for ever. The time in
    /// which the body of the request is sent counts: where bodies stream for longer before the answer begins, as in
    /// uploads and client-streaming gRPC calls, give more.
    #[must_use]
    pub fn with_header_timeout(self, header_timeout: impl Into<Option<Duration>>) -> Self {
        Self { header_timeout: header_timeout.into(), ..self }
    }

    /// The name of this application, for providers to know their callers by. Default none.
    #[must_use]
    pub fn with_app(self, app: impl Into<String>) -> Self {
        Self { app: app.into(), ..self }
    }

    /// Tells `observer` what happens: each pick, what becomes known of the instances, and what is sent again.
    /// Called again, all are told. Default nobody.
    #[must_use]
    pub fn with_observer(self, observer: impl Observer) -> Self {
        Self { rules: Rules { observers: self.rules.observers.and(observer), ..self.rules }, ..self }
    }

    /// Has instances that leave tell so at `notices`, and puts them aside as their tagged answers do. Default:
    /// only their answers and the registry tell.
    #[cfg(feature = "notice")]
    #[must_use]
    pub fn with_notices(self, notices: &Notices) -> Self {
        Self { notices: Some(notices.clone()), ..self }
    }

    /// A balancer with these settings over the services that `make` makes.
    ///
    /// `make` is called once for each instance (another epoch at the same address is another instance), in
    /// the pick that first sees it; it must not use the balancer itself.
    pub fn over<S>(&self, make: impl Fn(&Instance) -> S + Send + Sync + 'static) -> Balance<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        Balance::with_settings(self.clone(), Box::new(make))
    }
}

impl<C: Clone + Send + Sync + 'static> Layer<C> for BalanceLayer {
    type Service = Balance<Dial<C>>;

    fn layer(&self, inner: C) -> Self::Service {
        self.over(move |instance| Dial::new(inner.clone(), instance.address()))
    }
}
