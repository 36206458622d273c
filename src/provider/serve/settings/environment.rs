//! The variables of the process: each kind of value is read in one way.

use super::super::error::InvalidSetting;
use super::Port;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What variables take that switch something.
const YES_OR_NO: &str = "`true` or `false`";
/// What variables take that say where a port is.
const PORT: &str = "IP:PORT, or `off`";

/// The variables of the process, or those of a test.
pub(super) struct Environment<F>(pub(super) F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// What a variable says, without the blanks around it; one that is empty says nothing.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        let text = (self.0)(name)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn parse<T: FromStr>(
        &self,
        name: &'static str,
        accepted: impl fmt::Display,
    ) -> Result<Option<T>, InvalidSetting> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| InvalidSetting::new(name, &text, accepted))
    }

    pub(super) fn switch(&self, name: &'static str) -> Result<Option<bool>, InvalidSetting> {
        self.parse(name, YES_OR_NO)
    }

    pub(super) fn port(&self, name: &'static str) -> Result<Option<Port>, InvalidSetting> {
        match self.text(name) {
            Some(text) if text == "off" => Ok(Some(Port::Off)),
            _ => Ok(self.parse(name, PORT)?.map(Port::At)),
        }
    }

    /// A span in seconds, with or without a fraction.
    pub(super) fn seconds(
        &self,
        name: &'static str,
        accepted: impl fmt::Display,
    ) -> Result<Option<Duration>, InvalidSetting> {
        let Some(seconds) = self.parse::<f64>(name, &accepted)? else { return Ok(None) };
        let span = Duration::try_from_secs_f64(seconds);
        span.map(Some).map_err(|_| InvalidSetting::new(name, seconds, accepted))
    }
}

/// A value, and by which name it was given.
pub(super) type Said<T> = (T, &'static str);

/// What code gives, else what the environment says; with the name of whoever it was.
pub(super) fn said<T>(
    given: Option<T>,
    [method, variable]: [&'static str; 2],
    read: impl FnOnce(&'static str) -> Result<Option<T>, InvalidSetting>,
) -> Result<Option<Said<T>>, InvalidSetting> {
    match given {
        Some(given) => Ok(Some((given, method))),
        None => Ok(read(variable)?.map(|read| (read, variable))),
    }
}
