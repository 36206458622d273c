//! The door of the console where users are asked who they are: in, about, and out.

use super::super::registry::{Running, SOON};
use super::super::registry_access::{PASSWORD, asking};
use super::stage::Stage;
use super::visitor::Visitor;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A stage behind a door, and a visitor before it.
async fn set() -> Option<(Stage, Visitor)> {
    let stage = Stage { registry: Running::start_with(asking()).await };
    let visitor = Visitor::at(&stage.home()).await?;
    Some((stage, visitor))
}

/// What the administrator does past the console.
async fn administers(registry: SocketAddr, method: &str, path: &str) {
    let mut stream = TcpStream::connect(registry).await.unwrap();
    let form = format!("username=ops&password={}", PASSWORD.replace(' ', "+"));
    let login = format!(
        "POST /nacos/v1/auth/login HTTP/1.1\r\nhost: registry\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let token = exchange(&mut stream, &login).await;
    let token = token.split_once("\"accessToken\":\"").unwrap().1.split_once('"').unwrap().0.to_owned();
    let mut stream = TcpStream::connect(registry).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: registry\r\naccesstoken: {token}\r\ncontent-length: 0\r\n\r\n"
    );
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The beginning of an answer, which holds all that is short.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 16 * 1024];
    let read = timeout(SOON, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

async fn logs_in(visitor: &Visitor, name: &str, password: &str) {
    visitor.fill("Name", name).await;
    visitor.fill("Password", password).await;
    visitor.click("Log in").await;
}

#[tokio::test]
async fn whoever_is_asked_comes_in_by_name_and_password_and_goes_out_again() {
    let Some((_stage, visitor)) = set().await else { return };
    visitor.go("/console/service?serviceName=orders").await;
    visitor.until("location.pathname === '/console/login'").await;
    visitor.finds_nothing_wrong("login").await;
    assert_eq!(visitor.run("return document.activeElement.tagName", &[]).await, "BODY", "nothing jumps");

    logs_in(&visitor, "ops", "wrong").await;
    visitor.reads("There is no such user, or the password is another one").await;
    visitor.finds_nothing_wrong("login-refused").await;
    let kept =
        "return [document.getElementById('username').value, document.getElementById('password').value]";
    assert_eq!(visitor.run(kept, &[]).await, serde_json::json!(["ops", ""]));

    logs_in(&visitor, "ops", PASSWORD).await;
    visitor.until("location.pathname === '/console/service'").await; // Where they wanted to go.
    visitor.go("/console").await;
    visitor.reads("Log out").await;
    visitor.finds_nothing_wrong("logged-in").await;
    assert_eq!(visitor.run("return document.cookie", &[]).await, "", "no script can read the session");
    visitor.click("Log out").await;
    visitor.reads("You are logged out").await;
    visitor.finds_nothing_wrong("logged-out").await;
    visitor.go("/console").await;
    visitor.until("location.pathname === '/console/login'").await;
    visitor.driver.console().await; // The browser tells there of the 401s.
    visitor.leave().await;
}

#[tokio::test]
async fn who_may_only_read_is_told_so_and_sees_no_button_that_changes_anything() {
    let Some((stage, visitor)) = set().await else { return };
    let registry = stage.registry.http;
    administers(registry, "POST", "/nacos/v1/auth/users?username=reader&password=reader-password").await;
    administers(registry, "POST", "/nacos/v1/auth/roles?username=reader&role=read").await;
    let create = "/nacos/v1/ns/instance?serviceName=orders&ip=10.0.0.7&port=80&ephemeral=false";
    administers(registry, "POST", create).await;

    visitor.go("/console/login").await;
    logs_in(&visitor, "reader", "reader-password").await;
    visitor.reads("Log out").await;
    for path in ["/console", "/console/service?serviceName=orders"] {
        visitor.go(path).await;
        visitor.reads("orders").await;
        visitor.reads("You may look here, and change nothing").await;
        let forms = "return all('form[method=post]').map((form) => new URL(form.action).pathname)";
        assert_eq!(visitor.run(forms, &[]).await, serde_json::json!(["/console/logout"]), "{path}");
    }
    visitor.finds_nothing_wrong("read-only").await;

    administers(registry, "DELETE", "/nacos/v1/auth/users?username=reader").await;
    visitor.reads("Disconnected").await; // The stream of the open page ends with the user.
    visitor.go("/console").await;
    visitor.until("location.pathname === '/console/login'").await;
    visitor.driver.console().await;
    visitor.leave().await;
}
