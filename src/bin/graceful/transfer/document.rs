//! The file that is exported: services, their persistent instances, and what operators have set, as one JSON
//! object.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What the file says it is.
const FORMAT: &str = "tower-graceful-registry";
/// Version of the format: it rises when an older program would lose something.
const VERSION: u32 = 1;

/// Everything that was exported.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    format: String,
    version: u32,
    /// Where it comes from; says nothing to whoever imports it.
    #[serde(default)]
    source: String,
    /// Namespaces that people have named or described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) namespaces: Vec<Named>,
    pub(crate) services: Vec<Service>,
}

/// What people call a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) namespace: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: String,
}

/// Names a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

/// A service, what is said of it, and who is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Service {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) ephemeral: bool,
    /// Whether it was created by name, and so stays without instances.
    #[serde(default)]
    pub(crate) created: bool,
    #[serde(default)]
    pub(crate) protect_threshold: f64,
    #[serde(default)]
    pub(crate) metadata: Words,
    #[serde(default)]
    pub(crate) selector: Selector,
    #[serde(default)]
    pub(crate) clusters: BTreeMap<String, Cluster>,
    #[serde(default)]
    pub(crate) instances: Vec<Instance>,
    #[serde(default)]
    pub(crate) overrides: Vec<Override>,
}

pub(crate) type Words = BTreeMap<String, String>;

/// Which instances consumers are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Selector {
    #[default]
    None,
    Label {
        #[serde(default)]
        expression: String,
    },
}

/// How the persistent instances of a cluster are probed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) checker: Checker,
    /// The port to probe; absent where it is each instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    #[serde(default)]
    pub(crate) metadata: Words,
}

/// One way to probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "UPPERCASE", rename_all_fields = "camelCase")]
pub(crate) enum Checker {
    None,
    #[default]
    Tcp,
    Http {
        #[serde(default)]
        path: String,
        /// `name:value|name:value`.
        #[serde(default)]
        headers: String,
        #[serde(default = "ok_status")]
        expected_response_code: u16,
    },
}

const fn ok_status() -> u16 {
    200
}

/// Where an instance is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
}

/// A persistent instance as it was registered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    #[serde(flatten)]
    pub(crate) place: Place,
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    pub(crate) healthy: bool,
    #[serde(default)]
    pub(crate) metadata: Words,
}

/// What operators have set on an instance, which need not be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Override {
    #[serde(flatten)]
    pub(crate) place: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(default)]
    pub(crate) metadata: Words,
}

/// Why a text is no such document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidDocument {
    #[error("it is no export of a registry")]
    Json(#[source] serde_json::Error),
    #[error("it is {format:?} in version {version}: accepted is {FORMAT:?} up to version {VERSION}")]
    Version { format: String, version: u32 },
    #[error("it has the service {0} twice")]
    Twice(Key),
}

impl Document {
    pub(crate) fn new(source: String, mut namespaces: Vec<Named>, mut services: Vec<Service>) -> Self {
        namespaces.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        services.sort_by(|a, b| a.key.cmp(&b.key));
        Self { format: FORMAT.to_owned(), version: VERSION, source, namespaces, services }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is something else, of a later version, or says two things of one service.
    pub(crate) fn read(text: &[u8]) -> Result<Self, InvalidDocument> {
        /// What every version of the format has.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let Head { format, version } = serde_json::from_slice(text).map_err(InvalidDocument::Json)?;
        if format != FORMAT || !(1..=VERSION).contains(&version) {
            return Err(InvalidDocument::Version { format, version });
        }
        let document: Self = serde_json::from_slice(text).map_err(InvalidDocument::Json)?;
        let mut keys: Vec<&Key> = document.services.iter().map(|service| &service.key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(InvalidDocument::Twice(pair[0].clone())),
            None => Ok(document),
        }
    }

    /// How many persistent instances it has.
    pub(crate) fn instances_len(&self) -> usize {
        self.services.iter().map(|service| service.instances.len()).sum()
    }
}

impl Named {
    /// Whether somebody has given it a name of its own, or a description.
    pub(crate) fn says_something(&self) -> bool {
        self.name != self.namespace || !self.description.is_empty()
    }
}

impl Service {
    /// A service of which nothing is said.
    pub(crate) fn new(key: Key, ephemeral: bool) -> Self {
        Self {
            key,
            ephemeral,
            created: false,
            protect_threshold: 0.0,
            metadata: Words::new(),
            selector: Selector::None,
            clusters: BTreeMap::new(),
            instances: Vec::new(),
            overrides: Vec::new(),
        }
    }

    /// Whether it says the same of the service itself as `other`, but for its clusters.
    pub(crate) fn says_as(&self, other: &Self) -> bool {
        self.protect_threshold == other.protect_threshold
            && self.metadata == other.metadata
            && self.selector == other.selector
    }
}

impl Key {
    /// The name as Nacos' API takes it: `group@@name`.
    pub(crate) fn grouped(&self) -> String {
        format!("{}@@{}", self.group, self.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}##{}@@{}", self.namespace, self.group, self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address needs its brackets before a port.
        let Self { ip, port, cluster } = self;
        if ip.contains(':') {
            write!(f, "[{ip}]:{port} {cluster}")
        } else {
            write!(f, "{ip}:{port} {cluster}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"format":"tower-graceful-registry","version":1,"source":"x","namespaces":[{"namespace":"7f2c","name":"staging","description":""}],"services":[{"namespace":"public","group":"g","name":"orders","ephemeral":false,"created":true,"protectThreshold":0.5,"metadata":{"a":"b"},"selector":{"type":"none"},"clusters":{"DEFAULT":{"checker":{"type":"HTTP","path":"/ping","headers":"","expectedResponseCode":200},"metadata":{}}},"instances":[{"ip":"10.0.0.7","port":80,"cluster":"DEFAULT","weight":1.0,"enabled":true,"healthy":true,"metadata":{}}],"overrides":[{"ip":"10.0.0.7","port":80,"cluster":"DEFAULT","enabled":false,"metadata":{}}]}]}"#;

    #[test]
    fn the_format_is_what_files_hold() {
        let document = Document::read(TEXT.as_bytes()).unwrap();
        assert_eq!((document.services.len(), document.instances_len()), (1, 1));
        assert_eq!(serde_json::to_string(&document).unwrap(), TEXT);
    }

    #[test]
    fn what_is_no_export_or_of_a_later_version_is_refused() {
        let said = |text: &str| Document::read(text.as_bytes()).unwrap_err().to_string();
        assert!(said("{}").contains("no export"));
        assert!(said(&TEXT.replace("\"version\":1", "\"version\":2")).contains("up to version 1"));
        assert!(said(&TEXT.replace("tower-graceful-", "other-")).contains("other-registry"));
        let (start, one) = TEXT.split_once("\"services\":[").unwrap();
        let one = one.strip_suffix("]}").unwrap();
        assert!(said(&format!("{start}\"services\":[{one},{one}]}}")).contains("public##g@@orders twice"));
    }
}
