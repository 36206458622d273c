//! A single choice, for clients that are not tower services.

use crate::consumer::endpoints::{Choice, Guard, Verdict};
use crate::consumer::heard;
use crate::consumer::uri::{at, authority};
use crate::model::Instance;
use http::uri::{InvalidUri, Scheme};
use http::{HeaderMap, StatusCode, Uri};
use std::fmt;

/// A chosen instance; counts as a call in flight until it is dropped. Made by
/// [`Balance::pick`](super::Balance::pick).
pub struct Pick<S> {
    choice: Choice<S>,
    verdict: Verdict,
}

impl<S> Pick<S> {
    pub(super) fn new(choice: Choice<S>) -> Self {
        Self { verdict: choice.guard.endpoint().verdict(), choice }
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.choice.guard
    }

    /// The instance, as it was registered when it was first seen.
    pub fn instance(&self) -> &Instance {
        self.guard().endpoint().instance()
    }

    /// How many calls of this balancer are in flight at the instance, this one included.
    pub fn in_flight(&self) -> u32 {
        self.guard().in_flight()
    }

    /// The instance's service.
    pub fn service(&mut self) -> &mut S {
        &mut self.choice.service
    }

    /// The URI of `path`, with or without a query, at the instance.
    ///
    /// # Errors
    /// When `path` is not the path of a URI.
    pub fn uri(&self, path: &str) -> Result<Uri, InvalidUri> {
        Ok(at(Scheme::HTTP, authority(self.instance().address()), path.parse()?))
    }

    /// Tells that an answer has begun. Takes what the instance and its layers say about themselves off the
    /// headers, and acts on it as [`GoodbyeLayer`](crate::consumer::GoodbyeLayer) does. Keep the pick after
    /// this until the body has been read.
    ///
    /// `true` when the provider's layers refused the request without calling its handler: it was [never
    /// applied](crate::consumer::Applied::Never), and can be sent to another instance.
    pub fn finish(&self, status: StatusCode, headers: &mut HeaderMap) -> bool {
        let endpoint = self.guard().endpoint();
        endpoint.answered(self.verdict);
        heard::goodbye(headers, endpoint);
        heard::refusal(status, headers)
    }

    /// Tells that no connection to the instance could be made: it is put aside for a while, and then tried
    /// again by one pick. What became of a request that had a connection does not belong here.
    pub fn unreachable(&self) {
        self.guard().endpoint().unreachable(self.verdict);
    }
}

impl<S> fmt::Debug for Pick<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pick").field(self.guard().endpoint()).finish()
    }
}
