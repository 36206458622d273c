//! Users, and what may be changed about them. Pure: hashes and stamps come in as arguments.

use super::grant::{Grant, Role};
use super::password::PasswordHash;
use super::token::TokenKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Users of one registry: more than any team has; they are looked through in answers and written one by one.
const USERS_MAX: usize = 10_000;
/// Grants of one user: a role in each of many namespaces.
const GRANTS_MAX: usize = 256;

/// Name of a user: 1 to 64 of `A-Z a-z 0-9 _ - . @`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

/// Somebody who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: UserName,
    pub(crate) password: PasswordHash,
    pub(crate) grants: BTreeSet<Grant>,
    /// A random number that is another one of every user and password: tokens carry it, and so die with what they
    /// were given for. They live through a change of roles, which count as they are: many clients keep a token
    /// until its time is up, whatever they are answered.
    pub(crate) stamp: u64,
}

/// All users, and the key that their tokens are signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    users: BTreeMap<UserName, Arc<User>>,
    key: Option<Arc<TokenKey>>,
}

/// A change of one user.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Makes the user, which must not be there.
    Create {
        password: PasswordHash,
        grants: BTreeSet<Grant>,
    },
    SetPassword(PasswordHash),
    Grant(Grant),
    Revoke(Grant),
    Remove,
}

/// What is wrong with a user, or with a change of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUser {
    /// The name breaks the rule of [`UserName`].
    #[error("user name {given:?} is not valid: accepted is 1 to 64 of A-Z a-z 0-9 _ - . @")]
    Name {
        /// What was given, cut after 64 characters.
        given: String,
    },
    /// The password is too short or too long.
    #[error("the password is not valid: accepted are 8 to 256 characters")]
    Password,
    /// No role is written like this.
    #[error("role {given:?} is not valid: accepted is read, write or admin, alone or with @NAMESPACE")]
    Role {
        /// What was given, cut after 64 characters.
        given: String,
    },
    /// Somebody has the name. Nacos' words, as the next ones.
    #[error("user '{0}' already exist!")]
    Exists(UserName),
    /// Nobody has the name.
    #[error("user '{0}' not exist!")]
    Unknown(UserName),
    /// The first user must be able to make the second one.
    #[error("the first user needs the role admin")]
    FirstNotAdmin,
    /// Without the last administrator nobody could make another one.
    #[error("user '{0}' is the last one with the role admin: give it to another user first")]
    LastAdmin(UserName),
    /// One of the bounds is reached.
    #[error("too many {what}: accepted are up to {max}")]
    TooMany {
        /// What there would be too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

impl UserName {
    /// Checks the name.
    ///
    /// # Errors
    /// When it breaks the rule above.
    pub fn new(name: &str) -> Result<Self, InvalidUser> {
        let accepted = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte);
        if (1..=64).contains(&name.len()) && name.bytes().all(accepted) {
            return Ok(Self(name.into()));
        }
        Err(InvalidUser::Name { given: name.chars().take(64).collect() })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = InvalidUser;

    fn from_str(name: &str) -> Result<Self, InvalidUser> {
        Self::new(name)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl User {
    /// Whether the user may do everything.
    pub(crate) fn is_admin(&self) -> bool {
        self.grants.contains(&Grant::everywhere(Role::Admin))
    }

    #[cfg(test)]
    pub(crate) fn with_grants(name: &str, grants: &[&str]) -> Self {
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        Self { name: name.parse().unwrap(), password: PasswordHash::nobodys(), grants, stamp: 1 }
    }
}

impl Accounts {
    pub(crate) fn user(&self, name: &UserName) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// All users, by name.
    pub(crate) fn users(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.users.values()
    }

    pub(crate) fn key(&self) -> Option<&Arc<TokenKey>> {
        self.key.as_ref()
    }

    /// Whether there are no users.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Puts a user, or that there is none of the name, in the place of what is known of it, and returns that.
    pub(crate) fn enter(&mut self, name: &UserName, user: Option<Arc<User>>) -> Option<Arc<User>> {
        match user {
            Some(user) => self.users.insert(name.clone(), user),
            None => self.users.remove(name),
        }
    }

    /// The same for the key.
    pub(crate) fn enter_key(&mut self, key: Option<Arc<TokenKey>>) -> Option<Arc<TokenKey>> {
        std::mem::replace(&mut self.key, key)
    }

    /// What a user is after a change, which gives it this `stamp` if it has another password then; nothing when it is gone then.
    ///
    /// # Errors
    /// When the change contradicts who is there, or a bound is reached.
    pub(crate) fn after(
        &self,
        name: &UserName,
        edit: Edit,
        stamp: u64,
    ) -> Result<Option<Arc<User>>, InvalidUser> {
        let known = self.users.get(name);
        if let Edit::Create { password, grants } = edit {
            return self.created(name, password, grants, stamp).map(Some);
        }
        let mut user = User::clone(known.ok_or_else(|| InvalidUser::Unknown(name.clone()))?);
        let user = match edit {
            Edit::Create { .. } => unreachable!("handled above"),
            Edit::SetPassword(password) => Some(User { password, stamp, ..user }),
            Edit::Grant(grant) => {
                user.grants.insert(grant);
                Some(user)
            }
            Edit::Revoke(grant) => {
                user.grants.remove(&grant);
                Some(user)
            }
            Edit::Remove => None,
        };
        self.keeps_an_admin(name, user.as_ref())?;
        user.map(fitting).transpose().map(|user| user.map(Arc::new))
    }

    fn created(
        &self,
        name: &UserName,
        password: PasswordHash,
        grants: BTreeSet<Grant>,
        stamp: u64,
    ) -> Result<Arc<User>, InvalidUser> {
        if self.users.contains_key(name) {
            return Err(InvalidUser::Exists(name.clone()));
        }
        if self.users.len() >= USERS_MAX {
            return Err(InvalidUser::TooMany { what: "users", max: USERS_MAX });
        }
        let user = User { name: name.clone(), password, grants, stamp };
        if self.users.is_empty() && !user.is_admin() {
            return Err(InvalidUser::FirstNotAdmin);
        }
        fitting(user).map(Arc::new)
    }

    /// Refuses what would leave users, but none that could make another one.
    fn keeps_an_admin(&self, name: &UserName, after: Option<&User>) -> Result<(), InvalidUser> {
        let others = || self.users.values().filter(|user| user.name != *name);
        let was = self.users.get(name).is_some_and(|user| user.is_admin());
        let stays = after.is_some_and(User::is_admin) || others().any(|user| user.is_admin());
        if was && !stays { Err(InvalidUser::LastAdmin(name.clone())) } else { Ok(()) }
    }
}

fn fitting(user: User) -> Result<User, InvalidUser> {
    if user.grants.len() > GRANTS_MAX {
        return Err(InvalidUser::TooMany { what: "roles of one user", max: GRANTS_MAX });
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(grants: &[&str]) -> Edit {
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        Edit::Create { password: PasswordHash::nobodys(), grants }
    }

    /// Makes a change, and says what came of it: the grants, or why it was refused.
    fn edit(accounts: &mut Accounts, name: &str, edit: Edit, stamp: u64) -> Result<String, InvalidUser> {
        let name: UserName = name.parse().unwrap();
        let user = accounts.after(&name, edit, stamp)?;
        accounts.enter(&name, user.clone());
        let grants = user.iter().flat_map(|user| &user.grants).map(ToString::to_string);
        Ok(grants.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_first_user_is_an_administrator_and_the_last_one_stays() {
        let mut accounts = Accounts::default();
        let all = &mut accounts;
        let lesser = create(&["read", "admin@dev"]);
        assert_eq!(edit(all, "ann", lesser, 1).unwrap_err(), InvalidUser::FirstNotAdmin);
        assert_eq!(edit(all, "ann", create(&["admin"]), 1).unwrap(), "admin");
        assert_eq!(edit(all, "bob", create(&[]), 2).unwrap(), "");
        let admin = || Grant::everywhere(Role::Admin);
        let last = InvalidUser::LastAdmin("ann".parse().unwrap());
        assert_eq!(edit(all, "ann", Edit::Remove, 3).unwrap_err(), last);
        assert_eq!(edit(all, "ann", Edit::Revoke(admin()), 3).unwrap_err(), last);
        assert_eq!(edit(all, "bob", Edit::Grant(admin()), 3).unwrap(), "admin");
        assert_eq!(edit(all, "ann", Edit::Remove, 4).unwrap(), "");
        assert!(edit(all, "bob", Edit::Remove, 5).is_err());
    }

    #[test]
    fn another_password_gives_a_user_another_stamp_and_a_role_does_not() {
        let mut accounts = Accounts::default();
        edit(&mut accounts, "ann", create(&["admin"]), 1).unwrap();
        let grant: Grant = "write".parse().unwrap();
        let edits = [
            (Edit::Grant(grant.clone()), 1),
            (Edit::SetPassword(PasswordHash::nobodys()), 3),
            (Edit::Revoke(grant), 3),
        ];
        for (stamp, (change, expected)) in (2..).zip(edits) {
            edit(&mut accounts, "ann", change, stamp).unwrap();
            assert_eq!(accounts.user(&"ann".parse().unwrap()).unwrap().stamp, expected);
        }
    }

    #[test]
    fn who_is_there_is_not_made_again_and_who_is_not_is_not_changed() {
        let mut accounts = Accounts::default();
        edit(&mut accounts, "ann", create(&["admin"]), 1).unwrap();
        assert_eq!(
            edit(&mut accounts, "ann", create(&["admin"]), 2).unwrap_err().to_string(),
            "user 'ann' already exist!"
        );
        let change = Edit::SetPassword(PasswordHash::nobodys());
        assert!(matches!(edit(&mut accounts, "bob", change, 2), Err(InvalidUser::Unknown(_))));
        assert!(matches!(edit(&mut accounts, "bob", Edit::Remove, 2), Err(InvalidUser::Unknown(_))));
    }

    #[test]
    fn a_user_has_a_bounded_number_of_roles() {
        let mut accounts = Accounts::default();
        edit(&mut accounts, "ann", create(&["admin"]), 1).unwrap();
        let mut grant = |n: usize| {
            let grant = format!("read@n{n}").parse().unwrap();
            edit(&mut accounts, "ann", Edit::Grant(grant), 2)
        };
        assert!((1..GRANTS_MAX).all(|n| grant(n).is_ok()));
        assert!(matches!(grant(GRANTS_MAX), Err(InvalidUser::TooMany { .. })));
    }

    #[test]
    fn a_name_that_breaks_the_rule_is_refused_with_the_rule() {
        for bad in ["", "a b", "a/b", "\u{fc}", &"x".repeat(65)] {
            assert!(UserName::new(bad).unwrap_err().to_string().contains("1 to 64"), "{bad}");
        }
        assert_eq!(UserName::new("ann.b@example-1").unwrap().as_str(), "ann.b@example-1");
    }
}
