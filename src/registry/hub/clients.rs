//! Clients under the names that Nacos' diagnosis gives them, what each publishes, and what it follows.
//!
//! A connection is named as it was told when it was opened: `1756800000000_10.1.2.3_51234`. Whoever is
//! registered over HTTP is a client of its own: `10.1.2.3:8080#true`, and `#false` when it is persistent. So is
//! whoever polls, and listens for datagrams at a port.

use super::{Client, ConnectionId, Hub, State};
use crate::model::{Address, InstanceKey, ServiceKey, UnixMillis};
use crate::registry::access::Sight;
use crate::registry::error::Refusal;
use crate::registry::peer::{Destination, Peer};
use crate::registry::push::Subscriber;
use crate::registry::senders::Senders;
use crate::registry::udp::Ears;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Names in one answer, which has no pages: some megabytes.
const CLIENTS_MAX: usize = 100_000;
/// Characters of a name that nobody has which are repeated in the answer.
const NAME_CHARS_SAID: usize = 64;

/// What is known of one client.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) updated: UnixMillis,
    pub(crate) kind: Kind,
}

/// How a client comes to be one.
#[derive(Debug)]
pub(crate) enum Kind {
    Connection(Arc<Peer>),
    Http { ephemeral: bool },
}

/// That a client publishes an instance.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Publishes {
    pub(crate) service: ServiceKey,
    pub(crate) instance: InstanceKey,
    pub(crate) client: String,
}

/// That a client follows a service.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Follows {
    pub(crate) service: ServiceKey,
    pub(crate) address: SocketAddr,
    pub(crate) client: String,
    pub(crate) app: String,
    /// Its version, in its own words.
    pub(crate) agent: String,
    pub(crate) clusters: String,
}

/// Who is meant by a name.
enum Named {
    Connection(ConnectionId, Arc<Subscriber>),
    At(Address, bool),
}

impl Hub {
    /// The names of all clients that do something in `sight`, sorted.
    pub(crate) fn client_names(&self, sight: &Sight) -> Vec<String> {
        let (mut namespaces, mut services) = (self.namespaces(), Vec::new());
        namespaces.retain(|namespace| sight.sees(namespace));
        let mut names: BTreeSet<String> = {
            let state = self.state();
            services.extend(namespaces.iter().flat_map(|namespace| state.catalog.of_namespace(namespace)));
            let connected = state.connections.iter();
            let connected = connected.filter(|(id, subscriber)| state.is_seen(**id, subscriber, sight));
            let connected = connected.map(|(_, subscriber)| subscriber.peer().transport.clone());
            let ears = state.audience.ears();
            let ears = ears.all().filter(|ear| sight.sees(&ear.service.namespace));
            connected.chain(ears.map(|ear| at(&ear.address, true))).collect()
        };
        for service in services {
            let state = self.state(); // Taken anew for each: others have their turn.
            let keys = state.catalog.keys(&service);
            let clients = keys.flat_map(|key| state.catalog.publishers(&service, key));
            names.extend(clients.filter_map(|(client, _)| state.name(&client)));
        }
        names.into_iter().take(CLIENTS_MAX).collect()
    }

    /// What is known of a client.
    ///
    /// # Errors
    /// When there is none of this name in `sight`.
    pub(crate) fn client(&self, name: &str, sight: &Sight) -> Result<Described, Refusal> {
        let state = self.state();
        let (updated, kind) = match state.named_in(sight, name)? {
            Named::Connection(_, subscriber) => {
                (subscriber.peer().since, Kind::Connection(subscriber.peer().clone()))
            }
            Named::At(address, ephemeral) => (state.heard(&address, ephemeral), Kind::Http { ephemeral }),
        };
        Ok(Described { name: name.to_owned(), updated, kind })
    }

    /// What a client publishes in `sight`, sorted.
    ///
    /// # Errors
    /// When there is none of this name in `sight`.
    pub(crate) fn published_by(&self, name: &str, sight: &Sight) -> Result<Vec<Publishes>, Refusal> {
        let state = self.state();
        let clients = match state.named_in(sight, name)? {
            Named::Connection(id, _) => vec![Client::Connection(id)],
            Named::At(address, ephemeral) => state.publishers_at(&address, ephemeral),
        };
        let published = clients.iter().flat_map(|client| state.catalog.published_by(client));
        let mut published: Vec<_> = published
            .filter(|(service, _)| sight.sees(&service.namespace))
            .flat_map(|(service, keys)| keys.iter().map(move |key| (service.clone(), key.clone())))
            .map(|(service, instance)| Publishes { service, instance, client: name.to_owned() })
            .collect();
        published.sort();
        Ok(published)
    }

    /// What a client follows in `sight`, sorted.
    ///
    /// # Errors
    /// When there is none of this name in `sight`.
    pub(crate) fn followed_by(&self, name: &str, sight: &Sight) -> Result<Vec<Follows>, Refusal> {
        let state = self.state();
        let mut followed: Vec<Follows> = match state.named_in(sight, name)? {
            Named::Connection(_, subscriber) => {
                let services: Vec<ServiceKey> = subscriber.pushes().services().cloned().collect();
                services.iter().filter_map(|service| Follows::over_connection(service, &subscriber)).collect()
            }
            Named::At(_, false) => Vec::new(),
            Named::At(address, true) => {
                let ears = state.audience.ears();
                let services: BTreeSet<&ServiceKey> = ears.all().map(|ear| &ear.service).collect();
                let all = services.into_iter().flat_map(|service| follow_over_udp(&ears, service));
                all.filter(|follows| follows.address.to_string() == address.to_string()).collect()
            }
        };
        followed.retain(|follows| sight.sees(&follows.service.namespace));
        followed.sort();
        Ok(followed)
    }

    /// Who publishes in a service, sorted.
    pub(crate) fn publishers_of(&self, service: &ServiceKey) -> Vec<Publishes> {
        let state = self.state();
        let publishes = |key: &InstanceKey| {
            let clients =
                state.catalog.publishers(service, key).filter_map(|(client, _)| state.name(&client));
            let publishes = |client| Publishes { service: service.clone(), instance: key.clone(), client };
            clients.map(publishes).collect::<Vec<_>>()
        };
        let mut publishers: Vec<_> = state.catalog.keys(service).flat_map(publishes).collect();
        publishers.sort();
        publishers
    }

    /// Who follows a service, over gRPC and over UDP, sorted.
    pub(crate) fn followers_of(&self, service: &ServiceKey) -> Vec<Follows> {
        let state = self.state();
        let connected = state.followers.get(service).into_iter().flatten();
        let connected = connected.filter_map(|(_, follower)| Follows::over_connection(service, follower));
        let ears = state.audience.ears();
        let mut followers: Vec<_> = connected.chain(follow_over_udp(&ears, service)).collect();
        followers.sort();
        followers
    }

    /// Everyone who is connected, the longest first.
    pub(crate) fn connected(&self) -> Vec<Arc<Peer>> {
        let state = self.state();
        let mut connected: Vec<_> = state.connections.iter().collect();
        connected.sort_by_key(|(id, _)| id.0);
        connected.into_iter().map(|(_, subscriber)| subscriber.peer().clone()).collect()
    }

    /// Asks a connected client to connect anew, and to whom; it may stay where it is.
    ///
    /// # Errors
    /// When none is connected under this name.
    pub(crate) fn ask_to_move(&self, name: &str, to: &Destination) -> Result<(), Refusal> {
        match self.state().named(name)? {
            Named::Connection(_, subscriber) => subscriber.ask_to_move(to.clone()),
            Named::At(..) => return Err(Refusal::NoClient(name.to_owned())),
        }
        Ok(())
    }

    /// Asks all connected clients but the first `staying` to connect anew; how many that are.
    pub(crate) fn ask_others_to_move(&self, staying: usize, to: &Destination) -> usize {
        let state = self.state();
        let mut connected: Vec<_> = state.connections.iter().collect();
        connected.sort_by_key(|(id, _)| id.0);
        let asked = connected.into_iter().skip(staying);
        asked.map(|(_, subscriber)| subscriber.ask_to_move(to.clone())).count()
    }
}

impl State {
    /// The name of whoever publishes; nothing for a connection that is just ending.
    fn name(&self, client: &Client) -> Option<String> {
        match client {
            Client::Connection(id) => Some(self.connections.get(id)?.peer().transport.clone()),
            Client::Heartbeats(address) => Some(at(address, true)),
            Client::Kept(key) => Some(at(&key.address, false)),
        }
    }

    /// Whether a connection does something in a namespace that may be seen; one that does nothing is seen by
    /// those who see all.
    pub(super) fn is_seen(&self, id: ConnectionId, subscriber: &Subscriber, sight: &Sight) -> bool {
        let seen = |service: &ServiceKey| sight.sees(&service.namespace);
        sight.sees_all() || self.catalog.services_of(id).any(seen) || subscriber.pushes().services().any(seen)
    }

    /// Who is meant by a name, among those that may be seen: to whoever may not see one, there is none.
    fn named_in(&self, sight: &Sight, name: &str) -> Result<Named, Refusal> {
        let named = self.named(name)?;
        let is_seen = sight.sees_all()
            || match &named {
                Named::Connection(id, subscriber) => self.is_seen(*id, subscriber, sight),
                Named::At(address, ephemeral) => {
                    let publish = self.publishers_at(address, *ephemeral);
                    let mut published = publish.iter().flat_map(|client| self.catalog.published_by(client));
                    published.any(|(service, _)| sight.sees(&service.namespace))
                        || *ephemeral && self.listens(name, |service| sight.sees(&service.namespace))
                }
            };
        if is_seen { Ok(named) } else { Err(unknown(name)) }
    }

    /// Who is meant by a name.
    fn named(&self, name: &str) -> Result<Named, Refusal> {
        let unknown = || unknown(name);
        let Some((address, ephemeral)) = name.rsplit_once('#') else {
            let mut connected = self.connections.iter();
            let found = connected.find(|(_, subscriber)| subscriber.peer().transport == name);
            return found.map(|(id, found)| Named::Connection(*id, found.clone())).ok_or_else(unknown);
        };
        let address: Address = address.parse().map_err(|_| unknown())?;
        let ephemeral: bool = ephemeral.parse().map_err(|_| unknown())?;
        let publishes = !self.publishers_at(&address, ephemeral).is_empty();
        let is_there = publishes || ephemeral && self.listens(name, |_| true);
        is_there.then_some(Named::At(address, ephemeral)).ok_or_else(unknown)
    }

    /// Whether somebody of this name listens for a service that is `wanted`.
    fn listens(&self, name: &str, wanted: impl Fn(&ServiceKey) -> bool) -> bool {
        self.audience.ears().all().any(|ear| wanted(&ear.service) && at(&ear.address, true) == name)
    }

    /// Those who publish over HTTP at an address: one, or one for each cluster where they are persistent.
    fn publishers_at(&self, address: &Address, ephemeral: bool) -> Vec<Client> {
        if ephemeral {
            let beaten = Client::Heartbeats(address.clone());
            let publishes = self.catalog.published_by(&beaten).next().is_some();
            return Vec::from_iter(publishes.then_some(beaten));
        }
        let kept: BTreeSet<&InstanceKey> = self.ledger.kept_at(address).collect();
        kept.into_iter().cloned().map(Client::Kept).collect()
    }

    /// When a client over HTTP was heard last, or what it publishes was stored.
    fn heard(&self, address: &Address, ephemeral: bool) -> UnixMillis {
        let clients = self.publishers_at(address, ephemeral);
        let published = clients.iter().flat_map(|client| {
            let of_service = move |(service, keys): (&ServiceKey, &[InstanceKey])| {
                let beats = self.expiry.senders((service, address)).into_iter().flat_map(Senders::all);
                let since = keys.iter().flat_map(|key| self.catalog.publishers(service, key));
                let since = since.filter(|(publisher, _)| publisher == client).map(|(_, since)| since);
                beats.map(|heard| heard.last).chain(since).max()
            };
            self.catalog.published_by(client).filter_map(of_service)
        });
        published.max().unwrap_or(UnixMillis::new(0))
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::NoClient(name.chars().take(NAME_CHARS_SAID).collect())
}

/// The name of a client over HTTP.
fn at(address: &impl std::fmt::Display, ephemeral: bool) -> String {
    format!("{address}#{ephemeral}")
}

fn follow_over_udp(ears: &Ears, service: &ServiceKey) -> impl Iterator<Item = Follows> {
    ears.of(service)
        .map(|(ear, peer, ..)| Follows::new(ear.service.clone(), peer, ear.clusters.asked().to_owned()))
}

impl Follows {
    fn new(service: ServiceKey, peer: &Peer, clusters: String) -> Self {
        let Peer { address, app, version, transport, .. } = peer;
        let client = if transport.is_empty() { at(address, true) } else { transport.clone() };
        let (app, agent) = (app.clone(), version.clone());
        Self { service, address: *address, client, app, agent, clusters }
    }

    /// Nothing where it has just ended.
    fn over_connection(service: &ServiceKey, subscriber: &Subscriber) -> Option<Self> {
        let clusters = subscriber.pushes().following(service)?.0.asked().to_owned();
        Some(Self::new(service.clone(), subscriber.peer(), clusters))
    }
}
