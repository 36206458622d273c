//! A provider that hands its load over before it leaves the list.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_instance_that_fades_stays_listed_and_says_so_until_its_load_is_with_others() {
    let (clock, _) = Clock::manual(UnixMillis::new(7_000));
    let running = serve(orders().leave_fade(2 * SECOND).clock(clock), hello()).await;
    let mut client = running.http1().await;
    client.get("/").await;
    let warming = running.listed_when(|instance| instance.metadata.get(key::WARM_UP_START).is_some()).await;
    running.shutdown.shut_down();
    assert_eq!(running.handle.reached(Phase::Leaving).await, Phase::Leaving);

    let fading = running.listed_when(|instance| instance.leaving().is_some()).await;
    assert_eq!(fading.metadata.get(key::LEAVING), Some("7000;2"));
    assert_eq!(fading.metadata.without(key::LEAVING), warming.metadata, "nothing else has changed");
    assert_eq!(running.ready().await.0, StatusCode::INTERNAL_SERVER_ERROR);
    let answer = client.get("/").await;
    let tag = OfflineTag::from_value(&answer.headers()[OFFLINE]).unwrap();
    assert!(SECOND <= tag.fade && tag.fade <= 2 * SECOND, "{tag:?}");
    assert!(!answer.headers().contains_key(header::CONNECTION), "it may call again on this connection");
    assert_eq!(text(answer).await, "hello");

    let faded = async {
        loop {
            let answer = client.get("/").await;
            let tag = OfflineTag::from_value(&answer.headers()[OFFLINE]).unwrap();
            if tag.fade.is_zero() {
                return answer;
            }
            text(answer).await;
            assert!(running.listed().await.is_some());
        }
    };
    let answer = tokio::time::timeout(FAR, faded).await.unwrap();
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    text(answer).await;
    drop(client);
    let naming = running.naming.clone();
    let report = running.report().await;
    assert!(report.is_clean() && report.untold_callers == 0, "{report}");
    assert!(report.fading >= 2 * SECOND && report.drain_time >= 2 * SECOND, "{report}");
    assert!(naming.subscribe(&service()).await.unwrap().latest().instances().is_empty());
}

#[tokio::test]
async fn the_fade_adds_to_the_deadline() {
    let (router, arrived, release) = slow();
    let builder = orders().leave_fade(SECOND).lame_duck_max(100 * MS).drain_timeout(900 * MS);
    let running = serve(builder, router).await;
    let mut client = running.http1().await;
    let slow = tokio::spawn(async move { text(client.get("/slow").await).await });
    arrived.notified().await;
    running.shutdown.shut_down();
    running.handle.draining().await;
    release.notify_one();
    assert_eq!(slow.await.unwrap(), "slow");
    assert!(running.report().await.is_clean());
}

#[tokio::test]
async fn a_second_signal_ends_a_fade_and_who_has_not_served_has_none() {
    let running = serve(orders().leave_fade(600 * SECOND), hello()).await;
    running.shutdown.shut_down();
    running.listed_when(|instance| instance.leaving().is_some()).await;
    running.shutdown.abort();
    tokio::time::timeout(FAR, running.report()).await.unwrap();

    let registry = Moody::new(Mood::Away);
    let builder = orders().leave_fade(600 * SECOND).registry(registry.clone());
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.shutdown.shut_down();
    assert!(tokio::time::timeout(FAR, running.report()).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_registry_that_is_deaf_does_not_prolong_a_fade() {
    let registry = Moody::new(Mood::Well);
    let builder = orders().leave_fade(SECOND).lame_duck_max(100 * MS).registry(registry.clone());
    let running = start_with(builder, registry.naming.clone(), hello()).await;
    running.handle.reached(Phase::Serving).await;
    registry.mood.send_replace(Mood::Deaf);
    running.shutdown.shut_down();
    let report = tokio::time::timeout(FAR, running.report()).await.unwrap();
    assert!(report.fading < 2 * SECOND, "{report}");
    assert_eq!(registry.registering.load(Ordering::SeqCst), 0);
}
