//! What becomes of requests whose first instance fails over HTTP/2: a test for each way to fail.

use super::raw::frame::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM};
use super::raw::*;
use super::*;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower_graceful::consumer::Applied;
use tower_graceful::consumer::classify::Cause;

/// Treats each connection by `script`, which gets it when a request's head has been read.
async fn taking<F>(script: impl Fn(Frames) -> F + Clone + Send + 'static) -> Broken
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Broken::serving(http_client_h2(), move |connection| {
        let script = script.clone();
        async move {
            let mut frames = connection.frames().await?;
            frames.request().await?;
            script(frames).await
        }
    })
    .await
}

/// The last stream that was seen, and no error.
const fn goaway(last: u8) -> [u8; 8] {
    [0, 0, 0, last, 0, 0, 0, 0]
}

#[tokio::test]
async fn row_d_sender_used_after_goaway() {
    let ended = async || {
        let serving = Broken::serving(http_client_h2(), async |connection| {
            let mut frames = connection.frames().await?;
            frames.send(GOAWAY, 0, 0, &goaway(0)).await?;
            frames.linger().await
        });
        serving.await.dialled_by(|addr| {
            BoxCloneSyncService::new(tower::service_fn(move |request| async move {
                let stream = TokioIo::new(TcpStream::connect(addr).await?);
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                connection.await?; // It ends in good order, for nothing was under way.
                Ok(sender.send_request(request).await?)
            }))
        })
    };
    assert_eq!(row(ended).await, never(Cause::GivenBack));
}

/// Servers in the middle of their end have run requests that their GOAWAY does not name.
#[tokio::test]
async fn row_e_goaway_after_the_request_was_taken() {
    let leaving = async || {
        taking(async |mut frames| {
            frames.send(GOAWAY, 0, 0, &goaway(0)).await?;
            frames.linger().await
        })
        .await
    };
    assert_eq!(row(leaving).await, unknown(Cause::GoAway));
}

#[tokio::test]
async fn row_e_connection_ended_after_goaway_has_named_the_request() {
    let leaving = async || {
        taking(async |mut frames| {
            frames.send(GOAWAY, 0, 0, &goaway(1)).await?;
            frames.end().await
        })
        .await
    };
    assert_eq!(row(leaving).await, unknown(Cause::Lost));
}

/// By the protocol it was never applied, but what the client says of it is the same as in row e.
#[tokio::test]
async fn row_f_goaway_before_the_request_was_taken() {
    let leaving = async || {
        Broken::serving(http_client_h2(), async |connection| {
            let mut frames = connection.frames().await?;
            frames.pass(HEADERS).await?;
            frames.send(GOAWAY, 0, 0, &goaway(0)).await?;
            frames.linger().await
        })
        .await
    };
    let expected = Row { post: failed_after(0), get: served_after(0), ..unknown(Cause::GoAway) };
    assert_eq!(row(leaving).await, expected);
}

async fn resetting(reason: u8) -> Broken {
    taking(move |mut frames| async move {
        frames.send(RST_STREAM, 0, 1, &[0, 0, 0, reason]).await?;
        frames.linger().await
    })
    .await
}

/// The instance has read the head, and says that it did nothing with it.
#[tokio::test]
async fn row_g_stream_refused() {
    let refused_stream = 7;
    let expected = Row { post: served_after(1), get: served_after(1), ..never(Cause::RefusedStream) };
    assert_eq!(row(async || resetting(refused_stream).await).await, expected);
}

#[tokio::test]
async fn row_i_connection_lost_without_goaway() {
    assert_eq!(row(async || taking(async |_| Ok(())).await).await, unknown(Cause::Lost));
    assert_eq!(row(async || taking(async |frames| frames.reset()).await).await, unknown(Cause::Lost));
}

#[tokio::test]
async fn row_j_stream_reset_while_the_request_was_handled() {
    let (internal_error, cancel) = (2, 8);
    for reason in [internal_error, cancel] {
        let failure = Some((Cause::Reset, Applied::Begun));
        let expected = Row { failure, post: failed_after(1), get: failed_after(1) };
        assert_eq!(row(async || resetting(reason).await).await, expected);
    }
}

/// In fact it was never taken, but that is not to be seen from here.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn row_k_port_closed_with_the_request_in_its_queue() {
    let closing = async || Broken::closing_with_a_queue(http_client_h2()).await;
    let expected = Row { post: failed_after(0), get: served_after(0), ..unknown(Cause::Lost) };
    assert_eq!(row(closing).await, expected);
}

/// `:status: 200` in HPACK's static table.
const OK: [u8; 1] = [0x88];

#[tokio::test]
async fn row_l_answer_broken_off() {
    let cancel = [0, 0, 0, 8];
    let breaking_off = async || {
        taking(move |mut frames| async move {
            frames.send(HEADERS, END_HEADERS, 1, &OK).await?;
            frames.send(DATA, 0, 1, b"half").await?;
            frames.send(RST_STREAM, 0, 1, &cancel).await?;
            frames.linger().await
        })
        .await
    };
    assert_eq!(row(breaking_off).await, answered_in_part());
}

#[tokio::test]
async fn row_m_refused_by_the_layers_of_the_provider() {
    let refusing = async || {
        taking(async |mut frames| {
            // The name `:status` stands in the static table; the other field is literal.
            let head = [&[0x48, 3], &b"503"[..], &[0x40, 16], b"graceful-refused", &[2], b"?1"].concat();
            frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await?;
            frames.linger().await
        })
        .await
    };
    assert_eq!(row(refusing).await, refused());
}

#[tokio::test]
async fn no_answer_in_time() {
    let silent = async || taking(Frames::linger).await.with_header_timeout(Duration::from_millis(200));
    assert_eq!(row(silent).await, unknown(Cause::Timeout));
}
