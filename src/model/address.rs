//! Where an instance is reached.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// Host and port of an instance, as it is dialled; the host is an IP address or a name.
///
/// Written with brackets around IPv6, as in a URI. Ordered by host, as text, and port.
///
/// ```
/// use tower_graceful::model::Address;
/// let address: Address = "[2001:db8::7]:8080".parse()?;
/// assert_eq!((address.host(), address.port()), ("2001:db8::7", 8080));
/// assert_eq!(address.to_string(), "[2001:db8::7]:8080");
/// # Ok::<(), tower_graceful::model::InvalidAddress>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(Repr);

/// A short host stands in the value itself: a registry holds a hundred thousand of them, many times over.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// Up to [`SHORT_MAX`] bytes, and zeros behind them.
    Short { host: [u8; SHORT_MAX], len: u8, port: u16 },
    /// More than that.
    Long { host: Arc<str>, port: u16 },
}

/// Length of the longest IPv4 address; with it a value is no larger than one with a longer host.
const SHORT_MAX: usize = 15;

/// A host or port that cannot be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress {
    given: String,
    accepted: &'static str,
}

/// What [`Address::new`] accepts.
const HOST: &str = "an IP address, or a name of 1 to 128 of A-Z a-z 0-9 . - _";
/// What `parse` accepts.
const HOST_AND_PORT: &str = "HOST:PORT, with IPv6 hosts in brackets";

impl Address {
    /// Checks the host; IPv6 may stand in brackets, and is brought to its shortest form.
    ///
    /// # Errors
    /// When the host is neither an IP address nor a host name of 1 to 128 of `A-Z a-z 0-9 . - _`.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidAddress> {
        let host = host.trim();
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(v6) = bare.parse::<Ipv6Addr>() {
            return Ok(Self::unchecked(&v6.to_string(), port));
        }
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if host.is_empty() || host.len() > 128 || !host.bytes().all(named) {
            return Err(InvalidAddress::new(host, HOST));
        }
        Ok(Self::unchecked(host, port))
    }

    fn unchecked(text: &str, port: u16) -> Self {
        let mut host = [0; SHORT_MAX];
        match (host.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(short), Ok(len)) => {
                short.copy_from_slice(text.as_bytes());
                Self(Repr::Short { host, len, port })
            }
            _ => Self(Repr::Long { host: text.into(), port }),
        }
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        match &self.0 {
            Repr::Short { host, len, .. } => {
                std::str::from_utf8(&host[..usize::from(*len)]).unwrap_or_default() // Copied from a text.
            }
            Repr::Long { host, .. } => host,
        }
    }

    /// As the bytes that they are: no need to look whether they are text.
    fn sorted_by(&self) -> (&[u8], u16) {
        match &self.0 {
            Repr::Short { host, len, port } => (&host[..usize::from(*len)], *port),
            Repr::Long { host, port } => (host.as_bytes(), *port),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self.0 {
            Repr::Short { port, .. } | Repr::Long { port, .. } => port,
        }
    }

    /// The same host at another port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self(match self.0 {
            Repr::Short { host, len, .. } => Repr::Short { host, len, port },
            Repr::Long { host, .. } => Repr::Long { host, port },
        })
    }

    /// The address as a socket address, unless the host is a name.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.host().parse::<IpAddr>().ok().map(|ip| (ip, self.port()).into())
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sorted_by().cmp(&other.sorted_by())
    }
}

impl InvalidAddress {
    fn new(given: &str, accepted: &'static str) -> Self {
        Self { given: given.chars().take(64).collect(), accepted }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::unchecked(&addr.ip().to_canonical().to_string(), addr.port())
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress::new(text, HOST_AND_PORT);
        let (host, port) = text.trim().rsplit_once(':').ok_or_else(invalid)?;
        if host.contains(':') && !host.starts_with('[') {
            return Err(invalid()); // `::1` is a host without a port.
        }
        Self::new(host, port.parse().map_err(|_| invalid())?).map_err(|_| invalid())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.host(), self.port());
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {:?} is not valid: accepted is {}", self.given, self.accepted)
    }
}

impl std::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_at_the_right_colon() {
        for text in ["10.0.0.7:8080", "[::1]:80", "orders.internal:443"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in ["::1", "10.0.0.7", "10.0.0.7:", "10.0.0.7:70000", ":80", "a b:80", "http://x:80"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_of_whatever_length_keeps_its_text_and_its_place() {
        let hosts = [
            "10.0.0.10",
            "10.0.0.9",
            "192.168.100.200",
            "2001:db8::1234:5678",
            "a",
            "orders.internal.example",
        ];
        let addresses = hosts.map(|host| Address::new(host, 80).unwrap());
        assert_eq!(addresses.clone().map(|address| address.host().to_owned()), hosts);
        assert!(addresses.is_sorted_by(|a, b| a < b));
        for address in addresses {
            assert!(address < address.clone().with_port(81) && address.port() == 80);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        assert_eq!(size_of::<Address>(), 24);
    }

    #[test]
    fn one_ipv6_address_has_one_form() {
        assert_eq!(Address::new("[0:0:0:0:0:0:0:1]", 80), Address::new("::1", 80));
    }
}
