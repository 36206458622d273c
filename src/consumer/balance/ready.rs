//! The wait for an instance that is there, and ready: what a call does when it cannot be sent at once.

use super::service::Shared;
use crate::consumer::classify::is_connect;
use crate::consumer::endpoints::{Basis, Choice, Endpoint, Tried};
use crate::consumer::error::{InstanceError, NoInstance};
use crate::consumer::marks::{HeaderTimeout, NeverApplied};
use crate::naming::BoxError;
use http::Request;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

impl<S: Clone> Shared<S> {
    /// Chooses until someone is there and ready.
    pub(super) async fn ready<B>(
        self: Arc<Self>,
        mut chosen: Option<Choice<S>>,
        mut request: Request<B>,
    ) -> Result<(Choice<S>, Request<B>), BoxError>
    where
        S: Service<Request<B>>,
        S::Error: Into<BoxError>,
    {
        // One for all instances that are waited for in turn.
        let deadline = self.header_timeout.and_then(Deadline::after);
        loop {
            let mut choice = match chosen.take() {
                Some(choice) => choice,
                None => self.somebody(&mut request).await?,
            };
            if self.ready_and_stands(&mut choice, deadline).await? {
                return Ok((choice, request));
            }
        }
    }

    /// Waits until the chosen service is ready, but no longer than its instance is there: whoever has gone
    /// meanwhile gets nothing.
    async fn ready_and_stands<B>(
        &self,
        choice: &mut Choice<S>,
        deadline: Option<Deadline>,
    ) -> Result<bool, InstanceError>
    where
        S: Service<Request<B>>,
        S::Error: Into<BoxError>,
    {
        let (endpoint, basis) = (choice.guard.endpoint().clone(), choice.basis);
        let (mut ready, mut gone) = (pin!(ready_by(choice, deadline)), pin!(self.gone(&endpoint, basis)));
        let ready = poll_fn(|cx| match ready.as_mut().poll(cx) {
            Poll::Ready(ready) => Poll::Ready(ready.map(|()| true)),
            Poll::Pending => gone.as_mut().poll(cx).map(|()| Ok(false)),
        });
        Ok(ready.await? && self.endpoints.stands(&endpoint, basis))
    }

    /// Waits until a list makes the choice void.
    async fn gone(&self, endpoint: &Arc<Endpoint>, basis: Basis) {
        let mut snapshots = self.endpoints.fleet().snapshots().clone();
        while self.endpoints.stands(endpoint, basis) {
            snapshots.changed().await;
        }
    }

    /// Chooses as soon as there is somebody, within the bound. Whoever finds nobody asks for the list once:
    /// it may have changed without anyone having told us.
    async fn somebody<B>(&self, request: &mut Request<B>) -> Result<Choice<S>, NoInstance> {
        let started = Instant::now();
        let mut snapshots = self.endpoints.fleet().snapshots().clone();
        let chosen = async {
            let mut asked = false;
            loop {
                if let Some(choice) = self.choose(request) {
                    return choice;
                }
                if !std::mem::replace(&mut asked, true) {
                    snapshots.refresh();
                }
                snapshots.changed().await;
            }
        };
        let chosen = timeout(self.wait, chosen).await;
        chosen.map_err(|_| self.nobody(started.elapsed(), request.extensions().get::<Tried>()))
    }
}

/// When the wait for a service to get ready ends, and with what.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    overdue: HeaderTimeout,
}

impl Deadline {
    /// Nothing when it is beyond every clock.
    fn after(after: Duration) -> Option<Self> {
        Some(Self { at: Instant::now().checked_add(after)?, overdue: HeaderTimeout { after } })
    }
}

/// Waits until the chosen service is ready.
async fn ready_by<S, B>(choice: &mut Choice<S>, deadline: Option<Deadline>) -> Result<(), InstanceError>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    let ready = poll_fn(|cx| choice.service.poll_ready(cx));
    let ready = match deadline {
        None => ready.await.map_err(Into::into),
        Some(Deadline { at, overdue }) => match timeout_at(at, ready).await {
            Ok(ready) => ready.map_err(Into::into),
            Err(_) => Err(overdue.into()),
        },
    };
    ready.map_err(|error| unsent(choice, error))
}

/// The error of an instance whose service did not even get ready.
pub(super) fn unsent<S>(choice: &Choice<S>, error: impl Into<BoxError>) -> InstanceError {
    let (endpoint, error) = (choice.guard.endpoint(), error.into());
    if is_connect(&*error) {
        endpoint.unreachable(endpoint.verdict());
    }
    InstanceError::new(endpoint.clone(), NeverApplied::new(error).into())
}
