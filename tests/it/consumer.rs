//! A request going out: the whole consumer stack over sockets, against providers that stay, go, start and
//! break.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::ReceiverStream;
use tower::{Layer, ServiceExt};
use tower_graceful::consumer::{
    BoxError, GracefulClient, GracefulClientLayer, InstanceError, ReplayBody, balance, http_client,
    http_client_h2,
};
use tower_graceful::model::{Instance, ServiceKey, Weight, key};
use tower_graceful::naming::header::{OFFLINE, REFUSED, REFUSED_TRUE};
use tower_graceful::naming::{InProcess, Register, Subscribe};

/// A provider on a socket and a runtime of its own, so that it can end as abruptly as a process does.
struct Running {
    instance: Instance,
    calls: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

impl Running {
    /// Serves `router` on `addr`, and registers it under an epoch.
    async fn start(naming: &InProcess, addr: impl Into<SocketAddr>, epoch: u64, router: Router) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bound = runtime.spawn(TcpListener::bind(addr.into()));
        let listener = bound.await.unwrap().unwrap();
        let metadata = [(key::EPOCH, epoch.to_string()), (key::VERSION, "0.1.0".to_owned())];
        let instance = Instance::new(listener.local_addr().unwrap().into());
        let instance = instance.with_metadata(metadata.into_iter().collect());
        let calls = Arc::<AtomicU64>::default();
        let counter = calls.clone();
        let router = router.layer(axum::middleware::map_request(move |request: Request| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        naming.register(&orders(), &instance).await.unwrap();
        Self { instance, calls, runtime: Some(runtime) }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Ends like a process that is killed: connections and port go, the registration stays.
    async fn kill(mut self) -> Instance {
        let runtime = self.runtime.take().unwrap();
        let kill = move || runtime.shutdown_timeout(Duration::from_secs(10)); // It takes no time: nothing blocks.
        tokio::task::spawn_blocking(kill).await.unwrap();
        self.instance.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn orders() -> ServiceKey {
    "orders".parse().unwrap()
}

fn echo() -> Router {
    Router::new().route("/echo", post(async |body: axum::body::Body| body))
}

type Http<B> = GracefulClient<balance::Dial<Client<HttpConnector, ReplayBody<B>>>>;

/// The stack as the quick start has it, over HTTP/1.1 or HTTP/2.
async fn clients<B>(naming: &InProcess) -> [Http<B>; 2]
where
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let snapshots = naming.subscribe(&orders()).await.unwrap();
    let layer = GracefulClientLayer::new(snapshots).with_app("storefront");
    [layer.layer(http_client()), layer.layer(http_client_h2())]
}

async fn echoed(client: &Http<String>, body: &str) -> Result<String, BoxError> {
    let request = http::Request::post("/echo").body(body.to_owned())?;
    let answer = client.clone().oneshot(request).await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?)
}

#[tokio::test]
async fn requests_are_spread_over_all_instances() {
    let naming = InProcess::new();
    let fleet = [
        Running::start(&naming, ANY, 1, echo()).await,
        Running::start(&naming, ANY, 2, echo()).await,
        Running::start(&naming, ANY, 3, echo()).await,
    ];
    for client in clients(&naming).await {
        let before = fleet.each_ref().map(Running::calls);
        for number in 0..300 {
            let body = format!("order {number}");
            assert_eq!(echoed(&client, &body).await.unwrap(), body);
        }
        for (running, before) in fleet.iter().zip(before) {
            let share = running.calls() - before;
            assert!((60..140).contains(&share), "{share} of 300");
        }
    }
}

/// The registry still lists it; every request is sent where it can be handled, whatever its method.
#[tokio::test]
async fn an_instance_that_is_gone_costs_no_request() {
    let naming = InProcess::new();
    let _stays = Running::start(&naming, ANY, 1, echo()).await;
    for client in clients(&naming).await {
        let gone = Running::start(&naming, ANY, 2, echo()).await.kill().await;
        for number in 0..50 {
            let body = format!("order {number}");
            assert_eq!(echoed(&client, &body).await.unwrap(), body);
        }
        naming.deregister(&orders(), &gone.key).await.unwrap();
    }
}

#[tokio::test]
async fn when_all_are_gone_the_error_names_the_instance() {
    let naming = InProcess::new();
    let gone = Running::start(&naming, ANY, 1, echo()).await.kill().await;
    for client in clients(&naming).await {
        let error = echoed(&client, "order").await.unwrap_err();
        assert_eq!(error.downcast_ref::<InstanceError>().unwrap().instance(), &gone);
    }
}

#[tokio::test]
async fn who_says_goodbye_gets_no_further_request_and_its_successor_does() {
    for which in [0, 1] {
        let naming = InProcess::new();
        let _stays = Running::start(&naming, ANY, 1, echo()).await;
        let leaving = Running::start(
            &naming,
            ANY,
            2,
            echo().layer(axum::middleware::map_response(|answer: Response| {
                std::future::ready(([(OFFLINE, r#""127.0.0.1:1";epoch=2;fade=0"#)], answer))
            })),
        )
        .await;
        let client = &clients(&naming).await[which];
        for _ in 0..50 {
            echoed(client, "order").await.unwrap();
        }
        assert_eq!(leaving.calls(), 1);

        let addr = leaving.instance.address().socket_addr().unwrap();
        leaving.kill().await;
        let successor = Running::start(&naming, addr, 3, echo()).await;
        for _ in 0..50 {
            echoed(client, "order").await.unwrap();
        }
        assert!(successor.calls() > 5, "{}", successor.calls());
    }
}

/// A gate that is closed answers before the body has come; the rest of it goes to someone else.
#[tokio::test]
async fn a_stream_that_was_refused_half_sent_continues_elsewhere() {
    for which in [0, 1] {
        let naming = InProcess::new();
        let refuse = async || (StatusCode::SERVICE_UNAVAILABLE, [(REFUSED, REFUSED_TRUE)]).into_response();
        let refusing = Running::start(&naming, ANY, 1, Router::new().fallback(refuse)).await;
        let serving = Running::start(&naming, ANY, 2, echo()).await;
        let hardly = Instance { weight: Weight::new(1e-6).unwrap(), ..serving.instance.clone() };
        naming.register(&orders(), &hardly).await.unwrap(); // The first try meets the other one.
        let client = clients(&naming).await;
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        let body = StreamBody::new(ReceiverStream::new(receiver));
        let request = http::Request::post("/echo").body(body).unwrap();
        let call = tokio::spawn(client[which].clone().oneshot(request));

        sender.send(Ok(Frame::data("half, ".into()))).await.unwrap();
        while serving.calls() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refusing.calls(), 1);
        sender.send(Ok(Frame::data("whole".into()))).await.unwrap();
        drop(sender);
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.body().instance(), &hardly);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "half, whole");
    }
}

#[tokio::test]
async fn a_call_counts_as_in_flight_until_its_answer_has_been_read() {
    let naming = InProcess::new();
    let _running = Running::start(&naming, ANY, 1, echo()).await;
    let snapshots = naming.subscribe(&orders()).await.unwrap();
    let balance = tower_graceful::consumer::BalanceLayer::new(snapshots).layer(http_client());
    let in_flight = || balance.pick().unwrap().in_flight() - 1;
    let answer = balance
        .clone()
        .oneshot(http::Request::post("/echo").body("order".to_owned()).unwrap())
        .await
        .unwrap();
    assert_eq!(in_flight(), 1);
    answer.into_body().collect().await.unwrap();
    assert_eq!(in_flight(), 0);
}

/// The same stack under a tonic client, nothing boxed.
mod grpc {
    use super::*;
    use std::collections::BTreeSet;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio_stream::{Stream, StreamExt};
    use tonic::body::Body;
    use tonic::codegen::http::uri::PathAndQuery;
    use tonic::{Code, Request, Response, Status, Streaming};
    use tonic_prost::ProstCodec;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Words {
        #[prost(string, tag = "1")]
        text: String,
    }

    fn words(text: impl Into<String>) -> Words {
        Words { text: text.into() }
    }

    /// A greeter as `protoc` would have written it.
    #[derive(Clone)]
    struct Greeter {
        name: &'static str,
    }

    type Greetings = Pin<Box<dyn Stream<Item = Result<Words, Status>> + Send>>;
    type Later<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

    impl tonic::server::UnaryService<Words> for Greeter {
        type Response = Words;
        type Future = Later<Response<Words>>;

        fn call(&mut self, request: Request<Words>) -> Self::Future {
            let text = format!("{} greets {}", self.name, request.into_inner().text);
            Box::pin(async move {
                if text.ends_with("nobody") {
                    Err(Status::not_found("who?"))
                } else {
                    Ok(Response::new(words(text)))
                }
            })
        }
    }

    impl tonic::server::StreamingService<Words> for Greeter {
        type Response = Words;
        type ResponseStream = Greetings;
        type Future = Later<Response<Greetings>>;

        fn call(&mut self, request: Request<Streaming<Words>>) -> Self::Future {
            let name = self.name;
            let greet = move |one: Result<Words, Status>| Ok(words(format!("{name} greets {}", one?.text)));
            let stream = request.into_inner().map(greet);
            Box::pin(async move { Ok(Response::new(Box::pin(stream) as Greetings)) })
        }
    }

    impl tower::Service<http::Request<axum::body::Body>> for Greeter {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
            let greeter = self.clone();
            Box::pin(async move {
                let mut grpc = tonic::server::Grpc::new(ProstCodec::<Words, Words>::default());
                let request = request.map(Body::new);
                Ok(match request.uri().path() {
                    "/shop.Greeter/Greet" => grpc.unary(greeter, request).await,
                    _ => grpc.streaming(greeter, request).await,
                })
            })
        }
    }

    fn router(name: &'static str) -> Router {
        Router::new().fallback_service(Greeter { name })
    }

    async fn unary<T>(client: &mut tonic::client::Grpc<T>, text: &str) -> Result<String, Status>
    where
        T: tonic::client::GrpcService<Body>,
        T::ResponseBody: http_body::Body + Send + 'static,
        <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
    {
        client.ready().await.map_err(|error| Status::unknown(error.into().to_string()))?;
        let path = PathAndQuery::from_static("/shop.Greeter/Greet");
        let answer =
            client.unary(Request::new(words(text)), path, ProstCodec::<Words, Words>::default()).await?;
        Ok(answer.into_inner().text)
    }

    async fn stack(naming: &InProcess) -> tonic::client::Grpc<Http<Body>> {
        let [_, http2] = clients(naming).await;
        tonic::client::Grpc::new(http2)
    }

    #[tokio::test]
    async fn unary_calls_reach_all_instances_and_survive_the_end_of_one() {
        let naming = InProcess::new();
        let _ada = Running::start(&naming, ANY, 1, router("Ada")).await;
        let bob = Running::start(&naming, ANY, 2, router("Bob")).await;
        let mut client = stack(&naming).await;
        let mut met = BTreeSet::new();
        for _ in 0..50 {
            met.insert(unary(&mut client.clone(), "you").await.unwrap());
        }
        assert_eq!(met, BTreeSet::from(["Ada greets you".to_owned(), "Bob greets you".to_owned()]));
        assert_eq!(unary(&mut client, "nobody").await.unwrap_err().code(), Code::NotFound);

        bob.kill().await;
        let mut lost = 0;
        for _ in 0..50 {
            // A call that was under way, or handed to the dying connection, may have been applied.
            lost += u32::from(unary(&mut client, "you").await.is_err());
        }
        assert!(lost <= 1, "{lost}");
    }

    #[tokio::test]
    async fn streams_flow_both_ways_at_once() {
        let naming = InProcess::new();
        let _ada = Running::start(&naming, ANY, 1, router("Ada")).await;
        let mut client = stack(&naming).await;
        client.ready().await.unwrap();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let path = PathAndQuery::from_static("/shop.Greeter/GreetAll");
        let codec = ProstCodec::<Words, Words>::default();
        let request = Request::new(ReceiverStream::new(receiver));
        let mut answers = client.streaming(request, path, codec).await.unwrap().into_inner();
        for name in ["you", "them"] {
            sender.send(words(name)).await.unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap().text, format!("Ada greets {name}"));
        }
        drop(sender);
        assert_eq!(answers.message().await.unwrap(), None);
        assert!(answers.trailers().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn our_own_errors_arrive_as_unavailable_with_their_reason() {
        let naming = InProcess::new();
        let gone = Running::start(&naming, ANY, 1, router("Ada")).await.kill().await;
        let status = unary(&mut stack(&naming).await, "you").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        for reason in [gone.address().to_string(), "refused".to_owned()] {
            assert!(status.message().contains(&reason), "{}", status.message());
        }

        let snapshots = InProcess::new().subscribe(&orders()).await.unwrap();
        let at_once = balance::BalanceLayer::new(snapshots).with_wait(Duration::ZERO);
        let nobody = GracefulClientLayer::from(at_once).layer(http_client_h2());
        let status = unary(&mut tonic::client::Grpc::new(nobody), "you").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("no instance of"), "{}", status.message());
    }

    /// A tonic channel for each instance instead of one client for all.
    #[tokio::test]
    async fn channels_can_be_balanced_too() {
        let naming = InProcess::new();
        let _ada = Running::start(&naming, ANY, 1, router("Ada")).await;
        let gone = Running::start(&naming, ANY, 2, router("Bob")).await.kill().await;
        let snapshots = naming.subscribe(&orders()).await.unwrap();
        let layer = GracefulClientLayer::new(snapshots);
        let stack = layer.over(|instance| {
            let uri = format!("http://{}", instance.address());
            Channel(tonic::transport::Endpoint::try_from(uri).unwrap().connect_lazy())
        });
        let mut client = tonic::client::Grpc::new(stack);
        let mut tally = BTreeMap::new();
        for _ in 0..20 {
            *tally.entry(unary(&mut client, "you").await.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(tally, BTreeMap::from([("Ada greets you".to_owned(), 20)]));
        naming.deregister(&orders(), &gone.key).await.unwrap();
    }

    /// A channel takes tonic's own body only.
    #[derive(Clone)]
    struct Channel(tonic::transport::Channel);

    impl<B> tower::Service<http::Request<B>> for Channel
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        type Response = http::Response<Body>;
        type Error = tonic::transport::Error;
        type Future = tonic::transport::channel::ResponseFuture;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            tower::Service::poll_ready(&mut self.0, cx)
        }

        fn call(&mut self, request: http::Request<B>) -> Self::Future {
            self.0.call(request.map(Body::new))
        }
    }
}
