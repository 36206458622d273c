//! The way out of a whole process: a real signal, what is under way then, and the exit code.

use super::end::web_socket;
use super::greeter::{GreeterClient, Name};
use super::*;
use crate::shop::{ended, example, heard, line, signal};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// An example that serves, and what it says.
struct Server {
    address: SocketAddr,
    child: Child,
    said: tokio::io::Lines<tokio::io::BufReader<ChildStdout>>,
}

impl Server {
    /// Starts it with short limits: who has a stream open hears of the way out only from the end of its
    /// connection, and is waited for until then.
    async fn start(mut command: Command) -> Self {
        command.env("GRACEFUL_LAME_DUCK_MAX", "0.2").env("GRACEFUL_DRAIN_TIMEOUT", "4");
        let (child, mut said) = heard(command);
        let listening = line(&mut said).await;
        let address = listening.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { address, child, said }
    }

    fn terminate(&self) {
        signal(&self.child, Signal::TERM);
    }

    /// Its exit code, and its last line.
    async fn ended(mut self) -> (Option<i32>, String) {
        let report = line(&mut self.said).await;
        (ended(self.child).await.status.code(), report)
    }
}

#[tokio::test]
async fn a_web_socket_under_way_at_a_signal_is_closed_with_the_code_for_going_away() {
    let server = Server::start(example("long_lived")).await;
    let mut client = web_socket(server.address).await;
    server.terminate();
    let mut close = [0; 4];
    timeout(FAR, client.read_exact(&mut close)).await.unwrap().unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xe9], "a frame of kind Close with the code 1001");
    client.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).await.unwrap(); // The mask is zero.
    let (code, report) = server.ended().await;
    assert_eq!(code, Some(0), "{report}");
    assert!(report.ends_with("; nothing was cut"), "{report}");
}

#[tokio::test]
async fn events_without_an_end_are_cut_at_the_deadline_and_the_exit_code_says_so() {
    let server = Server::start(example("long_lived")).await;
    let [news, ticks] = ["/news", "/ticks"].map(async |path| {
        let mut client = Http1(handshake_http1(server.address).await);
        let mut answer = client.get(path).await;
        let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: 1\n\n");
        answer
    });
    let (news, mut ticks) = (news.await, ticks.await);
    server.terminate();
    // What looks at the drain ends whole; what does not goes on beyond it.
    let news = timeout(FAR, news.into_body().collect()).await.unwrap().unwrap().to_bytes();
    assert!(news.ends_with(b"\n\n"), "{news:?}");
    let cut = async {
        let mut further = 0;
        while ticks.frame().await.expect("it has no end").is_ok() {
            further += 1;
        }
        further
    };
    let further = timeout(FAR, cut).await.expect("it is cut");
    assert!(further > 10, "{further} ticks after the news had ended");
    let (code, report) = server.ended().await;
    assert_eq!(code, Some(3), "{report}");
    assert!(report.ends_with("; cut: 1 connection with 1 request"), "{report}");
}

#[tokio::test]
async fn a_grpc_stream_under_way_at_a_signal_is_finished_to_its_trailers() {
    let mut registry = example("shop");
    registry.args(["registry", "--http-port", "0"]);
    let (_registry, mut said) = heard(registry);
    let ready: Value = serde_json::from_str(&line(&mut said).await).unwrap();
    let mut greeter = example("greeter_server");
    greeter.args(["--registry", ready["ready"]["listen"].as_str().unwrap()]);
    let server = Server::start(greeter).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = GreeterClient::new(channel.connect().await.unwrap());
    let name = |times| Name { name: "Anna".to_owned(), times };
    let serves = async { while client.greet(name(1)).await.is_err() {} };
    timeout(FAR, serves).await.expect("it refuses until it is registered");

    let mut greetings = client.greet_often(name(150)).await.unwrap().into_inner();
    assert!(greetings.message().await.unwrap().is_some());
    server.terminate();
    let mut count = 1;
    while timeout(FAR, greetings.message()).await.unwrap().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 150);
    assert!(greetings.trailers().await.unwrap().is_some(), "the status came");
    let exit = timeout(FAR, ended(server.child)).await.unwrap();
    assert_eq!(exit.status.code(), Some(0));
}
