//! How much memory instances take, and give back.

use super::*;
use crate::model::Metadata;
use allocation_counter::measure;

const SERVICES: usize = 60;
const INSTANCES: usize = 10_000;

fn service(n: usize) -> ServiceKey {
    format!("service-{:04}", n % SERVICES).parse().unwrap()
}

fn sender() -> Sender {
    Sender::new([10, 0, 0, 1].into(), "Nacos-Java-Client:v1.4.2")
}

fn address(n: usize) -> Address {
    Address::new(&format!("10.0.{}.{}", n / 250, n % 250), 8080).unwrap()
}

fn register(hub: &Hub, n: usize) {
    let metadata = Metadata::from_iter([("version", "1.0.0"), ("zone", "zone-a")]);
    hub.publish_beaten(service(n), Instance::new(address(n)).with_metadata(metadata), sender()).unwrap();
}

#[test]
fn an_instance_takes_half_a_kilobyte_and_gives_it_back_when_it_has_left() {
    let (clock, hand) = Clock::manual(UnixMillis::new(1_000));
    let hub = Hub::new(clock, Limits { metadata_chars_max: 100, instances_max: INSTANCES });
    let came = measure(|| (0..INSTANCES).for_each(|n| register(&hub, n)));
    let left = measure(|| {
        (0..INSTANCES).for_each(|n| hub.withdraw_beaten(service(n), address(n), sender()).unwrap());
        for _ in 0..2 {
            hand.advance(Duration::from_secs(60));
            let mut state = hub.state();
            state.catalog.clean(Duration::from_secs(60), hub.now());
            state.tidy(hub.now());
        }
    });
    let kept = came.bytes_current + left.bytes_current;
    let each = (came.bytes_current - kept) / i64::try_from(INSTANCES).unwrap();
    assert!(each < 600, "{each} bytes for each of them");
    // What has happened is kept: two events of each.
    assert!(kept < 6_000_000, "{kept} bytes are kept when they have left");
}
