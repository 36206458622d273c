//! The parameters of the HTTP API by name, in the groups in which operations take them.

use serde_json::{Value, json};

/// One parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) required: bool,
    kind: Kind,
    about: &'static str,
}

/// What its text is.
enum Kind {
    Text,
    Flag,
    Count,
    Number,
    Port,
    /// A JSON object, and for metadata also `k=v,k=v`.
    Object,
}

/// Parameters that belong together.
pub(super) type Group = &'static [Parameter];

use Kind::{Count, Flag, Number, Object, Port, Text};

const fn may(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, required: false, kind, about }
}

const fn must(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter { name, required: true, kind, about }
}

pub(super) const NAMESPACE: Group = &[may("namespaceId", Text, "Namespace; `public` when absent.")];
pub(super) const NAMESPACE_MEANT: Group = &[must("namespaceId", Text, "Namespace that is meant.")];
pub(super) const NAMESPACE_NEW: Group = &[may("namespaceId", Text, "Its id; one is made when absent.")];
pub(super) const NAMESPACE_NEW_V1: Group =
    &[may("customNamespaceId", Text, "Its id; one is made when absent.")];
pub(super) const NAMESPACE_NAMED: Group =
    &[must("namespaceName", Text, "What people call it."), may("namespaceDesc", Text, "What it is for.")];
pub(super) const NAMESPACE_RENAMED_V1: Group = &[
    must("namespace", Text, "Namespace that is meant."),
    must("namespaceShowName", Text, "What people call it."),
    may("namespaceDesc", Text, "What it is for."),
];
pub(super) const NAMESPACE_ASKED: Group = &[
    may("show", Text, "With `all`, the one that `namespaceId` names."),
    may("checkNamespaceIdExist", Flag, "Whether `customNamespaceId` is there, as `true` or `false`."),
];
pub(super) const GROUP: Group = &[
    may("groupName", Text, "Group; `DEFAULT_GROUP` when absent."),
    may("namespaceId", Text, "Namespace; `public` when absent."),
];
pub(super) const SERVICE: Group = &[
    must("serviceName", Text, "Name of the service, or `group@@name`."),
    may("groupName", Text, "Group; `DEFAULT_GROUP` when absent. One in `serviceName` counts more."),
    may("namespaceId", Text, "Namespace; `public` when absent."),
];
pub(super) const ADDRESS: Group = &[
    must("ip", Text, "IP address or host name of the instance."),
    must("port", Port, "Port of the instance."),
];
pub(super) const OF_ADDRESS: Group =
    &[may("ip", Text, "Only what concerns this instance."), may("port", Port, "Its port; goes with `ip`.")];
pub(super) const EVENTS: Group = &[
    may("after", Count, "Only what was written down after the event with this number."),
    may("max", Count, "Events at most; 200 when absent, and 10 000 at most."),
];
pub(super) const SECONDS: Group = &[may("seconds", Count, "How far back; 300 when absent, and at most.")];
pub(super) const CLUSTER: Group = &[may("clusterName", Text, "Cluster; `DEFAULT` when absent.")];
pub(super) const CLUSTERS: Group =
    &[may("clusters", Text, "A list with commas of the clusters that are wanted; all when absent.")];
pub(super) const CLUSTER_NAMES: Group =
    &[may("clusterName", Text, "A list with commas of the clusters that are wanted; all when absent.")];
pub(super) const CLIENT_ID: Group =
    &[must("clientId", Text, "Name of a client: of a connection, or `ip:port#ephemeral`.")];
pub(super) const CONNECTION_ID: Group = &[
    must("connectionId", Text, "Name of a connection."),
    may("redirectAddress", Text, "Where it is asked to go, `ip:port`; wherever it likes when absent."),
];
pub(super) const STAYING: Group = &[
    must("count", Count, "How many stay."),
    may(
        "redirectAddress",
        Text,
        "Where the others are asked to go, `ip:port`; wherever they like when absent.",
    ),
];
pub(super) const LOG_LEVEL: Group =
    &[must("logName", Text, "Which part of the log."), must("logLevel", Text, "From which level on.")];
pub(super) const USER: Group = &[must("username", Text, "Name of the user: 1 to 64 of A-Z a-z 0-9 _ - . @.")];
pub(super) const NEW_USER: Group = &[
    must("username", Text, "Name of the user: 1 to 64 of A-Z a-z 0-9 _ - . @."),
    must("password", Text, "The password."),
];
pub(super) const NEW_PASSWORD: Group = &[must("newPassword", Text, "The password from here on.")];
pub(super) const ROLE: Group =
    &[must("role", Text, "`read`, `write` or `admin`, in one namespace with `@NAMESPACE` behind it.")];
pub(super) const OF_USER: Group = &[may("username", Text, "Only this user.")];
pub(super) const OF_ROLE: Group = &[may("role", Text, "Only this role.")];
pub(super) const HEALTHY_ONLY: Group = &[may("healthyOnly", Flag, "Leaves out who is unhealthy.")];
pub(super) const ENABLED_ONLY: Group = &[may("enabledOnly", Flag, "Leaves out who takes no traffic.")];
pub(super) const EPHEMERAL: Group =
    &[may("ephemeral", Flag, "Whether heartbeats keep it; true when absent. Otherwise it is persistent.")];
pub(super) const REGISTRATION: Group = &[
    may("weight", Number, "Share of the traffic, 0 to 10000; 1 when absent."),
    may("enabled", Flag, "Whether it takes traffic; true when absent. `enable` means the same."),
    may("healthy", Flag, "Health to begin with; true when absent."),
    may("metadata", Object, "Words of its own: a JSON object of strings, or `k=v,k=v`."),
];
pub(super) const OVERRIDES: Group = &[
    may("weight", Number, "Share of the traffic, 0 to 10000."),
    may("enabled", Flag, "Whether it takes traffic. `enable` means the same."),
    may("metadata", Object, "Laid over the registered ones: a JSON object of strings, or `k=v,k=v`."),
];
pub(super) const HEART_BEAT: Group = &[may(
    "heartBeat",
    Flag,
    "Renews what is registered instead of registering; code 21003 when nothing is.",
)];
pub(super) const BEAT: Group = &[
    may(
        "beat",
        Object,
        "A full heartbeat, which registers an instance that is not there. A light one has `ip` and `port` instead.",
    ),
    may("ip", Text, "Of a light heartbeat."),
    may("port", Port, "Of a light heartbeat."),
];
pub(super) const HEALTH: Group =
    &[must("healthy", Flag, "The health to set; `valid` means the same. Only where nobody probes.")];
pub(super) const SET_ON: Group = &[
    may(
        "instances",
        Object,
        "A JSON list of `{\"ip\",\"port\",\"clusterName\"}`, in place of `ip` and `port`.",
    ),
    may("ip", Text, "Host of the one instance."),
    may("port", Port, "Its port."),
];
pub(super) const ROLLOUT: Group = &[
    may("warmup", Number, "How long the warm-up takes, 0 (none) to 86400 seconds."),
    may("exponent", Number, "How it rises, 0.1 to 10."),
    may("floor", Number, "The least part of its weight that an instance takes, above 0 and up to 1."),
    may("notices", Flag, "Whether instances tell their consumers when they leave."),
    may("delay", Number, "How long after its start an instance registers, 0 to 600 seconds."),
];
pub(super) const CONNECTION: Group =
    &[must("connection", Count, "Number of the connection, as `/clients` has it.")];
pub(super) const BATCH: Group = &[
    must("metadata", Object, "The metadata to set or to take back."),
    may(
        "instances",
        Object,
        "A JSON list of `{\"ip\",\"port\",\"clusterName\"}`; all of the service when absent.",
    ),
    may("consistencyType", Text, "`ephemeral` or `persist`: only instances of this kind."),
];
pub(super) const SAID: Group = &[
    may("protectThreshold", Number, "When no greater a share is healthy, all are given as healthy: 0 to 1."),
    may(
        "metadata",
        Object,
        "Words of the service; those with the prefix `graceful.` hold for all its instances.",
    ),
    may(
        "selector",
        Object,
        "`{\"type\":\"none\"}` or `{\"type\":\"label\",\"expression\":\"..\"}`; kept, and not applied.",
    ),
];
pub(super) const NEW_EPHEMERAL: Group =
    &[may("ephemeral", Flag, "Whether its instances are ephemeral; false when absent.")];
pub(super) const CHECKER: Group = &[
    must(
        "healthChecker",
        Object,
        "How instances are probed: `{\"type\":\"TCP\"}`, `{\"type\":\"NONE\"}` or `{\"type\":\"HTTP\",\"path\":\"..\"}`.",
    ),
    may("useInstancePort4Check", Flag, "Whether the instance's own port is probed; true when absent."),
    may("checkPort", Port, "The port to probe otherwise."),
    may("metadata", Object, "Words of the cluster."),
];
pub(super) const CLUSTER_SET: Group = &[must("clusterName", Text, "Cluster that is meant.")];
pub(super) const PERIOD: Group =
    &[may("seconds", Count, "How far back what has happened is looked at; 3600 when absent.")];
pub(super) const PAGE: Group =
    &[may("pageNo", Count, "Page, from 1 on."), may("pageSize", Count, "Entries on a page, 10 000 at most.")];
pub(super) const PAGE_ASKED: Group = &[
    must("pageNo", Count, "Page, from 1 on."),
    must("pageSize", Count, "Entries on a page, 10 000 at most."),
];
pub(super) const AFTER: Group = &[
    may("after", Text, "`next` of the answer before, for the services after those."),
    may("pageSize", Count, "Services in the answer, 100 at most."),
];
pub(super) const SEARCH: Group = &[
    may("serviceNameParam", Text, "Part of the name."),
    may("groupNameParam", Text, "Part of the group."),
    may("withInstances", Flag, "Whether their instances come with them."),
];
pub(super) const EXPRESSION: Group = &[may("expr", Text, "Part of the name.")];
pub(super) const KEY: Group = &[must("key", Text, "The service as `namespace##group@@name`.")];
pub(super) const ONLY_STATUS: Group =
    &[may("onlyStatus", Flag, "With `false`, numbers of everything come too.")];
pub(super) const ENTRY: Group = &[must("entry", Text, "What to switch."), must("value", Text, "To what.")];
pub(super) const LOGIN: Group = &[may("username", Text, "Name."), may("password", Text, "Password.")];

impl Parameter {
    /// As `OpenAPI` describes it.
    pub(super) fn described(&self) -> Value {
        let Self { name, required, about, .. } = self;
        json!({ "name": name, "in": "query", "required": required, "description": about, "schema": self.schema() })
    }

    fn schema(&self) -> Value {
        match self.kind {
            Text | Object => json!({ "type": "string" }),
            Flag => json!({ "type": "boolean" }),
            Count => json!({ "type": "integer", "minimum": 0 }),
            Number => json!({ "type": "number", "minimum": 0 }),
            Port => json!({ "type": "integer", "minimum": 0, "maximum": 65535 }),
        }
    }
}
