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
use std::collections::HashMap;
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

/// Sends a notice to each recent caller that has said where it takes them, does not know yet and has answered
/// none; returns when all have answered or had their time.
pub(super) async fn notify(process: &Process, registration: &Registration<'_>, fade: Duration) {
    let (settings, instance) = (&process.settings, registration.instance());
    let Some(epoch) = instance.epoch().filter(|_| process.sends_notices()) else { return };
    let waiting = process.callers.waiting_for_notice();
    if waiting.is_empty() {
        return;
    }
    let (service, address) = (settings.service.clone(), instance.address().clone());
    let secret = settings.notices.secret.clone();
    let notice = Notice { fade, ..Notice::new(service, address, epoch, secret) };
    let (sent, notice) = (waiting.len(), Bytes::from(notice.to_json()));
    Round::new(process, waiting).run(|at| send_in_time(at, notice.clone())).await;
    tracing::info!(sent, told = process.callers.told_by_notice(), "callers notified");
}

/// Callers that are sent a notice. Who has not answered when this goes out of scope, because its own time, that
/// of all or that of the way out was over, has left it unanswered.
struct Round<'a> {
    process: &'a Process,
    open: HashMap<u64, Address>,
}

impl<'a> Round<'a> {
    fn new(process: &'a Process, waiting: Vec<(u64, Address)>) -> Self {
        Self { process, open: waiting.into_iter().collect() }
    }

    /// Has `send` tell them, not too many at once, until all have answered or [`ALL_WITHIN`] has passed.
    async fn run<F>(mut self, send: impl Fn(Address) -> F)
    where
        F: Future<Output = NoticeResult> + Send + 'static,
    {
        let mut waiting: Vec<_> = self.open.iter().map(|(caller, at)| (*caller, at.clone())).collect();
        let all = async {
            let mut sending = JoinSet::new();
            loop {
                while sending.len() < AT_ONCE_MAX
                    && let Some((caller, at)) = waiting.pop()
                {
                    let sent = send(at);
                    sending.spawn(async move { (caller, sent.await) });
                }
                let Some(answered) = sending.join_next().await else { return };
                if let Ok((caller, result)) = answered {
                    self.note(caller, result);
                }
            }
        };
        if time::timeout(ALL_WITHIN, all).await.is_err() {
            tracing::debug!(callers = self.open.len(), "no time is left to notify callers");
        }
    }

    fn note(&mut self, caller: u64, result: NoticeResult) {
        let Some(at) = self.open.remove(&caller) else { return };
        if result != NoticeResult::Unanswered {
            self.process.callers.answered_notice(caller, result == NoticeResult::Taken);
        }
        self.process.note(&ProviderEvent::Notified { caller: &at, result });
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for caller in self.open.values() {
            self.process.note(&ProviderEvent::Notified { caller, result: NoticeResult::Unanswered });
        }
    }
}

async fn send_in_time(to: Address, notice: Bytes) -> NoticeResult {
    let sent = time::timeout(EACH_WITHIN, send(&to, notice)).await;
    result(&to, sent)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ServiceKey, UnixMillis};
    use crate::observe::Observer;
    use crate::provider::serve::settings::ProviderBuilder;
    use std::future::pending;
    use std::sync::{Arc, Mutex};
    use tokio::time::Instant;

    /// What came of each notice.
    #[derive(Clone, Debug, Default)]
    struct Results(Arc<Mutex<Vec<NoticeResult>>>);

    impl Results {
        fn count(&self, result: NoticeResult) -> usize {
            self.0.lock().unwrap().iter().filter(|one| **one == result).count()
        }
    }

    impl Observer for Results {
        fn provider(&self, _: &ServiceKey, _: UnixMillis, event: &ProviderEvent<'_>) {
            if let ProviderEvent::Notified { result, .. } = event {
                self.0.lock().unwrap().push(*result);
            }
        }
    }

    fn process() -> (Arc<Process>, Results) {
        let results = Results::default();
        let builder = ProviderBuilder::new(Some("orders")).observer(results.clone());
        (builder.build().unwrap().into_process(), results)
    }

    fn callers(count: u16) -> Vec<(u64, Address)> {
        (1..=count).map(|port| (port.into(), Address::new("10.0.0.9", port).unwrap())).collect()
    }

    /// The first answers at once; of the others nothing is heard.
    async fn first_alone(at: Address) -> NoticeResult {
        match at.port() {
            1 => NoticeResult::Taken,
            2 => NoticeResult::Refused,
            _ => time::timeout(EACH_WITHIN, pending()).await.unwrap_or(NoticeResult::Unanswered),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_whom_the_time_of_all_does_not_reach_count_as_unanswered() {
        let (process, results) = process();
        let began = Instant::now();
        Round::new(&process, callers(1_000)).run(first_alone).await;
        assert_eq!(began.elapsed(), ALL_WITHIN);
        assert!(results.count(NoticeResult::Taken) <= 1 && results.count(NoticeResult::Refused) <= 1);
        assert_eq!(results.0.lock().unwrap().len(), 1_000, "each counts once");
        assert_eq!(process.callers.told_by_notice(), results.count(NoticeResult::Taken));
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_round_is_broken_off_count_as_unanswered() {
        let (process, results) = process();
        let round = Round::new(&process, callers(10)).run(first_alone);
        assert!(time::timeout(EACH_WITHIN / 2, round).await.is_err());
        let counts = [NoticeResult::Taken, NoticeResult::Refused, NoticeResult::Unanswered];
        assert_eq!(counts.map(|result| results.count(result)), [1, 1, 8]);
        assert_eq!(process.callers.told_by_notice(), 1);
    }
}
