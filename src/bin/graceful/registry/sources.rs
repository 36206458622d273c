//! The settings of a registry out of where they come from: a flag counts more than a variable of the
//! environment, a variable more than the file, the file more than the default.
//!
//! Everything that is wrong is found at once, also what another source overrules: it is a mistake all the
//! same, which would show on the day when the other source goes.

use super::nearest::{distance, nearest};
use super::options::{Chosen, Setting};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// With which every variable of this program's registry begins.
const PREFIX: &str = "GRACEFUL_REGISTRY_";
/// Variables that differ from one of ours in so few letters are meant to be it. Others are not ours: the
/// client has some, and Kubernetes makes some of the names of services.
const SLIPS_MAX: usize = 2;

/// What was said, as it was said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// The file, and what is in it.
    pub(super) file: Option<(PathBuf, String)>,
    pub(super) environment: BTreeMap<String, String>,
    /// By the name of the setting.
    pub(super) flags: BTreeMap<String, String>,
}

/// Who says what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

/// A mistake in what was said, and what is accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mistake {
    #[error("{name}: {given} ({said_by}) is not valid: accepted is {accepted}")]
    Value { name: &'static str, given: String, said_by: Source, accepted: String },
    #[error("{}: there is no setting {key:?}: the nearest is {nearest:?}", file.display())]
    Key { file: PathBuf, key: String, nearest: &'static str },
    #[error("there is no variable {given}: the nearest is {nearest}")]
    Variable { given: String, nearest: String },
    #[error("{}: {message}", file.display())]
    Toml { file: PathBuf, message: String },
    #[error("{by} needs {needed}")]
    Incomplete { by: &'static str, needed: &'static str },
}

/// What holds, and who says so, in the order of the list.
#[derive(Debug)]
pub(super) struct Effective {
    pub(super) chosen: Chosen,
    sources: Vec<Source>,
}

impl Effective {
    /// Lays the sources over each other.
    ///
    /// # Errors
    /// With every mistake in them.
    pub(super) fn new(list: &[Setting], said: &Said) -> Result<Self, Vec<Mistake>> {
        let (mut mistakes, mut chosen) = (Vec::new(), Chosen::default());
        let (file, entries) = match &said.file {
            Some((file, text)) => (file.clone(), entries(list, file, text, &mut mistakes)),
            None => (PathBuf::new(), BTreeMap::new()),
        };
        mistakes.extend(misspelt(list, said));
        let mut sources = Vec::new();
        for setting in list {
            let (name, variable) = (setting.name, setting.variable());
            let from_file = entries.get(name).map(|text| (text.as_str(), Source::File(file.clone())));
            // An empty variable says nothing: that is how one takes a variable back in many places.
            let variable_says = said.environment.get(&variable).filter(|text| !text.trim().is_empty());
            let from_variable = variable_says.map(|text| (text.as_str(), Source::Variable(variable)));
            let from_flag =
                said.flags.get(name).map(|text| (text.as_str(), Source::Flag(format!("--{name}"))));
            let mut source = Source::Default;
            for (text, said_by) in [from_file, from_variable, from_flag].into_iter().flatten() {
                if setting.place.put(&mut chosen, text) {
                    source = said_by;
                } else {
                    let given = if setting.secret { "what is given".to_owned() } else { format!("{text:?}") };
                    let accepted = setting.place.accepted();
                    mistakes.push(Mistake::Value { name, given, said_by, accepted });
                }
            }
            sources.push(source);
        }
        if mistakes.is_empty() { Ok(Self { chosen, sources }) } else { Err(mistakes) }
    }

    /// What holds as a file of settings, each line with who says so.
    pub(super) fn shown(&self, list: &[Setting]) -> String {
        let mut chosen = self.chosen.clone();
        let lines = list.iter().zip(&self.sources).map(|(setting, source)| {
            let name = setting.name;
            let line = match setting.shown(&mut chosen) {
                Some(value) => format!("{name} = {value}"),
                None => format!("# {name} is not set"),
            };
            format!("{line:<46} # {source}\n")
        });
        lines.collect()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// The values of a file by the names of their settings, as text.
fn entries(
    list: &[Setting],
    file: &Path,
    text: &str,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<&'static str, String> {
    let table = text.parse().unwrap_or_else(|error: toml::de::Error| {
        mistakes.push(Mistake::Toml { file: file.to_owned(), message: error.to_string() });
        Table::new()
    });
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        let Some(setting) = list.iter().find(|setting| setting.name == key) else {
            let nearest = nearest(&key, list.iter().map(|setting| setting.name)).unwrap_or_default();
            mistakes.push(Mistake::Key { file: file.to_owned(), key, nearest });
            continue;
        };
        let kind = value.type_str();
        if let Some(text) = as_text(value) {
            entries.insert(setting.name, text);
        } else {
            let (said_by, accepted) = (Source::File(file.to_owned()), setting.place.accepted());
            let (name, given) = (setting.name, format!("of type {kind}"));
            mistakes.push(Mistake::Value { name, given, said_by, accepted });
        }
    }
    entries
}

/// The text that a flag would be given; what no flag can say is what no setting takes.
fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

/// Variables that look like one of ours and are none.
fn misspelt(list: &[Setting], said: &Said) -> Vec<Mistake> {
    let known: Vec<String> = list.iter().map(Setting::variable).collect();
    let given = said.environment.keys().filter(|name| name.starts_with(PREFIX) && !known.contains(name));
    let slip = |given: &String| {
        let nearest = nearest(given, known.iter().map(String::as_str))?.to_owned();
        let meant = distance(given, &nearest) <= SLIPS_MAX;
        meant.then(|| Mistake::Variable { given: given.clone(), nearest })
    };
    given.filter_map(slip).collect()
}

#[cfg(test)]
mod tests {
    use super::super::options::ALL;
    use super::*;
    use std::time::Duration;

    fn said(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Said {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        let file = Some(("registry.toml".into(), file.to_owned()));
        Said { file, environment: pairs(environment), flags: pairs(flags) }
    }

    fn mistakes(said: &Said) -> Vec<String> {
        Effective::new(ALL, said).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
        let file = "http-port = 1\ngrpc-port = 2\nconnections-max = 3\nno-auth = true\nbind = '::1'";
        let environment =
            [("GRACEFUL_REGISTRY_HTTP_PORT", "4"), ("GRACEFUL_REGISTRY_GRPC_PORT", " 5 "), ("RUST_LOG", "x")];
        let environment = [&environment[..], &[("GRACEFUL_REGISTRY_CONNECTIONS_MAX", " ")]].concat();
        let flags = [("http-port", "6"), ("metadata-kept-seconds", "7")];
        let effective = Effective::new(ALL, &said(file, &environment, &flags)).unwrap();
        let settings = &effective.chosen.settings;
        assert_eq!((settings.http_port, settings.grpc_port, settings.connections_max), (6, Some(5), 3));
        assert_eq!(settings.metadata_kept_for, Duration::from_secs(7));
        assert!(settings.no_auth && settings.bind.is_ipv6());
        let shown = effective.shown(ALL);
        for (line, source) in [
            ("http-port = 6", "--http-port"),
            ("grpc-port = 5", "GRACEFUL_REGISTRY_GRPC_PORT"),
            ("connections-max = 3", "registry.toml"),
            ("metadata-chars-max = 65536", "default"),
            ("# data-dir is not set", "default"),
        ] {
            let found = shown
                .lines()
                .find(|shown| shown.starts_with(line))
                .unwrap_or_else(|| panic!("{line}: {shown}"));
            assert!(found.ends_with(&format!(" # {source}")), "{found}");
        }
        let again = Effective::new(ALL, &said(&shown, &[], &[])).unwrap();
        assert_eq!(again.shown(ALL).replace("registry.toml", "-").lines().count(), ALL.len());
        assert_eq!(again.chosen.settings.http_port, 6, "what is shown is a file of settings");
    }

    #[test]
    fn every_mistake_is_named_with_who_made_it_and_what_is_accepted() {
        let file = "http-prot = 1\nconnections-max = 0\nno-auth = 'yes'\ndata-dir = 7.5\nbind = ['::1']";
        let environment = [
            ("GRACEFUL_REGISTRY_HTTP_PORT", "70000"),
            ("GRACEFUL_REGISTRY_BIMD", "::1"),
            ("GRACEFUL_REGISTRY_PORT", "tcp://10.0.0.1:8848"), // Kubernetes makes it of a service's name.
        ];
        let found = mistakes(&said(file, &environment, &[("log-format", "xml")]));
        assert_eq!(
            found,
            [
                "bind: of type array (registry.toml) is not valid: accepted is an IP address",
                "data-dir: of type float (registry.toml) is not valid: accepted is a path",
                r#"registry.toml: there is no setting "http-prot": the nearest is "http-port""#,
                "there is no variable GRACEFUL_REGISTRY_BIMD: the nearest is GRACEFUL_REGISTRY_BIND",
                r#"http-port: "70000" (GRACEFUL_REGISTRY_HTTP_PORT) is not valid: accepted is 0 to 65535"#,
                r#"no-auth: "yes" (registry.toml) is not valid: accepted is true or false"#,
                r#"connections-max: "0" (registry.toml) is not valid: accepted is 1 to 1000000"#,
                r#"log-format: "xml" (--log-format) is not valid: accepted is text or json"#,
            ]
        );
    }

    #[test]
    fn a_file_that_is_no_toml_is_refused_with_its_line() {
        let found = mistakes(&said("http-port = 1\nbind = ", &[], &[]));
        assert!(found[0].starts_with("registry.toml: TOML parse error at line 2"), "{found:?}");
    }

    #[test]
    fn a_secret_is_neither_shown_nor_repeated() {
        let list = [Setting { name: "http-port", secret: true, ..port() }];
        let effective = Effective::new(&list, &said("http-port = 4711", &[], &[])).unwrap();
        assert!(effective.shown(&list).starts_with("http-port = \"(secret)\""));
        let wrong = Effective::new(&list, &said("http-port = 'hunter2'", &[], &[])).unwrap_err();
        assert!(!wrong[0].to_string().contains("hunter2"), "{}", wrong[0]);
    }

    fn port() -> Setting {
        let place = super::super::place::Place::Port(|chosen| &mut chosen.settings.http_port);
        Setting { name: "", place, about: "", secret: false }
    }
}
