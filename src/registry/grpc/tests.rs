//! The protocol as clients of different kinds speak it. Most tests call the service in memory, on virtual
//! time; those about transports go through real sockets.

use super::Service;
use crate::Clock;
use crate::model::{Address, UnixMillis};
use crate::protocol::entity::{ServiceInfo, WireInstance};
use crate::protocol::message::*;
use crate::protocol::{Payload, code};
use crate::registry::access::Access;
use crate::registry::bound::Allowance;
use crate::registry::command::Limits;
use crate::registry::hub::Hub;
use crate::registry::large::LARGE_FROM;
use crate::registry::names::Names;
use crate::registry::{Registry, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::{Grpc, GrpcService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

mod access;

/// One client on one transport.
struct Peer<T> {
    grpc: Grpc<T>,
    outbound: mpsc::Sender<Payload>,
    inbound: Option<Streaming<Payload>>,
    /// What its requests show.
    token: Option<String>,
}

impl<T> Peer<T>
where
    T: GrpcService<tonic::body::Body>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError> + Send,
    T::Error: std::fmt::Debug,
{
    /// A transport on which nothing has been said yet.
    fn new(transport: T) -> Self {
        let origin = http::Uri::from_static("http://registry");
        // Longest list that a test looks at, where the default is 4 MiB.
        let grpc = Grpc::with_origin(transport, origin).max_decoding_message_size(16 * 1024 * 1024);
        Self { grpc, outbound: mpsc::channel(1).0, inbound: None, token: None }
    }

    /// A client that is set up, as Rust's SDK or an old Java one does it.
    async fn set_up(transport: T) -> Self {
        Self::set_up_as(transport, &ConnectionSetupRequest::default()).await
    }

    async fn set_up_as(transport: T, setup: &ConnectionSetupRequest) -> Self {
        let mut peer = Self::new(transport);
        peer.open().await.unwrap();
        peer.say(setup).await;
        assert!(peer.ask(HealthCheckRequest::default()).await.is_ok());
        peer
    }

    async fn open(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.unwrap();
        let (outbound, receiver) = mpsc::channel(64);
        let path = http::uri::PathAndQuery::from_static("/BiRequestStream/requestBiStream");
        let request = tonic::Request::new(ReceiverStream::new(receiver));
        let response = self.grpc.streaming(request, path, ProstCodec::default()).await?;
        (self.outbound, self.inbound) = (outbound, Some(response.into_inner()));
        Ok(())
    }

    async fn say(&self, message: &impl Message) {
        self.outbound.send(Payload::new(message)).await.unwrap();
    }

    /// What comes down the stream; nothing at its end, graceful or not.
    async fn hear(&mut self) -> Option<Payload> {
        let message = timeout(Duration::from_secs(60), self.inbound.as_mut().unwrap().message()).await;
        message.expect("the stream says nothing, and does not end").unwrap_or_default()
    }

    async fn unary(&mut self, payload: Payload) -> Payload {
        self.grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/Request/request");
        self.grpc.unary(tonic::Request::new(payload), path, ProstCodec::default()).await.unwrap().into_inner()
    }

    /// Asks, and gets the answer of the right type, or code and words of the failure.
    async fn ask<R: Request>(&mut self, request: R) -> Result<R::Response, (i32, String)> {
        let mut payload = Payload::new(&request);
        if let (Some(token), Some(metadata)) = (&self.token, &mut payload.metadata) {
            metadata.headers.insert("accessToken".to_owned(), token.clone());
        }
        let payload = self.unary(payload).await;
        if let Ok(error) = payload.read::<ErrorResponse>() {
            return Err((error.error_code, error.message));
        }
        let response: R::Response = payload.read().unwrap();
        match response.failure() {
            Some((code, message)) => Err((code, message.to_owned())),
            None => Ok(response),
        }
    }

    async fn register(&mut self, instance: WireInstance) {
        self.ask(register(instance)).await.unwrap();
    }

    async fn subscribe(&mut self, clusters: &str) -> ServiceInfo {
        let (subscribe, clusters) = (true, clusters.to_owned());
        let service_name = "orders".to_owned();
        let request = SubscribeServiceRequest { service_name, subscribe, clusters, ..Default::default() };
        self.ask(request).await.unwrap().service_info
    }

    async fn query(&mut self) -> ServiceInfo {
        let request = ServiceQueryRequest { service_name: "orders".to_owned(), ..Default::default() };
        self.ask(request).await.unwrap().service_info
    }

    /// The next push, acknowledged.
    async fn pushed(&mut self) -> ServiceInfo {
        let push: NotifySubscriberRequest = self.hear().await.unwrap().read().unwrap();
        self.say(&NotifySubscriberResponse::default().succeed(&push.request_id)).await;
        push.service_info
    }

    /// Pushes until one lists these ports.
    async fn pushed_until(&mut self, ports: &[i64]) -> ServiceInfo {
        loop {
            let list = self.pushed().await;
            if self::ports(&list) == ports {
                return list;
            }
        }
    }
}

/// A hub in memory, whose clock stands still: revisions must grow all the same.
struct Memory {
    hub: Arc<Hub>,
    close: watch::Sender<bool>,
}

impl Memory {
    fn new() -> Self {
        Self::with_allowance(Allowance::default())
    }

    fn with_allowance(allowance: Allowance) -> Self {
        let clock = Clock::manual(UnixMillis::new(1_000)).0;
        let hub = Hub::new(clock, Limits { metadata_chars_max: 100, instances_max: 1_000_000 });
        let hub = Arc::new(hub.with_allowance(allowance));
        Self { hub, close: watch::Sender::new(false) }
    }

    fn transport(&self) -> Service {
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let access = Arc::new(Access::new(self.hub.clone(), &Settings::default()).unwrap());
        Service::new(access, peer, None, self.close.subscribe())
    }

    /// A client of ours.
    async fn caller(&self, id: &str) -> Peer<Service> {
        let labels = [("graceful.caller", id), ("AppName", "storefront")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Peer::set_up_as(self.transport(), &ConnectionSetupRequest { labels, ..Default::default() }).await
    }

    async fn client(&self) -> Peer<Service> {
        Peer::set_up(self.transport()).await
    }
}

/// Lets other tasks go on until they have brought about what is awaited.
async fn settled(condition: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what is awaited does not come");
}

fn instance(port: u16) -> WireInstance {
    WireInstance { ip: "10.0.0.7".to_owned(), port: port.into(), ..WireInstance::default() }
}

fn register(instance: WireInstance) -> InstanceRequest {
    let (service_name, r#type) = ("orders".to_owned(), REGISTER.to_owned());
    InstanceRequest { service_name, r#type, instance, ..Default::default() }
}

fn deregister() -> InstanceRequest {
    InstanceRequest { r#type: DEREGISTER.to_owned(), ..register(WireInstance::default()) }
}

fn batch(ports: &[u16]) -> BatchInstanceRequest {
    let instances = ports.iter().copied().map(instance).collect();
    let (service_name, r#type) = ("orders".to_owned(), BATCH_REGISTER.to_owned());
    BatchInstanceRequest { service_name, r#type, instances, ..Default::default() }
}

fn ports(list: &ServiceInfo) -> Vec<i64> {
    list.hosts.iter().map(|host| host.port).collect()
}

#[tokio::test(start_paused = true)]
async fn who_leaves_hears_which_callers_have_acknowledged_it_and_who_has_not() {
    let memory = Memory::new();
    let mut provider = memory.client().await;
    provider.register(instance(1)).await;
    let [mut well, mut silent] =
        [memory.caller("9f86d081884c7d65").await, memory.caller("00000000000000aa").await];
    for consumer in [&mut well, &mut silent] {
        assert_eq!(ports(&consumer.subscribe("").await), [1]);
    }
    let leave = GracefulDeregisterRequest { service_name: "orders".to_owned(), ..Default::default() };
    let began = Instant::now();
    let (answer, list) = tokio::join!(provider.ask(leave.clone()), well.pushed());
    let answer = answer.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!((ports(&list), list.last_ref_time), (vec![], answer.revision));
    assert_eq!(answer.told, ["9f86d081884c7d65"]);
    let unheard = UntoldCaller {
        caller: "00000000000000aa".to_owned(),
        app: "storefront".to_owned(),
        address: "127.0.0.1:40000".to_owned(),
    };
    assert_eq!(answer.untold, [unheard]);

    drop(silent);
    settled(|| memory.hub.counts().connections == 2).await;
    let began = Instant::now();
    assert_eq!(provider.ask(leave).await.unwrap().told, ["9f86d081884c7d65"], "asked again, it is as it was");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn before_the_set_up_only_the_server_check_is_answered() {
    let memory = Memory::new();
    let mut peer = Peer::new(memory.transport());
    let check = peer.ask(ServerCheckRequest::default()).await.unwrap();
    assert_eq!(
        (check.connection_id.as_str(), check.support_ability_negotiation),
        ("1000_127.0.0.1_40000", true)
    );
    let asked_at = Instant::now();
    assert_eq!(peer.ask(register(instance(1))).await.unwrap_err().0, 301);
    assert!(asked_at.elapsed() >= Duration::from_millis(200), "a set-up under way is waited for");
    let (health, _) = peer.ask(HealthCheckRequest::default()).await.unwrap_err();
    assert!(!(300..400).contains(&health), "Python 2 takes {health} for healthy");
    assert_eq!(memory.hub.counts().instances, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_overtakes_the_set_up_is_answered() {
    let memory = Memory::new();
    let mut peer = Peer::new(memory.transport());
    peer.open().await.unwrap();
    let outbound = peer.outbound.clone();
    tokio::spawn(async move {
        sleep(Duration::from_millis(150)).await;
        outbound.send(Payload::new(&ConnectionSetupRequest::default())).await.unwrap();
    });
    peer.register(instance(1)).await;
    assert_eq!(ports(&peer.query().await), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_handles_or_reads_is_named_so() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    for (kind, json, code) in [
        ("ConfigQueryRequest", "{}", 302),
        ("", "{}", 302),
        ("InstanceRequest", "7", 502),
        ("InstanceRequest", "{", 502),
        ("InstanceRequest", r#"{"instance":{"port":"x"}}"#, 502),
    ] {
        let answer = peer.unary(Payload::from_json(kind, json)).await;
        let error: ErrorResponse = answer.read().unwrap();
        assert_eq!((error.error_code, error.success, error.result_code), (code, false, 500), "{kind} {json}");
    }
    assert_eq!(peer.unary(Payload { metadata: None, body: None }).await.kind(), "ErrorResponse");
}

#[tokio::test(start_paused = true)]
async fn an_ability_table_is_answered_and_its_absence_is_not() {
    let memory = Memory::new();
    let mut java = Peer::new(memory.transport());
    java.open().await.unwrap();
    let ability_table = Some([("fuzzyWatch".to_owned(), true)].into());
    java.say(&ConnectionSetupRequest { ability_table, ..Default::default() }).await;
    let ack: SetupAckRequest = java.hear().await.unwrap().read().unwrap();
    let able: Vec<_> = ack.ability_table.iter().filter(|(_, able)| **able).map(|(name, _)| name).collect();
    assert_eq!(able, ["supportPersistentInstanceByGrpc"]);

    let mut go = memory.client().await;
    assert!(timeout(Duration::from_secs(10), go.hear()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_registered_is_listed_with_every_field() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    let metadata = [("zone".to_owned(), Some("a".to_owned()))].into();
    peer.register(WireInstance { weight: 0.5, metadata, ..instance(80) }).await;
    let query = ServiceQueryRequest { service_name: "orders".to_owned(), ..Default::default() };
    let answer = peer.unary(Payload::new(&query)).await;
    let json = std::str::from_utf8(answer.json()).unwrap();
    assert_eq!(answer.kind(), "QueryServiceResponse");
    assert_eq!(
        json,
        concat!(
            r#"{"resultCode":200,"errorCode":0,"success":true,"serviceInfo":{"name":"orders","#,
            r#""groupName":"DEFAULT_GROUP","clusters":"","cacheMillis":10000,"hosts":[{"#,
            r##""instanceId":"10.0.0.7#80#DEFAULT#DEFAULT_GROUP@@orders","ip":"10.0.0.7","port":80,"##,
            r#""weight":0.5,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","#,
            r#""serviceName":"DEFAULT_GROUP@@orders","metadata":{"zone":"a"},"#,
            r#""instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000}],"#,
            r#""lastRefTime":1001,"checksum":"","allIPs":false,"allIps":false,"#,
            r#""reachProtectionThreshold":false,"valid":true,"graceful":{"revision":1001,"removed":[]}}}"#
        )
    );
    let answer = peer.ask(deregister()).await.unwrap();
    assert_eq!(answer.r#type, DEREGISTER);
    assert_eq!(ports(&peer.query().await), [] as [i64; 0]);
    assert!(peer.ask(deregister()).await.is_ok(), "nothing there is a success");
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_one_record_for_a_service_single_or_batch() {
    let memory = Memory::new();
    let (mut one, mut other) = (memory.client().await, memory.client().await);
    other.register(instance(9)).await;
    one.register(instance(1)).await;
    one.register(instance(2)).await;
    assert_eq!(ports(&one.query().await), [2, 9]);
    assert_eq!(one.ask(batch(&[3, 4, 4])).await.unwrap().r#type, BATCH_REGISTER);
    assert_eq!(ports(&one.query().await), [3, 4, 9]);
    one.ask(batch(&[4])).await.unwrap();
    assert_eq!(ports(&one.query().await), [4, 9]);
    one.ask(batch(&[])).await.unwrap();
    assert_eq!(ports(&one.query().await), [9]);
    one.ask(batch(&[5, 6])).await.unwrap();
    one.ask(deregister()).await.unwrap();
    assert_eq!(ports(&one.query().await), [9]);
}

#[tokio::test(start_paused = true)]
async fn of_two_publishers_of_an_instance_the_newest_counts_until_it_goes() {
    let memory = Memory::new();
    let (mut old, mut new) = (memory.client().await, memory.client().await);
    old.register(instance(1)).await;
    new.register(WireInstance { weight: 2.0, ..instance(1) }).await;
    let weights = |list: &ServiceInfo| list.hosts.iter().map(|host| host.weight).collect::<Vec<_>>();
    assert_eq!(weights(&old.query().await), [2.0]);
    drop(new);
    settled(|| memory.hub.counts().connections == 1).await;
    assert_eq!(weights(&old.query().await), [1.0]);
}

/// The port of everyone whom a list calls gone, and why.
fn removed(list: &ServiceInfo) -> Vec<(i64, &str)> {
    let explanation = list.graceful.as_ref().expect("every list of ours explains itself");
    assert_eq!(explanation.revision, list.last_ref_time);
    explanation.removed.iter().map(|removal| (removal.port, removal.reason.as_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn answers_and_pushes_tell_who_has_gone_and_why() {
    let memory = Memory::new();
    let (mut reader, mut one, mut other) =
        (memory.client().await, memory.client().await, memory.client().await);
    let metadata = [("graceful.epoch".to_owned(), Some("5".to_owned()))].into();
    one.register(instance(1)).await;
    other.register(WireInstance { metadata, ..instance(2) }).await;
    assert_eq!(removed(&reader.subscribe("").await), []);
    one.ask(deregister()).await.unwrap();
    assert_eq!(removed(&reader.pushed_until(&[2]).await), [(1, "deregistered")]);
    drop(other);
    let last = reader.pushed_until(&[]).await;
    assert_eq!(removed(&last), [(2, "connection-lost"), (1, "deregistered")]);
    assert_eq!(last.graceful.unwrap().removed[0].epoch, Some(5));
    one.register(WireInstance { enabled: false, ..instance(1) }).await;
    assert_eq!(removed(&reader.query().await), [(2, "connection-lost"), (1, "deregistered")]);
    one.register(instance(1)).await;
    assert_eq!(removed(&reader.query().await), [(2, "connection-lost")]);
    one.register(WireInstance { enabled: false, ..instance(1) }).await;
    assert_eq!(removed(&reader.query().await)[0], (1, "disabled"));
}

#[tokio::test(start_paused = true)]
async fn disabled_instances_are_hidden_and_unhealthy_ones_are_not() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    let hosts = [
        WireInstance { enabled: false, ..instance(1) },
        WireInstance { healthy: false, ..instance(2) },
        WireInstance { cluster_name: "gz".to_owned(), ..instance(3) },
    ];
    peer.ask(BatchInstanceRequest { instances: hosts.into(), ..batch(&[]) }).await.unwrap();
    assert_eq!(ports(&peer.query().await), [2, 3]);
    let list = peer.subscribe("gz,sh").await;
    assert_eq!((ports(&list), list.clusters.as_str()), (vec![3], "gz,sh"));
    let healthy =
        ServiceQueryRequest { service_name: "orders".to_owned(), healthy_only: true, ..Default::default() };
    assert_eq!(ports(&peer.ask(healthy).await.unwrap().service_info), [3]);
    peer.ask(batch(&[4])).await.unwrap();
    let list = peer.pushed().await;
    assert_eq!((ports(&list), list.clusters.as_str()), (vec![], "gz,sh"));
}

#[tokio::test(start_paused = true)]
async fn blank_names_are_the_default_ones_and_a_grouped_name_counts() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    peer.register(instance(1)).await;
    for (namespace, group_name, service_name) in
        [("public", "DEFAULT_GROUP", "orders"), ("", "x", "DEFAULT_GROUP@@orders"), (" ", " ", " orders ")]
    {
        let [namespace, group_name, service_name] = [namespace, group_name, service_name].map(str::to_owned);
        let query = ServiceQueryRequest { namespace, service_name, group_name, ..Default::default() };
        let list = peer.ask(query).await.unwrap().service_info;
        assert_eq!((ports(&list), list.name.as_str()), (vec![1], "orders"));
    }
}

#[tokio::test(start_paused = true)]
async fn services_are_listed_by_pages() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    for name in ["c", "a", "b"] {
        peer.ask(InstanceRequest { service_name: name.to_owned(), ..register(instance(1)) }).await.unwrap();
    }
    let mut page = async |page_no, page_size, group: &str| {
        let group_name = group.to_owned();
        let request = ServiceListRequest { group_name, page_no, page_size, ..Default::default() };
        let list = peer.ask(request).await.unwrap();
        (list.count, list.service_names.join(" "))
    };
    assert_eq!(page(1, 2, "").await, (3, "a b".to_owned()));
    assert_eq!(page(2, 2, "").await, (3, "c".to_owned()));
    assert_eq!(page(3, 2, "").await, (3, String::new()));
    assert_eq!(page(1, 2, "other").await, (0, String::new()));
}

#[tokio::test(start_paused = true)]
async fn wrong_input_is_refused_with_code_400_and_the_rule() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    let long = [("k".to_owned(), Some("v".repeat(100)))].into();
    for (request, said) in [
        (register(WireInstance { ephemeral: false, ..instance(1) }), "accepted is ephemeral=true"),
        (register(WireInstance { port: 70_000, ..instance(1) }), "0 to 65535"),
        (register(WireInstance { metadata: long, ..instance(1) }), "up to 100"),
        (InstanceRequest { service_name: String::new(), ..register(instance(1)) }, "service name"),
        (InstanceRequest { group_name: "a b".to_owned(), ..register(instance(1)) }, "group name"),
        (
            InstanceRequest { r#type: "x".to_owned(), ..register(instance(1)) },
            "registerInstance or deregister",
        ),
    ] {
        let (code, message) = peer.ask(request).await.unwrap_err();
        assert!(code == 400 && message.contains(said), "{code} {message}");
    }
    let (code, message) = peer.ask(persistent("x", 1)).await.unwrap_err();
    assert!(code == 400 && message.contains("registerInstance or deregister"), "{code} {message}");
    let (code, message) =
        peer.ask(BatchInstanceRequest { r#type: String::new(), ..batch(&[1]) }).await.unwrap_err();
    assert!(code == 400 && message.contains(BATCH_REGISTER), "{code} {message}");
    assert_eq!(memory.hub.counts().instances, 0);
}

#[tokio::test(start_paused = true)]
async fn every_change_has_a_higher_revision_though_the_clock_stands() {
    let memory = Memory::new();
    let (mut provider, mut consumer) = (memory.client().await, memory.client().await);
    let mut last = consumer.subscribe("").await.last_ref_time;
    for port in 1..20 {
        provider.register(instance(port)).await;
        let list = consumer.pushed().await;
        assert_eq!(ports(&list), [i64::from(port)]);
        assert!(list.last_ref_time > last);
        assert!(provider.query().await.last_ref_time == list.last_ref_time, "no change, no new revision");
        last = list.last_ref_time;
    }
    provider.ask(deregister()).await.unwrap();
    let list = consumer.pushed().await;
    assert!(list.hosts.is_empty() && list.last_ref_time > last);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_acknowledged_comes_again_fresh_after_5_seconds() {
    let memory = Memory::new();
    let (mut provider, mut consumer) = (memory.client().await, memory.client().await);
    consumer.subscribe("").await;
    provider.register(instance(1)).await;
    let first: NotifySubscriberRequest = consumer.hear().await.unwrap().read().unwrap();
    let sent_at = Instant::now();
    provider.register(instance(2)).await;
    let second: NotifySubscriberRequest = consumer.hear().await.unwrap().read().unwrap();
    let waited = sent_at.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_millis(5_100), "{waited:?}");
    assert_ne!(first.request_id, second.request_id);
    assert_eq!(ports(&second.service_info), [2]);
    consumer.say(&ErrorResponse::default().fail(&second.request_id, 500, "busy")).await;
    let refused_at = Instant::now();
    assert_eq!(ports(&consumer.pushed().await), [2]);
    assert!(refused_at.elapsed() >= Duration::from_secs(1));
    assert!(timeout(Duration::from_secs(10), consumer.hear()).await.is_err(), "it has been acknowledged");
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_pushed_in_few_lists_and_the_last_one_is_complete() {
    let memory = Memory::new();
    let mut consumer = memory.client().await;
    consumer.subscribe("").await;
    let storm = async {
        for port in 0..500 {
            let address = Address::new("10.0.0.7", port).unwrap();
            let client = crate::registry::command::Client::Heartbeats(address.clone());
            let instance = crate::model::Instance::new(address);
            memory.hub.publish(client, "orders".parse().unwrap(), vec![instance]).unwrap();
            sleep(Duration::from_millis(1)).await;
        }
    };
    let lists = async {
        let mut lists = 1;
        while consumer.pushed().await.hosts.len() < 500 {
            lists += 1;
        }
        lists
    };
    let (lists, ()) = tokio::join!(lists, storm);
    assert!((10..=60).contains(&lists), "{lists}");
}

#[tokio::test(start_paused = true)]
async fn who_has_unsubscribed_is_told_nothing() {
    let memory = Memory::new();
    let (mut provider, mut consumer) = (memory.client().await, memory.client().await);
    consumer.subscribe("").await;
    let leave = SubscribeServiceRequest { service_name: "orders".to_owned(), ..Default::default() };
    consumer.ask(leave).await.unwrap();
    provider.register(instance(1)).await;
    assert!(timeout(Duration::from_secs(10), consumer.hear()).await.is_err());
    assert_eq!(memory.hub.counts().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_is_asked_and_then_taken_off() {
    let memory = Memory::new();
    let (mut provider, mut consumer) = (memory.client().await, memory.client().await);
    consumer.subscribe("").await;
    provider.register(instance(1)).await;
    let silent_since = Instant::now();
    assert_eq!(ports(&consumer.pushed().await), [1]);
    let alive = async {
        loop {
            let heard = consumer.hear().await.unwrap();
            if let Ok(ask) = heard.read::<ClientDetectionRequest>() {
                consumer.say(&ClientDetectionResponse::default().succeed(&ask.request_id)).await;
            } else {
                return heard.read::<NotifySubscriberRequest>().unwrap().service_info;
            }
        }
    };
    assert!(alive.await.hosts.is_empty());
    let waited = silent_since.elapsed();
    assert!(waited >= Duration::from_secs(25) && waited < Duration::from_secs(26), "{waited:?}");
    assert_eq!(provider.hear().await.unwrap().kind(), "ClientDetectionRequest");
    assert!(provider.hear().await.is_none(), "the stream has ended");
    assert_eq!(provider.ask(register(instance(1))).await.unwrap_err().0, 301);
}

#[tokio::test(start_paused = true)]
async fn a_transport_has_one_stream() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    let (outbound, inbound) = (peer.outbound.clone(), peer.inbound.take());
    assert_eq!(peer.open().await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    peer.register(instance(1)).await;
    drop((outbound, inbound));
    settled(|| memory.hub.counts().instances == 0).await;
    assert!(peer.open().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_second_set_up_changes_nothing() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    peer.register(instance(1)).await;
    peer.say(&ConnectionSetupRequest::default()).await;
    assert_eq!(ports(&peer.query().await), [1]);
    assert_eq!(memory.hub.counts().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_registry_clients_are_told_to_move_and_no_instance_is_taken_off() {
    let memory = Memory::new();
    let (mut provider, mut consumer) = (memory.client().await, memory.client().await);
    provider.register(instance(1)).await;
    consumer.subscribe("").await;
    memory.hub.freeze();
    memory.close.send_replace(true);
    let told_at = Instant::now();
    for peer in [&mut provider, &mut consumer] {
        assert_eq!(peer.hear().await.unwrap().kind(), ConnectResetRequest::KIND);
    }
    drop(provider.outbound); // It moves, and its instances are not gone.
    settled(|| memory.hub.counts().connections == 1).await;
    assert_eq!(told_at.elapsed(), Duration::ZERO);
    assert_eq!(consumer.query().await.hosts.len(), 1, "who stays is served for a moment");
    let mut newcomer = Peer::new(memory.transport());
    assert_eq!(newcomer.ask(ServerCheckRequest::default()).await.unwrap_err().0, 300);
    assert!(newcomer.open().await.is_err());
    assert!(consumer.hear().await.is_none(), "an end, and no push before it");
    assert_eq!(told_at.elapsed(), Duration::from_secs(1));
    assert_eq!(memory.hub.counts().instances, 1);
}

/// What a registry tells of a bound that was reached.
async fn refused(hub: &Hub, bound: &str) -> String {
    let text = hub.metrics().text(&hub.standing().await);
    let begins = format!(r#"registry_refused_total{{bound="{bound}"}} "#);
    text.lines().find_map(|line| line.strip_prefix(&begins)).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_client_has_a_bounded_number_of_services_instances_and_subscriptions() {
    let allowance = Allowance { services_per_client: 2, instances_per_client: 3, ..Allowance::default() };
    let memory = Memory::with_allowance(allowance);
    let mut peer = memory.client().await;
    let in_service = |service: &str, ports: &[u16]| BatchInstanceRequest {
        service_name: service.to_owned(),
        ..batch(ports)
    };
    peer.ask(in_service("a", &[1, 2])).await.unwrap();
    let (code, words) = peer.ask(in_service("b", &[1, 2])).await.unwrap_err();
    assert_eq!((code, words.as_str()), (400, "too many instances of one client: accepted are up to 3"));
    peer.ask(in_service("b", &[1])).await.unwrap();
    let (code, words) = peer.ask(in_service("c", &[1])).await.unwrap_err();
    assert_eq!((code, words.as_str()), (400, "too many services of one client: accepted are up to 2"));
    peer.ask(in_service("a", &[3, 4])).await.unwrap();
    for (service, taken) in [("a", true), ("b", true), ("c", false)] {
        let (service_name, subscribe) = (service.to_owned(), true);
        let request = SubscribeServiceRequest { service_name, subscribe, ..Default::default() };
        assert_eq!(peer.ask(request).await.is_ok(), taken, "{service}");
    }
    for bound in ["instances-per-client", "services-per-client", "subscriptions"] {
        assert_eq!(refused(&memory.hub, bound).await, "1", "{bound}");
    }
}

#[tokio::test]
async fn names_are_bounded_where_they_would_stay() {
    let memory = Memory::with_allowance(Allowance { names: Names { bytes_max: 13 }, ..Allowance::default() });
    let mut peer = memory.client().await;
    let long = || "x".repeat(14);
    let words = |kind: &str| (400, format!("{kind} name of 14 bytes is too long: accepted are up to 13"));
    let in_cluster = || WireInstance { cluster_name: long(), ..instance(1) };
    let refusals = [
        (peer.ask(InstanceRequest { namespace: long(), ..register(instance(1)) }).await.err(), "namespace"),
        (peer.ask(register(in_cluster())).await.err(), "cluster"),
        (peer.ask(BatchInstanceRequest { group_name: long(), ..batch(&[1]) }).await.err(), "group"),
        (
            peer.ask(SubscribeServiceRequest { service_name: long(), subscribe: true, ..Default::default() })
                .await
                .err(),
            "service",
        ),
        (
            peer.ask(PersistentInstanceRequest {
                service_name: "orders".to_owned(),
                r#type: REGISTER.to_owned(),
                instance: in_cluster(),
                ..Default::default()
            })
            .await
            .err(),
            "cluster",
        ),
    ];
    for (refused, kind) in refusals {
        assert_eq!(refused, Some(words(kind)));
    }
    assert_eq!(refused(&memory.hub, "name").await, "5");
    peer.ask(register(instance(1))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn messages_are_bounded_in_length_time_and_number() {
    let memory =
        Memory::with_allowance(Allowance { message_bytes: 1024, requests: 1, ..Allowance::default() });
    let mut peer = memory.client().await;
    let path = || http::uri::PathAndQuery::from_static("/Request/request");
    let long =
        Payload::new(&InstanceRequest { service_name: "x".repeat(1024), ..InstanceRequest::default() });
    let too_long =
        peer.grpc.unary(tonic::Request::new(long.clone()), path(), ProstCodec::<_, Payload>::default()).await;
    assert_eq!(too_long.unwrap_err().code(), tonic::Code::OutOfRange);
    assert_eq!(refused(&memory.hub, "message").await, "1");

    // A message that has begun and does not go on holds the one place, for ten seconds.
    let began = Instant::now();
    let (_never, frames) = mpsc::channel::<Result<http_body::Frame<bytes::Bytes>, Status>>(1);
    let slow = http_body_util::StreamBody::new(ReceiverStream::new(frames));
    let request = http::Request::post("/Request/request").body(slow).unwrap();
    let slow = tokio::spawn(tower_service::Service::call(&mut memory.transport(), request));
    sleep(Duration::from_secs(1)).await;
    let health = Payload::new(&HealthCheckRequest::default());
    let one_more =
        peer.grpc.unary(tonic::Request::new(health), path(), ProstCodec::<_, Payload>::default()).await;
    assert_eq!(one_more.unwrap_err().code(), tonic::Code::ResourceExhausted);
    let answer = slow.await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4", "a deadline");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(refused(&memory.hub, "requests").await, "1");
    assert!(peer.ask(HealthCheckRequest::default()).await.is_ok());

    peer.outbound.send(long).await.unwrap();
    assert!(peer.hear().await.is_none(), "the stream ends, and with it the client");
    assert_eq!(refused(&memory.hub, "message").await, "2");
}

#[tokio::test(start_paused = true)]
async fn nobody_says_much_down_the_stream() {
    let memory = Memory::new();
    let mut peer = memory.client().await;
    let long = "x".repeat(256 * 1024);
    let long = Payload::new(&InstanceRequest { service_name: long, ..InstanceRequest::default() });
    peer.outbound.send(long).await.unwrap();
    assert!(peer.hear().await.is_none(), "the stream ends, and with it the client");
    assert_eq!(refused(&memory.hub, "message").await, "1");
}

#[tokio::test]
async fn a_large_message_waits_for_the_one_before_it_and_the_others_do_not() {
    let memory = Memory::new();
    let (mut large, mut other) = (memory.client().await, memory.client().await);
    let (end, ended) = oneshot::channel::<()>();
    let turn = memory.hub.large().clone();
    let before = tokio::spawn(async move { turn.apart(move || ended.blocking_recv()).await });
    tokio::task::yield_now().await;
    let asked = tokio::spawn(async move {
        let service_name = "x".repeat(LARGE_FROM);
        large.ask(InstanceRequest { service_name, ..InstanceRequest::default() }).await
    });
    for port in 1..100 {
        other.register(instance(port)).await;
        tokio::task::yield_now().await; // It has its turns, and could have been answered.
    }
    assert!(!asked.is_finished());
    end.send(()).unwrap();
    before.await.unwrap().unwrap();
    assert_eq!(asked.await.unwrap().unwrap_err().0, 400);
}

/// A registry on real ports.
struct Running {
    grpc: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let registry = Registry::bind(Settings { http_port: 0, ..Settings::default() }).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let grpc = registry.grpc_addr();
        let served = tokio::spawn(registry.serve(async { stopped.await.unwrap_or_default() }));
        Self { grpc, stop, served }
    }

    async fn transport(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> Peer<Channel> {
        Peer::set_up(self.transport().await).await
    }
}

#[tokio::test]
async fn the_end_of_a_transport_is_pushed_at_once() {
    let running = Running::start().await;
    let (mut provider, mut consumer) = (running.client().await, running.client().await);
    provider.register(instance(1)).await;
    assert_eq!(ports(&consumer.subscribe("").await), [1]);
    let dropped_at = Instant::now();
    drop(provider);
    assert!(consumer.pushed_until(&[]).await.hosts.is_empty());
    assert!(dropped_at.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_end_of_a_stream_is_the_end_of_the_client_though_its_transport_stands() {
    let running = Running::start().await;
    let (mut provider, mut consumer) = (running.client().await, running.client().await);
    provider.register(instance(1)).await;
    assert_eq!(ports(&consumer.subscribe("").await), [1]);
    (provider.outbound, provider.inbound) = (mpsc::channel(1).0, None);
    consumer.pushed_until(&[]).await;
    assert_eq!(provider.ask(register(instance(1))).await.unwrap_err().0, 301);
}

#[tokio::test]
async fn two_clients_on_their_own_transports_are_two() {
    let running = Running::start().await;
    let (mut one, mut other) = (running.client().await, running.client().await);
    let id =
        async |peer: &mut Peer<Channel>| peer.ask(ServerCheckRequest::default()).await.unwrap().connection_id;
    assert_ne!(id(&mut one).await, id(&mut other).await);
    one.register(instance(1)).await;
    other.register(instance(2)).await;
    assert_eq!(ports(&one.query().await), [1, 2]);
}

#[tokio::test]
async fn a_list_of_ten_thousand_instances_is_taken_and_pushed() {
    let running = Running::start().await;
    let (mut provider, mut consumer) = (running.client().await, running.client().await);
    consumer.subscribe("").await;
    let all: Vec<u16> = (0..10_000).collect();
    provider.ask(batch(&all)).await.unwrap();
    assert_eq!(consumer.pushed().await.hosts.len(), 10_000);
}

#[tokio::test]
async fn the_registry_ends_though_clients_stay_connected() {
    let running = Running::start().await;
    let mut client = running.client().await;
    client.subscribe("").await;
    running.stop.send(()).unwrap();
    timeout(Duration::from_secs(10), running.served).await.unwrap().unwrap();
    assert_eq!(client.hear().await.unwrap().kind(), ConnectResetRequest::KIND);
    assert!(client.hear().await.is_none());
}

fn persistent(kind: &str, port: u16) -> PersistentInstanceRequest {
    let (service_name, r#type) = ("orders".to_owned(), kind.to_owned());
    PersistentInstanceRequest { service_name, r#type, instance: instance(port), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_persistent_instance_outlives_its_connection_and_fixes_the_kind_of_its_service() {
    let memory = Memory::new();
    let story = async {
        let mut provider = memory.client().await;
        provider.ask(persistent(REGISTER, 1)).await.unwrap();
        drop(provider);
        let mut other = memory.client().await;
        sleep(Duration::from_secs(1)).await;
        let list = other.query().await;
        assert_eq!((ports(&list), list.hosts[0].ephemeral), (vec![1], false));
        let (code, words) = other.ask(register(instance(2))).await.unwrap_err();
        let expected =
            "Current service DEFAULT_GROUP@@orders is persistent service, can't register ephemeral instance.";
        assert_eq!((code, words.as_str()), (400, expected));
        let (code, words) = other.ask(batch(&[2])).await.unwrap_err();
        assert!(code == 400 && words.ends_with("can't batch register ephemeral instance."), "{words}");
        other.ask(persistent(DEREGISTER, 1)).await.unwrap();
        other.ask(persistent(DEREGISTER, 1)).await.unwrap();
        assert_eq!(ports(&other.query().await), [] as [i64; 0]);
        let still = other.ask(register(instance(2))).await.unwrap_err();
        assert_eq!(still.1, expected, "an empty service keeps its kind for a while, unless it is deleted");
        let service = "orders".parse().unwrap();
        memory.hub.write(crate::registry::write::Write::Delete { service }).await.unwrap();
        other.register(instance(2)).await;
        let (code, words) = other.ask(persistent(REGISTER, 3)).await.unwrap_err();
        assert!(code == 400 && words.ends_with("can't register persistent instance."), "{words}");
    };
    tokio::select! {
        () = crate::registry::clerk::keep(&memory.hub, &crate::registry::storage::Memory, std::future::pending()) => {}
        () = story => {}
    }
}
