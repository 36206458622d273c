//! The three steps of every act.

use super::super::frame::{Frame, Tab};
use super::super::page::{Asked, Console, refused};
use super::super::session;
use super::sheet::{Plan, Sheet};
use crate::naming::Causes;
use crate::protocol::form::Form;
use crate::registry::error::Refusal;
use askama::Template as _;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;

/// Something that an operator may do.
pub(super) trait Act: Sized + Send + 'static {
    /// Where it is.
    const PATH: &'static str;

    /// Its page without a plan, with what was typed, or else with what holds now.
    ///
    /// # Errors
    /// When whatever it is about is not there.
    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal>;

    /// What shall be done.
    ///
    /// # Errors
    /// With what is wrong in the form.
    fn read(console: &Console, form: &Form) -> Result<Self, Refusal>;

    /// What will happen.
    fn plan(&self, console: &Console) -> Plan;

    /// Does it, and says what was done.
    ///
    /// # Errors
    /// When it cannot be done.
    fn perform(self, console: &Console) -> impl Future<Output = Result<String, Refusal>> + Send;
}

/// Shows the page of an act: its fields, or where there are none what will happen.
pub(super) async fn ask<A: Act>(State(console): State<Arc<Console>>, asked: Asked) -> Response {
    let sheet = match A::sheet(&console, &asked.form) {
        Ok(sheet) => sheet,
        Err(refusal) => return refused(&console, &asked, &refusal),
    };
    if !sheet.fields.is_empty() {
        return shown(&console, &asked, &sheet, StatusCode::OK);
    }
    match A::read(&console, &asked.form) {
        Ok(act) => planned(&console, &asked, sheet, &act),
        Err(refusal) => refused(&console, &asked, &refusal),
    }
}

/// Takes the form of an act: says what will happen, and does it for whoever is sure.
pub(super) async fn act<A: Act>(State(console): State<Arc<Console>>, asked: Asked) -> Response {
    let sheet = match A::sheet(&console, &asked.form) {
        Ok(sheet) => sheet,
        Err(refusal) => return refused(&console, &asked, &refusal),
    };
    let act = match A::read(&console, &asked.form) {
        Ok(act) => act,
        Err(refusal) => return again(&console, &asked, sheet, &refusal),
    };
    match asked.form.text("sure") {
        Some("yes") => {}
        Some("no") => return shown(&console, &asked, &sheet, StatusCode::OK),
        _ => return planned(&console, &asked, sheet, &act),
    }
    match act.perform(&console).await {
        Ok(said) => {
            tracing::info!(user.name = asked.viewer.name(), path = A::PATH, said, "changed by an operator");
            let tls = console.access.speaks_tls();
            session::tell(&asked.uri, &asked.headers, &sheet.back, &said, tls)
        }
        Err(refusal) => again(&console, &asked, sheet, &refusal),
    }
}

fn planned<A: Act>(console: &Console, asked: &Asked, sheet: Sheet, act: &A) -> Response {
    let sheet = Sheet { plan: Some(act.plan(console)), ..sheet };
    shown(console, asked, &sheet, StatusCode::OK)
}

/// The form as it was typed, with what is wrong beside the field that is.
fn again(console: &Console, asked: &Asked, mut sheet: Sheet, refusal: &Refusal) -> Response {
    let why = Causes(refusal).to_string();
    match field(refusal).and_then(|name| sheet.fields.iter_mut().find(|field| field.name == name)) {
        Some(field) => field.wrong = Some(why),
        None => sheet.wrong = Some(why),
    }
    if sheet.fields.is_empty() {
        sheet.plan = Some(Plan::default()); // There is nothing to be typed otherwise, but it may be tried again.
    }
    shown(console, asked, &sheet, refusal.status())
}

fn shown(console: &Console, asked: &Asked, sheet: &Sheet, status: StatusCode) -> Response {
    let main = match sheet.render() {
        Ok(main) => main,
        Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    let mut answer = Frame::around(&main, sheet.title.to_owned(), Tab::None, console, asked);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The field that a refusal is about.
fn field(refusal: &Refusal) -> Option<&'static str> {
    let of_kind = |kind: &'static str| match kind {
        "service" => "serviceName",
        "group" => "groupName",
        "cluster" => "clusterName",
        name => name,
    };
    if let Refusal::Form(invalid) = refusal {
        return Some(invalid.name().map_or("ip", of_kind));
    }
    if let Refusal::NameTooLong { kind, .. } = refusal {
        return Some(of_kind(kind));
    }
    let of_metadata = matches!(refusal, Refusal::MetadataTooLong { .. } | Refusal::Lease(_));
    let of_name = matches!(refusal, Refusal::ServiceExists(_));
    of_metadata.then_some("metadata").or_else(|| of_name.then_some("serviceName"))
}
