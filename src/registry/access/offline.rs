//! Users of a registry that does not run, in its data directory.

use super::grant::Grant;
use super::password::{HashError, Password, PasswordHash, random};
use super::user::{Accounts, Edit, UserName};
use crate::registry::data_dir::DataDir;
use crate::registry::error::Error;
use crate::registry::fact::Fact;
use crate::registry::ledger::Ledger;
use crate::registry::storage::{Embedded, Storage as _, StorageError};
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;

/// The users in a data directory that no registry works in: so the first one is made.
///
/// Users of a registry that runs are changed over its HTTP API.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use tower_graceful::registry::{Password, Users};
/// # let data_dir = std::env::temp_dir().join(format!("tower-graceful-doc-{}", std::process::id()));
/// let mut users = Users::open(&data_dir)?;
/// users.add(&"ops".parse()?, Password::new("correct horse")?, ["admin".parse()?]).await?;
/// let grants: Vec<String> = users.list().flat_map(|(_, grants)| grants).map(ToString::to_string).collect();
/// assert_eq!(grants, ["admin"]);
/// # std::fs::remove_dir_all(data_dir).unwrap();
/// # Ok::<(), tower_graceful::registry::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    ledger: Ledger,
    storage: Embedded,
    /// Dropped last.
    _data_dir: DataDir,
}

impl Users {
    /// Takes the data directory, which is made if it is absent, until this is dropped.
    ///
    /// # Errors
    /// When it cannot be read or written, or a registry works in it.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.to_owned();
        let cannot = |source: StorageError| Error::Stored { path: path.clone(), source: source.into() };
        let lock = DataDir::lock(data_dir)?;
        let storage = Embedded::open(data_dir).map_err(cannot)?;
        let mut ledger = Ledger::default();
        for fact in storage.replay().map_err(cannot)? {
            ledger.enter(fact);
        }
        Ok(Self { path, ledger, storage, _data_dir: lock })
    }

    /// All users with their roles, by name.
    pub fn list(&self) -> impl Iterator<Item = (&UserName, impl Iterator<Item = &Grant>)> {
        self.accounts().users().map(|user| (&user.name, user.grants.iter()))
    }

    /// Makes a user; the first one must be an administrator.
    ///
    /// # Errors
    /// When there is one of the name, the first one is to be no administrator, or it cannot be stored.
    pub async fn add(
        &mut self,
        name: &UserName,
        password: Password,
        grants: impl IntoIterator<Item = Grant>,
    ) -> Result<(), Error> {
        let grants = grants.into_iter().collect();
        let password = hash(password).await?;
        self.change(name, Edit::Create { password, grants }).await
    }

    /// Gives a user another password.
    ///
    /// # Errors
    /// When there is no such user, or it cannot be stored.
    pub async fn set_password(&mut self, name: &UserName, password: Password) -> Result<(), Error> {
        let password = hash(password).await?;
        self.change(name, Edit::SetPassword(password)).await
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// When there is no such user, or it cannot be stored.
    pub async fn grant(&mut self, name: &UserName, grant: Grant) -> Result<(), Error> {
        self.change(name, Edit::Grant(grant)).await
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// When there is no such user, it is the last administrator, or it cannot be stored.
    pub async fn revoke(&mut self, name: &UserName, grant: Grant) -> Result<(), Error> {
        self.change(name, Edit::Revoke(grant)).await
    }

    /// Removes a user.
    ///
    /// # Errors
    /// When there is no such user, it is the last administrator, or it cannot be stored.
    pub async fn remove(&mut self, name: &UserName) -> Result<(), Error> {
        self.change(name, Edit::Remove).await
    }

    async fn change(&mut self, name: &UserName, edit: Edit) -> Result<(), Error> {
        let stamp = u64::from_le_bytes(random()?);
        let fact = Fact::User { name: name.clone(), user: self.accounts().after(name, edit, stamp)? };
        let appended = self.storage.append(std::slice::from_ref(&fact)).await;
        appended.map_err(|source| Error::Stored { path: self.path.clone(), source: source.into() })?;
        self.ledger.enter(fact);
        Ok(())
    }

    fn accounts(&self) -> &Accounts {
        self.ledger.accounts()
    }
}

async fn hash(password: Password) -> Result<PasswordHash, Error> {
    let hashed = spawn_blocking(move || PasswordHash::of(&password)).await;
    Ok(hashed.map_err(|_| HashError::Failed)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::InvalidUser;

    #[tokio::test]
    async fn users_are_on_disk_when_the_directory_is_opened_again_and_one_process_has_it_at_a_time() {
        let path = std::env::temp_dir().join(format!("tower-graceful-users-{}", std::process::id()));
        let (ann, bob): (UserName, UserName) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let password = || Password::new("correct horse").unwrap();
        let mut users = Users::open(&path).unwrap();
        users.add(&ann, password(), ["admin".parse().unwrap()]).await.unwrap();
        users.add(&bob, password(), ["write@dev".parse().unwrap()]).await.unwrap();
        users.grant(&bob, "read".parse().unwrap()).await.unwrap();
        users.revoke(&bob, "write@dev".parse().unwrap()).await.unwrap();
        users.set_password(&bob, Password::new("another one").unwrap()).await.unwrap();
        assert!(matches!(Users::open(&path), Err(Error::DataDirInUse { .. })));
        drop(users);
        let mut users = Users::open(&path).unwrap();
        let told = |users: &Users| {
            let told = users.list().map(|(name, grants)| {
                let grants: Vec<_> = grants.map(ToString::to_string).collect();
                format!("{name}: {}", grants.join(" "))
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&users), ["ann: admin", "bob: read"]);
        users.remove(&bob).await.unwrap();
        let last = users.remove(&ann).await.unwrap_err();
        assert!(matches!(last, Error::User(InvalidUser::LastAdmin(_))), "{last}");
        assert_eq!(told(&users), ["ann: admin"]);
        std::fs::remove_dir_all(path).unwrap();
    }
}
