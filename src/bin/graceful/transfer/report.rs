//! What came of an import, for people and for programs.

use super::document::{Instance, Key, Service};
use super::plan::{Plan, Step, Subject};
use super::server::Trouble;
use serde::Serialize;
use std::fmt;
use tower_graceful::naming::Causes;

/// What was done, or would be.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    dry_run: bool,
    steps: Vec<Line>,
    /// Steps that were done, or would be.
    done: usize,
    unchanged: usize,
    failed: usize,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(rename = "do")]
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Report {
    /// Nothing yet, but for what no step can bring about.
    pub(crate) fn new(plan: &Plan<'_>, dry_run: bool) -> Self {
        let clash = |key: &&Key| Line {
            verb: "clash",
            namespace: None,
            service: Some(key.to_string()),
            subject: None,
            error: Some("it is there with instances of the other kind".to_owned()),
        };
        let ephemeral = |(service, instance): &(&Service, &Instance)| Line {
            verb: "register",
            namespace: None,
            service: Some(service.key.to_string()),
            subject: Some(instance.place.to_string()),
            error: Some("the service is ephemeral: its instances register themselves".to_owned()),
        };
        let clashes = plan.clashes.iter().map(clash);
        let steps: Vec<Line> = clashes.chain(plan.ephemeral.iter().map(ephemeral)).collect();
        let failed = steps.len();
        Self { dry_run, steps, done: 0, unchanged: plan.unchanged, failed }
    }

    pub(crate) fn note(&mut self, step: &Step<'_>, outcome: Result<(), Trouble>) {
        let error = outcome.err().map(|error| Causes(&error).to_string());
        *(if error.is_none() { &mut self.done } else { &mut self.failed }) += 1;
        let (namespace, service) = match step.about() {
            Subject::Namespace(namespace) => (Some(namespace.to_owned()), None),
            Subject::Service(key) => (None, Some(key.to_string())),
        };
        self.steps.push(Line { verb: step.verb(), namespace, service, subject: step.subject(), error });
    }

    /// Steps that failed.
    pub(crate) fn failed(&self) -> usize {
        self.failed
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { verb, namespace, service, subject, error } in &self.steps {
            f.write_str(verb)?;
            namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " namespace {namespace}"))?;
            service.as_ref().map_or(Ok(()), |service| write!(f, " {service}"))?;
            subject.as_ref().map_or(Ok(()), |subject| write!(f, " {subject}"))?;
            error.as_ref().map_or(Ok(()), |error| write!(f, ": {error}"))?;
            writeln!(f)?;
        }
        let Self { done, unchanged, failed, .. } = self;
        let would = if self.dry_run { "to be done" } else { "done" };
        writeln!(f, "{done} {would}, {unchanged} there already, {failed} failed")
    }
}
