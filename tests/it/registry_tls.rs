//! The registry with TLS on both ports, and our client with it, over real sockets.

use crate::registry::{Running, SOON};
use crate::registry_transfer::graceful;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_graceful::client::{self, Nacos, NacosBuilder};
use tower_graceful::model::{Instance, ServiceKey, Snapshot};
use tower_graceful::naming::{Causes, Register};
use tower_graceful::registry::{Settings, TlsFiles};

/// An authority, and the files of a registry for which it vouches.
struct Authority {
    directory: PathBuf,
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    /// With files in a directory of this test's own.
    fn new(test: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{test}"));
        std::fs::create_dir_all(&directory).unwrap();
        let mut about = rcgen::CertificateParams::new(Vec::new()).unwrap();
        about.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = about.self_signed(&key).unwrap();
        std::fs::write(directory.join("ca.crt"), certificate.pem()).unwrap();
        let authority = Self { directory, certificate, issuer: rcgen::Issuer::new(about, key) };
        authority.issue("tls");
        authority
    }

    /// Puts another certificate for 127.0.0.1 in place of the present one of this name.
    fn issue(&self, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let about = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.directory.join(name).with_extension("crt"), certificate.pem()).unwrap();
        std::fs::write(self.directory.join(name).with_extension("key"), key.serialize_pem()).unwrap();
    }

    /// What a client needs that trusts this authority.
    fn trusted(&self) -> client::TlsFiles {
        client::TlsFiles::new(self.directory.join("ca.crt"))
    }

    fn settings(&self) -> Settings {
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| self.directory.join(name));
        let tls = Some(TlsFiles { certificate, key, client_ca: None });
        Settings { http_port: 0, tls, ..Settings::default() }
    }

    /// A connection of a client that trusts this authority, and offers one protocol.
    async fn connected(&self, address: SocketAddr, offered: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![offered.into()];
        let (stream, name) = (TcpStream::connect(address).await.unwrap(), ServerName::from(address.ip()));
        timeout(SOON, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.unwrap().unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory); // Of a test that has failed already, perhaps.
    }
}

const ASK: &[u8] =
    b"GET /nacos/v1/console/health/readiness HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn both_ports_speak_tls_and_nothing_else() {
    let authority = Authority::new("both");
    let registry = Running::start_with(authority.settings()).await;
    for address in [registry.http, registry.grpc] {
        let grpc = authority.connected(address, "h2").await;
        assert_eq!(grpc.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "{address}");
    }
    let mut https = authority.connected(registry.http, "http/1.1").await;
    https.write_all(ASK).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, https.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    // Nor are lists sent past it, as datagrams.
    let ask = async |path: &str| {
        let mut https = authority.connected(registry.http, "http/1.1").await;
        let head = "host: registry\r\nuser-agent: Nacos-Java-Client:v1.4.8\r\nconnection: close";
        https.write_all(format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, https.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let list = ask("/nacos/v1/ns/instance/list?serviceName=orders&udpPort=50000").await;
    assert!(list.contains("\"hosts\":[]"), "{list}");
    let listeners = ask("/graceful/v1/subscribers?serviceName=orders").await;
    assert!(listeners.contains("\"listeners\":[]"), "{listeners}");

    let mut plain = TcpStream::connect(registry.http).await.unwrap();
    plain.write_all(ASK).await.unwrap();
    let mut answer = Vec::new();
    // An alert, or an end without any; never an answer.
    let _ = timeout(SOON, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    registry.stop().await;
}

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn instance(port: u16) -> Instance {
    Instance::new(format!("10.0.0.7:{port}").parse().unwrap())
}

fn lists(snapshot: &Snapshot, ports: &[u16]) -> bool {
    snapshot.instances().iter().map(|instance| instance.address().port()).eq(ports.iter().copied())
}

/// The whole text of what keeps a client from the registry.
async fn trouble(builder: NacosBuilder) -> String {
    let nacos = builder.connect().unwrap();
    let found = async {
        loop {
            match nacos.trouble() {
                Some(trouble) => return Causes(&trouble).to_string(),
                None => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(SOON, found).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_notice_nothing_of_a_registry_that_restarts_with_another_certificate() {
    let authority = Authority::new("restart");
    let registry = Running::start_with(authority.settings()).await;
    let http = registry.http;
    let client = || {
        // The login goes over HTTPS, and its token over gRPC.
        let builder = Nacos::builder(&http.to_string()).tls(authority.trusted()).user("orders", "any");
        builder.connect().unwrap()
    };
    let (provider, consumer) = (client(), client());
    provider.register(&orders(), &instance(1)).await.unwrap();
    let mut seen = consumer.subscribe("orders").await.unwrap();
    assert!(lists(&seen.latest(), &[1]));
    let mut all = seen.clone();
    let watching = tokio::spawn(async move {
        loop {
            let list = all.changed().await;
            assert!(lists(&list, &[1]) || lists(&list, &[1, 2]), "{list:?}");
        }
    });

    registry.stop().await;
    authority.issue("tls");
    let registry = Running::start_with(Settings { http_port: http.port(), ..authority.settings() }).await;
    provider.register(&orders(), &instance(2)).await.unwrap();
    timeout(SOON, seen.wait_for(|list| lists(list, &[1, 2]))).await.unwrap();
    watching.abort();
    assert!(watching.await.is_err_and(|ended| ended.is_cancelled()), "no other list was ever seen");
    for client in [provider, consumer] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_client_and_a_registry_that_do_not_know_each_other_do_not_meet() {
    let (authority, foreign) = (Authority::new("known"), Authority::new("foreign"));
    for authority in [&authority, &foreign] {
        authority.issue("client");
    }
    let mut settings = authority.settings();
    settings.tls.as_mut().unwrap().client_ca = Some(authority.directory.join("ca.crt"));
    let registry = Running::start_with(settings).await;
    let builder = || Nacos::builder(&registry.http.to_string()).request_timeout(Duration::from_secs(10));
    let identity = |of: &Authority| ["client.crt", "client.key"].map(|name| of.directory.join(name));
    let known = |of: &Authority| {
        let [certificate, key] = identity(of);
        authority.trusted().with_identity(certificate, key)
    };
    let nacos = builder().tls(known(&authority)).connect().unwrap();
    nacos.register(&orders(), &instance(1)).await.unwrap();
    nacos.close(SOON).await.unwrap();

    for (stranger, said) in [
        (builder().tls(foreign.trusted()), "invalid peer certificate"),
        (builder().tls(known(&authority)).tls_server_name("registry.internal"), "not valid for name"),
        (builder().tls(authority.trusted()), ""), // The registry goes away without a word, or with an alert.
        (builder().tls(known(&foreign)), ""),
        (builder(), "it speaks TLS, and this client does not"),
        (builder().user("orders", "any"), "it speaks TLS, and this client does not"),
    ] {
        let trouble = trouble(stranger).await;
        assert!(trouble.starts_with("the registry is unavailable") && trouble.contains(said), "{trouble}");
    }
    registry.stop().await;

    let plain = Running::start().await;
    let trouble = trouble(Nacos::builder(&plain.http.to_string()).tls(authority.trusted())).await;
    assert!(
        trouble.ends_with(
            "it speaks no TLS, and this client does (`NacosBuilder::tls` or GRACEFUL_REGISTRY_TLS_CA)"
        ),
        "{trouble}"
    );
    plain.stop().await;
}

#[tokio::test]
async fn the_tools_speak_tls_where_they_are_told_by_which_roots() {
    let authority = Authority::new("tools");
    authority.issue("client");
    let mut settings = authority.settings();
    settings.tls.as_mut().unwrap().client_ca = Some(authority.directory.join("ca.crt"));
    let (asking, registry) =
        (Running::start_with(settings).await, Running::start_with(authority.settings()).await);
    let plain = Running::start().await;
    let file = |name: &str| authority.directory.join(name).display().to_string();
    let [ca, document, identity] = ["ca.crt", "registry.json", "client.pem"].map(file);
    let both = ["client.crt", "client.key"].map(|name| std::fs::read_to_string(file(name)).unwrap());
    std::fs::write(&identity, both.concat()).unwrap();
    let [http, asking_http, plain_http] = [&registry, &asking, &plain].map(|of| of.http.to_string());
    let https = format!("https://{http}");

    for arguments in [
        &["health", "--address", &https, "--tls-ca", &ca][..],
        &["health", "--address", &http, "--tls-ca", &ca, "--tls-server-name", "127.0.0.1"],
        &["health", "--address", &asking_http, "--tls-ca", &ca, "--tls-identity", &identity],
        &["export", "--from", &https, "--tls-ca", &ca, "--to", &document],
        &["export", "--from-nacos", &https, "--tls-ca", &ca],
        &["import", &document, "--into", &https, "--tls-ca", &ca],
    ] {
        let (code, _, stderr) = graceful(arguments).await;
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    }
    for (arguments, said) in [
        (&["--address", &https][..], "needs --tls-ca FILE"),
        (&["--address", &http], "speaks no HTTP without TLS: does it want https://"),
        (&["--address", &plain_http, "--tls-ca", &ca], "speaks no TLS: does it want http://"),
        (&["--address", &format!("http://{plain_http}"), "--tls-ca", &ca], "is without TLS, which --tls-ca"),
        (&["--address", &http, "--tls-ca", &identity], "invalid peer certificate"),
        (&["--address", &http, "--tls-ca", &ca, "--tls-server-name", "other"], "not valid for name"),
        (
            &["--address", &http, "--tls-ca", &ca, "--tls-server-name", "no name"],
            "no name that a certificate",
        ),
        (&["--address", &asking_http, "--tls-ca", &ca], "gives no answer"),
    ] {
        let (code, _, stderr) = graceful(&[&["health"], arguments].concat()).await;
        assert!(code == Some(1) && stderr.contains(said), "{arguments:?}: {stderr}");
    }
    for registry in [registry, asking, plain] {
        registry.stop().await;
    }
}

#[tokio::test]
async fn a_file_that_never_comes_to_its_end_does_not_hold_up_that_of_the_registry() {
    let authority = Authority::new("endless");
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| authority.directory.join(name));
    let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
    program.args(["registry", "--http-port", "0", "--tls-cert"]).arg(&certificate).arg("--tls-key").arg(&key);
    let mut registry = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(registry.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.starts_with("registry ready"), "{ready}");
    std::fs::remove_file(&certificate).unwrap();
    assert!(Command::new("mkfifo").arg(&certificate).status().unwrap().success());
    // It opens when the registry looks at its files, which then waits for what is never written.
    let _held = tokio::fs::OpenOptions::new().write(true).open(&certificate).await.unwrap();
    assert!(Command::new("kill").arg(registry.id().to_string()).status().unwrap().success());
    let ended = async {
        loop {
            if let Some(status) = registry.try_wait().unwrap() {
                return status;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let ended = timeout(SOON, ended).await;
    if ended.is_err() {
        registry.kill().unwrap();
    }
    assert!(ended.expect("the registry ends").success());
}
