//! What the starter of a registry may choose, checked once.

use super::access::Admin;
use super::bound::Allowance;
use super::command::Limits;
use super::error::Error;
use super::names::Names;
use super::tls::{Tls, TlsFiles};
use crate::Clock;
use crate::protocol::GRPC_PORT_OFFSET;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How long tokens may count: no shorter than clients can ask for new ones, no longer than a month.
const TOKEN_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 60 * 60);

/// Settings of a registry.
///
/// ```
/// use tower_graceful::registry::Settings;
/// let anywhere = Settings { http_port: 0, ..Settings::default() };
/// assert!(anywhere.bind.is_loopback() && anywhere.grpc_port.is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on. Default 127.0.0.1; one beyond this machine needs users, or
    /// [`Settings::no_auth`].
    pub bind: IpAddr,
    /// Port of the HTTP API; 0 takes any. Default 8848.
    pub http_port: u16,
    /// Port of the gRPC API; 0 takes any. By default the HTTP port + 1000, where clients look for it.
    pub grpc_port: Option<u16>,
    /// Directory that belongs to this registry alone while it runs; made if it is absent. It holds what must
    /// be there after a restart: persistent instances, services that were created, what operators set, users.
    /// Default: none, and then these live in memory and are lost with the process.
    pub data_dir: Option<PathBuf>,
    /// Certificate and key with which both ports speak TLS, and nothing else. Default: none, and then they do
    /// not. A handshake counts among [`Settings::connections_max`] and takes 10 s at most.
    pub tls: Option<TlsFiles>,
    /// Lets everyone who reaches the ports read and change everything. Default false: then everyone must log in
    /// as soon as there is a user, and nobody has to on an address of this machine until then.
    pub no_auth: bool,
    /// Names under which browsers come to the console and to the API while nobody is asked who they are, in small
    /// letters and without ports: any other name could be one that a foreign page has led to this address.
    /// Addresses and `localhost` always do, and programs come under any name. Default none.
    pub console_hosts: Vec<String>,
    /// An administrator to be made if there are no users. Default none.
    pub admin: Option<Admin>,
    /// How long a token counts from its login on, in whole seconds from 1 s to 30 days. Default 5 h, as Nacos.
    pub token_ttl: Duration,
    /// Longest metadata of an instance, keys and values together, in characters. Nacos takes 1024, which
    /// real applications exceed. Default 65 536.
    pub metadata_chars_max: usize,
    /// Longest name of a service, group, cluster, namespace or user that is brought, in bytes; what is there
    /// already stays and can be taken off. Default 512, the most that any of them may have: groups have up to 128,
    /// the others but services up to 64, whatever this is.
    pub name_bytes_max: usize,
    /// How long what operators set on an instance is kept after the instance is gone, and what they say of a
    /// service that nobody created after its last instance; looked at every 5 s. Default 60 s, as Nacos.
    pub metadata_kept_for: Duration,
    /// How long a service that nobody created by name is remembered, with the kind of its instances, after the
    /// last one has gone; looked at every 5 s. Default 60 s, as Nacos.
    pub empty_services_kept_for: Duration,
    /// Connections that each of the two ports serves at once; one more is answered 503, or GOAWAY over
    /// HTTP/2, and closed; with TLS it is only closed. Default 10 000.
    pub connections_max: usize,
    /// Connections that each port serves at once from one IP address. Default 5000, so that no single address
    /// takes all places.
    pub connections_per_address_max: usize,
    /// Bytes of the head of a request: some clients put all their parameters, metadata too, into its path.
    /// Default 128 KiB; more is answered 431.
    pub head_bytes_max: u32,
    /// Bytes of the body of a request over HTTP: the parameters of one instance with all the metadata it may
    /// have. Default 1 MiB; more is answered 413.
    pub body_bytes_max: usize,
    /// Bytes of a message over gRPC. Default 10 MiB, as Nacos; more is answered `OUT_OF_RANGE`.
    pub message_bytes_max: usize,
    /// Requests under way at once, over HTTP and gRPC together. Default 4096; one more is answered 503 or
    /// `RESOURCE_EXHAUSTED`.
    pub requests_max: usize,
    /// Instances in all, one that several clients publish counted for each. Default a million, for which the
    /// registry takes about a gigabyte.
    pub instances_max: usize,
    /// Instances of one service. Default 100 000.
    pub instances_per_service_max: usize,
    /// Instances that one connection publishes in all services together. Default 100 000.
    pub instances_per_client_max: usize,
    /// Services that one connection may publish in, and follow. Default 10 000: more than any gateway does.
    pub services_per_client_max: usize,
    /// Entries of the largest page of a list; whoever asks for more is given this many. Default 10 000: an answer
    /// of a few megabytes at most.
    pub page_size_max: usize,
    /// How long everything that is under way when the registry is told to end may take, before it is cut.
    /// Default 5 s.
    pub closed_within: Duration,
    /// Tells systemd, where it asks to be told (`Type=notify`), when the registry is ready and when it ends.
    /// Default false: a process may have more in it than a registry.
    pub tell_systemd: bool,
    /// The wall clock, for tests. Default the system's.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        let allowance = Allowance::default();
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            http_port: 8848,
            grpc_port: None,
            data_dir: None,
            tls: None,
            no_auth: false,
            console_hosts: Vec::new(),
            admin: None,
            token_ttl: Duration::from_secs(5 * 60 * 60),
            metadata_chars_max: 65_536,
            name_bytes_max: allowance.names.bytes_max,
            metadata_kept_for: Duration::from_secs(60),
            empty_services_kept_for: Duration::from_secs(60),
            connections_max: 10_000,
            connections_per_address_max: 5_000,
            head_bytes_max: 128 * 1024,
            body_bytes_max: allowance.body_bytes,
            message_bytes_max: allowance.message_bytes,
            requests_max: allowance.requests,
            instances_max: 1_000_000,
            instances_per_service_max: allowance.instances_per_service,
            instances_per_client_max: allowance.instances_per_client,
            services_per_client_max: allowance.services_per_client,
            page_size_max: allowance.page_size,
            closed_within: Duration::from_secs(5),
            tell_systemd: false,
            clock: Clock::system(),
        }
    }
}

impl Settings {
    /// Finds what can be seen to be wrong without touching the machine; [`Registry::bind`](super::Registry::bind)
    /// begins with it.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NoGrpcPort`] and [`Error::TokenTtl`].
    pub fn check(&self) -> Result<(), Error> {
        if !TOKEN_TTL.contains(&self.token_ttl) || self.token_ttl.subsec_nanos() > 0 {
            return Err(Error::TokenTtl { given: self.token_ttl });
        }
        // Only a data directory can hold users of whom these settings know nothing.
        self.check_users(self.admin.is_some() || self.data_dir.is_some())?;
        self.grpc_port_for(self.http_port).map(drop)
    }

    /// Reads the files that are named, and says what is wrong with them; the data directory is left alone.
    ///
    /// # Errors
    /// [`Error::Tls`] when a certificate or key cannot be read or used.
    pub fn check_files(&self) -> Result<(), Error> {
        self.tls.clone().map(Tls::open).transpose().map(drop)
    }

    /// Whether other machines can reach the ports.
    pub(super) fn is_beyond_loopback(&self) -> bool {
        !self.bind.to_canonical().is_loopback()
    }

    /// Refuses to serve other machines where nobody has said who may do what.
    pub(super) fn check_users(&self, has_users: bool) -> Result<(), Error> {
        let open = !self.no_auth && !has_users && self.is_beyond_loopback();
        if open { Err(Error::Open { bind: self.bind }) } else { Ok(()) }
    }

    /// The gRPC port that goes with this HTTP port.
    pub(super) fn grpc_port_for(&self, http_port: u16) -> Result<u16, Error> {
        let beside = || http_port.checked_add(GRPC_PORT_OFFSET);
        self.grpc_port.or_else(beside).ok_or(Error::NoGrpcPort { http_port })
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { metadata_chars_max: self.metadata_chars_max, instances_max: self.instances_max }
    }

    pub(super) fn allowance(&self) -> Allowance {
        Allowance {
            body_bytes: self.body_bytes_max,
            message_bytes: self.message_bytes_max,
            requests: self.requests_max,
            services_per_client: self.services_per_client_max,
            instances_per_client: self.instances_per_client_max,
            instances_per_service: self.instances_per_service_max,
            page_size: self.page_size_max,
            names: Names { bytes_max: self.name_bytes_max },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_beyond_this_machine_needs_users_or_a_word() {
        let open = |bind: &str| Settings { bind: bind.parse().unwrap(), ..Settings::default() };
        for local in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(open(local).check_users(false).is_ok(), "{local}");
        }
        for wide in ["0.0.0.0", "::", "10.0.0.7"] {
            assert!(matches!(open(wide).check_users(false), Err(Error::Open { .. })), "{wide}");
            assert!(open(wide).check_users(true).is_ok(), "{wide}");
            assert!(Settings { no_auth: true, ..open(wide) }.check_users(false).is_ok(), "{wide}");
        }
    }

    #[test]
    fn a_token_counts_for_whole_seconds_up_to_a_month() {
        let lasting = |ms| Settings { token_ttl: Duration::from_millis(ms), ..Settings::default() };
        assert!([1000, 2000, 30 * 24 * 3_600_000].into_iter().all(|ms| lasting(ms).check().is_ok()));
        for wrong in [0, 999, 1500, 30 * 24 * 3_600_000 + 1000] {
            assert!(matches!(lasting(wrong).check(), Err(Error::TokenTtl { .. })), "{wrong}");
        }
    }

    #[test]
    fn the_grpc_port_stands_1000_above_the_http_port() {
        let settings = Settings::default();
        assert_eq!(settings.grpc_port_for(8848).unwrap(), 9848);
        let high = Settings { http_port: 64_536, ..settings };
        assert!(matches!(high.check(), Err(Error::NoGrpcPort { http_port: 64_536 })));
        assert_eq!(Settings { grpc_port: Some(7), ..high }.grpc_port_for(64_536).unwrap(), 7);
    }
}
