//! A registry that wants to know who asks.

use super::*;
use crate::naming::Causes;

fn builder() -> NacosBuilder {
    Nacos::builder("stage:8848").user("orders", "s3cret &+")
}

/// A client that has logged in, and its connection.
async fn let_in(ttl_s: u64) -> (Stage, Nacos, Peer) {
    let mut stage = Stage::new();
    stage.gate().rules().ttl_s = ttl_s;
    let nacos = stage.connect(builder());
    let peer = stage.accept().await;
    (stage, nacos, peer)
}

/// The token of the next registration, which is accepted.
async fn token(peer: &mut Peer) -> Option<String> {
    let asked = peer.asked::<InstanceRequest>().await;
    let token = asked.token.clone();
    asked.yes();
    token
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_with_every_request_and_none_where_there_is_no_user() {
    let (_stage, nacos, mut peer) = let_in(18_000).await;
    let registering = registering(&nacos, instance(1));
    assert_eq!(token(&mut peer).await.as_deref(), Some("t1"));
    registering.await.unwrap().unwrap();
    let (_other, nobody, mut peer) = Stage::with_client().await;
    let registering = super::registering(&nobody, instance(1));
    assert_eq!(token(&mut peer).await, None);
    registering.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_before_it_dies_for_as_long_as_the_connection_lasts() {
    let (stage, nacos, mut peer) = let_in(2).await;
    for lived in 0..10 {
        // As long as a token lives: whichever it is, it is younger than that.
        sleep(Duration::from_secs(2)).await;
        let let_in = stage.gate().rules().let_in;
        assert!(let_in > lived, "{let_in} logins in {} s", 2 * lived);
        let registering = registering(&nacos, instance(1));
        assert_eq!(token(&mut peer).await, Some(format!("t{let_in}")));
        registering.await.unwrap().unwrap();
    }
    let let_in = stage.gate().rules().let_in;
    assert!(let_in <= 16, "{let_in} logins in 20 s, one in 1.4 s at most");
    assert!(stage.wire_is_quiet(), "all on one connection");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_for_all_who_were_refused() {
    let (mut stage, nacos, mut peer) = let_in(18_000).await;
    registered(&nacos, &mut peer, 1).await;
    peer.cut(); // The registry restarts, and knows no token of before.
    let mut peer = stage.accept().await;
    let subscribing = tokio::spawn({
        let nacos = nacos.clone();
        async move { nacos.subscribe("orders").await }
    });
    stage.gate().rules().takes = Duration::from_millis(50);
    let first = peer.asked::<InstanceRequest>().await;
    let second = peer.asked::<SubscribeServiceRequest>().await;
    assert_eq!((first.token.as_deref(), second.token.as_deref()), (Some("t1"), Some("t1")));
    first.no(403, "token expired");
    second.error(403, "token expired");
    assert_eq!(token(&mut peer).await.as_deref(), Some("t2"));
    let again = peer.asked::<SubscribeServiceRequest>().await;
    assert_eq!(again.token.as_deref(), Some("t2"));
    again.with(SubscribeServiceResponse { service_info: list(1, &[1]), ..Default::default() });
    subscribing.await.unwrap().unwrap();
    assert_eq!(stage.gate().rules().let_in, 2, "one login for both");
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_fresh_token_is_handed_on_without_another_login() {
    let (stage, nacos, mut peer) = let_in(18_000).await;
    let registering = registering(&nacos, instance(1));
    peer.asked::<InstanceRequest>().await.no(403, "no right");
    assert!(matches!(registering.await.unwrap(), Err(Error::Refused { code: 403, .. })));
    assert_eq!(stage.gate().rules().let_in, 1);
    sleep(Duration::from_secs(60)).await;
    let registering = super::registering(&nacos, instance(1));
    peer.asked::<InstanceRequest>().await.no(403, "no right");
    peer.asked::<InstanceRequest>().await.no(403, "no right"); // With a new token: the old one might be dead.
    let refused = registering.await.unwrap();
    assert!(matches!(&refused, Err(Error::Refused { code: 403, message }) if message == "no right"));
    let registering = super::registering(&nacos, instance(2));
    peer.asked::<InstanceRequest>().await.no(403, "no right");
    assert!(matches!(registering.await.unwrap(), Err(Error::Refused { code: 403, .. })));
    assert_eq!(stage.gate().rules().let_in, 2);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_said_in_clear_words_and_not_tried_all_the_time() {
    let stage = Stage::new();
    let nacos = stage.connect(Nacos::builder("stage:8848").user("orders", "guessed"));
    let began = Instant::now();
    let error = nacos.register(&orders(), &instance(1)).await.unwrap_err();
    assert!(nacos.subscribe("orders").await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO, "who has said no is not waited for");
    let said = "the registry at stage:8848 does not let user \"orders\" in (403 Forbidden: unknown user!)";
    let errors = [error, nacos.trouble().unwrap()].map(|error| Causes(&error).to_string());
    assert!(errors.iter().all(|error| error.ends_with(said)), "{errors:?}");
    for shown in [format!("{nacos:?}"), format!("{:?}", Nacos::builder("a:1").user("orders", "guessed"))] {
        assert!(!shown.contains("guessed"), "{shown}");
    }
    sleep(Duration::from_secs(600)).await;
    let tries = stage.gate().rules().refused;
    assert!((10..=25).contains(&tries), "{tries} in ten minutes");
    assert!(stage.wire_is_quiet(), "nobody connects who is not let in");
    let began = Instant::now();
    nacos.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_starts_from_a_file_and_comes_in_later() {
    let directory = Directory::new("shut-out");
    directory.left_by(&[1]).await;
    let mut stage = Stage::new();
    stage.gate().rules().password = "changed";
    let (nacos, began) = (stage.connect(builder().snapshot_files(&directory.0)), Instant::now());
    let mut snapshots = nacos.subscribe("orders").await.unwrap();
    assert_eq!((ports(&snapshots), began.elapsed()), (vec![1], Duration::ZERO));
    let unknown = Causes(&nacos.subscribe("mail").await.unwrap_err()).to_string();
    assert!(unknown.contains("@@mail)") && unknown.contains("unknown user!"), "{unknown}");
    stage.gate().rules().password = "s3cret &+";
    let mut peer = stage.accept().await;
    answer_subscription(&mut peer, list(8, &[1, 2])).await;
    snapshots.wait_for(|list| list.instances().len() == 2).await;
    nacos.close(DEFAULT_REQUEST_TIMEOUT).await.unwrap(); // Or it may still write.
}

#[tokio::test(start_paused = true)]
async fn who_is_shut_out_while_connected_stays_registered_and_comes_in_again() {
    let (stage, nacos, mut peer) = let_in(10).await;
    registered(&nacos, &mut peer, 1).await;
    stage.gate().rules().password = "changed";
    sleep(Duration::from_secs(120)).await;
    let tries = stage.gate().rules().refused;
    assert!((3..=12).contains(&tries), "{tries} in two minutes");
    let registering = registering(&nacos, instance(2));
    peer.asked::<BatchInstanceRequest>().await.no(403, "token expired");
    assert!(matches!(registering.await.unwrap(), Err(Error::Refused { code: 403, .. })));
    assert!(stage.wire_is_quiet(), "the connection holds what is registered");

    stage.gate().rules().password = "s3cret &+";
    sleep(Duration::from_secs(60)).await;
    registered_second(&nacos, &mut peer).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_to_be_had_holds_up_nobody_whose_token_lives() {
    let (mut stage, nacos, mut peer) = let_in(100).await;
    registered(&nacos, &mut peer, 1).await;
    stage.gate().rules().broken = true;
    sleep(Duration::from_secs(95)).await; // Past the time at which it is replaced.
    peer.cut();
    let mut peer = stage.accept().await;
    assert_eq!(token(&mut peer).await.as_deref(), Some("t1"));
    sleep(Duration::from_secs(10)).await; // It has died.
    peer.cut();
    sleep(Duration::from_secs(1)).await;
    let trouble = Causes(&nacos.trouble().unwrap()).to_string();
    assert!(
        trouble.ends_with(
            "logging in as \"orders\" at stage:8848 failed: 500 Internal Server Error: caused: no disk"
        ),
        "{trouble}"
    );
    stage.gate().rules().broken = false;
    let mut peer = stage.accept().await;
    assert_eq!(token(&mut peer).await.as_deref(), Some("t2"));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_hangs_is_given_up_in_time_and_holds_up_no_end() {
    let stage = Stage::new();
    stage.gate().rules().takes = Duration::from_secs(3600);
    let nacos = stage.connect(builder());
    sleep(Duration::from_secs(4)).await;
    assert!(nacos.trouble().is_some());
    let began = Instant::now();
    nacos.close(Duration::from_secs(10)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}
