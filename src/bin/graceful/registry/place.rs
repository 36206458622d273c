//! What a setting takes, and where its value goes: reading, showing and the words for what is accepted, from
//! one description.

use super::options::Chosen;
use crate::log;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tower_graceful::registry::UserName;

/// Where a value goes, by what it is.
pub(super) enum Place {
    Switch(At<bool>),
    Count(RangeInclusive<usize>, At<usize>),
    Bytes(RangeInclusive<u32>, At<u32>),
    /// Whole seconds.
    Seconds(RangeInclusive<u64>, At<Duration>),
    /// 0 takes any.
    Port(At<u16>),
    /// As [`Place::Port`], where nothing means that it follows from another one.
    PortIfAny(At<Option<u16>>),
    Ip(At<IpAddr>),
    PathIfAny(At<Option<PathBuf>>),
    /// Host names with commas between them.
    Names(At<Vec<String>>),
    UserIfAny(At<Option<UserName>>),
    LogFormat(At<log::Format>),
}

/// The field that holds the value.
pub(super) type At<T> = fn(&mut Chosen) -> &mut T;

impl Place {
    /// Puts `text` where it belongs, or says that it is not what is accepted.
    pub(super) fn put(&self, chosen: &mut Chosen, text: &str) -> bool {
        let text = text.trim();
        match self {
            Self::Switch(at) => put(at(chosen), text.parse().ok()),
            Self::Count(range, at) => put(at(chosen), within(range, text)),
            Self::Bytes(range, at) => put(at(chosen), within(range, text)),
            Self::Seconds(range, at) => put(at(chosen), within(range, text).map(Duration::from_secs)),
            Self::Port(at) => put(at(chosen), text.parse().ok()),
            Self::PortIfAny(at) => put(at(chosen), text.parse().ok().map(Some)),
            Self::Ip(at) => put(at(chosen), text.parse().ok()),
            Self::PathIfAny(at) => put(at(chosen), (!text.is_empty()).then(|| Some(text.into()))),
            Self::Names(at) => put(at(chosen), host_names(text)),
            Self::UserIfAny(at) => put(at(chosen), text.parse().ok().map(Some)),
            Self::LogFormat(at) => put(at(chosen), log::Format::named(text)),
        }
    }

    /// The present value as TOML writes it; nothing where there is none.
    pub(super) fn show(&self, chosen: &mut Chosen) -> Option<String> {
        match self {
            Self::Switch(at) => Some(at(chosen).to_string()),
            Self::Count(_, at) => Some(at(chosen).to_string()),
            Self::Bytes(_, at) => Some(at(chosen).to_string()),
            Self::Seconds(_, at) => Some(at(chosen).as_secs().to_string()),
            Self::Port(at) => Some(at(chosen).to_string()),
            Self::PortIfAny(at) => at(chosen).map(|port| port.to_string()),
            Self::Ip(at) => Some(quoted(at(chosen))),
            Self::PathIfAny(at) => at(chosen).as_ref().map(|path| quoted(path.display())),
            Self::Names(at) => Some(at(chosen).join(",")).filter(|names| !names.is_empty()).map(quoted),
            Self::UserIfAny(at) => at(chosen).as_ref().map(quoted),
            Self::LogFormat(at) => Some(quoted(at(chosen).as_str())),
        }
    }

    /// What is accepted, in words.
    pub(super) fn accepted(&self) -> String {
        match self {
            Self::Switch(_) => "true or false".to_owned(),
            Self::Count(range, _) => from_to(range),
            Self::Bytes(range, _) => from_to(range),
            Self::Seconds(range, _) => from_to(range) + " seconds",
            Self::Port(_) | Self::PortIfAny(_) => from_to(&(0..=u16::MAX)),
            Self::Ip(_) => "an IP address".to_owned(),
            Self::PathIfAny(_) => "a path".to_owned(),
            Self::Names(_) => "host names with commas between them".to_owned(),
            Self::UserIfAny(_) => "1 to 64 of A-Z a-z 0-9 _ - . @".to_owned(),
            Self::LogFormat(_) => log::Format::ALL.map(log::Format::as_str).join(" or "),
        }
    }

    /// What stands for the value in the help; a switch needs none.
    pub(super) fn value_name(&self) -> Option<&'static str> {
        match self {
            Self::Switch(_) => None,
            Self::Count(..) | Self::Bytes(..) => Some("N"),
            Self::Seconds(..) => Some("S"),
            Self::Port(_) | Self::PortIfAny(_) => Some("PORT"),
            Self::Ip(_) => Some("IP"),
            Self::PathIfAny(_) => Some("PATH"),
            Self::Names(_) => Some("NAMES"),
            Self::UserIfAny(_) => Some("NAME"),
            Self::LogFormat(_) => Some("FORMAT"),
        }
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    *place = value;
    true
}

fn within<T: FromStr + PartialOrd>(range: &RangeInclusive<T>, text: &str) -> Option<T> {
    text.parse().ok().filter(|value| range.contains(value))
}

fn from_to<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("{} to {}", range.start(), range.end())
}

/// Host names as browsers write them.
fn host_names(text: &str) -> Option<Vec<String>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let name = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        (!name.is_empty() && name.bytes().all(plain)).then_some(name)
    };
    text.split(',').map(name).collect()
}

/// Text as TOML has it. The escapes of JSON are among TOML's, which also wants the one character that JSON
/// leaves as it is.
fn quoted(text: impl Display) -> String {
    serde_json::Value::from(text.to_string()).to_string().replace('\u{7f}', "\\u007F")
}
