//! Check 14: whether those who speak of this crate's things mean the same.

use super::check::{Answer, Finding};
use super::facts::Facts;
use super::words::counted;
use crate::model::key;

/// Of this registry.
const OWN: &str = env!("CARGO_PKG_VERSION");
/// What this crate's client calls itself, before its version.
const CLIENT: &str = "Tower-Graceful:v";

pub(super) fn check(facts: &Facts) -> Answer {
    let (mut findings, mut instances, mut subscribers) = (Vec::new(), 0, 0);
    for (subject, listed) in facts.listed() {
        let Some(version) = listed.instance.metadata.get(key::VERSION) else { continue };
        instances += 1;
        if !fits(version) {
            let who = format!("the provider {}", subject.key.address);
            findings.push(finding(&who, version).about(&subject.key));
        }
    }
    for line in &facts.followers.subscribers {
        let Some(version) = line.connection.version.strip_prefix(CLIENT) else { continue };
        subscribers += 1;
        if !fits(version) {
            findings.push(finding(
                &format!("the consumer {} at {}", line.connection.app, line.connection.address),
                version,
            ));
        }
    }
    Answer::new(findings, || {
        if instances + subscribers == 0 {
            return format!("nobody has this crate but the registry ({OWN})");
        }
        let (instances, subscribers) = (counted(instances, "instance"), counted(subscribers, "subscriber"));
        format!("{instances} and {subscribers} said theirs, and each fits the registry's ({OWN})")
    })
}

fn finding(who: &str, version: &str) -> Finding {
    let cause = format!("{who} has version {version}, and the registry {OWN}");
    Finding::new(
        cause,
        "bring both to the same version: what they say to each other may have changed between them",
    )
}

/// Whether two versions speak the same by the rules of semantic versioning: the same major one, and before 1.0
/// the same minor one.
fn fits(version: &str) -> bool {
    let parts = |version: &str| {
        let mut parts = version.split('.').map(str::to_owned);
        let major = parts.next().unwrap_or_default();
        let minor = if major == "0" { parts.next().unwrap_or_default() } else { String::new() };
        (major, minor)
    };
    parts(version) == parts(OWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metadata;
    use crate::registry::diagnosis::given::{Given, followers, instance};

    #[test]
    fn a_version_that_does_not_fit_is_named_with_its_owner() {
        let given = |version: &str| {
            let metadata = Metadata::new().with(key::VERSION, version);
            let mut given = Given::new().listed(instance(1).with_metadata(metadata), Vec::new(), &[]);
            given.followers = followers(1);
            given.followers.subscribers[0].connection.version = format!("{CLIENT}{OWN}");
            given
        };
        let Answer::Pass(said) = check(&given(OWN).facts()) else { panic!("pass") };
        assert_eq!(
            said,
            format!("1 instance and 1 subscriber said theirs, and each fits the registry's ({OWN})")
        );
        let Answer::Found(findings) = check(&given("99.0.0").facts()) else { panic!("found") };
        assert_eq!(
            findings[0].cause,
            format!("the provider 10.0.0.1:80 has version 99.0.0, and the registry {OWN}")
        );
        let mut consumer = given(OWN);
        consumer.followers.subscribers[0].connection.version = format!("{CLIENT}99.1.0");
        let Answer::Found(findings) = check(&consumer.facts()) else { panic!("found") };
        assert!(findings[0].cause.starts_with("the consumer app1 at 10.0.0.1:50000 has version 99.1.0"));
    }
}
