//! What must be there before anybody is served: the key of the tokens, and a first administrator if one is
//! given.

use super::password::{HashError, Password, PasswordHash, random};
use super::token::TokenKey;
use super::user::{Accounts, Edit, UserName};
use crate::registry::error::Error;
use crate::registry::fact::Fact;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The administrator that a registry makes at its start if it has no users: one that was removed since does not
/// come back.
///
/// ```
/// use tower_graceful::registry::{Admin, Password};
/// let admin = Admin { name: "ops".parse()?, password: Password::new("correct horse")? };
/// assert_eq!(format!("{admin:?}"), r#"Admin { name: "ops", password: Password(..) }"#);
/// # Ok::<(), tower_graceful::registry::InvalidUser>(())
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its name.
    pub name: UserName,
    /// Its password; one that was changed later stays changed.
    pub password: Password,
}

/// The facts that are missing.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) async fn prepare(accounts: &Accounts, admin: Option<&Admin>) -> Result<Vec<Fact>, Error> {
    let mut facts = Vec::new();
    if accounts.key().is_none() {
        facts.push(Fact::Key { key: Some(Arc::new(TokenKey::generate()?)) });
    }
    let Some(Admin { name, password }) = admin else { return Ok(facts) };
    if accounts.user(name).is_some() {
        tracing::info!(user.name = %name, "the first administrator is there, with the password that was set last");
        return Ok(facts);
    }
    if !accounts.is_empty() {
        tracing::warn!(user.name = %name, "no administrator made: there are users, and one of them is an administrator");
        return Ok(facts);
    }
    let password = password.clone();
    let hashed = spawn_blocking(move || PasswordHash::of(&password)).await;
    let password = hashed.map_err(|_| HashError::Failed)??;
    let grants = BTreeSet::from([super::Grant::everywhere(super::Role::Admin)]);
    let stamp = u64::from_le_bytes(random()?);
    let user = accounts.after(name, Edit::Create { password, grants }, stamp)?;
    tracing::info!(user.name = %name, "first administrator made");
    facts.push(Fact::User { name: name.clone(), user });
    Ok(facts)
}
