use super::*;
use crate::Clock;
use crate::model::{Address, Instance, InstanceKey, ServiceKey, UnixMillis};
use crate::naming::BoxFuture;
use crate::registry::command::{Client, Limits};
use crate::registry::write::Set;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::sleep;

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn instance(port: u16) -> Instance {
    Instance { ephemeral: false, ..Instance::new(Address::new("10.0.0.7", port).unwrap()) }
}

fn register(instance: Instance) -> Write {
    Write::Register { service: orders(), instance }
}

/// A storage whose every append the test lets through, or lets fail.
#[derive(Debug)]
struct Gate {
    groups: Mutex<Vec<Vec<Fact>>>,
    open: Semaphore,
    fails: AtomicBool,
}

impl Gate {
    fn shut() -> Self {
        Self { groups: Mutex::default(), open: Semaphore::new(0), fails: AtomicBool::new(false) }
    }

    fn open() -> Self {
        Self { open: Semaphore::new(Semaphore::MAX_PERMITS), ..Self::shut() }
    }

    /// How many facts each group had that was stored.
    fn groups(&self) -> Vec<usize> {
        self.groups.lock().unwrap().iter().map(Vec::len).collect()
    }
}

impl Storage for Gate {
    fn append<'a>(&'a self, group: &'a [Fact]) -> BoxFuture<'a, Result<(), StorageError>> {
        Box::pin(async move {
            self.open.acquire().await.unwrap().forget();
            if self.fails.load(Ordering::Relaxed) {
                return Err(StorageError::Directory(std::io::Error::other("no room")));
            }
            self.groups.lock().unwrap().push(group.to_vec());
            Ok(())
        })
    }

    fn replay(&self) -> Result<Vec<Fact>, StorageError> {
        Ok(self.groups.lock().unwrap().concat())
    }
}

fn hub() -> Hub {
    hub_with_room_for(1000)
}

fn hub_with_room_for(instances_max: usize) -> Hub {
    let limits = Limits { metadata_chars_max: 100, instances_max };
    Hub::new(Clock::manual(UnixMillis::new(1_000)).0, limits)
}

fn ports(hub: &Hub) -> Vec<u16> {
    hub.snapshot(&orders()).instances().iter().map(|instance| instance.address().port()).collect()
}

async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Runs `story` beside a clerk.
async fn with_clerk<T>(hub: &Hub, gate: &Gate, story: impl Future<Output = T>) -> T {
    tokio::select! {
        () = keep(hub, gate, std::future::pending()) => unreachable!(),
        told = story => told,
    }
}

#[tokio::test]
async fn a_change_is_seen_and_answered_only_when_it_is_stored() {
    let (hub, gate) = (hub(), Gate::shut());
    with_clerk(&hub, &gate, async {
        let mut asked = pin!(hub.write(register(instance(1))));
        tokio::select! { biased; _ = &mut asked => panic!("not stored yet"), () = settled() => {} }
        assert_eq!(ports(&hub), [] as [u16; 0]);
        gate.open.add_permits(1);
        asked.await.unwrap();
        assert_eq!(ports(&hub), [1]);
    })
    .await;
}

#[tokio::test]
async fn those_who_wait_while_a_group_is_stored_share_the_next() {
    let (hub, gate) = (hub(), Gate::shut());
    with_clerk(&hub, &gate, async {
        let first = hub.write(register(instance(0)));
        let others = async {
            settled().await;
            let writes: Vec<_> = (1..=50).map(|port| hub.write(register(instance(port)))).collect();
            let all = futures_util::future::join_all(writes);
            let opened = async {
                settled().await;
                gate.open.add_permits(2);
            };
            tokio::join!(all, opened).0
        };
        let (first, others) = tokio::join!(first, others);
        assert!(first.is_ok() && others.iter().all(Result::is_ok));
    })
    .await;
    assert_eq!(gate.groups(), [1, 50]);
}

#[tokio::test]
async fn what_could_not_be_stored_is_refused_never_seen_and_written_over_later() {
    let (hub, gate) = (hub(), Gate::open());
    with_clerk(&hub, &gate, async {
        hub.write(register(instance(1))).await.unwrap();
        gate.fails.store(true, Ordering::Relaxed);
        let heavy = Instance { weight: crate::model::Weight::NONE, ..instance(1) };
        let (changed, new) = tokio::join!(hub.write(register(heavy)), hub.write(register(instance(2))));
        for refused in [changed, new] {
            assert!(matches!(refused, Err(Refusal::Storage(_))), "{refused:?}");
        }
        assert_eq!(hub.snapshot(&orders()).instances(), [instance(1)]);
        assert!(hub.write(register(instance(3))).await.is_err(), "what is owed cannot be written either");
        gate.fails.store(false, Ordering::Relaxed);
        hub.write(register(instance(4))).await.unwrap();
        assert_eq!(ports(&hub), [1, 4]);
    })
    .await;
    // The failed group may be on the disk: the facts that it was to replace are written after it.
    assert_eq!(gate.groups(), [1, 2, 1]);
    let fact = |instance: Instance, there: bool| {
        let (service, key) = (orders(), instance.key.clone());
        Fact::Instance { service, key, instance: there.then_some(instance) }
    };
    assert_eq!(gate.groups.lock().unwrap()[1], [fact(instance(2), false), fact(instance(1), true)]);
}

#[tokio::test]
async fn a_restart_finds_what_readers_had_seen() {
    let (before, gate) = (hub(), Gate::open());
    with_clerk(&before, &gate, async {
        for port in 1..=3 {
            before.write(register(instance(port))).await.unwrap();
        }
        let key = instance(2).key;
        before.write(Write::Deregister { service: orders(), key }).await.unwrap();
    })
    .await;
    let after = hub();
    after.restore(gate.replay().unwrap());
    assert_eq!(after.snapshot(&orders()).instances(), before.snapshot(&orders()).instances());
    assert_eq!(ports(&after), [1, 3]);
}

#[tokio::test]
async fn a_service_has_instances_of_one_kind_also_while_the_first_is_being_stored() {
    let (hub, gate) = (hub(), Gate::shut());
    let ephemeral = || {
        let client = Client::Heartbeats(instance(2).key.address);
        let instance = Instance { ephemeral: true, ..instance(2) };
        hub.publish(client, orders(), vec![instance])
    };
    with_clerk(&hub, &gate, async {
        let mut asked = pin!(hub.write(register(instance(1))));
        tokio::select! { biased; _ = &mut asked => panic!("not stored yet"), () = settled() => {} }
        let said = ephemeral().unwrap_err().to_string();
        let words =
            "Current service DEFAULT_GROUP@@orders is persistent service, can't register ephemeral instance.";
        assert_eq!(said, words);
        gate.fails.store(true, Ordering::Relaxed);
        gate.open.add_permits(100);
        assert!(asked.await.is_err());
        ephemeral().unwrap();
        gate.fails.store(false, Ordering::Relaxed);
        let said = hub.write(register(instance(1))).await.unwrap_err().to_string();
        assert!(said.ends_with("is ephemeral service, can't register persistent instance."), "{said}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_operators_set_is_kept_a_while_after_the_instance_is_gone_and_no_longer() {
    let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
    let limits = Limits { metadata_chars_max: 100, instances_max: 1000 };
    let (hub, restarted) = (Hub::new(clock, limits), hub());
    let (gate, kept_for) = (Gate::open(), Duration::from_secs(60));
    let disabled = |hub: &Hub| hub.snapshot(&orders()).instances().iter().all(|instance| !instance.enabled);
    let pass = async |seconds| {
        for _ in 0..seconds {
            hand.advance(Duration::from_secs(1));
            sleep(Duration::from_secs(1)).await;
        }
    };
    let deregister = || hub.write(Write::Deregister { service: orders(), key: instance(1).key });
    let story = async {
        hub.write(register(instance(1))).await.unwrap();
        let set = Set::Given { enabled: Some(false), weight: None, metadata: None };
        hub.write(Write::Override { service: orders(), keys: vec![instance(1).key], set }).await.unwrap();
        assert!(disabled(&hub));
        deregister().await.unwrap();
        pass(58).await;
        hub.write(register(instance(1))).await.unwrap();
        assert!(disabled(&hub), "it came back in time");
        pass(200).await;
        assert!(disabled(&hub), "nothing is forgotten of those who are there");
        deregister().await.unwrap();
        pass(70).await;
        hub.write(register(instance(1))).await.unwrap();
        assert!(!disabled(&hub));
    };
    tokio::select! {
        () = hub.clean(kept_for, kept_for) => unreachable!(),
        () = with_clerk(&hub, &gate, story) => {}
    }
    restarted.restore(gate.replay().unwrap());
    assert!(!disabled(&restarted));
}

#[tokio::test]
async fn what_changes_nothing_is_not_stored() {
    let (hub, gate) = (hub(), Gate::open());
    with_clerk(&hub, &gate, async {
        hub.write(register(instance(1))).await.unwrap();
        hub.write(register(instance(1))).await.unwrap();
        let key: InstanceKey = instance(9).key;
        hub.write(Write::Deregister { service: orders(), key }).await.unwrap();
    })
    .await;
    assert_eq!(gate.groups(), [1]);
}

#[tokio::test]
async fn whoever_finds_no_place_is_told() {
    let (hub, gate) = (hub_with_room_for(1), Gate::shut());
    let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(hub.write(register(instance(1))))).collect();
    for write in &mut waiting {
        assert!(futures_util::poll!(write).is_pending());
    }
    assert!(matches!(hub.write(register(instance(1))).await, Err(Refusal::Busy { .. })));
    gate.open.add_permits(2);
    with_clerk(&hub, &gate, async {
        assert!(waiting.pop().unwrap().await.is_ok());
        assert!(matches!(hub.write(register(instance(2))).await, Err(Refusal::Full { max: 1 })));
    })
    .await;
}

#[tokio::test]
async fn who_waits_at_the_end_is_stored_and_who_comes_later_is_refused() {
    let (hub, gate) = (hub(), Gate::shut());
    let first = hub.write(register(instance(1)));
    let second = async {
        settled().await; // So that the first is being stored, and this one waits for the next group.
        hub.write(register(instance(2))).await
    };
    let closing = Semaphore::new(0);
    let end = async {
        settled().await;
        settled().await;
        hub.freeze();
        closing.add_permits(1);
        gate.open.add_permits(2);
        hub.write(register(instance(3))).await
    };
    let clerk = keep(&hub, &gate, async { drop(closing.acquire().await) });
    let (first, second, late, ()) = tokio::join!(first, second, end, clerk);
    assert!(first.is_ok() && second.is_ok() && matches!(late, Err(Refusal::Closing)));
    assert_eq!((ports(&hub), gate.groups()), (vec![1, 2], vec![1, 1]));
}
