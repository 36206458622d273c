//! One test for each row of the table, against servers on loopback that fail in exactly that way.

use super::*;
use crate::consumer::{HeaderTimeout, http_client, http_client_h2};
use crate::naming::BoxError;
use bytes::Bytes;
use http::Request;
use http_body_util::{Empty, StreamBody};
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Body = Empty<Bytes>;

fn get(addr: SocketAddr) -> Request<Body> {
    Request::get(format!("http://{addr}/")).body(Body::new()).unwrap()
}

/// Hands the first connection to `serve`.
async fn server<F>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinHandle<()>)
where
    F: Future<Output = io::Result<()>> + Send,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await.unwrap();
    });
    (addr, serving)
}

async fn refused_addr() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn row_a_no_connection() {
    let addr = refused_addr().await;
    let error = http_client().request(get(addr)).await.unwrap_err();
    assert!(applied(&error) == Applied::Never && is_connect(&error), "{error:?}");
    let error = http_client_h2().request(get(addr)).await.unwrap_err();
    assert!(applied(&error) == Applied::Never && is_connect(&error), "{error:?}");
    let nowhere = Request::get("http://nowhere.invalid/").body(Body::new()).unwrap();
    let error = http_client().request(nowhere).await.unwrap_err();
    assert!(applied(&error) == Applied::Never && is_connect(&error), "{error:?}");
}

#[test]
fn marks_say_whether_there_was_a_connection() {
    let told = |error: &(dyn Error + 'static)| (applied(error), is_connect(error));
    let refused = || NoConnection::new("no such socket");
    assert_eq!(told(&refused()), (Applied::Never, true));
    assert_eq!(told(&NeverApplied::new(refused())), (Applied::Never, true));
    assert_eq!(told(&NeverApplied::new("queue full")), (Applied::Never, false));
    assert_eq!(told(&io::Error::other("torn")), (Applied::Unknown, false));
}

/// A transport that is dead before the protocol's first byte.
#[derive(Clone)]
struct Dead;

struct DeadStream(TokioIo<tokio::io::DuplexStream>);

impl tower_service::Service<http::Uri> for Dead {
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

impl Connection for DeadStream {
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
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Body>(Dead);
    let error = client.request(get(([127, 0, 0, 1], 1).into())).await.unwrap_err();
    assert!(!is_connect(&error), "that would be row a");
    assert_eq!(applied(&error), Applied::Never, "{error:?}");
}

/// What hyper fails with when a connection ends while a request still waits for its turn.
async fn given_back() -> hyper::Error {
    let (addr, serving) = server(async |mut stream| stream.read(&mut [0]).await.map(|_| ())).await;
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let answer = sender.send_request(get(addr));
    drop(connection);
    let error = answer.await.unwrap_err();
    serving.await.unwrap();
    error
}

#[tokio::test]
async fn row_b_connection_ended_before_anything_was_written() {
    let error = given_back().await;
    assert!(error.is_canceled());
    assert_eq!(applied(&error), Applied::Never, "{error:?}");
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
    let (addr, serving) = server(async |mut stream| stream.read(&mut [0]).await.map(|_| ())).await;
    let client = Client::builder(OnePoll).build::<_, Body>(HttpConnector::new());
    let error = client.request(get(addr)).await.unwrap_err();
    assert!(error.connect_info().is_some(), "that would be row a2");
    assert_eq!(applied(&error), Applied::Never, "{error:?}");
    serving.await.unwrap();
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// An HTTP/2 connection by its frames.
struct Frames(TcpStream);

impl Frames {
    async fn greet(mut stream: TcpStream) -> io::Result<Self> {
        stream.read_exact(&mut [0; 24]).await?; // The client's preface.
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0, &[]).await?;
        Ok(frames)
    }

    async fn send(&mut self, kind: u8, stream: u8, payload: &[u8]) -> io::Result<()> {
        let len = u8::try_from(payload.len()).unwrap();
        self.0.write_all(&[0, 0, len, kind, 0, 0, 0, 0, stream]).await?;
        self.0.write_all(payload).await
    }

    async fn until(&mut self, kind: u8) -> io::Result<()> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await?;
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            self.0.read_exact(&mut vec![0; len]).await?;
            if head[3] == kind {
                return Ok(());
            }
        }
    }

    async fn until_closed(mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.map(|_| ())
    }
}

/// The error of a request whose head the server has read, and answers with `frame`.
async fn answered_with(kind: u8, stream: u8, payload: &'static [u8]) -> BoxError {
    let (addr, serving) = server(async move |connection| {
        let mut frames = Frames::greet(connection).await?;
        frames.until(HEADERS).await?;
        frames.send(kind, stream, payload).await?;
        frames.until_closed().await
    })
    .await;
    let error = http_client_h2().request(get(addr)).await.unwrap_err();
    serving.abort();
    error.into()
}

#[tokio::test]
async fn row_d_sender_used_after_goaway() {
    let (addr, serving) = server(async |stream| {
        let mut frames = Frames::greet(stream).await?;
        frames.send(GOAWAY, 0, &[0; 8]).await?;
        frames.until_closed().await
    })
    .await;
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    connection.await.unwrap(); // It ends in good order, for nothing was under way.
    let error = sender.send_request(get(addr)).await.unwrap_err();
    assert_eq!(applied(&error), Applied::Never, "{error:?}");
    serving.await.unwrap();
}

#[tokio::test]
async fn rows_e_and_f_goaway_after_the_request_was_handed_over() {
    let error = answered_with(GOAWAY, 0, &[0; 8]).await;
    assert_eq!(applied(&*error), Applied::Unknown, "{error:?}");
}

#[tokio::test]
async fn row_g_stream_refused() {
    let error = answered_with(RST_STREAM, 1, &[0, 0, 0, 7]).await;
    assert_eq!(applied(&*error), Applied::Never, "{error:?}");
}

#[tokio::test]
async fn row_h_http1_connection_lost_after_the_head_was_written() {
    for answer in ["", "HTTP/1.1 200 O"] {
        let (addr, serving) = server(async |mut stream| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            stream.write_all(answer.as_bytes()).await
        })
        .await;
        let error = http_client().request(get(addr)).await.unwrap_err();
        assert_eq!(applied(&error), Applied::Unknown, "{error:?}");
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn row_i_http2_connection_lost_without_goaway() {
    let (addr, serving) = server(async |stream| Frames::greet(stream).await?.until(HEADERS).await).await;
    let error = http_client_h2().request(get(addr)).await.unwrap_err();
    assert_eq!(applied(&error), Applied::Unknown, "{error:?}");
    serving.await.unwrap();
}

#[tokio::test]
async fn row_j_stream_reset_for_another_reason() {
    for reason in [&[0, 0, 0, 8], &[0, 0, 0, 2]] {
        let error = answered_with(RST_STREAM, 1, reason).await;
        assert_eq!(applied(&*error), Applied::Begun, "{error:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_sent_at_all_is_not_sent_elsewhere() {
    let relative = Request::get("/").body(Body::new()).unwrap();
    let error = http_client().request(relative).await.unwrap_err();
    assert_eq!(applied(&error), Applied::Unknown, "{error:?}");
}

#[tokio::test]
async fn what_a_body_failed_with_says_nothing_about_the_request() {
    let torn = StreamBody::new(tokio_stream::iter([Err::<hyper::body::Frame<Bytes>, _>(given_back().await)]));
    let (addr, serving) = server(async |mut stream| stream.read(&mut [0; 64]).await.map(|_| ())).await;
    let request = Request::post(format!("http://{addr}/")).body(torn).unwrap();
    let error = http_client().request(request).await.unwrap_err();
    assert_eq!(applied(&error), Applied::Unknown, "{error:?}");
    serving.await.unwrap();
}

#[test]
fn an_answer_that_did_not_come_in_time_proves_nothing() {
    assert_eq!(applied(&HeaderTimeout { after: Duration::ZERO }), Applied::Unknown);
}
