//! One instance behind a client that dials whatever the URI names.

use crate::model::Address;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri};
use std::task::{Context, Poll};
use tower_service::Service;

/// Sends every request to one address over a client that all instances share. Made by
/// [`BalanceLayer`](super::BalanceLayer).
#[derive(Clone, Debug)]
pub struct Dial<C> {
    inner: C,
    authority: Authority,
}

impl<C> Dial<C> {
    pub(super) fn new(inner: C, address: &Address) -> Self {
        Self { inner, authority: authority(address) }
    }
}

impl<C: Service<Request<B>>, B> Service<Request<B>> for Dial<C> {
    type Response = C::Response;
    type Error = C::Error;
    type Future = C::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let uri = std::mem::take(request.uri_mut());
        *request.uri_mut() = at(self.authority.clone(), uri);
        self.inner.call(request)
    }
}

pub(super) fn authority(address: &Address) -> Authority {
    address.to_string().try_into().expect("an address holds nothing that an authority may not")
}

/// Path and query of `uri`, at another authority.
pub(super) fn at(authority: Authority, uri: Uri) -> Uri {
    let mut parts = uri.into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
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
            assert_eq!(at(authority.clone(), given.parse().unwrap()).to_string(), dialled, "{given}");
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
