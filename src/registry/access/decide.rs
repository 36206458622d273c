//! Whether somebody may do something: the whole rule, as one function.

use super::grant::Role;
use super::user::User;
use crate::model::Namespace;
use std::sync::Arc;

/// Whoever asks for something.
#[derive(Clone, Debug)]
pub(crate) enum Principal {
    /// Nobody is asked who they are.
    Anyone,
    /// Somebody who has shown a token or a password.
    User(Arc<User>),
}

/// What is asked for; each needs the role of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// To see lists, and to be sent them.
    Read,
    /// To publish instances, and to take them off.
    Write,
    /// To set what counts more than what instances register, and to make users.
    Operate,
}

/// Where it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Namespace(&'a Namespace),
    /// In one namespace or another: the answer has what is in those where the right is.
    Somewhere,
    /// In all namespaces at once.
    Everywhere,
}

/// Why something was not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("authorization failed: log in, and send the token as accessToken or Authorization: Bearer")]
    NoToken,
    #[error("authorization failed: the token is not of this registry, or its user has changed: log in anew")]
    BadToken,
    #[error("authorization failed: the token has expired: log in anew")]
    Expired,
    #[error(
        "users are changed over HTTP by users only: make the first one by `graceful registry user add` or GRACEFUL_REGISTRY_ADMIN_USER"
    )]
    NobodyAsks,
    #[error("authorization failed: {user} may not do this {place}: it needs the role {needed}")]
    NotAllowed { user: String, needed: &'static str, place: String },
}

/// Whether `principal` may do `action` at `place`.
///
/// # Errors
/// When no grant of the principal has the role and covers the place.
pub(crate) fn decide(principal: &Principal, action: Action, place: Place<'_>) -> Result<(), Denied> {
    let Principal::User(user) = principal else { return Ok(()) };
    if user.may(action, place) { Ok(()) } else { Err(denied(user, action, place)) }
}

impl User {
    /// Whether one of the grants has the role and covers the place.
    pub(crate) fn may(&self, action: Action, place: Place<'_>) -> bool {
        self.grants.iter().any(|grant| {
            let covers = match (&grant.namespace, place) {
                (None, _) => true,
                (Some(own), Place::Namespace(asked)) => own == asked,
                (Some(_), Place::Somewhere) => true,
                (Some(_), Place::Everywhere) => false,
            };
            covers && grant.role >= action.role()
        })
    }
}

impl Action {
    const fn role(self) -> Role {
        match self {
            Self::Read => Role::Read,
            Self::Write => Role::Write,
            Self::Operate => Role::Admin,
        }
    }
}

fn denied(user: &User, action: Action, place: Place<'_>) -> Denied {
    let place = match place {
        Place::Namespace(namespace) => format!("in the namespace {namespace}"),
        Place::Somewhere => "in any namespace".to_owned(),
        Place::Everywhere => "in all namespaces".to_owned(),
    };
    let needed = match action {
        Action::Read => "read",
        Action::Write => "write",
        Action::Operate => "admin",
    };
    Denied::NotAllowed { user: user.name.to_string(), needed, place }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of read, write and operate a user with these grants may, in `dev`, in `prod` and everywhere.
    fn rights(grants: &[&str]) -> [[bool; 3]; 3] {
        let user = Principal::User(Arc::new(User::with_grants("ann", grants)));
        let [dev, prod] = ["dev", "prod"].map(|name| name.parse::<Namespace>().unwrap());
        let places = [Place::Namespace(&dev), Place::Namespace(&prod), Place::Everywhere];
        let actions = [Action::Read, Action::Write, Action::Operate];
        places.map(|place| actions.map(|action| decide(&user, action, place).is_ok()))
    }

    #[test]
    fn a_role_includes_the_lesser_ones_and_holds_where_it_was_given() {
        let (none, read, write, all) =
            ([false; 3], [true, false, false], [true, true, false], [true, true, true]);
        for (grants, expected) in [
            (&[][..], [none, none, none]),
            (&["read"], [read, read, read]),
            (&["write"], [write, write, write]),
            (&["admin"], [all, all, all]),
            (&["read@dev"], [read, none, none]),
            (&["write@dev"], [write, none, none]),
            (&["admin@dev"], [all, none, none]),
            (&["admin@dev", "read"], [all, read, read]),
            (&["read@dev", "write@prod"], [read, write, none]),
            (&["admin@dev", "admin@prod"], [all, all, none]),
        ] {
            assert_eq!(rights(grants), expected, "{grants:?}");
        }
        let anyone = decide(&Principal::Anyone, Action::Operate, Place::Everywhere);
        assert_eq!(anyone, Ok(()));
    }

    #[test]
    fn a_refusal_says_who_lacks_what_and_where() {
        let user = Principal::User(Arc::new(User::with_grants("ann", &["read"])));
        let dev = "dev".parse().unwrap();
        let error = decide(&user, Action::Write, Place::Namespace(&dev)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "authorization failed: ann may not do this in the namespace dev: it needs the role write"
        );
    }
}
