//! The report as people read it.

use super::check::{Check, Finding, Report, Verdict};
use crate::shown::{Tone, age, printable};
use std::fmt::Write as _;
use tower_graceful::model::UnixMillis;

/// Every check in a line, and under it what was found.
pub(super) fn of(report: &Report, coloured: bool) -> String {
    let mut out = String::new();
    check(&mut out, &report.registry, UnixMillis::default(), coloured);
    for service in &report.services {
        let (name, group) = (printable(&service.name), printable(&service.group));
        // Text takes whatever is written into it, here and below.
        let _ = writeln!(out, "\n{name} ({group})");
        for line in &service.checks {
            check(&mut out, line, UnixMillis::new(service.now), coloured);
        }
    }
    if report.services.is_empty() {
        out.push_str("\nno services: nothing else to check\n");
    }
    out
}

fn check(out: &mut String, check: &Check, now: UnixMillis, coloured: bool) {
    let (word, tone) = match check.verdict {
        Verdict::Pass => ("pass   ", Tone::Good),
        Verdict::Unknown => ("unknown", Tone::Passing),
        Verdict::Found => ("FOUND  ", Tone::Bad),
    };
    let word = tone.paint(word, coloured);
    let _ = writeln!(out, "{word} {:>2}  {}: {}", check.number, check.title, printable(&check.text));
    for finding in &check.findings {
        found(out, finding, now);
    }
}

fn found(out: &mut String, finding: &Finding, now: UnixMillis) {
    let mut line = |word: &str, text: &str| {
        let _ = writeln!(out, "            {word:<9}{}", printable(text));
    };
    line("cause", &finding.cause);
    line("remedy", &finding.remedy);
    if let Some(at) = finding.at {
        line("when", &format!("{} ago", age(UnixMillis::new(at), now)));
    }
    finding.evidence.iter().for_each(|evidence| line("known by", evidence));
    finding.commands.iter().for_each(|command| line("run", command));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_a_line_for_each_check_and_nothing_that_steers() {
        let passed = Check::reached("both answer".to_owned());
        let report = Report::new(passed, Vec::new(), "");
        let expected = "pass     0  The registry is reachable on both ports: both answer\n\nno services: nothing else to check\n";
        assert_eq!(of(&report, false), expected);
        let report = Report::new(Check::unreached("a\u{1b}[31mb".to_owned(), "give it"), Vec::new(), "");
        let text = of(&report, false);
        assert!(text.starts_with("FOUND    0  "), "{text}");
        assert!(
            text.contains("            cause    a\\u{1b}[31mb\n            remedy   give it\n"),
            "{text}"
        );
    }
}
