use super::*;
use crate::observe::State;
use http::{Method, StatusCode};

fn service(name: &str) -> ServiceKey {
    name.parse().unwrap()
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("graceful_")).count()
}

#[test]
fn services_beyond_the_bound_share_their_series() {
    let metrics = Metrics::alone();
    let pick = |name: String| {
        let observer = metrics.of(Role::Consumer, &service(&name)).unwrap();
        observer.picked(State::Warm);
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
