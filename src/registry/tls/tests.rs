use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// A directory as Kubernetes mounts a secret: the files lead through one link, which is swapped.
struct Secret(PathBuf);

/// A certificate that vouches for itself, with its key.
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["registry".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}

impl Secret {
    fn new(test: &str, first: &Pair) -> Self {
        let directory =
            std::env::temp_dir().join(format!("tower-graceful-tls-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let secret = Self(directory);
        secret.put("1", &first.certificate, &first.key);
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("data").join(name), secret.0.join(name)).unwrap();
        }
        secret
    }

    /// Puts both files in place at once.
    fn put(&self, version: &str, certificate: &str, key: &str) {
        let (folder, link) = (self.0.join(version), self.0.join("link"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("tls.crt"), certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
        symlink(version, &link).unwrap();
        fs::rename(link, self.0.join("data")).unwrap();
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key"), client_ca: None }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // Of a test that has failed already, perhaps.
    }
}

/// Both ends of a connection whose client trusts this certificate, and shows one if it has it.
async fn connected(
    tls: &Arc<Tls>,
    trusted: &Pair,
    shown: Option<&Pair>,
) -> io::Result<(TlsStream<DuplexStream>, Box<dyn Stream>)> {
    let pem = |text: &str| {
        let path = std::env::temp_dir().join(format!("tower-graceful-pem-{:016x}", fastrand::u64(..)));
        fs::write(&path, text).unwrap();
        let pem = Pem::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        pem
    };
    let client =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(pem(&trusted.certificate).roots().unwrap());
    let client = match shown {
        None => client.with_no_client_auth(),
        Some(shown) => {
            let chain = pem(&shown.certificate).certificates().unwrap();
            client.with_client_auth_cert(chain, pem(&shown.key).key().unwrap()).unwrap()
        }
    };
    let (near, far) = duplex(64 * 1024);
    let name = ServerName::try_from("registry").unwrap();
    let dialled = TlsConnector::from(Arc::new(client)).connect(name, near);
    let (client, server) = tokio::join!(dialled, shake_hands(Some(tls.clone()), far));
    let (mut client, mut server) = (client?, server?);
    speak(&mut client, &mut server).await?;
    Ok((client, server))
}

async fn speak(client: &mut TlsStream<DuplexStream>, server: &mut Box<dyn Stream>) -> io::Result<()> {
    let mut heard = [0; 4];
    client.write_all(b"ping").await?;
    server.read_exact(&mut heard).await?;
    server.write_all(&heard).await?;
    server.flush().await?;
    client.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"ping");
    Ok(())
}

/// Long enough for the files to be looked at.
async fn looked() {
    sleep(LOOK_EVERY * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_counts_for_new_connections_and_leaves_old_ones_alone() {
    let (old, new) = (Pair::new(), Pair::new());
    let secret = Secret::new("renewed", &old);
    let tls = Arc::new(Tls::open(secret.files()).unwrap());
    let watched = tls.clone();
    let following = tokio::spawn(async move { watched.follow().await });
    let (mut client, mut server) = connected(&tls, &old, None).await.unwrap();

    secret.put("2", &new.certificate, &new.key);
    assert!(connected(&tls, &new, None).await.is_err(), "nobody has looked yet");
    looked().await;
    connected(&tls, &new, None).await.unwrap();
    assert!(connected(&tls, &old, None).await.is_err());
    speak(&mut client, &mut server).await.unwrap();
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_cannot_be_used_leaves_the_old_one_in_place() {
    let (old, new) = (Pair::new(), Pair::new());
    let secret = Secret::new("unusable", &old);
    let tls = Arc::new(Tls::open(secret.files()).unwrap());
    let watched = tls.clone();
    let following = tokio::spawn(async move { watched.follow().await });
    for (version, certificate, key) in
        [("2", "", ""), ("3", "hello", &*new.key), ("4", &*new.certificate, &*old.key)]
    {
        secret.put(version, certificate, key);
        looked().await;
        connected(&tls, &old, None).await.unwrap();
    }
    fs::remove_file(secret.0.join("data")).unwrap();
    looked().await;
    connected(&tls, &old, None).await.unwrap();
    secret.put("5", &new.certificate, &new.key);
    looked().await;
    connected(&tls, &new, None).await.unwrap();
    following.abort();
}

#[tokio::test(start_paused = true)]
async fn who_asks_clients_for_certificates_refuses_those_that_show_none_or_a_foreign_one() {
    let (registry, client, foreign) = (Pair::new(), Pair::new(), Pair::new());
    let secret = Secret::new("mutual", &registry);
    let roots = secret.0.join("clients.pem");
    fs::write(&roots, &client.certificate).unwrap();
    let tls = Arc::new(Tls::open(TlsFiles { client_ca: Some(roots), ..secret.files() }).unwrap());
    connected(&tls, &registry, Some(&client)).await.unwrap();
    assert!(connected(&tls, &registry, None).await.is_err());
    assert!(connected(&tls, &registry, Some(&foreign)).await.is_err());
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let (pair, other) = (Pair::new(), Pair::new());
    let secret = Secret::new("named", &pair);
    let files = secret.files();
    fs::write(secret.0.join("other.key"), &other.key).unwrap();
    for (files, named) in [
        (
            TlsFiles { certificate: "no/such".into(), ..files.clone() },
            "tls-cert: cannot use the file: no/such: No such file",
        ),
        (TlsFiles { certificate: files.key.clone(), ..files.clone() }, "tls-cert: "),
        (TlsFiles { key: files.certificate.clone(), ..files.clone() }, "tls-key: "),
        (TlsFiles { key: secret.0.join("other.key"), ..files.clone() }, "does not go with the certificate"),
        (TlsFiles { client_ca: Some(files.key.clone()), ..files.clone() }, "tls-client-ca: "),
    ] {
        let error = Causes(&Tls::open(files).unwrap_err()).to_string();
        assert!(error.contains(named), "{error}");
    }
}
