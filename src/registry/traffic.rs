//! How many requests each instance took lately, second by second, as its process reports them.
//!
//! Pure: moments come in as arguments. Five minutes are kept; a second without requests takes no room. One
//! bound holds for all instances together: when it is reached, those that have been silent longest are
//! forgotten. Nothing is decided by these numbers.

use super::verdict::{Left, Member, Verdict};
use crate::model::{InstanceKey, ServiceKey, UnixMillis};
use crate::protocol::report::{ReportedCaller, ReportedSecond};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How long a second is kept.
pub(crate) const KEPT_SECONDS: u64 = 300;
/// Seconds that are added up side by side: all that are kept, and as many by clocks that are ahead.
const TOTALS_MAX: usize = 600;
/// Seconds kept in all: about 20 megabytes, or five minutes of 1 600 busy instances.
pub(crate) const SECONDS_MAX: usize = 500_000;
/// What is left of [`SECONDS_MAX`] when it was reached, so that the next report does not reach it again.
const LEFT: usize = SECONDS_MAX / 10 * 9;

/// Late callers of one instance: whoever looks wants to know who they are, not all of them.
const LATE_MAX: usize = 20;

/// What one instance has reported.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// By time; a second in which nothing happened is missing.
    seconds: VecDeque<ReportedSecond>,
    /// Requests under way when it reported last.
    pub(crate) in_flight: u64,
    /// The last second in which it reported, whether there were requests or not.
    pub(crate) reported: u64,
    /// How far its clock was ahead of the registry's then, in milliseconds.
    pub(crate) ahead_ms: i64,
    /// What decided about its share, as long as it was listed.
    pub(crate) member: Option<Member>,
    /// Those who came late, the one who came last at the end.
    late: Vec<ReportedCaller>,
}

impl Series {
    /// Who has called since it said that it leaves.
    pub(crate) fn late(&self) -> &[ReportedCaller] {
        &self.late
    }

    /// Adds the requests of one who came late. The one who has been silent longest makes room.
    pub(crate) fn came_late(&mut self, caller: ReportedCaller) {
        let known = self.late.iter().position(|known| known.who() == caller.who());
        let before = known.map_or(0, |place| self.late.remove(place).requests);
        if self.late.len() == LATE_MAX {
            self.late.remove(0);
        }
        self.late.push(ReportedCaller { requests: caller.requests.saturating_add(before), ..caller });
    }

    /// Its seconds from `first` on.
    pub(crate) fn since(&self, first: u64) -> impl Iterator<Item = &ReportedSecond> {
        let skipped = self.seconds.partition_point(|second| second.second < first);
        self.seconds.range(skipped..)
    }

    /// Requests a second that began in the `over` whole seconds before `now`.
    pub(crate) fn rate(&self, now: u64, over: u64) -> f64 {
        let started: u64 = self
            .since(now.saturating_sub(over))
            .filter(|second| second.second < now)
            .map(ReportedSecond::started)
            .sum();
        started as f64 / over.max(1) as f64
    }

    /// How the instance went out of use that `left`, at the moment `now`.
    pub(crate) fn verdict(&self, left: Option<Left>, now: UnixMillis) -> Verdict {
        let reports = left.is_some_and(|left| (self.reported + 1) * 1000 > left.at.as_u64());
        Verdict::of(left, self.since(0), reports, now)
    }

    /// Adds one second, and returns how many seconds more it holds.
    fn add(&mut self, second: ReportedSecond) -> usize {
        let place = self.seconds.partition_point(|known| known.second < second.second);
        match self.seconds.get_mut(place) {
            Some(known) if known.second == second.second => {
                known.add(&second);
                0
            }
            _ => {
                self.seconds.insert(place, second);
                1
            }
        }
    }

    /// Forgets what lies before `first`, and returns how many seconds that were.
    fn forget_before(&mut self, first: u64) -> usize {
        let old = self.seconds.partition_point(|second| second.second < first);
        self.seconds.drain(..old);
        old
    }
}

/// The traffic of all instances.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    services: HashMap<ServiceKey, HashMap<InstanceKey, Series>>,
    /// Seconds held in all.
    held: usize,
}

impl Traffic {
    /// Adds what an instance reports at `now` (in seconds), and returns all of it. Seconds that are too old, or
    /// more than one ahead, count for nothing.
    pub(crate) fn record(
        &mut self,
        service: &ServiceKey,
        instance: &InstanceKey,
        seconds: impl IntoIterator<Item = ReportedSecond>,
        now: u64,
    ) -> &mut Series {
        if self.held > SECONDS_MAX {
            self.forget_silent();
        }
        let of_service = self.services.entry(service.clone()).or_default();
        let series = of_service.entry(instance.clone()).or_default();
        series.reported = now;
        let first = now.saturating_sub(KEPT_SECONDS);
        self.held -= series.forget_before(first);
        let known = seconds.into_iter().filter(|second| (first..=now + 1).contains(&second.second));
        self.held += known.map(|second| series.add(second)).sum::<usize>();
        series
    }

    /// What each instance of a service has reported.
    pub(crate) fn of(&self, service: &ServiceKey) -> impl Iterator<Item = (&InstanceKey, &Series)> {
        self.services.get(service).into_iter().flatten()
    }

    /// What one instance has reported.
    #[cfg(feature = "console")]
    pub(crate) fn of_instance(&self, service: &ServiceKey, instance: &InstanceKey) -> Option<&Series> {
        self.services.get(service)?.get(instance)
    }

    /// Requests that began in a service, of each second from `first` on in which there were some.
    pub(crate) fn totals(&self, service: &ServiceKey, first: u64) -> BTreeMap<u64, u64> {
        // Side by side: others wait while those of hundreds of instances are added up.
        let mut totals: Vec<Option<u64>> = Vec::new();
        let mut beyond = BTreeMap::new();
        for second in self.of(service).flat_map(|(_, series)| series.since(first)) {
            match usize::try_from(second.second - first) {
                Ok(place) if place < TOTALS_MAX => {
                    if totals.len() <= place {
                        totals.resize(place + 1, None);
                    }
                    *totals[place].get_or_insert(0) += second.started();
                }
                _ => *beyond.entry(second.second).or_default() += second.started(),
            }
        }
        let known = (first..).zip(totals).filter_map(|(second, total)| Some((second, total?)));
        known.chain(beyond).collect()
    }

    /// Seconds held in all, of at most [`SECONDS_MAX`] and those of the last report.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Gives back the memory of what is too old at `now`, in seconds.
    pub(crate) fn tidy(&mut self, now: u64) {
        let (first, held) = (now.saturating_sub(KEPT_SECONDS), &mut self.held);
        self.services.retain(|_, instances| {
            instances.retain(|_, series| {
                *held -= series.forget_before(first);
                series.reported >= first || !series.seconds.is_empty()
            });
            !instances.is_empty()
        });
    }

    /// Forgets whole instances, those that have been silent longest first, until there is room again.
    fn forget_silent(&mut self) {
        let all = self.services.iter().flat_map(|(service, instances)| {
            instances
                .iter()
                .map(move |(instance, series)| (series.reported, service.clone(), instance.clone()))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        for (_, service, instance) in all {
            if self.held <= LEFT {
                return;
            }
            let Some(instances) = self.services.get_mut(&service) else { continue };
            self.held -= instances.remove(&instance).map_or(0, |series| series.seconds.len());
            if instances.is_empty() {
                self.services.remove(&service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instance;
    use crate::protocol::report::Requests;

    fn instance(port: u16) -> InstanceKey {
        Instance::new(format!("10.0.0.7:{port}").parse().unwrap()).key
    }

    fn second(second: u64, started: u32) -> ReportedSecond {
        let governed = Requests { started, ..Requests::default() };
        ReportedSecond { second, governed, ..ReportedSecond::default() }
    }

    fn orders() -> ServiceKey {
        "orders".parse().unwrap()
    }

    fn numbers(traffic: &Traffic, of: &InstanceKey) -> Vec<(u64, u64)> {
        let series = traffic
            .of(&orders())
            .find(|(key, _)| *key == of)
            .map(|(_, series)| series)
            .into_iter()
            .flat_map(|series| series.since(0));
        series.map(|second| (second.second, second.started())).collect()
    }

    #[test]
    fn seconds_come_in_any_order_and_add_up() {
        let mut traffic = Traffic::default();
        let one = instance(80);
        traffic.record(&orders(), &one, [second(1001, 5), second(1000, 3)], 1001);
        traffic.record(&orders(), &one, [second(1001, 4)], 1002);
        assert_eq!(numbers(&traffic, &one), [(1000, 3), (1001, 9)]);
        assert_eq!(traffic.held(), 2);
        let series = traffic.of(&orders()).next().unwrap().1;
        assert_eq!((series.reported, series.rate(1002, 2)), (1002, 6.0));
    }

    #[test]
    fn what_is_old_or_lies_ahead_counts_for_nothing() {
        let mut traffic = Traffic::default();
        let one = instance(80);
        let strange =
            [second(10_000 - KEPT_SECONDS - 1, 1), second(10_002, 1), second(u64::MAX, 1), second(10_001, 7)];
        traffic.record(&orders(), &one, strange, 10_000);
        assert_eq!(numbers(&traffic, &one), [(10_001, 7)]);
        traffic.tidy(10_002 + KEPT_SECONDS);
        assert_eq!((traffic.held(), traffic.services.len()), (0, 0));
    }

    #[test]
    fn those_who_come_late_add_up_and_are_few() {
        let mut series = Series::default();
        let caller = |n: u64| ReportedCaller {
            address: format!("10.0.0.{n}"),
            requests: 2,
            ..ReportedCaller::default()
        };
        (0..=LATE_MAX as u64).chain([1]).for_each(|n| series.came_late(caller(n)));
        assert_eq!(series.late().len(), LATE_MAX);
        assert_eq!(series.late().last(), Some(&ReportedCaller { requests: 4, ..caller(1) }));
        assert!(!series.late().contains(&caller(0)));
    }

    #[test]
    fn the_silent_are_forgotten_when_there_is_no_room() {
        let mut traffic = Traffic::default();
        let busy = |now| (now - KEPT_SECONDS..now).map(|at| second(at, 1));
        for port in 1..=1700 {
            let now = 10_000 + u64::from(port) / 100;
            traffic.record(&orders(), &instance(port), busy(now), now);
            assert!(traffic.held() <= SECONDS_MAX + usize::try_from(KEPT_SECONDS).unwrap());
        }
        assert!(numbers(&traffic, &instance(1)).is_empty());
        assert_eq!(numbers(&traffic, &instance(1700)).len() as u64, KEPT_SECONDS);
        let counted: usize = traffic.of(&orders()).map(|(_, series)| series.seconds.len()).sum();
        assert_eq!(counted, traffic.held());
    }
}
