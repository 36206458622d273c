//! `graceful export` and `graceful import`: what one registry keeps, another one has.

use super::registry::{Running, SOON};
use super::registry_kept::Directory;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tokio::process::Command;
use tokio::time::timeout;
use tower_graceful::http_client;

/// Runs the program to its end: exit code, stdout and stderr.
pub(crate) async fn graceful(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_graceful"));
    program.args(arguments).env_remove("GRACEFUL_REGISTRY_PASSWORD").kill_on_drop(true);
    let Output { status, stdout, stderr } = timeout(SOON, program.output()).await.unwrap().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

async fn export(arguments: &[&str]) -> Value {
    let (code, stdout, stderr) = graceful(&[&["export"], arguments].concat()).await;
    assert_eq!(code, Some(0), "{stderr}");
    let mut document: Value = serde_json::from_str(&stdout).unwrap();
    document.as_object_mut().unwrap().remove("source");
    document
}

/// A registry that keeps something of every kind.
async fn furnished() -> Running {
    let registry = Running::start().await;
    let done = async |method: &str, path: &str, form: &str| {
        assert_eq!(registry.send(method, path, form).await, (200, "ok".to_owned()), "{method} {path} {form}");
    };
    let label = "selector=%7B%22type%22%3A%22label%22%2C%22expression%22%3A%22a%3Db%22%7D";
    done("POST", "/service", &format!("serviceName=shop@@billing&protectThreshold=0.5&metadata=a=b&{label}"))
        .await;
    let http =
        "healthChecker=%7B%22type%22%3A%22HTTP%22%2C%22path%22%3A%22/ping%22%2C%22headers%22%3A%22a:b%22%7D";
    done(
        "PUT",
        "/cluster",
        &format!(
            "serviceName=shop@@billing&clusterName=east&checkPort=81&useInstancePort4Check=false&{http}"
        ),
    )
    .await;
    for port in [80, 82] {
        let one = format!("serviceName=shop@@billing&ip=10.0.0.7&port={port}&clusterName=east");
        done(
            "POST",
            "/instance",
            &format!("{one}&ephemeral=false&weight=2.5&metadata=%7B%22z%22%3A%22%C3%BC%26%3D%22%7D"),
        )
        .await;
        done("PUT", "/instance", &format!("{one}&enabled=false&metadata=graceful.warmup%3D60")).await;
    }
    // An ephemeral instance is not carried along, but what is set on it is.
    done("POST", "/instance", "serviceName=mail&namespaceId=dev&ip=::1&port=90").await;
    done("PUT", "/instance", "serviceName=mail&namespaceId=dev&ip=::1&port=90&weight=3").await;
    let namespaces = "/nacos/v1/console/namespaces";
    for (method, form) in [
        ("PUT", "namespace=dev&namespaceShowName=Development&namespaceDesc=of%20all"),
        ("POST", "customNamespaceId=7f2c&namespaceName=staging"),
    ] {
        assert_eq!(registry.send(method, namespaces, form).await, (200, "true".to_owned()), "{form}");
    }
    for n in 0..205 {
        done("POST", "/service", &format!("serviceName=many-{n}&ephemeral=true")).await; // Some pages.
    }
    registry
}

#[tokio::test]
async fn what_is_exported_is_there_after_the_import_and_a_second_one_changes_nothing() {
    let (source, target, directory) = (furnished().await, Running::start().await, Directory::new("export"));
    let file = directory.0.join("registry.json");
    let [from, into, file] = [source.http.to_string(), target.http.to_string(), file.display().to_string()];
    let (code, stdout, stderr) = graceful(&["export", "--from", &from, "--to", &file]).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert!(stderr.contains("207 services with 2 persistent instances"), "{stderr}");
    assert!(!Path::new(&format!("{file}.part")).exists());

    let import = async |more: &[&str]| graceful(&[&["import", &file, "--into", &into], more].concat()).await;
    let (code, stdout, _) = import(&["--dry-run"]).await;
    assert!(code == Some(0) && stdout.ends_with("215 to be done, 0 there already, 0 failed\n"), "{stdout}");
    assert_eq!(export(&["--from", &into]).await["services"], Value::Array(Vec::new()));
    let (code, stdout, _) = import(&[]).await;
    assert!(
        code == Some(0) && stdout.contains("register public##shop@@billing 10.0.0.7:80 east\n"),
        "{stdout}"
    );
    assert!(stdout.contains("set dev##DEFAULT_GROUP@@mail [::1]:90 DEFAULT\n"), "{stdout}");
    assert!(stdout.starts_with("make namespace 7f2c\nmake namespace dev\n"), "{stdout}");
    let (of_source, of_target) = (export(&["--from", &from]).await, export(&["--from", &into]).await);
    assert_eq!(of_source["services"][1], of_target["services"][1]);
    assert_eq!(of_source["services"].as_array().unwrap().len(), 207);
    let services = |document: &Value| {
        let mut services = document["services"].clone();
        // It had to be created: nothing else brings a service that has no instance yet.
        services[0]["created"] = Value::Bool(true);
        services
    };
    assert_eq!(services(&of_source), services(&of_target));
    let named = serde_json::json!([
        { "namespace": "7f2c", "name": "staging", "description": "" },
        { "namespace": "dev", "name": "Development", "description": "of all" },
    ]);
    assert_eq!((&of_source["namespaces"], &of_target["namespaces"]), (&named, &named));
    let (_, report, _) = import(&["--output", "json"]).await;
    assert_eq!(report, "{\"dry_run\":false,\"steps\":[],\"done\":0,\"unchanged\":215,\"failed\":0}\n");

    let shop = export(&["--from", &from, "--namespace", "dev"]).await;
    assert_eq!(shop["services"].as_array().unwrap().len(), 1);
    assert_eq!(shop["namespaces"].as_array().unwrap().len(), 1);
    let again = "namespace=dev&namespaceShowName=Dev&namespaceDesc=";
    assert_eq!(target.send("PUT", "/nacos/v1/console/namespaces", again).await.0, 200);
    let (_, stdout, _) = import(&[]).await;
    assert_eq!(stdout, "name namespace dev\n1 done, 214 there already, 0 failed\n");
}

#[tokio::test]
async fn what_cannot_be_brought_about_is_told_and_the_rest_is_done() {
    let (target, directory) = (Running::start().await, Directory::new("clash"));
    let (into, file) = (target.http.to_string(), directory.0.join("registry.json"));
    assert_eq!(target.send("POST", "/instance?serviceName=a&ip=10.0.0.9&port=1", "").await.0, 200);
    let place = r#""ip":"10.0.0.7","port":80,"cluster":"DEFAULT","weight":1,"enabled":true,"healthy":true"#;
    let service = |name: &str, ip: &str| {
        let instance = place.replace("10.0.0.7", ip);
        format!(
            r#"{{"namespace":"public","group":"DEFAULT_GROUP","name":"{name}","ephemeral":false,"instances":[{{{instance}}}]}}"#
        )
    };
    let services = [service("a", "10.0.0.7"), service("b", "no address"), service("c", "10.0.0.7")].join(",");
    std::fs::write(
        &file,
        format!(r#"{{"format":"tower-graceful-registry","version":1,"services":[{services}]}}"#),
    )
    .unwrap();
    let (code, stdout, stderr) = graceful(&["import", file.to_str().unwrap(), "--into", &into]).await;
    assert_eq!(code, Some(1), "{stdout} {stderr}");
    assert!(
        stdout.contains("clash public##DEFAULT_GROUP@@a: it is there with instances of the other kind"),
        "{stdout}"
    );
    assert!(stdout.contains("register public##DEFAULT_GROUP@@b no address:80 DEFAULT: "), "{stdout}");
    assert!(stdout.ends_with("1 done, 0 there already, 2 failed\n"), "{stdout}");
    assert!(target.send("GET", "/instance/list?serviceName=c", "").await.1.contains("10.0.0.7"));

    std::fs::write(&file, "{}").unwrap();
    assert_eq!(graceful(&["import", file.to_str().unwrap(), "--into", &into]).await.0, Some(2));
    let (code, _, stderr) = graceful(&["export", "--from", &into, "--user", "ann"]).await;
    assert!(code == Some(1) && stderr.contains("there is no password"), "{stderr}");
}

/// Passes on to `registry` what an older Nacos would answer: version 3 is not there.
async fn older(registry: &Running) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, registry) = (listener.local_addr().unwrap(), registry.http);
    let pass_on = async move |request: Request| -> Response {
        let path = request.uri().path_and_query().unwrap().to_string();
        if path.contains("/v3/") || path.starts_with("/graceful") {
            return StatusCode::NOT_FOUND.into_response();
        }
        let (mut head, body) = request.into_parts();
        head.uri = format!("http://{registry}{path}").parse::<Uri>().unwrap();
        http_client().request(Request::from_parts(head, body)).await.unwrap().map(Body::new)
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(pass_on)).await.unwrap() });
    address.to_string()
}

#[tokio::test]
async fn a_running_nacos_is_read_over_either_version_of_its_api() {
    let source = furnished().await;
    let newer = export(&["--from-nacos", &source.http.to_string()]).await;
    let older = older(&source).await;
    let with_password = Directory::new("password");
    let file = with_password.0.join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let login = ["--from-nacos", &older, "--user", "ann", "--password-file", file.to_str().unwrap()];
    let older = export(&login).await;
    for document in [&newer, &older] {
        assert_eq!(document["namespaces"][1]["name"], "Development");
        let services = document["services"].as_array().unwrap();
        // A service that is there because of its ephemeral instance comes by itself.
        assert_eq!(services.len(), 206);
        let billing = services.iter().find(|service| service["name"] == "billing").unwrap();
        assert_eq!((&billing["group"], &billing["protectThreshold"]), (&"shop".into(), &0.5.into()));
        let one = &billing["instances"][0];
        assert_eq!((&one["port"], &one["weight"], &one["enabled"]), (&80.into(), &2.5.into(), &false.into()));
        let told = serde_json::json!({ "graceful.warmup": "60", "z": "\u{fc}&=" });
        assert_eq!(one["metadata"], told, "as it is shown, with what operators have set");
        assert_eq!(billing["clusters"]["east"]["checker"]["path"], "/ping");
        assert_eq!(billing["selector"]["expression"], "a=b");
    }
    assert_eq!(newer["services"][0]["ephemeral"], true, "version 3 tells it");
}
