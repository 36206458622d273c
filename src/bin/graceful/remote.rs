//! What subcommands have in common that ask a registry over the network.

use super::transfer::{Server, Trouble, Trust};
use super::{Failure, password};
use clap::Args;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use tokio::runtime;
use tower_graceful::client::TlsFiles;

/// Where a registry is that nobody has moved.
pub(super) const DEFAULT: &str = "127.0.0.1:8848";
/// Bytes of a file with a password: more is no password.
const PASSWORD_BYTES_MAX: usize = 4096;
/// The variables with a password, and with the file of one.
const PASSWORD: &str = "GRACEFUL_REGISTRY_PASSWORD";
const PASSWORD_FILE: &str = "GRACEFUL_REGISTRY_PASSWORD_FILE";

/// How a registry with TLS is known. A variable that is empty says nothing.
#[derive(Args)]
pub(super) struct Tls {
    /// PEM file with the roots by which the registry is known; it is asked over TLS then, and only then. The
    /// roots of the operating system do not count.
    #[arg(long = "tls-ca", value_name = "FILE", env = "GRACEFUL_REGISTRY_TLS_CA")]
    ca: Option<OsString>,

    /// The name that the registry's certificate is for [default: the host of its address].
    #[arg(long = "tls-server-name", value_name = "NAME", env = "GRACEFUL_REGISTRY_TLS_SERVER_NAME")]
    server_name: Option<String>,

    /// PEM file with a certificate and its private key, for a registry that asks for one.
    #[arg(long = "tls-identity", value_name = "FILE", env = "GRACEFUL_REGISTRY_TLS_IDENTITY")]
    identity: Option<OsString>,
}

impl Tls {
    /// The registry at an address, as [`Server::new`] reads it.
    ///
    /// # Errors
    /// When the address and these settings do not go together, or a file cannot be used.
    pub(super) fn server(&self, address: &str) -> Result<Server, Box<dyn Error>> {
        Ok(Server::new(address, self.trust()?)?)
    }

    /// How the registry is known, if it speaks TLS.
    ///
    /// # Errors
    /// When these settings do not go together, or a file cannot be used.
    pub(super) fn trust(&self) -> Result<Option<Trust>, Box<dyn Error>> {
        let server_name = self.server_name.clone().filter(|name| !name.is_empty());
        let identity = said(self.identity.as_deref());
        let Some(ca) = said(self.ca.as_deref()) else {
            // Who asks for TLS is not to get none.
            return match (server_name, identity) {
                (None, None) => Ok(None),
                (Some(_), _) => Err("tls-server-name: needs --tls-ca".into()),
                (_, Some(_)) => Err("tls-identity: needs --tls-ca".into()),
            };
        };
        let files = TlsFiles::new(ca);
        let files = match identity {
            Some(identity) => files.with_identity(identity, identity),
            None => files,
        };
        Ok(Some(Trust { config: files.config()?, server_name }))
    }
}

/// Who asks. A password in the arguments would be seen by everyone on the machine.
#[derive(Args)]
pub(super) struct Login {
    /// Name of a user of the registry; the password is in --password-file, in one of the variables
    /// `GRACEFUL_REGISTRY_PASSWORD` and `GRACEFUL_REGISTRY_PASSWORD_FILE`, or typed on a terminal.
    #[arg(long, value_name = "NAME", env = "GRACEFUL_REGISTRY_USER")]
    user: Option<String>,

    /// File with the password; it counts more than the variables.
    #[arg(long, value_name = "FILE")]
    password_file: Option<OsString>,
}

impl Login {
    /// Logs in, if there is a user.
    ///
    /// # Errors
    /// When there is no password, or the wrong one.
    pub(super) async fn enter(&self, server: &mut Server) -> Result<(), Box<dyn Error>> {
        let Some((user, password)) = self.named()? else { return Ok(()) };
        let done: Result<(), Trouble> = server.log_in(&user, &password).await;
        Ok(done?)
    }

    /// The user and their password, if there is a user.
    ///
    /// # Errors
    /// When there is no password.
    pub(super) fn named(&self) -> Result<Option<(String, String)>, Box<dyn Error>> {
        // A variable that is empty says nothing.
        let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) else { return Ok(None) };
        let password = self.password(|name| std::env::var_os(name), io::stdin().is_terminal())?;
        Ok(Some((user.to_owned(), password)))
    }

    /// The one password that is given: of two in the environment nobody knows which is the old one.
    fn password(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
        can_type: bool,
    ) -> Result<String, Box<dyn Error>> {
        if let Some(path) = said(self.password_file.as_deref()) {
            return read_password(path);
        }
        let [password, file] = [PASSWORD, PASSWORD_FILE].map(variable);
        match (said(password.as_deref()), said(file.as_deref())) {
            (Some(_), Some(_)) => Err(format!("{PASSWORD} and {PASSWORD_FILE}: give only one").into()),
            (None, Some(path)) => read_password(path),
            (Some(password), None) => {
                let text = password.to_str().ok_or_else(|| format!("{PASSWORD}: it is no UTF-8"))?;
                Ok(text.to_owned())
            }
            (None, None) if can_type => Ok(password::typed()?),
            (None, None) => Err(format!(
                "user: there is no password: give --password-file, {PASSWORD} or {PASSWORD_FILE}"
            )
            .into()),
        }
    }
}

/// What is given, unless it is empty.
fn said(text: Option<&OsStr>) -> Option<&OsStr> {
    text.filter(|text| !text.is_empty())
}

/// What stands in a file, without the line's end.
fn read_password(path: &OsStr) -> Result<String, Box<dyn Error>> {
    let (path, mut text) = (Path::new(path), String::new());
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(PASSWORD_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| format!("password-file: cannot read {}: {error}", path.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || text.len() > PASSWORD_BYTES_MAX {
        let path = path.display();
        let accepted = format!("accepted are 1 to {PASSWORD_BYTES_MAX} bytes");
        return Err(format!("password-file: there is no password in {path}: {accepted}").into());
    }
    Ok(password.to_owned())
}

/// Runs `work` to its end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime: io::Result<_> = runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failure::could_not)?.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(ca: &str, server_name: &str, identity: &str) -> Tls {
        let [ca, identity] = [ca, identity].map(|text| Some(OsString::from(text)));
        Tls { ca, server_name: Some(server_name.to_owned()), identity }
    }

    #[tokio::test]
    async fn empty_variables_name_nobody_and_ask_for_no_tls() {
        let mut nowhere = tls("", "", "").server("127.0.0.1:1").unwrap();
        assert_eq!(nowhere.base(), "http://127.0.0.1:1");
        let login = Login { user: Some(String::new()), password_file: Some(OsString::new()) };
        login.enter(&mut nowhere).await.unwrap();
        for (half, said) in [
            (tls("", "registry", ""), "tls-server-name: needs --tls-ca"),
            (tls("", "", "me.pem"), "tls-identity: needs --tls-ca"),
            (tls("no/such.pem", "", ""), "TLS: no/such.pem: No such file"),
        ] {
            let error = half.server("127.0.0.1:1").unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_password_is_given_once_and_the_file_in_the_arguments_counts_most() {
        let path = std::env::temp_dir().join(format!("tower-graceful-login-{}", std::process::id()));
        std::fs::write(&path, "of the file\n").unwrap();
        let file = path.as_os_str();
        let given = |argument: &OsStr, password: &str, file: &OsStr| {
            let login = Login { user: Some("ops".to_owned()), password_file: Some(argument.to_owned()) };
            let variable =
                |name: &str| Some(if name == PASSWORD { password.into() } else { file.to_owned() });
            login.password(variable, false).map_err(|error| error.to_string())
        };
        let none = OsStr::new("");
        assert_eq!(given(file, "other", file).as_deref(), Ok("of the file"));
        assert_eq!(given(none, "", file).as_deref(), Ok("of the file"));
        assert_eq!(given(none, "other", none).as_deref(), Ok("other"));
        for (refused, said) in [
            (given(none, "other", file), "give only one"),
            (given(none, "", none), "user: there is no password"),
            (given(OsStr::new("no/such"), "other", none), "cannot read no/such"),
        ] {
            let error = refused.unwrap_err();
            assert!(error.contains(said) && !error.contains("other"), "{error}");
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(given(file, "", none).unwrap_err().contains("there is no password in"));
        std::fs::remove_file(path).unwrap();
    }
}
