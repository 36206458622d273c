//! Where a request goes: the URI that a client is given.

use crate::model::Address;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

pub(super) fn authority(address: &Address) -> Authority {
    address.to_string().try_into().expect("an address holds nothing that an authority may not")
}

/// Path and query of `uri`, at another scheme and authority.
pub(super) fn at(scheme: Scheme, authority: Authority, uri: Uri) -> Uri {
    let mut parts = uri.into_parts();
    (parts.scheme, parts.authority) = (Some(scheme), Some(authority));
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn path_and_query_stay_whatever_stood_before_them() {
        let authority = authority(&"[2001:db8::7]:8080".parse().unwrap());
        for (given, dialled) in [
            ("/", "http://[2001:db8::7]:8080/"),
            ("/a%20b?c=d", "http://[2001:db8::7]:8080/a%20b?c=d"),
            ("https://user@orders:1/a?b", "http://[2001:db8::7]:8080/a?b"),
            ("orders:80", "http://[2001:db8::7]:8080/"),
            ("*", "http://[2001:db8::7]:8080*"),
        ] {
            let uri = at(Scheme::HTTP, authority.clone(), given.parse().unwrap());
            assert_eq!(uri.to_string(), dialled, "{given}");
        }
    }

    proptest! {
        #[test]
        fn every_address_is_an_authority(host in "[A-Za-z0-9._-]{1,128}", v6: [u16; 8], port: u16) {
            for address in [Address::new(&host, port), Address::new(&std::net::Ipv6Addr::from(v6).to_string(), port)] {
                let address = address.unwrap();
                prop_assert_eq!(authority(&address).to_string(), address.to_string());
            }
        }
    }
}
