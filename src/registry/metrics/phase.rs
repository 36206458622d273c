//! Where instances are in their lives, as far as the registry knows.

use crate::model::{Instance, UnixMillis};

/// Where one instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It gets its part of the traffic.
    Serving,
    /// Its warm-up has not begun or is not over.
    Warming,
    /// It has said that it leaves.
    Leaving,
    /// Its heartbeats stopped, or probes fail.
    Unhealthy,
    /// Somebody has said that it takes no traffic.
    Disabled,
}

/// How many instances are in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases([usize; Phase::ALL.len()]);

impl Phase {
    pub(crate) const ALL: [Self; 5] =
        [Self::Serving, Self::Warming, Self::Leaving, Self::Unhealthy, Self::Disabled];

    /// The phase of `instance` as readers are shown it: the first reason why it gets less than its part.
    pub(crate) fn of(instance: &Instance, now: UnixMillis) -> Self {
        let is_warm = |(curve, age): (crate::model::WarmUp, _)| curve.factor(age) >= 1.0;
        if !instance.enabled {
            Self::Disabled
        } else if !instance.healthy {
            Self::Unhealthy
        } else if instance.leaving().is_some() {
            Self::Leaving
        } else if instance.warm_up(now).is_some_and(|warm_up| !is_warm(warm_up)) {
            Self::Warming
        } else {
            Self::Serving
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Warming => "warming",
            Self::Leaving => "leaving",
            Self::Unhealthy => "unhealthy",
            Self::Disabled => "disabled",
        }
    }
}

impl Phases {
    /// Counts one more instance.
    pub(crate) fn count(&mut self, phase: Phase) {
        self.0[phase as usize] += 1;
    }

    /// How many are in `phase`.
    pub(crate) fn of(&self, phase: Phase) -> usize {
        self.0[phase as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_get_less_traffic_is_the_phase() {
        let plain = Instance::new("10.0.0.7:80".parse().unwrap());
        let now = UnixMillis::new(1_000_000);
        let with = |words: &[(&str, &str)]| {
            Phase::of(&plain.clone().with_metadata(words.iter().copied().collect()), now)
        };
        assert_eq!(with(&[]), Phase::Serving);
        let governed = [("graceful.version", "1"), ("graceful.epoch", "1"), ("graceful.warmup", "120")];
        assert_eq!(with(&governed), Phase::Warming, "the first request has not come");
        let begun = |at| [&governed[..], &[("graceful.warmup.start", at)]].concat();
        assert_eq!(with(&begun("900000")), Phase::Warming);
        assert_eq!(with(&begun("880000")), Phase::Serving);
        let leaving = [&begun("880000")[..], &[("graceful.leaving", "999000;20")]].concat();
        assert_eq!(with(&leaving), Phase::Leaving);
        assert_eq!(Phase::of(&Instance { healthy: false, ..plain.clone() }, now), Phase::Unhealthy);
        let both = Instance { healthy: false, enabled: false, ..plain };
        assert_eq!(Phase::of(&both, now), Phase::Disabled);
    }

    #[test]
    fn phases_are_counted_at_their_places() {
        for (place, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, place);
        }
    }
}
