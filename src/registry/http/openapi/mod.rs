//! The HTTP API as `OpenAPI` 3.1 describes it, out of one table; `docs/openapi.json` is a copy.

mod operations;
mod parameters;

use super::respond::JSON;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use operations::{Base, Gives, Operation};
use parameters::Parameter;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const ABOUT: &str = "Nacos' HTTP API for instances and services in its versions 1, 2 and 3, and this registry's own read side. \
Every parameter may stand in the query or in a body of `application/x-www-form-urlencoded`; of several values the first counts, and a blank one counts as absent. \
A failure of version 1 is plain text that says what is wrong and what is accepted; versions 2 and 3 put it into their envelope, with a code.";

/// The description as text, written once.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    // It consists of text, numbers and lists: nothing that could fail to be written.
    serde_json::to_string_pretty(&document()).unwrap_or_default() + "\n"
});

pub(super) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, JSON)], TEXT.as_str())
}

/// Method and path of every operation, in the order of the table.
pub(in crate::registry) fn apis() -> impl Iterator<Item = (http::Method, String)> {
    operations::all().map(|(_, path, operation)| (operation.method.clone(), path))
}

fn document() -> Value {
    let (mut paths, mut shared) = (Map::<String, Value>::new(), Map::new());
    for (base, path, operation) in operations::all() {
        let of_path = paths.entry(path).or_insert_with(|| json!({}));
        of_path[operation.method.as_str().to_ascii_lowercase()] = described(base, operation, &mut shared);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "tower-graceful registry",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8848" }],
        "paths": paths,
        "components": { "schemas": schemas(), "parameters": shared, "responses": failures() },
    })
}

/// An operation; its parameters are among the `shared` ones.
fn described(base: &Base, operation: &Operation, shared: &mut Map<String, Value>) -> Value {
    let takes = operation.takes.iter().copied().flatten();
    let parameters: Vec<Value> = takes.map(|parameter| reference(parameter, shared)).collect();
    let failure = |name: &str| {
        let shape = if base.enveloped { "Enveloped" } else { "" };
        json!({ "$ref": format!("#/components/responses/{shape}{name}") })
    };
    json!({
        "summary": operation.about,
        "tags": [tag(base)],
        "parameters": parameters,
        "responses": {
            "200": { "description": "Success.", "content": content(base, operation.gives) },
            "4XX": failure("Refused"),
            "5XX": failure("Failed"),
        },
    })
}

/// A reference to a parameter, which is put among the `shared` ones: under its name, and a number where others
/// of this name mean something else.
fn reference(parameter: &Parameter, shared: &mut Map<String, Value>) -> Value {
    let (described, mut key, mut others) = (parameter.described(), parameter.name.to_owned(), 1);
    while shared.get(&key).is_some_and(|other| *other != described) {
        others += 1;
        key = format!("{}{others}", parameter.name);
    }
    let reference = json!({ "$ref": format!("#/components/parameters/{key}") });
    shared.insert(key, described);
    reference
}

fn tag(base: &Base) -> &'static str {
    match base.path {
        path if path.starts_with("/nacos/v1") => "Nacos v1",
        path if path.starts_with("/nacos/v2") => "Nacos v2",
        path if path.starts_with("/nacos/v3") => "Nacos v3",
        _ => "graceful",
    }
}

fn content(base: &Base, gives: Gives) -> Value {
    let is_text = matches!(gives, Gives::Done | Gives::Text(_));
    if is_text && !base.enveloped {
        return json!({ "text/plain": { "schema": schema(gives) } });
    }
    let schema = if base.enveloped { in_envelope(&schema(gives)) } else { schema(gives) };
    json!({ "application/json": { "schema": schema } })
}

fn schema(gives: Gives) -> Value {
    let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    match gives {
        Gives::Done => json!({ "const": "ok" }),
        Gives::Text(example) => json!({ "type": "string", "examples": [example] }),
        Gives::Shape(name) => named(name),
        Gives::Shapes(name) => json!({ "type": "array", "items": named(name) }),
        Gives::Like(example) => {
            // The table's examples are JSON, which a test sees to.
            let example: Value = serde_json::from_str(example).unwrap_or_default();
            let kind = match &example {
                Value::Array(_) => "array",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::Null | Value::String(_) | Value::Object(_) => "object",
            };
            json!({ "type": kind, "examples": [example] })
        }
    }
}

fn in_envelope(data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": { "code": { "const": 0 }, "message": { "const": "success" }, "data": data },
    })
}

fn failures() -> Value {
    let text = |words: &str| json!({ "description": words, "content": { "text/plain": { "schema": { "type": "string" } } } });
    let enveloped = |words: &str| {
        let envelope = json!({ "$ref": "#/components/schemas/Envelope" });
        json!({ "description": words, "content": { "application/json": { "schema": envelope } } })
    };
    let (refused, failed) = (
        "The request is wrong: the answer says what is, and what is accepted.",
        "The registry cannot do it now.",
    );
    json!({
        "Refused": text(refused), "Failed": text(failed),
        "EnvelopedRefused": enveloped(refused), "EnvelopedFailed": enveloped(failed),
    })
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "number" });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let flag = || json!({ "type": "boolean" });
    let instance = json!({
        "instanceId": text(), "ip": text(), "port": count(), "weight": number(), "healthy": flag(), "enabled": flag(),
        "ephemeral": flag(), "clusterName": text(), "serviceName": text(),
        "metadata": { "type": "object", "additionalProperties": { "type": "string" } },
        "instanceHeartBeatInterval": count(), "instanceHeartBeatTimeOut": count(), "ipDeleteTimeout": count(),
    });
    let removed = object(
        &json!({ "ip": text(), "port": count(), "reason": { "enum": ["deregistered", "disabled", "expired", "connection-lost"] } }),
    );
    let service_info = json!({
        "name": text(), "groupName": text(), "clusters": text(), "cacheMillis": count(),
        "hosts": { "type": "array", "items": { "$ref": "#/components/schemas/Instance" } },
        "lastRefTime": count(), "checksum": text(), "allIPs": flag(), "allIps": flag(),
        "reachProtectionThreshold": flag(), "valid": flag(),
        "graceful": object(&json!({ "revision": count(), "removed": { "type": "array", "items": removed } })),
    });
    let page = json!({ "totalCount": count(), "pageNumber": count(), "pagesAvailable": count(), "pageItems": { "type": "array" } });
    json!({
        "Instance": object(&instance),
        "ServiceInfo": object(&service_info),
        "Page": object(&page),
        "Envelope": object(&json!({ "code": count(), "message": text(), "data": {} })),
    })
}

/// An object that has all these properties.
fn object(properties: &Value) -> Value {
    let names: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

#[cfg(test)]
mod tests;
