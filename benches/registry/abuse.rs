//! What the others feel of clients that abuse the registry: how soon they are told, and how much memory it takes.
//!
//! Each abuse goes on from before the first change until after the last one, or it does not count; and each is
//! compared with the calm before it and after it, because a machine has moods. The abusers have threads of
//! their own on the cores of the load, which yield to those that measure: it is the registry that is to share.

use crate::Found;
use crate::fleet::Member;
use crate::grpc::{Client, End, Pushes, message};
use crate::process::{Registry, Subject};
use crate::pushes::{Watched, runtime};
use bytes::Bytes;
use serde_json::{Value, json};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_graceful::BoxError;

/// Subscribers whose pushes are measured, of how many changes, and the quiet before each: longer than the
/// registry waits for a list that was sent.
const SUBSCRIBERS: usize = 200;
const CHANGES: usize = 25;
const QUIET: Duration = Duration::from_millis(300);
/// Time that an abuse has to unfold before anything is measured, and to be over afterwards.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Connections that say nothing, in turns on both ports: nearly as many as each may have.
const IDLE: usize = 10_000;
/// Connections that send the head of a request a byte at a time, on each port.
const SLOW: usize = 500;
const SLOW_EVERY: Duration = Duration::from_millis(500);
/// Subscribers that never read, of a service with so many instances that changes so often.
const DEAF: usize = 100;
const DEAF_HOSTS: usize = 500;
const DEAF_EVERY: Duration = Duration::from_millis(50);
/// How often they say that they live, for the registry ends who is silent.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// Connections that send as large a message as may be, and the next one when it is answered.
const LARGE: usize = 2;
/// Instances in a message that is accepted: as many as may be, with so much to say of themselves that it is
/// nearly as large.
const BATCH: usize = 10_000;
const BATCH_SAID: usize = 750;
/// Instances in one that is refused when it has been read.
const TOO_MANY: usize = 45_000;
/// Addresses that connections which say nothing of use come from.
const ADDRESSES: usize = 100;
/// How long a new client may take to be let in while all this goes on.
const LET_IN_WITHIN: Duration = Duration::from_secs(5);
/// Priority of the abusers' threads: the lowest.
const NICE: i32 = 19;

/// The lines of one abuse in the report.
struct Cases {
    p50: &'static str,
    p99: &'static str,
    p50_times: &'static str,
    p99_times: &'static str,
    memory: &'static str,
    after: &'static str,
}

macro_rules! cases {
    ($way:literal) => {
        Cases {
            p50: concat!("abuse-", $way),
            p99: concat!("abuse-", $way, "-p99"),
            p50_times: concat!("abuse-", $way, "-x"),
            p99_times: concat!("abuse-", $way, "-p99-x"),
            memory: concat!("abuse-", $way, "-memory"),
            after: concat!("abuse-", $way, "-after"),
        }
    };
}

/// Clients that go on until this is dropped.
#[derive(Default)]
struct Abusers {
    /// A task for each, which ends when it is shown the door.
    each: JoinSet<()>,
    /// Who does what they need.
    helper: JoinSet<()>,
    /// How often something was done to the registry, where it is done again and again.
    done: Arc<AtomicUsize>,
}

impl Abusers {
    fn go_on<F>(&mut self, abuse: impl FnOnce(Arc<AtomicUsize>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.each.spawn(abuse(self.done.clone()));
    }

    /// How many there still are.
    fn number(&mut self) -> usize {
        while self.each.try_join_next().is_some() {}
        self.each.len()
    }
}

/// Where a registry is.
#[derive(Clone, Copy)]
struct Ports {
    http: SocketAddr,
    grpc: SocketAddr,
}

/// The registry that is abused, and those who are told meanwhile.
struct Abused<'a> {
    registry: &'a Registry,
    watched: Watched,
    /// The last calm.
    calm: Seen,
}

/// What was seen of some changes.
struct Seen {
    /// Milliseconds until a half and 99 of a hundred of the subscribers knew.
    p50: f64,
    p99: f64,
    memory_mib: f64,
}

/// Abuses one registry in one way after the other, with calm before, between and after.
pub(crate) fn abuse(subject: &Subject) -> Result<Vec<Found>, BoxError> {
    let registry = subject.start()?;
    let ports = Ports { http: registry.http(), grpc: registry.grpc() };
    let (abusers, runtime) = (yielding()?, runtime()?);
    runtime.block_on(async {
        let mut abused = Abused::start(&registry).await?;
        let calm = &abused.calm;
        let mut found = vec![
            ("abuse-calm", (0, 1), calm.p50, "ms"),
            ("abuse-calm-p99", (0, 1), calm.p99, "ms"),
            ("abuse-calm-memory", (0, 1), calm.memory_mib, "MiB"),
        ];
        found.extend(abused.bear(&cases!("idle"), abusers.spawn(idle(ports)).await??).await?);
        found.extend(abused.bear(&cases!("slow"), abusers.spawn(slow(ports)).await??).await?);
        found.extend(abused.bear(&cases!("deaf"), abusers.spawn(deaf(ports)).await??).await?);
        found.extend(abused.bear(&cases!("large"), abusers.spawn(large(ports)).await??).await?);
        found.extend(abused.bear(&cases!("batch"), abusers.spawn(batches(ports)).await??).await?);
        Ok(found)
    })
}

/// Threads that work when nobody else does.
fn yielding() -> std::io::Result<Runtime> {
    let yielding = || _ = rustix::process::nice(NICE); // Where it may not be, they are heard in the numbers.
    Builder::new_multi_thread().worker_threads(2).on_thread_start(yielding).enable_all().build()
}

impl<'a> Abused<'a> {
    async fn start(registry: &'a Registry) -> Result<Self, BoxError> {
        let watched = Watched::start(registry, SUBSCRIBERS).await?;
        let calm = Seen { p50: 0.0, p99: 0.0, memory_mib: 0.0 };
        let mut this = Self { registry, watched, calm };
        this.watch().await?; // The first ones pay for what is made once.
        this.calm = this.watch().await?;
        Ok(this)
    }

    /// Measures while `abusers` go on, and after it.
    async fn bear(&mut self, cases: &Cases, mut abusers: Abusers) -> Result<Vec<Found>, BoxError> {
        sleep(SETTLED_AFTER).await;
        let before = abusers.done.load(Ordering::Relaxed);
        let during = self.watch().await?;
        let (left, done) = (abusers.number(), abusers.done.load(Ordering::Relaxed));
        if left == 0 || before > 0 && done == before {
            return Err(format!("{}: nobody abuses the registry any more", cases.p50).into());
        }
        timeout(LET_IN_WITHIN, Client::open(self.registry.grpc(), End::Fin))
            .await
            .map_err(|_| format!("{}: a new client is not let in", cases.p50))??;
        drop(abusers);
        sleep(SETTLED_AFTER).await;
        let after = self.watch().await?;
        let before = mem::replace(&mut self.calm, after);
        let times = |during: f64, before: f64, after: f64| during / f64::midpoint(before, after);
        let n = (left, 1);
        Ok(vec![
            (cases.p50, n, during.p50, "ms"),
            (cases.p50_times, n, times(during.p50, before.p50, self.calm.p50), "x"),
            (cases.p99, n, during.p99, "ms"),
            (cases.p99_times, n, times(during.p99, before.p99, self.calm.p99), "x"),
            (cases.memory, n, during.memory_mib, "MiB"),
            (cases.after, n, self.calm.memory_mib, "MiB"),
        ])
    }

    /// Measures how soon the subscribers know, whatever goes on.
    async fn watch(&mut self) -> Result<Seen, BoxError> {
        let (mut all, mut memory_mib) = (Vec::new(), 0.0_f64);
        for _ in 0..CHANGES {
            sleep(QUIET).await;
            all.extend(self.watched.change().await?);
            memory_mib = memory_mib.max(self.registry.memory_bytes()? / (1024.0 * 1024.0));
        }
        all.sort_by(f64::total_cmp);
        Ok(Seen { p50: all[all.len() / 2], p99: all[all.len() * 99 / 100], memory_mib })
    }
}

/// As many connections as the system gives, in turns on both ports, which say nothing.
async fn idle(ports: Ports) -> Result<Abusers, BoxError> {
    let mut idle = Abusers::default();
    for at in 0..IDLE {
        let address = if at % 2 == 0 { ports.http } else { ports.grpc };
        let Ok(Ok(mut stream)) = timeout(LET_IN_WITHIN, come_from(at, address)).await else { break };
        idle.go_on(|_| async move {
            // HTTP/2 opens with a word of the registry's. It ends when there is no more to come.
            while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        });
    }
    Ok(idle)
}

/// A connection from one of many addresses, for one alone may not have that many.
async fn come_from(at: usize, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let from = u8::try_from(1 + at % ADDRESSES).unwrap_or(1);
    socket.bind((Ipv4Addr::new(127, 0, 1, from), 0).into())?;
    socket.connect(address).await
}

/// Heads that never end.
async fn slow(ports: Ports) -> Result<Abusers, BoxError> {
    let mut slow = Abusers::default();
    for (address, head) in [
        (ports.http, &b"POST /nacos/v1/ns/instance HTTP/1.1\r\nhost: registry\r\nx: "[..]),
        // After its settings, the head of a first stream that is to be longer than it will ever be.
        (
            ports.grpc,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\x3f\xff\x01\x04\0\0\0\x01\x40\x01",
        ),
    ] {
        for at in 0..SLOW {
            let mut stream = come_from(at, address).await?;
            slow.go_on(|done| async move {
                for byte in head.iter().chain(std::iter::repeat(&b'x')) {
                    if stream.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    sleep(SLOW_EVERY).await;
                }
            });
        }
    }
    Ok(slow)
}

/// Subscribers that say that they live and read nothing, of a service that changes all the time.
async fn deaf(ports: Ports) -> Result<Abusers, BoxError> {
    let mut deaf = Abusers::default();
    let members: Vec<_> = (0..DEAF_HOSTS).map(|index| Member { service: 1, index }).collect();
    let (mut publisher, pushes) = Client::open(ports.grpc, End::Fin).await?;
    publisher.ask("BatchInstanceRequest", &Member::batch(&members)).await?;
    for _ in 0..DEAF {
        let (mut client, unread) = subscriber(ports.grpc).await?;
        deaf.go_on(|_| async move {
            let _unread = unread;
            while client.ask("HealthCheckRequest", &json!({})).await.is_ok() {
                sleep(ALIVE_EVERY).await;
            }
        });
    }
    let done = deaf.done.clone();
    deaf.helper.spawn(async move {
        let _pushes = pushes;
        for change in 1.. {
            let mut batch = Member::batch(&members);
            batch["instances"][0]["weight"] = json!(1 + change % 2);
            if publisher.ask("BatchInstanceRequest", &batch).await.is_err() {
                break;
            }
            done.fetch_add(1, Ordering::Relaxed);
            sleep(DEAF_EVERY).await;
        }
    });
    Ok(deaf)
}

async fn subscriber(address: SocketAddr) -> Result<(Client, Pushes), BoxError> {
    let (mut client, pushes) = Client::open(address, End::Fin).await?;
    let mut request: Value = Member { service: 1, index: 0 }.question();
    (request["subscribe"], request["clusters"]) = (true.into(), "".into());
    client.ask("SubscribeServiceRequest", &request).await?;
    Ok((client, pushes))
}

/// Messages that are refused once they have been read: so many instances are not taken.
async fn large(ports: Ports) -> Result<Abusers, BoxError> {
    let members: Vec<_> = (0..TOO_MANY).map(|index| Member { service: 2, index }).collect();
    let message = message("BatchInstanceRequest", &Member::batch(&members))?;
    send_again(ports, LARGE, &[message]).await
}

/// Messages that are accepted, and change one instance.
async fn batches(ports: Ports) -> Result<Abusers, BoxError> {
    let members: Vec<_> = (0..BATCH).map(|index| Member { service: 2, index }).collect();
    let mut batch = Member::batch(&members);
    for instance in batch["instances"].as_array_mut().into_iter().flatten() {
        instance["metadata"]["said"] = "x".repeat(BATCH_SAID).into();
    }
    let mut weighing = |weight: u32| {
        batch["instances"][0]["weight"] = json!(weight);
        message("BatchInstanceRequest", &batch)
    };
    let messages = [weighing(1)?, weighing(2)?];
    Client::open(ports.grpc, End::Fin).await?.0.ask("BatchInstanceRequest", &batch).await?;
    send_again(ports, 1, &messages).await
}

/// Clients that each send these messages in turn, one as soon as the last is answered.
async fn send_again(ports: Ports, clients: usize, messages: &[Bytes]) -> Result<Abusers, BoxError> {
    let mut sending = Abusers::default();
    for _ in 0..clients {
        let (mut client, mut pushes) = Client::open(ports.grpc, End::Fin).await?;
        let messages = messages.to_vec();
        sending.go_on(|done| async move {
            let heard = async { while let Ok(Some(_)) = pushes.next().await {} };
            let sent = async {
                for message in messages.iter().cycle() {
                    // That one is refused is no reason not to send the next.
                    let _ = client.send(message.clone()).await;
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! { () = heard => {}, () = sent => {} }
        });
    }
    Ok(sending)
}
