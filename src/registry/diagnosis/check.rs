//! What a check comes to.

use super::facts::Facts;
use super::words::counted;
use crate::model::{InstanceKey, UnixMillis};
use serde::Serialize;

/// Findings of one check that are told: whoever reads them acts on the first ones, and asks again.
const FINDINGS_MAX: usize = 20;
/// Lines of evidence for one finding.
const EVIDENCE_MAX: usize = 10;

/// What all checks of a service have come to.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    namespace: String,
    group: String,
    name: String,
    /// The moment of it, and since when what has happened was looked at; milliseconds since 1970.
    now: u64,
    pub(crate) since: u64,
    /// `found` where any check has found something, else `unknown` where any could not be done.
    pub(crate) verdict: Verdict,
    pub(crate) checks: Vec<Check>,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Looked at, and as it should be.
    Pass,
    /// What would tell is not there.
    Unknown,
    /// Something is wrong.
    Found,
}

/// One check.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// From 1 on.
    pub(crate) number: u8,
    /// In a word that programs may go by.
    pub(crate) symptom: &'static str,
    /// As somebody would say it who has the trouble.
    pub(crate) title: &'static str,
    pub(crate) verdict: Verdict,
    /// What was looked at, or why nothing could be; how much was found.
    pub(crate) text: String,
    pub(crate) findings: Vec<Finding>,
}

/// Something that is wrong, and what to do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The instance that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<String>,
    /// When it happened, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u64>,
    pub(crate) cause: String,
    pub(crate) remedy: String,
    /// What to type to find out more, or to put it right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) commands: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) evidence: Vec<String>,
}

/// What a check says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All is well; what was looked at.
    Pass(String),
    /// Nothing can be said, and why.
    Unknown(String),
    /// One at least.
    Found(Vec<Finding>),
}

impl Answer {
    /// What was found; where that is nothing, what was looked at.
    pub(crate) fn new(findings: Vec<Finding>, looked_at: impl FnOnce() -> String) -> Self {
        if findings.is_empty() { Self::Pass(looked_at()) } else { Self::Found(findings) }
    }

    /// The same, where nothing was found but something could not be looked at.
    pub(crate) fn unless_unknown(self, why: Option<String>) -> Self {
        match (self, why) {
            (Self::Pass(_), Some(why)) => Self::Unknown(why),
            (answer, _) => answer,
        }
    }
}

impl Finding {
    /// Of a cause, and what to do about it.
    pub(crate) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into(), ..Self::default() }
    }

    /// The same, about an instance.
    #[must_use]
    pub(crate) fn about(self, instance: &InstanceKey) -> Self {
        Self { instance: Some(instance.address.to_string()), ..self }
    }

    /// The same, of a moment.
    #[must_use]
    pub(crate) fn at(self, at: UnixMillis) -> Self {
        Self { at: Some(at.as_u64()), ..self }
    }

    /// The same, with commands that are filled in.
    #[must_use]
    pub(crate) fn with_commands(self, commands: impl IntoIterator<Item = String>) -> Self {
        Self { commands: commands.into_iter().collect(), ..self }
    }

    /// The same, by what it is known.
    #[must_use]
    pub(crate) fn known_by(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        let more = self.evidence.len().saturating_sub(EVIDENCE_MAX);
        if more > 0 {
            self.evidence.truncate(EVIDENCE_MAX);
            self.evidence.push(format!("and {more} more"));
        }
        self
    }
}

impl Check {
    pub(crate) fn new(number: u8, symptom: &'static str, title: &'static str, answer: Answer) -> Self {
        let (verdict, text, mut findings) = match answer {
            Answer::Pass(text) => (Verdict::Pass, text, Vec::new()),
            Answer::Unknown(text) => (Verdict::Unknown, text, Vec::new()),
            Answer::Found(findings) => (Verdict::Found, counted(findings.len(), "finding"), findings),
        };
        findings.truncate(FINDINGS_MAX);
        Self { number, symptom, title, verdict, text, findings }
    }
}

impl Diagnosis {
    pub(crate) fn new(facts: &Facts, checks: Vec<Check>) -> Self {
        let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Pass);
        let service = &facts.service;
        Self {
            namespace: service.namespace.to_string(),
            group: service.group.to_string(),
            name: service.name.to_string(),
            now: facts.now.as_u64(),
            since: facts.since.as_u64(),
            verdict,
            checks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::diagnosis::given::Given;

    #[test]
    fn the_worst_check_is_the_verdict_and_much_is_told_in_few_lines() {
        let found = |n: usize| Answer::Found(vec![Finding::new("a", "b"); n]);
        let check = |answer| Check::new(1, "x", "X", answer);
        let [pass, unknown] = [Answer::Pass, Answer::Unknown].map(|answer| check(answer("why".to_owned())));
        let verdict = |checks| Diagnosis::new(&Given::new().facts(), checks).verdict;
        assert_eq!(verdict(Vec::new()), Verdict::Pass);
        assert_eq!(verdict(vec![pass, unknown]), Verdict::Unknown);
        let many = check(found(FINDINGS_MAX + 1));
        assert_eq!((many.findings.len(), &*many.text), (FINDINGS_MAX, "21 findings"));
        assert_eq!(verdict(vec![many, check(Answer::Unknown(String::new()))]), Verdict::Found);
        let finding = Finding::new("a", "b").known_by((0..12).map(|n| n.to_string()));
        assert_eq!(finding.evidence.last().map(|line| &**line), Some("and 2 more"));
    }
}
