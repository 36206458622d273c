//! Who looks at a page, and what they may do there.

use crate::model::Namespace;
use crate::protocol::form::Form;
use crate::registry::access::{Access, Action, Denied, Place, Principal, Sight, User, actor, decide};
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

    /// Somebody who is known.
    pub(super) fn of(principal: Principal) -> Self {
        Self { principal: Some(principal) }
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

    /// Whether they may change what spans namespaces, such as connections.
    pub(super) fn may_operate_everywhere(&self) -> bool {
        self.may(Action::Operate, Place::Everywhere)
    }

    /// Whether they may see what is in no namespace, such as the registry's settings.
    pub(super) fn may_read_everywhere(&self) -> bool {
        self.may(Action::Read, Place::Everywhere)
    }

    /// Whether they may see a namespace.
    pub(super) fn may_read(&self, namespace: &Namespace) -> bool {
        self.may(Action::Read, Place::Namespace(namespace))
    }

    /// What they may see of a list that spans namespaces.
    ///
    /// # Errors
    /// When they have not said who they are, and are asked.
    pub(super) fn sight(&self) -> Result<Sight, Refusal> {
        match &self.principal {
            None => Err(Denied::NoToken.into()),
            Some(Principal::Anyone) => Ok(Sight::of(None)),
            Some(Principal::User(user)) => Ok(Sight::of(Some(user.clone()))),
        }
    }

    /// The same with the rights that they have now, if they may still see what they were let in to see: a stream
    /// outlives the token that it was opened with, but not the right, nor the password.
    pub(super) fn renewed(&self, access: &Access, need: Need, form: &Form) -> Result<Self, Refusal> {
        let present = match self.user() {
            Some(user) => {
                let accounts = access.hub().accounts();
                let present = accounts.user(&user.name).filter(|present| present.stamp == user.stamp);
                present.cloned().map(Principal::User)
            }
            None => (!access.asks()).then_some(Principal::Anyone),
        };
        let principal = present.ok_or(Denied::BadToken)?;
        allowed(need, &principal, form)?;
        Ok(Self { principal: Some(principal) })
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
