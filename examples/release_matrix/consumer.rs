//! Whoever asks: with the consumer stack of this crate, or with a plain client for comparison.

use super::common::BoxError;
use super::common::goods::REQUEST_ID;
use super::common::line::{Lost, Outcome};
use super::common::plan::Planned;
use super::common::wish::Wish;
use super::greeter::{GreeterClient, Greeting, Name};
use super::provider::words;
use super::scenario::Protocol;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use std::collections::VecDeque;
use std::fmt::Display;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::StreamExt;
use tonic::Status;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_graceful::consumer::{
    GracefulClientLayer, InstanceError, NoInstance, NoticePort, http_client, http_client_h2,
};
use tower_graceful::model::Address;
use tower_graceful::naming::{Causes, Publisher, Snapshots};

/// A request without its whole answer by then is lost.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often a plain client reads the list.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How many instances a plain client tries while it finds no connection.
const PLAIN_TRIES: usize = 3;

/// Sends requests to some instance; a clone is cheap.
pub type Asking = BoxCloneSyncService<Request<Body>, Response<Body>, axum::Error>;

/// The consumer stack of this crate. To be polled beside it: what hears notices.
///
/// # Errors
/// When there is no port for them.
pub async fn graceful(
    protocol: Protocol,
    snapshots: Snapshots,
    app: &str,
) -> Result<(Asking, impl Future<Output = ()> + Send + 'static), BoxError> {
    let port = NoticePort::bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let layer = GracefulClientLayer::new(snapshots).with_app(app).with_notices(&port.notices());
    let stack = ServiceBuilder::new()
        .map_response(|answer: Response<_>| answer.map(Body::new))
        .map_err(axum::Error::new) // Wraps it, and names no lifetime.
        .layer(layer);
    Ok((BoxCloneSyncService::new(stack.service(client(protocol))), port.serve(pending())))
}

fn client<B>(protocol: Protocol) -> Client<HttpConnector, B>
where
    B: HttpBody<Data: Send> + Send,
{
    match protocol {
        Protocol::Http1 => http_client(),
        Protocol::Http2 | Protocol::Grpc => http_client_h2(),
    }
}

/// A client with nothing of ours but its list: instances in turns, and the next one where it finds no
/// connection. To be polled beside it: what reads the list.
pub fn plain(
    protocol: Protocol,
    snapshots: Snapshots,
) -> (Asking, impl Future<Output = ()> + Send + 'static) {
    let list = Arc::new((RwLock::new(addresses(&snapshots)), AtomicUsize::new(0)));
    let read = list.clone();
    let reading = async move {
        loop {
            sleep(READ_EVERY).await;
            *read.0.write().unwrap_or_else(PoisonError::into_inner) = addresses(&snapshots);
        }
    };
    let client = client::<Full<bytes::Bytes>>(protocol);
    let next = move || {
        let addresses = list.0.read().unwrap_or_else(PoisonError::into_inner);
        let turn = list.1.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).cloned()
    };
    let asking = service_fn(move |request: Request<Body>| {
        let (client, next) = (client.clone(), next.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = Full::new(body.collect().await?.to_bytes());
            for tried in 1.. {
                let mut request = Request::from_parts(head.clone(), body.clone());
                *request.uri_mut() = uri_at(&next().ok_or("nobody is listed")?, &head.uri)?;
                match client.request(request).await {
                    Ok(answer) => return Ok(answer.map(Body::new)),
                    Err(error) if error.is_connect() && tried < PLAIN_TRIES => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err("not sent".into())
        }
    });
    (BoxCloneSyncService::new(asking.map_err(|error: BoxError| axum::Error::new(error))), reading)
}

fn addresses(snapshots: &Snapshots) -> Vec<Address> {
    snapshots.latest().instances().iter().map(|instance| instance.address().clone()).collect()
}

/// The same path and query at `address`.
fn uri_at(address: &Address, uri: &Uri) -> Result<Uri, BoxError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok(format!("http://{address}{path}").parse()?)
}

/// The same lists, each `age` later. To be polled beside them: what passes them on.
pub fn aged(mut lists: Snapshots, age: Duration) -> (Snapshots, impl Future<Output = ()> + Send + 'static) {
    let first = lists.latest();
    let (publisher, late) = Publisher::new(first.service().clone());
    publisher.publish(first);
    let passing = async move {
        let mut waiting = VecDeque::new(); // No more than come in `age`.
        loop {
            let next = waiting.front().map(|(at, _)| *at);
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                list = lists.changed() => waiting.push_back((Instant::now() + age, list)),
                () = due => waiting.pop_front().into_iter().for_each(|(_, list)| publisher.publish(list)),
            }
        }
    };
    (late, passing)
}

/// Sends what is planned, by the name `id`, and checks the answer.
pub async fn ask(
    asking: Asking,
    protocol: Protocol,
    planned: Planned,
    id: String,
    start: Instant,
) -> Outcome {
    let lag_ms = start.elapsed().saturating_sub(planned.due).as_secs_f64() * 1000.0;
    let answered = async {
        match protocol {
            Protocol::Http1 | Protocol::Http2 => ask_orders(asking, &planned.wish, &id).await,
            Protocol::Grpc => ask_greeters(asking, &planned.wish, &id).await,
        }
    };
    let answered = timeout(ANSWER_MAX, answered).await;
    let answered = answered.unwrap_or_else(|_| lost("timeout", &format_args!("within {ANSWER_MAX:?}")));
    Outcome { id, lag_ms, lost: answered.err() }
}

async fn ask_orders(asking: Asking, wish: &Wish, id: &str) -> Result<(), Lost> {
    let request = wish.to_request(id).map(Body::new);
    let answer = asking.oneshot(request).await.map_err(|error| failed(&error.into_inner()))?;
    let status = answer.status();
    let body = match answer.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return lost("body_broken", &Causes(&error)),
    };
    match status {
        StatusCode::OK if wish.is_answered_by(id, &body) => Ok(()),
        StatusCode::OK => lost("wrong", &format_args!("{} bytes", body.len())),
        other => lost(&format!("status_{}", other.as_u16()), &String::from_utf8_lossy(&body)),
    }
}

async fn ask_greeters(asking: Asking, wish: &Wish, id: &str) -> Result<(), Lost> {
    let name = HeaderValue::try_from(id).expect("ids are visible ASCII");
    let asking = asking.map_request(move |mut request: Request<tonic::body::Body>| {
        request.headers_mut().insert(REQUEST_ID, name.clone());
        request.map(Body::new)
    });
    let mut greeter = GreeterClient::new(asking);
    let (name, times) = match wish {
        Wish::Read => (id.to_owned(), 0),
        Wish::Create(order) => (order.clone(), 0),
        Wish::Slow(n) | Wish::Stream(n) => (id.to_owned(), u32::try_from(*n).unwrap_or(u32::MAX)),
    };
    let expected = words(&name);
    let name = Name { name, times };
    let greetings: Vec<Greeting> = match wish {
        Wish::Stream(_) => {
            let greetings = greeter.greet_often(name).await.map_err(|status| refused(&status))?.into_inner();
            greetings.collect::<Result<_, _>>().await.map_err(|status| refused(&status))?
        }
        Wish::Read | Wish::Create(_) | Wish::Slow(_) => {
            vec![greeter.greet(name).await.map_err(|status| refused(&status))?.into_inner()]
        }
    };
    let count = if let Wish::Stream(count) = wish { *count } else { 1 };
    let right =
        greetings.len() as u64 == count && greetings.iter().all(|greeting| greeting.words == expected);
    if right { Ok(()) } else { lost("wrong", &format_args!("{} greetings of {count}", greetings.len())) }
}

fn failed(error: &BoxError) -> Lost {
    let kind = if error.is::<NoInstance>() {
        "no_instance"
    } else if error.is::<InstanceError>() {
        "broken"
    } else {
        "failed"
    };
    Lost { kind: kind.to_owned(), reason: Causes(&**error).to_string() }
}

fn refused(status: &Status) -> Lost {
    let kind = format!("grpc_{:?}", status.code()).to_lowercase();
    Lost { kind, reason: status.message().to_owned() }
}

fn lost<T>(kind: &str, reason: &dyn Display) -> Result<T, Lost> {
    Err(Lost { kind: kind.to_owned(), reason: reason.to_string().trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_graceful::model::{Instance, Snapshot};

    #[tokio::test(start_paused = true)]
    async fn every_list_comes_late_and_in_its_order() {
        let list = |revision| {
            let instance = Instance::new("10.0.0.7:8080".parse().unwrap());
            Snapshot::new("orders".parse().unwrap(), revision, vec![instance])
        };
        let (publisher, lists) = Publisher::new("orders".parse().unwrap());
        publisher.publish(list(1));
        let (mut late, passing) = aged(lists, Duration::from_secs(10));
        let passing = tokio::spawn(passing);
        let start = Instant::now();
        assert_eq!(late.latest().revision(), 1, "known from the start");
        for revision in [2, 3] {
            sleep(Duration::from_secs(4)).await;
            publisher.publish(list(revision));
        }
        late.wait_for(|list| list.revision() == 2).await;
        assert_eq!(start.elapsed().as_secs(), 14);
        late.wait_for(|list| list.revision() == 3).await;
        assert_eq!(start.elapsed().as_secs(), 18);
        passing.abort();
    }
}
