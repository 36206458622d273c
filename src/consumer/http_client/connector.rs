//! Connections to one instance: over TCP or a Unix socket, with or without TLS.

use super::{CONNECT_TIMEOUT, connector};
use crate::naming::{BoxError, BoxFuture};
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io;
#[cfg(unix)]
use std::path::Path;
use std::pin::Pin;
#[cfg(unix)]
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tower_service::Service;

/// Connects to one instance, whatever the URI that it is called with says; where there is TLS, the URI's host
/// is the name that the certificate must be for, unless another was set. Made by
/// [`InstanceClientBuilder::connector`](super::InstanceClientBuilder::connector).
///
/// A connection, its TLS handshake included, is there within 1 s, or fails.
#[derive(Clone, Debug)]
pub struct Connector {
    pub(super) route: Route,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::Tls>,
}

/// The way to an instance.
#[derive(Clone, Debug)]
pub(super) enum Route {
    Tcp {
        connector: HttpConnector,
        uri: Uri,
    },
    #[cfg(unix)]
    Unix(Arc<Path>),
}

impl Route {
    pub(super) fn tcp(uri: Uri) -> Self {
        Self::Tcp { connector: connector(), uri }
    }

    async fn connect(self) -> Result<InstanceStream, BoxError> {
        Ok(match self {
            Self::Tcp { mut connector, uri } => InstanceStream::new(connector.call(uri).await?.into_inner()),
            #[cfg(unix)]
            Self::Unix(path) => InstanceStream::new(UnixStream::connect(&path).await.map_err(|source| {
                io::Error::new(source.kind(), format!("socket {}: {source}", path.display()))
            })?),
        })
    }
}

impl Connector {
    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS asks for a name"))]
    async fn connect(self, named: Uri) -> Result<InstanceStream, BoxError> {
        let stream = self.route.connect().await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls {
            return Ok(InstanceStream::new(tls.handshake(stream, &named).await?));
        }
        Ok(stream)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<InstanceStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<TokioIo<InstanceStream>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, named: Uri) -> Self::Future {
        let connected = timeout(CONNECT_TIMEOUT, self.clone().connect(named));
        Box::pin(async {
            let late = || io::Error::new(io::ErrorKind::TimedOut, format!("not within {CONNECT_TIMEOUT:?}"));
            Ok(TokioIo::new(connected.await.map_err(|_| late())??))
        })
    }
}

/// A connection that [`Connector`] has made.
pub struct InstanceStream {
    io: Box<dyn Io>,
}

/// What a connection runs over.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    fn connected(&self) -> Connected;
}

impl Io for TcpStream {
    fn connected(&self) -> Connected {
        Connection::connected(self)
    }
}

#[cfg(unix)]
impl Io for UnixStream {
    fn connected(&self) -> Connected {
        Connection::connected(self)
    }
}

impl InstanceStream {
    fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io) }
    }
}

impl Connection for InstanceStream {
    fn connected(&self) -> Connected {
        self.io.connected()
    }
}

impl fmt::Debug for InstanceStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InstanceStream").field(&self.io.connected()).finish()
    }
}

impl AsyncRead for InstanceStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for InstanceStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
