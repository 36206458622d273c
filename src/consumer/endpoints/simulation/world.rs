//! A fleet under load in virtual time: requests arrive at random, the real [`Endpoints`] choose, and modelled
//! servers take their time.

use crate::consumer::endpoints::{Choice, Endpoints, Guard, Rules};
use crate::model::{Address, Instance, Metadata, Snapshot, UnixMillis, WarmUp, key};
use crate::naming::{Publisher, Snapshots};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;
use tokio::time::{Instant, advance};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Servers by their ports, the consumers that call them, and what became of each request.
pub(super) struct World {
    start: Instant,
    publisher: Publisher,
    snapshots: Snapshots,
    revision: u64,
    listed: BTreeMap<u16, Instance>,
    servers: BTreeMap<u16, Server>,
    consumers: Vec<Endpoints<u16>>,
    chance: fastrand::Rng,
    under_way: BinaryHeap<UnderWay>,
    pub(super) served: Vec<Served>,
}

/// One request, from its arrival to the end of its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) at: Duration,
    pub(super) port: u16,
    pub(super) latency: Duration,
}

/// Handles so many requests at once, in the order in which they came.
pub(super) struct Server {
    /// When each of its workers is free.
    free: BinaryHeap<Reverse<Duration>>,
    /// How long one request takes at a moment, on average.
    mean: Box<dyn Fn(Duration) -> Duration>,
    spread: Spread,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    /// Each request takes the mean.
    None,
    /// Exponential around the mean.
    Exponential,
}

struct UnderWay {
    until: Duration,
    guard: Guard,
}

impl World {
    /// Nobody is there yet. Every number drawn here or by the consumers follows from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        fastrand::seed(seed);
        let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
        Self {
            start: Instant::now(),
            publisher,
            snapshots,
            revision: 0,
            listed: BTreeMap::new(),
            servers: BTreeMap::new(),
            consumers: Vec::new(),
            chance: fastrand::Rng::with_seed(!seed),
            under_way: BinaryHeap::new(),
            served: Vec::new(),
        }
    }

    /// Lets another consumer in; it knows what is listed now.
    pub(super) fn consume(&mut self, rules: &Rules) {
        let make = Box::new(|instance: &Instance| instance.address().port());
        self.consumers.push(Endpoints::new(self.snapshots.clone(), rules.clone(), make));
    }

    /// Adds a server; it is listed with the next [`World::publish`].
    pub(super) fn join(&mut self, port: u16, server: Server) {
        self.servers.insert(port, server);
        self.listed.insert(port, instance(port));
    }

    /// The same for one whose warm-up begins now.
    pub(super) fn join_cold(&mut self, port: u16, curve: WarmUp, server: Server) {
        self.join(port, server);
        let metadata: Metadata = curve.to_metadata().into_iter().collect();
        let begun = metadata.with(key::WARM_UP_START, 1);
        self.listed.insert(port, instance(port).with_metadata(begun));
    }

    /// The same for one of an epoch whose warm-up began at `begun` by its own clock.
    pub(super) fn join_begun(
        &mut self,
        port: u16,
        epoch: u64,
        begun: UnixMillis,
        curve: WarmUp,
        server: Server,
    ) {
        self.join(port, server);
        let metadata: Metadata = curve.to_metadata().into_iter().collect();
        let metadata = metadata.with(key::EPOCH, epoch).with(key::WARM_UP_START, begun);
        self.listed.insert(port, instance(port).with_metadata(metadata));
    }

    /// Lists an instance again as it was when it was removed.
    pub(super) fn list(&mut self, instance: Instance) {
        self.listed.insert(instance.address().port(), instance);
    }

    /// Lets a server say that it leaves, and over what time its weight falls.
    pub(super) fn fade(&mut self, port: u16, over: Duration) {
        let listed = self.listed.get_mut(&port).unwrap();
        listed.metadata = listed.metadata.with(key::LEAVING, format_args!("1;{}", over.as_secs()));
    }

    /// Takes a server off the list; it finishes what it has.
    pub(super) fn remove(&mut self, port: u16) -> Option<Instance> {
        self.listed.remove(&port)
    }

    /// Makes all changes known.
    pub(super) fn publish(&mut self) {
        self.revision += 1;
        let list = self.listed.values().cloned().collect();
        self.publisher.publish(Snapshot::new("orders".parse().unwrap(), self.revision, list));
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The first consumer.
    pub(super) fn consumer(&self) -> &Endpoints<u16> {
        &self.consumers[0]
    }

    /// Lets `rate` requests a second arrive until `end`, each at one of the consumers.
    pub(super) async fn run(&mut self, rate: f64, end: Duration) {
        let mut at = self.now();
        loop {
            at += Duration::from_secs_f64(-(1.0 - self.chance.f64()).ln() / rate);
            if at >= end {
                break;
            }
            self.proceed(at).await;
            self.request(at);
        }
        self.proceed(end).await;
    }

    /// Lets time pass.
    pub(super) async fn proceed(&mut self, to: Duration) {
        advance(to.saturating_sub(self.now())).await;
        while self.under_way.peek().is_some_and(|request| request.until <= to) {
            drop(self.under_way.pop().map(|request| request.guard));
        }
    }

    fn request(&mut self, at: Duration) {
        let consumer = &self.consumers[self.chance.usize(..self.consumers.len())];
        let Choice { guard, service: port, .. } = consumer.choose(None).unwrap();
        let until = self.servers.get_mut(&port).unwrap().serve(at, &mut self.chance);
        self.served.push(Served { at, port, latency: until.saturating_sub(at) });
        self.under_way.push(UnderWay { until, guard });
    }
}

fn instance(port: u16) -> Instance {
    Instance::new(Address::new("10.0.0.7", port).unwrap())
}

impl Server {
    /// Each request takes this long, however many there are.
    pub(super) fn constant(latency: Duration) -> Self {
        Self::new(1000, Spread::None, move |_| latency)
    }

    pub(super) fn new(workers: usize, spread: Spread, mean: impl Fn(Duration) -> Duration + 'static) -> Self {
        let free = [Reverse(Duration::ZERO)].repeat(workers).into();
        Self { free, mean: Box::new(mean), spread }
    }

    /// When a request that arrives at `at` is done.
    fn serve(&mut self, at: Duration, chance: &mut fastrand::Rng) -> Duration {
        let Reverse(free) = self.free.pop().unwrap();
        let begins = free.max(at);
        let drawn = match self.spread {
            Spread::None => 1.0,
            Spread::Exponential => -(1.0 - chance.f64()).ln(),
        };
        let done = begins + (self.mean)(begins).mul_f64(drawn);
        self.free.push(Reverse(done));
        done
    }
}

impl Ord for UnderWay {
    /// The earliest is the greatest: that is what a heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.until.cmp(&self.until)
    }
}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for UnderWay {}
