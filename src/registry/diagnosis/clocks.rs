//! Check 11: the clocks of instances and of the registry.

use super::check::{Answer, Finding};
use super::facts::Facts;
use super::words::{counted, span};
use std::time::Duration;

/// How far clocks may be apart: warm-ups are measured from moments that others write down, and the time that a
/// report takes is in the number.
const APART_MAX_MS: u64 = 2_000;

pub(super) fn check(facts: &Facts) -> Answer {
    let measured: Vec<_> = facts.measured().filter(|(subject, _)| subject.listed.is_some()).collect();
    let apart = measured.iter().filter(|(_, measured)| measured.ahead_ms.unsigned_abs() > APART_MAX_MS);
    let findings = apart.map(|(subject, measured)| {
        let by = span(Duration::from_millis(measured.ahead_ms.unsigned_abs()));
        let (host, side) =
            (subject.key.address.host(), if measured.ahead_ms > 0 { "ahead of" } else { "behind" });
        let cause = format!("the clock of {} is {by} {side} the registry's", subject.key.address);
        let remedy = format!(
            "have {host} and the registry's machine follow the same time (chrony or systemd-timesyncd)"
        );
        Finding::new(cause, remedy)
            .about(&subject.key)
            .with_commands([format!("ssh -- {host} timedatectl timesync-status")])
    });
    let findings = findings.collect();
    Answer::new(findings, || {
        match measured.iter().map(|(_, measured)| measured.ahead_ms.unsigned_abs()).max() {
            Some(most) => format!(
                "those of {} are {most} ms from the registry's at most",
                counted(measured.len(), "instance")
            ),
            None => "no instance that is listed tells the time".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use crate::registry::diagnosis::given::{Given, instance};

    fn ahead(ms: i64) -> Answer {
        let given = Given::new().listed(instance(1), Vec::new(), &[]).measured(1, Metadata::new(), 0, &[]);
        check(&given.and(1, |measured| measured.ahead_ms = ms).facts())
    }

    #[test]
    fn a_clock_that_is_apart_is_named_with_how_far_and_which_way() {
        assert_eq!(
            ahead(-12),
            Answer::Pass("those of 1 instance are 12 ms from the registry's at most".to_owned())
        );
        let Answer::Found(findings) = ahead(-90_000) else { panic!("found") };
        assert_eq!(findings[0].cause, "the clock of 10.0.0.1:80 is 1 min 30 s behind the registry's");
        assert!(matches!(ahead(3_000), Answer::Found(_)));
    }
}
