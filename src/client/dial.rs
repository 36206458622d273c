//! The byte stream to a port of the registry: TCP, and TLS on it where that is wanted.

use super::servers::{Port, Server};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::naming::{BoxError, BoxFuture};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a TCP connection may take: in a network that works it takes less than a tenth of it.
const DIAL_WITHIN: Duration = Duration::from_secs(1);

/// What a port is spoken to over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes connections to the ports of a registry.
pub(super) trait Dial: Send + Sync + 'static {
    fn dial<'a>(&'a self, server: &'a Server, port: Port) -> BoxFuture<'a, Result<Box<dyn Io>, BoxError>>;
}

/// Dials as the settings say.
#[derive(Debug)]
pub(super) struct Tcp {
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
}

impl Dial for Tcp {
    fn dial<'a>(&'a self, server: &'a Server, port: Port) -> BoxFuture<'a, Result<Box<dyn Io>, BoxError>> {
        let to = server.address(port);
        Box::pin(async move {
            let stream = timeout(DIAL_WITHIN, TcpStream::connect((to.host(), to.port()))).await??;
            stream.set_nodelay(true)?; // Small questions and answers, each waited for.
            #[cfg(feature = "tls")]
            if let Some(tls) = &self.tls {
                return Ok(Box::new(tls.shake_hands(stream, to.host(), port).await?) as Box<dyn Io>);
            }
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
