//! `/nacos/v1/auth` and `/nacos/v3/auth`: users and their roles, for administrators.
//!
//! A role is what its name says, `write` or `write@NAMESPACE`, so there is nothing else to be permitted to one;
//! the permissions that Nacos lists are what each role means.

use super::extract::Parameters;
use super::respond::Json;
use crate::protocol::form::{Form, InvalidForm};
use crate::protocol::reply::{Done, Page as ReplyPage};
use crate::registry::access::{Access, Edit, Grant, Role, UserName};
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use axum::body::to_bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Entries on a page, when nobody says how many.
const PAGE_SIZE: usize = 100;
/// Names in one answer without pages.
const NAMES_MAX: usize = 1000;

/// A user; what is kept of the password is nobody's business.
#[derive(Clone, Serialize)]
pub(super) struct UserLine {
    username: String,
}

/// A role that a user has.
#[derive(Clone, Serialize)]
pub(super) struct RoleLine {
    role: String,
    username: String,
}

/// What a role means, in Nacos' words.
#[derive(Clone, Serialize)]
pub(super) struct PermissionLine {
    role: String,
    resource: String,
    action: &'static str,
}

pub(super) async fn create(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let name = name(&form)?;
    let password = access.hash(form.required("password")?).await?;
    access.edit(name, Edit::Create { password, grants: BTreeSet::new() }).await?;
    Ok("create user ok!")
}

pub(super) async fn remove(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    access.edit(name(&form)?, Edit::Remove).await?;
    Ok("delete user ok!")
}

pub(super) async fn set_password(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let name = name(&form)?;
    let password = access.hash(form.required("newPassword")?).await?;
    access.edit(name, Edit::SetPassword(password)).await?;
    Ok("update user ok!")
}

pub(super) async fn grant(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    access.edit(name(&form)?, Edit::Grant(form.required("role")?.parse()?)).await?;
    Ok("add role ok!")
}

pub(super) async fn revoke(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    access.edit(name(&form)?, Edit::Revoke(form.required("role")?.parse()?)).await?;
    Ok("delete role ok!")
}

pub(super) async fn permit() -> Refusal {
    Refusal::NoPermissions
}

pub(super) async fn list(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<Json<ReplyPage<UserLine>>, Refusal> {
    let wanted = wanted(&form, "username");
    let users: Vec<_> =
        names(&access).filter(|name| wanted(name)).map(|username| UserLine { username }).collect();
    page(access.hub(), &form, &users)
}

/// Names that contain what is asked for.
pub(super) async fn search(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Json<Vec<String>> {
    let part = form.text("username").unwrap_or_default();
    Json(names(&access).filter(|name| name.contains(part)).take(NAMES_MAX).collect())
}

pub(super) async fn roles(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<Json<ReplyPage<RoleLine>>, Refusal> {
    let (of_user, of_role) = (wanted(&form, "username"), wanted(&form, "role"));
    let roles = held(&access).filter(|line| of_user(&line.username) && of_role(&line.role));
    page(access.hub(), &form, &roles.collect::<Vec<_>>())
}

pub(super) async fn search_roles(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Json<Vec<String>> {
    let part = form.text("role").unwrap_or_default();
    let roles: BTreeSet<String> = held(&access).map(|line| line.role).collect();
    Json(roles.into_iter().filter(|role| role.contains(part)).take(NAMES_MAX).collect())
}

pub(super) async fn permissions(
    State(access): State<Arc<Access>>,
    Parameters(form): Parameters,
) -> Result<Json<ReplyPage<PermissionLine>>, Refusal> {
    let of_role = wanted(&form, "role");
    let roles: BTreeSet<String> = held(&access).map(|line| line.role).filter(|role| of_role(role)).collect();
    let lines: Vec<_> = roles.iter().filter_map(|role| PermissionLine::new(role)).collect();
    page(access.hub(), &form, &lines)
}

/// Puts the words of a success into the envelope that version 1 has here; lists have none.
pub(super) async fn done_v1(answer: Response) -> Response {
    let text = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/"));
    if !text || !answer.status().is_success() {
        return answer;
    }
    // Handlers answer from memory, so this neither waits nor fails.
    let words = to_bytes(answer.into_body(), usize::MAX).await.unwrap_or_default();
    Json(Done::new(String::from_utf8_lossy(&words).into_owned())).into_response()
}

impl PermissionLine {
    fn new(role: &str) -> Option<Self> {
        let Grant { role: level, namespace } = role.parse().ok()?;
        let place = namespace.map_or_else(|| "*".to_owned(), |namespace| namespace.to_string());
        let action = match level {
            Role::Read => "r",
            Role::Write | Role::Admin => "rw",
        };
        Some(Self { role: role.to_owned(), resource: format!("{place}:*:*"), action })
    }
}

fn name(form: &Form) -> Result<UserName, Refusal> {
    Ok(form.required("username")?.parse()?)
}

fn names(access: &Access) -> impl Iterator<Item = String> {
    let accounts = access.hub().accounts();
    let names: Vec<_> = accounts.users().map(|user| user.name.to_string()).collect();
    names.into_iter()
}

fn held(access: &Access) -> impl Iterator<Item = RoleLine> {
    let accounts = access.hub().accounts();
    let of_user = accounts.users().flat_map(|user| {
        let username = user.name.to_string();
        user.grants.iter().map(move |grant| RoleLine { role: grant.to_string(), username: username.clone() })
    });
    of_user.collect::<Vec<_>>().into_iter()
}

/// Whether a name is looked for: `search=blur` finds parts, everything else whole names, and nothing all.
fn wanted<'a>(form: &'a Form, parameter: &str) -> impl Fn(&str) -> bool + 'a {
    let (asked, blur) = (form.text(parameter), form.text("search") == Some("blur"));
    move |name| {
        asked.is_none_or(|asked| if blur { name.contains(asked.trim_matches('*')) } else { name == asked })
    }
}

fn page<T: Clone>(hub: &Hub, form: &Form, lines: &[T]) -> Result<Json<ReplyPage<T>>, Refusal> {
    let count = |name| -> Result<Option<usize>, InvalidForm> { form.count(name) };
    let page = hub.page(count("pageNo")?.unwrap_or(1), count("pageSize")?.unwrap_or(PAGE_SIZE));
    let items = page.of(lines.iter()).into_iter().cloned().collect();
    Ok(Json(ReplyPage::new(lines.len(), page.place(), items)))
}
