//! What a client is told about the registry and about itself, checked once.

use super::snapshot_files::SnapshotFiles;
use super::{DEFAULT_KEEP_EMPTY, DEFAULT_REQUEST_TIMEOUT, Nacos};
use crate::Clock;
use crate::model::{Address, Metadata, Namespace, ServiceKey};
use crate::naming::Error;
use crate::protocol::GRPC_PORT_OFFSET;
use http::Uri;
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
/// Keys that a refusal of metadata names at most, largest first.
const NAMED_KEYS_MAX: usize = 8;

/// Makes a [`Nacos`]; begun by [`Nacos::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `connect`"]
pub struct NacosBuilder {
    server: String,
    grpc_port: Option<u16>,
    namespace: String,
    app: String,
    request_timeout: Duration,
    keep_empty: Duration,
    snapshot_files: Option<PathBuf>,
    metadata_chars_max: usize,
}

impl NacosBuilder {
    pub(super) fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            grpc_port: None,
            namespace: String::new(),
            app: String::new(),
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            keep_empty: DEFAULT_KEEP_EMPTY,
            snapshot_files: None,
            metadata_chars_max: METADATA_CHARS_MAX,
        }
    }

    /// The registry's gRPC port. Default: its HTTP port + 1000.
    pub fn grpc_port(self, port: u16) -> Self {
        Self { grpc_port: Some(port), ..self }
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
        let invalid = |message: String| Error::Invalid { message };
        let http: Address = self.server.parse().map_err(|e| invalid(format!("registry: {e}")))?;
        let port = self.grpc_port.or_else(|| http.port().checked_add(GRPC_PORT_OFFSET)).ok_or_else(|| {
            let port = http.port();
            invalid(format!("registry: no gRPC port at {port} + {GRPC_PORT_OFFSET}; set `grpc_port`"))
        })?;
        let server = Address::new(http.host(), port).map_err(|e| invalid(format!("registry: {e}")))?;
        let origin = format!("http://{server}").parse().map_err(|e| invalid(format!("registry: {e}")))?;
        if self.request_timeout < Duration::from_millis(1) || self.request_timeout > REQUEST_TIMEOUT_MAX {
            let given = self.request_timeout;
            return Err(invalid(format!("request timeout {given:?} is not valid: accepted is 1ms to 60s")));
        }
        if self.keep_empty > KEEP_EMPTY_MAX {
            let given = self.keep_empty;
            return Err(invalid(format!("keeping for {given:?} is not valid: accepted is 0s to 24h")));
        }
        let open = |directory: PathBuf| {
            let opened = SnapshotFiles::open(&directory, Clock::system());
            let cannot = |e| invalid(format!("snapshot files: cannot use {}: {e}", directory.display()));
            opened.map(Arc::new).map_err(cannot)
        };
        Ok(Settings {
            server,
            origin,
            namespace: self.namespace.parse().map_err(|e| invalid(format!("client: {e}")))?,
            app: self.app,
            request_timeout: self.request_timeout,
            keep_empty: self.keep_empty,
            snapshot_files: self.snapshot_files.map(open).transpose()?,
            metadata_chars_max: self.metadata_chars_max,
        })
    }
}

/// The settings, checked.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Where the registry takes gRPC.
    pub(super) server: Address,
    /// The same as the beginning of URIs.
    pub(super) origin: Uri,
    pub(super) namespace: Namespace,
    pub(super) app: String,
    pub(super) request_timeout: Duration,
    pub(super) keep_empty: Duration,
    pub(super) snapshot_files: Option<Arc<SnapshotFiles>>,
    metadata_chars_max: usize,
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
    fn the_grpc_port_is_a_thousand_above_unless_it_is_given() {
        assert_eq!(builder().check().unwrap().server.to_string(), "127.0.0.1:9848");
        assert_eq!(builder().grpc_port(7).check().unwrap().server.port(), 7);
        let v6 = Nacos::builder("[::1]:8848").check().unwrap();
        assert_eq!(v6.origin.to_string(), "http://[::1]:9848/");
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
            (builder().snapshot_files("Cargo.toml/files"), "cannot use Cargo.toml/files"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
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
