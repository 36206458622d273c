//! What the starter of a registry may choose, checked once.

use super::command::Limits;
use super::error::Error;
use super::tls::TlsFiles;
use crate::Clock;
use crate::protocol::GRPC_PORT_OFFSET;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Instances in all, one that several clients publish counted for each: about a gigabyte of them.
const INSTANCES_MAX: usize = 1_000_000;

/// Settings of a registry.
///
/// ```
/// use tower_graceful::registry::Settings;
/// let anywhere = Settings { http_port: 0, ..Settings::default() };
/// assert!(anywhere.bind.is_loopback() && anywhere.grpc_port.is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on. Default 127.0.0.1; one beyond this machine needs [`Settings::no_auth`].
    pub bind: IpAddr,
    /// Port of the HTTP API; 0 takes any. Default 8848.
    pub http_port: u16,
    /// Port of the gRPC API; 0 takes any. By default the HTTP port + 1000, where clients look for it.
    pub grpc_port: Option<u16>,
    /// Directory that belongs to this registry alone while it runs; made if it is absent. It holds what must
    /// be there after a restart: persistent instances, services that were created, what operators set.
    /// Default: none, and then these live in memory and are lost with the process.
    pub data_dir: Option<PathBuf>,
    /// Certificate and key with which both ports speak TLS, and nothing else. Default: none, and then they do
    /// not. A handshake counts among [`Settings::connections_max`] and takes 10 s at most.
    pub tls: Option<TlsFiles>,
    /// Lets everyone who reaches the ports read and change everything. Default false.
    pub no_auth: bool,
    /// Longest metadata of an instance, keys and values together, in characters. Nacos takes 1024, which
    /// real applications exceed. Default 65 536.
    pub metadata_chars_max: usize,
    /// How long what operators set on an instance is kept after the instance is gone, and what they say of a
    /// service that nobody created after its last instance; looked at every 5 s. Default 60 s, as Nacos.
    pub metadata_kept_for: Duration,
    /// How long a service that nobody created by name is remembered, with the kind of its instances, after the
    /// last one has gone; looked at every 5 s. Default 60 s, as Nacos.
    pub empty_services_kept_for: Duration,
    /// Connections that each of the two ports serves at once. Default 10 000.
    pub connections_max: usize,
    /// How long everything that is under way when the registry is told to end may take, before it is cut.
    /// Default 5 s.
    pub closed_within: Duration,
    /// The wall clock, for tests. Default the system's.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            http_port: 8848,
            grpc_port: None,
            data_dir: None,
            tls: None,
            no_auth: false,
            metadata_chars_max: 65_536,
            metadata_kept_for: Duration::from_secs(60),
            empty_services_kept_for: Duration::from_secs(60),
            connections_max: 10_000,
            closed_within: Duration::from_secs(5),
            clock: Clock::system(),
        }
    }
}

impl Settings {
    /// Finds what can be seen to be wrong without touching the machine; [`Registry::bind`](super::Registry::bind)
    /// begins with it.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::NoGrpcPort`].
    pub fn check(&self) -> Result<(), Error> {
        if !self.no_auth && !self.bind.to_canonical().is_loopback() {
            return Err(Error::Open { bind: self.bind });
        }
        self.grpc_port_for(self.http_port).map(drop)
    }

    /// The gRPC port that goes with this HTTP port.
    pub(super) fn grpc_port_for(&self, http_port: u16) -> Result<u16, Error> {
        let beside = || http_port.checked_add(GRPC_PORT_OFFSET);
        self.grpc_port.or_else(beside).ok_or(Error::NoGrpcPort { http_port })
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { metadata_chars_max: self.metadata_chars_max, instances_max: INSTANCES_MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_beyond_this_machine_needs_a_word() {
        let open = |bind: &str| Settings { bind: bind.parse().unwrap(), ..Settings::default() };
        for local in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(open(local).check().is_ok(), "{local}");
        }
        for wide in ["0.0.0.0", "::", "10.0.0.7"] {
            assert!(matches!(open(wide).check(), Err(Error::Open { .. })), "{wide}");
            assert!(Settings { no_auth: true, ..open(wide) }.check().is_ok(), "{wide}");
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
