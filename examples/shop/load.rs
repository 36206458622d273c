//! People at the storefront: an open-loop load whose every request is fixed beforehand.
//!
//! Open-loop: a request is sent when it is due, whatever became of those before it, so a slow shop is not
//! spared. Nothing is ever sent again. Every answer is checked to its last byte, and has to be complete in
//! time. How late the generator itself was is measured too: with too much of that, a run proves nothing.

use super::goods::{Order, REQUEST_ID, Receipt, checksum, chunk};
use super::record::{Answer, Failure, Recorder};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tower_graceful::model::UnixMillis;

/// A request without its whole answer by then has failed.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Length of a new order's body, in bytes.
const BODY_BYTES: std::ops::Range<usize> = 16..4096;
/// How slow the slow answers are, in milliseconds.
const SLOW_MS: std::ops::Range<u64> = 50..400;
/// How many chunks the streamed answers have.
const CHUNKS: std::ops::Range<u64> = 2..20;

/// The requests of a run, in the order of their moments: the same for the same seed and rate.
#[derive(Clone, Debug)]
pub struct Schedule {
    random: fastrand::Rng,
    rate: f64,
    number: u32,
}

/// One request to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its own name.
    pub id: String,
    /// When it is due, counted from the start of the load.
    pub due: Duration,
    /// What it asks.
    pub wish: Wish,
}

/// What people ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// `GET /orders/{id}`.
    Read,
    /// `POST /orders` with this body.
    Create(String),
    /// `GET /slow?ms=`.
    Slow(u64),
    /// `GET /stream?chunks=`.
    Stream(u64),
}

impl Wish {
    const fn is_short(&self) -> bool {
        matches!(self, Self::Read | Self::Create(_))
    }
}

impl Schedule {
    /// `rate` requests a second, each somewhere within its own slot of time, so that none walk in step.
    pub fn new(seed: u64, rate: f64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), rate, number: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let random = &mut self.random;
        let slot = f64::from(self.number) + random.f64();
        let wish = match random.u8(0..100) {
            0..60 => Wish::Read,
            60..80 => {
                let bytes = random.usize(BODY_BYTES);
                Wish::Create(std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect())
            }
            80..90 => Wish::Slow(random.u64(SLOW_MS)),
            _ => Wish::Stream(random.u64(CHUNKS)),
        };
        self.number = self.number.checked_add(1)?;
        Some(Planned { id: self.number.to_string(), due: Duration::from_secs_f64(slot / self.rate), wish })
    }
}

/// Sends what is planned until `stop` resolves, then waits for the answers under way, and returns.
pub async fn send(
    schedule: Schedule,
    storefront: SocketAddr,
    began: UnixMillis,
    recorder: Recorder,
    mut stop: oneshot::Receiver<()>,
) {
    let people = People::new(storefront);
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    for planned in schedule {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            () = sleep_until(start + planned.due) => {}
        }
        while under_way.try_join_next().is_some() {}
        let (people, recorder) = (people.clone(), recorder.clone());
        under_way.spawn(async move {
            let (due, lag) = (began + planned.due, start.elapsed().saturating_sub(planned.due));
            let asked = timeout(ANSWER_MAX, people.ask(&planned));
            let outcome = asked.await.unwrap_or(Err(Failure::Timeout));
            let latency = start.elapsed().saturating_sub(planned.due);
            recorder.record().answers.push(Answer {
                due,
                lag,
                latency,
                short: planned.wish.is_short(),
                outcome,
            });
        });
    }
    under_way.join_all().await;
}

/// Whoever asks at the storefront.
#[derive(Clone)]
struct People {
    storefront: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl People {
    fn new(storefront: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
        Self { storefront, client }
    }

    async fn ask(&self, planned: &Planned) -> Result<(), Failure> {
        let (method, path, body) = match &planned.wish {
            Wish::Read => ("GET", format!("/orders/{}", planned.id), Bytes::new()),
            Wish::Create(order) => ("POST", "/orders".to_owned(), Bytes::from(order.clone())),
            Wish::Slow(ms) => ("GET", format!("/slow?ms={ms}"), Bytes::new()),
            Wish::Stream(chunks) => ("GET", format!("/stream?chunks={chunks}"), Bytes::new()),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.storefront))
            .header(REQUEST_ID, &planned.id)
            .body(Full::new(body))
            .map_err(|_| Failure::Body)?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { Failure::Connect } else { Failure::Broken })?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|_| Failure::Broken)?.to_bytes();
        match status {
            StatusCode::OK if answers(&planned.wish, &planned.id, &body) => Ok(()),
            StatusCode::OK => Err(Failure::Body),
            other => Err(Failure::Status(other.as_u16())),
        }
    }
}

/// Whether `body` is the right and whole answer to `wish`.
fn answers(wish: &Wish, id: &str, body: &[u8]) -> bool {
    match wish {
        Wish::Read => serde_json::from_slice(body).is_ok_and(|order: Order| order.id == id),
        Wish::Slow(_) => serde_json::from_slice(body).is_ok_and(|order: Order| order.id == "slow"),
        Wish::Create(sent) => serde_json::from_slice(body).is_ok_and(|receipt: Receipt| {
            receipt.bytes == sent.len() && receipt.checksum == checksum(sent.as_bytes())
        }),
        Wish::Stream(chunks) => body == (0..*chunks).flat_map(chunk).collect::<Vec<u8>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(seed: u64, count: usize) -> Vec<Planned> {
        Schedule::new(seed, 300.0).take(count).collect()
    }

    #[test]
    fn a_seed_fixes_the_whole_schedule() {
        assert_eq!(planned(7, 1_000), planned(7, 1_000));
        assert_ne!(planned(7, 1_000), planned(8, 1_000));
    }

    #[test]
    fn requests_keep_the_rate_and_their_order_and_ask_for_everything() {
        let plan = planned(1, 3_000);
        assert!(plan.is_sorted_by_key(|planned| planned.due));
        for (second, due) in [(1, 300), (5, 1_500), (10, 3_000)] {
            let before = plan.iter().filter(|planned| planned.due < Duration::from_secs(second)).count();
            assert_eq!(before, due);
        }
        let count = |is: fn(&Wish) -> bool| plan.iter().filter(|planned| is(&planned.wish)).count();
        assert!((1_700..1_900).contains(&count(|wish| matches!(wish, Wish::Read))));
        assert!((500..700).contains(&count(|wish| matches!(wish, Wish::Create(_)))));
        assert!((230..370).contains(&count(|wish| matches!(wish, Wish::Slow(_)))));
        assert!((230..370).contains(&count(|wish| matches!(wish, Wish::Stream(_)))));
        let ids: std::collections::HashSet<_> = plan.iter().map(|planned| &planned.id).collect();
        assert_eq!(ids.len(), plan.len());
    }

    #[test]
    fn an_answer_that_lacks_or_doubles_a_byte_is_wrong() {
        let whole: Vec<u8> = (0..5).flat_map(chunk).collect();
        assert!(answers(&Wish::Stream(5), "1", &whole));
        assert!(!answers(&Wish::Stream(5), "1", &whole[1..]));
        assert!(!answers(&Wish::Stream(5), "1", &[&whole[..], &chunk(4)].concat()));
        let order = br#"{"id":"7","instance":"a","release":"v1"}"#;
        assert!(answers(&Wish::Read, "7", order));
        assert!(!answers(&Wish::Read, "8", order));
        assert!(!answers(&Wish::Read, "7", b""));
        let receipt = |bytes: usize| {
            let (checksum, instance, release) = (checksum(b"abc"), "a".to_owned(), "v1".to_owned());
            serde_json::to_vec(&Receipt { bytes, checksum, instance, release }).unwrap()
        };
        assert!(answers(&Wish::Create("abc".into()), "1", &receipt(3)));
        assert!(!answers(&Wish::Create("abc".into()), "1", &receipt(4)));
        assert!(!answers(&Wish::Create("abd".into()), "1", &receipt(3)));
    }
}
