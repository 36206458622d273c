//! How long each part of the way out may take.

use super::super::error::InvalidSetting;
use super::ProviderBuilder;
use super::environment::Environment;
use super::span::{Held, Span, Written};
use std::time::Duration;

const QUIET_PERIOD: Span = Span {
    names: ["quiet_period", "GRACEFUL_QUIET_PERIOD"],
    accepted: Duration::from_millis(10)..=Duration::from_secs(60),
    default: Duration::from_millis(500),
};
const LAME_DUCK_MAX: Span = Span {
    names: ["lame_duck_max", "GRACEFUL_LAME_DUCK_MAX"],
    accepted: Duration::ZERO..=Duration::from_secs(600),
    default: Duration::from_secs(10),
};
const DRAIN_TIMEOUT: Span = Span {
    names: ["drain_timeout", "GRACEFUL_DRAIN_TIMEOUT"],
    accepted: Duration::from_millis(100)..=Duration::from_secs(3600),
    default: Duration::from_secs(25),
};
const LEAVE_FADE: Span = Span {
    names: ["leave_fade", "GRACEFUL_LEAVE_FADE"],
    accepted: Duration::ZERO..=Duration::from_secs(600),
    default: Duration::ZERO,
};
const CACHE_TIME: Span = Span {
    names: ["cache_time", "GRACEFUL_CACHE_TIME"],
    accepted: Duration::ZERO..=Duration::from_secs(600),
    default: Duration::from_secs(30),
};

/// How long the platform waits between the first signal and the end.
const GRACE_PERIOD: &str = "GRACEFUL_GRACE_PERIOD";

/// How long each part of the way out may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::provider::serve) struct Pace {
    pub(in crate::provider::serve) quiet_period: Duration,
    pub(in crate::provider::serve) lame_duck_max: Duration,
    pub(in crate::provider::serve) drain_timeout: Duration,
    pub(in crate::provider::serve) leave_fade: Duration,
    pub(in crate::provider::serve) cache_time: Duration,
}

impl Pace {
    /// From the moment an instance is asked to leave until it may go at the latest.
    pub(in crate::provider::serve) fn left_within(&self) -> Duration {
        self.leave_fade + self.lame_duck_max
    }

    /// From the first signal to the deadline of all.
    pub(in crate::provider::serve) fn ended_within(&self) -> Duration {
        self.leave_fade + self.drain_timeout
    }

    /// What code and environment say, as far as it goes together.
    pub(super) fn said<F: Fn(&str) -> Option<String>>(
        given: &ProviderBuilder,
        environment: &Environment<F>,
    ) -> Result<Self, InvalidSetting> {
        let quiet_period = QUIET_PERIOD.said(given.quiet_period, environment)?;
        let lame_duck_max = LAME_DUCK_MAX.said(given.lame_duck_max, environment)?;
        let drain_timeout = DRAIN_TIMEOUT.said(given.drain_timeout, environment)?;
        let cache_time = CACHE_TIME.said(given.cache_time, environment)?.span;
        let leave_fade = LEAVE_FADE.said(given.leave_fade, environment)?;
        if leave_fade.span.subsec_nanos() > 0 {
            let (name, accepted) = (leave_fade.name(), "whole seconds: tags carry no others");
            return Err(InvalidSetting::new(name, Written(leave_fade.span), accepted));
        }
        lame_duck_max.below(&drain_timeout, "the drain_timeout")?;
        // Or every way out would last to its limit, however quiet it is. A limit of 0 asks for no such wait.
        if quiet_period.given.is_some() && !lame_duck_max.span.is_zero() {
            quiet_period.below(&lame_duck_max, "the lame_duck_max")?;
        }
        if let Some(span) = environment.seconds(GRACE_PERIOD, "a number of seconds from 0 on")? {
            let grace_period = Held { span, setting: GRACE_PERIOD, given: Some(GRACE_PERIOD) };
            drain_timeout.below(&grace_period, GRACE_PERIOD)?;
            let rest = Held { span: span.saturating_sub(drain_timeout.span), ..grace_period };
            leave_fade.below(&rest, "what the drain_timeout leaves of GRACEFUL_GRACE_PERIOD")?;
        }
        let [quiet_period, lame_duck_max, drain_timeout, leave_fade] =
            [quiet_period, lame_duck_max, drain_timeout, leave_fade].map(|it| it.span);
        Ok(Self { quiet_period, lame_duck_max, drain_timeout, leave_fade, cache_time })
    }
}
