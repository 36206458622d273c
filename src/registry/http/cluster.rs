//! `/cluster` and `/health`: how persistent instances are probed, and what is set by hand where they are not.

use super::extract::Parameters;
use crate::model::{Cluster, Metadata};
use crate::protocol::form::{Form, InvalidForm};
use crate::protocol::reply::OK;
use crate::registry::error::Refusal;
use crate::registry::health::{ClusterRecord, Probe};
use crate::registry::hub::Hub;
use crate::registry::write::{Edit, Write};
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;

/// Headers of a probe: some dozens of bytes each in every request.
const HEADERS_MAX: usize = 16;

/// A checker as Nacos writes it: `{"type":"HTTP","path":"/ping","headers":"k:v|k:v","expectedResponseCode":200}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checker {
    r#type: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    headers: String,
    expected_response_code: Option<u16>,
}

pub(super) async fn update(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let service = form.service()?;
    let name = Cluster::new(form.required("clusterName")?).map_err(InvalidForm::from)?;
    let own = form.flag("useInstancePort4Check")?.or(form.flag("useInstancePortForCheck")?).unwrap_or(true);
    let port = if own { None } else { Some(check_port(&form)?) };
    let metadata: Metadata = form.metadata()?.unwrap_or_default();
    let edit = Edit::Cluster(name, ClusterRecord { probe: probe(&form)?, port, metadata });
    hub.write(Write::Describe { service, edit }).await?;
    Ok(OK)
}

/// Sets the health of a persistent instance that nobody probes; it lasts until the registry ends.
pub(super) async fn set_health(
    State(hub): State<Arc<Hub>>,
    Parameters(form): Parameters,
) -> Result<&'static str, Refusal> {
    let healthy = form.flag("healthy")?.or(form.flag("valid")?).ok_or(InvalidForm::Missing("healthy"))?;
    hub.set_health(&form.service()?, &form.instance_key()?, healthy)?;
    Ok(OK)
}

fn check_port(form: &Form) -> Result<u16, InvalidForm> {
    let given = form.required("checkPort").or_else(|_| form.required("healthyCheckPort"))?;
    let port = given.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| InvalidForm::value("checkPort", given, "1 to 65535"))
}

fn probe(form: &Form) -> Result<Probe, InvalidForm> {
    let name = "healthChecker";
    let Some(text) = form.text(name) else { return Ok(Probe::default()) };
    let checker: Checker = serde_json::from_str(text).map_err(|source| InvalidForm::Json { name, source })?;
    match checker.r#type.to_ascii_uppercase().as_str() {
        "NONE" => Ok(Probe::None),
        "TCP" => Ok(Probe::Tcp),
        "HTTP" => http(&checker).ok_or_else(|| {
            InvalidForm::value(
                name,
                text,
                "a path that begins with /, headers as k:v|k:v, a status from 100 to 599",
            )
        }),
        _ => Err(InvalidForm::value(name, text, "type TCP, HTTP or NONE")),
    }
}

/// The probe, unless its parts would break the request that is made of them.
fn http(checker: &Checker) -> Option<Probe> {
    let path = if checker.path.is_empty() { "/" } else { &checker.path };
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let pairs = checker.headers.split('|').filter(|pair| !pair.trim().is_empty());
    let headers = pairs.map(|pair| {
        let (name, value) = pair.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        http::HeaderName::from_bytes(name.as_bytes()).ok()?;
        http::HeaderValue::from_str(value).ok()?;
        Some((name.to_owned(), value.to_owned()))
    });
    let headers: Vec<_> = headers.collect::<Option<_>>()?;
    let expected = checker.expected_response_code.unwrap_or(200);
    let fits = path.starts_with('/') && visible(path) && headers.len() <= HEADERS_MAX;
    (fits && (100..600).contains(&expected)).then(|| Probe::Http { path: path.to_owned(), headers, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checker_is_read_as_nacos_writes_it_and_never_smuggles_a_request() {
        let read = |json: &str| probe(&Form::parse("", format!("healthChecker={json}").as_bytes()).unwrap());
        assert_eq!(read("").unwrap(), Probe::Tcp);
        assert_eq!(read(r#"{"type":"NONE"}"#).unwrap(), Probe::None);
        assert_eq!(
            read(r#"{"type":"http","path":"/ping","headers":"a:b| c : d:e ","expectedResponseCode":204}"#)
                .unwrap(),
            Probe::Http {
                path: "/ping".to_owned(),
                headers: vec![("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d:e".to_owned())],
                expected: 204
            }
        );
        for bad in [
            r#"{"type":"MYSQL","user":"x","pwd":"y","cmd":"select 1"}"#,
            r#"{"type":"HTTP","path":"ping"}"#,
            r#"{"type":"HTTP","path":"/a HTTP/1.1"}"#,
            r#"{"type":"HTTP","path":"/","headers":"a:b\r\nc:d"}"#,
            r#"{"type":"HTTP","path":"/","headers":"a b:c"}"#,
            r#"{"type":"HTTP","expectedResponseCode":0}"#,
            "{",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
