//! Why an instance has changed, as a registry of this crate tells it.

use super::change::Change;
use crate::Failure;
use crate::api::{Api, Kind, failed, named};
use serde::Deserialize;
use serde_json::Value;
use tower_graceful::model::{Cluster, ServiceKey};

/// Events that are looked at after one change of a list.
const EVENTS_MAX: usize = 1000;

/// What the registry has written down of a service, from a moment on.
pub(super) struct Reasons {
    /// The last that was seen.
    sequence: u64,
    seen: Vec<Recorded>,
}

/// What has happened to an instance.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Recorded {
    sequence: u64,
    ip: String,
    port: u16,
    cluster: String,
    event: String,
    reason: Option<String>,
    by: Value,
}

impl Reasons {
    /// From now on. Nothing where it is a Nacos: that tells no reasons.
    pub(super) async fn begin(api: &Api, service: &ServiceKey) -> Result<Option<Self>, Failure> {
        let Kind::Ours = api.kind else { return Ok(None) };
        let last = read(api, service, 0, 1).await?;
        Ok(Some(Self { sequence: last.first().map_or(0, |event| event.sequence), seen: Vec::new() }))
    }

    /// Looks at what is new, after a list has changed.
    pub(super) async fn look(&mut self, api: &Api, service: &ServiceKey) -> Result<(), Failure> {
        self.seen = read(api, service, self.sequence, EVENTS_MAX).await?; // The newest first.
        self.sequence = self.seen.first().map_or(self.sequence, |event| event.sequence);
        Ok(())
    }

    /// Why this has happened, if the registry says so.
    pub(super) fn of(&self, change: &Change) -> Option<&Recorded> {
        self.seen.iter().find(|event| event.explains(change))
    }
}

impl Recorded {
    fn explains(&self, Change { key, what, .. }: &Change) -> bool {
        key.address.host() == self.ip
            && key.address.port() == self.port
            && Cluster::new(&self.cluster).is_ok_and(|cluster| cluster == key.cluster)
            && what.events().contains(&self.event.as_str())
    }

    /// For people: what happened, and who it was.
    pub(super) fn words(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or(&self.event);
        let text = |name: &str| self.by[name].as_str().filter(|text| !text.is_empty());
        let who = match text("kind") {
            Some("connection") => {
                let app = text("app").map(|app| format!(", {app}")).unwrap_or_default();
                format!("connection {} from {}{app}", self.by["connection"], text("address").unwrap_or("?"))
            }
            Some("http") => {
                let agent = text("agent").map(|agent| format!(" ({agent})")).unwrap_or_default();
                format!("{}{agent}", text("ip").unwrap_or("somebody over HTTP"))
            }
            Some("operator") => {
                format!("operator {}", text("user").or_else(|| text("ip")).unwrap_or("of the registry"))
            }
            Some(other) => other.to_owned(),
            None => return reason.to_owned(),
        };
        format!("{reason}, by {who}")
    }

    /// For programs.
    pub(super) fn reason(&self) -> (&str, &Value) {
        (self.reason.as_deref().unwrap_or(&self.event), &self.by)
    }
}

async fn read(api: &Api, service: &ServiceKey, after: u64, max: usize) -> Result<Vec<Recorded>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        events: Vec<Recorded>,
    }
    let (named, after, max) = (named(service), after.to_string(), max.to_string());
    let parameters = [&named.each()[..], &[("after", &after), ("max", &max)]].concat();
    let answer = api.server.get("/graceful/v1/events", &parameters).await;
    answer.map(|Answer { events }| events).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reason_names_who_it_was() {
        let words = |reason: Option<&str>, by: Value| {
            let [ip, cluster, event] = ["10.0.0.7", "DEFAULT", "went"].map(str::to_owned);
            Recorded { sequence: 1, ip, port: 80, cluster, event, reason: reason.map(str::to_owned), by }
                .words()
        };
        let by =
            json!({"kind": "connection", "connection": 12, "address": "10.0.0.7:41000", "app": "orders"});
        let told = words(Some("connection-lost"), by);
        assert_eq!(told, "connection-lost, by connection 12 from 10.0.0.7:41000, orders");
        assert_eq!(words(None, json!({"kind": "operator", "user": "ann"})), "went, by operator ann");
        let by = json!({"kind": "http", "ip": "10.0.0.9", "agent": "curl/8"});
        assert_eq!(words(Some("expired"), by), "expired, by 10.0.0.9 (curl/8)");
        assert_eq!(words(None, json!({"kind": "storage"})), "went, by storage");
        assert_eq!(words(None, json!(null)), "went");
    }
}
