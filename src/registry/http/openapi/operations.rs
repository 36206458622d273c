//! Every operation of the HTTP API: where it is, what it does, what it takes and what it gives.

use super::parameters::{
    ADDRESS, AFTER, BATCH, BEAT, CHECKER, CLIENT_ID, CLUSTER, CLUSTER_NAMES, CLUSTER_SET, CLUSTERS,
    CONNECTION, CONNECTION_ID, ENABLED_ONLY, ENTRY, EPHEMERAL, EVENTS, EXPRESSION, GROUP, Group, HEALTH,
    HEALTHY_ONLY, HEART_BEAT, KEY, LOG_LEVEL, LOGIN, NAMESPACE, NAMESPACE_ASKED, NAMESPACE_MEANT,
    NAMESPACE_NAMED, NAMESPACE_NEW, NAMESPACE_NEW_V1, NAMESPACE_RENAMED_V1, NEW_EPHEMERAL, NEW_PASSWORD,
    NEW_USER, OF_ADDRESS, OF_ROLE, OF_USER, ONLY_STATUS, OVERRIDES, PAGE, PAGE_ASKED, PERIOD, REGISTRATION,
    ROLE, ROLLOUT, SAID, SEARCH, SECONDS, SERVICE, SET_ON, STAYING, USER,
};
use http::Method;

/// Where routes begin.
pub(super) struct Base {
    pub(super) path: &'static str,
    /// Whether answers come in the envelope of versions 2 and 3.
    pub(super) enveloped: bool,
}

const fn bare(path: &'static str) -> Base {
    Base { path, enveloped: false }
}

const fn enveloped(path: &'static str) -> Base {
    Base { path, enveloped: true }
}

const ROOT: Base = bare("");
const V1: Base = bare("/nacos/v1/ns");
const V2: Base = enveloped("/nacos/v2/ns");
const V2_BARE: Base = bare("/nacos/v2/ns");
const CLIENT: Base = enveloped("/nacos/v3/client/ns");
const ADMIN: Base = enveloped("/nacos/v3/admin/ns");
const CORE_V2: Base = enveloped("/nacos/v2/core");
const CORE: Base = enveloped("/nacos/v3/admin/core");
const CONSOLE: Base = bare("/nacos/v1/console");
const CONSOLE_V2: Base = enveloped("/nacos/v2/console");
const AUTH_V1: Base = bare("/nacos/v1/auth");
const AUTH_V3: Base = bare("/nacos/v3/auth");
const USERS_V3: Base = enveloped("/nacos/v3/auth");
const OURS: Base = bare("/graceful/v1");

/// What one method of a path does.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) about: &'static str,
    pub(super) takes: &'static [Group],
    pub(super) gives: Gives,
}

/// What a success is answered with.
#[derive(Clone, Copy)]
pub(super) enum Gives {
    /// `ok`.
    Done,
    /// Text, of which this is an example.
    Text(&'static str),
    /// JSON of a shape that has a schema of this name.
    Shape(&'static str),
    /// A list of such.
    Shapes(&'static str),
    /// JSON of which this is an example.
    Like(&'static str),
}

/// The bases under which a path is, the path, and what its methods do.
pub(super) type Line = (&'static [Base], &'static str, &'static [Operation]);

use Gives::{Done, Like, Shape, Shapes, Text};

const fn get(about: &'static str, takes: &'static [Group], gives: Gives) -> Operation {
    Operation { method: Method::GET, about, takes, gives }
}

const fn post(about: &'static str, takes: &'static [Group], gives: Gives) -> Operation {
    Operation { method: Method::POST, about, takes, gives }
}

const fn put(about: &'static str, takes: &'static [Group], gives: Gives) -> Operation {
    Operation { method: Method::PUT, about, takes, gives }
}

const fn patch(about: &'static str, takes: &'static [Group], gives: Gives) -> Operation {
    Operation { method: Method::PATCH, about, takes, gives }
}

const fn delete(about: &'static str, takes: &'static [Group], gives: Gives) -> Operation {
    Operation { method: Method::DELETE, about, takes, gives }
}

const REGISTER: Operation =
    post("Registers an instance.", &[SERVICE, ADDRESS, CLUSTER, REGISTRATION, EPHEMERAL], Done);
const DEREGISTER: Operation = delete(
    "Takes an instance off; that there is none is a success.",
    &[SERVICE, ADDRESS, CLUSTER, EPHEMERAL],
    Done,
);
const REPLACE: Operation = put(
    "Sets what operators say of an instance, and takes back what is not given.",
    &[SERVICE, ADDRESS, CLUSTER, OVERRIDES],
    Done,
);
const CHANGE_ABOUT: &str = "Sets some of what operators say of an instance that is there.";
const CHANGE: &[Group] = &[SERVICE, ADDRESS, CLUSTER, OVERRIDES];
const BEATEN: Operation = put(
    "Takes a heartbeat.",
    &[SERVICE, BEAT, CLUSTER],
    Like(r#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#),
);
const UPDATED: Gives = Like(r#"{"updated":["10.0.0.7:80:unknown:DEFAULT:ephemeral"]}"#);
const SET_HEALTH: Operation =
    put("Sets the health of a persistent instance.", &[SERVICE, ADDRESS, CLUSTER, HEALTH], Done);
const CREATE: Operation =
    post("Creates a service, which then stays without instances.", &[SERVICE, SAID, NEW_EPHEMERAL], Done);
const UPDATE: Operation = put("Says what holds for a service as a whole.", &[SERVICE, SAID], Done);
const DELETE: Operation = delete("Deletes a service that has no instances.", &[SERVICE], Done);
const PROBING: Operation =
    put("Says how the persistent instances of a cluster are probed.", &[SERVICE, CLUSTER_SET, CHECKER], Done);
const SERVICE_ABOUT: &str = "What is said of a service.";
const CHECKERS: Operation =
    get("The ways to probe persistent instances.", &[], Like(r#"{"TCP":{"type":"TCP"}}"#));
const SELECTORS: Operation = get("The kinds of selectors.", &[], Like(r#"["none","label"]"#));
const STATUS: Operation =
    get("Whether the registry is up, and numbers.", &[ONLY_STATUS], Like(r#"{"status":"UP"}"#));
const SET_LOG: Operation =
    put("Refused with 501: the level of the log is a setting of the start.", &[LOG_LEVEL], Done);
const PUBLISHED: Gives = Like("[]");
const NAMED: Gives = Like("[]");
const SWITCHES: &[Operation] = &[
    get("What Nacos lets one switch, as it stands here.", &[], Like(r#"{"pushEnabled":true}"#)),
    put("Refused with 501: what may be chosen is a setting of the start.", &[ENTRY], Done),
];
const LOG_IN_ABOUT: &str = "Gives a token.";
const TOKEN: Gives =
    Like(r#"{"accessToken":"everyone","tokenTtl":18000,"globalAdmin":true,"username":"ann"}"#);
const LOG_IN: &[Operation] = &[post(LOG_IN_ABOUT, &[LOGIN], TOKEN), get(LOG_IN_ABOUT, &[LOGIN], TOKEN)];
const NAME_ABOUT: &str = "Names a namespace; nothing else is needed to use it.";
const RENAME_ABOUT: &str = "Gives a namespace another name.";
const UNNAME_ABOUT: &str = "Takes the name off a namespace without services; that it has none is a success.";
const ADD_USER: &str = "Makes a user who may do nothing yet.";
const REMOVE_USER: &str = "Removes a user, whose tokens then count no more.";
const SET_PASSWORD: &str = "Gives a user another password; the tokens of the old one count no more.";
const GRANT: &str = "Gives a user a role.";
const REVOKE: &str = "Takes a role from a user.";
const SAID_DONE: Gives = Like(r#"{"code":200,"data":"create user ok!"}"#);
const LIST_USERS: Operation = get("The users.", &[OF_USER, PAGE], Shape("Page"));
const FIND_USERS: Operation = get("Names of users that contain one.", &[OF_USER], Like(r#"["ann"]"#));
const LIST_ROLES: Operation = get("Who has which role.", &[OF_USER, PAGE], Shape("Page"));
const FIND_ROLES: Operation = get("Roles whose names contain one.", &[OF_ROLE], Like(r#"["write@dev"]"#));
const LIST_PERMISSIONS: Operation = get("What each role means.", &[OF_ROLE, PAGE], Shape("Page"));
const PERMIT: Operation = post("Refused with 501: a role is what its name says.", &[], Done);
const FORBID: Operation = delete("Refused with 501: a role is what its name says.", &[], Done);
const ALIVE: &str = "Answers while the process runs.";
const READY: &str = "Answers 200 while the registry takes changes, else 503.";
const DETAIL: &[Group] = &[SERVICE, ADDRESS, CLUSTER];

/// All of them.
pub(super) static LINES: &[Line] = &[
    // Instances, as applications register and find them.
    (&[V1, V2, ADMIN], "/instance", &[REGISTER, DEREGISTER, REPLACE]),
    (
        &[V1],
        "/instance",
        &[
            get(
                "One instance.",
                &[SERVICE, ADDRESS, CLUSTER, HEALTHY_ONLY],
                Like(r#"{"service":"DEFAULT_GROUP@@orders","ip":"10.0.0.7","port":80}"#),
            ),
            patch(CHANGE_ABOUT, CHANGE, Done),
        ],
    ),
    (
        &[V2],
        "/instance",
        &[get(
            "One instance.",
            DETAIL,
            Like(r#"{"serviceName":"DEFAULT_GROUP@@orders","ip":"10.0.0.7","port":80}"#),
        )],
    ),
    (&[V2_BARE], "/instance", &[patch(CHANGE_ABOUT, CHANGE, Done)]),
    (&[ADMIN], "/instance", &[get("One instance.", DETAIL, Shape("Instance"))]),
    (&[ADMIN], "/instance/partial", &[put(CHANGE_ABOUT, CHANGE, Done)]),
    (
        &[CLIENT],
        "/instance",
        &[
            post(
                "Registers an instance, or renews it.",
                &[SERVICE, ADDRESS, CLUSTER, REGISTRATION, EPHEMERAL, HEART_BEAT],
                Done,
            ),
            DEREGISTER,
        ],
    ),
    (&[V1, V2_BARE], "/instance/beat", &[BEATEN]),
    (
        &[V1],
        "/instance/list",
        &[get("The instances of a service.", &[SERVICE, CLUSTERS, HEALTHY_ONLY], Shape("ServiceInfo"))],
    ),
    (
        &[V2],
        "/instance/list",
        &[get("The instances of a service.", &[SERVICE, CLUSTER_NAMES, HEALTHY_ONLY], Shape("ServiceInfo"))],
    ),
    (
        &[CLIENT],
        "/instance/list",
        &[get("The instances of one cluster of a service.", &[SERVICE, CLUSTER], Shapes("Instance"))],
    ),
    (
        &[ADMIN],
        "/instance/list",
        &[get(
            "All instances of a service, as operators see them.",
            &[SERVICE, CLUSTER_NAMES, HEALTHY_ONLY, ENABLED_ONLY],
            Shapes("Instance"),
        )],
    ),
    (
        &[V1],
        "/instance/statuses",
        &[get("Addresses with their health.", &[KEY], Like(r#"{"ips":["10.0.0.7:80_true"]}"#))],
    ),
    (
        &[V1, V2, ADMIN],
        "/instance/metadata/batch",
        &[
            put("Sets metadata on several instances.", &[SERVICE, BATCH], UPDATED),
            delete("Takes metadata of several instances back.", &[SERVICE, BATCH], UPDATED),
        ],
    ),
    (&[V1, V2], "/health", &[SET_HEALTH]),
    (&[V1, V2, ADMIN], "/health/instance", &[SET_HEALTH]),
    // Services.
    (&[V1, V2, ADMIN], "/service", &[CREATE, UPDATE, DELETE]),
    (
        &[V1],
        "/service",
        &[get(
            SERVICE_ABOUT,
            &[SERVICE],
            Like(r#"{"name":"orders","groupName":"DEFAULT_GROUP","protectThreshold":0.0}"#),
        )],
    ),
    (
        &[V2],
        "/service",
        &[get(SERVICE_ABOUT, &[SERVICE], Like(r#"{"serviceName":"orders","groupName":"DEFAULT_GROUP"}"#))],
    ),
    (
        &[ADMIN],
        "/service",
        &[get(SERVICE_ABOUT, &[SERVICE], Like(r#"{"serviceName":"orders","groupName":"DEFAULT_GROUP"}"#))],
    ),
    (
        &[V1],
        "/service/list",
        &[get(
            "Names of the services of a group.",
            &[PAGE_ASKED, GROUP],
            Like(r#"{"count":1,"doms":["orders"]}"#),
        )],
    ),
    (
        &[V2],
        "/service/list",
        &[get(
            "Names of the services of a group.",
            &[PAGE, GROUP],
            Like(r#"{"count":1,"services":["orders"]}"#),
        )],
    ),
    (
        &[ADMIN],
        "/service/list",
        &[get("Services of a namespace.", &[PAGE, NAMESPACE, SEARCH], Shape("Page"))],
    ),
    (
        &[V1],
        "/service/names",
        &[get(
            "Names of services of all namespaces.",
            &[EXPRESSION],
            Like(r#"{"services":{"public":["DEFAULT_GROUP@@orders"]},"count":1}"#),
        )],
    ),
    (&[V1, ADMIN], "/service/selector/types", &[SELECTORS]),
    (&[V1, ADMIN], "/cluster", &[PROBING]),
    (
        &[V1],
        "/catalog/service",
        &[get(SERVICE_ABOUT, &[SERVICE], Like(r#"{"service":{"name":"orders"},"clusters":[]}"#))],
    ),
    (
        &[V1],
        "/catalog/services",
        &[get(
            "Services of a namespace.",
            &[PAGE_ASKED, NAMESPACE, SEARCH],
            Like(r#"{"count":0,"serviceList":[]}"#),
        )],
    ),
    (
        &[V1],
        "/catalog/instances",
        &[get(
            "Instances of a service, by pages.",
            &[SERVICE, CLUSTER_NAMES, PAGE],
            Like(r#"{"list":[],"count":0}"#),
        )],
    ),
    (
        &[V2],
        "/catalog/instances",
        &[get(
            "Instances of a service, by pages.",
            &[SERVICE, CLUSTER_NAMES, HEALTHY_ONLY, ENABLED_ONLY, PAGE],
            Like(r#"{"instances":[],"count":0}"#),
        )],
    ),
    // Clients, and who follows a service.
    (
        &[V1],
        "/service/subscribers",
        &[get("Who follows a service.", &[SERVICE, PAGE], Like(r#"{"subscribers":[],"count":0}"#))],
    ),
    (
        &[V2],
        "/service/subscribers",
        &[get("Who follows a service.", &[SERVICE, PAGE], Like(r#"{"subscribers":[],"count":0}"#))],
    ),
    (&[ADMIN], "/service/subscribers", &[get("Who follows a service.", &[SERVICE, PAGE], Shape("Page"))]),
    (&[V2, ADMIN], "/client/list", &[get("The names of all clients.", &[], Like(r#"["10.0.0.7:80#true"]"#))]),
    (
        &[V2, ADMIN],
        "/client",
        &[get(
            "What a client is.",
            &[CLIENT_ID],
            Like(r#"{"clientId":"10.0.0.7:80#true","ephemeral":true}"#),
        )],
    ),
    (&[V2, ADMIN], "/client/publish/list", &[get("What a client publishes.", &[CLIENT_ID], PUBLISHED)]),
    (&[V2, ADMIN], "/client/subscribe/list", &[get("What a client follows.", &[CLIENT_ID], PUBLISHED)]),
    (
        &[V2, ADMIN],
        "/client/service/publisher/list",
        &[get("The clients that publish in a service.", &[SERVICE, OF_ADDRESS], NAMED)],
    ),
    (
        &[V2, ADMIN],
        "/client/service/subscriber/list",
        &[get("The clients that follow a service.", &[SERVICE, OF_ADDRESS], NAMED)],
    ),
    (
        &[V2, ADMIN],
        "/client/distro",
        &[get(
            "Which server answers for a client: this one.",
            &[ADDRESS],
            Like(r#"{"responsibleServer":"127.0.0.1:8848"}"#),
        )],
    ),
    (&[CORE_V2, CORE], "/loader/current", &[get("The connections of this server.", &[], Like("{}"))]),
    (
        &[CORE_V2, CORE],
        "/loader/cluster",
        &[get("How many connections each server has.", &[], Like(r#"{"total":1}"#))],
    ),
    (
        &[CORE_V2, CORE],
        "/loader/reloadCurrent",
        &[post("Keeps so many clients, and asks the others to connect anew.", &[STAYING], Text("success"))],
    ),
    (
        &[CORE_V2, CORE],
        "/loader/reloadClient",
        &[post("Asks a client to connect anew.", &[CONNECTION_ID], Text("success"))],
    ),
    (
        &[CORE_V2, CORE],
        "/loader/smartReloadCluster",
        &[post("Shares the load among all servers; this one is alone.", &[], Text("Ok"))],
    ),
    // The registry itself.
    (&[V1, V2], "/operator/log", &[SET_LOG]),
    (&[V1, V2, ADMIN], "/ops/log", &[SET_LOG]),
    (&[V1, ADMIN], "/health/checkers", &[CHECKERS]),
    (&[V1], "/health/server", &[get(ALIVE, &[], Like(r#"{"msg":"Hello! I am Nacos-Naming and healthy!"}"#))]),
    (&[V1, V2], "/operator/metrics", &[STATUS]),
    (&[V1, V2, ADMIN], "/ops/metrics", &[STATUS]),
    (&[V1, V2], "/operator/switches", SWITCHES),
    (&[V1, V2, ADMIN], "/ops/switches", SWITCHES),
    (&[CORE], "/state", &[get("What the server is.", &[], Like(r#"{"standalone_mode":"standalone"}"#))]),
    (&[CORE], "/state/liveness", &[get(ALIVE, &[], Done)]),
    (&[CORE], "/state/readiness", &[get(READY, &[], Done)]),
    (
        &[CORE, CONSOLE_V2],
        "/namespace",
        &[
            get("One namespace.", &[NAMESPACE], Like(r#"{"namespace":"","namespaceShowName":"public"}"#)),
            post(NAME_ABOUT, &[NAMESPACE_NEW, NAMESPACE_NAMED], Like("true")),
            put(RENAME_ABOUT, &[NAMESPACE_MEANT, NAMESPACE_NAMED], Like("true")),
            delete(UNNAME_ABOUT, &[NAMESPACE_MEANT], Like("true")),
        ],
    ),
    (
        &[CORE, CONSOLE_V2],
        "/namespace/list",
        &[get("The namespaces.", &[], Like(r#"[{"namespace":"","namespaceShowName":"public"}]"#))],
    ),
    (
        &[CORE, CONSOLE_V2],
        "/namespace/check",
        &[get("How many namespaces have this id: none, or one.", &[NAMESPACE], Like("1"))],
    ),
    (&[CONSOLE], "/health/liveness", &[get(ALIVE, &[], Text("OK"))]),
    (&[CONSOLE], "/health/readiness", &[get(READY, &[], Text("OK"))]),
    (
        &[CONSOLE],
        "/server/state",
        &[get("What the server is.", &[], Like(r#"{"standalone_mode":"standalone"}"#))],
    ),
    (
        &[CONSOLE],
        "/namespaces",
        &[
            get("The namespaces.", &[NAMESPACE_ASKED], Like(r#"{"code":200,"message":null,"data":[]}"#)),
            post(NAME_ABOUT, &[NAMESPACE_NEW_V1, NAMESPACE_NAMED], Like("true")),
            put(RENAME_ABOUT, &[NAMESPACE_RENAMED_V1], Like("true")),
            delete(UNNAME_ABOUT, &[NAMESPACE_MEANT], Like("true")),
        ],
    ),
    (&[AUTH_V1], "/login", LOG_IN),
    (&[AUTH_V1], "/users/login", LOG_IN),
    (&[AUTH_V3], "/user/login", LOG_IN),
    // Users.
    (
        &[AUTH_V1],
        "/users",
        &[
            post(ADD_USER, &[NEW_USER], SAID_DONE),
            delete(REMOVE_USER, &[USER], SAID_DONE),
            put(SET_PASSWORD, &[USER, NEW_PASSWORD], SAID_DONE),
            LIST_USERS,
        ],
    ),
    (
        &[USERS_V3],
        "/user",
        &[
            post(ADD_USER, &[NEW_USER], Text("create user ok!")),
            delete(REMOVE_USER, &[USER], Text("delete user ok!")),
            put(SET_PASSWORD, &[USER, NEW_PASSWORD], Text("update user ok!")),
        ],
    ),
    (&[USERS_V3], "/user/list", &[LIST_USERS]),
    (&[AUTH_V1], "/users/search", &[FIND_USERS]),
    (&[USERS_V3], "/user/search", &[FIND_USERS]),
    (
        &[AUTH_V1],
        "/roles",
        &[post(GRANT, &[USER, ROLE], SAID_DONE), delete(REVOKE, &[USER, ROLE], SAID_DONE), LIST_ROLES],
    ),
    (
        &[USERS_V3],
        "/role",
        &[
            post(GRANT, &[USER, ROLE], Text("add role ok!")),
            delete(REVOKE, &[USER, ROLE], Text("delete role ok!")),
        ],
    ),
    (&[USERS_V3], "/role/list", &[LIST_ROLES]),
    (&[AUTH_V1], "/roles/search", &[FIND_ROLES]),
    (&[USERS_V3], "/role/search", &[FIND_ROLES]),
    (&[AUTH_V1], "/permissions", &[PERMIT, FORBID, LIST_PERMISSIONS]),
    (&[USERS_V3], "/permission", &[PERMIT, FORBID]),
    (&[USERS_V3], "/permission/list", &[LIST_PERMISSIONS]),
    // Of this crate alone.
    (&[ROOT], "/livez", &[get(ALIVE, &[], Text("alive"))]),
    (&[ROOT], "/readyz", &[get(READY, &[], Text("ready"))]),
    (
        &[ROOT],
        "/version",
        &[get(
            "Which program and version answers.",
            &[],
            Like(r#"{"name":"tower-graceful","version":"0.1.0"}"#),
        )],
    ),
    (
        &[ROOT],
        "/metrics",
        &[get("Numbers of everything, as Prometheus' text.", &[], Text("registry_connections 3"))],
    ),
    (&[OURS], "/openapi.json", &[get("This description.", &[], Like(r#"{"openapi":"3.1.0"}"#))]),
    (
        &[OURS],
        "/kept",
        &[get("What outlives the registry, by services.", &[AFTER], Like(r#"{"services":[]}"#))],
    ),
    (
        &[OURS],
        "/services",
        &[get(
            "Services with their revision and numbers.",
            &[NAMESPACE, PAGE],
            Like(r#"{"count":0,"services":[]}"#),
        )],
    ),
    (
        &[OURS],
        "/instances",
        &[get(
            "Every instance, with whoever keeps it here.",
            &[SERVICE],
            Like(r#"{"revision":1732060801000,"instances":[]}"#),
        )],
    ),
    (
        &[OURS],
        "/instances/offline",
        &[post(
            "Has an instance leave, as a call of its `/offline` would; answered when it has taken the order.",
            &[SERVICE, ADDRESS],
            Like(r#"{"taken":true}"#),
        )],
    ),
    (
        &[OURS],
        "/instances/set",
        &[post(
            "Sets what is given on one instance or on several, which must be there: on all of them, or on none.",
            &[SERVICE, SET_ON, CLUSTER, OVERRIDES],
            Like(r#"{"set":2}"#),
        )],
    ),
    (
        &[OURS],
        "/services/rollout",
        &[post(
            "Says how all instances of a service start and leave; what is not given is left to each of them.",
            &[SERVICE, ROLLOUT],
            Like(r#"{"holds":{"graceful.warmup":"60"}}"#),
        )],
    ),
    (
        &[OURS],
        "/clients/close",
        &[post(
            "Closes a connection, and takes off what it publishes; its client may connect again.",
            &[CONNECTION],
            Like(r#"{"closed":true,"instances":1}"#),
        )],
    ),
    (
        &[OURS],
        "/subscribers",
        &[get(
            "Who follows a service, and which list each has.",
            &[SERVICE],
            Like(r#"{"revision":1732060801000,"subscribers":[]}"#),
        )],
    ),
    (
        &[OURS],
        "/events",
        &[get(
            "What has happened to instances, the newest first.",
            &[SERVICE, OF_ADDRESS, EVENTS],
            Like(r#"{"events":[]}"#),
        )],
    ),
    (
        &[OURS],
        "/traffic",
        &[get(
            "Requests of each instance, second by second, as it reports them.",
            &[SERVICE, OF_ADDRESS, SECONDS],
            Like(r#"{"now":1732060801000,"kept":300,"instances":[]}"#),
        )],
    ),
    (
        &[OURS],
        "/diagnosis",
        &[get(
            "What went wrong with the starts, releases and shutdowns of a service: numbered checks, with causes and remedies.",
            &[SERVICE, PERIOD],
            Like(
                r#"{"namespace":"public","group":"DEFAULT_GROUP","name":"orders","now":1732060801000,"since":1732057201000,"verdict":"pass","checks":[]}"#,
            ),
        )],
    ),
    (
        &[OURS],
        "/clients",
        &[get("Every connection over gRPC.", &[PAGE], Like(r#"{"count":0,"clients":[]}"#))],
    ),
];

/// Each operation with its base, and where it is.
pub(super) fn all() -> impl Iterator<Item = (&'static Base, String, &'static Operation)> {
    LINES.iter().flat_map(|(bases, path, operations)| {
        bases.iter().flat_map(move |base| {
            operations.iter().map(move |operation| (base, format!("{}{path}", base.path), operation))
        })
    })
}
