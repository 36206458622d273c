//! What operators do from the pages of the console: each act says what will happen, does it for whoever is sure,
//! and is written down with whoever did it; whatever is wrong, forged or not allowed changes nothing.

use super::console_access::{Answer, Browser};
use super::registry::{Running, SOON};
use super::registry_access::{PASSWORD, asking};
use super::registry_reports::Orders;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower_graceful::client::Nacos;
use tower_graceful::model::{Instance, ServiceKey};
use tower_graceful::naming::Register;

const ORDERS: &str = "namespaceId=public&groupName=DEFAULT_GROUP&serviceName=orders";
const ONE: &str = "instance=10.0.0.7:1%23DEFAULT";
const TWO: &str = "instance=10.0.0.7:2%23DEFAULT";

/// Every act, with a form that means something.
const ACTS: [(&str, &str); 13] = [
    ("enable", "instance=10.0.0.7:1%23DEFAULT"),
    ("disable", "instance=10.0.0.7:1%23DEFAULT"),
    ("weight", "instance=10.0.0.7:1%23DEFAULT&weight=2"),
    ("metadata", "instance=10.0.0.7:1%23DEFAULT&metadata=zone=a"),
    ("take-back", "instance=10.0.0.7:1%23DEFAULT"),
    ("offline", "instance=10.0.0.7:1%23DEFAULT"),
    ("keep", "ip=10.0.0.9&port=9"),
    ("remove", "instance=10.0.0.7:1%23DEFAULT"),
    ("create-service", "kind=persistent"),
    ("update-service", "protectThreshold=0.5"),
    ("delete-service", ""),
    ("rollout", "warmup=60"),
    ("close", "connection=1"),
];

/// A registry in which `orders` has two instances.
async fn registry() -> Running {
    let registry = Running::start().await;
    for port in [1, 2] {
        registry.send("POST", &format!("/instance?serviceName=orders&ip=10.0.0.7&port={port}"), "").await;
    }
    registry
}

async fn told(registry: &Running, path: &str) -> Value {
    let (status, body) = registry.send("GET", path, "").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// The instances of `orders` by port, as the API tells them.
async fn instance(registry: &Running, port: u16) -> Value {
    let all = told(registry, "/graceful/v1/instances?serviceName=orders").await;
    let found = all["instances"].as_array().unwrap().iter().find(|one| one["port"] == port);
    found.cloned().unwrap_or_default()
}

/// The newest event of an instance of a service: what, why, and by whom.
async fn newest(registry: &Running, service: &str, port: u16) -> Value {
    let path = format!("/graceful/v1/events?serviceName={service}&ip=10.0.0.7&port={port}&max=1");
    let event = told(registry, &path).await["events"][0].clone();
    json!([event["event"], event["reason"], event["by"]["user"], event["by"]["ip"]])
}

/// What stands between two words of a page.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(found, _)| found)
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

/// What a browser sends for the form of an act, when its button is pressed.
fn filled(page: &Answer) -> String {
    let form = between(&page.body, "<form class=\"sheet\"", "</form>").expect(&page.body);
    let hidden = form.split("<input type=\"hidden\" name=\"").skip(1);
    let pair = |input: &str| {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        let value = rest.split('"').next().unwrap();
        let value = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
            .iter()
            .fold(value.to_owned(), |value, (written, letter)| value.replace(written, letter));
        format!("{name}={}", encoded(&value))
    };
    hidden.map(pair).collect::<Vec<_>>().join("&")
}

/// Asks for an act, types in what it needs, reads what will happen, and is sure; the plan, and the page after it.
async fn act(browser: &mut Browser, name: &str, whom: &str, typed: &str) -> (String, Answer) {
    let path = format!("/console/act/{name}");
    let page = browser.get(&format!("{path}?{whom}")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let page = match typed {
        "" => page,
        typed => browser.post(&path, &format!("{}&{typed}", filled(&page))).await,
    };
    let plan =
        between(&page.body, "<ul class=\"plan\">", "<p class=\"buttons\">").expect(&page.body).to_owned();
    let done = browser.submit(&path, &format!("{}&sure=yes", filled(&page))).await;
    (plan, done)
}

#[track_caller]
fn assert_said(page: &Answer, words: &str) {
    let said = between(&page.body, "<p class=\"said\" role=\"status\">", "</p>");
    assert_eq!((page.status, said), (200, Some(words)), "{}", page.body);
}

#[tokio::test]
async fn instances_are_disabled_and_enabled_and_it_is_said_who_remains() {
    let registry = registry().await;
    let mut browser = Browser::at(&registry);
    let page = browser.get(&format!("/console/service?{ORDERS}")).await;
    assert!(page.body.contains("name=\"instance\" value=\"10.0.0.7:1#DEFAULT\""), "{}", page.body);

    let (plan, done) = act(&mut browser, "disable", &format!("{ORDERS}&{ONE}"), "").await;
    assert!(plan.contains("10.0.0.7:1</bdi> goes off every list at once"), "{plan}");
    assert!(
        plan.contains("has 1 of 2 instances that take traffic then.") && !plan.contains("wrong"),
        "{plan}"
    );
    assert_said(&done, "Disabled: 10.0.0.7:1 of orders.");
    assert_eq!(instance(&registry, 1).await["enabled"], false);
    assert_eq!(newest(&registry, "orders", 1).await, json!(["disabled", null, null, "127.0.0.1"]));
    let again = browser.get(&format!("/console/service?{ORDERS}")).await;
    assert!(!again.body.contains("class=\"said\""), "it is said once");

    let both = format!("{ORDERS}&{ONE}&{TWO}");
    let (plan, done) = act(&mut browser, "disable", &both, "").await;
    assert!(
        plan.contains("is disabled already") && plan.contains("Then no instance takes traffic"),
        "{plan}"
    );
    assert_said(&done, "Disabled: 2 instances of orders.");
    let (plan, done) = act(&mut browser, "enable", &both, "").await;
    assert!(plan.contains("is listed again, and takes traffic at once."), "{plan}");
    assert_said(&done, "Enabled: 2 instances of orders.");
    assert_eq!(newest(&registry, "orders", 2).await, json!(["set", "enabled", null, "127.0.0.1"]));

    let nobody = browser.get(&format!("/console/act/disable?{ORDERS}")).await;
    assert!(nobody.status == 400 && nobody.body.contains("tick it"), "{}", nobody.body);
    let gone = browser.get(&format!("/console/act/disable?{ORDERS}&instance=10.0.0.7:9%23DEFAULT")).await;
    assert_eq!(gone.status, 404);
    registry.stop().await;
}

#[tokio::test]
async fn weight_and_metadata_are_typed_confirmed_and_taken_back() {
    let registry = registry().await;
    let mut browser = Browser::at(&registry);
    let one = format!("{ORDERS}&{ONE}");
    let (plan, done) = act(&mut browser, "weight", &one, "weight=3").await;
    assert!(
        plan.contains("gets weight 3 in place of 1, and so 75 % of the calls in place of 50 %"),
        "{plan}"
    );
    assert_said(&done, "Weight 3 is set: 10.0.0.7:1 of orders.");
    assert_eq!(instance(&registry, 1).await["weight"], 3.0);
    let (plan, _) = act(&mut browser, "weight", &format!("{one}&{TWO}"), "weight=0").await;
    assert!(plan.contains("Then no instance takes traffic"), "{plan}");
    for wrong in ["weight=-1", "weight=1e9", "weight=%3Cb%3E", "weight="] {
        let page = browser.post("/console/act/weight", &format!("typed=yes&{one}&{wrong}")).await;
        assert_eq!(page.status, 400, "{wrong}");
        assert!(page.body.contains("aria-invalid=\"true\"") && page.body.contains("id=\"weight-wrong\""));
        let typed = between(&page.body, "<input id=\"weight\" name=\"weight\" value=\"", "\"").unwrap();
        let expected = wrong.replace("weight=", "").replace("%3C", "&#60;").replace("%3E", "&#62;");
        assert_eq!(typed, expected, "what was typed stays");
    }
    assert_eq!(instance(&registry, 1).await["weight"], 0.0);

    let (plan, done) = act(&mut browser, "metadata", &one, "metadata=zone%3Db%0D%0Aowner%3Dann").await;
    assert!(plan.contains("<bdi>zone=b</bdi> is set."), "{plan}");
    assert_said(&done, "Metadata are set: 10.0.0.7:1 of orders.");
    assert_eq!(instance(&registry, 1).await["metadata"], json!({"owner": "ann", "zone": "b"}));
    let set = json!(["set", "weight 0, owner=ann, zone=b", null, "127.0.0.1"]);
    assert_eq!(newest(&registry, "orders", 1).await, set);
    let page = browser.get(&format!("/console/act/metadata?{one}")).await;
    assert!(page.body.contains("owner=ann\nzone=b"), "what is set can be changed: {}", page.body);
    let page = browser.post("/console/act/metadata", &format!("typed=yes&{one}&metadata=zone")).await;
    assert!(page.status == 400 && page.body.contains("one key=value a line"), "{}", page.body);

    let (plan, done) = act(&mut browser, "take-back", &one, "").await;
    assert!(plan.contains("Now on it: weight 0, metadata."), "{plan}");
    assert_said(&done, "As registered again: 10.0.0.7:1 of orders.");
    let now = instance(&registry, 1).await;
    assert_eq!((&now["weight"], &now["metadata"]), (&json!(1.0), &json!({})));
    assert_eq!(newest(&registry, "orders", 1).await, json!(["set", "all taken back", null, "127.0.0.1"]));
    registry.stop().await;
}

#[tokio::test]
async fn a_service_and_its_persistent_instances_live_and_go_by_hand() {
    let registry = Running::start().await;
    let mut browser = Browser::at(&registry);
    let mail = "namespaceId=public&groupName=DEFAULT_GROUP&serviceName=mail";
    let typed =
        "serviceName=mail&groupName=DEFAULT_GROUP&kind=persistent&protectThreshold=0.5&metadata=owner=ann";
    let (plan, done) = act(&mut browser, "create-service", "namespaceId=public", typed).await;
    assert!(plan.contains("takes persistent instances only") && plan.contains("threshold 0.5"), "{plan}");
    assert_said(&done, "Created: mail.");
    assert!(done.body.contains("persistent"), "{}", done.body);
    let page = browser.post("/console/act/create-service", &format!("typed=yes&sure=yes&{typed}")).await;
    assert!(page.status == 400 && page.body.contains("id=\"serviceName-wrong\""), "{}", page.body);
    for (wrong, field) in [
        ("serviceName=&kind=persistent", "serviceName"),
        ("serviceName=a%20b", "serviceName"),
        ("serviceName=a&groupName=b%20c", "groupName"),
        ("serviceName=a&protectThreshold=2", "protectThreshold"),
    ] {
        let page = browser.post("/console/act/create-service", &format!("typed=yes&{wrong}")).await;
        let beside = page.body.contains(&format!("id=\"{field}-wrong\""));
        assert!(page.status == 400 && beside, "{wrong}: {}", page.body);
    }

    let typed = "ip=10.0.0.7&port=25&clusterName=DEFAULT&weight=2&enabled=true&metadata=zone=a";
    let (plan, done) = act(&mut browser, "keep", mail, typed).await;
    assert!(plan.contains("is listed at once, and stays until somebody takes it off."), "{plan}");
    assert_said(&done, "Registered: 10.0.0.7:25 of mail.");
    assert_eq!(newest(&registry, "mail", 25).await, json!(["came", null, null, "127.0.0.1"]));
    let known = format!("{mail}&ip=10.0.0.7&port=25&clusterName=DEFAULT");
    let page = browser.get(&format!("/console/act/keep?{known}")).await;
    assert!(page.body.contains("value=\"2\"") && page.body.contains("zone=a"), "{}", page.body);
    let (plan, _) = act(&mut browser, "keep", &known, &typed.replace("weight=2", "weight=3")).await;
    assert!(plan.contains("is registered anew"), "{plan}");
    assert_eq!(newest(&registry, "mail", 25).await[0], "set");
    for (wrong, field) in [("ip=a%20b&port=1", "ip"), ("ip=10.0.0.7&port=70000", "port"), ("port=1", "ip")] {
        let page = browser.post("/console/act/keep", &format!("typed=yes&{mail}&{wrong}")).await;
        let beside = page.body.contains(&format!("id=\"{field}-wrong\""));
        assert!(page.status == 400 && beside, "{wrong}: {}", page.body);
    }

    let page = browser.get(&format!("/console/act/delete-service?{mail}")).await;
    assert!(page.body.contains("is deleted when they are gone only"), "{}", page.body);
    let refused = browser.post("/console/act/delete-service", &format!("{mail}&sure=yes")).await;
    assert!(refused.status == 400 && refused.body.contains("is not empty"), "{}", refused.body);
    let (plan, done) =
        act(&mut browser, "remove", &format!("{mail}&instance=10.0.0.7:25%23DEFAULT"), "").await;
    assert!(plan.contains("Then no instance takes traffic"), "{plan}");
    assert_said(&done, "Taken off: 10.0.0.7:25 of mail.");
    assert_eq!(newest(&registry, "mail", 25).await, json!(["went", "deregistered", null, "127.0.0.1"]));

    let (plan, done) = act(&mut browser, "update-service", mail, "protectThreshold=0.2&metadata=").await;
    assert!(plan.contains("has the protection threshold 0.2 in place of 0.5."), "{plan}");
    assert!(plan.contains("<bdi>owner</bdi> is taken back."), "{plan}");
    assert_said(&done, "Described anew: mail.");
    let (_, done) = act(&mut browser, "delete-service", mail, "").await;
    assert_said(&done, "Deleted: mail.");
    let deeds = told(&registry, "/graceful/v1/events?serviceName=mail").await["service"].clone();
    let of = |deed: &Value| json!([deed["event"], deed["by"]["ip"]]);
    let deeds: Vec<Value> = deeds.as_array().unwrap().iter().map(of).collect();
    assert_eq!(deeds, ["deleted", "changed", "created"].map(|what| json!([what, "127.0.0.1"])));
    registry.stop().await;
}

#[tokio::test]
async fn how_instances_start_and_leave_is_set_for_a_service() {
    let registry = registry().await;
    let mut browser = Browser::at(&registry);
    let typed = "warmup=60&exponent=1&floor=0.05&notices=true&delay=30";
    let (plan, done) = act(&mut browser, "rollout", ORDERS, typed).await;
    assert!(plan.contains("<bdi>Warm-up:</bdi> 60 s, in place of each instance&#39;s own."), "{plan}");
    assert!(plan.contains("<bdi>Registration after the start:</bdi> 30 s, in place of"), "{plan}");
    assert!(plan.contains("has 2 instances for which this holds at once, without a restart"), "{plan}");
    assert_said(&done, "Set for all instances of orders.");
    assert!(done.body.contains("graceful.warmup=60"), "the page says who did what: {}", done.body);
    assert_eq!(instance(&registry, 1).await["metadata"]["graceful.warmup"], "60");
    let page = browser.get(&format!("/console/act/rollout?{ORDERS}")).await;
    assert!(page.body.contains("value=\"0.05\"") && page.body.contains("value=\"true\" selected"));
    for field in ["warmup", "exponent", "floor", "delay"] {
        let page = browser.post("/console/act/rollout", &format!("typed=yes&{ORDERS}&{field}=-1")).await;
        let beside = page.body.contains(&format!("id=\"{field}-wrong\""));
        assert!(page.status == 400 && beside && page.body.contains("value=\"-1\""), "{}", page.body);
    }
    act(&mut browser, "rollout", ORDERS, "warmup=&exponent=&floor=&notices=&delay=").await;
    assert_eq!(instance(&registry, 1).await["metadata"], json!({}));
    registry.stop().await;
}

#[tokio::test]
async fn a_connection_is_closed_and_an_instance_without_our_layers_is_not_taken_offline() {
    let registry = Running::start().await;
    let mut browser = Browser::at(&registry);
    let nacos = Nacos::builder(&registry.http.to_string()).app("</title><b>evil").connect().unwrap();
    let orders: ServiceKey = "orders".parse().unwrap();
    nacos.register(&orders, &Instance::new("10.0.0.7:1".parse().unwrap())).await.unwrap();
    let connection = told(&registry, "/graceful/v1/clients").await["clients"][0]["connection"].clone();

    let page = browser.get(&format!("/console/act/offline?{ORDERS}&{ONE}")).await;
    assert!(page.body.contains("is told to leave, over its own connection"), "{}", page.body);
    let page = browser.post("/console/act/offline", &format!("{}&sure=yes", filled(&page))).await;
    assert!(page.status == 409 && page.body.contains("has not taken the order"), "{}", page.body);

    let closing = format!("connection={connection}");
    assert!(browser.get("/console/clients").await.body.contains(&format!("/console/act/close?{closing}\"")));
    let page = browser.get(&format!("/console/act/close?{closing}")).await;
    assert!(page.body.contains("(&#60;/title&#62;&#60;b&#62;evil)"), "{}", page.body);
    assert!(page.body.contains("Then no instance of orders takes traffic until it comes back."));
    let answer = browser.post("/console/act/close", &format!("{}&sure=yes", filled(&page))).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/console/clients"));
    let events = told(&registry, "/graceful/v1/events?serviceName=orders").await["events"].to_string();
    assert!(events.contains("\"reason\":\"by operator from 127.0.0.1\""), "{events}");
    let back = async {
        while instance(&registry, 1).await == Value::Null {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, back).await.unwrap();
    assert_eq!(browser.get(&format!("/console/act/close?{closing}")).await.status, 404);
    nacos.close(SOON).await.unwrap();
    registry.stop().await;
}

#[tokio::test]
async fn whoever_may_only_read_sees_no_act_and_is_refused_one_and_whoever_acts_is_named() {
    let registry = Running::start_with(asking()).await;
    let mut ops = Browser::at(&registry);
    ops.log_in("ops").await;
    let token = format!("accessToken={}", ops.token());
    for (path, form) in [
        ("/nacos/v1/ns/instance", "serviceName=orders&ip=10.0.0.7&port=1".to_owned()),
        ("/nacos/v1/auth/users", format!("username=eve&password={PASSWORD}")),
        ("/nacos/v1/auth/roles", "username=eve&role=read".to_owned()),
        ("/nacos/v1/auth/users", format!("username=dev&password={PASSWORD}")),
        ("/nacos/v1/auth/roles", "username=dev&role=admin@dev".to_owned()),
    ] {
        let (status, body) = registry.send("POST", path, &format!("{form}&{token}")).await;
        assert_eq!(status, 200, "{path} {form}: {body}");
    }
    let service = format!("/console/service?{ORDERS}");
    assert!(ops.get(&service).await.body.contains("/console/act/"));
    let mut eve = Browser::at(&registry);
    eve.log_in("eve").await;
    let page = eve.get(&service).await;
    assert!(page.status == 200 && !page.body.contains("/console/act/"), "{}", page.body);
    let of_one = format!("/console/instance?{ORDERS}&ip=10.0.0.7&port=1&clusterName=DEFAULT");
    for path in [&*of_one, "/console", "/console/clients"] {
        let page = eve.get(path).await;
        assert!(page.status == 200 && !page.body.contains("/console/act/"), "{path}: {}", page.body);
    }
    assert!(ops.get(&of_one).await.body.contains("/console/act/weight?"));
    assert!(ops.get("/console").await.body.contains("/console/act/create-service?"));
    let mut dev = Browser::at(&registry);
    dev.log_in("dev").await;
    for browser in [&mut eve, &mut dev] {
        for (name, form) in ACTS {
            let path = format!("/console/act/{name}");
            let page = browser.get(&format!("{path}?{ORDERS}&{form}")).await;
            assert_eq!(page.status, 403, "{name}");
            assert!(page.body.contains("<h1>You may not do this</h1>"), "{name}: {}", page.body);
            let answer = browser.post(&path, &format!("{ORDERS}&{form}&typed=yes&sure=yes")).await;
            assert_eq!(answer.status, 403, "{name}");
        }
    }
    let lost = dev.get("/console").await;
    let home = "<a href=\"/console?namespaceId=dev\">";
    assert!(lost.status == 403 && lost.body.contains("Log out"), "{}", lost.body);
    let elsewhere = ORDERS.replace("public", "dev");
    let created = dev.post("/console/act/create-service", &format!("{elsewhere}&typed=yes&sure=yes")).await;
    assert_eq!(created.status, 303, "in one's own namespace one may: {}", created.body);
    let lost = dev.get("/console").await;
    assert!(lost.status == 403 && lost.body.contains(home), "it says where one may look: {}", lost.body);

    let one = format!("{ORDERS}&{ONE}");
    let (_, done) = act(&mut ops, "disable", &one, "").await;
    assert_said(&done, "Disabled: 10.0.0.7:1 of orders.");
    let path = format!("/graceful/v1/events?serviceName=orders&max=1&{token}");
    let event = told(&registry, &path).await["events"][0].clone();
    assert_eq!((&event["event"], &event["by"]["user"]), (&json!("disabled"), &json!("ops")));
    let mut gone = ops.clone();
    ops.post("/console/logout", "").await;
    let late = gone.post("/console/act/enable", &format!("{one}&sure=yes")).await;
    assert_eq!(
        (late.status, late.header("location")),
        (303, "/console/login?next=%2Fconsole%2Fact%2Fenable")
    );
    registry.stop().await;
}

#[tokio::test]
async fn no_act_is_done_for_a_foreign_page() {
    let registry = registry().await;
    let mut browser = Browser::at(&registry);
    let before = told(&registry, "/graceful/v1/instances?serviceName=orders").await;
    let foreign_name = format!("evil.example:{}", registry.http.port());
    for (host, says) in [
        (None, "sec-fetch-site: cross-site\r\n".to_owned()),
        (None, "origin: https://evil.example\r\n".to_owned()),
        (None, "origin: null\r\n".to_owned()),
        (None, String::new()),
        (Some(&foreign_name), format!("origin: http://{foreign_name}\r\nsec-fetch-site: same-origin\r\n")),
    ] {
        let mut forged = browser.clone();
        forged.says.clone_from(&says);
        if let Some(host) = host {
            forged.host.clone_from(host);
        }
        for (name, form) in ACTS {
            let answer = forged
                .post(&format!("/console/act/{name}"), &format!("{ORDERS}&{form}&typed=yes&sure=yes"))
                .await;
            assert_eq!(answer.status, if host.is_some() { 421 } else { 403 }, "{name} {says}");
        }
    }
    for (name, form) in ACTS {
        // Whoever has not said that they are sure changes nothing; neither does a link.
        browser.get(&format!("/console/act/{name}?{ORDERS}&{form}&typed=yes&sure=yes")).await;
        browser.post(&format!("/console/act/{name}"), &format!("{ORDERS}&{form}&typed=yes")).await;
    }
    assert_eq!(told(&registry, "/graceful/v1/instances?serviceName=orders").await, before);
    registry.stop().await;
}

#[tokio::test]
async fn what_others_have_written_is_text_in_every_form() {
    let registry = registry().await;
    let mut browser = Browser::at(&registry);
    let evil = "k</textarea><script>alert(1)</script>=\"'&\u{202e}v";
    let one = format!("{ORDERS}&{ONE}");
    let (plan, done) = act(&mut browser, "metadata", &one, &format!("metadata={}", encoded(evil))).await;
    assert!(!plan.contains("<script>") && plan.contains("<bdi>k&#60;/textarea&#62;"), "{plan}");
    assert!(!done.body.contains("<script>alert"), "{}", done.body);
    let set = instance(&registry, 1).await["metadata"].clone();
    assert_eq!(set["k</textarea><script>alert(1)</script>"], "\"'&\u{202e}v", "as it was typed: {set}");
    let page = browser.get(&format!("/console/act/metadata?{one}")).await;
    assert!(!page.body.contains("<script>alert") && page.body.contains("k&#60;/textarea&#62;"));

    let long = format!("metadata=k%3D{}", "v".repeat(64 * 1024 - 100));
    let (plan, _) = act(&mut browser, "metadata", &one, &long).await;
    assert!(plan.len() < 2000, "a plan is read by people: {} bytes", plan.len());
    let page = browser.post("/console/act/metadata", &format!("typed=yes&{one}&{long}{long}")).await;
    assert_eq!(page.status, 200, "what will be refused is found out when it is done");
    let page = browser
        .post("/console/act/metadata", &format!("typed=yes&sure=yes&{one}&{long}{}", "v".repeat(200)))
        .await;
    assert!(page.status == 400 && page.body.contains("id=\"metadata-wrong\""), "{}", page.status);

    for name in ["orders%22%3E%3Cscript%3E", "%E2%80%AEsredro", "%3Cimg%20src=x%3E"] {
        let whom = format!("namespaceId=public&serviceName={name}&instance={name}");
        for (act, form) in ACTS {
            let page = browser.get(&format!("/console/act/{act}?{whom}&{form}&weight={name}")).await;
            assert!(!page.body.contains("<script>") && !page.body.contains("<img"), "{act}: {}", page.body);
        }
    }
    registry.stop().await;
}

#[tokio::test]
async fn a_provider_is_taken_offline_by_a_form() {
    let registry = Running::start().await;
    let orders = Orders::start(&registry, |builder| builder).await;
    let follower = Nacos::builder(&registry.http.to_string()).app("storefront").connect().unwrap();
    let followed = follower.subscribe("orders").await.unwrap();
    let mut browser = Browser::at(&registry);
    let port = orders.address.port();
    let one = format!("{ORDERS}&instance=127.0.0.1:{port}%23DEFAULT");
    let page = browser.get(&format!("/console/instance?{ORDERS}&ip=127.0.0.1&port={port}")).await;
    assert!(page.body.contains("/console/act/offline?"), "{}", page.body);
    let (plan, done) = act(&mut browser, "offline", &one, "").await;
    assert!(plan.contains("is told to leave, over its own connection"), "{plan}");
    assert_said(
        &done,
        &format!("Told to leave: 127.0.0.1:{port} of orders. What comes of it, its events tell."),
    );
    let left = async {
        loop {
            let page = told_page(&registry, "/console/service?serviceName=orders").await;
            let gone = &page["gone"][0];
            let dropped = &gone["dropped"]; // By the provider too, which follows itself.
            if page["shown"] == json!([]) && dropped["by"] == dropped["of"] && dropped["of"] != 0 {
                return gone.clone();
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let gone = timeout(SOON, left).await.unwrap();
    assert_eq!((&gone["port"], &gone["reason"]), (&json!(port), &json!("deregistered")));
    let page = browser.get(&format!("/console/service?{ORDERS}")).await;
    assert!(page.body.contains(" dropped it</td>"), "{}", page.body);
    let events = told(&registry, "/graceful/v1/events?serviceName=orders").await["events"].take();
    let events = events.as_array().unwrap();
    let ordered = events.iter().find(|event| event["event"] == "offline-ordered").unwrap();
    assert_eq!(ordered["by"], json!({"kind": "operator", "ip": "127.0.0.1"}), "{ordered}");
    let late = browser.post("/console/act/offline", &format!("{one}&sure=yes")).await;
    assert_eq!(late.status, 404, "it is told once: {}", late.body);
    drop(followed);
    orders.shutdown.shut_down();
    timeout(SOON, orders.serving).await.unwrap().unwrap().unwrap();
    for client in [orders.nacos, follower] {
        client.close(SOON).await.unwrap();
    }
    registry.stop().await;
}

/// A page of the console, as programs read it.
async fn told_page(registry: &Running, path: &str) -> Value {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: application/json\r\nconnection: close\r\n\r\n",
        registry.http
    );
    let mut stream = TcpStream::connect(registry.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn the_settings_page_says_where_the_registry_is_and_what_outlives_it() {
    let registry = Running::start().await;
    let mut browser = Browser::at(&registry);
    let page = browser.get("/console/settings").await;
    for words in [registry.http.to_string(), registry.grpc.to_string(), "memory only".to_owned()] {
        assert!(page.body.contains(&words), "{words}: {}", page.body);
    }
    let told = told_page(&registry, "/console/settings").await;
    assert_eq!((&told["place"]["http"], &told["settled"]), (&json!(registry.http.to_string()), &json!(true)));
    registry.stop().await;
}
