//! Why it is still here, or no more: who publishes, who follows, what has happened. The read side of the
//! registry over HTTP is made of these.

use super::{Asker, Client, Command, ConnectionId, Event, Hub, State};
use crate::model::{Instance, InstanceKey, Namespace, ServiceKey, UnixMillis};
use crate::registry::access::{Operator, Sight, UserName, Whence};
use crate::registry::command::Change;
use crate::registry::error::Refusal;
use crate::registry::events::{By, DETAIL_CHARS_MAX, Recorded, Role, What};
use crate::registry::fact::Overrides;
use crate::registry::peer::Peer;
use crate::registry::push::Subscriber;
use crate::registry::query::Page;
use crate::registry::senders::Heard;
use crate::registry::udp::Ear;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Two senders of heartbeats for one instance are one after the other when one has been silent for longer:
/// the longest time between two heartbeats of an instance that has not expired, and as much again.
const AT_ONE_TIME: Duration = Duration::from_secs(60);

/// A service in one line.
#[derive(Serialize)]
pub(crate) struct ServiceLine {
    pub(crate) namespace: String,
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
    pub(crate) instances: usize,
    /// Those that take traffic: healthy, enabled, of a weight and at a port.
    pub(crate) serving: usize,
    pub(crate) subscribers: usize,
}

/// The instances of a service, disabled ones too.
#[derive(Serialize)]
pub(crate) struct Instances {
    pub(crate) revision: u64,
    pub(crate) instances: Vec<Explained>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    pub(crate) healthy: bool,
    pub(crate) ephemeral: bool,
    /// Start of its process, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Who keeps it here; readers see what the last one says.
    pub(crate) publishers: Vec<Publisher>,
    /// What looks wrong about them.
    pub(crate) flags: BTreeSet<Flag>,
}

/// One who keeps an instance on the list.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Publisher {
    /// A gRPC connection: the instance goes when it ends.
    Connection {
        /// When it first published the instance.
        since: u64,
        #[serde(flatten)]
        connection: PeerLine,
    },
    /// Heartbeats over HTTP: the instance goes when they stop.
    Heartbeats { since: u64, senders: Vec<HeardSender> },
    /// The disk: the instance goes when somebody takes it off.
    Storage { since: u64 },
}

/// A connection, and who is at its other end.
#[derive(Debug, Serialize)]
pub(crate) struct PeerLine {
    pub(crate) connection: u64,
    pub(crate) address: String,
    pub(crate) app: String,
    pub(crate) version: String,
    /// The id that its process sends in its calls; absent from clients other than ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<String>,
    pub(crate) connected_at: u64,
}

/// Who sends heartbeats.
#[derive(Debug, Serialize)]
pub(crate) struct HeardSender {
    pub(crate) ip: String,
    pub(crate) agent: String,
    pub(crate) since: u64,
    pub(crate) last: u64,
}

/// What looks wrong about an instance's publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flag {
    /// More than one keeps it here: a process that has not stopped, or two at one address.
    SeveralPublishers,
    /// One comes from another address than the instance's own.
    ForeignPublisher,
}

#[cfg(feature = "console")]
impl Flag {
    /// As a person reads it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SeveralPublishers => {
                "several publishers: a process that has not stopped, or two at one address"
            }
            Self::ForeignPublisher => "published from another address than its own",
        }
    }
}

/// Who follows a service.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Followers {
    /// Of the present list.
    pub(crate) revision: u64,
    pub(crate) subscribers: Vec<SubscriberLine>,
    /// Those who poll, and hear of changes over UDP.
    pub(crate) listeners: Vec<ListenerLine>,
}

/// A connection that follows a service.
#[derive(Debug, Serialize)]
pub(crate) struct SubscriberLine {
    #[serde(flatten)]
    pub(crate) connection: PeerLine,
    pub(crate) clusters: String,
    #[serde(flatten)]
    pub(crate) known: Known,
}

/// One who polls.
#[derive(Debug, Serialize)]
pub(crate) struct ListenerLine {
    pub(crate) address: String,
    pub(crate) app: String,
    pub(crate) agent: String,
    pub(crate) since: u64,
    pub(crate) clusters: String,
    pub(crate) healthy_only: bool,
    #[serde(flatten)]
    pub(crate) known: Known,
}

/// The newest list that somebody is known to have.
#[derive(Debug, Serialize)]
pub(crate) struct Known {
    pub(crate) acknowledged: u64,
    /// How long ago it was given or acknowledged.
    pub(crate) acknowledged_ms_ago: u64,
    /// Whether that is the present list.
    pub(crate) current: bool,
}

/// One thing that happened to an instance.
#[derive(Serialize)]
pub(crate) struct EventLine {
    pub(crate) sequence: u64,
    pub(crate) at: u64,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) event: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Cow<'static, str>>,
    /// The side that a process says it from; without it, the registry says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) told_by: Option<&'static str>,
    pub(crate) by: Source,
}

/// Who brought something about.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Source {
    Connection(PeerLine),
    Http {
        ip: Option<String>,
        agent: Option<String>,
    },
    Operator {
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Where it came from, where nobody is asked who they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        ip: Option<String>,
        /// Who the command line there says is at its keyboard; nobody has checked it.
        #[serde(skip_serializing_if = "Option::is_none")]
        says: Option<String>,
    },
    Storage,
}

/// A connection with what it does, as far as whoever asks may see it.
#[derive(Serialize)]
pub(crate) struct ClientLine {
    #[serde(flatten)]
    pub(crate) connection: PeerLine,
    /// Services in which it publishes.
    pub(crate) publishes: usize,
    /// Services that it follows.
    pub(crate) follows: usize,
}

impl Hub {
    /// How many services a namespace has, and one page of them.
    pub(crate) fn service_lines(&self, namespace: &Namespace, page: Page) -> (usize, Vec<ServiceLine>) {
        let mut state = self.state();
        let found: Vec<ServiceKey> = state.catalog.of_namespace(namespace).collect();
        let shown = page.of(found.iter());
        (found.len(), shown.into_iter().map(|service| state.service_line(service)).collect())
    }

    /// The instances of a service with those who publish them.
    ///
    /// # Errors
    /// When nobody publishes there and nothing is said of it.
    pub(crate) fn explained(&self, service: &ServiceKey) -> Result<Instances, Refusal> {
        let mut state = self.state();
        let list = state.described(service).ok_or_else(|| Refusal::NoService(service.clone()))?.snapshot;
        let instances = list.instances().iter();
        let instances = instances.map(|instance| state.explain(service, instance, self.now())).collect();
        Ok(Instances { revision: list.revision(), instances })
    }

    /// Who follows a service, and which list each has.
    pub(crate) fn subscribers(&self, service: &ServiceKey) -> Followers {
        self.state().followers_of(service)
    }

    /// What has happened to the instances of a service that are `wanted`, since the event with the number
    /// `after`: the newest `max` events, the newest first.
    pub(crate) fn event_lines(
        &self,
        service: &ServiceKey,
        wanted: impl Fn(&InstanceKey) -> bool,
        after: u64,
        max: usize,
    ) -> Vec<EventLine> {
        let state = self.state();
        let events = state.events.of(service, wanted, after, max).into_iter();
        events.map(|(sequence, event)| EventLine::new(sequence, event)).collect()
    }

    /// How many clients are connected that do something in `sight`, and one page of them, the longest connected
    /// first.
    pub(crate) fn client_lines(&self, page: Page, sight: &Sight) -> (usize, Vec<ClientLine>) {
        let state = self.state();
        let mut connections: Vec<_> = state.connections.iter().collect();
        connections.retain(|(id, subscriber)| state.is_seen(**id, subscriber, sight));
        connections.sort_by_key(|(id, _)| id.0);
        let seen = |service: &&ServiceKey| sight.sees(&service.namespace);
        let line = |(id, subscriber): (&ConnectionId, &Arc<Subscriber>)| ClientLine {
            connection: PeerLine::new(*id, subscriber.peer()),
            publishes: state.catalog.services_of(*id).filter(seen).count(),
            follows: subscriber.pushes().services().filter(seen).count(),
        };
        (connections.len(), page.of(connections.into_iter()).into_iter().map(line).collect())
    }
}

impl State {
    fn service_line(&mut self, service: &ServiceKey) -> ServiceLine {
        let tally = self.catalog.tally(service);
        ServiceLine {
            namespace: service.namespace.to_string(),
            group: service.group.to_string(),
            name: service.name.to_string(),
            revision: self.catalog.revision(service),
            instances: tally.instances,
            serving: tally.serving,
            subscribers: self.followers.get(service).map_or(0, std::collections::HashMap::len),
        }
    }

    /// Who follows a service, and which list each has.
    pub(super) fn followers_of(&mut self, service: &ServiceKey) -> Followers {
        let (revision, now) = (self.catalog.snapshot(service).revision(), Instant::now());
        let followers = self.followers.get(service).into_iter().flatten();
        let lines = followers.filter_map(|(id, follower)| {
            let pushes = follower.pushes();
            let (clusters, acknowledged, at) = pushes.following(service)?;
            Some(SubscriberLine {
                connection: PeerLine::new(*id, follower.peer()),
                clusters: clusters.asked().to_owned(),
                known: Known::new(acknowledged, revision, now - at),
            })
        });
        let mut subscribers: Vec<_> = lines.collect();
        subscribers.sort_by_key(|line| line.connection.connection);
        let ears = self.audience.ears();
        let mut of_service: Vec<_> = ears.of(service).collect();
        of_service.sort_by_key(|(ear, ..)| *ear);
        let line = |(ear, peer, acknowledged, at): (&Arc<Ear>, &Peer, u64, Instant)| ListenerLine {
            address: ear.address.to_string(),
            app: peer.app.clone(),
            agent: peer.version.clone(),
            since: peer.since.as_u64(),
            clusters: ear.clusters.asked().to_owned(),
            healthy_only: ear.healthy_only,
            known: Known::new(acknowledged, revision, now - at),
        };
        let listeners = of_service.into_iter().map(line).collect();
        Followers { revision, subscribers, listeners }
    }

    pub(super) fn explain(&self, service: &ServiceKey, instance: &Instance, now: UnixMillis) -> Explained {
        let publishers = self.keepers(service, &instance.key);
        let metadata = instance.metadata.iter();
        Explained {
            ip: instance.address().host().to_owned(),
            port: instance.address().port(),
            cluster: instance.key.cluster.to_string(),
            weight: instance.weight.as_f64(),
            enabled: instance.enabled,
            healthy: instance.healthy,
            ephemeral: instance.ephemeral,
            epoch: instance.epoch().map(UnixMillis::as_u64),
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            flags: flags(instance.address().host(), &publishers, now),
            publishers,
        }
    }

    /// Who keeps an instance on the list.
    pub(super) fn keepers(&self, service: &ServiceKey, instance: &InstanceKey) -> Vec<Publisher> {
        let publishers = self.catalog.publishers(service, instance);
        publishers.map(|(client, since)| self.publisher(service, &client, since)).collect()
    }

    fn publisher(&self, service: &ServiceKey, client: &Client, since: UnixMillis) -> Publisher {
        let since = since.as_u64();
        match client {
            Client::Connection(id) => {
                let peer = self.connections.get(id).map(|subscriber| (**subscriber.peer()).clone());
                Publisher::Connection { since, connection: PeerLine::new(*id, &peer.unwrap_or_default()) }
            }
            Client::Heartbeats(address) => {
                let heard = self.expiry.senders((service, address)).map_or(&[][..], |senders| senders.all());
                Publisher::Heartbeats { since, senders: heard.iter().map(HeardSender::new).collect() }
            }
            Client::Kept(_) => Publisher::Storage { since },
        }
    }

    /// Who brings a change about.
    pub(super) fn by(&self, command: &Command, asker: Option<&Asker>) -> By {
        let (sender, operator) = match asker {
            Some(Asker::Sender(sender)) => (Some(sender), None),
            Some(Asker::Operator(operator)) => (None, Some(operator)),
            None => (None, None),
        };
        let of_client = |client: &Client, service: &ServiceKey| match client {
            Client::Connection(id) => self.by_connection(*id),
            Client::Heartbeats(address) => {
                let last = || self.expiry.senders((service, address))?.last().cloned();
                By::Http(sender.cloned().or_else(last))
            }
            Client::Kept(_) => operator.cloned().map_or(By::Storage, |operator| By::Operator(Some(operator))),
        };
        match command {
            Command::Publish { client, service, .. }
            | Command::Withdraw { client, service, .. }
            | Command::SetHealth { client, service, .. } => of_client(client, service),
            Command::Forget { connection } => self.by_connection(*connection),
            Command::Describe { .. } | Command::Override { .. } => By::Operator(operator.cloned()),
        }
    }

    pub(super) fn by_connection(&self, id: ConnectionId) -> By {
        let peer = self.connections.get(&id).map(|subscriber| subscriber.peer().clone());
        By::Connection(id, peer.unwrap_or_default())
    }

    /// Writes down what people will ask for; `changed` is what a change means that is neither a coming nor a
    /// going.
    pub(super) fn record(&mut self, events: &[Event], changed: Option<&What>, by: &By, now: UnixMillis) {
        for Event { service, instance, change } in events {
            let what = match change {
                Change::Came => Some(What::Came),
                Change::Went(reason) => Some(What::Went(*reason)),
                Change::Changed => changed.cloned(),
            };
            if let Some(what) = what {
                let list = self.catalog.revision(service);
                let event = Recorded { at: now, instance: instance.clone(), what, by: by.clone(), list };
                self.events.record(service, event);
            }
        }
    }
}

/// What a change that a command makes means, other than a coming or a going; nothing when people need not know:
/// new metadata of an instance come with every warm-up.
pub(super) fn changed(command: &Command) -> Option<What> {
    match command {
        Command::SetHealth { healthy: true, .. } => Some(What::BecameHealthy),
        Command::SetHealth { healthy: false, .. } => Some(What::BecameUnhealthy),
        Command::Override { overrides: Some(overrides), .. } if overrides.enabled == Some(false) => {
            Some(What::Disabled)
        }
        Command::Override { overrides, .. } => Some(What::Set(set(overrides.as_ref()))),
        Command::Publish { client: Client::Kept(_), .. } => Some(What::Set("registered anew".into())),
        Command::Publish { .. }
        | Command::Withdraw { .. }
        | Command::Forget { .. }
        | Command::Describe { .. } => None,
    }
}

/// What is set on an instance, in words.
fn set(overrides: Option<&Overrides>) -> Arc<str> {
    let Some(Overrides { enabled, weight, metadata }) = overrides else { return "all taken back".into() };
    let enabled = enabled.map(|enabled| if enabled { "enabled" } else { "disabled" }.to_owned());
    let weight = weight.map(|weight| format!("weight {}", weight.as_f64()));
    let metadata = metadata.iter().map(|(key, value)| format!("{key}={value}"));
    let words: Vec<String> = enabled.into_iter().chain(weight).chain(metadata).collect();
    words.join(", ").chars().take(DETAIL_CHARS_MAX).collect::<String>().into()
}

/// What looks wrong about those who publish an instance at `host`.
pub(super) fn flags(host: &str, publishers: &[Publisher], now: UnixMillis) -> BTreeSet<Flag> {
    let own: Option<IpAddr> = host.parse().ok();
    let (mut sources, mut flags) = (0, BTreeSet::new());
    let mut meets = |ip: &str| {
        sources += 1;
        if own.is_some_and(|own| ip.parse().is_ok_and(|ip: IpAddr| ip.to_canonical() != own.to_canonical())) {
            flags.insert(Flag::ForeignPublisher);
        }
    };
    for publisher in publishers {
        match publisher {
            Publisher::Connection { connection, .. } => {
                meets(connection.address.rsplit_once(':').map_or("", |(ip, _)| ip.trim_matches(['[', ']'])));
            }
            Publisher::Heartbeats { senders, .. } => {
                let recent = |heard: &&HeardSender| now.since(UnixMillis::new(heard.last)) < AT_ONE_TIME;
                senders.iter().filter(recent).for_each(|heard| meets(&heard.ip));
            }
            Publisher::Storage { .. } => {}
        }
    }
    if sources > 1 {
        flags.insert(Flag::SeveralPublishers);
    }
    flags
}

impl Known {
    fn new(acknowledged: u64, present: u64, ago: Duration) -> Self {
        let acknowledged_ms_ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        Self { acknowledged, acknowledged_ms_ago, current: acknowledged >= present }
    }
}

impl PeerLine {
    pub(crate) fn new(id: ConnectionId, peer: &Peer) -> Self {
        Self {
            connection: id.0,
            address: peer.address.to_string(),
            app: peer.app.clone(),
            version: peer.version.clone(),
            caller: peer.caller.map(|caller| format!("{caller:016x}")),
            connected_at: peer.since.as_u64(),
        }
    }
}

impl HeardSender {
    pub(crate) fn new(heard: &Heard) -> Self {
        Self {
            ip: heard.sender.ip.to_string(),
            agent: heard.sender.agent.to_string(),
            since: heard.since.as_u64(),
            last: heard.last.as_u64(),
        }
    }
}

impl Source {
    pub(super) fn new(by: &By) -> Self {
        let operator = |user: Option<&UserName>, whence: Option<&Whence>| Self::Operator {
            user: user.map(ToString::to_string),
            ip: whence.map(|whence| whence.ip.to_canonical().to_string()),
            says: whence.and_then(|whence| whence.says.as_deref()).map(str::to_owned),
        };
        match by {
            By::Connection(id, peer) => Self::Connection(PeerLine::new(*id, peer)),
            By::Http(sender) => Self::Http {
                ip: sender.as_ref().map(|sender| sender.ip.to_string()),
                agent: sender.as_ref().map(|sender| sender.agent.to_string()),
            },
            By::Operator(None) => operator(None, None),
            By::Operator(Some(Operator::User(user))) => operator(Some(user), None),
            By::Operator(Some(Operator::At(whence))) => operator(None, Some(whence)),
            By::Storage => Self::Storage,
        }
    }
}

impl EventLine {
    fn new(sequence: u64, event: &Recorded) -> Self {
        let (name, reason): (Cow<'static, str>, Option<Cow<'static, str>>) = match &event.what {
            What::Came => ("came".into(), None),
            What::Went(reason) => ("went".into(), Some(reason.as_str().into())),
            What::BecameHealthy => ("became-healthy".into(), None),
            What::BecameUnhealthy => ("became-unhealthy".into(), None),
            What::Set(detail) => ("set".into(), Some(detail.to_string().into())),
            What::Disabled => ("disabled".into(), None),
            What::Told(told) => {
                (told.event.clone().into(), (!told.detail.is_empty()).then(|| told.detail.clone().into()))
            }
        };
        let told_by = if let What::Told(told) = &event.what { told.role.map(Role::as_str) } else { None };
        let InstanceKey { address, cluster } = &event.instance;
        Self {
            sequence,
            at: event.at.as_u64(),
            ip: address.host().to_owned(),
            port: address.port(),
            cluster: cluster.to_string(),
            event: name,
            reason,
            told_by,
            by: Source::new(&event.by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::new(1_000_000);

    fn connection(address: &str) -> Publisher {
        let peer = Peer { address: address.parse().unwrap(), ..Peer::default() };
        Publisher::Connection { since: 1, connection: PeerLine::new(ConnectionId(1), &peer) }
    }

    fn heartbeats(senders: &[(&str, u64)]) -> Publisher {
        let sender = |(ip, s_ago): &(&str, u64)| HeardSender {
            ip: (*ip).to_owned(),
            agent: String::new(),
            since: 1,
            last: NOW.as_u64() - s_ago * 1000,
        };
        Publisher::Heartbeats { since: 1, senders: senders.iter().map(sender).collect() }
    }

    #[test]
    fn several_publishers_and_foreign_ones_are_flagged() {
        let of = |host, publishers: &[Publisher]| Vec::from_iter(flags(host, publishers, NOW));
        let own = "10.0.0.7";
        assert_eq!(of(own, &[connection("10.0.0.7:50000")]), []);
        assert_eq!(of("::1", &[connection("[::1]:50000")]), []);
        assert_eq!(of("orders.example", &[connection("10.0.0.9:50000")]), [], "a name has no own address");
        assert_eq!(of(own, &[Publisher::Storage { since: 1 }]), []);
        assert_eq!(of(own, &[connection("10.0.0.9:50000")]), [Flag::ForeignPublisher]);
        let both = [Flag::SeveralPublishers, Flag::ForeignPublisher];
        assert_eq!(of(own, &[connection("10.0.0.7:1"), connection("10.0.0.7:2")]), both[..1]);
        assert_eq!(of(own, &[heartbeats(&[("10.0.0.7", 1), ("10.0.0.9", 5)])]), both);
        assert_eq!(
            of(own, &[heartbeats(&[("10.0.0.7", 1), ("10.0.0.9", 61)])]),
            [],
            "that one has moved away"
        );
    }
}
