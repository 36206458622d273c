use super::*;
use crate::consumer::Balance;
use crate::model::{Instance, Metadata, Snapshot, UnixMillis, key};
use crate::naming::header::{OfflineTag, REFUSED};
use crate::naming::{Publisher, Snapshots};
use http::{HeaderMap, Request, StatusCode};
use std::convert::Infallible;
use tower::ServiceExt;
use tower::service_fn;

const TAG: &str = r#""10.0.0.7:1";epoch=5;fade=0"#;

fn instance(port: u16, epoch: Option<u64>) -> Instance {
    let metadata = Metadata::from_iter(epoch.map(|epoch| (key::EPOCH, epoch.to_string())));
    Instance::new(format!("10.0.0.7:{port}").parse().unwrap()).with_metadata(metadata)
}

fn list(instances: Vec<Instance>) -> (Publisher, Snapshots) {
    let (publisher, snapshots) = Publisher::new("orders".parse().unwrap());
    publisher.publish(Snapshot::new("orders".parse().unwrap(), 1, instances));
    (publisher, snapshots)
}

/// What the answers of one instance say; of the others, nothing.
fn says(port: u16, answer: fn() -> Response<()>) -> impl Fn(&Instance) -> Says {
    move |instance| Says { answer: (instance.address().port() == port).then_some(answer) }
}

#[derive(Clone)]
struct Says {
    answer: Option<fn() -> Response<()>>,
}

impl Service<Request<()>> for Says {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(self.answer.map_or_else(|| Response::new(()), |answer| answer())))
    }
}

fn tagged() -> Response<()> {
    Response::builder().header(OFFLINE, TAG).body(()).unwrap()
}

async fn ports<S>(service: &Goodbye<S>, calls: usize) -> Vec<u16>
where
    S: Service<Request<()>, Response = Response<ResponseBody<()>>> + Clone,
    S::Error: std::fmt::Debug,
{
    let mut ports = Vec::new();
    for _ in 0..calls {
        let answer = service.clone().oneshot(Request::new(())).await.unwrap();
        assert!(!answer.headers().contains_key(OFFLINE) && !answer.headers().contains_key(REFUSED));
        ports.push(answer.body().instance().address().port());
    }
    ports
}

#[tokio::test]
async fn who_says_goodbye_is_not_called_again_and_the_list_is_asked_for() {
    fastrand::seed(1);
    let (publisher, snapshots) = list(vec![instance(1, Some(5)), instance(2, Some(6))]);
    let balance = Balance::new(snapshots, says(1, tagged));
    let service = GoodbyeLayer::new().layer(balance.clone());
    let met = ports(&service, 50).await;
    assert_eq!(met.iter().filter(|&&port| port == 1).count(), 1);
    publisher.refresh_wanted().await;
    assert_eq!(balance.ignored_tags(), 0);
}

/// Design: the epoch decides; where the list knows none, the address does.
#[tokio::test]
async fn a_tag_counts_only_when_it_speaks_of_who_was_called() {
    let tag = |text: &'static str| OfflineTag::from_value(&http::HeaderValue::from_static(text)).unwrap();
    for (dialled, text, expected) in [
        (Some(5), TAG, true),
        (Some(5), r#""192.168.0.1:80";epoch=5"#, true), // Knows itself under another address.
        (Some(5), r#""10.0.0.7:1";epoch=6"#, false),    // Another incarnation, or a backend's.
        (Some(5), r#""10.0.0.7:2";epoch=6"#, false),
        (None, TAG, true),
        (None, r#""192.168.0.1:80";epoch=9"#, true), // Unknown to the list: NAT or DNS.
        (None, r#""10.0.0.7:2";epoch=6"#, false),    // Known to the list, and another.
    ] {
        let (_publisher, snapshots) = list(vec![instance(1, dialled), instance(2, Some(6))]);
        let balance = Balance::new(snapshots, |_| ());
        let pick = loop {
            let pick = balance.pick().unwrap();
            if pick.instance().address().port() == 1 {
                break pick;
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(OFFLINE, tag(text).to_value());
        assert!(!pick.finish(StatusCode::OK, &mut headers));
        assert!(headers.is_empty());
        assert_eq!(balance.ignored_tags(), u64::from(!expected));
        let aside = (0..100).all(|_| balance.pick().unwrap().instance().address().port() == 2);
        assert_eq!(aside, expected, "{dialled:?} {text}");
    }
}

#[tokio::test]
async fn what_does_not_count_is_counted_and_goes_no_further() {
    let foreign = || {
        let tags = Response::builder().header(OFFLINE, "soon").header(OFFLINE, r#""10.0.0.7:1";epoch=6"#);
        tags.header(REFUSED, "?1").body(()).unwrap()
    };
    let (_publisher, snapshots) = list(vec![instance(1, Some(5))]);
    let balance = Balance::new(snapshots, says(1, foreign));
    ports(&GoodbyeLayer::new().layer(balance.clone()), 3).await;
    assert_eq!(balance.ignored_tags(), 6);
}

#[tokio::test]
async fn of_several_tags_the_one_that_counts_counts() {
    let both = || Response::builder().header(OFFLINE, "soon").header(OFFLINE, TAG).body(()).unwrap();
    let (_publisher, snapshots) = list(vec![instance(1, Some(5)), instance(2, Some(6))]);
    let service = GoodbyeLayer::new().layer(Balance::new(snapshots, says(1, both)));
    let met = ports(&service, 50).await;
    assert_eq!(met.iter().filter(|&&port| port == 1).count(), 1);
}

#[tokio::test]
async fn only_a_503_is_a_refusal() {
    for (status, word, refused) in [(503, "?1", true), (503, "?0", false), (200, "?1", false)] {
        let (_publisher, snapshots) = list(vec![instance(1, Some(5))]);
        let balance = Balance::new(snapshots, move |_| {
            service_fn(move |_: Request<()>| {
                let answer = Response::builder().status(status).header(REFUSED, word).body(()).unwrap();
                std::future::ready(Ok::<_, Infallible>(answer))
            })
        });
        let answer = GoodbyeLayer::new().layer(balance).oneshot(Request::new(())).await.unwrap();
        assert!(!answer.headers().contains_key(REFUSED));
        assert_eq!(answer.body().is_refusal(), refused, "{status} {word}");

        let (_publisher, snapshots) = list(vec![instance(1, Some(5))]);
        let pick = Balance::new(snapshots, |_| ()).pick().unwrap();
        let mut headers = HeaderMap::from_iter([(REFUSED, word.parse().unwrap())]);
        assert_eq!(pick.finish(status.try_into().unwrap(), &mut headers), refused, "{status} {word}");
        assert!(headers.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn another_incarnation_at_the_same_address_is_welcome_at_once() {
    let (publisher, snapshots) = list(vec![instance(1, Some(5)), instance(2, Some(6))]);
    let balance = Balance::new(snapshots, |_| ());
    let meets = |port: u16| (0..200).any(|_| balance.pick().unwrap().instance().address().port() == port);
    let mut headers = HeaderMap::from_iter([(OFFLINE, TAG.parse().unwrap())]);
    let pick = loop {
        let pick = balance.pick().unwrap();
        if pick.instance().epoch() == Some(UnixMillis::new(5)) {
            break pick;
        }
    };
    assert!(!pick.finish(StatusCode::OK, &mut headers));
    assert!(!meets(1));
    let again = vec![instance(1, Some(5)), instance(2, Some(6))];
    publisher.publish(Snapshot::new("orders".parse().unwrap(), 2, again));
    assert!(!meets(1), "a stale list does not bring it back");
    let replaced = vec![instance(1, Some(7)), instance(2, Some(6))];
    publisher.publish(Snapshot::new("orders".parse().unwrap(), 3, replaced));
    assert!(meets(1));
}
