//! The clients of many services as one.

use super::directory::{Directory, Entry, Resolved};
use super::layer::{ServiceOf, Stack};
use super::{GracefulClientsLayer, Reason, Unresolved};
use crate::consumer::balance::{Dial, ResponseBody};
use crate::consumer::{GracefulClient, GracefulClientLayer};
use crate::model::ServiceKey;
use crate::naming::{BoxError, BoxFuture, Error, Subscribe};
use http::{Request, Response, Uri};
use pin_project_lite::pin_project;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

/// A client of many services, told apart by the host of a request's URI. See the [module docs](super).
///
/// A clone costs one reference count and shares everything.
pub struct GracefulClients<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    directory: Directory<S>,
    naming: Arc<dyn Subscribe>,
    service_of: Arc<ServiceOf>,
    stack: Arc<Stack>,
    around: Box<Around<S>>,
    wait: Duration,
}

/// Puts the stack of a service around the clients of its instances.
type Around<S> = dyn Fn(GracefulClientLayer, ServiceKey) -> GracefulClient<S> + Send + Sync;

impl<C: Clone + Send + Sync + 'static> GracefulClients<Dial<C>> {
    /// Clients of the services that `naming` knows, over `client`, which dials whatever the URI names. With
    /// the defaults of [`GracefulClientsLayer`]; see there for others.
    pub fn new(naming: impl Subscribe, client: C) -> Self {
        GracefulClientsLayer::new(naming).layer(client)
    }
}

impl<S> GracefulClients<S> {
    pub(super) fn with_settings(
        settings: GracefulClientsLayer,
        around: impl Fn(GracefulClientLayer, ServiceKey) -> GracefulClient<S> + Send + Sync + 'static,
    ) -> Self {
        let GracefulClientsLayer { naming, service_of, stack, wait, services_max } = settings;
        let (directory, around) = (Directory::new(services_max), Box::new(around));
        Self { shared: Arc::new(Shared { directory, naming, service_of, stack, around, wait }) }
    }
}

impl<S> Shared<S> {
    fn enter(&self, uri: &Uri) -> Result<Arc<Entry<S>>, Reason> {
        let host = uri.host().ok_or(Reason::NoHost)?;
        let service_of = || (self.service_of)(host).map_err(|error| Reason::not_a_service(host, &error));
        self.directory.enter(host, service_of)
    }

    /// The stack of a service that is not there yet. Its place is taken at once, in the order of the calls.
    fn first(self: &Arc<Self>, uri: &Uri) -> BoxFuture<'static, Result<GracefulClient<S>, Unresolved>>
    where
        S: Send + Sync + 'static,
    {
        match self.enter(uri) {
            Ok(entry) => Box::pin(self.clone().resolve(entry)),
            Err(reason) => Box::pin(ready(Err(reason.into()))),
        }
    }

    /// The stack of a service, within the bound.
    async fn resolve(self: Arc<Self>, entry: Arc<Entry<S>>) -> Result<GracefulClient<S>, Unresolved> {
        let service = entry.service();
        match timeout(self.wait, entry.resolved(|| self.subscribe(service))).await {
            Ok(Ok(resolved)) => Ok(resolved.stack.clone()),
            Ok(Err(source)) => Err(Reason::Registry { service: service.clone(), source }.into()),
            Err(_) => Err(Reason::TooLate { service: service.clone(), waited: self.wait }.into()),
        }
    }

    async fn subscribe(&self, service: &ServiceKey) -> Result<Resolved<S>, Error> {
        let snapshots = self.naming.subscribe(service).await?;
        tracing::debug!(service.name = %service, "called for the first time: subscribed");
        let stack = (self.around)((self.stack)(snapshots.clone()), service.clone());
        Ok(Resolved { snapshots, stack })
    }
}

impl<S, B, R> Service<Request<B>> for GracefulClients<S>
where
    GracefulClient<S>: Service<Request<B>, Response = Response<ResponseBody<R>>, Error = BoxError>,
    S: Send + Sync + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let there = request.uri().host().and_then(|host| self.shared.directory.stack(host));
        let stage = if let Some(stack) = there {
            Stage::Resolved { stack, request: Some(request) }
        } else {
            Stage::Resolving { stack: self.shared.first(request.uri()), request: Some(request) }
        };
        ResponseFuture { stage }
    }
}

pin_project! {
    /// Response future of [`GracefulClients`].
    pub struct ResponseFuture<S, B>
    where
        GracefulClient<S>: Service<Request<B>>,
    {
        #[pin]
        stage: Stage<S, B, <GracefulClient<S> as Service<Request<B>>>::Future>,
    }
}

pin_project! {
    #[project = Projected]
    enum Stage<S, B, F> {
        /// The service is called for the first time.
        Resolving {
            stack: BoxFuture<'static, Result<GracefulClient<S>, Unresolved>>,
            request: Option<Request<B>>,
        },
        /// Its stack may not be ready.
        Resolved { stack: GracefulClient<S>, request: Option<Request<B>> },
        Sent { #[pin] answer: F },
    }
}

impl<S, B, R> Future for ResponseFuture<S, B>
where
    GracefulClient<S>: Service<Request<B>, Response = Response<ResponseBody<R>>, Error = BoxError>,
{
    type Output = Result<Response<ResponseBody<R>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                Projected::Resolving { stack, request } => {
                    let stack = ready!(stack.as_mut().poll(cx))?;
                    Stage::Resolved { stack, request: request.take() }
                }
                Projected::Resolved { stack, request } => {
                    ready!(stack.poll_ready(cx))?;
                    let request = request.take().expect("sent once");
                    Stage::Sent { answer: stack.call(request) }
                }
                Projected::Sent { answer } => return answer.poll(cx),
            };
            this.stage.set(next);
        }
    }
}

impl<S> Clone for GracefulClients<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S> fmt::Debug for GracefulClients<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GracefulClients").field(&self.shared.directory.hosts()).finish()
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    GracefulClient<S>: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Resolving { .. } => "waiting for the first list of a service",
            Stage::Resolved { .. } | Stage::Sent { .. } => "sent",
        };
        f.debug_tuple("ResponseFuture").field(&stage).finish()
    }
}
