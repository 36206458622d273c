//! What each route asks of its caller, in one table.
//!
//! A route that has no line here is for administrators only, and a test finds it.

use crate::registry::access::Action::{self, Operate, Read, Write};
use http::Method;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a caller must be or have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Need {
    /// Nothing.
    Nothing,
    /// To be a user.
    BeKnown,
    /// To be the user that `username` names, or one who may do everything.
    BeNamed,
    /// A right in the namespace that `namespaceId` names.
    In(Action),
    /// A right in the namespace that `key` begins with.
    InKey(Action),
    /// A right in one namespace or another; the answer has nothing of those where the caller may not read.
    Somewhere(Action),
    /// A right in all namespaces.
    Everywhere(Action),
}

use Need::{BeKnown, BeNamed, Everywhere, In, InKey, Nothing, Somewhere};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

const V1: &str = "/nacos/v1/ns";
const V2: &str = "/nacos/v2/ns";
const CLIENT: &str = "/nacos/v3/client/ns";
const ADMIN: &str = "/nacos/v3/admin/ns";
const CORE_V2: &str = "/nacos/v2/core";
const CORE: &str = "/nacos/v3/admin/core";
const CONSOLE: &str = "/nacos/v1/console";
const CONSOLE_V2: &str = "/nacos/v2/console";
const USERS_V1: &str = "/nacos/v1/auth";
const USERS_V3: &str = "/nacos/v3/auth";
const ROOT: &str = "";
const OURS: &str = "/graceful/v1";
#[cfg(feature = "console")]
const PAGE: &str = "/console";

/// Where a route begins, how it goes on, and what its methods need.
type Rule = (&'static [&'static str], &'static str, &'static [(Method, Need)]);

const RULES: &[Rule] = &[
    // Instances, as applications register and find them.
    (&[V1, V2, CLIENT, ADMIN], "/instance", &[(POST, In(Write)), (DELETE, In(Write))]),
    (&[V1, V2, ADMIN], "/instance", &[(GET, In(Read))]),
    (&[V1, V2], "/instance/beat", &[(PUT, In(Write))]),
    (&[V1, V2, CLIENT, ADMIN], "/instance/list", &[(GET, In(Read))]),
    (&[V1], "/instance/statuses", &[(GET, InKey(Read))]),
    // What operators set on them.
    (&[V1, V2, ADMIN], "/instance", &[(PUT, In(Operate))]),
    (&[V1, V2], "/instance", &[(PATCH, In(Operate))]),
    (&[ADMIN], "/instance/partial", &[(PUT, In(Operate))]),
    (&[V1, V2, ADMIN], "/instance/metadata/batch", &[(PUT, In(Operate)), (DELETE, In(Operate))]),
    (&[OURS], "/instances/offline", &[(POST, In(Operate))]),
    (&[OURS], "/instances/set", &[(POST, In(Operate))]),
    (&[OURS], "/services/rollout", &[(POST, In(Operate))]),
    (&[V1, V2], "/health", &[(PUT, In(Operate))]),
    (&[V1, V2, ADMIN], "/health/instance", &[(PUT, In(Operate))]),
    // Services.
    (&[V1, V2, ADMIN], "/service", &[(GET, In(Read))]),
    (&[V1, V2, ADMIN], "/service/list", &[(GET, In(Read))]),
    (&[V1], "/service/names", &[(GET, Somewhere(Read))]),
    (&[V1], "/catalog/service", &[(GET, In(Read))]),
    (&[V1], "/catalog/services", &[(GET, In(Read))]),
    (&[V1, V2], "/catalog/instances", &[(GET, In(Read))]),
    (&[V1, V2, ADMIN], "/service", &[(POST, In(Operate)), (PUT, In(Operate)), (DELETE, In(Operate))]),
    (&[V1, ADMIN], "/cluster", &[(PUT, In(Operate))]),
    // Clients, and who follows a service.
    (&[V1, V2, ADMIN], "/service/subscribers", &[(GET, In(Read))]),
    (&[V2, ADMIN], "/client/service/publisher/list", &[(GET, In(Read))]),
    (&[V2, ADMIN], "/client/service/subscriber/list", &[(GET, In(Read))]),
    (&[V2, ADMIN], "/client", &[(GET, Somewhere(Read))]),
    (&[V2, ADMIN], "/client/list", &[(GET, Somewhere(Read))]),
    (&[V2, ADMIN], "/client/publish/list", &[(GET, Somewhere(Read))]),
    (&[V2, ADMIN], "/client/subscribe/list", &[(GET, Somewhere(Read))]),
    (&[V2, ADMIN], "/client/distro", &[(GET, BeKnown)]),
    (&[CORE_V2, CORE], "/loader/current", &[(GET, Everywhere(Read))]),
    (&[CORE_V2, CORE], "/loader/cluster", &[(GET, Everywhere(Read))]),
    (&[CORE_V2, CORE], "/loader/reloadCurrent", &[(POST, Everywhere(Operate))]),
    (&[CORE_V2, CORE], "/loader/reloadClient", &[(POST, Everywhere(Operate))]),
    (&[CORE_V2, CORE], "/loader/smartReloadCluster", &[(POST, Everywhere(Operate))]),
    (&[V1, V2], "/operator/log", &[(PUT, Everywhere(Operate))]),
    (&[V1, V2, ADMIN], "/ops/log", &[(PUT, Everywhere(Operate))]),
    // The registry itself. Of these, clients ask for the metrics to see whether it lives.
    (&[V1, ADMIN], "/service/selector/types", &[(GET, BeKnown)]),
    (&[V1, ADMIN], "/health/checkers", &[(GET, BeKnown)]),
    (&[V1], "/health/server", &[(GET, BeKnown)]),
    (&[V1, V2], "/operator/metrics", &[(GET, BeKnown)]),
    (&[V1, V2, ADMIN], "/ops/metrics", &[(GET, BeKnown)]),
    (&[V1, V2], "/operator/switches", &[(GET, BeKnown), (PUT, Everywhere(Operate))]),
    (&[V1, V2, ADMIN], "/ops/switches", &[(GET, BeKnown), (PUT, Everywhere(Operate))]),
    (&[CORE], "/state", &[(GET, BeKnown)]),
    (&[CONSOLE], "/server/state", &[(GET, BeKnown)]),
    // Namespaces. Even one of them is named by those who may change all.
    (&[CORE, CONSOLE_V2], "/namespace/list", &[(GET, Somewhere(Read))]),
    (&[CORE, CONSOLE_V2], "/namespace/check", &[(GET, Somewhere(Read))]),
    (&[CORE, CONSOLE_V2], "/namespace", &[(GET, Somewhere(Read)), (POST, Everywhere(Operate))]),
    (&[CORE, CONSOLE_V2], "/namespace", &[(PUT, Everywhere(Operate)), (DELETE, Everywhere(Operate))]),
    (&[CONSOLE], "/namespaces", &[(GET, Somewhere(Read)), (POST, Everywhere(Operate))]),
    (&[CONSOLE], "/namespaces", &[(PUT, Everywhere(Operate)), (DELETE, Everywhere(Operate))]),
    // Probes. What the metrics say of namespaces is how many there are of everything.
    (&[ROOT], "/livez", &[(GET, Nothing)]),
    (&[ROOT], "/readyz", &[(GET, Nothing)]),
    (&[ROOT], "/version", &[(GET, BeKnown)]),
    (&[ROOT], "/metrics", &[(GET, Everywhere(Read))]),
    (&[OURS], "/openapi.json", &[(GET, BeKnown)]),
    (&[CORE], "/state/liveness", &[(GET, Nothing)]),
    (&[CORE], "/state/readiness", &[(GET, Nothing)]),
    (&[CONSOLE], "/health/liveness", &[(GET, Nothing)]),
    (&[CONSOLE], "/health/readiness", &[(GET, Nothing)]),
    // Logins.
    (&[USERS_V1], "/login", &[(GET, Nothing), (POST, Nothing)]),
    (&[USERS_V1], "/users/login", &[(GET, Nothing), (POST, Nothing)]),
    (&[USERS_V3], "/user/login", &[(GET, Nothing), (POST, Nothing)]),
    // Users.
    (&[USERS_V1], "/users", &[(POST, Everywhere(Operate)), (DELETE, Everywhere(Operate)), (PUT, BeNamed)]),
    (&[USERS_V3], "/user", &[(POST, Everywhere(Operate)), (DELETE, Everywhere(Operate)), (PUT, BeNamed)]),
    (&[USERS_V1], "/users", &[(GET, Everywhere(Operate))]),
    (&[USERS_V1], "/users/search", &[(GET, Everywhere(Operate))]),
    (&[USERS_V3], "/user/list", &[(GET, Everywhere(Operate))]),
    (&[USERS_V3], "/user/search", &[(GET, Everywhere(Operate))]),
    (&[USERS_V1], "/roles", &[(POST, Everywhere(Operate)), (DELETE, Everywhere(Operate))]),
    (&[USERS_V3], "/role", &[(POST, Everywhere(Operate)), (DELETE, Everywhere(Operate))]),
    (&[USERS_V1], "/roles", &[(GET, Everywhere(Operate))]),
    (&[USERS_V1], "/roles/search", &[(GET, Everywhere(Operate))]),
    (&[USERS_V3], "/role/list", &[(GET, Everywhere(Operate))]),
    (&[USERS_V3], "/role/search", &[(GET, Everywhere(Operate))]),
    (&[USERS_V1], "/permissions", &[(POST, Everywhere(Operate)), (DELETE, Everywhere(Operate))]),
    (&[USERS_V3], "/permission", &[(POST, Everywhere(Operate)), (DELETE, Everywhere(Operate))]),
    (&[USERS_V1], "/permissions", &[(GET, Everywhere(Operate))]),
    (&[USERS_V3], "/permission/list", &[(GET, Everywhere(Operate))]),
    // Why it is still here.
    (&[OURS], "/services", &[(GET, In(Read))]),
    (&[OURS], "/instances", &[(GET, In(Read))]),
    (&[OURS], "/subscribers", &[(GET, In(Read))]),
    (&[OURS], "/events", &[(GET, In(Read))]),
    (&[OURS], "/traffic", &[(GET, In(Read))]),
    (&[OURS], "/diagnosis", &[(GET, In(Read))]),
    (&[OURS], "/clients", &[(GET, Somewhere(Read))]),
    (&[OURS], "/clients/close", &[(POST, Everywhere(Operate))]),
    (&[OURS], "/kept", &[(GET, Everywhere(Read))]),
];

/// The console's pages; what is in them, the API tells under the same rules.
#[cfg(feature = "console")]
const PAGES: &[Rule] = &[
    (&[ROOT], "/", &[(GET, Nothing)]),
    (&[PAGE], "/", &[(GET, Nothing)]),
    (&[PAGE], "/style.css", &[(GET, Nothing)]),
    (&[PAGE], "/script.js", &[(GET, Nothing)]),
    (&[PAGE], "/login", &[(GET, Nothing), (POST, Nothing)]),
    (&[PAGE], "/logout", &[(POST, Nothing)]),
    (&[PAGE], "/act/enable", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/disable", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/weight", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/metadata", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/take-back", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/offline", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/keep", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/remove", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/create-service", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/update-service", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/delete-service", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/rollout", &[(GET, In(Operate)), (POST, In(Operate))]),
    (&[PAGE], "/act/close", &[(GET, Everywhere(Operate)), (POST, Everywhere(Operate))]),
    (&[PAGE], "", &[(GET, In(Read))]),
    (&[PAGE], "/service", &[(GET, In(Read))]),
    (&[PAGE], "/instance", &[(GET, In(Read))]),
    (&[PAGE], "/diagnosis", &[(GET, In(Read))]),
    (&[PAGE], "/clients", &[(GET, Somewhere(Read))]),
    (&[PAGE], "/settings", &[(GET, Everywhere(Read))]),
];
#[cfg(not(feature = "console"))]
const PAGES: &[Rule] = &[];

static BY_PATH: LazyLock<HashMap<String, Vec<(Method, Need)>>> = LazyLock::new(|| {
    let mut by_path = HashMap::<_, Vec<_>>::new();
    for (bases, path, needs) in RULES.iter().chain(PAGES) {
        for base in *bases {
            by_path.entry(format!("{base}{path}")).or_default().extend_from_slice(needs);
        }
    }
    by_path
});

/// What a request for a route needs; whatever is not in the table is for those who may do everything.
pub(in crate::registry) fn need(method: &Method, route: &str) -> Need {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let of_route = BY_PATH.get(route).into_iter().flatten();
    of_route.clone().find(|(own, _)| own == method).map_or(Everywhere(Operate), |(_, need)| *need)
}

#[cfg(test)]
mod tests;
