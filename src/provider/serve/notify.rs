//! Tells recent callers that this instance leaves, each with one message.
//!
//! A caller that calls rarely would see no tagged answer in time. One that said with its calls where it takes
//! notices is sent one as soon as the instance leaves, and counts as told when it answers that it knows.

use super::process::Process;
use super::register::Registration;
use crate::model::Address;
use crate::naming::BoxError;
use crate::naming::notice::{Notice, PATH};
use crate::observe::{NoticeResult, ProviderEvent};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{self, error::Elapsed};

/// Notices on their way at once: more would find a process out of descriptors.
const AT_ONCE_MAX: usize = 64;
/// How long one may take, from the connection to the answer: a consumer answers in milliseconds, and one that
/// does not must not keep others waiting.
const EACH_WITHIN: Duration = Duration::from_millis(500);
/// How long all of them may take. Whoever is left hears it from an answer or from the registry.
const ALL_WITHIN: Duration = Duration::from_secs(2);

/// Sends a notice to each recent caller that has said where it takes them, does not know yet, and has not
/// been sent one; returns when all have answered or had their time.
pub(super) async fn notify(process: &Process, registration: &Registration<'_>, fade: Duration) {
    let (settings, instance) = (&process.settings, registration.instance());
    let (Some(secret), Some(epoch)) = (&settings.notice, instance.epoch()) else { return };
    let waiting = process.callers.waiting_for_notice();
    if waiting.is_empty() {
        return;
    }
    let (service, address) = (settings.service.clone(), instance.address().clone());
    let notice = Notice { fade, ..Notice::new(service, address, epoch, secret.clone()) };
    let (sent, notice) = (waiting.len(), notice.to_json().into());
    if time::timeout(ALL_WITHIN, send_all(process, &notice, waiting)).await.is_err() {
        tracing::debug!("some callers had no time to answer their notice");
    }
    tracing::info!(sent, told = process.callers.told_by_notice(), "callers notified");
}

async fn send_all(process: &Process, notice: &Bytes, waiting: Vec<(u64, Address)>) {
    let mut sending = JoinSet::new();
    for (caller, at) in waiting {
        if sending.len() == AT_ONCE_MAX {
            note_next(process, &mut sending).await;
        }
        let notice = notice.clone();
        sending.spawn(async move {
            let result = result(&at, time::timeout(EACH_WITHIN, send(&at, notice)).await);
            (caller, at, result)
        });
    }
    while !sending.is_empty() {
        note_next(process, &mut sending).await;
    }
}

async fn note_next(process: &Process, sending: &mut JoinSet<(u64, Address, NoticeResult)>) {
    let Some(Ok((id, caller, result))) = sending.join_next().await else { return };
    if result == NoticeResult::Taken {
        process.callers.knows_by_notice(id);
    }
    process.note(&ProviderEvent::Notified { caller: &caller, result });
}

fn result(at: &Address, sent: Result<Result<StatusCode, BoxError>, Elapsed>) -> NoticeResult {
    match sent {
        Ok(Ok(StatusCode::NO_CONTENT)) => return NoticeResult::Taken,
        Ok(Ok(status)) => {
            tracing::debug!(%at, %status, "a notice was refused");
            return NoticeResult::Refused;
        }
        Ok(Err(error)) => tracing::debug!(%at, %error, "a notice did not arrive"),
        Err(_) => tracing::debug!(%at, "a notice was not answered in time"),
    }
    NoticeResult::Unanswered
}

async fn send(to: &Address, notice: Bytes) -> Result<StatusCode, BoxError> {
    let stream = TcpStream::connect((to.host(), to.port())).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::post(PATH).body(Whole(Some(notice)))?;
    request.headers_mut().insert(HOST, HeaderValue::try_from(to.to_string())?);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut answered = pin!(async { Ok(sender.send_request(request).await?.status()) });
    tokio::select! {
        biased;
        answered = &mut answered => answered,
        // Who closes after the answer ends the connection in the same moment; the answer is there all the same.
        _ = connection => answered.await,
    }
}

/// A body in one piece.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
