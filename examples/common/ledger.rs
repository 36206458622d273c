//! What this process has executed, by request id: the proof that nothing was lost or done twice.

use super::BoxError;
use super::goods::REQUEST_ID;
use super::line::{Executed, Line, say};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use tower_graceful::Clock;
use tower_graceful::provider::{DrainLayer, InFlight};

/// Ids that one process tells apart, about an hour at 300 requests a second, each some 100 bytes; those
/// beyond count in the total only.
const IDS_MAX: usize = 1_000_000;
/// Executions that wait to be told: far more than come between two lines. Where nobody listens, the first
/// so many are kept.
const UNTOLD_MAX: usize = 100_000;
/// Often enough for a display that people watch, and so that little is untold when a process is killed.
const TOLD_EVERY: Duration = Duration::from_millis(50);

/// Counts executions by request id; a clone shares the book.
#[derive(Clone, Default)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
    in_flight: InFlight,
}

#[derive(Default)]
struct Book {
    total: u64,
    by_id: HashMap<String, u32>,
    untold: Vec<(String, u64)>,
}

/// Answer of `GET /executions`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    total: u64,
    more_than_once: BTreeMap<String, u32>,
}

impl Ledger {
    /// The same router; each request is noted as it reaches its handler, and under way until its answer's
    /// body ends. One layer of this crate does the second, without the others.
    pub fn noting(&self, router: Router) -> Router {
        let noting = from_fn_with_state(self.clone(), Self::note);
        router.route_layer(noting).route_layer(DrainLayer::new(self.in_flight.clone()))
    }

    async fn note(State(ledger): State<Self>, request: Request, next: Next) -> Response {
        let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        ledger.book().enter(id);
        next.run(request).await
    }

    /// What was executed, and which ids more than once.
    pub fn summary(&self) -> Summary {
        let book = self.book();
        let more_than_once = book.by_id.iter().filter(|(_, count)| **count > 1);
        Summary {
            total: book.total,
            more_than_once: more_than_once.map(|(id, count)| (id.clone(), *count)).collect(),
        }
    }

    /// Says on standard output what is executed, until `over` resolves, and then the rest.
    ///
    /// # Errors
    /// When nobody reads that.
    pub async fn tell_until(&self, over: impl Future) -> Result<(), BoxError> {
        let mut over = pin!(over);
        loop {
            // A line is never broken off: only the wait between two ends early.
            let is_over = timeout(TOLD_EVERY, &mut over).await.is_ok();
            say(&Line::Executed(self.untold())).await?;
            if is_over {
                return Ok(());
            }
        }
    }

    fn untold(&self) -> Executed {
        let mut book = self.book();
        let requests = std::mem::take(&mut book.untold);
        Executed { total: book.total, in_flight: self.in_flight.count(), requests }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic elsewhere leaves the book whole: each entry is made in one go.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn enter(&mut self, id: &str) {
        self.total += 1;
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push((id.to_owned(), Clock::system().now().as_u64()));
        }
        if !id.is_empty() && (self.by_id.len() < IDS_MAX || self.by_id.contains_key(id)) {
            *self.by_id.entry(id.to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    fn router(ledger: &Ledger) -> Router {
        ledger.noting(Router::new().route("/", get(async || "answer")))
    }

    fn request(id: &str) -> Request {
        Request::get("/").header(REQUEST_ID, id).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn an_id_that_comes_twice_is_executed_twice() {
        let ledger = Ledger::default();
        for id in ["a", "b", "a"] {
            router(&ledger).oneshot(request(id)).await.unwrap();
        }
        let more_than_once = BTreeMap::from([("a".to_owned(), 2)]);
        assert_eq!(ledger.summary(), Summary { total: 3, more_than_once });
    }

    #[tokio::test]
    async fn a_request_is_under_way_until_its_body_ends_and_told_once() {
        let ledger = Ledger::default();
        let response = router(&ledger).oneshot(request("a")).await.unwrap();
        let first = ledger.untold();
        assert_eq!((first.total, first.in_flight, first.requests.len()), (1, 1, 1));
        drop(response);
        let second = ledger.untold();
        assert_eq!((second.total, second.in_flight, second.requests.len()), (1, 0, 0));
    }
}
