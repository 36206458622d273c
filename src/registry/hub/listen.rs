//! Lists for clients that poll, and listen for datagrams in between.

use super::Hub;
use crate::model::UnixMillis;
use crate::registry::access::actor;
use crate::registry::peer::Peer;
use crate::registry::query::View;
use crate::registry::udp::{Audience, Ear};
use std::sync::Arc;
use tokio::time::Instant;

impl Hub {
    /// Everyone who listens for datagrams.
    pub(crate) fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The present list of a service for somebody who listens from here on: whatever changes after it is
    /// pushed. Where too many listen, or nobody may, the caller only polls.
    pub(crate) fn listen(&self, ear: Ear, peer: impl FnOnce(UnixMillis) -> Peer) -> Arc<View> {
        let (mut state, now) = (self.state(), self.now());
        let view = state.catalog.view(&ear.service, now);
        let user = actor().map(|user| user.name.clone());
        let list = (view.snapshot.revision(), view.snapshot.instances().len());
        self.audience.ears().listen(ear, user, || peer(now), list, Instant::now());
        view
    }
}
