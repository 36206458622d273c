//! A registry that lets in whom it knows, over TLS: an authority, a certificate that can be replaced, and a user.
//!
//! Everything is in one directory. Clients find what they need by the variables `GRACEFUL_REGISTRY_*`, as in
//! production; the code of the services is the same with and without.

use super::common::BoxError;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use tower_graceful::client::{NacosBuilder, TlsFiles};
use tower_graceful::registry::{Grant, Password, Role, Users};

/// The user that all clients are.
const USER: &str = "shop";

/// The directory, and who vouches for what is in it.
pub struct Secure {
    directory: PathBuf,
    authority: Issuer<'static, KeyPair>,
}

impl Secure {
    /// Makes all of it anew: the authority, a first certificate, and the user, as `graceful registry user add` does.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub async fn set_up(directory: PathBuf) -> Result<Self, BoxError> {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let (mut about, key) = (CertificateParams::new(Vec::new())?, KeyPair::generate()?);
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(directory.join("ca.crt"), about.self_signed(&key)?.pem())?;
        let secure = Self { directory, authority: Issuer::new(about, key) };
        secure.replace_certificate()?;
        let password = chosen_by_chance()?;
        secure.write_secret("password", &password)?;
        let mut users = Users::open(&secure.directory.join("data"))?;
        // The first user of a registry is an administrator; here nobody needs one.
        let admin = Password::new(&chosen_by_chance()?)?;
        users.add(&"ops".parse()?, admin, [Grant::everywhere(Role::Admin)]).await?;
        users.add(&USER.parse()?, Password::new(&password)?, [Grant::everywhere(Role::Write)]).await?;
        Ok(secure)
    }

    /// Puts another certificate, with another key, in place of the present one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn replace_certificate(&self) -> Result<(), BoxError> {
        let key = KeyPair::generate()?;
        let certificate =
            CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &self.authority)?;
        self.write_secret("registry.key", &key.serialize_pem())?;
        Ok(fs::write(self.directory.join("registry.crt"), certificate.pem())?)
    }

    /// Where the registry finds its part.
    pub fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    /// As whom a person logs in.
    pub fn as_whom(&self) -> String {
        format!(" as {USER}, with the password in {}", self.directory.join("password").display())
    }

    /// What a client has to be told that is a process of its own.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let path = |name| self.directory.join(name).into_os_string();
        vec![
            ("GRACEFUL_REGISTRY_TLS_CA", path("ca.crt")),
            ("GRACEFUL_REGISTRY_USER", USER.into()),
            ("GRACEFUL_REGISTRY_PASSWORD_FILE", path("password")),
        ]
    }

    /// What a client of this process has to be told.
    pub fn admit(&self, builder: NacosBuilder) -> NacosBuilder {
        let tls = TlsFiles::new(self.directory.join("ca.crt"));
        builder.tls(tls).user_with_password_file(USER, self.directory.join("password"))
    }

    fn write_secret(&self, name: &str, text: &str) -> Result<(), BoxError> {
        let path = self.directory.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        Ok(file.write_all(text.as_bytes())?)
    }
}

/// A password that nobody guesses.
fn chosen_by_chance() -> Result<String, BoxError> {
    let mut chance = [0; size_of::<u128>()];
    getrandom::fill(&mut chance)?;
    Ok(format!("{:032x}", u128::from_le_bytes(chance)))
}
