//! A registry with several addresses.

use super::*;
use std::collections::BTreeSet;

const THREE: &str = "a:8848,b:8848,c:8848";

/// A client of three servers and its first connection.
async fn with_three() -> (Stage, Nacos, Peer) {
    let mut stage = Stage::new();
    let nacos = stage.connect(Nacos::builder(THREE));
    let peer = stage.accept().await;
    (stage, nacos, peer)
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_is_left_for_the_next_at_once_with_everything_done_again() {
    let (mut stage, nacos, mut peer) = with_three().await;
    registered(&nacos, &mut peer, 1).await;
    let snapshots = subscribed(&nacos, &mut peer, list(5, &[1])).await;
    let mut seen = BTreeSet::from([peer.host.clone()]);
    for revision in 1..=2 {
        stage.set_host_away(&peer.host.clone(), true);
        let lost = Instant::now();
        peer.cut();
        peer = stage.accept().await;
        assert!(seen.insert(peer.host.clone()), "{} was left", peer.host);
        assert_eq!(one(&mut peer).await, registers(1));
        answer_subscription(&mut peer, list(revision, &[1])).await; // Another server counts by itself.
        assert!(lost.elapsed() < Duration::from_millis(10), "{:?}", lost.elapsed());
        sleep(Duration::from_secs(10)).await; // It lasts.
    }
    assert_eq!(ports(&snapshots), [1]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_its_clients_to_move_sees_them_go_to_another_server() {
    let (mut stage, nacos, mut peer) = with_three().await;
    registered(&nacos, &mut peer, 1).await;
    peer.say(&ConnectResetRequest::default());
    let mut next = stage.accept().await;
    assert_ne!(next.host, peer.host);
    assert_eq!(one(&mut next).await, registers(1));
    peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn when_all_servers_are_away_they_are_dialled_in_rounds_with_growing_waits() {
    let mut stage = Stage::new();
    for host in ["a", "b", "c"] {
        stage.set_host_away(host, true);
    }
    let nacos = stage.connect(Nacos::builder(THREE));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(stage.refused(), 3, "one round at once");
    sleep(Duration::from_secs(60)).await;
    let rounds = stage.refused() / 3;
    assert!((12..=40).contains(&rounds), "{rounds} in a minute");
    let trouble = nacos.trouble().unwrap().to_string();
    assert_eq!(trouble, "the registry is unavailable (connecting to a:9848, b:9848, c:9848)");
    stage.set_host_away("b", false);
    assert_eq!(stage.accept().await.host, "b");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_closed_waits_for_none_of_its_servers() {
    let stage = Stage::new();
    for host in ["a", "b", "c"] {
        stage.set_host_away(host, true);
    }
    let nacos = stage.connect(Nacos::builder(THREE));
    sleep(Duration::from_secs(30)).await; // Between two rounds.
    let began = Instant::now();
    nacos.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}
