//! Takes instances off, and waits until consumers know.
//!
//! Only connections that say which of our processes they belong to are asked: their clients acknowledge a
//! list when their balancers choose by it. Other clients acknowledge what they have received, whatever comes
//! of it.

use super::Hub;
use crate::model::{Instance, ServiceKey};
use crate::registry::command::{Client, ConnectionId};
use crate::registry::error::Refusal;
use crate::registry::peer::Peer;
use crate::registry::push::Subscriber;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Who knows that instances have been taken off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// Of the list without them.
    pub(crate) revision: u64,
    /// Callers that know on all their connections.
    pub(crate) told: BTreeSet<u64>,
    /// The others, each with a connection that has not acknowledged.
    pub(crate) untold: BTreeMap<u64, Peer>,
}

impl Hub {
    /// Makes `stay` all that a connection publishes in `service`, and waits until every caller that follows
    /// the service has acknowledged the list without the others, `within` at most.
    ///
    /// # Errors
    /// When an instance that stays breaks a rule, or the connection has ended.
    ///
    /// # Cancel safety
    /// The change is made with the first poll; what is dropped is the waiting.
    pub(crate) async fn take_off(
        &self,
        id: ConnectionId,
        service: ServiceKey,
        stay: Vec<Instance>,
        within: Duration,
    ) -> Result<Farewell, Refusal> {
        let (deadline, client) = (Instant::now() + within, Client::Connection(id));
        let mut gone = self.state().catalog.publication(&client, &service).to_vec();
        gone.retain(|key| stay.iter().all(|instance| instance.key != *key));
        self.publish(client, service.clone(), stay)?;

        let (list, followers) = {
            let mut state = self.state();
            (state.catalog.snapshot(&service), state.callers_of(&service))
        };
        // Somebody else publishes the same instance: it is not gone, and nobody can know that it is.
        let is_gone = gone.iter().all(|key| list.get(key).is_none());
        let mut heard = Vec::new();
        for (caller, follower) in &followers {
            let knows = timeout_at(deadline, follower.knows(&service, list.revision()));
            let knows = is_gone && knows.await.unwrap_or(false);
            heard.push((*caller, &**follower.peer(), knows));
        }
        let farewell = Farewell::new(list.revision(), &heard);
        let (told, untold) = (farewell.told.len(), farewell.untold.len());
        tracing::info!(service.name = %service, revision = list.revision(), told, untold, "instances left");
        Ok(farewell)
    }
}

impl super::State {
    /// The connections of callers that follow `service`.
    fn callers_of(&self, service: &ServiceKey) -> Vec<(u64, Arc<Subscriber>)> {
        let followers = self.followers.get(service).into_iter().flatten();
        let callers = followers.filter_map(|(_, follower)| Some((follower.peer().caller?, follower.clone())));
        callers.collect()
    }
}

impl Farewell {
    fn new(revision: u64, heard: &[(u64, &Peer, bool)]) -> Self {
        let untold = heard.iter().filter(|(_, _, knows)| !knows);
        let untold: BTreeMap<u64, Peer> =
            untold.map(|(caller, peer, _)| (*caller, (*peer).clone())).collect();
        let callers = heard.iter().map(|(caller, ..)| *caller);
        let told = callers.filter(|caller| !untold.contains_key(caller)).collect();
        Self { revision, told, untold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::model::{Address, UnixMillis};
    use crate::registry::command::Limits;
    use crate::registry::query::Clusters;
    use std::pin::pin;
    use tokio::time::sleep;

    const WITHIN: Duration = Duration::from_secs(2);

    fn hub() -> Hub {
        let limits = Limits { metadata_chars_max: 100, instances_max: 100 };
        Hub::new(Clock::manual(UnixMillis::new(1_000)).0, limits)
    }

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    fn instance(port: u16) -> Instance {
        Instance::new(Address::new("10.0.0.7", port).unwrap())
    }

    fn follower(hub: &Hub, caller: Option<u64>) -> (ConnectionId, Arc<Subscriber>) {
        let (id, subscriber) = hub.connect(Peer { caller, ..Peer::default() });
        hub.subscribe(id, &orders(), Clusters::default()).unwrap();
        (id, subscriber)
    }

    /// Sends the newest list to a follower, and has it acknowledged.
    fn acknowledge(hub: &Hub, subscriber: &Subscriber) {
        let (list, now) = (hub.snapshot(&orders()), Instant::now());
        let sent = subscriber.pushes().send(&orders(), (list.revision(), list.instances().len()), now);
        subscriber.answer(sent.unwrap().0, true, now);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_has_left_when_every_caller_has_acknowledged_it_on_all_its_connections() {
        let hub = hub();
        let (provider, _) = hub.connect(Peer::default());
        hub.publish(Client::Connection(provider), orders(), vec![instance(1), instance(2)]).unwrap();
        let [(_, first), (_, second), (_, other)] = [Some(7), Some(7), Some(8)].map(|id| follower(&hub, id));
        let (_, sdk) = follower(&hub, None);
        let began = Instant::now();
        let mut leaving = pin!(hub.take_off(provider, orders(), vec![instance(1)], WITHIN));
        for subscriber in [&other, &first, &second] {
            let waits = tokio::time::timeout(Duration::from_millis(10), leaving.as_mut()).await;
            assert!(waits.is_err(), "one of them has not");
            acknowledge(&hub, subscriber);
        }
        let farewell = leaving.await.unwrap();
        assert_eq!((farewell.told, farewell.untold), (BTreeSet::from([7, 8]), BTreeMap::new()));
        assert_eq!(began.elapsed(), Duration::from_millis(30));
        assert_eq!(hub.snapshot(&orders()).instances(), [instance(1)]);
        assert_eq!(sdk.pushes().acknowledged(&orders()).map(|at| at < farewell.revision), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_or_goes_is_named_and_the_wait_is_bounded() {
        let hub = hub();
        let (provider, _) = hub.connect(Peer::default());
        hub.publish(Client::Connection(provider), orders(), vec![instance(1)]).unwrap();
        let [(_, told), (gone, _), (left, _), (_, _silent)] =
            [Some(7), Some(8), Some(9), Some(10)].map(|id| follower(&hub, id));
        let began = Instant::now();
        let leaving = hub.take_off(provider, orders(), Vec::new(), WITHIN);
        let life = async {
            sleep(Duration::from_millis(1)).await;
            acknowledge(&hub, &told);
            hub.disconnect(gone);
            hub.unsubscribe(left, &orders()).unwrap();
        };
        let farewell = tokio::join!(leaving, life).0.unwrap();
        assert_eq!(farewell.told, BTreeSet::from([7]));
        assert_eq!(farewell.untold.keys().copied().collect::<Vec<_>>(), [8, 9, 10]);
        assert_eq!(began.elapsed(), WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_knows_of_an_instance_that_another_client_still_publishes() {
        let hub = hub();
        let [(provider, _), (double, _)] = [(); 2].map(|()| hub.connect(Peer::default()));
        for id in [double, provider] {
            hub.publish(Client::Connection(id), orders(), vec![instance(1)]).unwrap();
        }
        let (_, subscriber) = follower(&hub, Some(7));
        let leaving = hub.take_off(provider, orders(), Vec::new(), WITHIN);
        let life = async {
            sleep(Duration::from_millis(1)).await;
            acknowledge(&hub, &subscriber);
        };
        let farewell = tokio::join!(leaving, life).0.unwrap();
        assert_eq!(farewell.told, BTreeSet::new());
        assert!(farewell.untold.contains_key(&7));
    }

    #[tokio::test]
    async fn a_service_that_nobody_follows_is_left_at_once() {
        let hub = hub();
        let (provider, _) = hub.connect(Peer::default());
        let farewell = hub.take_off(provider, orders(), Vec::new(), WITHIN).await.unwrap();
        assert_eq!((farewell.told.len(), farewell.untold.len()), (0, 0), "there was nothing to take off");
        hub.disconnect(provider);
        assert!(hub.take_off(provider, orders(), Vec::new(), WITHIN).await.is_err());
    }
}
