//! Lengths of time that may be set: their ranges, and how one that is refused is named.

use super::super::error::InvalidSetting;
use super::environment::{Environment, said};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A length of time that may be set.
pub(super) struct Span {
    pub(super) names: [&'static str; 2],
    pub(super) accepted: RangeInclusive<Duration>,
    pub(super) default: Duration,
}

/// A length of time that holds.
pub(super) struct Held {
    pub(super) span: Duration,
    /// Its setting's name in the builder.
    pub(super) setting: &'static str,
    /// By which name it was given; nothing when it is the default.
    pub(super) given: Option<&'static str>,
}

impl Span {
    pub(super) fn said<F: Fn(&str) -> Option<String>>(
        &self,
        given: Option<Duration>,
        environment: &Environment<F>,
    ) -> Result<Held, InvalidSetting> {
        let (first, last) = (*self.accepted.start(), *self.accepted.end());
        let [setting, _] = self.names;
        let range = format!("{} to {} seconds", first.as_secs_f64(), last.as_secs_f64());
        let Some((span, name)) = said(given, self.names, |name| environment.seconds(name, &range))? else {
            return Ok(Held { span: self.default, setting, given: None });
        };
        if self.accepted.contains(&span) {
            return Ok(Held { span, setting, given: Some(name) });
        }
        let accepted = format_args!("{} to {}", Written(first), Written(last));
        Err(InvalidSetting::new(name, Written(span), accepted))
    }
}

impl Held {
    /// As whoever gave it knows it.
    pub(super) fn name(&self) -> &'static str {
        self.given.unwrap_or(self.setting)
    }

    /// Refuses this, or the `limit` where that alone was given: nobody looks for a mistake in what they have
    /// not said.
    pub(super) fn below(&self, limit: &Self, limit_called: &str) -> Result<(), InvalidSetting> {
        let (own, other) = (Written(self.span), Written(limit.span));
        match (self.given, limit.given) {
            _ if self.span < limit.span => Ok(()),
            (None, Some(name)) => {
                let accepted = format_args!("more than the {}, {own}", self.setting);
                Err(InvalidSetting::new(name, other, accepted))
            }
            (Some(_), _) | (None, None) => {
                let accepted = format_args!("less than {limit_called}, {other}");
                Err(InvalidSetting::new(self.name(), own, accepted))
            }
        }
    }
}

/// A length of time as people write it: `0 s`, `100 ms`, `25 s`.
pub(super) struct Written(pub(super) Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(span) = self;
        match (span.as_secs(), span.subsec_nanos()) {
            (whole, 0) => write!(f, "{whole} s"),
            (0, nanos) if nanos % 1_000_000 == 0 => write!(f, "{} ms", nanos / 1_000_000),
            _ => write!(f, "{} s", span.as_secs_f64()),
        }
    }
}
