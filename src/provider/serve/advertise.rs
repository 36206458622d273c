//! Which address consumers are told.

use super::error::InvalidSetting;
use crate::model::Address;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use std::{fmt, io};
use tokio::net::lookup_host;
use tokio::time;

/// What is known about the place of this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// What the setting says.
    pub(super) given: Option<&'a Address>,
    /// Where the application listens, if that is an IP address.
    pub(super) listener: Option<SocketAddr>,
    /// Where the registry is.
    pub(super) registry: Option<SocketAddr>,
    /// Whether there is a registry at all: without one nobody is told anything.
    pub(super) registers: bool,
}

/// Host of an instance that is neither registered nor reached by an address; its port is 0. Who sees it in a
/// tag knows it by its epoch.
const NOWHERE: &str = "localhost";
/// How long the name of the registry may take to resolve: the start goes on without.
const RESOLVED_WITHIN: Duration = Duration::from_secs(2);

/// Where a name leads; nothing when that cannot be said now.
pub(super) async fn resolve(address: &Address) -> Option<SocketAddr> {
    let found = time::timeout(RESOLVED_WITHIN, lookup_host((address.host(), address.port()))).await;
    found.ok()?.ok()?.next()
}

/// The address to register.
pub(super) fn address(place: Place<'_>) -> Result<Address, InvalidSetting> {
    decide(place, source_of_route)
}

fn decide(
    place: Place<'_>,
    source_of_route: impl Fn(SocketAddr) -> io::Result<IpAddr>,
) -> Result<Address, InvalidSetting> {
    let Place { given, listener, registry, registers } = place;
    let address = match (given, listener) {
        (Some(given), _) => given.clone(),
        (None, None) if registers => return Err(nowhere()),
        (None, None) => {
            Address::new(NOWHERE, 0).map_err(|error| InvalidSetting::because("advertise", &error))?
        }
        (None, Some(listener)) if registers && listener.ip().to_canonical().is_unspecified() => {
            let Some(registry) = registry else {
                return Err(ambiguous(listener, "nothing says which of them"));
            };
            let source = source_of_route(registry).map_err(|error| {
                ambiguous(listener, format_args!("no route leads to {registry} ({error})"))
            })?;
            SocketAddr::new(source, listener.port()).into()
        }
        (None, Some(listener)) => listener.into(),
    };
    if registers && address.socket_addr().is_some_and(|address| address.ip().is_unspecified()) {
        let accepted =
            "one address; this one means all addresses of a machine, and leads consumers to their own";
        return Err(InvalidSetting::new("advertise", address, accepted));
    }
    let is_local = address.socket_addr().is_some_and(|address| address.ip().is_loopback());
    let is_remote = |registry: SocketAddr| !registry.ip().to_canonical().is_loopback();
    if is_local && registry.is_some_and(is_remote) {
        let accepted = "an address that consumers beyond this machine reach, as the registry is beyond it";
        return Err(InvalidSetting::new("advertise", address, accepted));
    }
    Ok(address)
}

fn nowhere() -> InvalidSetting {
    let reason = "no listener has an IP address: give the one that consumers reach (GRACEFUL_ADVERTISE does so too), \
                  or no registry";
    InvalidSetting::because("advertise", &reason)
}

fn ambiguous(listener: SocketAddr, why: impl fmt::Display) -> InvalidSetting {
    let reason = format!(
        "the listener is on all addresses ({listener}), and {why}: give the one that consumers reach \
         (GRACEFUL_ADVERTISE does so too), or a `registry_addr` whose route decides"
    );
    InvalidSetting::because("advertise", &reason)
}

/// Connecting a UDP socket sends nothing: the system only looks up the route.
fn source_of_route(to: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: &str = "10.0.0.1:8848";

    fn decided(given: Option<&str>, listener: &str, registry: Option<&str>) -> Result<String, String> {
        let given = given.map(|given| given.parse().unwrap());
        let place = Place {
            given: given.as_ref(),
            listener: Some(listener.parse().unwrap()),
            registry: registry.map(|registry| registry.parse().unwrap()),
            registers: true,
        };
        let route =
            |to: SocketAddr| if to.ip().is_loopback() { Ok(to.ip()) } else { Ok([10, 0, 0, 7].into()) };
        decide(place, route).map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_setting_comes_first_then_the_listener_then_the_route() {
        assert_eq!(decided(Some("orders:80"), "0.0.0.0:8080", None).unwrap(), "orders:80");
        assert_eq!(decided(None, "10.0.0.9:8080", Some(REMOTE)).unwrap(), "10.0.0.9:8080");
        assert_eq!(decided(None, "127.0.0.1:8080", None).unwrap(), "127.0.0.1:8080");
        assert_eq!(decided(None, "0.0.0.0:8080", Some(REMOTE)).unwrap(), "10.0.0.7:8080");
        assert_eq!(decided(None, "[::]:8080", Some("[::1]:8848")).unwrap(), "[::1]:8080");
    }

    #[test]
    fn what_consumers_could_not_reach_is_refused_by_the_name_of_the_setting() {
        for (given, listener, registry) in [
            (None, "0.0.0.0:8080", None),
            (None, "127.0.0.1:8080", Some(REMOTE)),
            (Some("127.0.0.1:8080"), "10.0.0.9:8080", Some(REMOTE)),
            (Some("0.0.0.0:8080"), "10.0.0.9:8080", None),
            (Some("[::]:8080"), "10.0.0.9:8080", Some(REMOTE)),
        ] {
            let error = decided(given, listener, registry).unwrap_err();
            assert!(error.contains("advertise"), "{error}");
        }
    }

    #[test]
    fn without_a_registry_the_listener_stands_as_it_is() {
        let listener = Some("0.0.0.0:8080".parse().unwrap());
        let place = Place { given: None, listener, registry: None, registers: false };
        assert_eq!(address(place).unwrap().to_string(), "0.0.0.0:8080");
        assert_eq!(address(Place { listener: None, ..place }).unwrap().port(), 0);
    }

    #[test]
    fn who_listens_nowhere_registers_only_what_it_is_told_to() {
        let given = "orders:80".parse().unwrap();
        let place = Place { given: None, listener: None, registry: None, registers: true };
        assert!(address(place).unwrap_err().to_string().contains("no listener has an IP address"));
        assert_eq!(address(Place { given: Some(&given), ..place }).unwrap(), given);
    }

    #[test]
    fn the_route_to_this_machine_begins_at_it() {
        let source = source_of_route(([127, 0, 0, 1], 9).into()).unwrap();
        assert_eq!(source, IpAddr::from([127, 0, 0, 1]));
    }
}
