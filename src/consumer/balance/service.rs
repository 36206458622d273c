//! The balancer itself: one choice for each call.

use super::caller::Caller;
use super::future::Stage;
use super::ready::unsent;
use super::view::{InstanceView, View};
use super::{BalanceLayer, Pick, ResponseBody, ResponseFuture};
use crate::consumer::endpoints::{Choice, Endpoints, Guard, Tried};
use crate::consumer::error::{NoInstance, Seen};
use crate::model::Instance;
use crate::naming::header::CALLER;
use crate::naming::{BoxError, Snapshots};
use crate::observe::{ConsumerReading, Gauge, Reading};
use http::{HeaderMap, Request, Response};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;
use tower_service::Service;

/// Service made by [`BalanceLayer`]. See the [module docs](super).
///
/// The services that it chooses among are cloned out of a table that all clones share, so they are `Clone`,
/// `Send` and `Sync`.
pub struct Balance<S> {
    shared: Arc<Shared<S>>,
}

/// What the clones of a balancer share.
pub(super) struct Shared<S> {
    pub(super) endpoints: Endpoints<S>,
    caller: Caller,
    /// For the first instance, while there is none.
    pub(super) wait: Duration,
    pub(super) header_timeout: Option<Duration>,
}

impl<S: Clone + Send + Sync + 'static> Balance<S> {
    /// Balances over the services that `make` makes, one for each instance, with the defaults of
    /// [`BalanceLayer`]; see [`BalanceLayer::over`] for others.
    pub fn new(snapshots: Snapshots, make: impl Fn(&Instance) -> S + Send + Sync + 'static) -> Self {
        BalanceLayer::new(snapshots).over(make)
    }

    pub(super) fn with_settings(
        settings: BalanceLayer,
        make: Box<dyn Fn(&Instance) -> S + Send + Sync>,
    ) -> Self {
        let caller = Caller::new(&settings);
        let endpoints = Endpoints::new(settings.snapshots, settings.rules, make);
        #[cfg(feature = "notice")]
        if let Some(notices) = settings.notices {
            notices.link(endpoints.fleet());
        }
        let (wait, header_timeout) = (settings.wait, settings.header_timeout);
        let shared = Arc::new(Shared { endpoints, caller, wait, header_timeout });
        let gauge: Weak<dyn Gauge> = Arc::<Shared<S>>::downgrade(&shared);
        shared.endpoints.fleet().witness().follow(gauge);
        Self { shared }
    }
}

impl<S: Clone> Balance<S> {
    /// Chooses an instance now: for clients that are not tower services.
    ///
    /// A client of your own does by hand what [`GracefulClientLayer`](crate::consumer::GracefulClientLayer)
    /// does around one: it says who calls ([`Balance::introduce`]), gives the head of the answer to
    /// [`Pick::finish`], keeps the pick until the body has been read, and sends what was never applied to
    /// another instance ([`Balance::pick_other`]). `examples/reqwest.rs` is all of it.
    ///
    /// ```
    /// # use tower_graceful::{consumer::Balance, model::Instance, naming::Snapshots};
    /// # let instances = vec![Instance::new("10.0.0.7:8080".parse()?)];
    /// # let snapshots = Snapshots::fixed("orders".parse()?, instances);
    /// let orders = Balance::new(snapshots, |_| ());
    /// let pick = orders.pick()?;
    /// assert_eq!(pick.uri("/list?page=2")?, "http://10.0.0.7:8080/list?page=2");
    /// // ... send the request; then, with the head of the answer:
    /// # let (status, mut headers) = (http::StatusCode::OK, http::HeaderMap::new());
    /// let refused = pick.finish(status, &mut headers);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no instance; it does not wait for one.
    pub fn pick(&self) -> Result<Pick<S>, NoInstance> {
        self.pick_by(None)
    }

    /// Chooses again after calls that were [never applied](crate::consumer::Applied::Never): none of `tried`,
    /// as long as there is another.
    ///
    /// ```
    /// # use tower_graceful::{consumer::Balance, model::Instance, naming::Snapshots};
    /// # let instances = ["10.0.0.7:8080", "10.0.0.8:8080"].map(|address| Instance::new(address.parse().unwrap()));
    /// # let snapshots = Snapshots::fixed("orders".parse()?, instances.into());
    /// let orders = Balance::new(snapshots, |_| ());
    /// let tried = [orders.pick()?]; // No connection could be made.
    /// let pick = orders.pick_other(&tried)?;
    /// assert_ne!(pick.instance(), tried[0].instance());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no instance.
    pub fn pick_other(&self, tried: &[Pick<S>]) -> Result<Pick<S>, NoInstance> {
        let tried = tried.iter().map(|pick| pick.guard().endpoint().clone()).collect();
        self.pick_by(Some(&Tried(tried)))
    }

    fn pick_by(&self, tried: Option<&Tried>) -> Result<Pick<S>, NoInstance> {
        let picked = self.shared.endpoints.choose(tried).map(Pick::new);
        picked.ok_or_else(|| self.shared.nobody(Duration::ZERO, tried))
    }

    /// What the balancer makes of each listed instance now, and why: for a debug page. It takes a look at all
    /// of them under the lock of whoever renews the weights, so ask for people, not for each request.
    ///
    /// ```
    /// # use tower_graceful::{consumer::Balance, model::Instance, naming::Snapshots};
    /// use tower_graceful::consumer::balance::State;
    /// # let off = Instance { enabled: false, ..Instance::new("10.0.0.8:8080".parse()?) };
    /// # let instances = vec![Instance::new("10.0.0.7:8080".parse()?), off];
    /// # let orders = Balance::new(Snapshots::fixed("orders".parse()?, instances), |_| ());
    /// let view = orders.view();
    /// assert_eq!((view.instances[0].state, view.instances[0].share), (State::Warm, 1.0));
    /// assert_eq!(view.instances[1].cause, "disabled in the registry");
    /// println!("{view}"); // A table, one line an instance.
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn view(&self) -> View {
        self.shared.view()
    }

    /// Looks at the instance that would be chosen now, without counting a call: for a choice that is no
    /// request of its own, such as where to open a long-lived connection, or which peer to ask for its state.
    ///
    /// ```
    /// # use tower_graceful::{consumer::Balance, model::Instance, naming::Snapshots};
    /// # let instances = vec![Instance::new("10.0.0.7:8080".parse()?)];
    /// # let snapshots = Snapshots::fixed("orders".parse()?, instances);
    /// let orders = Balance::new(snapshots, |_| ());
    /// assert_eq!(orders.sample(|instance| instance.address().port())?, 8080);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// When there is no instance; it does not wait for one.
    pub fn sample<R>(&self, look: impl FnOnce(&Instance) -> R) -> Result<R, NoInstance> {
        self.shared.endpoints.sample(look).ok_or_else(|| self.shared.nobody(Duration::ZERO, None))
    }

    /// Says in the headers of a request to a picked instance who calls, if the instance wears our layers; a
    /// provider then knows whom to tell when it leaves.
    pub fn introduce(&self, pick: &Pick<S>, headers: &mut HeaderMap) {
        self.shared.introduce(pick.guard(), headers);
    }

    /// How many offline tags did not count, because they spoke of someone else than their sender; all clones
    /// count together.
    pub fn ignored_tags(&self) -> u64 {
        self.shared.endpoints.fleet().ignored_tags()
    }
}

impl<S: Clone> Shared<S> {
    /// Chooses for `request`, and tells instances that know what to do with it who calls.
    #[inline]
    pub(super) fn choose<B>(&self, request: &mut Request<B>) -> Option<Choice<S>> {
        let choice = self.endpoints.choose(request.extensions().get::<Tried>())?;
        self.introduce(&choice.guard, request.headers_mut());
        Some(choice)
    }

    #[inline]
    fn introduce(&self, called: &Guard, headers: &mut HeaderMap) {
        match self.caller.known_to(called) {
            Some(caller) => _ = headers.insert(CALLER, caller.clone()),
            None => _ = headers.remove(CALLER),
        }
    }

    fn view(&self) -> View {
        let snapshots = self.endpoints.fleet().snapshots();
        let (snapshot, published) = snapshots.latest_at();
        let snapshot_age = (snapshots.version() > 0).then(|| published.elapsed());
        let now = Instant::now();
        let known = self.endpoints.known().into_iter();
        let instances = known.map(|known| InstanceView::new(known, now)).collect();
        View { service: snapshot.service().clone(), snapshot_age, instances }
    }

    pub(super) fn nobody(&self, waited: Duration, tried: Option<&Tried>) -> NoInstance {
        let View { service, snapshot_age: age, instances } = self.view();
        let tried = tried.map(Tried::addresses).unwrap_or_default();
        let named = instances.iter().take(Seen::NAMED).map(|it| (it.address().clone(), it.cause.clone()));
        let (listed, unused) = (instances.len(), named.collect());
        NoInstance::new(Seen { service, waited, tried, listed, unused, age })
    }
}

impl<S: Clone + Send + Sync> Gauge for Shared<S> {
    fn read(&self) -> Reading {
        let View { snapshot_age, instances, .. } = self.view();
        let endpoints = instances.iter().map(|instance| instance.state).collect();
        let amplification = self.endpoints.amplification();
        let registry_away = self.endpoints.fleet().snapshots().away_for().unwrap_or_default();
        Reading::Consumer(ConsumerReading { endpoints, snapshot_age, registry_away, amplification })
    }
}

impl<S, B, R> Service<Request<B>> for Balance<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // Nearly always the chosen service is ready, and the request needs no other place to wait in. If it
        // is not, it is asked again by a task that it can wake.
        let mut nobody = Context::from_waker(Waker::noop());
        let chosen = self.shared.choose(&mut request);
        let stage = match chosen.map(|mut choice| (choice.service.poll_ready(&mut nobody), choice)) {
            None => Stage::Waiting { chosen: Box::pin(self.shared.clone().ready(None, request)) },
            Some((Poll::Ready(Ok(())), choice)) => Stage::send(choice, request),
            Some((Poll::Ready(Err(error)), choice)) => {
                Stage::Waiting { chosen: Box::pin(ready(Err(unsent(&choice, error).into()))) }
            }
            Some((Poll::Pending, choice)) => {
                Stage::Waiting { chosen: Box::pin(self.shared.clone().ready(Some(choice), request)) }
            }
        };
        ResponseFuture::new(stage, self.shared.header_timeout)
    }
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S> fmt::Debug for Balance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Balance").field(&self.endpoints).finish()
    }
}
