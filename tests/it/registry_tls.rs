//! The registry with TLS on both ports, over real sockets.

use crate::registry::{Running, SOON};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
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
        authority.issue();
        authority
    }

    /// Puts another certificate for 127.0.0.1 in place of the present one.
    fn issue(&self) {
        let key = rcgen::KeyPair::generate().unwrap();
        let about = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.directory.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(self.directory.join("tls.key"), key.serialize_pem()).unwrap();
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

    let mut plain = TcpStream::connect(registry.http).await.unwrap();
    plain.write_all(ASK).await.unwrap();
    let mut answer = Vec::new();
    // An alert, or an end without any; never an answer.
    let _ = timeout(SOON, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    registry.stop().await;
}
