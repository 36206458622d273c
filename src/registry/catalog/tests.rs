use super::*;
use crate::model::{Address, Metadata, Weight};
use crate::registry::command::ConnectionId;
use proptest::prelude::*;
use std::collections::HashSet;

const START: UnixMillis = UnixMillis::new(1_000);
const KEPT_FOR: Duration = Duration::from_secs(60);

fn client(id: u64) -> Client {
    Client::Connection(ConnectionId(id))
}

fn service(name: &str) -> ServiceKey {
    name.parse().unwrap()
}

fn instance(port: u16, weight: u8) -> Instance {
    let address = Address::new("10.0.0.7", port).unwrap();
    Instance { weight: Weight::new(weight.into()).unwrap(), ..Instance::new(address) }
}

/// A catalog and its one service, spoken to briefly.
struct Orders(Catalog);

impl Orders {
    fn new() -> Self {
        Self(Catalog::new(START))
    }

    fn publish(&mut self, id: u64, instances: &[Instance]) -> Vec<Change> {
        let (client, service) = (client(id), service("orders"));
        self.apply(Command::Publish { client, service, instances: instances.to_vec() })
    }

    fn withdraw(&mut self, id: u64) -> Vec<Change> {
        let (client, service) = (client(id), service("orders"));
        self.apply(Command::Withdraw { client, service, reason: Reason::Deregistered })
    }

    fn apply(&mut self, command: Command) -> Vec<Change> {
        self.0.apply(command, START).into_iter().map(|event| event.change).collect()
    }

    fn list(&mut self) -> Vec<Instance> {
        self.0.snapshot(&service("orders")).instances().to_vec()
    }

    /// Ports of those who have gone lately, and why.
    fn removed(&mut self) -> Vec<(u16, Reason)> {
        let list = self.0.snapshot(&service("orders"));
        let removed = self.0.removed_from(&list, START);
        removed.into_iter().map(|removal| (removal.address.port(), removal.reason)).collect()
    }

    fn revision(&mut self) -> u64 {
        self.0.snapshot(&service("orders")).revision()
    }
}

#[test]
fn a_second_publication_of_a_client_replaces_its_first() {
    let mut orders = Orders::new();
    assert_eq!(orders.publish(1, &[instance(1, 1)]), [Change::Came]);
    assert_eq!(orders.publish(2, &[instance(2, 1)]), [Change::Came]);
    let replaced = orders.publish(1, &[instance(3, 1)]);
    assert_eq!(replaced, [Change::Went(Reason::Deregistered), Change::Came]);
    assert_eq!(orders.list(), [instance(2, 1), instance(3, 1)]);
    assert_eq!(orders.publish(1, &[instance(3, 1), instance(4, 1)]), [Change::Came]);
    assert_eq!(orders.publish(1, &[]).len(), 2);
    assert_eq!(orders.list(), [instance(2, 1)]);
}

#[test]
fn the_newest_publication_of_an_instance_is_seen_and_the_one_before_comes_back() {
    let mut orders = Orders::new();
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(orders.publish(2, &[instance(1, 2)]), [Change::Changed]);
    assert_eq!(orders.list(), [instance(1, 2)]);
    assert_eq!(orders.publish(1, &[instance(1, 1)]), [], "said before");
    assert_eq!(orders.list(), [instance(1, 2)]);
    assert_eq!(orders.withdraw(2), [Change::Changed]);
    assert_eq!(orders.list(), [instance(1, 1)]);
    orders.publish(2, &[instance(1, 2)]);
    let revision = orders.revision();
    assert_eq!(orders.withdraw(1), [], "hidden behind a newer one");
    assert_eq!((orders.list(), orders.revision()), (vec![instance(1, 2)], revision));
}

#[test]
fn a_client_touches_nothing_that_another_publishes() {
    let mut orders = Orders::new();
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(orders.withdraw(2), []);
    assert_eq!(orders.apply(Command::Forget { connection: ConnectionId(2) }), []);
    assert_eq!(orders.list(), [instance(1, 1)]);
}

#[test]
fn the_end_of_a_client_takes_off_all_its_instances() {
    let mut catalog = Catalog::new(START);
    for name in ["orders", "mail"] {
        let instances = vec![instance(1, 1), instance(2, 1)];
        catalog.apply(Command::Publish { client: client(1), service: service(name), instances }, START);
    }
    assert_eq!((catalog.services_len(), catalog.instances_len()), (2, 4));
    let events = catalog.apply(Command::Forget { connection: ConnectionId(1) }, START);
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.change == Change::Went(Reason::ConnectionLost)));
    assert_eq!((catalog.services_len(), catalog.instances_len()), (2, 0));
    catalog.clean(KEPT_FOR, START + KEPT_FOR);
    assert_eq!(catalog.services_len(), 0);
    assert_eq!(catalog.names(&Namespace::default(), &Group::default()), None);
}

#[test]
fn a_revision_is_the_moment_of_the_change_but_always_above_one_that_was_read() {
    let mut orders = Orders::new();
    assert_eq!(orders.revision(), 1_000, "of the empty list");
    orders.publish(1, &[instance(1, 1)]);
    orders.publish(1, &[instance(1, 2)]);
    assert_eq!(orders.revision(), 1_001, "nobody read the first");
    orders.publish(1, &[instance(1, 2)]);
    assert_eq!(orders.revision(), 1_001, "nothing changed");
    orders.withdraw(1);
    assert_eq!(orders.revision(), 1_002, "the empty list of a forgotten service");
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(orders.revision(), 1_003);
    let (client, later) = (client(1), UnixMillis::new(5_000));
    orders.0.apply(Command::SetHealth { client, service: service("orders"), healthy: false }, later);
    assert_eq!(orders.revision(), 5_000);
}

#[test]
fn health_is_that_of_the_publication_that_is_seen() {
    let mut orders = Orders::new();
    orders.publish(1, &[instance(1, 1)]);
    let sick = |id| Command::SetHealth { client: client(id), service: service("orders"), healthy: false };
    assert_eq!(orders.apply(sick(1)), [Change::Changed]);
    assert_eq!(orders.apply(sick(1)), []);
    assert!(!orders.list()[0].healthy);
    orders.publish(2, &[instance(1, 1)]);
    assert!(orders.list()[0].healthy);
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(orders.apply(sick(2)), [], "the first client is the newest again");
    assert_eq!(orders.apply(sick(3)), [], "publishes nothing");
}

#[test]
fn the_reason_is_told_of_everyone_who_goes_also_of_the_last() {
    let mut orders = Orders::new();
    orders.publish(1, &[instance(1, 1), instance(2, 1)]);
    orders.publish(2, &[instance(3, 1)]);
    assert_eq!(orders.removed(), []);
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(orders.removed(), [(2, Reason::Deregistered)]);
    orders.publish(1, &[Instance { enabled: false, ..instance(1, 1) }]);
    assert_eq!(orders.removed(), [(1, Reason::Disabled), (2, Reason::Deregistered)]);
    orders.apply(Command::Forget { connection: ConnectionId(1) });
    assert_eq!(orders.removed()[0], (1, Reason::Disabled), "it was hidden before its connection ended");
    orders.apply(Command::Forget { connection: ConnectionId(2) });
    assert_eq!((orders.list(), orders.removed()[0]), (vec![], (3, Reason::ConnectionLost)));
    orders.publish(3, &[instance(2, 1), instance(1, 1)]);
    assert_eq!(orders.removed(), [(3, Reason::ConnectionLost)], "the others are back");
    let (client, reason) = (client(3), Reason::Expired);
    orders.apply(Command::Withdraw { client, service: service("orders"), reason });
    assert_eq!(orders.removed()[..2], [(2, Reason::Expired), (1, Reason::Expired)]);
}

#[test]
fn who_is_hidden_by_an_older_publication_is_disabled_and_not_gone() {
    let mut orders = Orders::new();
    orders.publish(1, &[Instance { enabled: false, ..instance(1, 1) }]);
    orders.publish(2, &[instance(1, 2)]);
    assert_eq!(orders.removed(), [], "nobody had seen it before");
    orders.apply(Command::Forget { connection: ConnectionId(2) });
    assert_eq!(orders.removed(), [(1, Reason::Disabled)]);
    orders.publish(2, &[instance(1, 2)]);
    orders.withdraw(1);
    assert_eq!(orders.removed(), []);
}

fn enabled(enabled: bool) -> Overrides {
    Overrides { enabled: Some(enabled), ..Overrides::default() }
}

#[test]
fn what_operators_set_lies_over_every_registration_and_outlives_them() {
    let mut orders = Orders::new();
    let (key, orders_key) = (instance(1, 1).key, service("orders"));
    let set = |overrides| Command::Override { service: service("orders"), key: key.clone(), overrides };
    orders.publish(1, &[instance(1, 1)]);
    let revision = orders.revision();
    assert_eq!(orders.apply(set(Some(enabled(false)))), [Change::Changed]);
    assert!(orders.revision() > revision);
    assert!(!orders.list()[0].enabled);
    assert_eq!(orders.removed(), [(1, Reason::Disabled)]);
    orders.publish(1, &[]);
    orders.0.clean(KEPT_FOR, START + KEPT_FOR);
    assert_eq!((orders.list(), orders.0.services_len()), (vec![], 0), "nobody finds what is only overridden");
    orders.publish(2, &[instance(1, 2)]);
    assert!(!orders.list()[0].enabled, "another registration, the same word of the operator");
    assert_eq!(orders.apply(set(None)), [Change::Changed]);
    assert_eq!((orders.list(), orders.removed()), (vec![instance(1, 2)], vec![]));
    orders.publish(2, &[]);
    orders.0.clean(KEPT_FOR, START + KEPT_FOR);
    assert!(orders.0.services.is_empty());
    assert_eq!(orders.0.kind(&orders_key), None);
}

#[test]
fn an_empty_service_is_found_and_has_its_kind_until_it_is_forgotten() {
    let (mut orders, key) = (Orders::new(), service("orders"));
    let after = |s| START + Duration::from_secs(s);
    orders.publish(1, &[instance(1, 1)]);
    orders.withdraw(1);
    orders.publish(1, &[instance(1, 1)]);
    let withdraw =
        Command::Withdraw { client: client(1), service: key.clone(), reason: Reason::Deregistered };
    orders.0.apply(withdraw, after(30));
    let revision = orders.revision();
    orders.0.clean(KEPT_FOR, after(89));
    assert_eq!(
        (orders.0.services_len(), orders.0.kind(&key)),
        (1, Some(Kind::Ephemeral)),
        "it was filled again"
    );
    orders.0.clean(KEPT_FOR, after(90));
    assert_eq!((orders.0.services_len(), orders.0.kind(&key)), (0, None));
    assert!(orders.0.services.is_empty() && orders.0.emptied.is_empty());
    assert!(orders.revision() >= revision, "nor falls its revision");
}

#[test]
fn empty_services_are_bounded_and_the_oldest_go_first() {
    let mut catalog = Catalog::new(START);
    for n in 0..=EMPTY_MAX {
        let of =
            |instances| Command::Publish { client: client(1), service: service(&format!("s{n}")), instances };
        catalog.apply(of(vec![instance(1, 1)]), START);
        catalog.apply(of(vec![]), START);
    }
    assert_eq!((catalog.services_len(), catalog.kind(&service("s0"))), (EMPTY_MAX, None));
    assert_eq!(catalog.kind(&service("s1")), Some(Kind::Ephemeral));
}

#[test]
fn a_service_that_was_created_is_found_without_instances_and_has_its_kind() {
    let mut orders = Orders::new();
    let metadata = Metadata::from_iter([("graceful.warmup", "60")]);
    let record = |lasting| ServiceRecord {
        lasting,
        metadata: metadata.clone(),
        ..ServiceRecord::new(Kind::Persistent)
    };
    let describe = |record: Option<ServiceRecord>| Command::Describe {
        service: service("orders"),
        record: record.map(Arc::new),
    };
    orders.apply(describe(Some(record(true))));
    assert_eq!((orders.0.services_len(), orders.0.kind(&service("orders"))), (1, Some(Kind::Persistent)));
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(orders.list()[0].metadata.get("graceful.warmup"), Some("60"));
    assert_eq!(orders.apply(describe(Some(record(false)))), [Change::Changed]);
    orders.withdraw(1);
    orders.0.clean(KEPT_FOR, START + KEPT_FOR);
    assert_eq!(orders.0.services_len(), 0);
    orders.apply(describe(None));
    assert!(orders.0.services.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Publish { client: u64, service: u8, instances: Vec<(u16, u8)> },
    Withdraw { client: u64, service: u8 },
    Health { client: u64, service: u8, healthy: bool },
    Forget { client: u64 },
    Read { service: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let (client, service) = (0u64..4, 0u8..2);
    let instances = prop::collection::vec((0u16..3, 0u8..2), 0..4);
    prop_oneof![
        4 => (client.clone(), service.clone(), instances)
            .prop_map(|(client, service, instances)| Step::Publish { client, service, instances }),
        1 => (client.clone(), service.clone()).prop_map(|(client, service)| Step::Withdraw { client, service }),
        2 => (client.clone(), service.clone(), any::<bool>())
            .prop_map(|(client, service, healthy)| Step::Health { client, service, healthy }),
        1 => client.prop_map(|client| Step::Forget { client }),
        3 => service.prop_map(|service| Step::Read { service }),
    ]
}

/// An instance that is disabled where it has no weight.
fn hidden_without_weight((port, weight): (u16, u8)) -> Instance {
    Instance { enabled: weight > 0, ..instance(port, weight) }
}

/// The same rules told the slow way: every publication with its age, searched through for each reader.
#[derive(Default)]
struct Model {
    /// Client, service, instance, and when it was said.
    said: Vec<(u64, u8, Instance, usize)>,
}

impl Model {
    fn publish(&mut self, client: u64, service: u8, instances: &[Instance], at: usize) {
        let wanted: BTreeMap<_, _> = instances.iter().map(|i| (i.key.clone(), i.clone())).collect();
        let old = std::mem::take(&mut self.said);
        let (own, others): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|&(c, s, ..)| (c, s) == (client, service));
        self.said = others;
        for instance in wanted.into_values() {
            let before = own.iter().find(|(_, _, said, _)| *said == instance).map(|&(.., at)| at);
            self.said.push((client, service, instance, before.unwrap_or(at)));
        }
    }

    fn list(&self, service: u8) -> Vec<Instance> {
        let mut shown: BTreeMap<InstanceKey, (usize, Instance)> = BTreeMap::new();
        for (_, s, instance, at) in &self.said {
            if *s == service && shown.get(&instance.key).is_none_or(|(newest, _)| newest < at) {
                shown.insert(instance.key.clone(), (*at, instance.clone()));
            }
        }
        shown.into_values().map(|(_, instance)| instance).collect()
    }
}

proptest! {
    #[test]
    fn a_catalog_shows_what_the_rules_say(steps in prop::collection::vec(step(), 1..60)) {
        let (mut catalog, mut model) = (Catalog::new(START), Model::default());
        let names = [service("orders"), service("mail")];
        let mut read: [Option<Arc<Snapshot>>; 2] = [None, None];
        for (at, step) in steps.into_iter().enumerate() {
            let before = [model.list(0), model.list(1)];
            let gone = if matches!(step, Step::Forget { .. }) {
                Reason::ConnectionLost
            } else {
                Reason::Deregistered
            };
            let events = match step {
                Step::Publish { client: id, service, instances } => {
                    let instances: Vec<_> = instances.into_iter().map(hidden_without_weight).collect();
                    model.publish(id, service, &instances, at);
                    let service = names[usize::from(service)].clone();
                    catalog.apply(Command::Publish { client: client(id), service, instances }, START)
                }
                Step::Withdraw { client: id, service } => {
                    model.publish(id, service, &[], at);
                    let service = names[usize::from(service)].clone();
                    let reason = Reason::Deregistered;
                    catalog.apply(Command::Withdraw { client: client(id), service, reason }, START)
                }
                Step::Health { client: id, service, healthy } => {
                    for (c, s, instance, _) in &mut model.said {
                        if (*c, *s) == (id, service) {
                            instance.healthy = healthy;
                        }
                    }
                    let service = names[usize::from(service)].clone();
                    catalog.apply(Command::SetHealth { client: client(id), service, healthy }, START)
                }
                Step::Forget { client: id } => {
                    model.said.retain(|(c, ..)| *c != id);
                    catalog.apply(Command::Forget { connection: ConnectionId(id) }, START)
                }
                Step::Read { service } => {
                    let at = usize::from(service);
                    let now = catalog.snapshot(&names[at]);
                    prop_assert_eq!(now.instances(), model.list(service));
                    let view = catalog.view(&names[at], START); // Whether or not it was kept.
                    prop_assert_eq!(view.snapshot.instances(), model.list(service));
                    prop_assert_eq!(&view.removed, &catalog.removed_from(&now, START));
                    if let Some(last) = read[at].replace(now.clone()) {
                        prop_assert!(last.instances() == now.instances() || last.revision() < now.revision());
                        prop_assert!(last.revision() <= now.revision());
                    }
                    Vec::new()
                }
            };
            // Whatever readers can see is told, service by service.
            for (service, name) in [0, 1].into_iter().zip(&names) {
                let told: HashSet<_> =
                    events.iter().filter(|e| e.service == *name).map(|e| e.instance.clone()).collect();
                let was = Snapshot::new(name.clone(), 0, before[usize::from(service)].clone());
                let is = Snapshot::new(name.clone(), 0, model.list(service));
                let diff = is.diff(&was);
                for differs in diff.added.iter().chain(&diff.changed).chain(&diff.removed) {
                    prop_assert!(told.contains(&differs.key), "{:?} not told", differs.key);
                }
                // So is the reason why somebody is not given to readers any more, and of nobody else.
                let removed = catalog.removed_from(&is, START);
                let given: Vec<_> =
                    is.instances().iter().filter(|i| i.enabled).map(Instance::address).collect();
                prop_assert!(removed.iter().all(|removal| !given.contains(&&removal.address)));
                for went in was.instances().iter().filter(|i| i.enabled) {
                    let now = is.get(&went.key);
                    if now.is_none_or(|now| !now.enabled) {
                        let reason = if now.is_some() { Reason::Disabled } else { gone };
                        prop_assert!(removed.contains(&Removal::new(went, reason)), "{went:?} {removed:?}");
                    }
                }
            }
            catalog.clean(Duration::ZERO, START);
            let listed = [0, 1].into_iter().filter(|service| !model.list(*service).is_empty()).count();
            prop_assert_eq!(catalog.services_len(), listed);
            prop_assert_eq!(catalog.instances_len(), model.list(0).len() + model.list(1).len());
        }
    }
}

#[test]
fn what_readers_are_given_is_kept_until_it_changes() {
    let (mut orders, of) = (Orders::new(), service("orders"));
    orders.publish(1, &[instance(1, 1)]);
    orders.publish(2, &[instance(2, 1)]);
    orders.withdraw(2);
    let view = orders.0.view(&of, START);
    assert!(Arc::ptr_eq(&view, &orders.0.view(&of, START)));
    assert_eq!(view.removed.len(), 1);

    let a_minute_later = START + std::time::Duration::from_secs(60);
    let later = orders.0.view(&of, a_minute_later);
    assert!(later.removed.is_empty(), "who has gone is told for a minute");
    assert_eq!(later.snapshot.revision(), view.snapshot.revision());

    let record = ServiceRecord { protect_threshold: 0.5, ..ServiceRecord::new(Kind::Ephemeral) };
    orders.0.apply(Command::Describe { service: of.clone(), record: Some(Arc::new(record)) }, START);
    assert_eq!(orders.0.view(&of, START).protect_threshold, Some(0.5));

    orders.publish(1, &[instance(1, 7)]);
    assert_eq!(orders.0.view(&of, START).snapshot.instances(), [instance(1, 7)]);
}

#[test]
fn memory_of_those_who_have_left_is_given_back() {
    let (mut catalog, of) = (Catalog::new(START), service("orders"));
    let publish = |id: u64, instances: Vec<Instance>| Command::Publish {
        client: client(id),
        service: of.clone(),
        instances,
    };
    for id in 0..1000 {
        catalog.apply(publish(id, vec![instance(u16::try_from(id).unwrap(), 1)]), START);
    }
    for id in 10..1000 {
        catalog.apply(publish(id, Vec::new()), START);
    }
    catalog.tidy(START);
    assert!(catalog.publications.capacity() < 100, "{}", catalog.publications.capacity());
    assert!(catalog.services.values().flat_map(|state| state.instances.values()).all(|c| c.capacity() == 1));
}

#[test]
fn what_is_said_of_those_who_are_gone_is_found_when_they_have_been_gone_for_long() {
    let (mut orders, of) = (Orders::new(), service("orders"));
    let leftovers =
        |orders: &Orders, at| -> Vec<Subject> { orders.0.leftovers(KEPT_FOR, START + at).cloned().collect() };
    let key = instance(1, 1).key;
    let set = |overrides| Command::Override { service: of.clone(), key: key.clone(), overrides };
    let record = Some(Arc::new(ServiceRecord::new(Kind::Ephemeral)));
    orders.publish(1, &[instance(1, 1)]);
    orders.apply(set(Some(enabled(false))));
    orders.apply(Command::Describe { service: of.clone(), record });
    assert_eq!(leftovers(&orders, KEPT_FOR), []);
    orders.withdraw(1);
    assert_eq!(leftovers(&orders, KEPT_FOR / 2), []);
    let gone = Subject::Instance(of.clone(), key.clone());
    assert_eq!(leftovers(&orders, KEPT_FOR), std::slice::from_ref(&gone));
    orders.0.clean(KEPT_FOR, START + KEPT_FOR);
    assert_eq!(leftovers(&orders, KEPT_FOR), std::slice::from_ref(&gone), "the service has gone only now");
    assert_eq!(leftovers(&orders, KEPT_FOR * 2), [gone, Subject::Service(of.clone())]);
    orders.publish(1, &[instance(1, 1)]);
    assert_eq!(leftovers(&orders, KEPT_FOR * 2), [], "they are back");
    orders.apply(set(None));
    orders.apply(Command::Describe { service: of.clone(), record: None });
    orders.withdraw(1);
    orders.0.clean(KEPT_FOR, START + KEPT_FOR);
    assert_eq!((leftovers(&orders, KEPT_FOR * 9), orders.0.services.len()), (vec![], 0), "nothing is said");
}

#[test]
fn one_address_is_kept_by_heartbeats_once_in_whatever_cluster() {
    let (mut catalog, of) = (Catalog::new(START), service("orders"));
    let in_cluster = |cluster: &str| {
        let mut instance = instance(1, 1);
        instance.key.cluster = cluster.parse().unwrap();
        instance
    };
    let beaten = Client::Heartbeats(instance(1, 1).key.address);
    let mut publish = |client: &Client, instances| {
        let (client, service) = (client.clone(), of.clone());
        catalog.apply(Command::Publish { client, service, instances }, START);
        let list = catalog.snapshot(&of);
        let clusters = list.instances().iter().map(|instance| instance.key.cluster.to_string());
        (catalog.publication(&beaten, &of).len(), clusters.collect::<Vec<_>>())
    };
    assert_eq!(publish(&client(1), vec![in_cluster("a")]), (0, vec!["a".to_owned()]));
    assert_eq!(publish(&beaten, vec![in_cluster("0")]), (1, vec!["0".to_owned(), "a".to_owned()]));
    assert_eq!(publish(&beaten, vec![in_cluster("")]), (1, vec!["DEFAULT".to_owned(), "a".to_owned()]));
    assert_eq!(publish(&beaten, vec![]), (0, vec!["a".to_owned()]));
    assert_eq!(catalog.published_len(), 1);
}
