use super::*;
use crate::model::Metadata;
use proptest::prelude::*;

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

/// An instance told apart by its port, with a version of its metadata.
fn instance(port: u16, version: u8) -> Instance {
    let address = crate::model::Address::new("10.0.0.7", port).unwrap();
    Instance::new(address).with_metadata(Metadata::new().with("v", version))
}

/// Drives [`Desired`] as a task would, for one service.
struct Driver {
    desired: Desired,
    settled: Settled,
    tickets: u64,
    now: Instant,
}

impl Driver {
    fn new() -> Self {
        let desired = Desired::new(Duration::from_secs(60));
        Self { desired, settled: Settled::new(), tickets: 0, now: Instant::now() }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn register(&mut self, instance: &Instance) -> Ticket {
        let ticket = self.ticket();
        self.desired.register(ticket, &orders(), instance).unwrap();
        ticket
    }

    fn deregister(&mut self, instance: &Instance) -> Ticket {
        let ticket = self.ticket();
        self.desired.deregister(ticket, &orders(), &instance.key, false, &mut self.settled);
        ticket
    }

    fn next(&mut self) -> Option<Change> {
        self.desired.next(self.now).map(|step| match step {
            Step::Publish(service, change) if service == orders() => change,
            step @ (Step::Publish(..) | Step::Follow(..)) => panic!("{step:?}"),
        })
    }

    fn answer(&mut self, answer: Answer<Told>) {
        self.desired.published(&orders(), answer, self.now, 1.0, &mut self.settled);
    }

    fn yes(&mut self) {
        self.answer(Answer::Yes(Told::default()));
    }

    fn no(&mut self) {
        self.answer(Answer::No(Error::Refused { code: 400, message: "no".into() }));
    }

    fn reconnect(&mut self) {
        self.desired.disconnected();
        self.desired.connected(&mut self.settled);
    }

    /// Registers and acknowledges.
    fn accepted(&mut self, instances: &[Instance]) {
        for instance in instances {
            self.register(instance);
            self.next().unwrap();
            self.yes();
        }
        self.settled.clear();
    }

    /// Outcomes since the last time: whether each ticket's call succeeded.
    fn outcomes(&mut self) -> Vec<(Ticket, bool)> {
        self.settled.drain(..).map(|(ticket, outcome)| (ticket, outcome.is_ok())).collect()
    }
}

fn register(instances: &[Instance]) -> Change {
    Change::Register(instances.to_vec())
}

fn deregister(last: &Instance) -> Change {
    Change::Deregister(last.clone())
}

#[test]
fn a_registration_is_sent_once_and_settled_by_its_answer() {
    let mut driver = Driver::new();
    let a = instance(1, 1);
    let ticket = driver.register(&a);
    assert_eq!(driver.next(), Some(register(std::slice::from_ref(&a))));
    assert_eq!(driver.next(), None, "one request of a service at a time");
    driver.yes();
    assert_eq!(driver.outcomes(), [(ticket, true)]);
    assert_eq!(driver.next(), None);
}

#[test]
fn every_request_carries_all_accepted_instances_and_one_that_is_new() {
    let mut driver = Driver::new();
    let (a, b, c) = (instance(1, 1), instance(2, 1), instance(3, 1));
    driver.accepted(std::slice::from_ref(&a));
    let (to_b, to_c) = (driver.register(&b), driver.register(&c));
    assert_eq!(driver.next(), Some(register(&[a.clone(), b])));
    driver.no();
    assert_eq!(driver.outcomes(), [(to_b, false)], "the refusal is of this one alone");
    assert_eq!(driver.next(), Some(register(&[a.clone(), c.clone()])));
    driver.yes();
    assert_eq!(driver.outcomes(), [(to_c, true)]);
    driver.deregister(&a);
    assert_eq!(driver.next(), Some(register(std::slice::from_ref(&c))));
    driver.yes();
    driver.deregister(&c);
    assert_eq!(driver.next(), Some(deregister(&c)));
    driver.yes();
    assert_eq!((driver.next(), driver.desired.held()), (None, 0));
    assert!(driver.desired.publications.is_empty(), "nothing is remembered");
}

#[test]
fn a_new_connection_gets_each_instance_as_it_was_last_accepted() {
    let mut driver = Driver::new();
    let (a, b) = (instance(1, 1), instance(2, 1));
    driver.accepted(&[a.clone(), b.clone(), instance(1, 2)]);
    let refused = driver.register(&instance(1, 3));
    driver.next().unwrap();
    driver.no();
    assert_eq!(driver.outcomes(), [(refused, false)]);
    driver.reconnect();
    assert_eq!(driver.next(), Some(register(&[instance(1, 2), b])));
}

#[test]
fn after_a_reconnect_what_was_accepted_comes_before_what_may_be_refused() {
    let mut driver = Driver::new();
    let (a, b) = (instance(1, 1), instance(2, 1));
    driver.accepted(std::slice::from_ref(&a));
    let ticket = driver.register(&b);
    driver.next().unwrap();
    driver.reconnect();
    assert_eq!(driver.next(), Some(register(std::slice::from_ref(&a))));
    driver.yes();
    assert_eq!(driver.outcomes(), []);
    assert_eq!(driver.next(), Some(register(&[a, b])));
    driver.yes();
    assert_eq!(driver.outcomes(), [(ticket, true)]);
}

#[test]
fn what_was_deregistered_is_not_done_again() {
    let mut driver = Driver::new();
    let a = instance(1, 1);
    driver.accepted(std::slice::from_ref(&a));
    driver.desired.disconnected();
    let ticket = driver.deregister(&a);
    assert_eq!(driver.outcomes(), [], "nobody has said that it is off");
    driver.desired.connected(&mut driver.settled);
    assert_eq!(driver.outcomes(), [(ticket, true)]);
    assert_eq!(driver.next(), None);
    assert!(driver.desired.publications.is_empty());
}

#[test]
fn a_deregistration_follows_a_registration_that_is_on_its_way() {
    let mut driver = Driver::new();
    let a = instance(1, 1);
    let registration = driver.register(&a);
    driver.next().unwrap();
    let deregistration = driver.deregister(&a);
    assert_eq!(driver.outcomes(), [(registration, false)]);
    driver.yes();
    assert_eq!(driver.outcomes(), [], "the registry holds it now");
    assert_eq!(driver.next(), Some(deregister(&a)));
    driver.yes();
    assert_eq!(driver.outcomes(), [(deregistration, true)]);
}

#[test]
fn deregistering_what_is_not_registered_succeeds_at_once() {
    let mut driver = Driver::new();
    let a = instance(1, 1);
    let first = driver.deregister(&a);
    let asked = driver.register(&a);
    let second = driver.deregister(&a);
    assert_eq!(driver.outcomes(), [(first, true), (asked, false), (second, true)]);
    assert_eq!(driver.next(), None);
}

#[test]
fn an_instance_that_nobody_waits_for_is_not_registered() {
    let mut driver = Driver::new();
    let (a, b) = (instance(1, 1), instance(2, 1));
    let (to_a, to_b) = (driver.register(&a), driver.register(&b));
    driver.next().unwrap();
    for ticket in [to_a, to_b] {
        driver.desired.give_up(ticket, &orders());
    }
    driver.yes();
    assert_eq!(driver.next(), Some(deregister(&a)));
    driver.yes();
    assert_eq!(driver.next(), None);
}

#[test]
fn a_change_that_nobody_waits_for_is_taken_back() {
    let mut driver = Driver::new();
    driver.accepted(&[instance(1, 1)]);
    let ticket = driver.register(&instance(1, 2));
    driver.next().unwrap();
    driver.desired.give_up(ticket, &orders());
    driver.yes();
    assert_eq!(driver.next(), Some(register(&[instance(1, 1)])));
}

#[test]
fn a_busy_registry_is_asked_again_after_pauses_that_grow() {
    let mut driver = Driver::new();
    let ticket = driver.register(&instance(1, 1));
    for pause in [100, 200, 400].map(Duration::from_millis) {
        assert_eq!(driver.next(), Some(register(&[instance(1, 1)])));
        driver.answer(Answer::Later);
        assert_eq!(driver.next(), None);
        assert_eq!(driver.desired.due(driver.now), Some(driver.now + pause));
        driver.now += pause;
    }
    driver.next().unwrap();
    driver.yes();
    assert_eq!((driver.outcomes(), driver.desired.due(driver.now)), (vec![(ticket, true)], None));
}

#[test]
fn a_refused_repetition_is_tried_again_after_a_pause() {
    let mut driver = Driver::new();
    let a = instance(1, 1);
    driver.accepted(std::slice::from_ref(&a));
    driver.reconnect();
    driver.next().unwrap();
    driver.no();
    assert_eq!(driver.next(), None);
    driver.now = driver.desired.due(driver.now).unwrap();
    assert_eq!(driver.next(), Some(register(&[a])));
}

#[test]
fn a_deregistration_does_not_wait_for_a_pause() {
    let mut driver = Driver::new();
    let (a, b) = (instance(1, 1), instance(2, 1));
    driver.accepted(&[a.clone(), b.clone()]);
    driver.register(&instance(3, 1));
    driver.next().unwrap();
    driver.answer(Answer::Later);
    driver.deregister(&a);
    assert_eq!(driver.next(), Some(register(&[b])));
}

#[test]
fn closing_takes_everything_off_and_tells_who_waits() {
    let mut driver = Driver::new();
    let a = instance(1, 1);
    driver.accepted(std::slice::from_ref(&a));
    let ticket = driver.register(&instance(2, 1));
    driver.desired.clear(&mut driver.settled);
    assert_eq!(driver.outcomes(), [(ticket, false)]);
    assert_eq!(driver.desired.held(), 1);
    assert_eq!(driver.next(), Some(deregister(&a)));
    driver.yes();
    assert_eq!(driver.desired.held(), 0);
}

#[test]
fn one_client_registers_and_follows_a_bounded_number() {
    let mut driver = Driver::new();
    for port in 0..u16::try_from(INSTANCES_MAX).unwrap() {
        driver.register(&instance(port, 1));
    }
    let ticket = driver.ticket();
    assert!(driver.desired.register(ticket, &orders(), &instance(9_999, 1)).is_err());
    assert!(driver.desired.register(ticket, &orders(), &instance(0, 2)).is_ok(), "a change of what is there");
    let follow = |driver: &mut Driver, n: usize| {
        let (ticket, service) = (driver.ticket(), ServiceKey::new(&format!("s{n}")).unwrap());
        driver.desired.subscribe(ticket, &service, &mut Settled::new())
    };
    for n in 0..SERVICES_MAX {
        assert!(follow(&mut driver, n).unwrap());
    }
    assert!(follow(&mut driver, SERVICES_MAX).is_err());
    assert!(!follow(&mut driver, 0).unwrap(), "followed already");
}

fn list(revision: u64, ports: &[u16]) -> Snapshot {
    Snapshot::new(orders(), revision, ports.iter().map(|port| instance(*port, 1)).collect())
}

fn heard(revision: u64, ports: &[u16]) -> Listing {
    Listing { snapshot: list(revision, ports), removed: Vec::new() }
}

/// A driver that follows `orders`, with its first list.
fn following() -> Driver {
    let mut driver = Driver::new();
    let ticket = driver.ticket();
    assert!(driver.desired.subscribe(ticket, &orders(), &mut driver.settled).unwrap());
    assert_eq!(driver.desired.next(driver.now), Some(Step::Follow(orders(), Ask::Subscribe)));
    assert_eq!(followed(&mut driver, Answer::Yes(heard(7, &[1]))), Some(list(7, &[1])));
    assert_eq!(driver.outcomes(), [(ticket, true)]);
    driver
}

fn followed(driver: &mut Driver, answer: Answer<Listing>) -> Option<Snapshot> {
    let published = driver.desired.followed(&orders(), answer, driver.now, 1.0, &mut driver.settled);
    published.map(|list| (*list).clone())
}

fn ask(driver: &mut Driver) -> Option<Ask> {
    driver.desired.next(driver.now).map(|step| match step {
        Step::Follow(service, ask) if service == orders() => ask,
        step @ (Step::Publish(..) | Step::Follow(..)) => panic!("{step:?}"),
    })
}

#[test]
fn wishes_for_the_list_make_one_query_and_later_ones_another() {
    let mut driver = following();
    driver.desired.refresh(&orders());
    driver.desired.refresh(&orders());
    assert_eq!(ask(&mut driver), Some(Ask::Query));
    assert_eq!(ask(&mut driver), None);
    driver.desired.refresh(&orders());
    driver.desired.refresh(&orders());
    assert_eq!(ask(&mut driver), None);
    assert_eq!(followed(&mut driver, Answer::Yes(heard(8, &[1, 2]))), Some(list(8, &[1, 2])));
    assert_eq!(ask(&mut driver), Some(Ask::Query));
    assert_eq!(followed(&mut driver, Answer::Yes(heard(8, &[1, 2]))), None, "nothing new");
    assert_eq!(ask(&mut driver), None);
}

#[test]
fn a_subscription_is_done_again_on_a_new_connection_also_when_it_is_refused_there() {
    let mut driver = following();
    driver.reconnect();
    assert_eq!(ask(&mut driver), Some(Ask::Subscribe));
    let refusal = Error::Refused { code: 500, message: "no".into() };
    assert_eq!(followed(&mut driver, Answer::No(refusal)), None);
    assert_eq!(ask(&mut driver), None);
    driver.now = driver.desired.due(driver.now).unwrap();
    assert_eq!(ask(&mut driver), Some(Ask::Subscribe));
    assert_eq!(followed(&mut driver, Answer::Yes(heard(1, &[1, 2]))), Some(list(1, &[1, 2])));
}

#[test]
fn a_first_subscription_that_is_refused_is_forgotten() {
    let mut driver = Driver::new();
    let ticket = driver.ticket();
    driver.desired.subscribe(ticket, &orders(), &mut driver.settled).unwrap();
    ask(&mut driver).unwrap();
    followed(&mut driver, Answer::No(Error::Refused { code: 403, message: "no".into() }));
    assert_eq!(driver.outcomes(), [(ticket, false)]);
    assert!(driver.desired.follows.is_empty());
}

#[test]
fn a_service_that_nobody_follows_is_unsubscribed_and_may_be_followed_again() {
    let mut driver = following();
    driver.desired.abandon(&orders());
    assert_eq!(driver.desired.take_in(heard(8, &[2]), driver.now), None);
    assert_eq!(ask(&mut driver), Some(Ask::Unsubscribe));
    let again = driver.ticket();
    assert!(driver.desired.subscribe(again, &orders(), &mut driver.settled).unwrap());
    assert_eq!(ask(&mut driver), None, "not while the end is on its way");
    assert_eq!(followed(&mut driver, Answer::Yes(heard(8, &[2]))), None);
    assert_eq!(driver.outcomes(), []);
    assert_eq!(ask(&mut driver), Some(Ask::Subscribe));
    assert_eq!(followed(&mut driver, Answer::Yes(heard(8, &[2]))), Some(list(8, &[2])));
    assert_eq!(driver.outcomes(), [(again, true)]);
    driver.desired.abandon(&orders());
    driver.desired.disconnected();
    assert!(driver.desired.follows.is_empty());
}

#[test]
fn an_empty_list_after_our_own_deregistration_is_believed() {
    let mut driver = following();
    driver.deregister(&instance(1, 1));
    assert!(driver.desired.take_in(heard(8, &[]), driver.now).is_some());
}

/// What happens to a client, in any order.
#[derive(Clone, Debug)]
enum Event {
    Register(u16, u8),
    Deregister(u16),
    Send,
    Answer,
    /// The connection is lost, before or after the registry did what is on its way.
    Reconnect,
    Busy,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0u16..3, 0u8..3).prop_map(|(port, version)| Event::Register(port, version)),
        3 => (0u16..3).prop_map(Event::Deregister),
        4 => Just(Event::Send),
        4 => Just(Event::Answer),
        1 => Just(Event::Reconnect),
        1 => Just(Event::Busy),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_registry_ends_up_with_what_was_asked_for_last(
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut driver = Driver::new();
        let mut wanted = BTreeMap::new();
        let mut registry = Vec::new(); // What this connection has registered.
        let mut on_its_way: Option<Change> = None;
        let drain = std::iter::repeat_n([Event::Send, Event::Answer], 20).flatten();
        for event in events.into_iter().chain([Event::Reconnect]).chain(drain) {
            match event {
                Event::Register(port, version) => {
                    wanted.insert(port, instance(port, version));
                    driver.register(&instance(port, version));
                }
                Event::Deregister(port) => {
                    wanted.remove(&port);
                    driver.deregister(&instance(port, 0));
                }
                Event::Send => {
                    driver.now += Duration::from_secs(10);
                    let next = driver.next();
                    if let Some(Change::Register(instances)) = &next {
                        for sent in instances {
                            let port = sent.address().port();
                            prop_assert!(wanted.contains_key(&port), "{port} was deregistered");
                        }
                    }
                    on_its_way = next.or(on_its_way);
                }
                Event::Answer => if let Some(change) = on_its_way.take() {
                    registry = match change {
                        Change::Register(instances) => instances,
                        Change::Deregister(_) => Vec::new(),
                        Change::Leave { stay, .. } => stay,
                    };
                    driver.yes();
                },
                Event::Busy => if on_its_way.take().is_some() {
                    driver.answer(Answer::Later);
                },
                Event::Reconnect => {
                    registry.clear();
                    on_its_way = None;
                    driver.reconnect();
                }
            }
        }
        prop_assert_eq!(registry, wanted.into_values().collect::<Vec<_>>());
        let waiting = driver.tickets - driver.settled.len() as u64;
        prop_assert_eq!(waiting, 0, "every call has its outcome");
    }
}

#[test]
fn who_follows_again_before_the_registry_has_heard_of_the_end_is_answered() {
    let mut desired = Desired::new(Duration::from_secs(60));
    let (mut settled, now) = (Settled::new(), Instant::now());
    desired.subscribe(Ticket(1), &orders(), &mut settled).unwrap();
    assert_eq!(desired.next(now), Some(Step::Follow(orders(), Ask::Subscribe)));
    desired.followed(&orders(), Answer::Yes(heard(1, &[1])), now, 1.0, &mut settled);
    desired.abandon(&orders());
    assert!(desired.subscribe(Ticket(2), &orders(), &mut settled).unwrap());
    assert_eq!(desired.next(now), Some(Step::Follow(orders(), Ask::Subscribe)));
}
