//! How soon subscribers know: of a change, of a connection that is lost, and in a storm of changes.

use crate::fleet::{Member, change_of};
use crate::grpc::{Client, End, Pushes};
use crate::load::Moment;
use crate::process::{Registry, Subject};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tower_graceful::BoxError;

/// Repetitions of what is measured once at a time; the median counts.
pub(crate) const TIMES: usize = 7;
/// Quiet before each: longer than every fixed delay.
pub(crate) const QUIET: Duration = Duration::from_millis(1_200);
/// How long everyone may take to know.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// Subscribers that wait for the end of a connection.
const WAITING: usize = 10;
/// Connections that are opened at once.
const OPENED_AT_ONCE: usize = 16;
/// Instances of the service that changes in the storm, how often it changes, and for how long.
const STORM_HOSTS: usize = 20;
const STORM_EVERY: Duration = Duration::from_millis(1);
const STORM_FOR: Duration = Duration::from_secs(10);

/// One list that one subscriber has got.
pub(crate) struct Heard {
    pub(crate) who: usize,
    service: String,
    hosts: usize,
    /// The newest change that is in it.
    pub(crate) change: usize,
    pub(crate) at: Moment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Push {
    request_id: String,
    service_info: List,
}

#[derive(Deserialize)]
struct List {
    name: String,
    hosts: Vec<Host>,
}

#[derive(Deserialize)]
struct Host {
    ip: String,
    weight: f64,
}

/// Subscribers, who tell what they hear.
pub(crate) struct Audience {
    clients: Vec<Client>,
    heard: UnboundedReceiver<Heard>,
    listening: JoinSet<Result<(), BoxError>>,
}

/// A service with one instance, and subscribers to it.
pub(crate) struct Watched {
    member: Member,
    publisher: Client,
    _pushes: Pushes,
    audience: Audience,
    subscribers: usize,
    changes: usize,
}

/// Milliseconds from a change to the last of so many subscribers.
pub(crate) fn change(subject: &Subject, subscribers: usize) -> Result<Vec<f64>, BoxError> {
    let registry = subject.start()?;
    runtime()?.block_on(async { Watched::start(&registry, subscribers).await?.times().await })
}

impl Watched {
    pub(crate) async fn start(registry: &Registry, subscribers: usize) -> Result<Self, BoxError> {
        let (mut publisher, pushes) = Client::open(registry.grpc(), End::Fin).await?;
        let member = Member { service: 0, index: 0 };
        publisher.ask("InstanceRequest", &member.changed(0)).await?;
        let audience = Audience::gather(registry, subscribers, 1).await?;
        Ok(Self { member, publisher, _pushes: pushes, audience, subscribers, changes: 0 })
    }

    /// Milliseconds from each of some changes to the last subscriber.
    async fn times(&mut self) -> Result<Vec<f64>, BoxError> {
        let mut found = Vec::new();
        for _ in 0..TIMES {
            sleep(QUIET).await;
            found.extend(self.change().await?.into_iter().reduce(f64::max));
        }
        Ok(found)
    }

    /// Changes the instance, and returns the milliseconds until each of the subscribers knew.
    pub(crate) async fn change(&mut self) -> Result<Vec<f64>, BoxError> {
        self.changes += 1;
        let (sent, change) = (Moment::now(), self.changes);
        self.publisher.ask("InstanceRequest", &self.member.changed(change)).await?;
        let heard = self.audience.all_heard(self.subscribers, |heard| heard.change == change).await?;
        Ok(heard.into_iter().map(|at| (at - sent).as_secs_f64() * 1e3).collect())
    }
}

/// Milliseconds from the end of a connection that publishes in so many services until its subscribers know.
pub(crate) fn lost(subject: &Subject, services: usize, end: End) -> Result<Vec<f64>, BoxError> {
    let registry = subject.start()?;
    runtime()?.block_on(async {
        let (mut staying, _pushes) = Client::open(registry.grpc(), End::Fin).await?;
        for service in 0..services {
            staying.ask("InstanceRequest", &Member { service, index: 0 }.registration()).await?;
        }
        let mut audience = Audience::gather(&registry, WAITING, services).await?;
        let mut found = Vec::new();
        for _ in 0..TIMES {
            staying.ask("HealthCheckRequest", &json!({})).await?; // Who is silent is taken for gone.
            let (mut leaving, pushes) = Client::open(registry.grpc(), end).await?;
            for service in 0..services {
                leaving.ask("InstanceRequest", &Member { service, index: 1 }.registration()).await?;
            }
            audience.last_heard(WAITING * services, |heard| heard.hosts == 2).await?;
            sleep(QUIET).await;
            let cut = Moment::now();
            leaving.cut();
            drop(pushes);
            let last = audience.last_heard(WAITING * services, |heard| heard.hosts == 1).await?;
            found.push((last - cut).as_secs_f64() * 1e3);
        }
        Ok(found)
    })
}

/// What a storm did.
pub(crate) struct Storm {
    /// Pushes in a second to the subscriber that got the most of them.
    pub(crate) pushes: f64,
    /// Age of the oldest change that some subscriber did not know, in milliseconds.
    pub(crate) stale_ms: f64,
    /// Bytes at the end over those after a fifth of it.
    pub(crate) grown: f64,
    /// Changes in a second that were made: fewer than asked for when the registry answers too slowly.
    pub(crate) changes: f64,
}

/// A change every millisecond, with so many subscribers.
pub(crate) fn storm(subject: &Subject, subscribers: usize) -> Result<Storm, BoxError> {
    let registry = subject.start()?;
    runtime()?.block_on(async {
        let mut publishers = Vec::new();
        for index in 0..STORM_HOSTS {
            let (mut client, pushes) = Client::open(registry.grpc(), End::Fin).await?;
            let member = Member { service: 0, index };
            client.ask("InstanceRequest", &member.changed(0)).await?;
            publishers.push((member, client, pushes));
        }
        let mut audience = Audience::gather(&registry, subscribers, 1).await?;
        sleep(QUIET).await;
        while audience.heard.try_recv().is_ok() {}
        let (mut ticks, mut answered) = (interval(STORM_EVERY), Vec::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        answered.push(Moment::now());
        let mut after_a_while = None;
        while answered[0].elapsed() < STORM_FOR {
            ticks.tick().await;
            let change = answered.len();
            let (member, client, _) = &mut publishers[change % STORM_HOSTS];
            client.ask("InstanceRequest", &member.changed(change)).await?;
            answered.push(Moment::now());
            if after_a_while.is_none() && answered[0].elapsed() > STORM_FOR / 5 {
                after_a_while = Some(registry.memory_bytes()?);
            }
        }
        let changes = answered.len() - 1;
        let (took, at_the_end) = (answered[0].elapsed().as_secs_f64(), registry.memory_bytes()?);
        let (mut pushes, mut stale, mut known) = (vec![0_u32; subscribers], 0.0_f64, vec![0; subscribers]);
        let mut missing: HashSet<usize> = (0..subscribers).collect();
        while !missing.is_empty() {
            let heard = audience.next().await?;
            if let Some(next) = answered.get(known[heard.who] + 1).filter(|_| heard.change > known[heard.who])
            {
                stale = stale.max(heard.at.saturating_duration_since(*next).as_secs_f64() * 1e3);
            }
            known[heard.who] = known[heard.who].max(heard.change);
            pushes[heard.who] += 1;
            if heard.change == changes {
                missing.remove(&heard.who);
            }
        }
        let most = pushes.into_iter().max().unwrap_or_default();
        Ok(Storm {
            pushes: f64::from(most) / took,
            stale_ms: stale,
            grown: at_the_end / after_a_while.unwrap_or(at_the_end),
            changes: changes as f64 / took,
        })
    })
}

impl Audience {
    /// So many subscribers, each of them to the first so many services.
    pub(crate) async fn gather(
        registry: &Registry,
        subscribers: usize,
        services: usize,
    ) -> Result<Self, BoxError> {
        let (tell, heard) = unbounded_channel();
        let (mut audience, mut opening) =
            (Self { clients: Vec::new(), heard, listening: JoinSet::new() }, JoinSet::new());
        for who in 0..subscribers {
            if opening.len() == OPENED_AT_ONCE {
                audience.take(opening.join_next().await, &tell)?;
            }
            let address = registry.grpc();
            opening.spawn(async move { Ok((who, subscribe(address, services).await?)) });
        }
        while !opening.is_empty() {
            audience.take(opening.join_next().await, &tell)?;
        }
        Ok(audience)
    }

    fn take(&mut self, opened: Opened, tell: &UnboundedSender<Heard>) -> Result<(), BoxError> {
        let Some(opened) = opened else { return Ok(()) };
        let (who, (client, pushes)) = opened??;
        self.clients.push(client);
        self.listening.spawn(listen(who, pushes, tell.clone()));
        Ok(())
    }

    pub(crate) async fn next(&mut self) -> Result<Heard, BoxError> {
        let heard = async {
            tokio::select! {
                biased;
                Some(ended) = self.listening.join_next() => {
                    ended??;
                    Err("a subscriber lost its connection".into())
                }
                heard = self.heard.recv() => heard.ok_or_else(|| "nobody listens any more".into()),
            }
        };
        timeout(KNOWN_WITHIN, heard).await.map_err(|_| "subscribers were not told in time")?
    }

    /// When the last of so many, each for each service, has heard what is `wanted`.
    async fn last_heard(&mut self, all: usize, wanted: impl Fn(&Heard) -> bool) -> Result<Moment, BoxError> {
        let heard = self.all_heard(all, wanted).await?;
        heard.into_iter().max().ok_or_else(|| "nobody was to hear".into())
    }

    /// When each of so many, each for each service, has heard what is `wanted`.
    async fn all_heard(
        &mut self,
        all: usize,
        wanted: impl Fn(&Heard) -> bool,
    ) -> Result<Vec<Moment>, BoxError> {
        let (mut who, mut at) = (HashSet::new(), Vec::new());
        while who.len() < all {
            let heard = self.next().await?;
            if wanted(&heard) && who.insert((heard.who, heard.service)) {
                at.push(heard.at);
            }
        }
        Ok(at)
    }
}

type Opened = Option<Result<Result<(usize, (Client, Pushes)), BoxError>, tokio::task::JoinError>>;

async fn subscribe(address: SocketAddr, services: usize) -> Result<(Client, Pushes), BoxError> {
    let (mut client, pushes) = Client::open(address, End::Fin).await?;
    for service in 0..services {
        let mut request = Member { service, index: 0 }.question();
        (request["subscribe"], request["clusters"]) = (true.into(), "".into());
        client.ask("SubscribeServiceRequest", &request).await?;
    }
    Ok((client, pushes))
}

/// Acknowledges every list, and tells what is in it.
pub(crate) async fn listen(
    who: usize,
    mut pushes: Pushes,
    tell: UnboundedSender<Heard>,
) -> Result<(), BoxError> {
    while let Some((kind, text)) = pushes.next().await? {
        let at = Moment::now();
        match kind.as_str() {
            "NotifySubscriberRequest" => {}
            "ClientDetectionRequest" => {
                pushes.answer("ClientDetectionResponse", "0")?;
                continue;
            }
            _ => continue,
        }
        let Push { request_id, service_info: List { name, hosts } } = serde_json::from_slice(&text)?;
        pushes.answer("NotifySubscriberResponse", &request_id)?;
        if hosts.iter().any(|host| !host.ip.starts_with("10.")) {
            return Err("an unknown host is listed".into());
        }
        let change = hosts.iter().map(|host| change_of(host.weight)).max().unwrap_or_default();
        if tell.send(Heard { who, service: name, hosts: hosts.len(), change, at }).is_err() {
            break;
        }
    }
    Ok(())
}

pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
