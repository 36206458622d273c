//! The instances that are registered, and what is said of them in each form.

use serde_json::{Value, json};

/// Instances of the scenario that spreads them over services.
pub(crate) const SPREAD: usize = 60_000;
/// Hosts of each of its services, and of the list that is read.
pub(crate) const WHOLE_LIST: usize = 100;
/// Weights must stay below 10 000, and there are more changes than that in a storm.
const CHANGES_PER_WEIGHT: f64 = 10.0;

/// One instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) service: usize,
    pub(crate) index: usize,
}

impl Member {
    pub(crate) fn ip(self) -> String {
        let Self { index, service } = self;
        format!("10.{}.{}.{}", service % 250, index / 250, index % 250)
    }

    pub(crate) fn service(self) -> String {
        format!("service-{:04}", self.service)
    }

    pub(crate) fn register_path(self) -> String {
        let metadata = "%7B%22version%22%3A%221.0.0%22%2C%22zone%22%3A%22zone-a%22%7D";
        let address = self.address();
        format!(
            "/nacos/v1/ns/instance?{address}&weight=1.0&enabled=true&healthy=true&clusterName=DEFAULT&metadata={metadata}"
        )
    }

    pub(crate) fn deregister_path(self) -> String {
        format!("/nacos/v1/ns/instance?{}&clusterName=DEFAULT", self.address())
    }

    pub(crate) fn list_path(self) -> String {
        format!("/nacos/v1/ns/instance/list?serviceName={}&groupName=DEFAULT_GROUP", self.service())
    }

    pub(crate) fn full_beat(self) -> String {
        let beat = json!({
            "serviceName": format!("DEFAULT_GROUP@@{}", self.service()), "ip": self.ip(), "port": 8080,
            "cluster": "DEFAULT", "weight": 1.0, "metadata": metadata(), "scheduled": false,
        });
        let encoded: String = beat.to_string().bytes().map(percent).collect();
        format!("/nacos/v1/ns/instance/beat?{}&clusterName=DEFAULT&beat={encoded}", self.address())
    }

    pub(crate) fn light_beat(self) -> String {
        format!("/nacos/v1/ns/instance/beat?{}&clusterName=DEFAULT", self.address())
    }

    /// An `InstanceRequest` that registers it.
    pub(crate) fn registration(self) -> Value {
        let mut request = self.question();
        request["type"] = "registerInstance".into();
        request["instance"] = json!({
            "ip": self.ip(), "port": 8080, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
            "clusterName": "DEFAULT", "metadata": metadata(),
        });
        request
    }

    /// A `BatchInstanceRequest` for all of these, who are of one service.
    pub(crate) fn batch(members: &[Self]) -> Value {
        let mut request = members.first().map_or_else(|| json!({}), |member| member.question());
        let instance = |member: &Self| member.registration()["instance"].take();
        request["type"] = "batchRegisterInstance".into();
        request["instances"] = members.iter().map(instance).collect();
        request
    }

    /// The registration after so many changes. They are told by the weight: of a connection that registers
    /// again r-nacos takes no other metadata.
    pub(crate) fn changed(self, change: usize) -> Value {
        let mut request = self.registration();
        request["instance"]["weight"] = ((1 + change) as f64 / CHANGES_PER_WEIGHT).into();
        request
    }

    /// A `ServiceQueryRequest`.
    pub(crate) fn question(self) -> Value {
        json!({"namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": self.service(), "cluster": ""})
    }

    fn address(self) -> String {
        let (service, ip) = (self.service(), self.ip());
        format!(
            "serviceName={service}&groupName=DEFAULT_GROUP&namespaceId=public&ip={ip}&port=8080&ephemeral=true"
        )
    }
}

/// How many changes an instance with this weight has seen, as [`Member::changed`] writes it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no weight is below nothing")]
pub(crate) fn change_of(weight: f64) -> usize {
    // Some registries calculate in single precision.
    ((weight * CHANGES_PER_WEIGHT).round() as usize).saturating_sub(1)
}

fn metadata() -> Value {
    json!({"version": "1.0.0", "zone": "zone-a"})
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}
