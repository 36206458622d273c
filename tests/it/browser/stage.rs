//! What stands on the stage before a visitor comes: a registry, and in it what people ought to see.

use super::super::registry::Running;
use super::visitor::Visitor;
use tower_graceful::client::Nacos;
use tower_graceful::model::Instance;
use tower_graceful::naming::{Register, Snapshots};

/// A name that is markup, with quotes of both kinds.
pub(super) const HOSTILE_SERVICE: &str = "\"'><img/src=x/onerror=alert(1)>&amp;<!--";
/// What turns the order of letters around, and would turn that of the page.
pub(super) const HOSTILE_VALUE: &str = "\u{202e}txt.exe\u{2067}<script>alert(2)</script>\"'";

/// A registry, and the first page of its console.
pub(super) struct Stage {
    pub(super) registry: Running,
}

impl Stage {
    /// An empty registry and a visitor on its first page; nothing where there is no browser.
    pub(super) async fn set() -> Option<(Self, Visitor)> {
        let stage = Self { registry: Running::start().await };
        let visitor = Visitor::at(&stage.home()).await?;
        visitor.go("/console").await;
        Some((stage, visitor))
    }

    /// Where the pages are.
    pub(super) fn home(&self) -> String {
        format!("http://{}", self.registry.http)
    }

    /// Registers an instance that lives by its heartbeats, of which this is the first.
    pub(super) async fn beats(&self, service: &str, address: &str) {
        self.registers(service, address, &[]).await;
    }

    /// Registers an instance with more said of it.
    pub(super) async fn registers(&self, service: &str, address: &str, more: &[(&str, &str)]) {
        let (ip, port) = address.rsplit_once(':').unwrap();
        let said = [("serviceName", service), ("ip", ip), ("port", port)];
        let form = said.iter().chain(more).map(|(key, value)| format!("{key}={}", encoded(value)));
        let form = form.collect::<Vec<_>>().join("&");
        let (status, body) = self.registry.send("POST", "/instance", &form).await;
        assert_eq!(status, 200, "{body}");
    }

    /// A process with this crate's client that registers an instance and follows its service.
    pub(super) async fn connects(&self, service: &str, address: &str) -> (Nacos, Snapshots) {
        let nacos = Nacos::builder(&self.registry.http.to_string()).app("shop").connect().unwrap();
        let instance = Instance::new(address.parse().unwrap());
        nacos.register(&service.parse().unwrap(), &instance).await.unwrap();
        let list = nacos.subscribe(service).await.unwrap();
        (nacos, list)
    }

    /// Something of everything: several services, one of them persistent, one in a group of its own and one that
    /// means harm; instances that are disabled, kept by a connection, and gone.
    pub(super) async fn is_full(&self) -> (Nacos, Snapshots) {
        self.beats("orders", "10.0.0.7:8080").await;
        self.registers("orders", "10.0.0.8:8080", &[("enabled", "false"), ("weight", "2")]).await;
        self.registers("billing", "10.0.1.1:80", &[("ephemeral", "false"), ("groupName", "shop")]).await;
        self.registry.send("DELETE", "/instance?serviceName=orders&ip=10.0.0.8&port=8080", "").await;
        self.is_hostile().await;
        self.connects("orders", "10.0.0.9:8080").await
    }

    /// A service whose every word is hostile, and whose metadata is as long as it may be.
    pub(super) async fn is_hostile(&self) {
        let long = "M".repeat(60_000);
        let metadata =
            serde_json::json!({"note": HOSTILE_VALUE, "<b>key</b>": "x", "long": long}).to_string();
        let more = [("metadata", metadata.as_str()), ("clusterName", "EAST")];
        self.registers(HOSTILE_SERVICE, "10.0.9.9:80", &more).await;
    }
}

/// As a value of a form or a query.
pub(super) fn encoded(value: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(byte).collect()
}
