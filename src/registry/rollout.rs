//! How the instances of a service start and leave, as far as operators set it for all of them at once.
//!
//! Pure. Said in the service's metadata, which the registry lays over what each instance registers; providers
//! follow it while they run, and consumers go by it at once; the delay before the registration is for those who
//! are yet to start. What is not set is as each instance registers it.

use crate::model::{Metadata, WarmUp, key};
use crate::protocol::form::{Form, InvalidForm};
use crate::provider::serve::delay::DELAY_MAX;
use std::fmt::Display;
use std::time::Duration;

/// The keys of a service's metadata that this is about.
pub(crate) const KEYS: [&str; 5] =
    [key::WARM_UP, key::WARM_UP_EXPONENT, key::WARM_UP_FLOOR, key::NOTICE, key::DELAY];

/// What is set; the rest is left to each instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rollout {
    /// How long the warm-up takes, up to a day; zero is none.
    pub(crate) warm_up: Option<Duration>,
    /// How the warm-up rises, 0.1 to 10.
    pub(crate) exponent: Option<f64>,
    /// The least part of its weight that an instance takes, above 0 and up to 1.
    pub(crate) floor: Option<f64>,
    /// Whether instances tell their consumers when they leave.
    pub(crate) notices: Option<bool>,
    /// How long after its start an instance registers, up to ten minutes.
    pub(crate) delay: Option<Duration>,
}

impl Rollout {
    /// Reads `warmup` in seconds, `exponent`, `floor`, `notices`, and `delay` in seconds.
    ///
    /// # Errors
    /// With the first one that is out of its range.
    pub(crate) fn from_form(form: &Form) -> Result<Self, InvalidForm> {
        let day = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).ok().filter(|window| WarmUp::new(*window).is_ok())
        };
        let warm_up = number(form, "warmup", "a number of seconds from 0, for none, to 86400", day)?;
        let curve = |changed: Result<WarmUp, _>, number| changed.is_ok().then_some(number);
        let exponent = number(form, "exponent", "a number from 0.1 to 10", |exponent| {
            curve(WarmUp::default().with_exponent(exponent), exponent)
        })?;
        // Zero needs instances that are warmed up by the time alone, and others would stay cold for ever.
        let floor = number(form, "floor", "a number above 0 and up to 1", |floor| {
            curve(WarmUp::default().with_floor(floor), floor)
        })?;
        let notices = form.flag("notices")?;
        let delay = number(form, "delay", "a number of seconds from 0 to 600", |seconds| {
            Duration::try_from_secs_f64(seconds).ok().filter(|delay| *delay <= DELAY_MAX)
        })?;
        Ok(Self { warm_up, exponent, floor, notices, delay })
    }

    /// What a service's metadata say.
    #[cfg(feature = "console")]
    pub(crate) fn from_metadata(metadata: &Metadata) -> Self {
        let seconds = |key| Duration::try_from_secs_f64(metadata.parse(key)?).ok();
        Self {
            warm_up: seconds(key::WARM_UP),
            exponent: metadata.parse(key::WARM_UP_EXPONENT),
            floor: metadata.parse(key::WARM_UP_FLOOR),
            notices: metadata.parse(key::NOTICE),
            delay: seconds(key::DELAY),
        }
    }

    /// A service's metadata with this in the place of what they said about it; all else stays.
    pub(crate) fn onto(&self, metadata: &Metadata) -> Metadata {
        let others = metadata.iter().filter(|(key, _)| !KEYS.contains(key));
        let others = others.map(|(key, value)| (key.to_owned(), value.to_owned()));
        others.chain(self.words().into_iter().map(|(key, value)| (key.to_owned(), value))).collect()
    }

    /// What is set, by the keys of metadata.
    pub(crate) fn words(&self) -> Vec<(&'static str, String)> {
        let text = |value: Option<&dyn Display>| value.map(ToString::to_string);
        let [seconds, delay] = [self.warm_up, self.delay].map(|span| span.map(|span| span.as_secs_f64()));
        let words = [
            (key::WARM_UP, text(seconds.as_ref().map(|seconds| seconds as _))),
            (key::WARM_UP_EXPONENT, text(self.exponent.as_ref().map(|exponent| exponent as _))),
            (key::WARM_UP_FLOOR, text(self.floor.as_ref().map(|floor| floor as _))),
            (key::NOTICE, text(self.notices.as_ref().map(|notices| notices as _))),
            (key::DELAY, text(delay.as_ref().map(|seconds| seconds as _))),
        ];
        words.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// A parameter that is a number of which `accept` makes something, if given.
fn number<T>(
    form: &Form,
    name: &'static str,
    accepted: &'static str,
    accept: impl FnOnce(f64) -> Option<T>,
) -> Result<Option<T>, InvalidForm> {
    let Some(text) = form.text(name) else { return Ok(None) };
    let number = text.parse().ok().and_then(accept);
    number.map(Some).ok_or_else(|| InvalidForm::value(name, text, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Rollout, InvalidForm> {
        Rollout::from_form(&Form::parse(query, b"").unwrap())
    }

    #[test]
    fn what_is_given_takes_the_place_of_what_was_said_and_the_rest_stays() {
        let before = Metadata::from_iter([("owner", "ann"), (key::WARM_UP, "300"), (key::NOTICE, "true")]);
        let rollout = read("warmup=60.5&exponent=1&floor=0.05&notices=&delay=2.5").unwrap();
        let after = rollout.onto(&before);
        let expected = [
            ("owner", "ann"),
            (key::WARM_UP, "60.5"),
            (key::WARM_UP_EXPONENT, "1"),
            (key::WARM_UP_FLOOR, "0.05"),
            (key::DELAY, "2.5"),
        ];
        assert_eq!(after, Metadata::from_iter(expected));
        #[cfg(feature = "console")]
        assert_eq!(Rollout::from_metadata(&after), rollout);
        assert_eq!(Rollout::default().onto(&after), Metadata::from_iter([("owner", "ann")]));
        let curve = WarmUp::from_metadata(&after).unwrap();
        assert_eq!(curve.window(), Duration::from_millis(60_500), "consumers read it");
    }

    #[test]
    fn what_is_out_of_its_range_is_refused_by_name_with_what_is_accepted() {
        assert_eq!(read("").unwrap(), Rollout::default());
        assert_eq!(read("warmup=0&notices=false").unwrap().warm_up, Some(Duration::ZERO));
        for (query, name) in [
            ("warmup=86401", "warmup"),
            ("warmup=-1", "warmup"),
            ("warmup=soon", "warmup"),
            ("warmup=NaN", "warmup"),
            ("exponent=0", "exponent"),
            ("exponent=11", "exponent"),
            ("floor=0", "floor"),
            ("floor=1.1", "floor"),
            ("notices=maybe", "notices"),
            ("delay=600.1", "delay"),
            ("delay=-1", "delay"),
        ] {
            let refused = read(query).unwrap_err();
            assert_eq!(refused.name(), Some(name), "{query}");
            assert!(refused.to_string().contains("accepted is"), "{refused}");
        }
    }
}
