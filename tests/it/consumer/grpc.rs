//! The same stack under a tonic client, nothing boxed.

use super::*;
use crate::grpc::{Words, words};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

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
    let answer = client.unary(Request::new(words(text)), path, ProstCodec::<Words, Words>::default()).await?;
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
