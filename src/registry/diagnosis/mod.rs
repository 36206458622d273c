//! What went wrong with a service's starts, releases and shutdowns: recorded facts in, findings out.
//!
//! Pure: [`Facts`] are taken from the hub at one moment, and each check is a function from them to an [`Answer`],
//! in a file of its own. The table [`CHECKS`] is all of them; `graceful doctor` and the console show what
//! [`diagnose`] makes of it, and decide nothing themselves.

mod check;
mod facts;
#[cfg(test)]
mod given;
mod life;
mod words;

mod clocks;
mod early;
mod falls;
mod gap;
mod grace;
mod leases;
mod lingering;
mod ramp;
mod slow;
mod subscriber;
mod surge;
mod unready;
mod vanished;
mod versions;

use check::{Answer, Check};
use std::time::Duration;

pub(crate) use check::Diagnosis;
#[cfg(feature = "console")]
pub(crate) use check::Verdict as CheckVerdict;
pub(crate) use facts::{Facts, Listed, Measured, Seen, Subject};
pub(crate) use life::lives;
pub(crate) use unready::REFUSED;

/// What a diagnosis looks at, when nobody says how far back: a release, and the one before.
pub(crate) const DIAGNOSED: Duration = Duration::from_secs(60 * 60);

/// A check: its word, what people see that have the trouble, and how it is recognised.
type Line = (&'static str, &'static str, fn(&Facts) -> Answer);

/// Every check, numbered by its place. Numbers and words are what people and programs know them by: a new check
/// goes to the end.
const CHECKS: [Line; 14] = [
    ("qps-surge", "QPS surges at one point during the warm-up", surge::check),
    ("qps-not-gradual", "QPS does not rise gradually", ramp::check),
    ("traffic-gap", "Traffic fell to zero during a release", gap::check),
    ("late-requests", "Traffic does not fall to zero after shutdown", falls::check),
    ("slow-release", "The release takes longer", slow::check),
    ("unready", "Readiness keeps failing", unready::check),
    ("early-warm-up", "The warm-up started before the registration", early::check),
    ("entry-stays", "An entry of a stopped provider stays", lingering::check),
    ("instance-vanished", "An instance suddenly disappeared", vanished::check),
    ("other-list", "A subscriber sees other instances than the list", subscriber::check),
    ("clock-skew", "Clocks are apart", clocks::check),
    ("grace-period", "The grace period is shorter than the drain", grace::check),
    ("lease-head-room", "Heartbeats come late", leases::check),
    ("versions", "Versions do not fit", versions::check),
];

/// Does every check.
pub(crate) fn diagnose(facts: &Facts) -> Diagnosis {
    let numbered = (1..).zip(CHECKS);
    let checks =
        numbered.map(|(number, (symptom, title, check))| Check::new(number, symptom, title, check(facts)));
    Diagnosis::new(facts, checks.collect())
}
