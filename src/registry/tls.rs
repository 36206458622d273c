//! TLS on the ports of the registry, with certificates that may change while it runs.
//!
//! The files are looked at every few seconds. What has changed counts from the next connection on, and only
//! if it is whole: a pair that cannot be used leaves the old one in place.

use super::error::Error;
use crate::naming::Causes;
use crate::pem::{InvalidPem, Pem, provider};
use arc_swap::ArcSwap;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

/// How often the files are looked at: certificates are renewed days before they expire, and who has just
/// copied one does not wait long to see it in the log.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Protocols that are agreed on by ALPN, on both ports: a client that offers one of them is served.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The settings that name the files.
const CERTIFICATE: &str = "tls-cert";
const KEY: &str = "tls-key";
const CLIENT_CA: &str = "tls-client-ca";

/// Where the certificate of the registry is, and its key: PEM files, which are looked at every 5 s and may be
/// replaced while the registry runs.
///
/// ```
/// use tower_graceful::registry::{Settings, TlsFiles};
/// let tls = TlsFiles { client_ca: None, certificate: "tls.crt".into(), key: "tls.key".into() };
/// let settings = Settings { tls: Some(tls), ..Settings::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those between it and the root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, without a password.
    pub key: PathBuf,
    /// Roots by which clients must have a certificate, on both ports. `None` lets everyone connect.
    pub client_ca: Option<PathBuf>,
}

/// The newest certificate that can be used.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    /// What stood in the files at first.
    opened: Contents,
    config: ArcSwap<ServerConfig>,
}

/// What stands in the files.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    certificate: Pem,
    key: Pem,
    client_ca: Option<Pem>,
}

/// A connection, with or without TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Has a connection shake hands, if there is TLS.
pub(super) async fn shake_hands(
    tls: Option<Arc<Tls>>,
    io: impl Stream + 'static,
) -> io::Result<Box<dyn Stream>> {
    match tls {
        None => Ok(Box::new(io)),
        Some(tls) => Ok(Box::new(TlsAcceptor::from(tls.config.load_full()).accept(io).await?)),
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or used, or the key is another certificate's.
    pub(super) fn open(files: TlsFiles) -> Result<Self, Error> {
        let opened = Contents::read(&files)?;
        let config = ArcSwap::from_pointee(opened.config()?);
        Ok(Self { files, opened, config })
    }

    /// Takes over what changes in the files. Never resolves.
    pub(super) async fn follow(&self) {
        let mut last = Ok(self.opened.clone());
        loop {
            sleep(LOOK_EVERY).await;
            let files = self.files.clone();
            let Ok(read) = spawn_blocking(move || Contents::read(&files)).await else {
                return pending().await; // The runtime is shutting down.
            };
            let read = read.map_err(|error| Causes(&error).to_string());
            if read != last {
                self.renew(read.as_ref());
                last = read;
            }
        }
    }

    fn renew(&self, read: Result<&Contents, &String>) {
        let read = read.map_err(Clone::clone);
        let config = read.and_then(|read| read.config().map_err(|error| Causes(&error).to_string()));
        let certificate = self.files.certificate.display();
        match config {
            Ok(config) => {
                self.config.store(Arc::new(config));
                tracing::info!(%certificate, "certificate renewed: it counts for new connections");
            }
            Err(error) => {
                tracing::warn!(%certificate, error, "the old certificate stays: the new one cannot be used");
            }
        }
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, Error> {
        let read = |setting, path: &Path| Pem::read(path).map_err(wrong(setting));
        Ok(Self {
            certificate: read(CERTIFICATE, &files.certificate)?,
            key: read(KEY, &files.key)?,
            client_ca: files.client_ca.as_deref().map(|path| read(CLIENT_CA, path)).transpose()?,
        })
    }

    fn config(&self) -> Result<ServerConfig, Error> {
        let chain = self.certificate.certificates().map_err(wrong(CERTIFICATE))?;
        let key = self.key.key().map_err(wrong(KEY))?;
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("ring knows these versions");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = pem.roots().map_err(wrong(CLIENT_CA))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                let verifier = verifier.map_err(|error| wrong(CLIENT_CA)(pem.invalid(error)))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            wrong(KEY)(self.key.invalid(format_args!("does not go with the certificate: {error}")))
        })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

fn wrong(setting: &'static str) -> impl Fn(InvalidPem) -> Error {
    move |source| Error::Tls { setting, source: source.into() }
}

#[cfg(test)]
mod tests;
