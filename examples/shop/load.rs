//! People at the storefronts: each asks when it is due, once, and checks the answer to its last byte, which
//! has to come in time. How late the generator itself was is measured too: with too much of that, a run
//! proves nothing.

use super::common::goods::ANSWERED_BY;
use super::common::plan::{Planned, Schedule, follow};
use super::record::{Answer, Failed, Failure, Recorder};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tower_graceful::model::UnixMillis;
use tower_graceful::naming::Causes;

/// A request without its whole answer by then has failed.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Sends what is planned until `stop` resolves, spread over `storefronts` by the requests' numbers; then
/// waits for the answers under way, and returns.
pub async fn send(
    schedule: Schedule,
    storefronts: Vec<SocketAddr>,
    began: UnixMillis,
    recorder: Recorder,
    stop: oneshot::Receiver<()>,
) {
    let people = People::new(storefronts);
    let ask = |planned: Planned, start: tokio::time::Instant| {
        let (people, recorder) = (people.clone(), recorder.clone());
        async move {
            let (due, lag) = (began + planned.due, start.elapsed().saturating_sub(planned.due));
            let asked = timeout(ANSWER_MAX, people.ask(&planned)).await;
            let outcome = asked.unwrap_or_else(|_| Err(Failure::Timeout.into()));
            let latency = start.elapsed().saturating_sub(planned.due);
            let Planned { number, wish, .. } = planned;
            recorder.answered(Answer {
                number,
                wish: wish.name(),
                method: wish.method(),
                short: wish.is_short(),
                due,
                lag,
                latency,
                outcome,
            });
        }
    };
    follow(schedule, stop, ask).await;
}

/// Whoever asks at the storefronts.
#[derive(Clone)]
struct People {
    storefronts: Arc<[SocketAddr]>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl People {
    fn new(storefronts: Vec<SocketAddr>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
        Self { storefronts: storefronts.into(), client }
    }

    async fn ask(&self, Planned { number, wish, .. }: &Planned) -> Result<(), Failed> {
        let id = number.to_string();
        let mut request = wish.to_request(&id);
        *request.uri_mut() = self.at(*number, request.uri())?;
        let response = self.client.request(request).await.map_err(|error| {
            let kind = if error.is_connect() { Failure::Connect } else { Failure::Broken };
            Failed { reason: Causes(&error).to_string(), ..kind.into() }
        })?;
        let (status, instance) = (response.status(), instance_in(response.headers()));
        let begun = status == StatusCode::OK;
        let failed = |kind, reason| Err(Failed { kind, instance, begun, reason });
        let body = match response.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return failed(Failure::Broken, Causes(&error).to_string()),
        };
        match status {
            StatusCode::OK if wish.is_answered_by(&id, &body) => Ok(()),
            StatusCode::OK => failed(Failure::Body, format!("{} bytes", body.len())),
            other => {
                let reason = String::from_utf8_lossy(&body).trim().to_owned();
                failed(Failure::Status(other.as_u16()), reason)
            }
        }
    }

    /// The same path at the storefront whose turn it is.
    fn at(&self, number: u32, path: &Uri) -> Result<Uri, Failed> {
        let storefront = self.storefronts[number as usize % self.storefronts.len()];
        let uri = format!("http://{storefront}{path}").parse();
        uri.map_err(|error| Failed { reason: format!("{error}"), ..Failure::Connect.into() })
    }
}

/// Whom the storefront says it asked.
fn instance_in(headers: &HeaderMap) -> Option<SocketAddr> {
    headers.get(ANSWERED_BY)?.to_str().ok()?.parse().ok()
}
