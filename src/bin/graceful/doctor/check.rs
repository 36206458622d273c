//! What the registry says of each service, and what this has seen by itself.

use serde::{Deserialize, Serialize};

/// Stands for the registry's address in commands that the registry fills in: it does not know by which of its
/// addresses it is asked.
const REGISTRY: &str = "http://REGISTRY";

/// All that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The worst of all.
    pub(super) verdict: Verdict,
    pub(super) registry: Check,
    pub(super) services: Vec<Diagnosis>,
}

/// A service.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Diagnosis {
    namespace: String,
    pub(super) group: String,
    pub(super) name: String,
    /// The registry's moment, and since when what has happened was looked at; milliseconds since 1970.
    pub(super) now: u64,
    since: u64,
    pub(super) verdict: Verdict,
    pub(super) checks: Vec<Check>,
}

/// What a check comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Pass,
    Unknown,
    Found,
}

/// A check by its number.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Check {
    pub(super) number: u8,
    symptom: String,
    pub(super) title: String,
    pub(super) verdict: Verdict,
    pub(super) text: String,
    pub(super) findings: Vec<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Finding {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<u64>,
    pub(super) cause: String,
    pub(super) remedy: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) evidence: Vec<String>,
}

impl Report {
    /// Of a registry, which was asked at `base`, and its services.
    pub(super) fn new(registry: Check, mut services: Vec<Diagnosis>, base: &str) -> Self {
        let findings =
            services.iter_mut().flat_map(|service| &mut service.checks).flat_map(|check| &mut check.findings);
        for command in findings.flat_map(|finding| &mut finding.commands) {
            *command = command.replace(REGISTRY, base);
        }
        let verdict = services.iter().map(|service| service.verdict).chain([registry.verdict]).max();
        Self { verdict: verdict.unwrap_or(Verdict::Pass), registry, services }
    }

    /// How much was found.
    pub(super) fn found(&self) -> usize {
        let checks = self.services.iter().flat_map(|service| &service.checks).chain([&self.registry]);
        checks.map(|check| check.findings.len()).sum()
    }
}

impl Check {
    /// The registry takes connections.
    pub(super) fn reached(text: String) -> Self {
        let (symptom, title) =
            ("registry-ports".to_owned(), "The registry is reachable on both ports".to_owned());
        Self { number: 0, symptom, title, verdict: Verdict::Pass, text, findings: Vec::new() }
    }

    /// It does not.
    pub(super) fn unreached(cause: String, remedy: &str) -> Self {
        let finding = Finding { cause, remedy: remedy.to_owned(), ..Finding::default() };
        Self { verdict: Verdict::Found, findings: vec![finding], ..Self::reached("1 finding".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_verdict_counts_and_commands_name_the_registry() {
        let said = r#"{"namespace":"public","group":"g","name":"orders","now":2,"since":1,"verdict":"found","checks":[
            {"number":8,"symptom":"entry-stays","title":"t","verdict":"found","text":"1 finding","findings":[
                {"cause":"c","remedy":"r","commands":["curl 'http://REGISTRY/nacos'"]}]}]}"#;
        let service: Diagnosis = serde_json::from_str(said).unwrap();
        let report = Report::new(Check::reached(String::new()), vec![service], "https://r:8848");
        assert_eq!((report.verdict, report.found()), (Verdict::Found, 1));
        assert_eq!(report.services[0].checks[0].findings[0].commands, ["curl 'https://r:8848/nacos'"]);
        let report = Report::new(Check::unreached(String::new(), ""), Vec::new(), "");
        assert_eq!((report.verdict, report.found()), (Verdict::Found, 1));
    }
}
