//! Connections that end under load: every execution is counted by the id of its request, while the instances
//! take turns in sending their callers away, in order and abruptly, on a machine that has too much to do.

use super::raw::listener;
use super::*;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::AtomicBool;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower_graceful::consumer::BalanceLayer;
use tower_graceful::consumer::classify::{Applied, Cause, applied, cause};

/// How many GOAWAYs the instances send in one run.
const GOAWAYS: u64 = 500;

/// Clients that each have one connection to each instance.
const CLIENTS: usize = 8;

/// Callers that each have one request under way, every one with its neighbours over the same client.
const CALLERS: usize = 2 * CLIENTS;

/// Far more than it takes: 10 s on two cores, as many threads beside it.
const TIME_LIMIT: Duration = Duration::from_secs(55);

/// A client under churn answers some call never; with a time limit for its answer that is one more failure.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);

const INSTANCES: usize = 3;

const ID: &str = "id";

/// What the instances have in common: how often each request was executed, and how many GOAWAYs were sent.
#[derive(Clone, Default)]
struct Seen {
    executed: Arc<Mutex<HashMap<String, u32>>>,
    goaways: Arc<AtomicU64>,
}

impl Seen {
    /// Executes a request: counted before anything can go wrong with its answer, which takes a while.
    async fn execute(&self, head: &http::HeaderMap) {
        let id = head[ID].to_str().unwrap().to_owned();
        let times = {
            let mut executed = self.executed.lock().unwrap();
            let times = executed.entry(id.clone()).or_insert(0);
            *times += 1;
            *times
        };
        let number: u32 = id.parse().unwrap();
        for _ in 0..(number + times) % 8 {
            tokio::task::yield_now().await;
        }
    }
}

/// How a connection ends when its instance sends its callers away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Two GOAWAYs with a round trip between them, and what came until then is answered.
    InOrder,
    /// One GOAWAY, and what is being executed is cut off.
    Abrupt,
}

/// One instance, as its callers' connections find it.
struct Rolled {
    instance: Instance,
    /// Each new value sends the callers of all its connections away.
    round: watch::Sender<u64>,
    /// How many connections it has accepted.
    accepted: watch::Receiver<usize>,
}

impl Rolled {
    async fn start(threads: &Threads, seen: Seen) -> Self {
        let (listener, addr) = threads.0.as_ref().unwrap().spawn(listener()).await.unwrap();
        let (round, rounds) = watch::channel(0);
        let (accept, accepted) = watch::channel(0_usize);
        threads.0.as_ref().unwrap().spawn(async move {
            let mut manners = [Manner::InOrder, Manner::Abrupt].into_iter().cycle();
            while let (Ok((stream, _)), Some(manner)) = (listener.accept().await, manners.next()) {
                let (seen, mut round) = (seen.clone(), rounds.clone());
                round.mark_unchanged();
                tokio::spawn(async move {
                    match manner {
                        Manner::InOrder => in_order(stream, seen, round).await,
                        Manner::Abrupt => abrupt(stream, seen, round).await,
                    }
                });
                accept.send_modify(|accepted| *accepted += 1);
            }
        });
        Self { instance: Instance::new(addr.into()), round, accepted }
    }

    /// Sends its callers away and waits until they have come back: nothing more is sent to where they were.
    async fn roll(&mut self) {
        let before = *self.accepted.borrow();
        self.round.send_modify(|round| *round += 1);
        self.connected(before + CLIENTS).await;
    }

    async fn connected(&mut self, connections: usize) {
        self.accepted.wait_for(|accepted| *accepted >= connections).await.unwrap();
    }
}

async fn in_order(stream: TcpStream, seen: Seen, mut round: watch::Receiver<u64>) {
    let executing = seen.clone();
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let seen = executing.clone();
        async move {
            seen.execute(request.headers()).await;
            Ok::<_, Infallible>(http::Response::new(request.into_body()))
        }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = round.changed() => seen.goaways.fetch_add(1, Ordering::Relaxed),
    };
    serving.as_mut().graceful_shutdown();
    let _ = serving.await; // The client may hang up first.
}

async fn abrupt(stream: TcpStream, seen: Seen, mut round: watch::Receiver<u64>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut executing = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, mut respond))) => {
                    let seen = seen.clone();
                    executing.push(async move {
                        seen.execute(request.headers()).await;
                        let _ = respond.send_response(http::Response::new(()), true); // It may be cut off.
                    });
                }
                Some(Err(_)) | None => return,
            },
            Some(()) = executing.next() => {}
            _ = round.changed() => break,
        }
    }
    seen.goaways.fetch_add(1, Ordering::Relaxed);
    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
    let _ = poll_fn(|cx| connection.poll_closed(cx)).await;
}

/// The end of one request.
struct Ended {
    id: String,
    outcome: Result<(), (Cause, Applied)>,
}

/// Sends one request after the other as long as somebody looks at how many it has `done`.
async fn caller(
    client: Http<String>,
    method: http::Method,
    first: usize,
    done: watch::Sender<u64>,
) -> Vec<Ended> {
    let mut all = Vec::new();
    for id in (first..).step_by(CALLERS) {
        let body = if method == http::Method::POST { "order".to_owned() } else { String::new() };
        let request = http::Request::builder().method(&method).uri("/").header(ID, id).body(body).unwrap();
        let outcome = async {
            let answer = client.clone().oneshot(request).await?;
            answer.into_body().collect().await?;
            Ok::<_, BoxError>(())
        };
        let outcome = outcome.await.map_err(|error| (cause(&*error), applied(&*error)));
        all.push(Ended { id: id.to_string(), outcome });
        done.send_modify(|done| *done += 1);
        if done.is_closed() {
            break;
        }
    }
    all
}

/// Threads of the instances' own, as they would have as processes.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Keeps every core busy until it is dropped.
struct BusyThreads(Arc<AtomicBool>);

impl BusyThreads {
    fn start() -> Self {
        let busy = Arc::new(AtomicBool::new(true));
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            let busy = busy.clone();
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {});
        }
        Self(busy)
    }
}

impl Drop for BusyThreads {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The instances take turns, as in a rolling release: nobody is sent away by two of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_post_is_executed_twice_and_no_get_is_lost_whatever_ends_under_them() {
    let seen = Seen::default();
    let threads = Threads::start();
    let naming = InProcess::new();
    let mut fleet = Vec::new();
    for _ in 0..INSTANCES {
        let rolled = Rolled::start(&threads, seen.clone()).await;
        naming.register(&orders(), &rolled.instance).await.unwrap();
        fleet.push(rolled);
    }
    let mut pools = Vec::new();
    for _ in 0..CLIENTS {
        let balance = BalanceLayer::new(naming.subscribe(&orders()).await.unwrap());
        let layer = GracefulClientLayer::from(balance.with_header_timeout(HEADER_TIMEOUT));
        pools.push(layer.layer(http_client_h2()));
    }
    let _busy = BusyThreads::start();

    let (mut callers, mut progress) = (Vec::new(), Vec::new());
    for first in 0..CALLERS {
        let method = if first % 2 == 0 { http::Method::POST } else { http::Method::GET };
        let (done, doing) = watch::channel(0);
        progress.push(doing);
        callers.push(tokio::spawn(caller(pools[first * CLIENTS / CALLERS].clone(), method, first, done)));
    }
    let rolling = async {
        for rolled in &mut fleet {
            rolled.connected(CLIENTS).await;
        }
        for turn in (0..INSTANCES).cycle() {
            if seen.goaways.load(Ordering::Relaxed) >= GOAWAYS {
                break;
            }
            fleet[turn].roll().await;
            for doing in &mut progress {
                let before = *doing.borrow();
                doing.wait_for(|done| *done > before).await.unwrap(); // What was under way has ended.
            }
        }
    };
    tokio::time::timeout(TIME_LIMIT, rolling).await.expect("500 GOAWAYs within the time limit");
    drop(progress);

    let (mut requests, mut failed) = (0, BTreeMap::new());
    let executed = |id: &str| seen.executed.lock().unwrap().get(id).copied().unwrap_or(0);
    for (number, caller) in callers.into_iter().enumerate() {
        for Ended { id, outcome } in caller.await.unwrap() {
            let times = executed(&id);
            requests += 1;
            match outcome {
                Ok(()) if number % 2 == 0 => assert_eq!(times, 1, "POST {id}"),
                Ok(()) => assert!((1..=2).contains(&times), "GET {id}: {times}"),
                Err((cause, applied)) => {
                    assert!(number % 2 == 0, "GET {id} was lost: {cause}");
                    assert_ne!(applied, Applied::Never, "POST {id} could have been saved: {cause}");
                    assert!(times <= 1, "POST {id} was executed {times} times");
                    *failed.entry((cause.as_str(), times)).or_insert(0) += 1;
                }
            }
        }
    }
    println!("{requests} requests; POSTs failed, by cause and executions: {failed:?}");
    assert!(!failed.is_empty(), "no GOAWAY met a request under way");
}
