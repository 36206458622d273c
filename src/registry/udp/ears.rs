//! Who listens for datagrams, and what each is still to be told. Pure: moments come in as arguments.
//!
//! Whoever asks for a list over HTTP and names a port listens there for a while, for the same list. Asking
//! again lengthens that; silence ends it.

use crate::model::ServiceKey;
use crate::registry::access::UserName;
use crate::registry::peer::Peer;
use crate::registry::push::{Answer, Patience, Pushes};
use crate::registry::query::Clusters;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one listens after having asked: some polls. Nacos' value.
const LISTENS_FOR: Duration = Duration::from_secs(30);
/// Ears in all: some megabytes. Beyond that clients poll, which they do anyway.
const EARS_MAX: usize = 20_000;
/// Ears of one machine, so that ten of them do not take what is there for all.
const EARS_OF_HOST_MAX: usize = 2_000;
/// How long a datagram waits for its acknowledgement, and how often it is sent again; Nacos' values.
const OVER_UDP: Patience = Patience { within: Duration::from_secs(10), repeats_max: Some(1) };

/// Somebody who listens for one list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ear {
    pub(crate) service: ServiceKey,
    /// Where the question came from, at the port that it named: nobody else can be made to hear.
    pub(crate) address: SocketAddr,
    /// As in the question: clients find the list by these words.
    pub(crate) clusters: Clusters,
    pub(crate) healthy_only: bool,
}

/// Everyone who listens.
#[derive(Debug)]
pub(crate) struct Ears {
    pushes: Pushes<Arc<Ear>>,
    listening: HashMap<Arc<Ear>, Listening>,
    of_service: HashMap<ServiceKey, HashSet<Arc<Ear>>>,
    of_host: HashMap<IpAddr, usize>,
    /// Nobody listens, whoever asks to.
    deaf: bool,
}

#[derive(Debug)]
struct Listening {
    peer: Arc<Peer>,
    /// Who asked last; nobody where nobody was asked who they are.
    user: Option<UserName>,
    until: Instant,
}

impl Default for Ears {
    fn default() -> Self {
        let (listening, of_service, of_host) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { pushes: Pushes::new(OVER_UDP), listening, of_service, of_host, deaf: false }
    }
}

impl Ears {
    /// Has `ear` listen, or listen for longer; whether there is room for it. The first list is in the answer;
    /// later answers count for nothing here, because after a push some clients put the next one aside.
    pub(crate) fn listen(
        &mut self,
        ear: Ear,
        user: Option<UserName>,
        peer: impl FnOnce() -> Peer,
        list: (u64, usize),
        now: Instant,
    ) -> bool {
        let until = now + LISTENS_FOR;
        if let Some(listening) = self.listening.get_mut(&ear) {
            (listening.until, listening.user) = (until, user);
            return true;
        }
        if self.deaf {
            return false;
        }
        let of_host = self.of_host.entry(ear.address.ip()).or_default();
        if self.listening.len() >= EARS_MAX || *of_host >= EARS_OF_HOST_MAX {
            return false;
        }
        *of_host += 1;
        let ear = Arc::new(ear);
        self.pushes.follow(&ear, ear.clusters.clone(), list, now);
        self.of_service.entry(ear.service.clone()).or_default().insert(ear.clone());
        self.listening.insert(ear, Listening { peer: Arc::new(peer()), user, until });
        true
    }

    /// Notes that `service` has changed; whether [`Ears::next`] may have become earlier.
    pub(crate) fn changed(&mut self, service: &ServiceKey, now: Instant) -> bool {
        let mut earlier = false;
        for ear in self.of_service.get(service).into_iter().flatten() {
            earlier |= self.pushes.changed(ear, now);
        }
        earlier
    }

    /// When the next datagram is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.pushes.next()
    }

    /// Who is to be told something by `now`. Ask for the list, and then [`Ears::send`].
    pub(crate) fn due(&mut self, now: Instant) -> Option<Arc<Ear>> {
        self.pushes.due(now)
    }

    /// Lets nobody listen: where lists go through TLS, datagrams would show them to everyone on the way.
    pub(crate) fn close(&mut self) {
        self.deaf = true;
    }

    /// In whose name `ear` listens.
    pub(crate) fn user_of(&self, ear: &Ear) -> Option<&UserName> {
        self.listening.get(ear)?.user.as_ref()
    }

    /// Has `ear` listen no more.
    pub(crate) fn leave(&mut self, ear: &Arc<Ear>) {
        if self.listening.remove(ear).is_none() {
            return;
        }
        self.pushes.leave(ear);
        if let Some(ears) = self.of_service.get_mut(&ear.service) {
            ears.remove(ear);
        }
        if let Some(of_host) = self.of_host.get_mut(&ear.address.ip()) {
            *of_host -= 1; // What is empty now goes with the next who are silent.
        }
    }

    /// Writes down that the list at `revision` goes out, and returns the number of its datagram; nothing when
    /// it is known, or when its receiver does not answer and has been told often enough.
    pub(crate) fn send(&mut self, ear: &Arc<Ear>, list: (u64, usize), now: Instant) -> Option<u64> {
        self.pushes.send(ear, list, now).map(|(number, _)| number)
    }

    /// Takes the acknowledgement of a datagram, if it comes from whom that was sent to.
    pub(crate) fn acknowledge(&mut self, number: u64, from: SocketAddr, now: Instant) -> Answer {
        let own = self.pushes.whose(number).is_some_and(|ear| ear.address == from);
        if own { self.pushes.answer(number, true, now) } else { Answer::Late }
    }

    /// Forgets who has not asked for a while.
    pub(crate) fn forget_silent(&mut self, now: Instant) {
        let Self { pushes, listening, of_service, of_host, .. } = self;
        listening.retain(|ear, Listening { until, .. }| {
            let stays = *until > now;
            if !stays {
                pushes.leave(ear);
                if let Some(ears) = of_service.get_mut(&ear.service) {
                    ears.remove(ear);
                }
                if let Some(of_host) = of_host.get_mut(&ear.address.ip()) {
                    *of_host -= 1;
                }
            }
            stays
        });
        of_service.retain(|_, ears| !ears.is_empty());
        of_host.retain(|_, ears| *ears > 0);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.listening.len()
    }

    /// Everyone who listens for something, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Ear>> {
        self.listening.keys()
    }

    /// Who listens for `service`, with the newest list that each is known to have and the moment of which it
    /// is, in no order.
    pub(crate) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (&Arc<Ear>, &Peer, u64, Instant)> {
        let ears = self.of_service.get(service).into_iter().flatten();
        ears.filter_map(|ear| {
            let (_, acknowledged, at) = self.pushes.following(ear)?;
            Some((ear, &*self.listening.get(ear)?.peer, acknowledged, at))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ear(name: &str, port: u16, clusters: &str) -> Ear {
        Ear {
            service: name.parse().unwrap(),
            address: ([10, 0, 0, 9], port).into(),
            clusters: Clusters::new(clusters.to_owned()).unwrap(),
            healthy_only: false,
        }
    }

    fn listen(ears: &mut Ears, ear: Ear, now: Instant) -> bool {
        ears.listen(ear, None, Peer::default, (1, 0), now)
    }

    /// Everyone who is told something by `now`, with the number of the datagram.
    fn told(ears: &mut Ears, revision: u64, now: Instant) -> Vec<(u16, String, u64)> {
        let mut told = Vec::new();
        while let Some(ear) = ears.due(now) {
            let number = ears.send(&ear, (revision, 0), now);
            told.extend(number.map(|n| (ear.address.port(), ear.clusters.asked().to_owned(), n)));
        }
        told
    }

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_machine_may_listen_at_many_ports_for_many_lists_and_each_is_told_of_its_own() {
        let (mut ears, start) = (Ears::default(), Instant::now());
        for (name, port, clusters) in
            [("orders", 5000, ""), ("orders", 5000, "a"), ("mail", 5000, ""), ("orders", 5001, "")]
        {
            assert!(listen(&mut ears, ear(name, port, clusters), start));
        }
        assert!(!ears.changed(&"nobodys".parse().unwrap(), start));
        let now = start + SECOND;
        assert!(ears.changed(&orders(), now));
        let told = told(&mut ears, 2, now);
        let whom: Vec<_> = told.iter().map(|(port, clusters, _)| (*port, clusters.as_str())).collect();
        assert_eq!(whom, [(5000, ""), (5000, "a"), (5001, "")]);
        for (port, _, number) in told {
            assert_eq!(
                ears.acknowledge(number, ([10, 0, 0, 8], port).into(), now),
                Answer::Late,
                "a stranger"
            );
            assert_eq!(ears.acknowledge(number, ([10, 0, 0, 9], port).into(), now), Answer::Acknowledged(2));
        }
        assert_eq!(ears.next(), None);
    }

    #[test]
    fn a_datagram_without_an_answer_is_sent_once_more_after_ten_seconds_and_then_no_more() {
        let (mut ears, start) = (Ears::default(), Instant::now());
        listen(&mut ears, ear("orders", 5000, ""), start);
        let (now, mut revisions) = (start + SECOND, Vec::new());
        ears.changed(&orders(), now);
        for second in 0..60 {
            let now = now + SECOND * second;
            revisions.extend(told(&mut ears, 2, now).into_iter().map(|(.., number)| (second, number)));
        }
        assert_eq!(revisions, [(0, 1), (10, 2)]);
        let later = now + SECOND * 60;
        ears.changed(&orders(), later);
        assert_eq!(told(&mut ears, 3, later).len(), 1, "a new change is worth a new try");
    }

    #[test]
    fn who_does_not_answer_is_not_flooded_by_a_storm() {
        let (mut ears, start) = (Ears::default(), Instant::now());
        listen(&mut ears, ear("orders", 5000, ""), start);
        let mut datagrams = 0;
        for tick in 0..1_000 {
            let now = start + SECOND + Duration::from_millis(100) * tick;
            ears.changed(&orders(), now);
            datagrams += told(&mut ears, u64::from(tick) + 2, now).len();
        }
        assert_eq!(datagrams, 10, "one in ten seconds");
    }

    #[test]
    fn who_asks_no_more_is_forgotten_and_asking_again_keeps_what_is_to_be_told() {
        let (mut ears, start) = (Ears::default(), Instant::now());
        listen(&mut ears, ear("orders", 5000, ""), start);
        listen(&mut ears, ear("mail", 5001, ""), start);
        let later = start + LISTENS_FOR - SECOND;
        ears.changed(&orders(), later);
        ears.listen(ear("orders", 5000, ""), None, || unreachable!("it is known"), (9, 0), later);
        ears.forget_silent(start + LISTENS_FOR);
        assert_eq!((ears.len(), ears.of_service.len(), ears.of_host.len()), (1, 1, 1));
        assert_eq!(told(&mut ears, 9, later).len(), 1, "an answer may have been put aside");
        ears.forget_silent(later + LISTENS_FOR);
        assert_eq!((ears.len(), ears.of_service.len(), ears.of_host.len()), (0, 0, 0));
        assert_eq!(ears.next(), None);
    }

    #[test]
    fn one_machine_does_not_take_the_room_of_all() {
        let (mut ears, now) = (Ears::default(), Instant::now());
        let taken = (1024..)
            .take(EARS_OF_HOST_MAX + 1)
            .filter(|port| listen(&mut ears, ear("orders", *port, ""), now));
        assert_eq!(taken.count(), EARS_OF_HOST_MAX);
        for host in 1..=20 {
            for port in (1024..).take(EARS_OF_HOST_MAX) {
                let ear = Ear { address: ([10, 0, 1, host], port).into(), ..ear("orders", port, "") };
                listen(&mut ears, ear, now);
            }
        }
        assert_eq!(ears.len(), EARS_MAX);
        assert!(listen(&mut ears, ear("orders", 1024, ""), now), "who listens already may go on");
    }
}
