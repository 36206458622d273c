//! The end: what is waited for besides requests, and what becomes of it when time is up.

use super::*;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use std::process::{ExitCode, Termination as _};
use std::sync::Mutex;
use tower_graceful::provider::Server;

/// What a test has written down, in its order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn notes(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

struct Started {
    address: SocketAddr,
    handle: ProviderHandle,
    shutdown: ShutdownHandle,
    serving: JoinHandle<Result<Report, ServeError>>,
}

/// Starts what `server` makes of the builder's provider, with a router that knows the provider's handle.
async fn started(
    builder: ProviderBuilder,
    router: Router<ProviderHandle>,
    more: impl FnOnce(Server) -> Server,
) -> Started {
    let provider = builder.build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let server = provider.server().listen(listen().await, router.with_state(handle.clone()));
    let serving = tokio::spawn(more(server).run());
    assert_eq!(handle.reached(Phase::Serving).await, Phase::Serving);
    let address = handle.bound().await.unwrap().address().unwrap();
    Started { address, handle, shutdown, serving }
}

#[tokio::test]
async fn work_of_a_caller_that_gave_up_is_finished_by_its_task() {
    let (arrived, release, diary) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Diary::default());
    let (here, gate, notes) = (arrived.clone(), release.clone(), diary.clone());
    let charge = async move |State(provider): State<ProviderHandle>| {
        let charged = provider.spawn("charge", async move {
            here.notify_one();
            gate.notified().await;
            notes.note("charged");
        });
        charged.await.unwrap();
    };
    let router = Router::new().route("/charge", get(charge));
    let last = diary.clone();
    let pool = async move { last.note("pool closed") };
    let started = started(orders(), router, |server| server.on_stopped("pool", pool)).await;

    let mut client = TcpStream::connect(started.address).await.unwrap();
    client.write_all(b"GET /charge HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    arrived.notified().await;
    drop(client);
    while started.handle.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(started.handle.tasks().names(), ["charge"]);
    started.shutdown.shut_down();
    started.handle.draining().await;
    while TcpStream::connect(started.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!started.serving.is_finished());
    release.notify_one();
    let report = started.serving.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(diary.notes(), ["charged", "pool closed"]);
}

#[tokio::test]
async fn what_is_done_last_is_done_in_reverse_and_a_panic_is_not_the_end_of_it() {
    let diary = Diary::default();
    let note = |what| {
        let diary = diary.clone();
        async move { diary.note(what) }
    };
    let started = started(orders(), Router::new(), |server| {
        server
            .on_stopped("log", note("log flushed"))
            .on_stopped("broken", async { panic!("oh") })
            .on_stopped("pool", note("pool closed"))
    });
    let started = started.await;
    started.shutdown.shut_down();
    let report = started.serving.await.unwrap().unwrap();
    assert_eq!(diary.notes(), ["pool closed", "log flushed"]);
    assert!(report.is_clean(), "{report}");
    assert_eq!(format!("{:?}", report.report()), format!("{:?}", ExitCode::SUCCESS));
}

#[tokio::test]
async fn what_the_deadline_cuts_is_named() {
    let builder = orders().lame_duck_max(100 * MS).drain_timeout(300 * MS);
    let diary = Diary::default();
    let first = diary.clone();
    let started = started(builder, Router::new(), |server| {
        server
            .on_stopped("never begun", pending())
            .on_stopped("endless", pending())
            .on_stopped("pool", async move { first.note("pool closed") })
    });
    let started = started.await;
    started.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, started.serving).await.unwrap().unwrap().unwrap();
    assert_eq!(diary.notes(), ["pool closed"]);
    assert_eq!(report.cut_hooks, ["endless", "never begun"]);
    assert!(!report.is_clean() && report.drain_time >= 300 * MS, "{report}");
    assert_eq!(format!("{:?}", report.report()), format!("{:?}", ExitCode::from(3)));
}

#[tokio::test]
async fn a_second_signal_cuts_tasks_and_what_comes_last_too() {
    let started = started(orders(), Router::new(), |server| server.on_stopped("pool", async {})).await;
    started.handle.spawn("endless", pending::<()>());
    started.shutdown.shut_down();
    started.handle.draining().await;
    started.shutdown.abort();
    let report = tokio::time::timeout(FAR, started.serving).await.unwrap().unwrap().unwrap();
    assert_eq!(
        (&report.cut_tasks[..], &report.cut_hooks[..]),
        (&["endless".into()][..], &["pool".into()][..])
    );
}

/// A WebSocket that says hello, and goodbye when the provider drains.
async fn talk(mut socket: WebSocket, provider: ProviderHandle) {
    socket.send(Message::text("hello")).await.unwrap();
    provider.draining().await;
    let goodbye = CloseFrame { code: close_code::AWAY, reason: "".into() };
    socket.send(Message::Close(Some(goodbye))).await.unwrap();
    while socket.recv().await.is_some_and(|message| message.is_ok()) {} // Until the other end has closed too.
}

pub(super) async fn web_socket(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    let upgrade = b"GET /talk HTTP/1.1\r\nhost: orders\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(upgrade).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\x81\x05hello") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    client
}

fn talking() -> Router<ProviderHandle> {
    let upgrade = async |upgrade: WebSocketUpgrade, State(provider): State<ProviderHandle>| {
        upgrade.on_upgrade(|socket| talk(socket, provider))
    };
    Router::new().route("/talk", get(upgrade))
}

#[tokio::test]
async fn a_web_socket_that_looks_at_the_drain_says_goodbye() {
    let started = started(orders(), talking(), |server| server).await;
    let mut client = web_socket(started.address).await;
    started.shutdown.shut_down();
    let mut close = [0; 4];
    client.read_exact(&mut close).await.unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "a frame of kind Close with the code 1001");
    assert!(!started.serving.is_finished(), "the other end has not answered");
    client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).await.unwrap(); // The mask is zero.
    let report = started.serving.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.lame_duck < 5_000 * MS, "who talks over a web socket makes no requests: {report}");
}

#[tokio::test]
async fn a_web_socket_that_goes_on_is_cut_and_counted() {
    let builder = orders().lame_duck_max(100 * MS).drain_timeout(300 * MS);
    let started = started(builder, talking(), |server| server).await;
    let _client = web_socket(started.address).await;
    started.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, started.serving).await.unwrap().unwrap().unwrap();
    assert_eq!((report.cut_connections, report.cut_requests), (1, 0), "{report}");
}

#[tokio::test]
async fn the_deadline_counts_from_the_signal_whatever_came_before() {
    // The lame duck takes nearly all of it, for a caller that never comes back.
    let builder = orders().lame_duck_max(900 * MS).drain_timeout(1_000 * MS);
    let started = started(builder, hello().with_state(()), |server| server).await;
    started.handle.spawn("endless", pending::<()>());
    let mut caller = Http1(handshake_http1(started.address).await);
    caller.get("/").await;
    started.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, started.serving).await.unwrap().unwrap().unwrap();
    assert!(report.lame_duck >= 900 * MS, "{report}");
    assert!(1_000 * MS <= report.drain_time && report.drain_time < 1_800 * MS, "{report}");
}
