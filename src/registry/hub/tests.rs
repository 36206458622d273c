mod memory;
mod model;

use super::*;
use crate::model::Metadata;
use crate::registry::fact::{Fact, Overrides};
use tokio::time::{advance, sleep};

fn hub() -> Hub {
    hub_with_room_for(1_000_000)
}

fn hub_with_room_for(instances_max: usize) -> Hub {
    let limits = Limits { metadata_chars_max: 100, instances_max };
    Hub::new(Clock::manual(UnixMillis::new(1_000)).0, limits)
}

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn instance() -> Instance {
    Instance::new("10.0.0.7:80".parse().unwrap())
}

fn beaten() -> Client {
    Client::Heartbeats(instance().key.address)
}

fn health(hub: &Hub) -> Vec<bool> {
    hub.snapshot(&orders()).instances().iter().map(|instance| instance.healthy).collect()
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_heartbeats_stop_is_unhealthy_and_then_gone() {
    let hub = hub();
    let life = async {
        hub.publish(beaten(), orders(), vec![instance()]).unwrap();
        sleep(Duration::from_millis(14_990)).await;
        assert_eq!(health(&hub), [true]);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(health(&hub), [false]);
        assert_eq!(hub.beat(&orders(), instance().address()).unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(health(&hub), [true]);
        sleep(Duration::from_millis(29_990)).await;
        assert_eq!(health(&hub), [false]);
        sleep(Duration::from_millis(20)).await;
        assert_eq!(health(&hub), [] as [bool; 0]);
        assert_eq!(hub.beat(&orders(), instance().address()).unwrap(), None);
    };
    tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_lease_that_comes_later_is_not_slept_over() {
    let hub = hub();
    let life = async {
        hub.publish(beaten(), orders(), vec![instance()]).unwrap();
        sleep(Duration::from_secs(1)).await;
        let keys = ["interval", "timeout"].map(|key| (format!("preserved.heart.beat.{key}"), "1000"));
        let quick = keys.into_iter().chain([("preserved.ip.delete.timeout".to_owned(), "2000")]);
        let quick = instance().with_metadata(quick.collect());
        hub.publish(beaten(), orders(), vec![quick]).unwrap();
        sleep(Duration::from_millis(2_010)).await;
        assert_eq!(health(&hub), [] as [bool; 0]);
    };
    tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
}

/// What the clerk makes of a stored word of an operator.
fn set(hub: &Hub, metadata: &[(&str, &str)]) {
    let metadata = metadata.iter().copied().collect();
    let overrides = Some(Overrides { metadata, ..Overrides::default() });
    hub.settle(vec![Fact::Overrides { service: orders(), key: instance().key, overrides }]);
}

#[tokio::test(start_paused = true)]
async fn an_operator_changes_the_times_of_a_lease_that_runs_and_of_the_next() {
    let hub = hub();
    let life = async {
        hub.publish(beaten(), orders(), vec![instance()]).unwrap();
        sleep(Duration::from_secs(1)).await;
        let times = ["heart.beat.interval", "heart.beat.timeout", "ip.delete.timeout"];
        let [interval, unhealthy, gone] = times.map(|time| format!("preserved.{time}"));
        set(&hub, &[(&interval, "2000"), (&unhealthy, "4000"), (&gone, "8000")]);
        assert_eq!(hub.beat(&orders(), instance().address()).unwrap(), Some(Duration::from_secs(2)));
        sleep(Duration::from_millis(4_010)).await;
        assert_eq!(health(&hub), [false]);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(health(&hub), [] as [bool; 0]);
        hub.publish(beaten(), orders(), vec![instance()]).unwrap();
        sleep(Duration::from_millis(4_010)).await;
        assert_eq!(health(&hub), [false], "also of who registers anew");
        set(&hub, &[(&interval, "60000")]);
        assert_eq!(
            hub.beat(&orders(), instance().address()).unwrap(),
            Some(Duration::from_secs(5)),
            "times that cannot work are as registered"
        );
    };
    tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
}

#[tokio::test(start_paused = true)]
async fn where_client_beats_are_switched_off_silence_ends_nobody() {
    let hub = hub();
    let life = async {
        hub.publish(beaten(), orders(), vec![instance()]).unwrap();
        let metadata = Metadata::from_iter([("enableClientBeat", "true")]);
        let record = ServiceRecord { metadata, ..ServiceRecord::new(Kind::Ephemeral) };
        let record = Some(Arc::new(record));
        hub.settle(vec![Fact::Service { service: orders(), record }]);
        sleep(Duration::from_secs(1_000)).await;
        assert_eq!(health(&hub), [true]);
        hub.settle(vec![Fact::Service { service: orders(), record: None }]);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(health(&hub), [] as [bool; 0]);
    };
    tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
}

#[tokio::test(start_paused = true)]
async fn a_mass_expiry_is_carried_out_in_portions_to_its_end() {
    let hub = hub();
    let life = async {
        for port in 0..1_000 {
            let address = Address::new("10.0.0.7", port).unwrap();
            let client = Client::Heartbeats(address.clone());
            hub.publish(client, orders(), vec![Instance::new(address)]).unwrap();
        }
        sleep(Duration::from_millis(30_010)).await;
        assert_eq!(hub.counts().instances, 0);
    };
    tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
}

#[tokio::test(start_paused = true)]
async fn a_change_after_the_answer_to_a_subscription_is_due_and_one_before_is_in_it() {
    let hub = hub();
    let (provider, _) = hub.connect(Peer::default());
    let (id, subscriber) = hub.connect(Peer::default());
    hub.publish(Client::Connection(provider), orders(), vec![instance()]).unwrap();
    let list = hub.subscribe(id, &orders(), Clusters::default()).unwrap();
    assert_eq!(list.snapshot.instances(), [instance()]);
    assert_eq!(subscriber.pushes().next(), None);
    hub.disconnect(provider);
    advance(Duration::from_secs(1)).await;
    assert_eq!(subscriber.pushes().due(Instant::now()), Some(orders()));
    assert!(hub.snapshot(&orders()).revision() > list.snapshot.revision());
}

#[tokio::test]
async fn a_request_under_way_when_its_connection_ends_changes_nothing() {
    let hub = hub();
    let (id, _) = hub.connect(Peer::default());
    hub.subscribe(id, &orders(), Clusters::default()).unwrap();
    hub.disconnect(id);
    let late = hub.publish(Client::Connection(id), orders(), vec![instance()]);
    assert!(matches!(late, Err(Refusal::Unregistered)));
    assert!(hub.subscribe(id, &orders(), Clusters::default()).is_err());
    let nothing = Counts { services: 0, instances: 0, connections: 0, leases: 0, subscriptions: 0 };
    assert_eq!(hub.counts(), nothing);
}

#[tokio::test]
async fn connections_that_end_with_the_registry_take_nothing_off() {
    let hub = hub();
    let (provider, _) = hub.connect(Peer::default());
    hub.publish(Client::Connection(provider), orders(), vec![instance()]).unwrap();
    hub.freeze();
    hub.disconnect(provider);
    assert_eq!(hub.counts().instances, 1);
    assert!(matches!(hub.withdraw(beaten(), orders()), Err(Refusal::Closing)));
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_whole() {
    let hub = hub();
    let publish = |instance| hub.publish(beaten(), orders(), vec![instance]).unwrap_err().to_string();
    assert!(publish(Instance { ephemeral: false, ..instance() }).contains("ephemeral=true"));
    let long = instance().with_metadata(Metadata::from_iter([("k", "v".repeat(100))]));
    assert!(publish(long).contains("101 characters are too long: accepted are up to 100"));
    let flapping = Metadata::from_iter([("preserved.heart.beat.timeout", "1")]);
    assert!(publish(instance().with_metadata(flapping)).contains("interval"));
    assert_eq!(hub.counts().instances, 0);
}

#[tokio::test]
async fn a_client_has_a_bounded_number_of_services() {
    let hub = hub();
    let service = |n: usize| format!("s{n}").parse::<ServiceKey>().unwrap();
    let (id, _) = hub.connect(Peer::default());
    let max = hub.allowance().services_per_client;
    for n in 0..max {
        hub.publish(Client::Connection(id), service(n), vec![instance()]).unwrap();
        hub.subscribe(id, &service(n), Clusters::default()).unwrap();
    }
    let publish = |n| hub.publish(Client::Connection(id), service(n), vec![instance()]);
    let subscribe = |n| hub.subscribe(id, &service(n), Clusters::default());
    assert!(publish(max).is_err());
    assert!(subscribe(max).is_err());
    assert!(publish(0).is_ok());
    assert!(subscribe(0).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_heartbeat_has_saved_is_not_slept_over() {
    let hub = hub();
    let life = async {
        let keys = ["interval", "timeout"].map(|key| (format!("preserved.heart.beat.{key}"), "1000"));
        let quick = instance().with_metadata(keys.into_iter().collect());
        hub.publish(beaten(), orders(), vec![quick]).unwrap();
        sleep(Duration::from_millis(1_010)).await;
        assert_eq!(health(&hub), [false]);
        hub.beat(&orders(), instance().address()).unwrap();
        assert_eq!(health(&hub), [true]);
        sleep(Duration::from_millis(1_010)).await;
        assert_eq!(health(&hub), [false]);
    };
    tokio::select! { () = hub.expire() => unreachable!(), () = life => {} }
}

#[tokio::test]
async fn the_bound_on_all_instances_counts_what_is_held() {
    let hub = hub_with_room_for(100);
    let publish = |client: &Client, ports: std::ops::Range<u16>| {
        let at = |port| Instance::new(Address::new("10.0.0.8", port).unwrap());
        hub.publish(client.clone(), orders(), ports.map(at).collect())
    };
    let clients: Vec<Client> = (0..3).map(|_| Client::Connection(hub.connect(Peer::default()).0)).collect();
    publish(&clients[0], 0..1).unwrap();
    assert!(publish(&clients[0], 0..101).is_err(), "in place of the one before");
    publish(&clients[0], 0..50).unwrap();
    publish(&clients[1], 0..50).unwrap(); // The same instances: held twice.
    assert!(publish(&clients[2], 0..1).is_err());
    publish(&clients[1], 0..49).unwrap();
    publish(&clients[2], 0..1).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_silent_instance_names_who_was_heard_last() {
    let hub = hub();
    let sender = Sender::new("10.0.0.9".parse().unwrap(), "curl/8");
    hub.publish_beaten(orders(), instance(), sender).unwrap();
    let silence = sleep(Duration::from_secs(31));
    tokio::select! { () = hub.expire() => unreachable!(), () = silence => {} }
    let events = serde_json::to_value(hub.event_lines(&orders(), |_| true, 0, 100)).unwrap();
    assert_eq!((&events[0]["event"], &events[0]["reason"]), (&"went".into(), &"expired".into()));
    for n in 0..3 {
        let by = serde_json::json!({"kind": "http", "ip": "10.0.0.9", "agent": "curl/8"});
        assert_eq!(events[n]["by"], by, "{}", events[n]);
    }
}
