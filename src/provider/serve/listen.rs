//! Where connections come from: a TCP port, a Unix socket, or whatever else a program listens on.

use super::server::ACCEPT_QUIET;
use socket2::SockRef;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time;

/// Something that connections come to: implemented by [`TcpListener`] and, on Unix, by `UnixListener`.
///
/// A listener of another kind implements the first two methods. The other two let a server lose nothing
/// when it leaves; without them it makes do with a moment of quiet.
///
/// ```
/// use std::{io, net::SocketAddr};
/// use tokio::{io::DuplexStream, sync::mpsc};
/// use tower_graceful::provider::Listen;
///
/// /// Connections from within the process.
/// struct Inside(mpsc::Receiver<DuplexStream>);
///
/// impl Listen for Inside {
///     type Io = DuplexStream;
///
///     async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
///         match self.0.recv().await {
///             Some(stream) => Ok((stream, None)),
///             None => std::future::pending().await, // Nobody can connect any more.
///         }
///     }
///
///     fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
///         Ok(None)
///     }
/// }
/// ```
pub trait Listen: Send + 'static {
    /// A connection as it was accepted, before anything was read.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection, and the address of its other end if that has one.
    ///
    /// # Errors
    /// When there is none to be had now. The server tries again: at once when the error concerns one
    /// connection only (`ConnectionAborted`, `ConnectionReset`, `ConnectionRefused`, `Interrupted`),
    /// otherwise after a while.
    ///
    /// # Cancel safety
    /// The future may be dropped at any time; it must not take a connection with it.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;

    /// The IP address on which it listens, if it has one. The first of a provider's listeners that has one
    /// is where consumers are sent.
    ///
    /// # Errors
    /// When the system does not say.
    fn local_addr(&self) -> io::Result<Option<SocketAddr>>;

    /// One more connection for a server that is about to close the port; nothing when none is waiting.
    ///
    /// A port that is closed resets the connections that the system has accepted and nobody has fetched.
    /// Where the system can be asked, as for TCP, this fetches until it says that there are none; by default
    /// it waits 2 ms for one.
    fn accept_waiting(
        &mut self,
    ) -> impl Future<Output = Option<io::Result<(Self::Io, Option<SocketAddr>)>>> + Send {
        async { time::timeout(ACCEPT_QUIET, self.accept()).await.ok() }
    }

    /// Whether the system holds bytes of this connection that nobody has read. A connection is not told to
    /// end while it does. Default false.
    fn has_unread(_: &Self::Io) -> bool {
        false
    }
}

impl Listen for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (stream, peer) = Self::accept(self).await?;
        Ok((without_delay(stream, Some(peer)), Some(peer)))
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Self::local_addr(self).map(Some)
    }

    async fn accept_waiting(&mut self) -> Option<io::Result<(TcpStream, Option<SocketAddr>)>> {
        accept_now(&SockRef::from(&*self)).map(|accepted| {
            let (socket, peer) = accepted?;
            let (stream, peer) = (TcpStream::from_std(socket.into())?, peer.as_socket());
            Ok((without_delay(stream, peer), peer))
        })
    }

    fn has_unread(io: &TcpStream) -> bool {
        has_unread(&SockRef::from(io))
    }
}

#[cfg(unix)]
impl Listen for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<(UnixStream, Option<SocketAddr>)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, None))
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(None)
    }

    async fn accept_waiting(&mut self) -> Option<io::Result<(UnixStream, Option<SocketAddr>)>> {
        let accepted = accept_now(&SockRef::from(&*self));
        accepted.map(|accepted| Ok((UnixStream::from_std(accepted?.0.into())?, None)))
    }

    fn has_unread(io: &UnixStream) -> bool {
        has_unread(&SockRef::from(io))
    }
}

/// Asks the system itself: what the runtime knows of the port's readiness is stale until its driver has
/// turned.
fn accept_now(listener: &SockRef<'_>) -> Option<io::Result<(socket2::Socket, socket2::SockAddr)>> {
    match listener.accept() {
        Ok((socket, peer)) => Some(socket.set_nonblocking(true).map(|()| (socket, peer))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error)),
    }
}

fn has_unread(socket: &SockRef<'_>) -> bool {
    socket.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|bytes| bytes > 0)
}

fn without_delay(stream: TcpStream, peer: Option<SocketAddr>) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        // Without it small answers may wait 40 ms for the peer's acknowledgement; they still arrive.
        tracing::debug!(?peer, %error, "TCP_NODELAY could not be set");
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tcp_connections_do_not_delay_what_is_sent_however_they_were_accepted() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = Listen::accept(&mut listener).await.unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(listener.accept_waiting().await.is_none());
        let second = TcpStream::connect(address).await.unwrap();
        let (accepted, peer) = listener.accept_waiting().await.unwrap().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert_eq!(peer, Some(second.local_addr().unwrap()));
    }
}
