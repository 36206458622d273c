//! Who looks at a page, and what they may do there.

use crate::model::Namespace;
use crate::protocol::form::Form;
use crate::registry::access::{Access, Action, Place, Principal, User, actor, decide};
use crate::registry::error::Refusal;
use crate::registry::http::{Need, allowed};
use std::sync::Arc;

/// Whoever looks at a page, as they were let in.
#[derive(Clone, Debug)]
pub(super) struct Viewer {
    /// Nothing of whoever has not said yet who they are, and is asked.
    principal: Option<Principal>,
}

impl Viewer {
    /// In whose name the present request is done.
    pub(super) fn present() -> Self {
        Self { principal: Some(actor().map_or(Principal::Anyone, Principal::User)) }
    }

    /// Whoever may do nothing.
    pub(super) fn nobody() -> Self {
        Self { principal: None }
    }

    /// Whether nobody is asked who they are.
    pub(super) fn is_anyone(&self) -> bool {
        matches!(self.principal, Some(Principal::Anyone))
    }

    /// The name; nothing where nobody is asked who they are.
    pub(super) fn name(&self) -> Option<&str> {
        self.user().map(|user| user.name.as_str())
    }

    /// Whether they may change what operators set in a namespace: whoever may not is shown no action.
    pub(super) fn may_operate(&self, namespace: &Namespace) -> bool {
        self.may(Action::Operate, Place::Namespace(namespace))
    }

    /// Whether they may see a namespace.
    pub(super) fn may_read(&self, namespace: &Namespace) -> bool {
        self.may(Action::Read, Place::Namespace(namespace))
    }

    /// Whether they may still see what they were let in to see: a stream outlives the token that it was opened
    /// with, but not the right, nor the password.
    pub(super) fn may_still(&self, access: &Access, need: Need, form: &Form) -> Result<(), Refusal> {
        let present = match self.user() {
            Some(user) => {
                let accounts = access.hub().accounts();
                let present = accounts.user(&user.name).filter(|present| present.stamp == user.stamp);
                present.cloned().map(Principal::User)
            }
            None => (!access.asks()).then_some(Principal::Anyone),
        };
        let present = present.ok_or(crate::registry::access::Denied::BadToken)?;
        allowed(need, &present, form)
    }

    fn may(&self, action: Action, place: Place<'_>) -> bool {
        self.principal.as_ref().is_some_and(|principal| decide(principal, action, place).is_ok())
    }

    fn user(&self) -> Option<&Arc<User>> {
        match &self.principal {
            None | Some(Principal::Anyone) => None,
            Some(Principal::User(user)) => Some(user),
        }
    }
}
