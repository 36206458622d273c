use super::*;
use crate::consumer::{Balance, BalanceLayer};
use crate::model::{Instance, Snapshot};
use crate::naming::Publisher;
use http::{Method, StatusCode};

fn service(name: &str) -> ServiceKey {
    name.parse().unwrap()
}

fn list(revision: u64, instances: u32) -> Snapshot {
    let at = |index: u32| format!("10.0.{}.{}:8080", index / 250, index % 250 + 1).parse().unwrap();
    Snapshot::new(service("orders"), revision, (0..instances).map(|index| Instance::new(at(index))).collect())
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("graceful_")).count()
}

fn pick_often<S: Clone>(balance: &Balance<S>) {
    for _ in 0..5000 {
        balance.pick().unwrap();
    }
}

#[test]
fn a_thousand_instances_add_no_series() {
    let metrics = Metrics::alone();
    let (publisher, snapshots) = Publisher::new(service("orders"));
    publisher.publish(list(1, 1));
    let balance = BalanceLayer::new(snapshots).with_observer(metrics.clone()).over(|_| ());
    pick_often(&balance);
    let few = metrics.text().unwrap();
    publisher.publish(list(2, 1000));
    pick_often(&balance);
    let many = metrics.text().unwrap();
    assert_eq!(series(&many), series(&few));
    let label = r#"service="public##DEFAULT_GROUP@@orders",state="warm""#;
    assert!(many.contains(&format!("graceful_endpoints{{{label}}} 1000\n")), "{many}");
    assert!(many.contains(&format!("graceful_picks_total{{{label}}} 10000\n")), "{many}");
    assert!(!many.contains("10.0.0."), "an address is no label");
}

#[test]
fn services_beyond_the_bound_share_their_series() {
    let metrics = Metrics::alone();
    let pick = |name: String| {
        let observer = metrics.of(Role::Consumer, &service(&name)).unwrap();
        observer.picked(crate::observe::State::Warm);
    };
    (0..SERVICES_MAX).for_each(|index| pick(format!("service-{index}")));
    let full = series(&metrics.text().unwrap());
    (0..3).for_each(|index| pick(format!("made-up-{index}")));
    let text = metrics.text().unwrap();
    assert_eq!(series(&text), full / SERVICES_MAX * (SERVICES_MAX + 1));
    assert!(text.contains(r#"graceful_picks_total{service="(others)",state="warm"} 3"#));
    pick("service-7".to_owned());
    assert!(metrics.text().unwrap().contains(r#"service-7",state="warm"} 2"#), "who was there has its own");
}

#[test]
fn an_application_with_a_recorder_of_its_own_has_them_there_and_is_told_so() {
    let metrics = Metrics::new(Sink::Global(None));
    assert_eq!(metrics.text(), None);
    let answer = metrics.answer(&Method::GET);
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    assert!(answer.body().contains("recorder of its own"));
}

#[test]
fn metrics_are_read_and_nothing_else() {
    let metrics = Metrics::alone();
    let answer = metrics.answer(&Method::GET);
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(metrics.answer(&Method::POST).status(), StatusCode::METHOD_NOT_ALLOWED);
}
