//! Where the registry is: the addresses it has, and which is dialled next.

use super::login;
use crate::model::Address;
use crate::protocol::GRPC_PORT_OFFSET;
use http::Uri;
use std::time::Duration;

/// Addresses of one registry: more than any has members, and few enough to be tried one by one.
const SERVERS_MAX: usize = 32;

/// One address of the registry, with both its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) http: Address,
    pub(super) grpc: Address,
    /// The gRPC port as the beginning of URIs.
    pub(super) origin: Uri,
}

/// A port of a [`Server`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Http,
    Grpc,
}

impl Server {
    /// Reads a list with commas of `HOST:PORT`, each with its HTTP port; an address that is named twice counts
    /// once. An error says what is accepted.
    pub(super) fn parse_list(list: &str, grpc_port: Option<u16>, tls: bool) -> Result<Vec<Self>, String> {
        let mut servers = Vec::new();
        for text in list.split(',').map(str::trim) {
            let server = Self::parse(text, grpc_port, tls).map_err(|e| format!("registry: {e}"))?;
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        if servers.len() > SERVERS_MAX {
            return Err(format!("registry: {} addresses: accepted are up to {SERVERS_MAX}", servers.len()));
        }
        Ok(servers)
    }

    fn parse(text: &str, grpc_port: Option<u16>, tls: bool) -> Result<Self, String> {
        let http: Address = text.parse().map_err(|e| format!("{e}"))?;
        let port = grpc_port.or_else(|| http.port().checked_add(GRPC_PORT_OFFSET)).ok_or_else(|| {
            let port = http.port();
            format!("no gRPC port at {port} + {GRPC_PORT_OFFSET}; set `grpc_port`")
        })?;
        let grpc = http.clone().with_port(port);
        let scheme = if tls { "https" } else { "http" };
        let origin = format!("{scheme}://{grpc}").parse().map_err(|e| format!("{e}"))?;
        Ok(Self { http, grpc, origin })
    }

    /// Where one of its ports is.
    pub(super) fn address(&self, port: Port) -> &Address {
        match port {
            Port::Http => &self.http,
            Port::Grpc => &self.grpc,
        }
    }
}

/// Whose turn it is to be dialled. Each client has an order of its own, so that those who lose one server do
/// not all go to the same next one.
#[derive(Debug)]
pub(super) struct Turns {
    order: Vec<Server>,
    at: usize,
    /// Failures in a row.
    failures: u32,
}

impl Turns {
    /// All of `servers`, of which there is at least one, in an order by chance.
    pub(super) fn new(servers: &[Server], chance: &mut fastrand::Rng) -> Self {
        let mut order = servers.to_vec();
        chance.shuffle(&mut order);
        Self { order, at: 0, failures: 0 }
    }

    /// Who is dialled now.
    pub(super) fn server(&self) -> &Server {
        &self.order[self.at]
    }

    /// The connection has lasted: whatever ends it is a first failure.
    pub(super) fn lasted(&mut self) {
        self.failures = 0;
    }

    /// There is no connection any more, or there was none: passes the turn on, and returns the wait before it.
    /// The next server is dialled at once, and all of them again after a pause that grows from round to round;
    /// more so if the last one has `refused` to let this client in.
    pub(super) fn pass(&mut self, refused: bool, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.at = (self.at + 1) % self.order.len();
        let servers = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        if self.failures.is_multiple_of(servers) {
            login::wait(refused, self.failures / servers - 1, chance)
        } else {
            Duration::ZERO
        }
    }

    /// Failures in a row, for people.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn servers(list: &str) -> Vec<Server> {
        Server::parse_list(list, None, false).unwrap()
    }

    #[test]
    fn the_grpc_port_is_a_thousand_above_unless_it_is_given() {
        let [server] = &servers("127.0.0.1:8848")[..] else { panic!("one address is one server") };
        assert_eq!(server.address(Port::Http).to_string(), "127.0.0.1:8848");
        assert_eq!(server.address(Port::Grpc).to_string(), "127.0.0.1:9848");
        let given = Server::parse_list("a:8848, [::1]:8849,a:8848", Some(7), true).unwrap();
        let origins: Vec<_> = given.iter().map(|server| server.origin.to_string()).collect();
        assert_eq!(origins, ["https://a:7/", "https://[::1]:7/"], "one is named twice");
    }

    #[test]
    fn a_list_that_is_not_valid_is_refused_with_what_is_accepted() {
        let many: Vec<_> = (0..=SERVERS_MAX).map(|n| format!("r{n}:8848")).collect();
        for (list, named) in [
            ("127.0.0.1", "HOST:PORT"),
            ("a:8848,,b:8848", "HOST:PORT"),
            ("", "HOST:PORT"),
            ("a:8848,127.0.0.1:65000", "grpc_port"),
            (&many.join(","), "33 addresses: accepted are up to 32"),
        ] {
            let error = Server::parse_list(list, None, false).unwrap_err();
            assert!(error.starts_with("registry: ") && error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_next_server_is_dialled_at_once_and_all_again_after_growing_waits() {
        let mut turns = Turns::new(&servers("a:1,b:1,c:1"), &mut fastrand::Rng::with_seed(1));
        let round = |turns: &mut Turns, refused| {
            let mut dialled = BTreeSet::new();
            let waits = [(); 3].map(|()| {
                dialled.insert(turns.server().http.host().to_owned());
                turns.pass(refused, 1.0).as_millis()
            });
            assert_eq!(dialled.len(), 3, "each has its turn");
            waits
        };
        assert_eq!(round(&mut turns, false), [0, 0, 100]);
        assert_eq!(round(&mut turns, false), [0, 0, 200]);
        assert_eq!(round(&mut turns, true), [0, 0, 4_000]);
        turns.lasted();
        assert_eq!(round(&mut turns, true), [0, 0, 1_000]);
        for _ in 0..20 {
            round(&mut turns, true);
        }
        assert_eq!(round(&mut turns, true), [0, 0, 60_000]);
        assert_eq!(round(&mut turns, false), [0, 0, 5_000]);
        let mut alone = Turns::new(&servers("a:1"), &mut fastrand::Rng::with_seed(1));
        assert_eq!(alone.pass(false, 1.0).as_millis(), 100);
    }

    #[test]
    fn clients_begin_with_different_servers() {
        let servers = servers("a:1,b:1,c:1");
        let first =
            |seed| Turns::new(&servers, &mut fastrand::Rng::with_seed(seed)).server().http.host().to_owned();
        let begun: BTreeSet<_> = (0..50).map(first).collect();
        assert_eq!(begun.len(), 3);
    }
}
