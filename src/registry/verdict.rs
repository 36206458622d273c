//! What the numbers of an instance say: how it should have been ramped, and how it went out of use.
//!
//! Pure. The console draws the ramp beside the measured line and shows the verdict, the diagnosis explains it;
//! both take it from here, so that they cannot disagree.

use super::events::{Recorded, Role, What};
use crate::model::{Instance, Reason, UnixMillis, WarmUp, WarmUpAge};
use crate::protocol::report::ReportedSecond;
use std::fmt;
use std::time::Duration;

/// Over how many seconds before now requests count as still coming.
const STILL: u64 = 3;

/// What decides about an instance's share of the traffic, as it was registered last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Member {
    weight: f64,
    /// The curve and since when it runs; nothing where there is none, or it has not begun to run.
    curve: Option<(WarmUp, Option<UnixMillis>)>,
    /// From when on, and until when, it takes requests.
    from: UnixMillis,
    until: Option<UnixMillis>,
}

impl Member {
    /// `instance` as it stands at `now`, having taken requests since the second of `from`.
    pub(crate) fn new(instance: &Instance, from: UnixMillis, now: UnixMillis) -> Self {
        let begun = |age| match age {
            WarmUpAge::NotStarted => None,
            WarmUpAge::Running(age) => {
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                Some(UnixMillis::new(now.as_u64().saturating_sub(age_ms)))
            }
        };
        Self {
            weight: if instance.takes_traffic() { instance.weight.as_f64() } else { 0.0 },
            curve: instance.warm_up(now).map(|(curve, age)| (curve, begun(age))),
            from: UnixMillis::new(from.as_u64() / 1000 * 1000), // Its first second is not a whole one.
            until: None,
        }
    }

    /// The same, known already since an earlier moment.
    #[must_use]
    pub(crate) fn since(self, from: UnixMillis) -> Self {
        Self { from, ..self }
    }

    /// Since when it takes requests.
    pub(crate) fn from(self) -> UnixMillis {
        self.from
    }

    /// The same, which takes no requests from a moment on.
    #[must_use]
    pub(crate) fn until(self, until: UnixMillis) -> Self {
        Self { until: Some(self.until.map_or(until, |known| known.min(until))), ..self }
    }

    /// Its weight when it is warm.
    pub(crate) fn weight(self) -> f64 {
        self.weight
    }

    /// Its curve, and since when it runs; nothing where it has none.
    pub(crate) fn curve(self) -> Option<(WarmUp, Option<UnixMillis>)> {
        self.curve
    }

    /// Its weight at a moment.
    pub(crate) fn weight_at(self, at: UnixMillis) -> f64 {
        if at < self.from || self.until.is_some_and(|until| at >= until) {
            return 0.0;
        }
        let factor = match self.curve {
            None => 1.0,
            Some((curve, Some(since))) if at >= since => curve.factor(WarmUpAge::Running(at.since(since))),
            Some((curve, _)) => curve.factor(WarmUpAge::NotStarted),
        };
        self.weight * factor
    }
}

/// All of a service in one second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    middle: UnixMillis,
    requests: u64,
    weight: f64,
}

impl Whole {
    /// The second that begins at `second`, in which all `members` together had so many requests.
    pub(crate) fn new(second: u64, requests: u64, members: &[Member]) -> Self {
        let middle = UnixMillis::new(second.saturating_mul(1000).saturating_add(500));
        Self { middle, requests, weight: members.iter().map(|member| member.weight_at(middle)).sum() }
    }

    /// How many of the requests are those of a member, if everybody goes by the weights: its part of all weight
    /// in the middle of that second. Nothing where nobody has a weight.
    pub(crate) fn part(&self, member: Member) -> Option<f64> {
        let part = member.weight_at(self.middle) / self.weight;
        (self.weight > 0.0).then_some(part * self.requests as f64)
    }
}

/// How an instance went out of use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It has not left, as far as is known.
    InUse,
    /// It left, and reports nothing by which one could tell what came of it.
    Unmeasured,
    /// Its requests have ended.
    Quiet {
        /// From saying that it leaves to the end of the last second with a request; zero where none came.
        after: Duration,
        /// Requests after the second in which it was taken off the list.
        late: Late,
    },
    /// Requests still come.
    Called {
        /// For how long it has been leaving.
        since: Duration,
        /// How many a second, over the last few.
        rate: f64,
        late: Late,
    },
}

/// Requests to an instance that is off the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Late {
    pub(crate) governed: u64,
    pub(crate) ungoverned: u64,
}

impl Late {
    pub(crate) fn all(self) -> u64 {
        self.governed + self.ungoverned
    }
}

/// When an instance left: when it said so, and when it was taken off the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) at: UnixMillis,
    pub(crate) deregistered: Option<UnixMillis>,
}

impl Left {
    /// Reads it out of the events of one instance, the oldest first. One that came back has not left.
    pub(crate) fn read<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Option<Self> {
        let (mut said, mut off) = (None, None);
        for event in events {
            match &event.what {
                What::Came => (said, off) = (None, None),
                // An operator has it take no traffic, which takes it off the lists as well.
                What::Went(Reason::Deregistered | Reason::Disabled) | What::Disabled => {
                    off = off.or(Some(event.at));
                }
                What::Set(_) if said.is_none() => off = None,
                What::Told(told) if told.role == Some(Role::Provider) => match told.event.as_str() {
                    "registered" => (said, off) = (None, None),
                    "leaving" => said = Some(event.at),
                    _ => {}
                },
                What::Went(Reason::Expired | Reason::ConnectionLost)
                | What::BecameHealthy
                | What::BecameUnhealthy
                | What::Set(_)
                | What::Told(_) => {}
            }
        }
        let at = said.into_iter().chain(off).min()?;
        Some(Self { at, deregistered: off })
    }
}

impl Verdict {
    /// Of an instance that `left`, whose numbers are `seconds`, the oldest first, at the moment `now`.
    pub(crate) fn of<'a>(
        left: Option<Left>,
        seconds: impl Iterator<Item = &'a ReportedSecond>,
        reports: bool,
        now: UnixMillis,
    ) -> Self {
        let Some(left) = left else { return Self::InUse };
        let (mut last, mut recent, mut late) = (left.at, 0, Late::default());
        let now_s = now.as_u64() / 1000;
        for second in seconds.filter(|second| second.started() > 0) {
            let (begin, end) = (second.second * 1000, UnixMillis::new(second.second * 1000 + 1000));
            if end <= left.at {
                continue;
            }
            last = last.max(end);
            if second.second + STILL >= now_s && second.second < now_s {
                recent += second.started();
            }
            if left.deregistered.is_some_and(|off| begin >= off.as_u64()) {
                late.governed += u64::from(second.governed.started);
                late.ungoverned += u64::from(second.ungoverned.started);
            }
        }
        match recent {
            _ if !reports => Self::Unmeasured,
            0 => Self::Quiet { after: last.since(left.at), late },
            // Of who has just left, requests may come that were on their way.
            _ if last.since(left.at) < Duration::from_secs(2) => {
                Self::Quiet { after: last.since(left.at), late }
            }
            _ => Self::Called { since: now.since(left.at), rate: recent as f64 / STILL as f64, late },
        }
    }

    /// In one word.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::InUse => "in-use",
            Self::Unmeasured => "unmeasured",
            Self::Quiet { .. } => "quiet",
            Self::Called { .. } => "called",
        }
    }
}

/// As a person reads it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("in use: it has not left"),
            Self::Unmeasured => {
                f.write_str("it left, and has reported no requests: nothing can be said of them")
            }
            Self::Quiet { after, late } => {
                write!(f, "QPS reached 0 at +{:.1} s after offline; {late}", after.as_secs_f64())
            }
            Self::Called { since, rate, late } => write!(
                f,
                "requests still come {:.1} s after offline, {rate:.1} a second; {late}",
                since.as_secs_f64()
            ),
        }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests after deregistration", self.all())?;
        match self {
            Self { governed: 0, ungoverned: 0 } => Ok(()),
            Self { governed: 0, .. } => f.write_str(", all from callers without the consumer's layers"),
            Self { ungoverned: 0, .. } => f.write_str(", all from callers with the consumer's layers"),
            Self { ungoverned, .. } => {
                write!(f, ", {ungoverned} of them from callers without the consumer's layers")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metadata, key};
    use crate::protocol::report::Requests;
    use crate::registry::events::{By, Told};
    use std::sync::Arc;

    const START: u64 = 1_000_000;

    fn instance(metadata: Metadata) -> Instance {
        Instance::new("10.0.0.7:80".parse().unwrap()).with_metadata(metadata)
    }

    fn member(warming_since: Option<u64>) -> Member {
        let metadata = Metadata::new().with(key::WARM_UP, 100).with(key::WARM_UP_EXPONENT, 1);
        let metadata = match warming_since {
            Some(since) => metadata.with(key::WARM_UP_START, since),
            None => Metadata::new(),
        };
        Member::new(&instance(metadata), UnixMillis::new(START), UnixMillis::new(START))
    }

    fn event(at: u64, what: What) -> Recorded {
        Recorded {
            at: UnixMillis::new(at),
            instance: instance(Metadata::new()).key,
            what,
            by: By::Storage,
            list: 0,
        }
    }

    fn ideal(own: Member, members: &[Member], second: u64, requests: u64) -> Option<f64> {
        Whole::new(second, requests, members).part(own)
    }

    fn told(at: u64, word: &str) -> Recorded {
        let told = Told::new(Some(Role::Provider), word.to_owned(), "").unwrap();
        event(at, What::Told(Arc::new(told)))
    }

    fn seconds(numbers: &[(u64, u32, u32)]) -> Vec<ReportedSecond> {
        let of = |started| Requests { started, ..Requests::default() };
        let second = |&(second, governed, ungoverned): &(u64, u32, u32)| ReportedSecond {
            second,
            governed: of(governed),
            ungoverned: of(ungoverned),
        };
        numbers.iter().map(second).collect()
    }

    fn verdict(left: &Left, numbers: &[(u64, u32, u32)], now: u64) -> Verdict {
        Verdict::of(Some(*left), seconds(numbers).iter(), true, UnixMillis::new(now))
    }

    #[test]
    fn the_ideal_share_follows_the_curve_and_those_who_have_left_have_none() {
        let (young, warm) = (member(Some(START)), member(None));
        let both = [young, warm];
        let of_young = |second| ideal(young, &both, second, 150);
        // In the middle of second 1050 the line stands at 50.5 %: a third of one and a half.
        let expected = 0.505 / 1.505 * 150.0;
        assert!((of_young(1_050).unwrap() - expected).abs() < 1e-9, "{:?}", of_young(1_050));
        assert_eq!(of_young(1_200), Some(75.0));
        assert_eq!(of_young(900), None, "nobody was there");
        let alone = [young, warm.until(UnixMillis::new(1_060_000))];
        assert_eq!(ideal(young, &alone, 1_059, 100).map(|share| share < 50.0), Some(true));
        assert_eq!(ideal(young, &alone, 1_060, 100), Some(100.0));
        assert_eq!(ideal(alone[1], &alone, 1_060, 100), Some(0.0));
    }

    #[test]
    fn who_has_not_begun_to_warm_up_has_the_floor() {
        let curve = WarmUp::default();
        let metadata: Metadata = curve.to_metadata().into_iter().collect();
        let cold = Member::new(&instance(metadata), UnixMillis::new(0), UnixMillis::new(START));
        assert_eq!(ideal(cold, &[cold, member(None)], 2_000, 101), Some(1.0));
    }

    #[test]
    fn an_instance_left_when_it_said_so_and_one_that_came_back_has_not() {
        let at = |at| UnixMillis::new(at);
        let went = event(300, What::Went(Reason::Deregistered));
        let events = [event(100, What::Came), told(200, "leaving"), went.clone(), told(310, "deregistered")];
        assert_eq!(Left::read(&events), Some(Left { at: at(200), deregistered: Some(at(300)) }));
        assert_eq!(Left::read([&went]), Some(Left { at: at(300), deregistered: Some(at(300)) }));
        // The report of it comes a moment after the deregistration.
        let late = [went.clone(), told(200, "leaving")];
        assert_eq!(Left::read(&late), Some(Left { at: at(200), deregistered: Some(at(300)) }));
        assert_eq!(Left::read([&went, &event(400, What::Came)]), None);
        let off = event(300, What::Disabled);
        assert_eq!(Left::read([&off]).unwrap().deregistered, Some(at(300)));
        assert_eq!(
            Left::read([&off, &event(400, What::Set("enabled".into()))]),
            None,
            "an operator has it take traffic again"
        );
        assert_eq!(Left::read([&event(100, What::Went(Reason::Expired))]), None);
    }

    #[test]
    fn the_verdict_says_when_the_last_request_came() {
        let left = Left { at: UnixMillis::new(100_100), deregistered: Some(UnixMillis::new(100_300)) };
        let quiet = verdict(&left, &[(98, 50, 0), (99, 50, 0), (100, 20, 0)], 110_000);
        assert_eq!(
            quiet.to_string(),
            "QPS reached 0 at +0.9 s after offline; 0 requests after deregistration"
        );
        let late = verdict(&left, &[(99, 50, 0), (101, 0, 7), (102, 3, 0)], 110_000);
        assert_eq!(
            late.to_string(),
            "QPS reached 0 at +2.9 s after offline; 10 requests after deregistration, 7 of them from callers \
             without the consumer's layers"
        );
    }

    #[test]
    fn requests_that_still_come_are_no_end() {
        let left = Left { at: UnixMillis::new(100_000), deregistered: None };
        let called = verdict(&left, &[(107, 0, 2), (108, 0, 2), (109, 0, 2)], 110_000);
        assert_eq!(called.as_str(), "called");
        assert_eq!(
            called.to_string(),
            "requests still come 10.0 s after offline, 2.0 a second; 0 requests after deregistration"
        );
        // They were under way when it left.
        assert_eq!(verdict(&left, &[(100, 9, 0)], 101_500).as_str(), "quiet");
        let now = UnixMillis::new(110_000);
        assert_eq!(Verdict::of(None, seconds(&[(109, 9, 9)]).iter(), true, now), Verdict::InUse);
        assert_eq!(Verdict::of(Some(left), seconds(&[]).iter(), false, now), Verdict::Unmeasured);
    }
}
