//! Every setting of `graceful registry`, once: its flag, its variable, its key in a file, what it takes and
//! what it is for. Help, `--check-config` and the table in `docs/settings.md` come from this list.

use super::place::Place;
use super::sources::Mistake;
use crate::log;
use std::path::PathBuf;
use tower_graceful::registry::{Settings, TlsFiles, UserName};

/// What was chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    /// All but `tls` and `admin`, each of which takes two settings to be.
    pub(super) settings: Settings,
    pub(super) admin_user: Option<UserName>,
    pub(super) admin_password_file: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) tls_client_ca: Option<PathBuf>,
    pub(super) log_format: log::Format,
}

impl Chosen {
    /// The settings as a whole.
    ///
    /// # Errors
    /// When one is there without another that it needs.
    pub(super) fn settings(&self) -> Result<Settings, Mistake> {
        let Self { settings, tls_cert, tls_key, tls_client_ca, .. } = self.clone();
        let tls = match (tls_cert, tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, client_ca: tls_client_ca }),
            (None, None) if tls_client_ca.is_none() => None,
            _ => return Err(Mistake::Incomplete { needed: "both `tls-cert` and `tls-key`", by: "TLS" }),
        };
        Ok(Settings { tls, ..settings })
    }
}

/// One setting.
pub(super) struct Setting {
    /// Its key in a file, and with `--` before it its flag.
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// What it is for, in one sentence.
    pub(super) about: &'static str,
    /// Whether nobody is shown its value.
    pub(super) secret: bool,
}

const fn setting(name: &'static str, place: Place, about: &'static str) -> Setting {
    Setting { name, place, about, secret: false }
}

/// The longest time that something may be kept: a year.
const KEPT_SECONDS_MAX: u64 = 31_536_000;
/// A month; a token that lasts for longer is a password.
const TOKEN_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;
/// More connections than any kernel gives one process.
const CONNECTIONS_MAX: usize = 1_000_000;
/// No platform waits longer between its two signals.
const SHUTDOWN_SECONDS_MAX: u64 = 3600;
/// A path with some parameters.
const HEAD_BYTES_MIN: u32 = 8 * 1024;
/// Held for each connection that sends one.
const HEAD_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// One instance without metadata.
const BYTES_MIN: usize = 1024;
/// Held for each request under way.
const BYTES_MAX: usize = 1024 * 1024 * 1024;
/// More than any machine has memory for.
const INSTANCES_MAX: usize = 1_000_000_000;
/// What one body takes.
const METADATA_CHARS_MAX: usize = 1_000_000;

/// The id that a namespace is given whose creator gives none.
const NAME_BYTES_MIN: usize = 36;
/// What the longest kind of names may have.
const NAME_BYTES_MAX: usize = 512;
/// More than any list has that is worth a look.
const PAGE_SIZE_MAX: usize = 1_000_000;

/// All of them, in the order in which they are shown.
pub(super) static ALL: &[Setting] = &[
    setting(
        "bind",
        Place::Ip(|chosen| &mut chosen.settings.bind),
        "Address to listen on; one that other machines can reach needs users, or `no-auth`.",
    ),
    setting(
        "http-port",
        Place::Port(|chosen| &mut chosen.settings.http_port),
        "Port of the HTTP API; 0 takes any.",
    ),
    setting(
        "grpc-port",
        Place::PortIfAny(|chosen| &mut chosen.settings.grpc_port),
        "Port of the gRPC API; 0 takes any. Not set: the HTTP port + 1000, where clients look for it.",
    ),
    setting(
        "data-dir",
        Place::PathIfAny(|chosen| &mut chosen.settings.data_dir),
        "Directory that belongs to this registry alone while it runs, made if it is absent. It holds what must be there after a restart: persistent instances, services that were created, what operators set, users. Not set: these are lost with the process.",
    ),
    setting(
        "tls-cert",
        Place::PathIfAny(|chosen| &mut chosen.tls_cert),
        "PEM file with the certificate of this registry and those between it and the root; both ports speak TLS then, and nothing else. Looked at every 5 s: what has changed counts from the next connection on. Not set: no TLS.",
    ),
    setting(
        "tls-key",
        Place::PathIfAny(|chosen| &mut chosen.tls_key),
        "PEM file with the private key of the certificate.",
    ),
    setting(
        "tls-client-ca",
        Place::PathIfAny(|chosen| &mut chosen.tls_client_ca),
        "PEM file with the roots by which clients must have a certificate, on both ports (HTTP probes too). Not set: no client is asked.",
    ),
    setting(
        "admin-user",
        Place::UserIfAny(|chosen| &mut chosen.admin_user),
        "First administrator, made if there are no users. Its password is read from `admin-password-file`, or from the variable `GRACEFUL_REGISTRY_ADMIN_PASSWORD`.",
    ),
    setting(
        "admin-password-file",
        Place::PathIfAny(|chosen| &mut chosen.admin_password_file),
        "File with the password of the first administrator, in its first line.",
    ),
    setting(
        "token-seconds",
        Place::Seconds(1..=TOKEN_SECONDS_MAX, |chosen| &mut chosen.settings.token_ttl),
        "How long the token of a login counts.",
    ),
    setting(
        "no-auth",
        Place::Switch(|chosen| &mut chosen.settings.no_auth),
        "Let everyone who reaches the ports read and change everything.",
    ),
    setting(
        "console-hosts",
        Place::Names(|chosen| &mut chosen.settings.console_hosts),
        "Names under which browsers come to the registry while nobody is asked who they are; addresses and `localhost` need no mention. Not set: none.",
    ),
    setting(
        "metadata-chars-max",
        Place::Count(0..=METADATA_CHARS_MAX, |chosen| &mut chosen.settings.metadata_chars_max),
        "Longest metadata of an instance, keys and values together, in characters.",
    ),
    setting(
        "name-bytes-max",
        Place::Count(NAME_BYTES_MIN..=NAME_BYTES_MAX, |chosen| &mut chosen.settings.name_bytes_max),
        "Longest name of a service, group, cluster, namespace or user that is brought, in bytes; the rule of its kind holds besides (64, of groups 128, of services 512). What is there already stays and can be taken off; keys of metadata count among `metadata-chars-max`.",
    ),
    setting(
        "metadata-kept-seconds",
        Place::Seconds(0..=KEPT_SECONDS_MAX, |chosen| &mut chosen.settings.metadata_kept_for),
        "How long what operators set on an instance is kept after the instance is gone.",
    ),
    setting(
        "empty-services-kept-seconds",
        Place::Seconds(0..=KEPT_SECONDS_MAX, |chosen| &mut chosen.settings.empty_services_kept_for),
        "How long a service that nobody created by name is remembered after its last instance.",
    ),
    setting(
        "connections-max",
        Place::Count(1..=CONNECTIONS_MAX, |chosen| &mut chosen.settings.connections_max),
        "Connections that each port serves at once; one more is answered 503, or GOAWAY over HTTP/2, and closed; with TLS, and in a flood, it is only closed.",
    ),
    setting(
        "connections-per-address-max",
        Place::Count(1..=CONNECTIONS_MAX, |chosen| &mut chosen.settings.connections_per_address_max),
        "Connections that each port serves at once from one IP address.",
    ),
    setting(
        "head-bytes-max",
        Place::Bytes(HEAD_BYTES_MIN..=HEAD_BYTES_MAX, |chosen| &mut chosen.settings.head_bytes_max),
        "Bytes of the head of a request; more is answered 431.",
    ),
    setting(
        "body-bytes-max",
        Place::Count(BYTES_MIN..=BYTES_MAX, |chosen| &mut chosen.settings.body_bytes_max),
        "Bytes of the body of a request over HTTP; more is answered 413.",
    ),
    setting(
        "message-bytes-max",
        Place::Count(BYTES_MIN..=BYTES_MAX, |chosen| &mut chosen.settings.message_bytes_max),
        "Bytes of a message over gRPC; more is answered `OUT_OF_RANGE`.",
    ),
    setting(
        "requests-max",
        Place::Count(1..=CONNECTIONS_MAX, |chosen| &mut chosen.settings.requests_max),
        "Requests under way at once, over HTTP and gRPC together; one more is answered 503 or `RESOURCE_EXHAUSTED`.",
    ),
    setting(
        "instances-max",
        Place::Count(1..=INSTANCES_MAX, |chosen| &mut chosen.settings.instances_max),
        "Instances in all, one that several clients publish counted for each.",
    ),
    setting(
        "instances-per-service-max",
        Place::Count(1..=INSTANCES_MAX, |chosen| &mut chosen.settings.instances_per_service_max),
        "Instances of one service.",
    ),
    setting(
        "instances-per-client-max",
        Place::Count(1..=INSTANCES_MAX, |chosen| &mut chosen.settings.instances_per_client_max),
        "Instances that one connection publishes in all services together.",
    ),
    setting(
        "services-per-client-max",
        Place::Count(1..=INSTANCES_MAX, |chosen| &mut chosen.settings.services_per_client_max),
        "Services that one connection may publish in, and follow.",
    ),
    setting(
        "page-size-max",
        Place::Count(1..=PAGE_SIZE_MAX, |chosen| &mut chosen.settings.page_size_max),
        "Entries of the largest page of a list; whoever asks for more is given this many, and told how many pages that makes.",
    ),
    setting(
        "shutdown-seconds",
        Place::Seconds(1..=SHUTDOWN_SECONDS_MAX, |chosen| &mut chosen.settings.closed_within),
        "How long what is under way at the signal may take, before it is cut; a second signal cuts at once.",
    ),
    setting(
        "log-format",
        Place::LogFormat(|chosen| &mut chosen.log_format),
        "How the log is written to stderr: lines for people, or one JSON object a line.",
    ),
];

impl Setting {
    /// Its variable in the environment.
    pub(super) fn variable(&self) -> String {
        format!("GRACEFUL_REGISTRY_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// The present value as TOML writes it; nothing where there is none.
    pub(super) fn shown(&self, chosen: &mut Chosen) -> Option<String> {
        let shown = self.place.show(chosen);
        if self.secret { shown.map(|_| "\"(secret)\"".to_owned()) } else { shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_documentation_is_this_list() {
        let documented = include_str!("../../../../docs/settings.md");
        let (_, section) = documented.split_once("## Registry: ").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `--")).collect();
        let wanted: Vec<String> = ALL.iter().map(row).collect();
        assert_eq!(rows, wanted, "the table should be\n{}", wanted.join("\n"));
    }

    fn row(setting: &Setting) -> String {
        let value = setting.place.value_name().map(|name| format!(" {name}")).unwrap_or_default();
        let default = setting.place.show(&mut Chosen::default());
        let default = default.map_or_else(|| "not set".to_owned(), |default| format!("`{default}`"));
        let (name, variable) = (setting.name, setting.variable());
        let (accepted, about) = (setting.place.accepted(), setting.about);
        format!("| `--{name}{value}` | `{variable}` | {default} | {accepted} | {about} |")
    }

    #[test]
    fn every_default_is_among_what_is_accepted() {
        for setting in ALL {
            let mut chosen = Chosen::default();
            if let Some(shown) = setting.place.show(&mut chosen) {
                assert!(setting.place.put(&mut chosen, shown.trim_matches('"')), "{}", setting.name);
            }
        }
    }
}
