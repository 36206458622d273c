//! TLS on a connection to an instance, in the name of its service.

use super::connector::{InstanceStream, Io};
use crate::naming::BoxError;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
pub(super) use tokio_rustls::rustls::ClientConfig;
pub(super) use tokio_rustls::rustls::pki_types::ServerName;

/// How to shake hands.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    /// The name that a certificate must be for; else that of each connection's URI.
    server_name: Option<ServerName<'static>>,
}

impl Tls {
    /// Offers protocols, unless `config` names some itself.
    pub(super) fn new(
        mut config: Arc<ClientConfig>,
        http2_only: bool,
        server_name: Option<ServerName<'static>>,
    ) -> Self {
        if config.alpn_protocols.is_empty() {
            let offered: &[&[u8]] = if http2_only { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
            Arc::make_mut(&mut config).alpn_protocols = offered.iter().map(|&name| name.into()).collect();
        }
        Self { config, server_name }
    }

    pub(super) async fn handshake(
        self,
        stream: InstanceStream,
        named: &Uri,
    ) -> Result<TlsStream<InstanceStream>, BoxError> {
        let name = match self.server_name {
            Some(name) => name,
            None => server_name(named.host().unwrap_or_default())?,
        };
        Ok(TlsConnector::from(self.config).connect(name, stream).await?)
    }
}

/// The name of a URI's host, which has brackets around IPv6.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, BoxError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(bare).map_err(|source| format!("server name {host:?}: {source}"))?;
    Ok(name.to_owned())
}

impl Io for TlsStream<InstanceStream> {
    fn connected(&self) -> Connected {
        let (stream, session) = self.get_ref();
        let connected = stream.connected();
        if session.alpn_protocol() == Some(b"h2") { connected.negotiated_h2() } else { connected }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_uris_are_names_of_servers() {
        for (host, name) in
            [("orders.internal", "orders.internal"), ("[::1]", "::1"), ("10.0.0.7", "10.0.0.7")]
        {
            assert_eq!(server_name(host).unwrap().to_str(), name);
        }
        for bad in ["", "or ders", "[::1"] {
            assert!(server_name(bad).unwrap_err().to_string().contains("server name"), "{bad}");
        }
    }
}
