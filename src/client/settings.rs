//! What a client is told about the registry and about itself, checked once.

use super::login::Credentials;
use super::servers::Server;
use super::snapshot_files::SnapshotFiles;
#[cfg(feature = "tls")]
use super::tls::{Tls, TlsConfig, TlsFiles};
use super::{DEFAULT_KEEP_EMPTY, DEFAULT_REQUEST_TIMEOUT, Nacos};
use crate::Clock;
use crate::model::{Metadata, Namespace, ServiceKey};
use crate::naming::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest time for one answer that can be set: beyond it a registry that is gone would go unnoticed.
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Longest time for which missing instances can be kept: beyond it nobody waits for them any more.
const KEEP_EMPTY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of metadata that Nacos accepts for an instance, keys and values together.
const METADATA_CHARS_MAX: usize = 1024;
/// The variable of the process that names a file with roots for TLS.
const TLS_CA: &str = "GRACEFUL_REGISTRY_TLS_CA";
/// The variable of the process that says whether the registry is told what happens.
const REPORTS: &str = "GRACEFUL_REPORTS";
/// Keys that a refusal of metadata names at most, largest first.
const NAMED_KEYS_MAX: usize = 8;

/// Makes a [`Nacos`]; begun by [`Nacos::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct NacosBuilder {
    servers: String,
    grpc_port: Option<u16>,
    namespace: String,
    app: String,
    request_timeout: Duration,
    keep_empty: Duration,
    snapshot_files: Option<PathBuf>,
    metadata_chars_max: usize,
    reports: Option<bool>,
    credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    #[cfg(feature = "tls")]
    tls_server_name: Option<String>,
}

impl NacosBuilder {
    pub(super) fn new(servers: &str) -> Self {
        Self {
            servers: servers.to_owned(),
            grpc_port: None,
            namespace: String::new(),
            app: String::new(),
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            keep_empty: DEFAULT_KEEP_EMPTY,
            snapshot_files: None,
            metadata_chars_max: METADATA_CHARS_MAX,
            reports: None,
            credentials: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            tls_server_name: None,
        }
    }

    /// The registry's gRPC port, at all its addresses. Default: the HTTP port of each + 1000.
    pub fn grpc_port(self, port: u16) -> Self {
        Self { grpc_port: Some(port), ..self }
    }

    /// The user as whom this client logs in, at the HTTP port of the server that it connects to. Default: what
    /// `GRACEFUL_REGISTRY_USER` says, with `GRACEFUL_REGISTRY_PASSWORD` or `GRACEFUL_REGISTRY_PASSWORD_FILE`;
    /// where nothing does, nobody.
    ///
    /// The token is renewed before it expires, and when the registry refuses it.
    pub fn user(self, name: &str, password: &str) -> Self {
        Self { credentials: Some(Credentials::given(name, password)), ..self }
    }

    /// As [`user`](Self::user), with a password that stands in a file, alone on its line: 1 to 4096 bytes. The
    /// file is read for each login, so that a password may change while the client runs.
    pub fn user_with_password_file(self, name: &str, file: impl Into<PathBuf>) -> Self {
        Self { credentials: Some(Credentials::with_file(name, file.into())), ..self }
    }

    /// Speaks TLS with the registry, on both its ports: [`TlsFiles`], or a `ClientConfig` of rustls (whose
    /// ALPN protocols are replaced by what each port speaks). Default: TLS with the roots in the file that
    /// `GRACEFUL_REGISTRY_TLS_CA` names; where it names none, no TLS.
    #[cfg(feature = "tls")]
    pub fn tls(self, tls: impl Into<TlsConfig>) -> Self {
        Self { tls: Some(tls.into()), ..self }
    }

    /// The DNS name or IP address that the registry's certificate must be for. Default: the host of the
    /// address that is dialled.
    #[cfg(feature = "tls")]
    pub fn tls_server_name(self, name: &str) -> Self {
        Self { tls_server_name: Some(name.to_owned()), ..self }
    }

    /// The namespace this client lives in: 1 to 64 of `A-Z a-z 0-9 _ -`. Default: `public`.
    pub fn namespace(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    /// Name of this application, as the registry's operators see it. Default: none.
    pub fn app(self, app: &str) -> Self {
        Self { app: app.to_owned(), ..self }
    }

    /// How long one answer of the registry is waited for: 1 ms to 60 s. Default: 3 s.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    /// How long instances are kept that are missing from an empty list without an order, and at most for how
    /// long (15 s) those that may not be back yet after a reconnect: a registry that has just restarted has
    /// forgotten everyone. The [module docs](super) have the whole rule. 0 s to 24 h. Default: 60 s; zero
    /// believes every list at once.
    pub fn keep_empty(self, keep: Duration) -> Self {
        Self { keep_empty: keep, ..self }
    }

    /// Keeps the last list of each followed service as a file in `directory`, which is made if it is not
    /// there, and starts from it when the registry cannot be reached within the request timeout: a
    /// subscription then resolves with the old list, which the first one of the registry that lists anyone
    /// replaces. Give each registry a directory of its own. Default: none.
    pub fn snapshot_files(self, directory: impl Into<PathBuf>) -> Self {
        Self { snapshot_files: Some(directory.into()), ..self }
    }

    /// Characters of metadata that are sent for an instance at most, keys and values together. Default:
    /// 1024, as in Nacos.
    pub fn metadata_chars_max(self, max: usize) -> Self {
        Self { metadata_chars_max: max, ..self }
    }

    /// Whether a registry of this crate is told what happens to this process' instances and in its balancers,
    /// and how many requests its instances take: one message a second at most, over the connection that there
    /// is. A registry that knows no reports is sent one for each connection. Default: what `GRACEFUL_REPORTS`
    /// says, else true.
    pub fn reports(self, reports: bool) -> Self {
        Self { reports: Some(reports), ..self }
    }

    /// Starts the client on the current tokio runtime and returns at once; it connects in the background,
    /// and again whenever the connection is lost.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a setting is not valid, when there can be no such directory, or outside a
    /// tokio runtime.
    pub fn connect(self) -> Result<Nacos, Error> {
        let settings = self.check()?;
        let runtime = Handle::try_current().map_err(|_| Error::Invalid {
            message: "a client connects inside a tokio runtime only".into(),
        })?;
        Ok(Nacos::spawn(settings, &runtime))
    }

    pub(super) fn check(self) -> Result<Settings, Error> {
        self.check_in(|name| std::env::var(name).ok())
    }

    /// Checks the settings, with the variables of a process.
    fn check_in(self, variable: impl Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let invalid = |message: String| Error::Invalid { message };
        let given =
            self.credentials.map_or_else(|| Credentials::from_environment(&variable), |c| Ok(Some(c)));
        let credentials = given.and_then(|credentials| {
            credentials.as_ref().map_or(Ok(()), Credentials::check)?;
            Ok(credentials)
        });
        let credentials = credentials.map_err(|e| invalid(format!("user of the registry: {e}")))?;
        let ca = variable(TLS_CA).filter(|path| !path.is_empty());
        #[cfg(feature = "tls")]
        let tls = {
            let config = self.tls.or_else(|| ca.map(|ca| TlsFiles::new(ca).into()));
            let tls = config.map(|config| Tls::new(config, self.tls_server_name.as_deref()));
            tls.transpose().map_err(invalid)?
        };
        #[cfg(not(feature = "tls"))]
        let tls = match ca {
            // Who asks for TLS is not to get none.
            Some(_) => return Err(invalid(format!("{TLS_CA}: needs the feature `tls`"))),
            None => None::<()>,
        };
        let servers = Server::parse_list(&self.servers, self.grpc_port, tls.is_some()).map_err(invalid)?;
        if self.request_timeout < Duration::from_millis(1) || self.request_timeout > REQUEST_TIMEOUT_MAX {
            let given = self.request_timeout;
            return Err(invalid(format!("request timeout {given:?} is not valid: accepted is 1ms to 60s")));
        }
        if self.keep_empty > KEEP_EMPTY_MAX {
            let given = self.keep_empty;
            return Err(invalid(format!("keeping for {given:?} is not valid: accepted is 0s to 24h")));
        }
        let said = variable(REPORTS).filter(|said| !said.is_empty());
        let reports = match (self.reports, said.as_deref().map(str::trim)) {
            (Some(reports), _) => reports,
            (None, None | Some("true")) => true,
            (None, Some("false")) => false,
            (None, Some(given)) => {
                return Err(invalid(format!("{REPORTS} {given:?} is not valid: accepted is true or false")));
            }
        };
        let open = |directory: PathBuf| {
            let opened = SnapshotFiles::open(&directory, Clock::system());
            let cannot = |e| invalid(format!("snapshot files: cannot use {}: {e}", directory.display()));
            opened.map(Arc::new).map_err(cannot)
        };
        Ok(Settings {
            servers: servers.into(),
            credentials,
            #[cfg(feature = "tls")]
            tls,
            namespace: self.namespace.parse().map_err(|e| invalid(format!("client: {e}")))?,
            app: self.app,
            request_timeout: self.request_timeout,
            keep_empty: self.keep_empty,
            snapshot_files: self.snapshot_files.map(open).transpose()?,
            metadata_chars_max: self.metadata_chars_max,
            reports,
        })
    }
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// At least one.
    pub(super) servers: Arc<[Server]>,
    pub(super) credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
    pub(super) namespace: Namespace,
    pub(super) app: String,
    pub(super) request_timeout: Duration,
    pub(super) keep_empty: Duration,
    pub(super) snapshot_files: Option<Arc<SnapshotFiles>>,
    metadata_chars_max: usize,
    pub(super) reports: bool,
}

impl Settings {
    /// The key as this client means it: a client lives in one namespace, and one that a key does not name is
    /// the client's.
    pub(super) fn resolve(&self, service: &ServiceKey) -> Result<ServiceKey, Error> {
        if service.namespace != self.namespace && service.namespace != Namespace::default() {
            let (asked, own) = (&service.namespace, &self.namespace);
            let message = format!("namespace {asked} asked of a client of namespace {own}: it needs its own");
            return Err(Error::Invalid { message });
        }
        Ok(ServiceKey { namespace: self.namespace.clone(), ..service.clone() })
    }

    /// The addresses of the registry, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.servers.iter().map(|server| server.grpc.to_string()).collect();
        names.join(", ")
    }

    /// Refuses metadata that the registry would refuse, naming the sizes of its keys.
    pub(super) fn check_metadata(&self, metadata: &Metadata) -> Result<(), Error> {
        let (chars, max) = (metadata.chars(), self.metadata_chars_max);
        if chars <= max {
            return Ok(());
        }
        let size = |(key, value): (&str, &str)| (key.chars().count() + value.chars().count(), key.to_owned());
        let mut sizes: Vec<_> = metadata.iter().map(size).collect();
        sizes.sort_by(|a, b| b.cmp(a));
        let mut message =
            format!("metadata of {chars} characters: accepted are {max} in all; the largest are");
        for (size, key) in sizes.iter().take(NAMED_KEYS_MAX) {
            let key: String = key.chars().take(64).collect();
            let _ = write!(message, " {key}={size}"); // Writing into a string cannot fail.
        }
        Err(Error::Invalid { message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> NacosBuilder {
        Nacos::builder("127.0.0.1:8848")
    }

    #[test]
    fn a_setting_that_is_not_valid_is_named() {
        for (bad, named) in [
            (Nacos::builder("127.0.0.1"), "HOST:PORT"),
            (Nacos::builder("127.0.0.1:65000"), "grpc_port"),
            (builder().namespace("a b"), "namespace"),
            (builder().request_timeout(Duration::ZERO), "1ms to 60s"),
            (builder().request_timeout(Duration::from_secs(61)), "1ms to 60s"),
            (builder().keep_empty(Duration::MAX), "0s to 24h"),
            (builder().user("", "s3cret"), "name of the user"),
            (builder().user("orders", ""), "password is empty"),
            (builder().user_with_password_file("orders", "no/such"), "no/such: No such file"),
            (builder().snapshot_files("Cargo.toml/files"), "cannot use Cargo.toml/files"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let env = |name: &str| (name == "GRACEFUL_REGISTRY_USER").then(|| "orders".to_owned());
        let error = builder().check_in(env).unwrap_err().to_string();
        assert!(error.starts_with("user of the registry: GRACEFUL_REGISTRY_USER needs"), "{error}");
        assert!(builder().user("orders", "s3cret").check_in(env).is_ok(), "code wins");
        assert!(builder().connect().unwrap_err().to_string().contains("tokio runtime"));
    }

    #[test]
    fn a_key_without_a_namespace_means_the_clients() {
        let settings = builder().namespace("test").check().unwrap();
        let resolve = |key: &str| settings.resolve(&key.parse().unwrap()).map(|key| key.to_string());
        assert_eq!(resolve("orders").unwrap(), "test##DEFAULT_GROUP@@orders");
        assert_eq!(resolve("test##orders").unwrap(), "test##DEFAULT_GROUP@@orders");
        assert!(resolve("other##orders").unwrap_err().to_string().contains("namespace other"));
    }

    #[test]
    fn metadata_that_is_too_long_is_refused_with_the_sizes_of_its_keys() {
        let settings = builder().metadata_chars_max(10).check().unwrap();
        assert!(settings.check_metadata(&Metadata::from_iter([("zone", "abcdef")])).is_ok());
        let long = Metadata::from_iter([("a", "\u{fc}"), ("zone", "abcdefg")]);
        let error = settings.check_metadata(&long).unwrap_err().to_string();
        assert_eq!(error, "metadata of 13 characters: accepted are 10 in all; the largest are zone=11 a=2");
    }
}
