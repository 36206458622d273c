//! What the others feel of clients that abuse the registry: how soon they are told, and how much memory it takes.

use crate::fleet::Member;
use crate::grpc::{Client, End, Pushes};
use crate::process::{Registry, Subject};
use crate::pushes::{Watched, runtime};
use crate::report::median;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_graceful::BoxError;

/// Subscribers whose pushes are measured.
const SUBSCRIBERS: usize = 200;
/// Connections that say nothing, on both ports together: fewer where the system gives no more.
const IDLE: usize = 10_000;
/// Connections that send the head of a request a byte at a time, on each port.
const SLOW: usize = 500;
const SLOW_EVERY: Duration = Duration::from_millis(500);
/// Subscribers that never read, of a service with so many instances that changes so often.
const DEAF: usize = 100;
const DEAF_HOSTS: usize = 500;
const DEAF_EVERY: Duration = Duration::from_millis(50);
/// Connections that send as large a message as may be, and the next one when it is answered.
const LARGE: usize = 2;
const LARGE_BYTES: usize = 10 * 1024 * 1024 - 256;
/// Addresses that connections which say nothing of use come from.
const ADDRESSES: usize = 100;
/// How long a new client may take to be let in while all this goes on.
const LET_IN_WITHIN: Duration = Duration::from_secs(5);

/// What was borne, and how.
pub(crate) struct Borne {
    pub(crate) case: &'static str,
    pub(crate) memory_case: &'static str,
    /// Abusers, and one registry.
    pub(crate) n: (usize, usize),
    pub(crate) push_ms: f64,
    pub(crate) memory_mib: f64,
}

/// Abuses one registry in one way after the other; each of them ends before the next.
pub(crate) fn abuse(subject: &Subject) -> Result<Vec<Borne>, BoxError> {
    let registry = subject.start()?;
    runtime()?.block_on(async {
        let mut watched = Watched::start(&registry, SUBSCRIBERS).await?;
        let mut borne = vec![bear(&registry, &mut watched, ("abuse-calm", "abuse-calm-memory"), 0).await?];

        let idle = idle(&registry).await;
        let n = idle.len();
        borne.push(bear(&registry, &mut watched, ("abuse-idle", "abuse-idle-memory"), n).await?);
        drop(idle);

        let slow = slow(&registry).await?;
        borne.push(bear(&registry, &mut watched, ("abuse-slow", "abuse-slow-memory"), 2 * SLOW).await?);
        drop(slow);

        let deaf = deaf(&registry).await?;
        borne.push(bear(&registry, &mut watched, ("abuse-deaf", "abuse-deaf-memory"), DEAF).await?);
        drop(deaf);

        let large = large(&registry).await?;
        borne.push(bear(&registry, &mut watched, ("abuse-large", "abuse-large-memory"), LARGE).await?);
        drop(large);
        borne.push(bear(&registry, &mut watched, ("abuse-over", "abuse-over-memory"), 0).await?);
        Ok(borne)
    })
}

/// Measures while it goes on, and finds that new clients are let in.
async fn bear(
    registry: &Registry,
    watched: &mut Watched,
    (case, memory_case): (&'static str, &'static str),
    abusers: usize,
) -> Result<Borne, BoxError> {
    let push_ms = median(&mut watched.times().await?);
    let memory_mib = registry.memory_bytes()? / (1024.0 * 1024.0);
    let let_in = timeout(LET_IN_WITHIN, Client::open(registry.grpc(), End::Fin)).await;
    if !matches!(let_in, Ok(Ok(_))) {
        writeln!(std::io::stdout(), "{case}: a new client is not let in")?;
    }
    Ok(Borne { case, memory_case, n: (abusers, 1), push_ms, memory_mib })
}

/// As many connections as the system gives, in turns on both ports.
async fn idle(registry: &Registry) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for at in 0..IDLE {
        let address = if at % 2 == 0 { registry.http() } else { registry.grpc() };
        match timeout(LET_IN_WITHIN, come_from(at, address)).await {
            Ok(Ok(stream)) => open.push(stream),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    open
}

/// A connection from one of many addresses, for one alone may not have that many.
async fn come_from(at: usize, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let from = u8::try_from(1 + at % ADDRESSES).unwrap_or(1);
    socket.bind((Ipv4Addr::new(127, 0, 1, from), 0).into())?;
    socket.connect(address).await
}

/// Heads that never end.
async fn slow(registry: &Registry) -> Result<JoinSet<()>, BoxError> {
    let mut tasks = JoinSet::new();
    for (address, head) in [
        (registry.http(), &b"POST /nacos/v1/ns/instance HTTP/1.1\r\nhost: registry\r\nx: "[..]),
        (registry.grpc(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0"),
    ] {
        for at in 0..SLOW {
            let mut stream = come_from(at, address).await?;
            tasks.spawn(async move {
                for byte in head.iter().chain(std::iter::repeat(&b'x')) {
                    if stream.write_all(&[*byte]).await.is_err() {
                        break; // It has been shown the door.
                    }
                    sleep(SLOW_EVERY).await;
                }
            });
        }
    }
    Ok(tasks)
}

/// Subscribers that never read, and what they would read. Dropping the first ends them, and the second the
/// changes.
async fn deaf(registry: &Registry) -> Result<(Vec<(Client, Pushes)>, JoinSet<()>), BoxError> {
    let address = registry.grpc();
    let members: Vec<_> = (0..DEAF_HOSTS).map(|index| Member { service: 1, index }).collect();
    let (mut publisher, pushes) = Client::open(address, End::Fin).await?;
    publisher.ask("BatchInstanceRequest", &Member::batch(&members)).await?;
    let mut subscribed = Vec::new();
    for _ in 0..DEAF {
        subscribed.push(subscriber(address).await?);
    }
    let mut changes = JoinSet::new();
    changes.spawn(async move {
        let _pushes = pushes;
        for change in 1.. {
            let mut batch = Member::batch(&members);
            batch["instances"][0]["weight"] = json!(1 + change % 2);
            if publisher.ask("BatchInstanceRequest", &batch).await.is_err() {
                break;
            }
            sleep(DEAF_EVERY).await;
        }
    });
    Ok((subscribed, changes))
}

async fn subscriber(address: SocketAddr) -> Result<(Client, Pushes), BoxError> {
    let (mut client, pushes) = Client::open(address, End::Fin).await?;
    let mut request: Value = Member { service: 1, index: 0 }.question();
    (request["subscribe"], request["clusters"]) = (true.into(), "".into());
    client.ask("SubscribeServiceRequest", &request).await?;
    Ok((client, pushes))
}

/// Messages that are refused once they have been read.
async fn large(registry: &Registry) -> Result<JoinSet<()>, BoxError> {
    let mut tasks = JoinSet::new();
    for _ in 0..LARGE {
        let (mut client, pushes) = Client::open(registry.grpc(), End::Fin).await?;
        let message = json!({"serviceName": "a".repeat(LARGE_BYTES), "type": "registerInstance"});
        tasks.spawn(async move {
            let _pushes = pushes;
            loop {
                // Each of them is refused: there is no such name.
                let _ = client.ask("InstanceRequest", &message).await;
                tokio::task::yield_now().await;
            }
        });
    }
    Ok(tasks)
}
