//! The settings of many services' clients, as a layer over one client.

use super::GracefulClients;
use crate::consumer::GracefulClientLayer;
use crate::consumer::balance::Dial;
use crate::model::{Instance, ServiceKey};
use crate::naming::{BoxError, Snapshots, Subscribe};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tower_layer::Layer;

/// Makes a client of many services. See the [module docs](super).
///
/// Around one client that dials whatever the URI names it is a layer; with a client for each instance, use
/// [`GracefulClientsLayer::over`].
#[derive(Clone)]
pub struct GracefulClientsLayer {
    pub(super) naming: Arc<dyn Subscribe>,
    pub(super) service_of: Arc<ServiceOf>,
    pub(super) stack: Arc<Stack>,
    pub(super) wait: Duration,
    pub(super) services_max: NonZeroUsize,
}

/// Tells the service that a host means.
pub(super) type ServiceOf = dyn Fn(&str) -> Result<ServiceKey, BoxError> + Send + Sync;
/// Makes the stack of a service.
pub(super) type Stack = dyn Fn(Snapshots) -> GracefulClientLayer + Send + Sync;

impl GracefulClientsLayer {
    /// As long as a call waits for the first instance by default: time for a registry to come back.
    const WAIT: Duration = Duration::from_secs(5);

    /// Far more than a service calls; what asks for more lets others choose its hosts.
    const SERVICES_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not 0");

    /// Clients of the services that `naming` knows.
    pub fn new(naming: impl Subscribe) -> Self {
        Self {
            naming: Arc::new(naming),
            service_of: Arc::new(service_of),
            stack: Arc::new(GracefulClientLayer::new),
            wait: Self::WAIT,
            services_max: Self::SERVICES_MAX,
        }
    }

    /// Which service a host means: this is where groups and namespaces are given, and hosts refused. Default
    /// the service of that name in the default group; an IP address is refused.
    ///
    /// It is asked once for each host, as the URI has it, without a port. Hosts that mean the same service
    /// share what is known of it.
    ///
    /// ```
    /// # use tower_graceful::{consumer::clients::GracefulClientsLayer, naming::InProcess};
    /// // `http://orders.shop/` goes to the service `orders` of the group `shop`.
    /// let layer = GracefulClientsLayer::new(InProcess::new()).with_service_of(|host| {
    ///     let (name, group) = host.split_once('.').ok_or("accepted is SERVICE.GROUP")?;
    ///     Ok(format!("{group}@@{name}").parse()?)
    /// });
    /// ```
    #[must_use]
    pub fn with_service_of(
        self,
        service_of: impl Fn(&str) -> Result<ServiceKey, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { service_of: Arc::new(service_of), ..self }
    }

    /// The stack for each service, made of its instances. Default [`GracefulClientLayer::new`].
    #[must_use]
    pub fn with_stack(
        self,
        stack: impl Fn(Snapshots) -> GracefulClientLayer + Send + Sync + 'static,
    ) -> Self {
        Self { stack: Arc::new(stack), ..self }
    }

    /// How long a call waits for the first list of a service; for the first instance on it, see
    /// [`BalanceLayer::with_wait`](crate::consumer::BalanceLayer::with_wait). Default 5 s.
    #[must_use]
    pub fn with_wait(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// How many hosts may be in use at once. Default 256.
    #[must_use]
    pub fn with_services_max(self, services_max: NonZeroUsize) -> Self {
        Self { services_max, ..self }
    }

    /// The clients over the services that `make` makes, one for each instance of each service, such as
    /// [`InstanceClient`](crate::consumer::InstanceClient)s.
    pub fn over<S: Clone + Send + Sync + 'static>(
        &self,
        make: impl Fn(&ServiceKey, &Instance) -> S + Send + Sync + 'static,
    ) -> GracefulClients<S> {
        let make = Arc::new(make);
        GracefulClients::with_settings(self.clone(), move |stack, service| {
            let make = make.clone();
            stack.over(move |instance| make(&service, instance))
        })
    }
}

fn service_of(host: &str) -> Result<ServiceKey, BoxError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if bare.parse::<IpAddr>().is_ok() {
        return Err("an address is not the name of a service".into());
    }
    Ok(ServiceKey::new(host)?)
}

impl<C: Clone + Send + Sync + 'static> Layer<C> for GracefulClientsLayer {
    type Service = GracefulClients<Dial<C>>;

    fn layer(&self, inner: C) -> Self::Service {
        GracefulClients::with_settings(self.clone(), move |stack, _| stack.layer(inner.clone()))
    }
}

impl fmt::Debug for GracefulClientsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { naming, wait, services_max, .. } = self;
        f.debug_struct("GracefulClientsLayer")
            .field("naming", naming)
            .field("wait", wait)
            .field("services_max", services_max)
            .finish_non_exhaustive()
    }
}
