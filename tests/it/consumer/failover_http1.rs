//! What becomes of requests whose first instance fails, over HTTP/1.1 and before any protocol: a test for
//! each way to fail.

use super::raw::*;
use super::*;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::{Connected, Connection as Transport};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower_graceful::consumer::classify::{Applied, Cause, applied};

#[tokio::test]
async fn row_a_connection_refused() {
    let refused = async || {
        let (_, addr) = listener().await;
        Broken::at(addr, dialling(http_client(), addr))
    };
    assert_eq!(row(refused).await, never(Cause::Connect));
}

/// The queue of the port is full, so the kernel drops what wants to connect.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn row_a_connecting_takes_too_long() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(ANY).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let _queued = TcpStream::connect(addr).await.unwrap();
    let deaf = async || Broken::at(addr, dialling(http_client(), addr));
    assert_eq!(row(deaf).await, never(Cause::Connect));
}

#[tokio::test]
async fn row_a_a_name_that_nobody_knows() {
    let addr = ([127, 0, 0, 1], 1).into();
    let unknown = async || {
        let client = http_client::<Body>();
        let lost = tower::service_fn(move |mut request: http::Request<Body>| {
            *request.uri_mut() = http::Uri::from_static("http://nowhere.invalid/");
            let answer = client.request(request);
            async move { Ok(answer.await?) }
        });
        Broken::at(addr, BoxCloneSyncService::new(lost))
    };
    assert_eq!(row(unknown).await, never(Cause::Connect));
}

/// A transport that is dead before the protocol's first byte.
#[derive(Clone)]
struct Dead;

struct DeadStream(TokioIo<tokio::io::DuplexStream>);

impl tower::Service<http::Uri> for Dead {
    type Response = DeadStream;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<DeadStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let (ours, _theirs) = tokio::io::duplex(64);
        std::future::ready(Ok(DeadStream(TokioIo::new(ours))))
    }
}

impl Transport for DeadStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for DeadStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for DeadStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn row_a2_connection_dead_before_the_request_was_handed_to_it() {
    let addr = ([127, 0, 0, 1], 1).into();
    let dead = async || {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build(Dead);
        Broken::at(addr, dialling(client, addr))
    };
    assert_eq!(row(dead).await, never(Cause::Handshake));
}

/// Sends on a connection that ends while the request still waits for its turn.
async fn give_back<B>(
    addr: SocketAddr,
    request: http::Request<B>,
) -> Result<http::Response<Incoming>, BoxError>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = sender.send_request(request);
    drop(connection);
    Ok(answer.await?)
}

#[tokio::test]
async fn row_b_connection_ended_before_anything_was_written() {
    let (_listener, addr) = listener().await;
    let giving_back = async || {
        let client = tower::service_fn(move |request| give_back(addr, request));
        Broken::at(addr, BoxCloneSyncService::new(client))
    };
    assert_eq!(row(giving_back).await, never(Cause::GivenBack));
}

/// Drops each task when it is woken for the first time: connections get ready, and no further.
#[derive(Clone)]
struct OnePoll;

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for OnePoll {
    fn execute(&self, task: F) {
        tokio::spawn(async move {
            let mut task = Box::pin(task);
            let mut polls = 0;
            std::future::poll_fn(move |cx| {
                polls += 1;
                if polls > 1 { Poll::Ready(()) } else { task.as_mut().poll(cx).map(|_| ()) }
            })
            .await;
        });
    }
}

#[tokio::test]
async fn row_c_the_same_on_a_fresh_connection_of_the_pool() {
    let (_listener, addr) = listener().await;
    let given_back = async || {
        let client = Client::builder(OnePoll).build(HttpConnector::new());
        Broken::at(addr, dialling(client, addr))
    };
    assert_eq!(row(given_back).await, never(Cause::GivenBack));
}

#[tokio::test]
async fn row_h_connection_ended_after_the_head_was_written() {
    for answer in ["", "HTTP/1.1 200 O"] {
        let ending = async || {
            Broken::serving(http_client(), async move |mut connection| {
                connection.request().await?;
                connection.write(answer).await
            })
            .await
        };
        assert_eq!(row(ending).await, unknown(Cause::Lost), "{answer:?}");
    }
}

#[tokio::test]
async fn row_h_connection_reset_after_the_head_was_written() {
    let resetting = async || {
        Broken::serving(http_client(), async |mut connection| {
            connection.request().await?;
            connection.reset()
        })
        .await
    };
    assert_eq!(row(resetting).await, unknown(Cause::Lost));
}

/// In fact it was never taken, but that is not to be seen from here.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn row_k_port_closed_with_the_request_in_its_queue() {
    let closing = async || Broken::closing_with_a_queue(http_client()).await;
    let expected = Row { post: failed_after(0), get: served_after(0), ..unknown(Cause::Lost) };
    assert_eq!(row(closing).await, expected);
}

#[tokio::test]
async fn row_l_answer_broken_off() {
    for answer in ["content-length: 10\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let breaking_off = async || {
            Broken::serving(http_client(), async move |mut connection| {
                connection.request().await?;
                connection.write("HTTP/1.1 200 OK\r\n").await?;
                connection.write(answer).await
            })
            .await
        };
        assert_eq!(row(breaking_off).await, answered_in_part());
    }
}

#[tokio::test]
async fn row_m_refused_by_the_layers_of_the_provider() {
    let refusing = async || {
        Broken::serving(http_client(), async |mut connection| {
            connection.request().await?;
            let answer = "HTTP/1.1 503 \r\ngraceful-refused: ?1\r\ncontent-length: 0\r\n\r\n";
            connection.write(answer).await?;
            connection.linger().await
        })
        .await
    };
    assert_eq!(row(refusing).await, refused());
}

#[tokio::test]
async fn no_answer_in_time() {
    let silent = async || {
        let silent = Broken::serving(http_client(), async |mut connection| {
            connection.request().await?;
            connection.linger().await
        });
        silent.await.with_header_timeout(Duration::from_millis(200))
    };
    assert_eq!(row(silent).await, unknown(Cause::Timeout));
}

#[tokio::test]
async fn what_a_body_failed_with_says_nothing_about_the_request() {
    let (_listener, addr) = listener().await;
    let given_back = give_back(addr, http::Request::new(Empty::<Bytes>::new())).await.unwrap_err();
    assert_eq!(applied(&*given_back), Applied::Never);

    let torn = StreamBody::new(tokio_stream::iter([Err::<Frame<Bytes>, _>(given_back)]));
    let request = http::Request::post(format!("http://{addr}/")).body(torn).unwrap();
    let error = http_client().request(request).await.unwrap_err();
    assert_eq!(applied(&error), Applied::Unknown, "{error:?}");
}
