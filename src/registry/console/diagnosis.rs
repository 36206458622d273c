//! What went wrong with a service's starts, releases and shutdowns, as the checks of the registry find it.

use super::frame::Tab;
use super::links;
use super::moment::{clock, stamp};
use super::page::{Asked, Console, View};
use crate::model::ServiceKey;
use crate::registry::diagnosis::{CheckVerdict, DIAGNOSED, Diagnosis};
use crate::registry::error::Refusal;
use askama::Template;
use serde::Serialize;
use std::time::Duration;

/// The page of a service's diagnosis.
#[derive(Serialize, Template)]
#[template(path = "diagnosis.html")]
#[serde(transparent)]
pub(super) struct DiagnosisPage {
    diagnosis: Diagnosis,
    #[serde(skip)]
    key: ServiceKey,
}

impl View for DiagnosisPage {
    const PATH: &'static str = "/console/diagnosis";
    const TAB: Tab = Tab::Services;
    /// It looks through all that is recorded of the service.
    const EVERY: Duration = Duration::from_secs(5);

    fn of(console: &Console, asked: &Asked) -> Result<Self, Refusal> {
        let key = asked.form.service()?;
        let diagnosis = console.hub.diagnosis(&key, DIAGNOSED, &asked.viewer.sight()?);
        Ok(Self { diagnosis, key })
    }

    fn title(&self) -> String {
        format!("Diagnosis of {}", self.key.name)
    }
}
