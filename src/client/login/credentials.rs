//! Who this client is, and how it shows it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Bytes of a file with a password: more is no password.
const FILE_BYTES_MAX: usize = 4096;
/// The variables of the process that name a user.
const USER: &str = "GRACEFUL_REGISTRY_USER";
const PASSWORD: &str = "GRACEFUL_REGISTRY_PASSWORD";
const PASSWORD_FILE: &str = "GRACEFUL_REGISTRY_PASSWORD_FILE";

/// A user of the registry.
#[derive(Clone)]
pub(in crate::client) struct Credentials {
    user: Arc<str>,
    password: Password,
}

#[derive(Clone)]
enum Password {
    Given(Arc<str>),
    /// Read for each login, so that one that was changed counts from the next.
    File(PathBuf),
}

impl Credentials {
    pub(in crate::client) fn given(user: &str, password: &str) -> Self {
        Self { user: user.into(), password: Password::Given(password.into()) }
    }

    pub(in crate::client) fn with_file(user: &str, file: PathBuf) -> Self {
        Self { user: user.into(), password: Password::File(file) }
    }

    /// What the variables of the process say; one that is empty says nothing. An error says which do not go
    /// together.
    pub(in crate::client) fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let text = |name| variable(name).filter(|text| !text.is_empty());
        match (text(USER), text(PASSWORD), text(PASSWORD_FILE)) {
            (None, None, None) => Ok(None),
            (None, _, _) => Err(format!("{USER} is missing, and there is a password: give both or neither")),
            (Some(_), None, None) => {
                Err(format!("{USER} needs a password: give {PASSWORD} or {PASSWORD_FILE}"))
            }
            (Some(_), Some(_), Some(_)) => Err(format!("{PASSWORD} and {PASSWORD_FILE}: give only one")),
            (Some(user), Some(password), None) => Ok(Some(Self::given(&user, &password))),
            (Some(user), None, Some(file)) => Ok(Some(Self::with_file(&user, file.into()))),
        }
    }

    /// An error says what is missing.
    pub(in crate::client) fn check(&self) -> Result<(), String> {
        if self.user.is_empty() {
            return Err("the name of the user is empty".to_owned());
        }
        match &self.password {
            Password::Given(password) if password.is_empty() => Err("the password is empty".to_owned()),
            Password::Given(_) => Ok(()),
            Password::File(path) => {
                self.password.read().map(drop).map_err(|e| format!("{}: {e}", path.display()))
            }
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The password as it stands now.
    pub(super) async fn password(&self) -> io::Result<String> {
        let password = self.password.clone();
        match spawn_blocking(move || password.read()).await {
            Ok(read) => read,
            Err(ended) => Err(io::Error::other(ended)),
        }
    }
}

impl Password {
    /// What stands in a file counts without the line's end.
    fn read(&self) -> io::Result<String> {
        let path = match self {
            Self::Given(password) => return Ok(password.as_ref().to_owned()),
            Self::File(path) => path,
        };
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() || text.len() > FILE_BYTES_MAX {
            let message = format!("there is no password in it: accepted are 1 to {FILE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(password.to_owned())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<Credentials>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).to_owned())
        };
        Credentials::from_environment(variable)
    }

    #[tokio::test]
    async fn the_environment_names_a_user_with_one_password_or_nobody() {
        assert!(from(&[(USER, ""), (PASSWORD, "")]).unwrap().is_none());
        let given = from(&[(USER, "orders"), (PASSWORD, "s3cret")]).unwrap().unwrap();
        assert_eq!((given.user(), given.password().await.unwrap().as_str()), ("orders", "s3cret"));
        for (variables, said) in [
            (&[(PASSWORD, "s3cret")][..], "USER is missing"),
            (&[(USER, "orders")], "needs a password"),
            (&[(USER, "orders"), (PASSWORD, "s3cret"), (PASSWORD_FILE, "f")], "give only one"),
        ] {
            let error = from(variables).unwrap_err();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_password_in_a_file_is_read_anew_each_time() {
        let path = std::env::temp_dir().join(format!("tower-graceful-password-{}", std::process::id()));
        let credentials = Credentials::with_file("orders", path.clone());
        assert!(credentials.check().unwrap_err().contains("No such file"));
        for (text, password) in [("one\n", "one"), ("two three\r\n", "two three"), (" four", " four")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(credentials.check(), Ok(()));
            assert_eq!(credentials.password().await.unwrap(), password);
        }
        for bad in [String::new(), "\n".to_owned(), "x".repeat(FILE_BYTES_MAX + 1)] {
            std::fs::write(&path, bad).unwrap();
            assert!(credentials.check().unwrap_err().contains("no password in it"));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nothing_shows_the_password() {
        let shown = format!("{:?}", Credentials::given("orders", "s3cret"));
        assert!(shown.contains("orders") && !shown.contains("s3cret"), "{shown}");
    }
}
