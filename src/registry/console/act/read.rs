//! What forms say: whom they are about, and what people type where programs write JSON.

use super::super::links;
use crate::model::{InstanceKey, Metadata, ServiceKey, Snapshot};
use crate::protocol::form::{Form, InvalidForm};
use crate::registry::error::Refusal;
use std::collections::BTreeSet;

/// Letters of a value that a plan repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// One instance of a service or several, as their boxes and links name them.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) service: ServiceKey,
    pub(super) keys: BTreeSet<InstanceKey>,
}

impl Meant {
    pub(super) fn read(form: &Form) -> Result<Self, Refusal> {
        let accepted = "IP:PORT#CLUSTER";
        let key = |text: &str| {
            links::read_chosen(text).ok_or_else(|| InvalidForm::value("instance", text, accepted))
        };
        let keys = form.texts("instance").map(key).collect::<Result<BTreeSet<_>, _>>()?;
        if keys.is_empty() {
            let accepted = "one instance at least: tick it on the page of its service";
            return Err(InvalidForm::value("instance", "", accepted).into());
        }
        Ok(Self { service: form.service()?, keys })
    }

    /// As it goes with the next form.
    pub(super) fn hidden(&self) -> Vec<(&'static str, String)> {
        let chosen =
            |key: &InstanceKey| links::chosen(key.address.host(), key.address.port(), key.cluster.as_str());
        let keys = self.keys.iter().map(|key| ("instance", chosen(key)));
        of_service(&self.service).into_iter().chain(keys).collect()
    }

    /// As people read it.
    pub(super) fn subject(&self) -> String {
        match self.keys.first() {
            Some(one) if self.keys.len() == 1 => format!("{} of {}", one.address, self.service.name),
            _ => format!("{} instances of {}", self.keys.len(), self.service.name),
        }
    }

    /// The page of the one instance, or of the service.
    pub(super) fn back(&self) -> String {
        match self.keys.first() {
            Some(InstanceKey { address, cluster }) if self.keys.len() == 1 => {
                links::instance(&self.service, address.host(), address.port(), cluster.as_str())
            }
            _ => links::service(&self.service),
        }
    }
}

/// A service, as it goes with the next form.
pub(super) fn of_service(service: &ServiceKey) -> Vec<(&'static str, String)> {
    let ServiceKey { namespace, group, name } = service;
    vec![
        ("namespaceId", namespace.to_string()),
        ("groupName", group.to_string()),
        ("serviceName", name.to_string()),
    ]
}

/// How many instances of a list take traffic when those of `keys` do not; and how many there are.
pub(super) fn serving_without(list: &Snapshot, keys: &BTreeSet<InstanceKey>) -> (usize, usize) {
    let serving = list.instances().iter().filter(|instance| instance.healthy && instance.enabled);
    (serving.filter(|instance| !keys.contains(&instance.key)).count(), list.instances().len())
}

/// Metadata with one `key=value` a line.
///
/// # Errors
/// When a line has no `=`, or nothing before it.
pub(super) fn metadata(form: &Form) -> Result<Metadata, InvalidForm> {
    let accepted = "one key=value a line";
    let lines = form.text("metadata").unwrap_or_default().lines();
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let pair = line.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
        pair.filter(|(key, _)| !key.is_empty()).ok_or_else(|| InvalidForm::value("metadata", line, accepted))
    };
    lines.map(pair).collect()
}

/// Metadata as [`metadata`] reads them. A value of several lines is shown in one.
pub(super) fn lines(metadata: &Metadata) -> String {
    let line = |(key, value): (&str, &str)| format!("{key}={}\n", value.replace(['\n', '\r'], " "));
    metadata.iter().map(line).collect()
}

/// How metadata become others, in words: what is laid down, and what is taken back.
pub(super) fn differences(before: &Metadata, after: &Metadata) -> Vec<(String, &'static str)> {
    let keys: BTreeSet<&str> = before.iter().chain(after.iter()).map(|(key, _)| key).collect();
    let difference = |key: &str| match (before.get(key), after.get(key)) {
        (before, after) if before == after => None,
        (_, Some(value)) => Some((cut(&format!("{key}={value}")), "is set")),
        (_, None) => Some((cut(key), "is taken back")),
    };
    keys.into_iter().filter_map(difference).collect()
}

/// As much of a text as people read.
pub(super) fn cut(text: &str) -> String {
    let mut letters = text.chars();
    let mut cut: String = letters.by_ref().take(SHOWN_CHARS_MAX).collect();
    if letters.next().is_some() {
        cut.push('…');
    }
    cut
}

/// A share of instances that serve from 0 to 1, if it is given.
///
/// # Errors
/// When it is none.
pub(super) fn threshold(form: &Form) -> Result<f64, InvalidForm> {
    let name = "protectThreshold";
    let Some(text) = form.text(name) else { return Ok(0.0) };
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| InvalidForm::value(name, text, "a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instance;

    fn form(body: &str) -> Form {
        Form::parse("", body.as_bytes()).unwrap()
    }

    #[test]
    fn instances_are_named_as_they_name_themselves() {
        let body = "serviceName=orders&instance=10.0.0.7:80%23DEFAULT&instance=%5B::1%5D:80%23east";
        let meant = Meant::read(&form(body)).unwrap();
        assert_eq!(meant.keys.len(), 2);
        let hidden: Vec<String> =
            meant.hidden().iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert!(hidden.ends_with(&["instance=10.0.0.7:80#DEFAULT".into(), "instance=[::1]:80#east".into()]));
        for wrong in ["", "10.0.0.7", "10.0.0.7:80", "#", "10.0.0.7:80#a b"] {
            assert!(Meant::read(&form(&format!("serviceName=orders&instance={wrong}"))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metadata_are_typed_a_line_each() {
        let read = metadata(&form("metadata=a%3D1%3D2%0D%0A%0D%0A+zone+%3D+b,c+%0D%0Aempty%3D")).unwrap();
        assert_eq!(read, Metadata::from_iter([("a", "1=2"), ("zone", "b,c"), ("empty", "")]));
        assert_eq!(lines(&read), "a=1=2\nempty=\nzone=b,c\n");
        for wrong in ["metadata=zone", "metadata=%3Dvalue"] {
            assert_eq!(metadata(&form(wrong)).unwrap_err().name(), Some("metadata"), "{wrong}");
        }
        let after = Metadata::from_iter([("a", "2"), ("zone", "b,c"), ("new", "<b>")]);
        let expected = [("a=2", "is set"), ("empty", "is taken back"), ("new=<b>", "is set")];
        let differences = differences(&read, &after);
        assert_eq!(differences.iter().map(|(a, b)| (&**a, *b)).collect::<Vec<_>>(), expected);
        assert_eq!(cut(&"é".repeat(SHOWN_CHARS_MAX + 1)).chars().count(), SHOWN_CHARS_MAX + 1);
    }

    #[test]
    fn whoever_is_unhealthy_or_disabled_does_not_serve_already() {
        let instance = |port| Instance::new(format!("10.0.0.7:{port}").parse().unwrap());
        let [one, two] = [1, 2].map(instance);
        let unhealthy = Instance { healthy: false, ..instance(3) };
        let disabled = Instance { enabled: false, ..instance(4) };
        let keys = BTreeSet::from([one.key.clone(), unhealthy.key.clone()]);
        let list = Snapshot::new("orders".parse().unwrap(), 1, vec![one, two, unhealthy, disabled]);
        assert_eq!(serving_without(&list, &keys), (1, 4));
    }
}
