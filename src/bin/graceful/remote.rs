//! What subcommands have in common that ask a registry over the network.

use super::Failure;
use super::transfer::{Server, Trouble};
use clap::Args;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use tokio::runtime;

/// Where a registry is that nobody has moved.
pub(super) const DEFAULT: &str = "http://127.0.0.1:8848";
/// Bytes of a file with a password.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Who asks. A password in the arguments would be seen by everyone on the machine.
#[derive(Args)]
pub(super) struct Login {
    /// Name of a user of the registry; the password is in --password-file, or in the variable
    /// `GRACEFUL_REGISTRY_PASSWORD`.
    #[arg(long, value_name = "NAME", env = "GRACEFUL_REGISTRY_USER")]
    user: Option<String>,

    /// File with the password.
    #[arg(long, value_name = "FILE", env = "GRACEFUL_REGISTRY_PASSWORD_FILE")]
    password_file: Option<OsString>, // No path: a variable that is empty says nothing.
}

impl Login {
    /// Logs in, if there is a user.
    ///
    /// # Errors
    /// When there is no password, or the wrong one.
    pub(super) async fn enter(&self, server: &mut Server) -> Result<(), Box<dyn Error>> {
        // A variable that is empty says nothing.
        let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) else { return Ok(()) };
        let password = self.password()?;
        let done: Result<(), Trouble> = server.log_in(user, &password).await;
        Ok(done?)
    }

    fn password(&self) -> Result<String, Box<dyn Error>> {
        let Some(path) = self.password_file.as_deref().filter(|path| !path.is_empty()).map(Path::new) else {
            let password = std::env::var("GRACEFUL_REGISTRY_PASSWORD").ok();
            return password.filter(|password| !password.is_empty()).ok_or_else(|| {
                "user: there is no password: give --password-file or GRACEFUL_REGISTRY_PASSWORD".into()
            });
        };
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text));
        read.map_err(|error| format!("password-file: cannot read {}: {error}", path.display()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Runs `work` to its end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime: io::Result<_> = runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failure::could_not)?.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn empty_variables_name_nobody() {
        let mut nowhere = Server::new("127.0.0.1:1").unwrap();
        let login = Login { user: Some(String::new()), password_file: Some(OsString::new()) };
        login.enter(&mut nowhere).await.unwrap();
        let login = Login { user: Some("ops".to_owned()), password_file: Some(OsString::new()) };
        let error = login.enter(&mut nowhere).await.unwrap_err().to_string();
        assert!(error.starts_with("user: there is no password"), "{error}");
    }
}
