//! An instance's life on the registry: over plain HTTP, with a foreign SDK, and as a process.

use nacos_sdk::api::naming::{
    NamingChangeEvent, NamingEventListener, NamingService, NamingServiceBuilder, ServiceInstance,
};
use nacos_sdk::api::props::ClientProps;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_graceful::registry::{Error, Registry, Settings};

/// Longest wait for anything here; foreign clients look around every few seconds.
pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// Binds; a port that is given was this test's own a moment ago, and whoever got it meanwhile gives it back. So
/// does a process that another test starts, and that has the lock of a directory until it is another program.
async fn bind(settings: Settings) -> Registry {
    let bound = async {
        loop {
            match Registry::bind(settings.clone()).await {
                Err(_) if settings.http_port != 0 || settings.data_dir.is_some() => {
                    sleep(Duration::from_millis(50)).await;
                }
                bound => return bound.unwrap(),
            }
        }
    };
    timeout(SOON, bound).await.expect("the port does not become free")
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::start_on(0).await
    }

    pub(crate) async fn start_on(http_port: u16) -> Self {
        Self::start_with(Settings { http_port, ..Settings::default() }).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let registry = bind(settings).await;
        let (stop, stopped) = oneshot::channel();
        let (http, grpc) = (registry.http_addr(), registry.grpc_addr());
        let served = tokio::spawn(registry.serve(async { stopped.await.unwrap_or_default() }));
        Self { http, grpc, stop, served }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(SOON, self.served).await.unwrap().unwrap();
    }

    /// Ends as a process does that is killed: nobody is told anything.
    pub(crate) async fn kill(self) {
        self.served.abort();
        assert!(self.served.await.unwrap_err().is_cancelled());
    }

    /// One request as it stands on the wire, of version 1 unless its path says otherwise; status and body of the answer.
    pub(crate) async fn send(&self, method: &str, path: &str, form: &str) -> (u16, String) {
        let (head, body) = exchange(self.http, method, path, form).await;
        (status(&head), body)
    }

    /// The same without a form, from a client that calls itself `agent`.
    pub(crate) async fn send_as(&self, agent: &str, method: &str, path: &str) -> (u16, String) {
        let (head, body) = exchange_as(agent, self.http, method, path, "").await;
        (status(&head), body)
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

async fn exchange(addr: SocketAddr, method: &str, path: &str, form: &str) -> (String, String) {
    exchange_as("", addr, method, path, form).await
}

async fn exchange_as(
    agent: &str,
    addr: SocketAddr,
    method: &str,
    path: &str,
    form: &str,
) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = form.len();
    let prefix = if ["/nacos", "/graceful", "/metrics"].iter().any(|own| path.starts_with(own)) {
        ""
    } else {
        "/nacos/v1/ns"
    };
    let request = format!(
        "{method} {prefix}{path} HTTP/1.1\r\nhost: registry\r\nuser-agent: {agent}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn ok(body: &str) -> (u16, String) {
    (200, body.to_owned())
}

#[tokio::test]
async fn an_instance_is_registered_listed_and_taken_off_over_http() {
    let registry = Running::start().await;
    let list = "/instance/list?serviceName=shop%40%40orders&clusters=DEFAULT";
    let (status, unknown) = registry.send("GET", list, "").await;
    assert_eq!(status, 200);
    assert!(unknown.contains(r#""hosts":[]"#), "{unknown}");

    let query = "/instance?groupName=shop&serviceName=orders&ip=10.0.0.7&port=80&enable=True&weight=2";
    assert_eq!(registry.send("POST", query, "metadata=zone%3Da").await, ok("ok"));
    let (head, body) = exchange(registry.http, "GET", list, "").await;
    assert!(head.contains("content-type: application/json;charset=UTF-8"), "{head}");
    for part in [
        r#""name":"shop@@orders""#,
        r#""groupName":"shop""#,
        r#""clusters":"DEFAULT""#,
        r#""instanceId":"10.0.0.7#80#DEFAULT#shop@@orders""#,
        r#""weight":2.0"#,
        r#""metadata":{"zone":"a"}"#,
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    let other = "/instance/list?serviceName=shop%40%40orders&clusters=other";
    assert!(registry.send("GET", other, "").await.1.contains(r#""hosts":[]"#));
    let (status, detail) = registry.send("GET", query, "").await;
    assert_eq!(status, 200);
    assert!(detail.contains(r#""service":"shop@@orders","ip":"10.0.0.7","port":80"#), "{detail}");
    let names = registry.send("GET", "/service/list?pageNo=1&pageSize=10&groupName=shop", "").await;
    assert_eq!(names, ok(r#"{"count":1,"doms":["orders"]}"#));

    assert_eq!(
        registry.send("DELETE", "/instance?serviceName=shop@@orders", "ip=10.0.0.7&port=80").await,
        ok("ok")
    );
    assert_eq!(registry.send("DELETE", query, "").await, ok("ok"), "nothing there is a success");
    assert_eq!(registry.send("GET", query, "").await.0, 404);
    assert!(registry.send("GET", list, "").await.1.contains(r#""hosts":[]"#));
    assert_eq!(registry.send("GET", "/operator/metrics", "").await, ok(r#"{"status":"UP"}"#));
    let (_, counts) = registry.send("GET", "/operator/metrics?onlyStatus=false", "").await;
    let remembered = r#""serviceCount":1,"instanceCount":0"#;
    assert!(counts.contains(remembered), "{counts}");
}

#[tokio::test]
async fn heartbeats_keep_an_instance_and_full_ones_bring_it_back() {
    let registry = Running::start().await;
    let light = "/instance/beat?serviceName=DEFAULT_GROUP%40%40orders&ip=10.0.0.7&port=80";
    let answer = |code: u16, interval: u16| {
        ok(&format!(r#"{{"clientBeatInterval":{interval},"code":{code},"lightBeatEnabled":true}}"#))
    };
    assert_eq!(registry.send("PUT", light, "").await, answer(20404, 5000));
    let full = concat!(
        r#"/instance/beat?serviceName=orders&beat={"ip":"10.0.0.7","port":80,"cluster":"DEFAULT","#,
        r#""weight":1.0,"serviceName":"x","scheduled":true,"#,
        r#""metadata":{"zone":"a","preserved.heart.beat.interval":"3000"}}"#
    );
    let full = full.replace(' ', "%20").replace('"', "%22");
    assert_eq!(registry.send("PUT", &full, "").await, answer(10200, 3000));
    let (_, list) = registry.send("GET", "/instance/list?serviceName=orders", "").await;
    assert!(list.contains(r#""metadata":{"preserved.heart.beat.interval":"3000","zone":"a"}"#), "{list}");
    assert_eq!(registry.send("PUT", light, "").await, answer(10200, 3000));
    let (_, again) = registry.send("GET", "/instance/list?serviceName=orders", "").await;
    assert_eq!(again, list, "a heartbeat changes nothing that a list shows");
}

#[tokio::test]
async fn silent_instances_are_marked_and_removed_after_the_times_they_asked_for() {
    let registry = Running::start().await;
    let metadata =
        "preserved.heart.beat.interval=50,preserved.heart.beat.timeout=200,preserved.ip.delete.timeout=800";
    let query = format!("/instance?serviceName=orders&ip=10.0.0.7&port=80&metadata={metadata}");
    assert_eq!(registry.send("POST", &query, "").await, ok("ok"));
    let until = async |part: &str| {
        while !registry.send("GET", "/instance/list?serviceName=orders", "").await.1.contains(part) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, until(r#""healthy":false"#)).await.unwrap();
    timeout(SOON, until(r#""hosts":[]"#)).await.unwrap();
}

#[tokio::test]
async fn wrong_input_is_answered_with_what_is_wrong_and_what_is_accepted() {
    let registry = Running::start().await;
    let one = "/instance?serviceName=orders&ip=10.0.0.7&port=80";
    for (method, path, status, said) in [
        ("POST", "/instance", 400, "Param 'serviceName' is required."),
        ("POST", "/instance?serviceName=orders&port=80", 400, "Param 'ip' is required."),
        ("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=", 400, "Param 'port' is required."),
        ("POST", "/instance?serviceName=orders&ip=10.0.0.7&port=65536", 400, "0 to 65535"),
        ("POST", "/instance?serviceName=orders&ip=a%20b&port=80", 400, "an IP address, or a name"),
        ("POST", "/instance?serviceName=%40%40orders&ip=10.0.0.7&port=80", 400, "not beginning with @"),
        ("POST", "/instance?serviceName=%ff&ip=10.0.0.7&port=80", 400, "percent-encoded UTF-8"),
        ("POST", &format!("{one}&groupName=a/b"), 400, "group name"),
        ("POST", &format!("{one}&namespaceId=a.b"), 400, "namespace name"),
        ("POST", &format!("{one}&clusterName=a.b"), 400, "cluster name"),
        ("POST", &format!("{one}&weight=-1"), 400, "The weights range from 0.0 to 10000.0"),
        ("POST", &format!("{one}&healthy=yes"), 400, "true or false"),
        ("POST", &format!("{one}&metadata=%7B"), 400, "metadata is not valid JSON"),
        ("POST", &format!("{one}&metadata=preserved.heart.beat.timeout=1"), 400, "interval"),
        ("DELETE", "/instance?serviceName=orders", 400, "Param 'ip' is required."),
        ("GET", one, 404, "no such instance"),
        ("GET", "/instance/list", 400, "Param 'serviceName' is required."),
        ("GET", "/instance/list?serviceName=orders&healthyOnly=1", 400, "true or false"),
        ("PUT", "/instance/beat?serviceName=orders&beat=%7B", 400, "beat is not valid JSON"),
        ("PUT", "/instance/beat?serviceName=orders", 400, "Param 'ip' is required."),
        ("GET", "/service/list?pageSize=1", 400, "Param 'pageNo' is required."),
        ("GET", "/service/list?pageNo=-1&pageSize=1", 400, "a whole number"),
        ("PUT", one, 400, "service not found"),
        ("PATCH", one, 404, "no such instance"),
        ("PUT", "/instance/list", 405, "PUT is not supported"),
        ("GET", "/nowhere", 404, "there is nothing at /nacos/v1/ns/nowhere"),
    ] {
        let (got, body) = registry.send(method, path, "").await;
        assert!(got == status && body.contains(said), "{method} {path}: {got} {body}");
    }
    let long = format!("metadata=k={}", "v".repeat(65_536));
    let (status, body) = registry.send("POST", one, &long).await;
    assert_eq!(
        (status, body.as_str()),
        (400, "metadata of 65537 characters are too long: accepted are up to 65536")
    );
    let (status, _) = registry.send("POST", one, &"x".repeat(1024 * 1024 + 1)).await;
    assert_eq!(status, 413);
    let (_, counts) = registry.send("GET", "/operator/metrics?onlyStatus=false", "").await;
    assert!(counts.contains(r#""instanceCount":0"#), "{counts}");
}

/// What a subscriber of the SDK is told, list by list.
struct Told(mpsc::UnboundedSender<Vec<i32>>);

impl NamingEventListener for Told {
    fn event(&self, event: Arc<NamingChangeEvent>) {
        let mut ports: Vec<i32> = event.instances.iter().flatten().map(|instance| instance.port).collect();
        ports.sort_unstable();
        let _ = self.0.send(ports);
    }
}

async fn sdk(registry: &Running) -> NamingService {
    let props = ClientProps::new()
        .server_addr(registry.http.to_string())
        .remote_grpc_port(registry.grpc.port())
        .namespace("public")
        .naming_push_empty_protection(false)
        .naming_load_cache_at_start(false)
        .cache_dir(env!("CARGO_TARGET_TMPDIR"))
        .app_name("tests");
    NamingServiceBuilder::new(props).build().await.unwrap()
}

fn instance(port: i32) -> ServiceInstance {
    let metadata = [("zone".to_owned(), "a".to_owned())].into();
    ServiceInstance { ip: "10.0.0.7".to_owned(), port, metadata, ..ServiceInstance::default() }
}

async fn until(told: &mut mpsc::UnboundedReceiver<Vec<i32>>, ports: &[i32]) {
    let wait = async { while told.recv().await.unwrap() != ports {} };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("never told of {ports:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nacos_sdk_registers_subscribes_and_returns_after_a_restart() {
    let registry = Running::start().await;
    let (provider, consumer) = (sdk(&registry).await, sdk(&registry).await);
    let (orders, group) = (|| "orders".to_owned(), || Some("shop".to_owned()));
    let (tell, mut told) = mpsc::unbounded_channel();
    consumer.subscribe(orders(), group(), Vec::new(), Arc::new(Told(tell))).await.unwrap();

    provider.register_instance(orders(), group(), instance(80)).await.unwrap();
    until(&mut told, &[80]).await;
    let all = provider.get_all_instances(orders(), group(), Vec::new(), false).await.unwrap();
    assert_eq!((all.len(), all[0].port, all[0].metadata["zone"].as_str()), (1, 80, "a"));
    let healthy = provider.select_instances(orders(), group(), Vec::new(), false, true).await.unwrap();
    assert_eq!(healthy.len(), 1);
    let (names, count) = provider.get_service_list(1, 10, group()).await.unwrap();
    assert_eq!((names, count), (vec!["orders".to_owned()], 1));

    // Another client: this one would repeat both of its registrations after a restart, in any order.
    provider.deregister_instance(orders(), group(), instance(80)).await.unwrap();
    let batch = sdk(&registry).await;
    batch.batch_register_instance(orders(), group(), vec![instance(81), instance(82)]).await.unwrap();
    until(&mut told, &[81, 82]).await;

    let port = registry.http.port();
    registry.stop().await;
    let registry = Running::start_on(port).await;
    let back = async {
        let list = "/instance/list?serviceName=shop@@orders";
        while !registry.send("GET", list, "").await.1.contains(r#""port":82"#) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(SOON, back).await.expect("the provider registers again by itself");
    batch.batch_register_instance(orders(), group(), vec![instance(83)]).await.unwrap();
    until(&mut told, &[83]).await; // Which shows that the subscription, too, has come back.
    registry.stop().await;
}

#[tokio::test]
async fn what_cannot_be_had_is_named_by_its_setting() {
    let registry = Running::start().await;
    let taken = Settings { http_port: registry.http.port(), ..Settings::default() };
    assert!(matches!(Registry::bind(taken).await, Err(Error::Listen { setting: "http-port", .. })));
    let grpc_port = Some(registry.grpc.port());
    let taken = Settings { http_port: 0, grpc_port, ..Settings::default() };
    let error = Registry::bind(taken).await.unwrap_err().to_string();
    assert_eq!(error, format!("grpc-port: cannot listen on {}", registry.grpc));
}

#[tokio::test]
async fn the_program_says_that_it_is_ready_and_ends_with_a_signal() {
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_graceful"));
    program.args(["registry", "--http-port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = program.kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    let http = ready.strip_prefix("registry ready: http ").unwrap().split(',').next().unwrap();
    let (head, _) = exchange(http.parse().unwrap(), "GET", "/operator/metrics", "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(timeout(SOON, child.wait()).await.unwrap().unwrap().code(), Some(0));
    assert_eq!(lines.next_line().await.unwrap(), None, "one line, and no more");
}

#[test]
fn the_program_tells_wrong_usage_from_what_could_not_be_done() {
    let run = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
        let output = program.arg("registry").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, code, said) in [
        (["--bind", "0.0.0.0"], 2, "no-auth"),
        (["--http-port", "70000"], 2, "--http-port"),
        (["--http-port", "65000"], 2, "grpc-port"),
        (["--data-dir", "/proc/none"], 1, "data-dir: cannot write in /proc/none"),
    ] {
        let (got, stderr) = run(&arguments);
        assert!(got == code && stderr.contains(said), "{arguments:?}: {got} {stderr}");
    }
}
