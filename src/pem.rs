//! Certificates and keys from PEM files, as rustls takes them.
//!
//! A file is read whole and then looked into, so that who watches it can tell whether it has changed: a link
//! that is swapped leaves size and time as they may have been.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Bytes of a file that are read: the roots of a whole operating system fit in a quarter of it.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// What stands in a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A file that does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub(crate) struct InvalidPem {
    path: PathBuf,
    problem: String,
}

impl Pem {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, InvalidPem> {
        let invalid = |problem| InvalidPem { path: path.to_owned(), problem };
        let bytes = read_bounded(path).map_err(|error| invalid(error.to_string()))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(invalid(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// All certificates in it, of which there is at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match found {
            Ok(found) if found.is_empty() => Err(self.invalid("there is no PEM certificate in it")),
            Ok(found) => Ok(found),
            Err(error) => Err(self.invalid(error)),
        }
    }

    /// The first private key in it.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, InvalidPem> {
        let found = PrivateKeyDer::from_pem_slice(&self.bytes);
        found.map_err(|error| self.invalid(format_args!("there is no PEM private key in it ({error})")))
    }

    /// All certificates in it, as those whose word counts.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, InvalidPem> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.invalid(error))?;
        }
        Ok(Arc::new(roots))
    }

    /// What is wrong with what stands in it.
    pub(crate) fn invalid(&self, problem: impl fmt::Display) -> InvalidPem {
        InvalidPem { path: self.path.clone(), problem: problem.to_string() }
    }
}

impl fmt::Debug for Pem {
    /// Without what stands in it: that may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pem").field(&self.path).finish()
    }
}

/// The cryptography of this crate, whichever another crate of the program has made the process's default.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tower-graceful-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_file_may_hold_a_chain_and_a_key() {
        let made = rcgen::generate_simple_self_signed(["registry".to_owned()]).unwrap();
        let both = made.cert.pem() + &made.signing_key.serialize_pem() + &made.cert.pem();
        let path = file("both.pem", both);
        let pem = Pem::read(&path).unwrap();
        assert_eq!(pem.certificates().unwrap(), [made.cert.der().clone(), made.cert.der().clone()]);
        assert_eq!(pem.key().unwrap().secret_der(), made.signing_key.serialize_der());
        assert_eq!(pem.roots().unwrap().len(), 2);
        assert!(!format!("{pem:?}").contains("BEGIN"), "{pem:?}");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let path = file("wrong.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let pem = Pem::read(&path).unwrap();
        let no_root = pem.roots().unwrap_err().to_string();
        let no_key = pem.key().unwrap_err().to_string();
        let large = file("large.pem", vec![b' '; FILE_BYTES_MAX + 1]);
        let (too_large, absent) = (Pem::read(&large).unwrap_err(), Pem::read(Path::new("no/such.pem")));
        let blank = file("blank.pem", "");
        let nothing = Pem::read(&blank).unwrap().certificates().unwrap_err();
        for (said, of) in [
            (no_root, "wrong.pem"),
            (no_key, "no PEM private key"),
            (too_large.to_string(), "larger than 1048576 bytes"),
            (absent.unwrap_err().to_string(), "no/such.pem: No such file"),
            (nothing.to_string(), "no PEM certificate"),
        ] {
            assert!(said.contains(of), "{said}");
        }
        for path in [path, large, blank] {
            fs::remove_file(path).unwrap();
        }
    }
}
