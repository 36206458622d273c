//! What instances are told about this process.

use super::BalanceLayer;
use crate::consumer::endpoints::Guard;
use crate::naming::header::CallerTag;
use http::HeaderValue;

/// The values of the header, prepared once and cloned for each request.
pub(super) struct Caller {
    tag: HeaderValue,
    /// With the address for notices, where there is one.
    to_notifiers: HeaderValue,
}

impl Caller {
    pub(super) fn new(settings: &BalanceLayer) -> Self {
        let tag = CallerTag::of_this_process(&settings.app);
        #[cfg(feature = "notice")]
        let notice = settings.notices.as_ref().map(|notices| notices.advertised().clone());
        #[cfg(not(feature = "notice"))]
        let notice = None;
        Self { tag: tag.to_value(), to_notifiers: CallerTag { notice, ..tag }.to_value() }
    }

    /// What the instance of a call is told; nothing when it could do nothing with it.
    #[inline]
    pub(super) fn known_to(&self, called: &Guard) -> Option<&HeaderValue> {
        let tag = if called.sends_notices() { &self.to_notifiers } else { &self.tag };
        called.is_governed().then_some(tag)
    }
}
