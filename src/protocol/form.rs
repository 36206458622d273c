//! The parameters of the HTTP API, to the model.
//!
//! Clients put them into the query or into a form body, whatever the method, and some into both; they write
//! `None` or nothing for what they have not set, `True` for true and `1.0` for one.

use super::entity::{InvalidInstance, WireInstance, service_key};
use super::lenient::null_as_default;
use crate::model::{
    Address, Cluster, Group, Instance, InstanceKey, InvalidAddress, InvalidName, Metadata, Namespace,
    ServiceKey, Weight,
};
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// The parameters of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    /// All names and values in one piece: there are a dozen of them in each registration and each heartbeat.
    text: String,
    /// Where names and values stand in it.
    parameters: Vec<(Range<usize>, Range<usize>)>,
}

/// Parameters of one request that there is room for at first: as many as any client registers with.
const USUAL: usize = 16;
/// Parameters of one request: more than any API has.
const PARAMETERS_MAX: usize = 256;
/// Highest weight that the HTTP API takes; Nacos' bound.
const WEIGHT_MAX: f64 = 10_000.0;

/// A parameter that is missing or breaks a rule.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidForm {
    #[error(
        "parameters are not valid: accepted are up to {PARAMETERS_MAX} of name=value, percent-encoded UTF-8"
    )]
    Encoding,
    /// Nacos' words, as those of [`InvalidForm::Weight`].
    #[error("Param '{0}' is required.")]
    Missing(&'static str),
    #[error("parameter {name}={given:?} is not valid: accepted is {accepted}")]
    Value { name: &'static str, given: String, accepted: &'static str },
    #[error("instance format invalid: The weights range from 0.0 to 10000.0")]
    Weight,
    #[error("parameter {name} is not valid JSON for it")]
    Json { name: &'static str, source: serde_json::Error },
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error(transparent)]
    Instance(#[from] InvalidInstance),
}

/// A heartbeat: for which instance, and the registration that a full one carries.
#[derive(Debug, PartialEq)]
pub(crate) struct Beat {
    pub(crate) service: ServiceKey,
    pub(crate) address: Address,
    /// Absent from a light heartbeat.
    pub(crate) full: Option<Instance>,
}

/// What the JSON of a full heartbeat says; the rest of it is of no use.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "a JSON object")]
struct FullBeat {
    #[serde(deserialize_with = "null_as_default")]
    ip: String,
    port: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    cluster: String,
    weight: Option<f64>,
    ephemeral: Option<bool>,
    #[serde(deserialize_with = "null_as_default")]
    metadata: BTreeMap<String, Option<String>>,
}

impl InvalidForm {
    /// Which parameter is meant, or which kind of name, if one alone is.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Missing(name) | Self::Value { name, .. } | Self::Json { name, .. } => Some(name),
            Self::Weight => Some("weight"),
            Self::Name(name) => Some(name.kind),
            Self::Encoding | Self::Address(_) | Self::Instance(_) => None,
        }
    }

    /// What was given for `name`, cut to a length that can be answered, and what is accepted.
    pub(crate) fn value(name: &'static str, given: &str, accepted: &'static str) -> Self {
        Self::Value { name, given: given.chars().take(64).collect(), accepted }
    }
}

impl Form {
    /// Reads `name=value&..` from the query and then from the body; of several values the first counts.
    ///
    /// # Errors
    /// When there are too many, or their percent-encoding does not give UTF-8.
    pub(crate) fn parse(query: &str, body: &[u8]) -> Result<Self, InvalidForm> {
        let pairs = [query.as_bytes(), body].into_iter().flat_map(|part| part.split(|&byte| byte == b'&'));
        let (text, parameters) = (String::with_capacity(query.len() + body.len()), Vec::with_capacity(USUAL));
        let mut form = Self { text, parameters };
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let split = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..split], pair.get(split + 1..).unwrap_or_default());
            let [name, value] = [name, value].map(|part| form.take(part));
            form.parameters.push((name.ok_or(InvalidForm::Encoding)?, value.ok_or(InvalidForm::Encoding)?));
            if form.parameters.len() > PARAMETERS_MAX {
                return Err(InvalidForm::Encoding);
            }
        }
        Ok(form)
    }

    /// Adds a name or a value, and returns where it stands; nothing when it is no UTF-8.
    fn take(&mut self, encoded: &[u8]) -> Option<Range<usize>> {
        let start = self.text.len();
        self.text.push_str(str::from_utf8(&decode(encoded)).ok()?);
        Some(start..self.text.len())
    }

    /// A parameter; blank counts as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parameters.iter().find(|(key, _)| self.text[key.clone()] == *name)?;
        Some(self.text[value.clone()].trim()).filter(|value| !value.is_empty())
    }

    /// All values of a parameter that may be given again and again.
    #[cfg(feature = "console")]
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let given = self.parameters.iter().filter(move |(key, _)| self.text[key.clone()] == *name);
        given.map(|(_, value)| self.text[value.clone()].trim()).filter(|value| !value.is_empty())
    }

    /// A parameter that must be given.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, InvalidForm> {
        self.text(name).ok_or(InvalidForm::Missing(name))
    }

    /// A number of things, if given.
    pub(crate) fn count(&self, name: &'static str) -> Result<Option<usize>, InvalidForm> {
        let accepted = "a whole number from 0 on";
        self.text(name).map(|text| text.parse().map_err(|_| invalid(name, text, accepted))).transpose()
    }

    /// A number of things that must be given.
    pub(crate) fn required_count(&self, name: &'static str) -> Result<usize, InvalidForm> {
        self.count(name)?.ok_or(InvalidForm::Missing(name))
    }

    /// A flag, if given.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, InvalidForm> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let flags = [("true", true), ("false", false)];
        let said = flags.into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        said.map(|(_, flag)| Some(flag)).ok_or_else(|| invalid(name, text, "true or false"))
    }

    /// `namespaceId`, or the default.
    pub(crate) fn namespace(&self) -> Result<Namespace, InvalidForm> {
        Ok(Namespace::new(self.text("namespaceId").unwrap_or_default())?)
    }

    /// `groupName`, or the default.
    pub(crate) fn group(&self) -> Result<Group, InvalidForm> {
        Ok(Group::new(self.text("groupName").unwrap_or_default())?)
    }

    /// `serviceName`, bare or as `group@@name`, with `groupName` and `namespaceId`.
    pub(crate) fn service(&self) -> Result<ServiceKey, InvalidForm> {
        let [namespace, group] = ["namespaceId", "groupName"].map(|name| self.text(name).unwrap_or_default());
        Ok(service_key(namespace, group, self.required("serviceName")?)?)
    }

    /// `ip` and `port`.
    pub(crate) fn address(&self) -> Result<Address, InvalidForm> {
        let (host, port) = (self.required("ip")?, self.required("port")?);
        let port = port.parse().map_err(|_| invalid("port", port, "0 to 65535"))?;
        Ok(Address::new(host, port)?)
    }

    /// `ip`, `port` and the cluster.
    pub(crate) fn instance_key(&self) -> Result<InstanceKey, InvalidForm> {
        Ok(InstanceKey { address: self.address()?, cluster: self.cluster()? })
    }

    /// A whole registration.
    pub(crate) fn instance(&self) -> Result<Instance, InvalidForm> {
        Ok(Instance {
            key: self.instance_key()?,
            weight: self.weight()?.unwrap_or(Weight::FULL),
            healthy: self.flag("healthy")?.unwrap_or(true),
            enabled: self.enabled()?.unwrap_or(true),
            ephemeral: self.ephemeral()?,
            metadata: self.metadata()?.unwrap_or_default(),
        })
    }

    /// `enabled`, if given, or `enable`, which is Node's and Python's word.
    pub(crate) fn enabled(&self) -> Result<Option<bool>, InvalidForm> {
        Ok(self.flag("enabled")?.or(self.flag("enable")?))
    }

    /// `protectThreshold`, if given: a number, brought into 0 to 1.
    pub(crate) fn protect_threshold(&self) -> Result<Option<f64>, InvalidForm> {
        let Some(text) = self.text("protectThreshold") else { return Ok(None) };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| invalid("protectThreshold", text, "a number from 0 to 1"))?;
        Ok(Some(number.clamp(0.0, 1.0)))
    }

    /// `ephemeral`, by default true.
    pub(crate) fn ephemeral(&self) -> Result<bool, InvalidForm> {
        Ok(self.flag("ephemeral")?.unwrap_or(true))
    }

    /// A heartbeat: `beat` holds a full one as JSON; without it the address stands in `ip` and `port`.
    pub(crate) fn beat(&self) -> Result<Beat, InvalidForm> {
        let service = self.service()?; // The name inside the JSON may differ, and does not count.
        let Some(text) = self.text("beat") else {
            return Ok(Beat { service, address: self.address()?, full: None });
        };
        if !text.starts_with('{') {
            return Err(invalid("beat", text, "a JSON object"));
        }
        let json = |source| InvalidForm::Json { name: "beat", source };
        let full = serde_json::from_str::<FullBeat>(text).map_err(json)?;
        let instance = self.beaten(full)?;
        Ok(Beat { service, address: instance.key.address.clone(), full: Some(instance) })
    }

    /// The registration in a full heartbeat, in which the parameters stand in for what the JSON lacks.
    fn beaten(&self, beat: FullBeat) -> Result<Instance, InvalidForm> {
        let cluster_name =
            if beat.cluster.trim().is_empty() { self.cluster()?.to_string() } else { beat.cluster };
        let (ip, port) = match (beat.ip.trim(), beat.port) {
            (ip, Some(port)) if !ip.is_empty() => (ip.to_owned(), port),
            _ => self.address().map(|address| (address.host().to_owned(), address.port().into()))?,
        };
        let wire = WireInstance {
            ip,
            port,
            cluster_name,
            weight: beat.weight.unwrap_or(Weight::FULL.as_f64()),
            ephemeral: beat.ephemeral.unwrap_or(true),
            metadata: beat.metadata,
            ..WireInstance::default()
        };
        Ok(wire.into_model()?)
    }

    fn cluster(&self) -> Result<Cluster, InvalidForm> {
        let name = self.text("clusterName").or_else(|| self.text("cluster"));
        Ok(Cluster::new(name.unwrap_or_default())?)
    }

    /// `weight`, if given.
    pub(crate) fn weight(&self) -> Result<Option<Weight>, InvalidForm> {
        let Some(text) = self.text("weight") else { return Ok(None) };
        let number = text.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
        let weight = number.and_then(|weight| Weight::new(weight).ok());
        weight.map(Some).ok_or(InvalidForm::Weight)
    }

    /// `metadata`, as a JSON object or as `k=v,k=v`, if given.
    pub(crate) fn metadata(&self) -> Result<Option<Metadata>, InvalidForm> {
        let accepted = "a JSON object of strings, or k=v,k=v";
        let Some(text) = self.text("metadata") else { return Ok(None) };
        if text.starts_with('{') {
            let json = |source| InvalidForm::Json { name: "metadata", source };
            let words: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(json)?;
            let words = words.into_iter().filter(|(_, value)| !value.is_null());
            let read =
                |(key, value)| Ok((key, word(value).ok_or_else(|| invalid("metadata", text, accepted))?));
            return words.map(read).collect::<Result<_, _>>().map(Some);
        }
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let pair = |word: &str| {
            let (key, value) = word.split_once('=').ok_or_else(|| invalid("metadata", text, accepted))?;
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        };
        words.map(pair).collect::<Result<_, _>>().map(Some)
    }
}

/// A value of metadata; whoever writes JSON by hand writes numbers and flags bare.
fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn invalid(name: &'static str, given: &str, accepted: &'static str) -> InvalidForm {
    InvalidForm::value(name, given, accepted)
}

/// Undoes the encoding of `application/x-www-form-urlencoded`; a `%` that encodes nothing stays itself, as in
/// browsers.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| b"%+".contains(byte)) {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = if *first == b'%' { tail.get(..2).and_then(hexadecimal) } else { None };
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    bytes.into()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(value(digits[0])? * 16 + value(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(query: &str) -> Form {
        Form::parse(query, b"").unwrap()
    }

    #[test]
    fn parameters_come_from_query_and_body_and_the_first_counts() {
        let form = Form::parse("a=1&b=%E4%BD%A0+x&c=&flag", b"a=2&d=100%25%&=&e==").unwrap();
        assert_eq!(form.text("a"), Some("1"));
        assert_eq!(form.text("b"), Some("\u{4f60} x"));
        assert_eq!((form.text("c"), form.text("flag"), form.text("x")), (None, None, None));
        assert_eq!((form.text("d"), form.text("e")), (Some("100%%"), Some("=")));
        for bad in ["a=%ff", "a%e4=%bd%a0"] {
            assert!(Form::parse(bad, b"").is_err(), "{bad} is no UTF-8, or not in each of its parts");
        }
        assert!(Form::parse(&"a&".repeat(257), b"").is_err());
    }

    #[test]
    fn a_registration_has_nacos_defaults() {
        let read = form("serviceName=shop%40%40orders&ip=10.0.0.7&port=80&groupName=other&weight=&cluster=");
        assert_eq!(read.service().unwrap().to_string(), "public##shop@@orders");
        assert_eq!(read.instance().unwrap(), Instance::new("10.0.0.7:80".parse().unwrap()));
    }

    #[test]
    fn a_registration_is_read_as_real_clients_write_it() {
        let read = form(concat!(
            "ip=::1&port=80&weight=0.5&enable=False&healthy=TRUE&ephemeral=true&clusterName=None",
            "&metadata=%7B%22a%22%3A%22b%22%2C%22n%22%3A1%2C%22t%22%3Atrue%2C%22x%22%3Anull%7D"
        ));
        let instance = read.instance().unwrap();
        assert_eq!((instance.enabled, instance.healthy, instance.weight.as_f64()), (false, true, 0.5));
        assert_eq!(format!("{:?}", instance.key), "[::1]:80/None");
        assert_eq!(instance.metadata, Metadata::from_iter([("a", "b"), ("n", "1"), ("t", "true")]));
        let read = form("ip=h&port=1&metadata=a%3Db,+c%3Dd=e,");
        assert_eq!(read.instance().unwrap().metadata, Metadata::from_iter([("a", "b"), ("c", "d=e")]));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_accepted() {
        for (query, said) in [
            ("port=80", "Param 'ip' is required."),
            ("ip=10.0.0.7&port=+", "Param 'port' is required."),
            ("ip=10.0.0.7&port=x", r#"port="x" is not valid: accepted is 0 to 65535"#),
            ("ip=a/b&port=1", "accepted is an IP address, or a name"),
            ("ip=h&port=1&weight=10001", "The weights range from 0.0 to 10000.0"),
            ("ip=h&port=1&weight=NaN", "The weights range from 0.0 to 10000.0"),
            ("ip=h&port=1&enabled=1", r#"enabled="1" is not valid: accepted is true or false"#),
            ("ip=h&port=1&metadata=abc", "accepted is a JSON object of strings, or k=v,k=v"),
            ("ip=h&port=1&metadata=%7B%22a%22:[]%7D", "accepted is a JSON object of strings"),
            ("ip=h&port=1&metadata=%7B%22a%22:%7D", "metadata is not valid JSON"),
            ("ip=h&port=1&clusterName=a.b", "cluster name"),
        ] {
            let error = form(query).instance().unwrap_err().to_string();
            assert!(error.contains(said), "{query}: {error}");
        }
        for bad in ["", "serviceName=", "serviceName=@@x", "serviceName=x@@", "serviceName=x&groupName=a/b"] {
            assert!(form(bad).service().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_json_of_a_heartbeat_counts_but_not_its_service_name() {
        let json = r#"{"ip":"10.0.0.7","port":80,"cluster":"","serviceName":"x","metadata":{"a":"b"},"stopped":false,"period":5000}"#;
        let query = format!("serviceName=orders&ip=1.1.1.1&port=1&clusterName=c&beat={json}");
        let beat = form(&query).beat().unwrap();
        assert_eq!(beat.service, "orders".parse().unwrap());
        let full = beat.full.unwrap();
        assert_eq!(format!("{:?}", full.key), "10.0.0.7:80/c");
        assert_eq!((full.weight, full.metadata), (Weight::FULL, Metadata::from_iter([("a", "b")])));
    }

    #[test]
    fn a_light_heartbeat_has_an_address_only() {
        let beat = form("serviceName=orders&ip=10.0.0.7&port=80&beat=").beat().unwrap();
        assert_eq!((beat.address, beat.full), ("10.0.0.7:80".parse().unwrap(), None));
        for bad in
            ["serviceName=a&ip=h", "serviceName=a&beat=%7B", "serviceName=a&beat=%7B%7D", "ip=h&port=1"]
        {
            assert!(form(bad).beat().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(query in "[a-z%=&+0-9@{}\":.]{0,60}", body in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(form) = Form::parse(&query, &body) {
                let _ = (form.instance().is_ok(), form.beat().is_ok(), form.service().is_ok());
            }
        }
    }
}
