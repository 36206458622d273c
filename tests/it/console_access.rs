//! Who comes in to the console: logins and their ends, forms that foreign pages send, and names that lead here.

use super::registry::{Running, SOON};
use super::registry_access::{PASSWORD, asking};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_graceful::Clock;
use tower_graceful::model::UnixMillis;
use tower_graceful::registry::Settings;

/// An answer as it stands on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of the first header of this name, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// What a browser does about cookies, hosts and where its forms come from.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    registry: SocketAddr,
    /// In the address bar.
    pub(crate) host: String,
    /// What it says of where its forms come from.
    pub(crate) says: String,
    pub(crate) cookies: Vec<(String, String)>,
}

impl Browser {
    pub(crate) fn at(registry: &Running) -> Self {
        let host = registry.http.to_string();
        let says = format!("origin: http://{host}\r\nsec-fetch-site: same-origin\r\n");
        Self { registry: registry.http, host, says, cookies: Vec::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send("POST", path, form).await
    }

    /// Sends a form, and goes where that leads.
    pub(crate) async fn submit(&mut self, path: &str, form: &str) -> Answer {
        let answer = self.post(path, form).await;
        assert_eq!(answer.status, 303, "{path} {form}: {}", answer.body);
        let to = answer.header("location").to_owned();
        self.get(&to).await
    }

    async fn send(&mut self, method: &str, path: &str, form: &str) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies =
            if cookies.is_empty() { String::new() } else { format!("cookie: {}\r\n", cookies.join("; ")) };
        let says = if method == "GET" { "" } else { &*self.says };
        let length = form.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\naccept: text/html\r\nconnection: close\r\n{cookies}{says}content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{form}",
            self.host
        );
        let mut stream = TcpStream::connect(self.registry).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        for line in head.lines().filter_map(|line| line.strip_prefix("set-cookie: ")) {
            assert!(
                line.contains("; Path=/console; ") && line.contains("; HttpOnly; SameSite=Strict"),
                "{line}"
            );
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(own, _)| own != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) async fn log_in(&mut self, name: &str) {
        let answer = self.post("/console/login", &format!("username={name}&password={PASSWORD}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/console"), "{}", answer.body);
    }

    pub(crate) fn token(&self) -> &str {
        &self.cookies.iter().find(|(name, _)| name.starts_with("graceful-session-")).unwrap().1
    }
}

#[tokio::test]
async fn whoever_is_nobody_logs_in_and_comes_to_the_page_they_wanted() {
    let registry = Running::start_with(asking()).await;
    let mut browser = Browser::at(&registry);
    let answer = browser.get("/console?namespaceId=dev").await;
    assert_eq!(answer.status, 303);
    let login = answer.header("location").to_owned();
    assert_eq!(login, "/console/login?next=%2Fconsole%3FnamespaceId%3Ddev");
    let page = browser.get(&login).await;
    assert!(page.body.contains(r#"name="next" value="/console?namespaceId=dev""#), "{}", page.body);
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "{}", page.head);
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(!page.body.contains("<select"), "namespaces are not for strangers");

    let wrong = browser.post("/console/login", "username=ops&password=wrong%22%3E&next=/console").await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.body.contains("no such user") && wrong.body.contains(r#"value="ops""#), "{}", wrong.body);
    assert!(!wrong.body.contains("wrong&#34;") && browser.cookies.is_empty(), "a password is not sent back");
    for elsewhere in ["https://evil.example", "//evil.example/console", "/nacos/v1", "/console/login"] {
        let form = format!("username=ops&password={PASSWORD}&next={elsewhere}");
        let answer = browser.clone().post("/console/login", &form).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/console"), "{elsewhere}");
    }
    let form = format!("username=ops&password={PASSWORD}&next=/console?namespaceId=dev");
    let page = browser.submit("/console/login", &form).await;
    assert!(page.status == 200 && page.body.contains("<bdi>ops</bdi>"), "{}", page.body);

    let token = browser.token().to_owned();
    let header = format!("accessToken: {token}");
    let (status, _) = registry.send("GET", &format!("/graceful/v1/services?accessToken={token}"), "").await;
    assert_eq!(status, 200, "it is the token of any login: {header}");
    let mut other = Browser::at(&registry);
    other.log_in("ops").await;
    assert_ne!(other.token(), token, "two logins of one moment are two");
    let page = browser.submit("/console/logout", "").await;
    assert!(page.body.contains("You are logged out."), "{}", page.body);
    assert_eq!(other.get("/console").await.status, 200, "the end of one is not that of the other");
    assert!(!browser.get("/console/login").await.body.contains("logged out"), "it is told once");
    assert_eq!(browser.get("/console").await.status, 303);
    let (status, _) = registry.send("GET", &format!("/graceful/v1/services?accessToken={token}"), "").await;
    assert_eq!(status, 401, "its token is worth nothing any more");
    registry.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_its_time_its_password_and_its_user() {
    let (clock, set) = Clock::manual(UnixMillis::new(1_000_000));
    let settings = Settings { clock, token_ttl: Duration::from_secs(60), ..asking() };
    let registry = Running::start_with(settings).await;
    let mut ops = Browser::at(&registry);
    ops.log_in("ops").await;
    let admin = format!("accessToken={}", ops.token());
    let user = async |method: &str, rest: &str| {
        let (status, body) = registry.send(method, "/nacos/v1/auth/users", &format!("{rest}&{admin}")).await;
        assert_eq!(status, 200, "{body}");
    };
    let mut ann = Browser::at(&registry);
    user("POST", &format!("username=ann&password={PASSWORD}")).await;
    let (status, _) =
        registry.send("POST", "/nacos/v1/auth/roles", &format!("username=ann&role=read&{admin}")).await;
    assert_eq!(status, 200);
    ann.log_in("ann").await;
    assert_eq!(ann.get("/console").await.status, 200);
    user("PUT", "username=ann&newPassword=another+horse").await;
    assert_eq!(ann.get("/console").await.status, 303, "another password ends it");
    let answer = ann.post("/console/login", "username=ann&password=another+horse").await;
    assert_eq!(answer.status, 303);
    assert_eq!(ann.get("/console").await.status, 200);
    user("DELETE", "username=ann").await;
    assert_eq!(ann.get("/console").await.status, 303, "and so does the removal");

    assert!(ops.get("/console").await.body.contains("<bdi>ops</bdi>"));
    set.advance(Duration::from_secs(61));
    assert_eq!(ops.get("/console").await.status, 303);
    registry.stop().await;
}

#[tokio::test]
async fn whoever_guesses_is_kept_waiting() {
    let registry = Running::start_with(asking()).await;
    let mut browser = Browser::at(&registry);
    let guessed = async {
        loop {
            let answer = browser.post("/console/login", "username=ops&password=guessed").await;
            if answer.status != 403 {
                return answer;
            }
        }
    };
    let answer = timeout(SOON, guessed).await.unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0, "{}", answer.head);
    assert!(answer.body.contains("too many failed logins"), "{}", answer.body);
    registry.stop().await;
}

#[tokio::test]
async fn forms_that_no_page_of_ours_has_sent_are_refused() {
    let registry = Running::start_with(asking()).await;
    let mut browser = Browser::at(&registry);
    let login = format!("username=ops&password={PASSWORD}");
    let own = browser.host.clone();
    let foreign_port = format!("origin: http://{}\r\n", own.replace(':', ":1"));
    for says in [
        "sec-fetch-site: cross-site\r\norigin: https://evil.example\r\n",
        "sec-fetch-site: same-site\r\norigin: http://other.localhost\r\n",
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        &foreign_port,
        "referer: https://evil.example/\r\n",
        "",
    ] {
        let mut forged = browser.clone();
        forged.says = says.to_owned();
        for path in ["/console/login", "/console/logout"] {
            let answer = forged.post(path, &login).await;
            assert_eq!(answer.status, 403, "{path} {says}");
            assert!(answer.body.contains("was not sent by a page of this console"), "{}", answer.body);
            assert!(forged.cookies.is_empty());
        }
    }
    for says in [format!("origin: http://{own}\r\n"), "sec-fetch-site: same-origin\r\n".to_owned()] {
        browser.says = says;
        browser.log_in("ops").await;
    }
    registry.stop().await;
}

#[tokio::test]
async fn where_nobody_is_asked_the_name_of_the_console_is_one_of_ours() {
    let settings = Settings {
        http_port: 0,
        no_auth: true,
        console_hosts: vec!["registry.example".to_owned()],
        ..Settings::default()
    };
    for settings in [settings, Settings { http_port: 0, ..Settings::default() }] {
        let configured = !settings.console_hosts.is_empty();
        let registry = Running::start_with(settings).await;
        let mut browser = Browser::at(&registry);
        let page = browser.get("/console").await;
        assert!(page.body.contains("Nobody is asked here who they are"), "{}", page.body);
        let port = registry.http.port();
        for (host, is_ours) in [
            (format!("localhost:{port}"), true),
            (format!("127.0.0.1:{port}"), true),
            (format!("registry.example:{port}"), configured),
            (format!("evil.example:{port}"), false),
            ("evil.example".to_owned(), false),
        ] {
            browser.host.clone_from(&host);
            browser.says = format!("origin: http://{host}\r\nsec-fetch-site: same-origin\r\n");
            let (page, form) = (browser.get("/console").await, browser.post("/console/login", "").await);
            assert_eq!((page.status, form.status), if is_ours { (200, 303) } else { (421, 421) }, "{host}");
            assert!(is_ours || page.body.contains("--console-hosts"), "{}", page.body);
        }
        let (status, body) = registry.send("GET", "/graceful/v1/services", "").await;
        assert_eq!(status, 200, "programs come under any name: {body}");
        let _: Value = serde_json::from_str(&body).unwrap();
        registry.stop().await;
    }
}
