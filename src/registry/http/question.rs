//! A question for a list, and whether whoever asks listens for changes of it.

use super::extract::{Origin, Parameters};
use crate::model::ServiceKey;
use crate::protocol::form::Form;
use crate::registry::hub::Hub;
use crate::registry::peer::Peer;
use crate::registry::query::{Clusters, View};
use crate::registry::udp::{Ear, listening_at};
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::HeaderValue;
use http::header::USER_AGENT;
use std::net::SocketAddr;
use std::sync::Arc;

/// The parameters of a question, and who asks.
pub(super) struct Question {
    pub(super) form: Form,
    /// Absent on routes that are not served on a port.
    origin: Option<Origin>,
    agent: Option<HeaderValue>,
}

impl<S: Send + Sync> FromRequest<S> for Question {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (origin, agent) =
            (request.extensions().get().copied(), request.headers().get(USER_AGENT).cloned());
        let Parameters(form) = Parameters::from_request(request, state).await?;
        Ok(Self { form, origin, agent })
    }
}

impl Question {
    /// The present list; from here on, changes of it are told to the UDP port that the parameter `port` names,
    /// if it names one.
    pub(super) fn view(
        &self,
        hub: &Hub,
        service: &ServiceKey,
        (clusters, healthy_only): (&Clusters, bool),
        port: &str,
    ) -> Arc<View> {
        let Some(address) = self.listens_at(port) else { return hub.view(service) };
        let (service, clusters) = (service.clone(), clusters.clone());
        let ear = Ear { service, address, clusters, healthy_only };
        let app = self.form.text("app").unwrap_or_default();
        hub.listen(ear, |now| Peer::listening(address, self.agent(), app, now))
    }

    /// Where whoever asks listens. What is no port is none: the list is what matters.
    fn listens_at(&self, port: &str) -> Option<SocketAddr> {
        let port = self.form.text(port)?.parse().ok()?;
        listening_at(self.origin?.0, port, self.agent())
    }

    fn agent(&self) -> &str {
        self.agent.as_ref().and_then(|agent| agent.to_str().ok()).unwrap_or_default()
    }
}
