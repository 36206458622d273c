//! What a user may do: roles, each in one namespace or in all of them.

use crate::model::Namespace;
use std::fmt;
use std::str::FromStr;

/// What somebody is trusted with; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Lists and subscribes.
    Read,
    /// Registers instances, keeps them alive and takes them off.
    Write,
    /// Sets what counts more than what instances register; in all namespaces, also makes users.
    Admin,
}

/// A role where it holds, written `write@NAMESPACE`, or `write` for all namespaces.
///
/// ```
/// use tower_graceful::registry::{Grant, Role};
/// let grant: Grant = "write@dev".parse()?;
/// assert_eq!((grant.role, grant.to_string().as_str()), (Role::Write, "write@dev"));
/// assert_eq!("admin".parse::<Grant>()?, Grant { role: Role::Admin, namespace: None });
/// # Ok::<(), tower_graceful::registry::InvalidUser>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// What its holder is trusted with.
    pub role: Role,
    /// Where; everywhere without one.
    pub namespace: Option<Namespace>,
}

/// What Nacos calls an administrator.
const NACOS_ADMIN: &str = "ROLE_ADMIN";

impl Grant {
    /// The role in all namespaces.
    pub const fn everywhere(role: Role) -> Self {
        Self { role, namespace: None }
    }
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.as_str())?;
        match &self.namespace {
            Some(namespace) => write!(f, "@{namespace}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Grant {
    type Err = super::InvalidUser;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || super::InvalidUser::Role { given: text.chars().take(64).collect() };
        let (role, namespace) = match text.trim().split_once('@') {
            // A namespace that is spelled out and blank is a slip, and would be a grave one.
            Some((_, namespace)) if namespace.trim().is_empty() => return Err(invalid()),
            Some((role, namespace)) => (role, Some(namespace.parse().map_err(|_| invalid())?)),
            None => (text.trim(), None),
        };
        let role = match role {
            "read" => Role::Read,
            "write" => Role::Write,
            "admin" => Role::Admin,
            NACOS_ADMIN if namespace.is_none() => Role::Admin,
            _ => return Err(invalid()),
        };
        Ok(Self { role, namespace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_survives_its_own_text_and_no_other_word_is_one() {
        for text in ["read", "write", "admin", "read@dev", "write@dev", "admin@public"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        assert_eq!("ROLE_ADMIN".parse::<Grant>().unwrap(), Grant::everywhere(Role::Admin));
        for bad in ["", "@dev", "admin@", "write@ ", "ROLE_ADMIN@dev", "root", "Admin", "write@a@b", "read@*"]
        {
            assert!(bad.parse::<Grant>().unwrap_err().to_string().contains("read, write or admin"), "{bad}");
        }
    }
}
