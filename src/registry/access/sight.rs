//! What of an answer that spans namespaces whoever asks may see.

use super::actor::actor;
use super::decide::{Action, Place};
use super::user::User;
use crate::model::Namespace;
use std::sync::Arc;

/// The namespaces that somebody may read; all of them where nobody is asked who they are.
#[derive(Clone, Debug)]
pub(crate) struct Sight(Option<Arc<User>>);

impl Sight {
    /// That of whoever asks for what is being done.
    pub(crate) fn of_actor() -> Self {
        Self(actor())
    }

    /// That of somebody who was let in, or of anyone.
    #[cfg(feature = "console")]
    pub(crate) fn of(user: Option<Arc<User>>) -> Self {
        Self(user)
    }

    /// Whether a namespace is among them.
    pub(crate) fn sees(&self, namespace: &Namespace) -> bool {
        self.may_read(Place::Namespace(namespace))
    }

    /// Whether all are, so that what is in none may be seen too.
    pub(crate) fn sees_all(&self) -> bool {
        self.may_read(Place::Everywhere)
    }

    fn may_read(&self, place: Place<'_>) -> bool {
        self.0.as_ref().is_none_or(|user| user.may(Action::Read, place))
    }
}
