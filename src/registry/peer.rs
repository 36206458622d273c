//! Who is at the other end of a connection.

use crate::model::{Address, UnixMillis};
use crate::protocol::message::ConnectionSetupRequest;
use std::net::{Ipv4Addr, SocketAddr};

/// Characters that are kept of what a client says of itself: it may say a lot, and it is kept for as long as
/// it is connected.
const WORD_CHARS_MAX: usize = 128;
/// The label with the id that a process sends to providers in its calls.
const CALLER: &str = "graceful.caller";
/// The label with the name of the application, as Nacos' clients write it.
const APP: &str = "AppName";

/// A client, in its own words but for its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where its transport comes from.
    pub(crate) address: SocketAddr,
    pub(crate) since: UnixMillis,
    /// Name of its transport, as it was told; empty of whoever has none.
    pub(crate) transport: String,
    pub(crate) version: String,
    pub(crate) app: String,
    /// Which process of ours it is: one whose balancer knows a list by the time it acknowledges it.
    pub(crate) caller: Option<u64>,
}

/// The server that a client is asked to connect to; nothing leaves it the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Destination(pub(crate) Option<Address>);

impl Peer {
    /// The client at `address` that has set itself up at a moment.
    pub(crate) fn new(address: SocketAddr, setup: &ConnectionSetupRequest, since: UnixMillis) -> Self {
        let label = |name| setup.labels.get(name).map_or("", String::as_str);
        let caller = label(CALLER);
        Self {
            address,
            since,
            transport: String::new(),
            version: word(&setup.client_version),
            app: word(label(APP)),
            caller: caller_id(caller),
        }
    }

    /// The client at `address` that listens for datagrams, by its `User-Agent` and the application that it
    /// names.
    pub(crate) fn listening(address: SocketAddr, agent: &str, app: &str, since: UnixMillis) -> Self {
        let (version, app, transport) = (word(agent), word(app), String::new());
        Self { address, since, transport, version, app, caller: None }
    }
}

impl Default for Peer {
    /// Nobody in particular, from nowhere.
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Self::new(address, &ConnectionSetupRequest::default(), UnixMillis::new(0))
    }
}

/// Reads 16 hexadecimal digits.
fn caller_id(text: &str) -> Option<u64> {
    let is_whole = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| is_whole)
}

fn word(text: &str) -> String {
    text.chars().take(WORD_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_label_that_is_no_id_of_ours_names_no_caller_and_a_long_word_is_cut() {
        let caller = |id: &str| {
            let labels =
                BTreeMap::from([(CALLER.to_owned(), id.to_owned()), (APP.to_owned(), "a".repeat(1000))]);
            let setup = ConnectionSetupRequest { labels, ..ConnectionSetupRequest::default() };
            let peer = Peer::new(Peer::default().address, &setup, UnixMillis::new(1));
            assert_eq!(peer.app.len(), WORD_CHARS_MAX);
            peer.caller
        };
        assert_eq!(caller("9f86d081884c7d65"), Some(0x9f86_d081_884c_7d65));
        for other in ["", "7", "+f86d081884c7d65", "9f86d081884c7d650", "storefront-nr-7."] {
            assert_eq!(caller(other), None, "{other}");
        }
    }
}
