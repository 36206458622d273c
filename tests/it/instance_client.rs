//! A client for each instance: TLS, Unix sockets and tonic channels, in the name of the service.

use axum::body::Body;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tonic::transport::Channel;
use tower::{Service, ServiceExt};
use tower_graceful::consumer::{
    Applied, BoxError, GracefulClientLayer, GracefulClients, GracefulClientsLayer, InstanceClient,
    InstanceClientBuilder, InstanceError, TonicChannel, classify::applied, http_client,
};
use tower_graceful::model::{Instance, Metadata};
use tower_graceful::naming::{Causes, InProcess, Register, Snapshots};

const NAME: &str = "orders.internal";

/// A certificate for [`NAME`], and who trusts it.
struct Authority {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Self { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn server(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = PrivatePkcs8KeyDer::from(self.key.clone()).into();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
    }
}

/// A provider that answers with its name and what it saw: `Ada: HTTP/2.0 for orders.internal, SNI none`.
struct Running {
    instance: Instance,
    serving: AbortHandle,
}

impl Running {
    async fn start(name: &'static str, tls: impl Into<Option<TlsAcceptor>>) -> Self {
        let tls = tls.into();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let instance = Instance::new(listener.local_addr().unwrap().into());
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(name, "none".to_owned(), stream).await };
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let sni = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
                    serve(name, sni, stream).await;
                });
            }
        });
        Self { instance, serving: serving.abort_handle() }
    }

    fn start_unix(name: &'static str, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let instance = at_socket(path, name.len().try_into().unwrap());
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(name, "none".to_owned(), stream));
            }
        });
        Self { instance, serving: serving.abort_handle() }
    }

    /// Where nobody listens any more.
    async fn gone(name: &'static str) -> Instance {
        let running = Self::start(name, None).await;
        let addr = running.instance.address().socket_addr().unwrap();
        let instance = running.instance.clone();
        drop(running);
        while tokio::net::TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        instance
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn at_socket(path: &Path, port: u16) -> Instance {
    let metadata: Metadata = [("socket", path.to_str().unwrap())].into_iter().collect();
    Instance::new(SocketAddr::from(([127, 0, 0, 1], port)).into()).with_metadata(metadata)
}

async fn serve(
    name: &'static str,
    sni: String,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let host = request.headers().get(http::header::HOST).map(|host| host.to_str().unwrap().to_owned());
        let named = request.uri().authority().map(ToString::to_string).or(host).unwrap();
        let text = format!("{name}: {:?} for {named}, SNI {sni}", request.version());
        async move { Ok::<_, Infallible>(Response::new(Body::from(text))) }
    });
    // A connection that its client has left behind ends with an error.
    _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

fn fixed(instances: impl IntoIterator<Item = Instance>) -> Snapshots {
    Snapshots::fixed("orders".parse().unwrap(), instances.into_iter().collect())
}

fn post(uri: &str) -> Request<Body> {
    Request::post(uri).body(Body::from("an order")).unwrap()
}

async fn text<B>(answer: Response<B>) -> String
where
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What the provider at `instance` answers to a request for `uri`.
async fn asked(settings: &InstanceClientBuilder, running: &Running, uri: &str) -> String {
    text(settings.build(&running.instance).oneshot(post(uri)).await.unwrap()).await
}

#[tokio::test]
async fn over_tls_a_provider_is_spoken_to_in_the_name_of_its_service() {
    let authority = Authority::new();
    let http1 = Running::start("Ada", authority.server(&["http/1.1"])).await;
    let both = Running::start("Bob", authority.server(&["h2", "http/1.1"])).await;
    let settings = InstanceClient::builder().tls(authority.client());

    let named = settings.clone().authority(NAME).unwrap();
    for uri in ["/7", "http://orders/7"] {
        assert_eq!(
            asked(&named, &http1, uri).await,
            "Ada: HTTP/1.1 for orders.internal, SNI orders.internal"
        );
        assert_eq!(asked(&named, &both, uri).await, "Bob: HTTP/2.0 for orders.internal, SNI orders.internal");
    }
    let uri = "https://orders.internal:8443/7";
    let seen = "Ada: HTTP/1.1 for orders.internal:8443, SNI orders.internal";
    assert_eq!(asked(&settings, &http1, uri).await, seen);
    let seen = "Bob: HTTP/2.0 for orders.internal:8443, SNI orders.internal";
    assert_eq!(asked(&settings.clone().http2(), &both, uri).await, seen);

    let apart = settings.server_name(NAME).unwrap();
    assert_eq!(
        asked(&apart, &http1, "http://orders/7").await,
        "Ada: HTTP/1.1 for orders, SNI orders.internal"
    );
    let seen = format!("Bob: HTTP/2.0 for {}, SNI orders.internal", both.instance.address());
    assert_eq!(asked(&apart, &both, "/7").await, seen);
}

#[tokio::test]
async fn only_http2_is_offered_where_nothing_else_is_spoken() {
    let authority = Authority::new();
    let http1 = Running::start("Ada", authority.server(&["http/1.1"])).await;
    let settings = InstanceClient::builder().authority(NAME).unwrap().tls(authority.client()).http2();
    let error = settings.build(&http1.instance).oneshot(post("/7")).await.unwrap_err();
    assert!(error.is_connect());
    assert!(Causes(&error).to_string().contains("NoApplicationProtocol"), "{}", Causes(&error));
}

/// Each of them begins a connection, and all come to share the first that speaks HTTP/2.
#[tokio::test]
async fn calls_that_come_at_once_to_a_new_instance_are_all_answered() {
    let authority = Authority::new();
    let running = Running::start("Ada", authority.server(&["h2", "http/1.1"])).await;
    let settings = InstanceClient::builder().authority(NAME).unwrap().tls(authority.client());
    let client = settings.build::<Body>(&running.instance);
    let calls: tokio::task::JoinSet<_> = (0..8).map(|_| client.clone().oneshot(post("/7"))).collect();
    for answer in calls.join_all().await {
        assert_eq!(text(answer.unwrap()).await, "Ada: HTTP/2.0 for orders.internal, SNI orders.internal");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_before_anything_is_sent() {
    let authority = Authority::new();
    let running = Running::start("Ada", authority.server(&["h2", "http/1.1"])).await;
    let settings = InstanceClient::builder().authority("payments.internal").unwrap().tls(authority.client());
    for settings in [settings.clone(), settings.http2()] {
        let error = settings.build(&running.instance).oneshot(post("/7")).await.unwrap_err();
        assert!(error.is_connect());
        assert_eq!(applied(&error), Applied::Never);
        assert!(Causes(&error).to_string().contains("certificate"), "{}", Causes(&error));
    }
}

#[tokio::test]
async fn a_handshake_that_nobody_answers_fails_in_time() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let instance = Instance::new(silent.local_addr().unwrap().into());
    let settings = InstanceClient::builder().authority(NAME).unwrap().tls(Authority::new().client());
    let answer = settings.build(&instance).oneshot(post("/7"));
    let error = tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap().unwrap_err();
    assert!(error.is_connect());
    let mut causes =
        std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |e| e.source());
    let cause = causes.find_map(|cause| cause.downcast_ref::<io::Error>()).unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
}

/// One is gone, and one speaks something else: neither has seen a request, and both cost none.
#[tokio::test]
async fn what_tls_could_not_be_agreed_on_goes_to_another_instance() {
    let authority = Authority::new();
    let plain = Running::start("Eve", None).await;
    let good = Running::start("Ada", authority.server(&["h2", "http/1.1"])).await;
    let gone = Running::gone("Bob").await;
    let settings = InstanceClient::builder().authority(NAME).unwrap().tls(authority.client());
    for settings in [settings.clone(), settings.http2()] {
        let fleet = fixed([gone.clone(), plain.instance.clone(), good.instance.clone()]);
        let orders = GracefulClientLayer::new(fleet).over(move |instance| settings.build(instance));
        let met = "Ada: HTTP/2.0 for orders.internal, SNI orders.internal".to_owned();
        assert_eq!(tally(&orders, 50).await, BTreeSet::from([met]));
    }
}

#[tokio::test]
async fn without_tls_the_name_is_kept_too() {
    let running = Running::start("Ada", None).await;
    let settings = InstanceClient::builder();
    let named = settings.clone().authority(NAME).unwrap();
    assert_eq!(asked(&named, &running, "/7").await, "Ada: HTTP/1.1 for orders.internal, SNI none");
    assert_eq!(asked(&named.http2(), &running, "/7").await, "Ada: HTTP/2.0 for orders.internal, SNI none");
    let settings = settings.http2();
    assert_eq!(asked(&settings, &running, "http://orders/7").await, "Ada: HTTP/2.0 for orders, SNI none");
}

/// One word names the service, dials its instances and is what their certificates are for.
#[tokio::test]
async fn the_hosts_of_many_services_are_their_names() {
    let (authority, naming) = (Authority::new(), InProcess::new());
    let secret = Running::start("Ada", authority.server(&["h2", "http/1.1"])).await;
    let plain = Running::start("Bob", None).await;
    for (service, running) in [(NAME, &secret), ("orders", &plain)] {
        naming.register(&service.parse().unwrap(), &running.instance).await.unwrap();
    }
    let settings = InstanceClient::builder().tls(authority.client());
    let over_tls =
        GracefulClientsLayer::new(naming.clone()).over(move |_, instance| settings.build(instance));
    let answer = over_tls.oneshot(post("https://orders.internal/7")).await.unwrap();
    assert_eq!(text(answer).await, "Ada: HTTP/2.0 for orders.internal, SNI orders.internal");

    let over_one = GracefulClients::new(naming, http_client());
    let answer = over_one.oneshot(post("http://orders/7")).await.unwrap();
    let seen = format!("Bob: HTTP/1.1 for {}, SNI none", plain.instance.address());
    assert_eq!(text(answer).await, seen);
}

/// A directory that goes with its test.
struct Sockets(PathBuf);

impl Sockets {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tower-graceful-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

fn over_sockets() -> InstanceClientBuilder {
    let socket = |instance: &Instance| instance.metadata.get("socket").map(PathBuf::from);
    InstanceClient::builder().authority(NAME).unwrap().unix(socket)
}

/// All that was answered to `calls` requests.
async fn tally<S, B>(orders: &S, calls: usize) -> BTreeSet<String>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let mut answers = BTreeSet::new();
    for _ in 0..calls {
        answers.insert(text(orders.clone().oneshot(post("/7")).await.unwrap()).await);
    }
    answers
}

#[tokio::test]
async fn instances_on_unix_sockets_are_one_fleet_with_those_on_ports() {
    let sockets = Sockets::new("mixed");
    let ada = Running::start_unix("Ada", &sockets.0.join("ada"));
    let bob = Running::start("Bob", None).await;
    let gone = at_socket(&sockets.0.join("gone"), 1);
    let fleet = fixed([ada.instance.clone(), bob.instance.clone(), gone]);
    for (settings, version) in [(over_sockets(), "HTTP/1.1"), (over_sockets().http2(), "HTTP/2.0")] {
        let orders = GracefulClientLayer::new(fleet.clone()).over(move |instance| settings.build(instance));
        let met = ["Ada", "Bob"].map(|name| format!("{name}: {version} for orders.internal, SNI none"));
        assert_eq!(tally(&orders, 50).await, BTreeSet::from(met));
    }
}

#[tokio::test]
async fn tonic_channels_dial_as_instance_clients_do() {
    let (authority, sockets) = (Authority::new(), Sockets::new("channels"));
    let ada = Running::start_unix("Ada", &sockets.0.join("ada"));
    let bob = Running::start("Bob", None).await;
    let gone = Running::gone("Eve").await;
    let channels = |settings: InstanceClientBuilder, fleet: Vec<Instance>| {
        GracefulClientLayer::new(fixed(fleet)).over(move |instance| {
            let endpoint = Channel::from_static("http://orders.internal");
            TonicChannel::new(endpoint.connect_with_connector_lazy(settings.connector(instance)))
        })
    };
    let orders = channels(over_sockets(), vec![ada.instance.clone(), bob.instance.clone(), gone.clone()]);
    let met = ["Ada", "Bob"].map(|name| format!("{name}: HTTP/2.0 for orders.internal, SNI none"));
    assert_eq!(tally(&orders, 50).await, BTreeSet::from(met));

    let secret = Running::start("Cid", authority.server(&["h2"])).await;
    let settings = InstanceClient::builder().tls(authority.client()).http2();
    let orders = channels(settings, vec![bob.instance.clone(), secret.instance.clone(), gone]);
    let met = "Cid: HTTP/2.0 for orders.internal, SNI orders.internal".to_owned();
    assert_eq!(tally(&orders, 50).await, BTreeSet::from([met]));
}

/// It fails each call that waited for the connection, says so, and is whole again when the port is.
#[tokio::test]
async fn a_lazy_channel_that_cannot_connect_has_applied_nothing() {
    let gone = Running::gone("Ada").await;
    let channel = Channel::from_shared(format!("http://{}", gone.address())).unwrap().connect_lazy();
    let mut channel = TonicChannel::new(channel);
    for _ in 0..2 {
        let error = ServiceExt::<Request<Body>>::ready(&mut channel).await.unwrap().call(post("/7")).await;
        assert_eq!(applied(&error.unwrap_err()), Applied::Never);
    }
    let orders = GracefulClientLayer::new(fixed([gone.clone()])).over(move |_| channel.clone());
    let error = orders.clone().oneshot(post("/7")).await.unwrap_err();
    assert_eq!(error.downcast_ref::<InstanceError>().unwrap().instance(), &gone);

    let listener = TcpListener::bind(gone.address().socket_addr().unwrap()).await.unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve("Ada", "none".to_owned(), stream).await;
    });
    let answer = orders.oneshot(post("/7")).await.unwrap();
    assert_eq!(text(answer).await, format!("Ada: HTTP/2.0 for {}, SNI none", gone.address()));
    serving.abort();
}
