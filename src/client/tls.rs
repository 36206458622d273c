//! TLS towards the registry: whom this client trusts, and what it shows of itself.

use super::servers::Port;
use crate::naming::{BoxError, Error};
use crate::pem::{InvalidPem, Pem, provider};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, InvalidMessage};

/// What is said of a registry that answers a handshake by something else.
const WANTS_NO_TLS: &str =
    "it speaks no TLS, and this client does (`NacosBuilder::tls` or GRACEFUL_REGISTRY_TLS_CA)";

/// PEM files by which a client and its registry know each other. They are read for each connection, so what
/// has been renewed counts from the next one on.
///
/// ```no_run
/// # async fn example() -> Result<(), tower_graceful::naming::Error> {
/// use tower_graceful::client::{Nacos, TlsFiles};
/// let files = TlsFiles::new("registry-ca.pem").with_identity("client.pem", "client.key");
/// let nacos = Nacos::builder("registry.internal:8848").tls(files).connect()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    ca: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Trusts a registry whose certificate leads to one in the file `ca`. The roots of the operating system
    /// do not count.
    pub fn new(ca: impl Into<PathBuf>) -> Self {
        Self { ca: ca.into(), identity: None }
    }

    /// Shows the certificate in one file, with its private key in the other, to a registry that asks for one.
    #[must_use]
    pub fn with_identity(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { identity: Some((certificate.into(), key.into())), ..self }
    }

    /// What stands in the files now, as rustls takes it: for a client of your own that asks the registry over
    /// HTTP, such as an [`InstanceClient`](crate::InstanceClient).
    ///
    /// # Errors
    /// [`Error::Invalid`] when one of them cannot be read or used.
    pub fn config(&self) -> Result<ClientConfig, Error> {
        self.read().map_err(|error| Error::Invalid { message: format!("TLS: {error}") })
    }

    fn read(&self) -> Result<ClientConfig, InvalidPem> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("ring knows these versions");
        let builder = builder.with_root_certificates(Pem::read(&self.ca)?.roots()?);
        let Some((certificate, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let pem = Pem::read(key)?;
        let (chain, key) = (Pem::read(certificate)?.certificates()?, pem.key()?);
        let identified = builder.with_client_auth_cert(chain, key);
        identified.map_err(|e| pem.invalid(format_args!("does not go with the certificate: {e}")))
    }
}

/// What [`NacosBuilder::tls`](super::NacosBuilder::tls) takes: [`TlsFiles`], or a `ClientConfig` of rustls.
#[derive(Clone, Debug)]
pub struct TlsConfig(Source);

#[derive(Clone)]
enum Source {
    Files(TlsFiles),
    Made(Arc<ClientConfig>),
}

impl fmt::Debug for Source {
    /// Without what a configuration holds: that may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => files.fmt(f),
            Self::Made(_) => f.debug_struct("ClientConfig").finish_non_exhaustive(),
        }
    }
}

impl From<TlsFiles> for TlsConfig {
    fn from(files: TlsFiles) -> Self {
        Self(Source::Files(files))
    }
}

impl From<ClientConfig> for TlsConfig {
    fn from(config: ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

impl From<Arc<ClientConfig>> for TlsConfig {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self(Source::Made(config))
    }
}

/// How to shake hands.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    source: Source,
    /// The name that certificates must be for; else the host that was dialled.
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// An error says which setting or file cannot be used.
    pub(super) fn new(TlsConfig(source): TlsConfig, server_name: Option<&str>) -> Result<Self, String> {
        if let Source::Files(files) = &source {
            files.read().map_err(|error| format!("TLS: {error}"))?;
        }
        let server_name = server_name.map(named).transpose().map_err(|error| format!("TLS: {error}"))?;
        Ok(Self { source, server_name })
    }

    /// Makes a connection to a port of `host` a secret one.
    pub(super) async fn shake_hands(
        &self,
        stream: TcpStream,
        host: &str,
        port: Port,
    ) -> Result<TlsStream<TcpStream>, BoxError> {
        let mut config = match self.source.clone() {
            Source::Made(config) => config,
            Source::Files(files) => Arc::new(spawn_blocking(move || files.read()).await??),
        };
        let protocol: &[u8] = match port {
            Port::Grpc => b"h2",
            Port::Http => b"http/1.1",
        };
        Arc::make_mut(&mut config).alpn_protocols = vec![protocol.into()];
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => named(host)?,
        };
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| if is_no_tls(&error) { WANTS_NO_TLS.into() } else { error.into() })
    }
}

/// Whether what answered a handshake is something else than TLS.
fn is_no_tls(error: &io::Error) -> bool {
    let within = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(within, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

fn named(host: &str) -> Result<ServerName<'static>, String> {
    let name = ServerName::try_from(host).map_err(|error| format!("server name {host:?}: {error}"))?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_cannot_be_used_is_named_before_anything_is_dialled() {
        let directory =
            std::env::temp_dir().join(format!("tower-graceful-client-tls-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let write = |name: &str, text: String| {
            fs::write(directory.join(name), text).unwrap();
            directory.join(name)
        };
        let [one, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap());
        let (ca, key) = (write("ca.pem", one.cert.pem()), write("key.pem", one.signing_key.serialize_pem()));
        let foreign = write("foreign.pem", other.signing_key.serialize_pem());
        let said = |files: TlsFiles, name| Tls::new(files.into(), name).map(drop);
        let files = TlsFiles::new(&ca);
        assert_eq!(said(files.clone().with_identity(&ca, &key), Some("registry")), Ok(()));
        for (result, named) in [
            (said(files.clone(), Some("no name")), r#"server name "no name""#),
            (said(TlsFiles::new("no/such.pem"), None), "TLS: no/such.pem: No such file"),
            (said(TlsFiles::new(&key), None), "no PEM certificate"),
            (said(files.clone().with_identity(&ca, &foreign), None), "does not go with the certificate"),
            (said(files.with_identity(&ca, &ca), None), "no PEM private key"),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        fs::remove_dir_all(directory).unwrap();
    }
}
