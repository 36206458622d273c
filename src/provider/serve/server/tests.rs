//! Connections over real sockets; nothing here waits for time to pass but the server's own bounds.

use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::ready;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, SetOnce};
use tokio::task::JoinHandle;
use tower::service_fn;

type Answer = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A server of `/` (at once), `/slow` (when `release` is notified) and `/endless` (a body without an end).
struct Running {
    addr: SocketAddr,
    drain: Arc<SetOnce<()>>,
    abort: Arc<SetOnce<()>>,
    arrived: Arc<Notify>,
    release: Arc<Notify>,
    server: JoinHandle<usize>,
}

async fn set(once: &SetOnce<()>) {
    once.wait().await;
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn run_server() -> Running {
    run_server_on(listen().await, Bounds::default())
}

fn run_server_on(listener: TcpListener, bounds: Bounds) -> Running {
    let addr = listener.local_addr().unwrap();
    let (drain, abort) = (Arc::new(SetOnce::new()), Arc::new(SetOnce::new()));
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (gate, here) = (release.clone(), arrived.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (gate, here) = (gate.clone(), here.clone());
        async move { Ok::<_, Infallible>(answer(request, &gate, &here).await) }
    });
    let (draining, aborting) = (drain.clone(), abort.clone());
    let server = tokio::spawn(async move {
        serve(listener, bounds, |_| service.clone(), set(&draining), set(&aborting)).await
    });
    Running { addr, drain, abort, arrived, release, server }
}

async fn answer(request: Request<Incoming>, gate: &Notify, here: &Notify) -> Response<Answer> {
    here.notify_one();
    let body = match request.uri().path() {
        "/slow" => {
            gate.notified().await;
            Full::from("slow").boxed_unsync()
        }
        "/endless" => {
            let first = futures_util::stream::once(ready(Ok(Frame::data(Bytes::from_static(b"first")))));
            let endless = futures_util::stream::StreamExt::chain(first, futures_util::stream::pending());
            StreamBody::new(endless).boxed_unsync()
        }
        _ => Full::from("ok").boxed_unsync(),
    };
    Response::new(body)
}

impl Running {
    fn drain(&self) {
        self.drain.set(()).unwrap();
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "orders").body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_in_its_protocol_and_a_freed_place_is_used() {
    let running = run_server_on(listen().await, Bounds { connections: 1, ..Bounds::default() });
    let mut first = running.http1().await;
    assert_eq!(text(first.send_request(get("/")).await.unwrap()).await, "ok");
    let refused = running.http1().await.send_request(get("/")).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(text(refused).await, "too many connections: try again");
    let refused = running.http2().await.send_request(get("http://orders/")).await.unwrap_err();
    let reason = std::error::Error::source(&refused).unwrap().downcast_ref::<h2::Error>().unwrap();
    assert_eq!(reason.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM), "{reason}");
    drop(first);
    while running.http1().await.send_request(get("/")).await.unwrap().status() == 503 {}
    running.drain();
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_head_beyond_its_bound_is_refused() {
    let running = run_server_on(listen().await, Bounds { head_bytes: 16 * 1024, ..Bounds::default() });
    let mut request = get("/");
    request.headers_mut().insert("long", "x".repeat(32 * 1024).parse().unwrap());
    let response = running.http1().await.send_request(request).await.unwrap();
    assert_eq!(response.status(), 431);
}

#[tokio::test]
async fn both_protocols_are_served_on_one_port_and_idle_connections_end_at_once() {
    let running = run_server().await;
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    assert_eq!(text(old.send_request(get("/")).await.unwrap()).await, "ok");
    assert_eq!(text(new.send_request(get("http://orders/")).await.unwrap()).await, "ok");
    running.drain();
    assert_eq!(running.server.await.unwrap(), 0);
    assert!(TcpStream::connect(running.addr).await.is_err());
}

#[tokio::test]
async fn requests_under_way_are_answered_and_http1_is_told_to_close() {
    let running = run_server().await;
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    let slow = tokio::spawn(old.send_request(get("/slow")));
    running.arrived.notified().await;
    let also_slow = tokio::spawn(new.send_request(get("http://orders/slow")));
    running.arrived.notified().await;
    running.drain();
    // The idle connection is gone once the others have been told too.
    while TcpStream::connect(running.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    running.release.notify_waiters();
    let slow = slow.await.unwrap().unwrap();
    assert_eq!(slow.headers()["connection"], "close");
    assert_eq!(text(slow).await, "slow");
    assert_eq!(text(also_slow.await.unwrap().unwrap()).await, "slow");
    assert_eq!(running.server.await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_that_nobody_has_read_yet_is_answered() {
    let running = run_server().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(running.connect().await);
        tokio::task::yield_now().await; // Lets the server accept it.
    }
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    }
    // On this one thread the server has not run since the bytes were written.
    running.drain();
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    }
    assert_eq!(running.server.await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_on_a_kept_connection_that_nobody_has_read_yet_is_answered() {
    let running = run_server().await;
    let mut stream = running.connect().await;
    let mut answer = [0; 1024];
    stream.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    stream.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    running.drain();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer:?}");
    assert_eq!(running.server.await.unwrap(), 0);
}

#[tokio::test]
async fn a_head_that_has_begun_on_a_kept_connection_is_waited_for() {
    let running = run_server().await;
    let mut stream = running.connect().await;
    let mut answer = [0; 1024];
    stream.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
    running.drain();
    while TcpStream::connect(running.addr).await.is_ok() {
        task::yield_now().await;
    }
    // Longer than what has been sent may take to be read: the head itself is waited for.
    assert!(time::timeout(Duration::from_millis(100), stream.read(&mut answer)).await.is_err());
    stream.write_all(b"st: orders\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer:?}");
    assert_eq!(running.server.await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_in_the_queue_of_the_port_is_served() {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        streams.push(TcpStream::from_std(stream).unwrap());
    }
    let running = run_server_on(listener, Bounds::default());
    running.drain();
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    assert_eq!(running.server.await.unwrap(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_connection_in_the_queue_of_a_unix_socket_is_served() {
    let directory = std::env::temp_dir().join(format!("graceful-queue-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        waiting.push(tokio::net::UnixStream::from_std(stream).unwrap());
    }
    all_are_served(listener, waiting).await;
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Connections from within the process.
struct Inside(mpsc::Receiver<tokio::io::DuplexStream>);

impl Listen for Inside {
    type Io = tokio::io::DuplexStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        task::yield_now().await; // Not at once, as from a system that has to be asked.
        match self.0.recv().await {
            Some(stream) => Ok((stream, None)),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(None)
    }
}

/// How long it takes until the server ends this connection.
async fn open_for(connection: &mut tokio::io::DuplexStream) -> Duration {
    let (start, mut rest) = (Instant::now(), Vec::new());
    connection.read_to_end(&mut rest).await.unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn who_keeps_the_server_waiting_for_a_head_is_cut_and_who_waits_for_an_answer_is_not() {
    let (connect, connections) = mpsc::channel(3);
    let service = service_fn(async |request: Request<Incoming>| {
        if request.uri().path() == "/slow" {
            time::sleep(HEAD_TIMEOUT * 3).await;
        }
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("ok")))
    });
    let (drain, never) = (Arc::new(SetOnce::new()), std::future::pending());
    let draining = drain.clone();
    let server = tokio::spawn(async move {
        serve(Inside(connections), Bounds::default(), |_| service, set(&draining), never).await
    });
    let open = async |bytes: &[u8]| {
        let (mut near, far) = tokio::io::duplex(1024);
        near.write_all(bytes).await.unwrap();
        connect.send(far).await.unwrap();
        near
    };
    let late = HEAD_TIMEOUT..=HEAD_TIMEOUT + LOOK_EVERY * 2;
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\nhost: ", b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n"] {
        let waited = open_for(&mut open(bytes).await).await;
        assert!(late.contains(&waited), "{waited:?} after {bytes:?}");
    }
    let waited = open_for(&mut open(b"GET /slow HTTP/1.1\r\nhost: orders\r\n\r\n").await).await;
    assert!(late.contains(&waited.saturating_sub(HEAD_TIMEOUT * 3)), "{waited:?}");
    // Who has sent half a head is cut while the server drains as well.
    let mut half = open(b"GET / HTTP/1.1\r\nhost: ").await;
    drain.set(()).unwrap();
    assert!(late.contains(&open_for(&mut half).await));
    assert_eq!(server.await.unwrap(), 0);
}

#[tokio::test]
async fn a_connection_that_a_listener_of_another_kind_has_waiting_is_served() {
    let (connect, connections) = mpsc::channel(20);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let (mut near, far) = tokio::io::duplex(1024);
        near.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
        connect.send(far).await.unwrap();
        waiting.push(near);
    }
    all_are_served(Inside(connections), waiting).await;
}

/// A server that is told to end before it has accepted anything answers all who are waiting.
async fn all_are_served<T: AsyncRead + Unpin>(listener: impl Listen, waiting: Vec<T>) {
    let service =
        service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(Full::from("ok"))));
    let never = std::future::pending();
    let server = serve::<_, _, _, Full<Bytes>>(listener, Bounds::default(), |_| service, ready(()), never);
    let answers = async {
        for mut stream in waiting {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        }
    };
    assert_eq!(tokio::join!(server, answers).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_does_not_hold_up_the_end() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let (blocked, arrived) = (Arc::new(std::sync::Mutex::new(blocked)), Arc::new(Notify::new()));
    let here = arrived.clone();
    let service = service_fn(move |_: Request<Incoming>| {
        here.notify_one();
        let _ = blocked.lock().unwrap().recv();
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let listener = listen().await;
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n").await.unwrap();
    let drain = Arc::new(SetOnce::new());
    let drained = drain.clone();
    let server = tokio::spawn(async move {
        serve(listener, Bounds::default(), |_| service.clone(), set(&drained), ready(())).await
    });
    arrived.notified().await;
    // From this thread: what the blocked one wakes may have to wait for it.
    drain.set(()).unwrap();
    assert_eq!(server.await.unwrap(), 1);
    release.send(()).unwrap();
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_cut_and_counted() {
    let running = run_server().await;
    let mut half = running.connect().await;
    half.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    let (mut old, mut new) = (running.http1().await, running.http2().await);
    let mut endless = old.send_request(get("/endless")).await.unwrap();
    let mut also_endless = new.send_request(get("http://orders/endless")).await.unwrap();
    for body in [endless.body_mut(), also_endless.body_mut()] {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    }
    running.drain();
    while TcpStream::connect(running.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!running.server.is_finished());
    running.abort.set(()).unwrap();
    assert_eq!(running.server.await.unwrap(), 3);
    for body in [endless.body_mut(), also_endless.body_mut()] {
        assert!(body.frame().await.unwrap().is_err());
    }
    assert!(matches!(half.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_http2_client_is_told_to_go_away() {
    let running = run_server().await;
    let io = TokioIo::new(running.connect().await);
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    assert_eq!(text(sender.send_request(get("http://orders/")).await.unwrap()).await, "ok");
    running.drain();
    // A GOAWAY without error ends the client's connection without one, though `sender` still lives.
    connection.await.unwrap().unwrap();
    assert!(sender.send_request(get("http://orders/")).await.unwrap_err().is_canceled());
}

#[tokio::test]
async fn an_upgraded_connection_is_waited_for_and_counted_when_it_stays() {
    let listener = listen().await;
    let addr = listener.local_addr().unwrap();
    let (keep, mut upgraded) = mpsc::channel(1);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (keep, upgrade) = (keep.clone(), hyper::upgrade::on(&mut request));
        tokio::spawn(async move { keep.send(upgrade.await.unwrap()).await.unwrap() });
        let switching =
            Response::builder().status(101).header("connection", "upgrade").header("upgrade", "x");
        ready(Ok::<_, Infallible>(switching.body(Empty::<Bytes>::new()).unwrap()))
    });
    let (drain, abort) = (Arc::new(SetOnce::<()>::new()), Arc::new(SetOnce::<()>::new()));
    let (draining, aborting) = (drain.clone(), abort.clone());
    let server = tokio::spawn(async move {
        serve(listener, Bounds::default(), |_| service.clone(), set(&draining), set(&aborting)).await
    });
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: orders\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        .await
        .unwrap();
    let _kept = upgraded.recv().await.unwrap();
    drain.set(()).unwrap();
    while TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished());
    abort.set(()).unwrap();
    assert_eq!(server.await.unwrap(), 1);
}

#[test]
fn only_errors_of_one_connection_are_passed_over() {
    assert!(concerns_one_connection(&io::ErrorKind::ConnectionAborted.into()));
    assert!(!concerns_one_connection(&io::Error::from_raw_os_error(24))); // EMFILE
}
