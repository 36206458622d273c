//! Whatever is served, and wherever it listens, a provider comes and goes in the same way.

use super::greeter::{Friendly, GreeterClient, GreeterServer, anna};
use super::*;
use http_body_util::Full;
use std::io;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::Code;
use tonic::service::Routes;
use tower::service_fn;
use tower_graceful::provider::Server;

async fn run(server: Server, handle: &ProviderHandle) -> (Bound, JoinHandle<Result<Report, ServeError>>) {
    let serving = tokio::spawn(server.run());
    assert_eq!(handle.reached(Phase::Serving).await, Phase::Serving);
    (handle.bound().await.unwrap(), serving)
}

/// Asks for `path` on a connection of its own, and says how the answer begins and what follows its head.
async fn get_over(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> (String, String) {
    io.write_all(format!("GET {path} HTTP/1.1\r\nhost: orders\r\nconnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// A socket of this test in a directory of its own, which goes with it.
struct Socket(std::path::PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("graceful-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn any_service_of_http_requests_is_served() {
    let app = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(request.uri().path().to_owned())))
    });
    let provider = orders().registry(InProcess::new()).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let serving = tokio::spawn(provider.serve(listen().await, app));
    handle.reached(Phase::Serving).await;
    let address = handle.bound().await.unwrap().address().unwrap();
    assert_eq!(ask(address, "/path").await, (StatusCode::OK, "/path".to_owned()));
    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn grpc_and_plain_http_are_served_on_one_port() {
    let routes = Routes::from(hello()).add_service(GreeterServer::new(Friendly));
    let provider = orders().registry(InProcess::new()).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let (bound, serving) = run(provider.server().listen(listen().await, routes), &handle).await;
    let address = bound.address().unwrap();
    assert_eq!(ask(address, "/").await, (StatusCode::OK, "hello".to_owned()));

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut greeter = GreeterClient::new(channel.connect().await.unwrap());
    assert_eq!(greeter.greet(anna()).await.unwrap().into_inner().words, "Hello, Anna!");
    shutdown.shut_down();
    handle.reached(Phase::Leaving).await;
    let mut stream = greeter.greet_often(anna()).await.unwrap();
    assert!(stream.metadata().contains_key(OFFLINE.as_str()), "an answer over gRPC says that it leaves");
    let mut greetings = 0;
    while stream.get_mut().message().await.unwrap().is_some() {
        greetings += 1;
    }
    assert_eq!(greetings, 3);
    assert!(stream.get_mut().trailers().await.is_ok(), "the stream ended with a status");
    let report = serving.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(greeter.greet(anna()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn listeners_of_several_kinds_leave_together() {
    let socket = Socket::new("several");
    let (router, arrived, release) = slow();
    // Who waits for an answer all the while has not been told; that is not what this is about.
    let provider = orders().registry(InProcess::new()).lame_duck_max(100 * MS).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let server = provider
        .server()
        .listen(UnixListener::bind(socket.path()).unwrap(), router)
        .listen(listen().await, hello())
        .listen(listen().await, hello());
    let (bound, serving) = run(server, &handle).await;
    let [first, second] = bound.addresses[..] else { panic!("{bound:?}") };
    assert_eq!(bound.address(), Some(first));
    assert_eq!(*bound.instance.address(), first.into());
    for address in [first, second] {
        assert_eq!(ask(address, "/").await.1, "hello");
    }
    let unix = UnixStream::connect(socket.path()).await.unwrap();
    let slow = tokio::spawn(async move { get_over(unix, "/slow").await });
    arrived.notified().await;
    assert_eq!(handle.in_flight(), 1);

    shutdown.shut_down();
    handle.reached(Phase::Leaving).await;
    for address in [first, second] {
        let (head, _) = get_over(TcpStream::connect(address).await.unwrap(), "/").await;
        assert!(head.contains("graceful-offline"), "{head}");
    }
    let (head, _) = get_over(UnixStream::connect(socket.path()).await.unwrap(), "/").await;
    assert!(head.contains("graceful-offline"), "{head}");
    handle.draining().await;
    assert!(!serving.is_finished(), "one request on one of the listeners is under way");
    release.notify_one();
    let (_, body) = slow.await.unwrap();
    assert_eq!(body, "slow");
    let report = serving.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
}

#[tokio::test]
async fn what_one_listener_cannot_end_is_cut_at_the_deadline_of_all() {
    let (router, arrived, _release) = slow();
    let provider = orders().lame_duck_max(100 * MS).drain_timeout(300 * MS).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let server = provider.server().listen(listen().await, hello()).listen(listen().await, router.clone());
    let (bound, serving) = run(server.listen(listen().await, router), &handle).await;
    let mut stuck = JoinSet::new();
    for address in &bound.addresses[1..] {
        let stream = TcpStream::connect(address).await.unwrap();
        stuck.spawn(async move { handshake_and_ask(stream).await });
        arrived.notified().await;
    }
    shutdown.shut_down();
    let report = tokio::time::timeout(FAR, serving).await.unwrap().unwrap().unwrap();
    assert_eq!(report.cut_connections, 2, "{report}");
    assert_eq!(stuck.join_all().await, [true, true]);
}

/// Whether asking for `/slow` fails.
async fn handshake_and_ask(stream: TcpStream) -> bool {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request("/slow")).await.is_err()
}

#[tokio::test]
async fn a_handshake_comes_before_http_and_one_that_fails_or_hangs_harms_nobody_else() {
    let provider = orders().build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let password = |stream| async {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let opened = (line == "open\n").then_some(stream);
        opened.ok_or_else(|| io::Error::other("wrong password"))
    };
    let server = provider.server().listen_through(listen().await, password, hello());
    let (bound, serving) = run(server, &handle).await;
    let connect = || TcpStream::connect(bound.address().unwrap());
    let _hangs = connect().await.unwrap();
    let mut refused = connect().await.unwrap();
    refused.write_all(b"close\n").await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    let mut opened = connect().await.unwrap();
    opened.write_all(b"open\n").await.unwrap();
    let (head, body) = get_over(opened, "/").await;
    assert!(head.starts_with("http/1.1 200") && body == "hello", "{head}");
    shutdown.shut_down();
    let report = serving.await.unwrap().unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.drain_time < 5_000 * MS, "a handshake that never comes holds up the end: {report}");
}

#[tokio::test]
async fn tls_is_a_handshake_like_any_other_and_speaks_both_versions_of_http() {
    let names = vec!["orders".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth();
    let mut server = server.with_single_cert(vec![cert.der().clone()], key).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let connect = async |address, protocol: &[u8]| {
        let mut client = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        client.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("orders").unwrap();
        TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap()
    };

    let provider = orders().registry(InProcess::new()).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let handshake = move |stream| acceptor.accept(stream);
    let server = provider.server().listen_through(listen().await, handshake, hello());
    let (bound, serving) = run(server, &handle).await;
    let address = bound.address().unwrap();
    let (head, body) = get_over(connect(address, b"http/1.1").await, "/").await;
    assert!(head.starts_with("http/1.1 200") && body == "hello", "{head}");

    let io = TokioIo::new(connect(address, b"h2").await);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut client = Http2(sender, tokio::spawn(connection));
    assert_eq!(text(client.get("/").await).await, "hello");
    let plain = TcpStream::connect(address).await.unwrap();
    shutdown.shut_down();
    handle.reached(Phase::Leaving).await;
    assert!(client.get("/").await.headers().contains_key(OFFLINE));
    client.1.await.unwrap().unwrap(); // GOAWAY came through, and the connection ended well.
    drop(plain);
    let report = serving.await.unwrap().unwrap();
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
}

#[tokio::test]
async fn a_handshake_that_has_begun_when_a_provider_drains_leads_to_an_answer() {
    let provider = orders().build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (here, gate) = (arrived.clone(), release.clone());
    let slow = move |stream| {
        let (here, gate) = (here.clone(), gate.clone());
        async move {
            here.notify_one();
            gate.notified().await;
            Ok(stream)
        }
    };
    let (bound, serving) =
        run(provider.server().listen_through(listen().await, slow, hello()), &handle).await;
    let stream = TcpStream::connect(bound.address().unwrap()).await.unwrap();
    let mut answer = tokio::spawn(get_over(stream, "/"));
    arrived.notified().await;
    shutdown.shut_down();
    handle.draining().await;
    let waited = tokio::time::timeout(100 * MS, &mut answer).await;
    assert!(waited.is_err(), "the connection has been told to end, and goes on");
    release.notify_one();
    assert_eq!(answer.await.unwrap().1, "hello");
    assert!(serving.await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn an_app_may_know_who_asks() {
    let provider = orders().build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let app = |peer: Option<SocketAddr>| Router::new().route("/", get(async move || format!("{peer:?}")));
    let (bound, serving) = run(provider.server().listen_each(listen().await, app), &handle).await;
    let stream = TcpStream::connect(bound.address().unwrap()).await.unwrap();
    let own = stream.local_addr().unwrap();
    assert_eq!(get_over(stream, "/").await.1, format!("Some({own})"));
    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn a_worker_without_a_listener_serves_until_it_is_told_to_stop() {
    let naming = InProcess::new();
    let provider = orders().registry(naming.clone()).build().unwrap();
    let error = provider.server().run().await.unwrap_err().to_string();
    assert!(error.contains("advertise") && error.contains("no listener"), "{error}");

    let given: SocketAddr = ([10, 0, 0, 7], 80).into();
    let provider = orders().registry(naming.clone()).advertise(given).build().unwrap();
    let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
    let (bound, serving) = run(provider.server(), &handle).await;
    assert_eq!((bound.address(), bound.instance.address()), (None, &given.into()));
    let list = || async { naming.subscribe(&service()).await.unwrap().latest() };
    assert_eq!(list().await.instances().len(), 1);
    assert_eq!(ask(bound.readiness.unwrap(), "/readiness").await.0, StatusCode::OK);
    assert!(!serving.is_finished());
    shutdown.shut_down();
    assert!(serving.await.unwrap().unwrap().is_clean());
    assert_eq!(list().await.instances().len(), 0);
}
