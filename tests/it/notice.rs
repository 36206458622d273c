//! A rare caller is told: instances that leave send notices, over sockets.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use http::StatusCode;
use http_body_util::BodyExt;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tower_graceful::consumer::{
    Balance, BalanceLayer, GracefulClientLayer, NoticePort, Notices, http_client,
};
use tower_graceful::model::{Address, Instance, Metadata, ServiceKey, UnixMillis, key};
use tower_graceful::naming::Snapshots;
use tower_graceful::naming::header::{CALLER, CallerTag};
use tower_graceful::naming::notice::{Notice, NoticeSecret, PATH};

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// Longer than any answer over loopback takes.
const SOON: Duration = Duration::from_secs(10);

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn instance(address: impl Into<Address>, epoch: u64, secret: &NoticeSecret) -> Instance {
    Instance::new(address.into()).with_metadata(Metadata::from_iter([
        (key::VERSION, "0.1.0".to_owned()),
        (key::EPOCH, epoch.to_string()),
        (key::NOTICE, true.to_string()),
        (key::NOTICE_KEY, secret.key().to_string()),
    ]))
}

fn notice(of: &Instance, secret: NoticeSecret) -> Notice {
    Notice::new(orders(), of.address().clone(), of.epoch().unwrap(), secret)
}

async fn post(to: &Address, path: &str, body: String) -> (StatusCode, String) {
    let request = http::Request::post(format!("http://{to}{path}")).body(body).unwrap();
    let answer = timeout(SOON, http_client().oneshot(request)).await.unwrap().unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn chosen<S: Clone>(balance: &Balance<S>) -> BTreeSet<Address> {
    (0..64).map(|_| balance.pick().unwrap().instance().address().clone()).collect()
}

/// A port of notices, and what ends it.
async fn listening() -> (Notices, oneshot::Sender<()>, JoinHandle<()>) {
    let port = NoticePort::bind(LOCAL.into()).await.unwrap();
    let notices = port.notices();
    let (end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(port.serve(async move { _ = ended.await }));
    (notices, end, serving)
}

/// Everything on its way: the caller says where it hears notices, the instance sends one there, and the
/// caller's next request goes elsewhere although no answer was tagged and the list stays as it was.
#[tokio::test]
async fn an_instance_tells_its_rare_caller_where_the_caller_has_said() {
    let heard = Arc::<Mutex<Vec<CallerTag>>>::default();
    let listen = async |State(heard): State<Arc<Mutex<Vec<CallerTag>>>>, headers: HeaderMap| {
        heard.lock().unwrap().extend(CallerTag::from_value(&headers[CALLER]));
    };
    let (mut instances, mut secrets) = (Vec::new(), Vec::new());
    for epoch in [1, 2] {
        let listener = TcpListener::bind(SocketAddr::from(LOCAL)).await.unwrap();
        secrets.push(NoticeSecret::random().unwrap());
        instances.push(instance(listener.local_addr().unwrap(), epoch, secrets.last().unwrap()));
        let router = Router::new().route("/", get(listen)).with_state(heard.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }
    let (notices, _end, _serving) = listening().await;
    let layer =
        GracefulClientLayer::new(Snapshots::fixed(orders(), instances.clone())).with_notices(&notices);
    let client = layer.layer(http_client());
    let call = async || {
        let answer =
            client.clone().oneshot(http::Request::get("/").body(String::new()).unwrap()).await.unwrap();
        answer.body().instance().clone()
    };

    let first = call().await;
    let at = instances.iter().position(|instance| *instance == first).unwrap();
    let told = heard.lock().unwrap().pop().unwrap().notice.unwrap();
    assert_eq!(told, *notices.advertised());
    let leaves = notice(&first, secrets[at].clone()).to_json();
    assert_eq!(post(&told, PATH, leaves).await, (StatusCode::NO_CONTENT, String::new()));
    for _ in 0..20 {
        assert_ne!(call().await, first);
    }
    assert_eq!(notices.applied(), 1);
}

#[tokio::test]
async fn a_port_takes_notices_and_nothing_else_until_it_is_ended() {
    let (notices, end, serving) = listening().await;
    let secret = NoticeSecret::random().unwrap();
    let two = [1, 2].map(|port| instance(Address::new("10.0.0.7", port).unwrap(), 5, &secret));
    let layer = BalanceLayer::new(Snapshots::fixed(orders(), two.to_vec())).with_notices(&notices);
    let balance = layer.over(|_| ());
    let at = notices.advertised();

    let good = notice(&two[0], secret.clone());
    let guessed = Notice { secret: NoticeSecret::random().unwrap(), ..good.clone() };
    let old = Notice { epoch: UnixMillis::new(4), ..good.clone() };
    for forged in [guessed, old] {
        let (status, said) = post(at, PATH, forged.to_json()).await;
        assert_eq!((status, said.contains("error")), (StatusCode::FORBIDDEN, true));
    }
    assert_eq!(post(at, PATH, "{}".to_owned()).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(post(at, PATH, "x".repeat(100_000)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, said) = post(at, "/", good.to_json()).await;
    assert_eq!((status, said.contains(PATH)), (StatusCode::NOT_FOUND, true));
    assert_eq!(chosen(&balance).len(), 2, "nothing has changed");
    assert_eq!((notices.applied(), notices.refused(), notices.malformed()), (0, 2, 2));

    assert_eq!(post(at, PATH, good.to_json()).await.0, StatusCode::NO_CONTENT);
    assert_eq!(chosen(&balance), BTreeSet::from([two[1].address().clone()]));

    end.send(()).unwrap();
    timeout(SOON, serving).await.unwrap().unwrap();
    let closed = TcpStream::connect(at.socket_addr().unwrap()).await.unwrap_err();
    assert_eq!(closed.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn notices_are_a_route_of_any_axum_application() {
    let listener = TcpListener::bind(SocketAddr::from(LOCAL)).await.unwrap();
    let notices = Notices::mounted(listener.local_addr().unwrap().into());
    let router = Router::new().route("/", get(async || "mine")).route_service(PATH, notices.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let secret = NoticeSecret::random().unwrap();
    let two = [1, 2].map(|port| instance(Address::new("10.0.0.7", port).unwrap(), 5, &secret));
    let layer = BalanceLayer::new(Snapshots::fixed(orders(), two.to_vec())).with_notices(&notices);
    let balance = layer.over(|_| ());
    let leaves = notice(&two[0], secret).to_json();
    assert_eq!(post(notices.advertised(), PATH, leaves).await.0, StatusCode::NO_CONTENT);
    assert_eq!(chosen(&balance), BTreeSet::from([two[1].address().clone()]));
}

#[tokio::test]
async fn those_who_connect_and_say_nothing_do_not_grow_without_end() {
    let (notices, _end, _serving) = listening().await;
    let at = notices.advertised().socket_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    let mut turned_away = TcpStream::connect(at).await.unwrap();
    let read = timeout(SOON, turned_away.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "closed without an answer: {read:?}");
    // They are told off before long, and there is room again.
    let mut first = silent.remove(0);
    assert_eq!(timeout(SOON, first.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
    let mut next = TcpStream::connect(at).await.unwrap();
    next.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    timeout(SOON, next.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 404");
}
