//! Whatever happens in whatever order, to catalog, leases and pushes at once: readers see what the rules say,
//! told the slow way, and a subscriber ends up with the same.

use super::*;
use crate::model::Lease;
use crate::registry::fact::{Fact, Overrides};
use crate::registry::peer::Peer;
use crate::registry::push::Subscriber;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::runtime;

/// What every step takes: enough for whoever is woken by it, and never a whole second in one story.
const STEP: Duration = Duration::from_millis(10);
const STEPS_MAX: usize = 60;

#[derive(Clone, Debug)]
enum Step {
    /// A connection publishes these ports, and nothing else.
    Publish(usize, Vec<u16>),
    /// A connection ends, and another one takes its place.
    Disconnect(usize),
    /// Over HTTP, with these times.
    Register(u16, Times),
    Deregister(u16),
    Beat(u16),
    Pass(u64),
    /// An operator's word on an instance.
    Override(u16, Option<(bool, Times)>),
    /// A word on the service.
    Describe(Option<u8>),
    /// How the subscriber answers from here on.
    Answer(Option<bool>),
}

/// Times of a lease, as metadata.
#[derive(Clone, Copy, Debug)]
enum Times {
    Nacos,
    Quick,
    Impossible,
}

fn step() -> impl Strategy<Value = Step> {
    let port = 1u16..4;
    let times = || prop_oneof![Just(Times::Nacos), Just(Times::Quick)];
    let any_times = prop_oneof![Just(Times::Nacos), Just(Times::Quick), Just(Times::Impossible)];
    prop_oneof![
        3 => (0usize..2, prop::collection::vec(port.clone(), 0..3)).prop_map(|(id, ports)| Step::Publish(id, ports)),
        1 => (0usize..2).prop_map(Step::Disconnect),
        3 => (port.clone(), times()).prop_map(|(port, times)| Step::Register(port, times)),
        1 => port.clone().prop_map(Step::Deregister),
        3 => port.clone().prop_map(Step::Beat),
        4 => (0u64..20).prop_map(Step::Pass),
        2 => (port, prop::option::of((any::<bool>(), any_times))).prop_map(|(port, set)| Step::Override(port, set)),
        1 => prop::option::of(0u8..3).prop_map(Step::Describe),
        1 => prop::option::of(any::<bool>()).prop_map(Step::Answer),
    ]
}

impl Times {
    fn metadata(self) -> Metadata {
        let millis = match self {
            Self::Nacos => return Metadata::new(),
            Self::Quick => [1_000, 2_000, 4_000],
            Self::Impossible => [60_000, 1_000, 1_000],
        };
        let keys = ["heart.beat.interval", "heart.beat.timeout", "ip.delete.timeout"];
        keys.into_iter().zip(millis).map(|(key, ms)| (format!("preserved.{key}"), ms.to_string())).collect()
    }
}

fn at(port: u16) -> Instance {
    Instance::new(Address::new("10.0.0.7", port).unwrap())
}

/// Who publishes, in the model: a connection by its place, or heartbeats for a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Connection(usize),
    Heartbeats(u16),
}

/// The rules, told the slow way.
#[derive(Default)]
struct Model {
    /// Everything that is published, and when it was said.
    said: Vec<(By, Instance, usize)>,
    last_beats: BTreeMap<u16, Duration>,
    set: BTreeMap<u16, (bool, Times)>,
    of_all: Option<u8>,
    now: Duration,
    count: usize,
}

impl Model {
    fn publish(&mut self, by: By, instances: Vec<Instance>) {
        self.count += 1;
        let wanted: BTreeMap<_, _> = instances.into_iter().map(|one| (one.key.clone(), one)).collect();
        let before: Vec<_> = self.said.extract_if(.., |(of, ..)| *of == by).collect();
        for instance in wanted.into_values() {
            let old = before.iter().find(|(_, said, _)| *said == instance).map(|(.., when)| *when);
            self.said.push((by, instance, old.unwrap_or(self.count)));
        }
    }

    fn show(&self, registered: &Instance) -> Instance {
        let mut shown = registered.clone();
        if let Some(word) = self.of_all {
            shown.metadata = shown.metadata.with("graceful.warmup", word);
        }
        if let Some((enabled, times)) = self.set.get(&registered.address().port()) {
            shown.enabled = *enabled;
            shown.metadata = shown.metadata.iter().chain(times.metadata().iter()).collect();
        }
        shown
    }

    fn lease(&self, port: u16) -> Lease {
        let registered = self.said.iter().find(|(by, ..)| *by == By::Heartbeats(port)).unwrap();
        let shown = Lease::from_metadata(&self.show(&registered.1).metadata);
        shown.unwrap_or_else(|_| Lease::from_metadata(&registered.1.metadata).unwrap())
    }

    /// Nobody has had less than a second to be found out, so nobody's moment is missed.
    fn pass(&mut self, span: Duration) {
        self.now += span;
        for (port, last) in self.last_beats.clone() {
            let by = By::Heartbeats(port);
            match self.lease(port).liveness(self.now.checked_sub(last).unwrap()) {
                Liveness::Healthy => {}
                Liveness::Unhealthy => self.set_health(by, false),
                Liveness::Expired => {
                    self.last_beats.remove(&port);
                    self.publish(by, Vec::new());
                }
            }
        }
    }

    fn set_health(&mut self, by: By, healthy: bool) {
        for (_, instance, _) in self.said.iter_mut().filter(|(of, ..)| *of == by) {
            instance.healthy = healthy;
        }
    }

    fn list(&self) -> Vec<Instance> {
        let mut newest: BTreeMap<_, (usize, &Instance)> = BTreeMap::new();
        for (_, instance, when) in &self.said {
            if newest.get(&instance.key).is_none_or(|(other, _)| other < when) {
                newest.insert(&instance.key, (*when, instance));
            }
        }
        newest.into_values().map(|(_, instance)| self.show(instance)).collect()
    }
}

/// The hub under test, with two providers and one subscriber.
struct Stage {
    hub: Arc<Hub>,
    providers: [ConnectionId; 2],
    subscriber: Arc<Subscriber>,
    /// What the subscriber has acknowledged.
    known: (u64, Vec<Instance>),
    answer: Option<bool>,
}

impl Stage {
    fn new() -> Self {
        let hub = Arc::new(hub_with_room_for(1_000));
        let providers = [(); 2].map(|()| hub.connect(Peer::default()).0);
        let (id, subscriber) = hub.connect(Peer::default());
        let list = hub.subscribe(id, &orders(), Clusters::default()).unwrap().snapshot.clone();
        let known = (list.revision(), list.instances().to_vec());
        Self { hub, providers, subscriber, known, answer: Some(true) }
    }

    /// Does a step here and in the model; how long it takes besides.
    fn act(&mut self, model: &mut Model, step: Step) -> Duration {
        let hub = &self.hub;
        match step {
            Step::Publish(id, ports) => {
                let instances: Vec<_> = ports.into_iter().map(at).collect();
                hub.publish(Client::Connection(self.providers[id]), orders(), instances.clone()).unwrap();
                model.publish(By::Connection(id), instances);
            }
            Step::Disconnect(id) => {
                hub.disconnect(self.providers[id]);
                self.providers[id] = hub.connect(Peer::default()).0;
                model.publish(By::Connection(id), Vec::new());
            }
            Step::Register(port, times) => {
                let instance = at(port).with_metadata(times.metadata());
                let client = Client::Heartbeats(instance.address().clone());
                hub.publish(client, orders(), vec![instance.clone()]).unwrap();
                model.publish(By::Heartbeats(port), vec![instance]);
                model.last_beats.insert(port, model.now);
            }
            Step::Deregister(port) => {
                hub.withdraw(Client::Heartbeats(at(port).key.address), orders()).unwrap();
                model.publish(By::Heartbeats(port), Vec::new());
                model.last_beats.remove(&port);
            }
            Step::Beat(port) => {
                let interval = hub.beat(&orders(), at(port).address()).unwrap();
                let known = model.last_beats.get_mut(&port).map(|last| *last = model.now);
                assert_eq!(interval, known.map(|()| model.lease(port).interval()));
                model.set_health(By::Heartbeats(port), true);
            }
            Step::Pass(seconds) => return Duration::from_secs(seconds),
            Step::Override(port, set) => {
                let overrides = set.map(|(enabled, times)| Overrides {
                    enabled: Some(enabled),
                    weight: None,
                    metadata: times.metadata(),
                });
                hub.settle(vec![Fact::Overrides { service: orders(), key: at(port).key, overrides }]);
                match set {
                    Some(set) => _ = model.set.insert(port, set),
                    None => _ = model.set.remove(&port),
                }
            }
            Step::Describe(word) => {
                let record = word.map(|word| {
                    let metadata = Metadata::new().with("graceful.warmup", word);
                    Arc::new(ServiceRecord { metadata, ..ServiceRecord::new(Kind::Ephemeral) })
                });
                hub.settle(vec![Fact::Service { service: orders(), record }]);
                model.of_all = word;
            }
            Step::Answer(answer) => self.answer = answer,
        }
        Duration::ZERO
    }

    /// Sends what is due, as a connection's task does, and answers it as the subscriber would.
    fn push(&mut self, model: &Model) {
        let now = Instant::now();
        loop {
            let due = self.subscriber.pushes().due(now);
            let Some(service) = due else { return };
            let list = self.hub.view(&service).snapshot.clone();
            let (revision, hosts) = (list.revision(), list.instances().len());
            let Some((id, _)) = self.subscriber.pushes().send(&service, (revision, hosts), now) else {
                continue;
            };
            assert!(revision > self.known.0, "a client would drop it");
            assert_eq!(list.instances(), model.list());
            if let Some(success) = self.answer {
                self.subscriber.pushes().answer(id, success, now);
                if success {
                    self.known = (revision, list.instances().to_vec());
                }
            }
        }
    }

    /// The whole story, at the end of which the subscriber has time to hear of everything.
    async fn play(mut self, steps: Vec<Step>) {
        let mut model = Model::default();
        for step in steps {
            let told = format!("{step:?}");
            let span = self.act(&mut model, step) + STEP;
            sleep(span).await;
            model.pass(span);
            self.push(&model);
            assert_eq!(self.hub.snapshot(&orders()).instances(), model.list(), "after {told}");
        }
        self.answer = Some(true);
        for _ in 0..40 {
            sleep(Duration::from_secs(1)).await;
            model.pass(Duration::from_secs(1));
            self.push(&model);
        }
        assert_eq!(self.known.1, model.list(), "what the subscriber knows");
        assert_eq!(self.subscriber.pushes().next(), None);
        assert_eq!(self.hub.counts().leases, model.last_beats.len());
    }
}

proptest! {
    #[test]
    fn catalog_leases_and_pushes_together_do_what_the_rules_say(
        steps in prop::collection::vec(step(), 1..STEPS_MAX),
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let stage = Stage::new();
            let hub = stage.hub.clone();
            tokio::select! { () = hub.expire() => unreachable!(), () = stage.play(steps) => {} }
        });
    }
}
