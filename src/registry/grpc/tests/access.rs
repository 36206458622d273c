//! Who may do what over gRPC.

use super::*;
use crate::registry::access::staged::tokens;
use crate::registry::access::{PasswordHash, User};
use crate::registry::clerk;
use crate::registry::fact::Fact;
use std::future::pending;

const DEV: &str = "dev";

/// A registry that asks, with a clerk, and the tokens of its users.
fn asking() -> (Memory, Vec<(&'static str, Option<String>)>) {
    let clock = Clock::manual(UnixMillis::new(1_000_000)).0;
    let limits = Limits { metadata_chars_max: 100, instances_max: 1_000_000 };
    let memory = Memory { hub: Arc::new(Hub::new(clock, limits)), close: watch::Sender::new(false) };
    let (tokens, hub) = (tokens(&memory.hub), memory.hub.clone());
    tokio::spawn(async move { clerk::keep(&hub, &crate::registry::storage::Memory, pending()).await });
    (memory, tokens)
}

fn token(tokens: &[(&'static str, Option<String>)], who: &str) -> Option<String> {
    tokens.iter().find(|(name, _)| *name == who).unwrap().1.clone()
}

/// Whether a request was not allowed; other failures are its own business.
async fn denied<R: Request>(client: &mut Peer<Service>, request: R) -> bool {
    matches!(client.ask(request).await, Err((code::NO_RIGHT, _)))
}

/// Every request that is not for everyone, in a namespace: the names of those that were denied.
async fn all_denied(client: &mut Peer<Service>, namespace: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut note = |name, denied: bool| names.extend(denied.then_some(name));
    let (namespace, service_name) = (namespace.to_owned(), "orders".to_owned());
    let (space, name) = (|| namespace.clone(), || service_name.clone());
    let query = ServiceQueryRequest { namespace: space(), service_name: name(), ..Default::default() };
    note("query", denied(client, query).await);
    let list = ServiceListRequest { namespace: space(), page_no: 1, page_size: 9, ..Default::default() };
    note("list", denied(client, list).await);
    let subscribe = SubscribeServiceRequest {
        namespace: space(),
        service_name: name(),
        subscribe: true,
        ..Default::default()
    };
    note("subscribe", denied(client, subscribe).await);
    let register = InstanceRequest { namespace: space(), ..register(instance(1)) };
    note("register", denied(client, register).await);
    let batch = BatchInstanceRequest { namespace: space(), ..batch(&[1]) };
    note("batch", denied(client, batch).await);
    let persistent = PersistentInstanceRequest { namespace: space(), ..persistent(DEREGISTER, 1) };
    note("persistent", denied(client, persistent).await);
    let leave = GracefulDeregisterRequest {
        namespace: space(),
        service_name: name(),
        wait_ms: 1,
        ..Default::default()
    };
    note("leave", denied(client, leave).await);
    names
}

#[tokio::test(start_paused = true)]
async fn every_request_is_for_those_with_the_right_and_nobody_else() {
    let (memory, tokens) = asking();
    let (reads, writes) = (["query", "list", "subscribe"], ["register", "batch", "persistent", "leave"]);
    for (who, token) in tokens {
        let mut client = memory.client().await; // Server check, set-up and health check are for everyone.
        client.token = token;
        let may_read = ["root", "reader", "writer", "admin", "everywhere"].contains(&who);
        let may_write = ["root", "writer", "admin"].contains(&who);
        let reads = reads.iter().filter(|_| !may_read);
        let expected: Vec<&str> = reads.chain(writes.iter().filter(|_| !may_write)).copied().collect();
        assert_eq!(all_denied(&mut client, DEV).await, expected, "{who}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_namespace_is_one_like_any_other_however_it_is_spelled() {
    let (memory, tokens) = asking();
    let mut client = memory.client().await;
    client.token = token(&tokens, "writer");
    for namespace in ["", " ", "public"] {
        assert_eq!(all_denied(&mut client, namespace).await.len(), 7, "{namespace:?}");
    }
    client.token = token(&tokens, "root");
    assert_eq!(all_denied(&mut client, "").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_denial_comes_as_the_answer_of_the_request_and_headers_are_spelled_in_any_case() {
    let (memory, tokens) = asking();
    let mut client = memory.client().await;
    let mut payload = Payload::new(&ServiceQueryRequest {
        namespace: DEV.to_owned(),
        service_name: "orders".to_owned(),
        request_id: "7".to_owned(),
        ..Default::default()
    });
    let denied: QueryServiceResponse = client.unary(payload.clone()).await.read().unwrap();
    assert_eq!((denied.result_code, denied.error_code, denied.success), (500, 403, false));
    let headers = &mut payload.metadata.as_mut().unwrap().headers;
    headers.insert("ACCESSTOKEN".to_owned(), token(&tokens, "reader").unwrap());
    headers.insert("User-Agent".to_owned(), "Nacos-Server".to_owned());
    assert!(client.unary(payload).await.read::<QueryServiceResponse>().unwrap().success);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_rests_while_its_user_may_not_read() {
    let (memory, tokens) = asking();
    let (mut reader, mut writer) = (memory.client().await, memory.client().await);
    (reader.token, writer.token) = (token(&tokens, "reader"), token(&tokens, "writer"));
    let subscribe = || SubscribeServiceRequest {
        namespace: DEV.to_owned(),
        service_name: "orders".to_owned(),
        subscribe: true,
        ..Default::default()
    };
    let publish = |port| InstanceRequest { namespace: DEV.to_owned(), ..register(instance(port)) };
    reader.ask(subscribe()).await.unwrap();
    writer.ask(publish(1)).await.unwrap();
    assert_eq!(ports(&reader.pushed().await), [1]);

    let user = |grants| Some(Arc::new(User::with_grants("reader", grants)));
    let name = || "reader".parse().unwrap();
    let another =
        User { stamp: 2, password: PasswordHash::nobodys(), ..User::with_grants("reader", &["read@dev"]) };
    memory.hub.settle(vec![Fact::User { name: name(), user: Some(Arc::new(another)) }]);
    assert_eq!(reader.ask(subscribe()).await.unwrap_err().0, code::NO_RIGHT, "the token is dead");
    writer.ask(publish(2)).await.unwrap();
    assert_eq!(ports(&reader.pushed().await), [2], "the right is not");

    memory.hub.settle(vec![Fact::User { name: name(), user: user(&["read@prod"]) }]);
    writer.ask(publish(3)).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    memory.hub.settle(vec![Fact::User { name: name(), user: None }]);
    writer.ask(publish(4)).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    memory.hub.settle(vec![Fact::User { name: name(), user: user(&["read@dev"]) }]);
    let back = Instant::now();
    assert_eq!(ports(&reader.pushed().await), [4], "nothing came of 3, and 4 without another subscription");
    assert!(back.elapsed() <= Duration::from_secs(5));
}
