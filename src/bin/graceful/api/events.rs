//! What has happened in a service, as this crate's registry has written it down.

use super::{Api, failed, named};
use crate::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower_graceful::model::{Address, ServiceKey};

/// What has happened to an instance.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Recorded {
    pub(crate) sequence: u64,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The side that a process says it from; without it, the registry says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) told_by: Option<String>,
    /// Who it was.
    pub(crate) by: Value,
}

impl Recorded {
    /// Where its instance is, IPv6 in brackets.
    pub(crate) fn address(&self) -> String {
        let address = Address::new(&self.ip, self.port);
        address.map_or_else(|_| format!("{}:{}", self.ip, self.port), |address| address.to_string())
    }

    /// For people: why it happened, and who it was.
    pub(crate) fn words(&self) -> String {
        let reason = self.reason.as_deref();
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
            Some("operator") => match (text("user"), text("ip")) {
                (Some(user), _) => format!("operator {user}"),
                (None, Some(ip)) => format!("an operator from {ip}"),
                (None, None) => "an operator".to_owned(),
            },
            Some(other) => other.to_owned(),
            None => return reason.unwrap_or_default().to_owned(),
        };
        reason.map_or_else(|| format!("by {who}"), |reason| format!("{reason}, by {who}"))
    }
}

/// The newest `max` events of a service after the one with the number `after`, the newest first; `which` may name
/// an instance.
pub(crate) async fn events(
    api: &Api,
    service: &ServiceKey,
    which: &[(&str, &str)],
    after: u64,
    max: usize,
) -> Result<Vec<Recorded>, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        events: Vec<Recorded>,
    }
    let (named, after, max) = (named(service), after.to_string(), max.to_string());
    let parameters = [&named.each()[..], &[("after", &after), ("max", &max)], which].concat();
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
            let event = json!({"sequence": 1, "at": 1, "ip": "10.0.0.7", "port": 80, "cluster": "DEFAULT",
                "event": "went", "reason": reason, "by": by});
            serde_json::from_value::<Recorded>(event).unwrap().words()
        };
        let by =
            json!({"kind": "connection", "connection": 12, "address": "10.0.0.7:41000", "app": "orders"});
        let told = words(Some("connection-lost"), by);
        assert_eq!(told, "connection-lost, by connection 12 from 10.0.0.7:41000, orders");
        assert_eq!(words(None, json!({"kind": "operator", "user": "ann"})), "by operator ann");
        let by = json!({"kind": "operator", "ip": "10.0.0.9"});
        assert_eq!(words(None, by), "by an operator from 10.0.0.9");
        let by = json!({"kind": "http", "ip": "10.0.0.9", "agent": "curl/8"});
        assert_eq!(words(Some("expired"), by), "expired, by 10.0.0.9 (curl/8)");
        assert_eq!(words(None, json!({"kind": "storage"})), "by storage");
        assert_eq!(words(Some("expired"), json!(null)), "expired");
    }
}
