//! gRPC on its way out and in: tonic's clients over the consumer stack, tonic's routes behind
//! `Provider::serve`, in all four kinds of calls.

use axum::Router;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{BoxFuture, BoxStream};
use tonic::metadata::MetadataMap;
use tonic::server::{
    ClientStreamingService, NamedService, ServerStreamingService, StreamingService, UnaryService,
};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Layer, Service};
use tower_graceful::consumer::{
    BalanceLayer, Deadline, DeadlineLayer, GracefulClient, GracefulClientLayer, ReplayBody, balance,
    http_client_h2,
};
use tower_graceful::model::{Instance, Metadata, Phase, ServiceKey, Snapshot, UnixMillis, WarmUp, key};
use tower_graceful::naming::header::OfflineTag;
use tower_graceful::naming::{InProcess, Register, Snapshots, Subscribe};
use tower_graceful::provider::{GracefulLayer, Lifecycle, Provider, ProviderHandle, Report, ShutdownHandle};

/// Longer than anything here takes on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// What all calls of these tests carry, either way.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Words {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

pub(crate) fn words(text: impl Into<String>) -> Words {
    Words { text: text.into() }
}

/// A service with a call of each kind; its answers begin with its name.
#[derive(Clone)]
struct Clerk {
    name: &'static str,
    /// What streams wait for after their first message.
    go_on: watch::Receiver<bool>,
    /// Handlers that wait for ever, and what they were told.
    waiting: Arc<watch::Sender<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    begun: u32,
    ended: u32,
    grpc_timeout: Option<String>,
}

/// Lives as long as a handler does.
struct Handler(Arc<watch::Sender<Waiting>>);

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| waiting.ended += 1);
    }
}

impl Clerk {
    fn says(&self, text: &str) -> Words {
        words(format!("{}: {text}", self.name))
    }

    /// Begins to wait for ever.
    fn begin(&self, metadata: &MetadataMap) -> Handler {
        let grpc_timeout = metadata.get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        self.waiting.send_modify(|waiting| {
            waiting.begun += 1;
            waiting.grpc_timeout = grpc_timeout;
        });
        Handler(self.waiting.clone())
    }
}

impl UnaryService<Words> for Clerk {
    type Response = Words;
    type Future = BoxFuture<Response<Words>, Status>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        let clerk = self.clone();
        Box::pin(async move {
            match request.get_ref().text.as_str() {
                "nobody" => {
                    let mut status = Status::not_found("who?");
                    status.metadata_mut().insert("asked-of", clerk.name.parse().unwrap());
                    Err(status)
                }
                "wait" => {
                    let _here = clerk.begin(request.metadata());
                    std::future::pending().await
                }
                text => Ok(Response::new(clerk.says(text))),
            }
        })
    }
}

/// How many messages a stream has.
const MESSAGES: usize = 20;

impl ServerStreamingService<Words> for Clerk {
    type Response = Words;
    type ResponseStream = BoxStream<Words>;
    type Future = BoxFuture<Response<BoxStream<Words>>, Status>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        let clerk = self.clone();
        Box::pin(async move {
            if request.get_ref().text == "wait" {
                let here = clerk.begin(request.metadata());
                let first = tokio_stream::once(Ok(clerk.says("wait")));
                let never = tokio_stream::pending().map(move |never| {
                    let _ = &here;
                    never
                });
                return Ok(Response::new(Box::pin(first.chain(never)) as BoxStream<Words>));
            }
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                let mut go_on = clerk.go_on.clone();
                for number in 0..MESSAGES {
                    sender.send(Ok(clerk.says(&number.to_string()))).await.unwrap();
                    go_on.wait_for(|go_on| *go_on).await.unwrap();
                }
            });
            Ok(Response::new(Box::pin(ReceiverStream::new(receiver)) as BoxStream<Words>))
        })
    }
}

impl ClientStreamingService<Words> for Clerk {
    type Response = Words;
    type Future = BoxFuture<Response<Words>, Status>;

    fn call(&mut self, request: Request<Streaming<Words>>) -> Self::Future {
        let clerk = self.clone();
        Box::pin(async move {
            let mut said = Vec::new();
            let mut stream = request.into_inner();
            while let Some(words) = stream.message().await? {
                said.push(words.text);
            }
            Ok(Response::new(clerk.says(&said.join(" "))))
        })
    }
}

impl StreamingService<Words> for Clerk {
    type Response = Words;
    type ResponseStream = BoxStream<Words>;
    type Future = BoxFuture<Response<BoxStream<Words>>, Status>;

    fn call(&mut self, request: Request<Streaming<Words>>) -> Self::Future {
        let clerk = self.clone();
        let answers = request.into_inner().map(move |words| Ok(clerk.says(&words?.text)));
        Box::pin(async move { Ok(Response::new(Box::pin(answers) as BoxStream<Words>)) })
    }
}

const ANSWER: &str = "/shop.Clerk/Answer";
const COUNT: &str = "/shop.Clerk/Count";
const JOIN: &str = "/shop.Clerk/Join";
const CHAT: &str = "/shop.Clerk/Chat";

impl NamedService for Clerk {
    const NAME: &'static str = "shop.Clerk";
}

impl Service<http::Request<Body>> for Clerk {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let clerk = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Words, Words>::default());
            Ok(match request.uri().path() {
                ANSWER => grpc.unary(clerk, request).await,
                COUNT => grpc.server_streaming(clerk, request).await,
                JOIN => grpc.client_streaming(clerk, request).await,
                CHAT => grpc.streaming(clerk, request).await,
                _ => Status::unimplemented("clerks do not do that").into_http(),
            })
        })
    }
}

/// A clerk behind `Provider::serve`.
struct Running {
    handle: ProviderHandle,
    shutdown: ShutdownHandle,
    go_on: watch::Sender<bool>,
    waiting: Arc<watch::Sender<Waiting>>,
    serving: JoinHandle<Report>,
}

impl Running {
    async fn start(naming: &InProcess, name: &'static str) -> Self {
        let (go_on, receiver) = watch::channel(false);
        let clerk = Clerk { name, go_on: receiver, waiting: Arc::default() };
        let waiting = clerk.waiting.clone();
        let provider = Provider::builder("clerk")
            .registry(naming.clone())
            .warm_up(WarmUp::NONE)
            .without_readiness()
            .without_offline()
            .without_signals()
            .build()
            .unwrap();
        let (handle, shutdown) = (provider.handle(), provider.shutdown_handle());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = Routes::new(clerk).into_axum_router();
        let serving = tokio::spawn(async move { provider.serve(listener, router).await.unwrap() });
        timeout(SOON, handle.reached(Phase::Serving)).await.unwrap();
        Self { handle, shutdown, go_on, waiting, serving }
    }

    async fn has(&self, condition: impl FnMut(&Waiting) -> bool) {
        timeout(SOON, self.waiting.subscribe().wait_for(condition)).await.unwrap().unwrap();
    }
}

type Stack = Deadline<GracefulClient<balance::Dial<Client<HttpConnector, ReplayBody<Body>>>>>;

/// What `protoc` would have written.
#[derive(Clone)]
struct ClerkClient(tonic::client::Grpc<Stack>);

impl ClerkClient {
    async fn new(naming: &InProcess) -> Self {
        Self::over(BalanceLayer::new(naming.subscribe(&"clerk".parse().unwrap()).await.unwrap()))
    }

    fn over(balance: BalanceLayer) -> Self {
        let stack = GracefulClientLayer::from(balance).layer(http_client_h2());
        Self(tonic::client::Grpc::new(DeadlineLayer::new().layer(stack)))
    }

    async fn ready(&mut self) {
        self.0.ready().await.unwrap();
    }

    async fn answer(&mut self, request: Request<Words>) -> Result<String, Status> {
        self.ready().await;
        let (path, codec) = (PathAndQuery::from_static(ANSWER), ProstCodec::<Words, Words>::default());
        Ok(self.0.unary(request, path, codec).await?.into_inner().text)
    }

    async fn ask(&mut self, text: &str) -> Result<String, Status> {
        self.answer(Request::new(words(text))).await
    }

    async fn count(&mut self, text: &str) -> Streaming<Words> {
        self.ready().await;
        let (path, codec) = (PathAndQuery::from_static(COUNT), ProstCodec::<Words, Words>::default());
        self.0.server_streaming(Request::new(words(text)), path, codec).await.unwrap().into_inner()
    }

    /// Joins what is sent: the answer comes when the sender is dropped.
    async fn join(&mut self) -> (mpsc::Sender<Words>, JoinHandle<Result<String, Status>>) {
        self.ready().await;
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.clone();
        let (path, codec) = (PathAndQuery::from_static(JOIN), ProstCodec::<Words, Words>::default());
        let call = async move {
            let request = Request::new(ReceiverStream::new(receiver));
            Ok(client.0.client_streaming(request, path, codec).await?.into_inner().text)
        };
        (sender, tokio::spawn(call))
    }

    async fn chat(&mut self) -> (mpsc::Sender<Words>, Streaming<Words>) {
        self.ready().await;
        let (sender, receiver) = mpsc::channel(1);
        let (path, codec) = (PathAndQuery::from_static(CHAT), ProstCodec::<Words, Words>::default());
        let request = Request::new(ReceiverStream::new(receiver));
        (sender, self.0.streaming(request, path, codec).await.unwrap().into_inner())
    }
}

/// Who has sent these words.
fn name(text: &str) -> String {
    text.split(':').next().unwrap().to_owned()
}

async fn next(stream: &mut Streaming<Words>) -> Option<String> {
    timeout(SOON, stream.message()).await.unwrap().unwrap().map(|words| words.text)
}

#[tokio::test]
async fn calls_of_every_kind_reach_all_instances_and_keep_their_trailers() {
    let naming = InProcess::new();
    let clerks = [Running::start(&naming, "Ada").await, Running::start(&naming, "Bob").await];
    for clerk in &clerks {
        clerk.go_on.send_replace(true);
    }
    let mut client = ClerkClient::new(&naming).await;
    let mut met = [const { BTreeSet::new() }; 4];
    for _ in 0..30 {
        met[0].insert(name(&client.ask("here").await.unwrap()));

        let mut count = client.count("all").await;
        let mut got = Vec::new();
        while let Some(text) = next(&mut count).await {
            got.push(text);
        }
        let who = name(&got[0]);
        assert_eq!(got, (0..MESSAGES).map(|number| format!("{who}: {number}")).collect::<Vec<_>>());
        assert!(count.trailers().await.unwrap().is_some());
        met[1].insert(who);

        let (sender, answer) = client.join().await;
        for text in ["one", "two"] {
            sender.send(words(text)).await.unwrap();
        }
        drop(sender);
        let joined = answer.await.unwrap().unwrap();
        assert!(joined.ends_with(": one two"), "{joined}");
        met[2].insert(name(&joined));

        let (sender, mut answers) = client.chat().await;
        for text in ["you", "they"] {
            sender.send(words(text)).await.unwrap();
            met[3].insert(name(&next(&mut answers).await.unwrap()));
        }
        drop(sender);
        assert_eq!(next(&mut answers).await, None);
        assert!(answers.trailers().await.unwrap().is_some());
    }
    assert_eq!(met, std::array::from_fn(|_| BTreeSet::from(["Ada".to_owned(), "Bob".to_owned()])));

    let status = client.ask("nobody").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "who?"));
    assert!(status.metadata().contains_key("asked-of"), "a handler's own words arrive");
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_handler() {
    let naming = InProcess::new();
    let ada = Running::start(&naming, "Ada").await;
    let mut client = ClerkClient::new(&naming).await;

    let mut waits = client.clone();
    let call = tokio::spawn(async move { waits.ask("wait").await });
    ada.has(|waiting| waiting.begun == 1).await;
    call.abort();
    ada.has(|waiting| waiting.ended == 1).await;

    let mut stream = client.count("wait").await;
    assert_eq!(next(&mut stream).await.unwrap(), "Ada: wait");
    assert_eq!(ada.waiting.borrow().ended, 1);
    drop(stream);
    ada.has(|waiting| waiting.ended == 2).await;
    assert_eq!(ada.handle.in_flight(), 0);
}

#[tokio::test]
async fn a_deadline_is_known_on_both_sides_and_ends_the_handler() {
    let naming = InProcess::new();
    let ada = Running::start(&naming, "Ada").await;
    let mut client = ClerkClient::new(&naming).await;
    let mut request = Request::new(words("wait"));
    request.set_timeout(Duration::from_millis(300));
    let given = request.metadata().get("grpc-timeout").unwrap().to_str().unwrap().to_owned();
    let status = timeout(SOON, client.answer(request)).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    ada.has(|waiting| waiting.ended == 1).await;
    assert_eq!(ada.waiting.borrow().grpc_timeout, Some(given));
}

/// Opens streams of each kind, tells one of two instances to leave in the middle of them, and lets
/// them end: nothing is lost, and who leaves has nothing to cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_leaves_in_the_middle_of_streams_loses_none() {
    let naming = InProcess::new();
    let [ada, bob] = [Running::start(&naming, "Ada").await, Running::start(&naming, "Bob").await];
    let client = ClerkClient::new(&naming).await;
    let (mut counts, mut joins, mut chats) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20 {
        let mut client = client.clone();
        let mut count = client.count("all").await;
        let who = name(&next(&mut count).await.unwrap());
        counts.push((count, who));
        let (sender, answer) = client.join().await;
        sender.send(words("before")).await.unwrap();
        joins.push((sender, answer));
        let (sender, mut answers) = client.chat().await;
        sender.send(words("before")).await.unwrap();
        let who = name(&next(&mut answers).await.unwrap());
        chats.push((sender, answers, who));
    }
    let asked = Arc::new(AtomicU64::new(0));
    let (counter, mut asking) = (asked.clone(), client.clone());
    let traffic = tokio::spawn(async move {
        loop {
            asking.ask("still there").await.unwrap(); // Not one may fail.
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    while asked.load(Ordering::Relaxed) < 50 {
        sleep(Duration::from_millis(1)).await;
    }

    ada.shutdown.shut_down();
    timeout(SOON, ada.handle.reached(Phase::Leaving)).await.unwrap();
    let off = |list: &Snapshot| list.instances().len() == 1;
    let mut list = naming.subscribe(&"clerk".parse().unwrap()).await.unwrap();
    timeout(SOON, list.wait_for(off)).await.unwrap();
    for _ in 0..20 {
        assert_eq!(name(&client.clone().ask("who is left").await.unwrap()), "Bob");
    }

    assert!(!ada.serving.is_finished());
    ada.go_on.send_replace(true);
    bob.go_on.send_replace(true);
    let mut of_ada = 0;
    for (mut count, who) in counts {
        for number in 1..MESSAGES {
            assert_eq!(next(&mut count).await.unwrap(), format!("{who}: {number}"));
        }
        assert_eq!(next(&mut count).await, None);
        of_ada += u32::from(who == "Ada");
    }
    for (sender, mut answers, who) in chats {
        sender.send(words("after")).await.unwrap();
        assert_eq!(next(&mut answers).await.unwrap(), format!("{who}: after"));
        drop(sender);
        assert_eq!(next(&mut answers).await, None);
        of_ada += u32::from(who == "Ada");
    }
    for (sender, answer) in joins {
        sender.send(words("after")).await.unwrap();
        drop(sender);
        let joined = timeout(SOON, answer).await.unwrap().unwrap().unwrap();
        assert!(joined.ends_with(": before after"), "{joined}");
        of_ada += u32::from(name(&joined) == "Ada");
    }
    assert!((10..50).contains(&of_ada), "{of_ada} of 60 streams were hers");

    let report = timeout(SOON, ada.serving).await.unwrap().unwrap();
    assert_eq!((report.cut_connections, report.untold_callers), (0, 0), "{report}");
    assert!(!traffic.is_finished());
    traffic.abort();
    drop(bob);
}

#[tokio::test]
async fn what_fails_before_any_instance_had_it_is_unavailable_and_says_why() {
    let says = |status: &Status, what: &str| {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains(what), "{}", status.message());
    };
    let clerks: ServiceKey = "clerk".parse().unwrap();

    let nobody = BalanceLayer::new(Snapshots::fixed(clerks.clone(), Vec::new())).with_wait(Duration::ZERO);
    says(&ClerkClient::over(nobody).ask("you").await.unwrap_err(), "no instance of");

    let mut gone = Vec::new();
    for _ in 0..2 {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap(); // Closed as soon as it is known.
        gone.push(Instance::new(closed.local_addr().unwrap().into()));
    }
    let status = ClerkClient::over(BalanceLayer::new(Snapshots::fixed(clerks.clone(), gone)))
        .ask("you")
        .await
        .unwrap_err();
    says(&status, "refused");
    says(&status, "127.0.0.1");

    // Listed, and not serving yet.
    let naming = InProcess::new();
    for epoch in [1, 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        let tag = OfflineTag::new(address, UnixMillis::new(epoch));
        let metadata = Metadata::from_iter([(key::EPOCH, epoch.to_string())]);
        let instance = Instance::new(tag.address.clone()).with_metadata(metadata);
        naming.register(&clerks, &instance).await.unwrap();
        let layer = GracefulLayer::new(Lifecycle::new(), &tag);
        let router = Router::new().layer(layer);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }
    says(&ClerkClient::new(&naming).await.ask("you").await.unwrap_err(), "does not serve yet");
}
