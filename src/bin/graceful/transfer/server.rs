//! A registry at the other end of HTTP: asks with parameters, and reads what is answered.

use axum::body::{Body, Bytes, to_bytes};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::rustls::{self, ClientConfig, InvalidMessage};
use tower_graceful::InstanceClient;
use tower_graceful::model::Address;
use tower_graceful::naming::{BoxError, Causes};
use tower_service::Service as _;

/// How long one answer may take: a registry that is busy storing, and a page of ten thousand services.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of one answer: ten thousand instances with long metadata.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Characters of a failure that are repeated.
const WORDS_MAX: usize = 300;
/// Where one logs in: Nacos 3 and this crate's registry, and everything before.
const LOGINS: [&str; 2] = ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"];

/// What this program calls itself, and on whose behalf it asks: the name that a registry without users has in its
/// timelines for whoever registers and takes off over HTTP.
static AGENT: LazyLock<String> = LazyLock::new(|| agent(std::env::var("USER").ok().as_deref()));
/// Characters of a name on this machine.
const PERSON_CHARS_MAX: usize = 32;

/// Parameters of a request.
pub(crate) type Parameters<'a> = &'a [(&'a str, &'a str)];

/// A registry, and the right to ask it.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://HOST:PORT`, or `https`.
    base: String,
    client: InstanceClient<Body>,
    token: Option<String>,
}

/// What went wrong with one request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(
        "{given:?} is no address of a registry: accepted is HOST:PORT, after http:// or https:// or alone"
    )]
    Address { given: String },
    #[error(
        "{given} is without TLS, which --tls-ca (GRACEFUL_REGISTRY_TLS_CA) asks for: say https, or give none"
    )]
    AskedForTls { given: String },
    #[error("{given} needs --tls-ca FILE (GRACEFUL_REGISTRY_TLS_CA): by the roots in it a registry is known")]
    Untrusted { given: String },
    #[error("TLS: {name:?} is no name that a certificate can be for")]
    ServerName { name: String, source: BoxError },
    #[error("{url} gives no answer")]
    Silent { url: String, source: BoxError },
    #[error(
        "{url} speaks no HTTP without TLS: does it want https:// and --tls-ca (GRACEFUL_REGISTRY_TLS_CA)?"
    )]
    WantsTls { url: String, source: BoxError },
    #[error("{url} speaks no TLS: does it want http://, without --tls-ca (GRACEFUL_REGISTRY_TLS_CA)?")]
    WantsNoTls { url: String, source: BoxError },
    #[error("{url} answers {status}: {words}")]
    Refused { url: String, status: StatusCode, words: String },
    #[error("{url} answers what cannot be read: {words}")]
    Unreadable { url: String, words: String },
    #[error("{0} gives fewer services than it says it has: this server cannot be paged through")]
    Pages(String),
}

/// What was answered.
struct Answer {
    url: String,
    status: StatusCode,
    body: Bytes,
}

/// How a registry with TLS is known.
#[derive(Debug)]
pub(crate) struct Trust {
    /// With its roots, and the certificate that is shown it.
    pub(crate) config: ClientConfig,
    /// The name that its certificate is for, where that is not the host of its address.
    pub(crate) server_name: Option<String>,
}

impl Server {
    /// The registry at `address`, which is `HOST:PORT`, after `http://` or `https://` or alone; over TLS where
    /// there is `trust`, and only there.
    ///
    /// # Errors
    /// When the address is something else, or says otherwise than `trust`.
    pub(crate) fn new(address: &str, trust: Option<Trust>) -> Result<Self, Trouble> {
        let given = || address.to_owned();
        let scheme = if trust.is_some() { "https" } else { "http" };
        let (said, rest) = address.split_once("://").unwrap_or((scheme, address));
        let rest = rest.trim_end_matches('/').trim_end_matches("/nacos");
        let at: Address = rest.parse().map_err(|_| Trouble::Address { given: given() })?;
        let settings = match (said, trust) {
            ("http", None) => InstanceClient::builder(),
            ("https", Some(Trust { config, server_name: None })) => InstanceClient::builder().tls(config),
            ("https", Some(Trust { config, server_name: Some(name) })) => {
                let settings = InstanceClient::builder().tls(config).server_name(&name);
                settings.map_err(|source| Trouble::ServerName { name, source })?
            }
            ("http", Some(_)) => return Err(Trouble::AskedForTls { given: given() }),
            ("https", None) => return Err(Trouble::Untrusted { given: given() }),
            _ => return Err(Trouble::Address { given: given() }),
        };
        Ok(Self { base: format!("{said}://{at}"), client: settings.build_at(&at), token: None })
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Logs in, and asks with the token from here on.
    ///
    /// # Errors
    /// When the name or the password is wrong, or nobody answers.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> Result<(), Trouble> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(rename = "accessToken")]
            token: String,
        }
        let [newest, older] = LOGINS;
        let parameters = [("username", name), ("password", password)];
        let mut answer = self.ask(Method::POST, newest, &parameters).await?;
        if answer.is_not_there() {
            answer = self.ask(Method::POST, older, &parameters).await?;
        }
        let Token { token } = answer.success()?.json()?;
        self.token = Some(token);
        Ok(())
    }

    /// Reads JSON; nothing where the server has no such path or thing.
    ///
    /// # Errors
    /// When it answers otherwise.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<Option<T>, Trouble> {
        let answer = self.ask(Method::GET, path, parameters).await?;
        if answer.is_not_there() {
            return Ok(None);
        }
        answer.success()?.json().map(Some)
    }

    /// As [`Server::read`], where the path has to be there.
    ///
    /// # Errors
    /// Those of [`Server::read`], and when it is not there.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<T, Trouble> {
        self.ask(Method::GET, path, parameters).await?.success()?.json()
    }

    /// Asks for a change that has an answer of its own.
    ///
    /// # Errors
    /// When it is not made, or something else is answered than was asked for.
    pub(crate) async fn ask_for<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<T, Trouble> {
        self.ask(method, path, parameters).await?.success()?.json()
    }

    /// Asks whether something answers with success.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn check(&self, path: &str) -> Result<(), Trouble> {
        self.ask(Method::GET, path, &[]).await?.success().map(drop)
    }

    /// Asks for a change.
    ///
    /// # Errors
    /// When it is not made.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        parameters: Parameters<'_>,
    ) -> Result<(), Trouble> {
        self.ask(method, path, parameters).await?.success().map(drop)
    }

    async fn ask(&self, method: Method, path: &str, parameters: Parameters<'_>) -> Result<Answer, Trouble> {
        let url = format!("{}{path}", self.base);
        let silent = |source: BoxError| Trouble::unanswered(url.clone(), source);
        let form = encoded(parameters, self.token.as_deref());
        let request = if method == Method::GET {
            Request::get(format!("{url}?{form}")).header(USER_AGENT, &*AGENT).body(Body::empty())
        } else {
            let request = Request::builder().method(method).uri(&url).header(USER_AGENT, &*AGENT);
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.into())
        };
        let request = request.map_err(|error| silent(error.into()))?;
        let answered = async {
            let answer = self.client.clone().call(request).await.map_err(BoxError::from)?;
            let (head, body) = answer.map(Body::new).into_parts();
            Ok::<_, BoxError>((head.status, to_bytes(body, ANSWER_BYTES_MAX).await?))
        };
        let answered = timeout(ANSWERED_WITHIN, answered).await.unwrap_or_else(|late| Err(late.into()));
        let (status, body) = answered.map_err(silent)?;
        Ok(Answer { url, status, body })
    }
}

impl Trouble {
    /// Tells silence from the two ways in which TLS is on one side only.
    fn unanswered(url: String, source: BoxError) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*source);
        while let Some(error) = cause {
            if error.downcast_ref().is_some_and(hyper::Error::is_parse) {
                return Self::WantsTls { url, source };
            }
            if error.downcast_ref().is_some_and(is_no_tls) {
                return Self::WantsNoTls { url, source };
            }
            cause = error.source();
        }
        Self::Silent { url, source }
    }
}

/// Whether what answered a handshake is something else than TLS.
fn is_no_tls(error: &io::Error) -> bool {
    let within = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(within, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

impl Answer {
    /// Whether the server knows nothing of the kind, in the statuses of all versions.
    fn is_not_there(&self) -> bool {
        [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE].contains(&self.status)
    }

    fn success(self) -> Result<Self, Trouble> {
        if self.status.is_success() {
            return Ok(self);
        }
        let words = why(&self.body);
        Err(Trouble::Refused { url: self.url, status: self.status, words })
    }

    fn json<T: DeserializeOwned>(self) -> Result<T, Trouble> {
        let unreadable = |error: serde_json::Error| Trouble::Unreadable {
            words: format!("{}: {}", Causes(&error), words(&self.body)),
            url: self.url.clone(),
        };
        serde_json::from_slice(&self.body).map_err(unreadable)
    }
}

fn agent(person: Option<&str>) -> String {
    let program = concat!("graceful/", env!("CARGO_PKG_VERSION"));
    let fits = |c: &char| c.is_ascii_alphanumeric() || "-_.@".contains(*c);
    let person: String = person.unwrap_or_default().chars().filter(fits).take(PERSON_CHARS_MAX).collect();
    if person.is_empty() { program.to_owned() } else { format!("{program} ({person})") }
}

/// Why something is refused: what an answer of any version says to people.
fn why(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
        data: Option<serde_json::Value>,
    }

    let Ok(Said { message, data }) = serde_json::from_slice(body) else { return words(body) };
    let said = match data.as_ref().and_then(serde_json::Value::as_str) {
        Some(more) if !more.is_empty() => format!("{message}: {more}"),
        _ => message,
    };
    words(said.as_bytes())
}

fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(WORDS_MAX).collect()
}

/// `name=value&..`, percent-encoded.
fn encoded(parameters: Parameters<'_>, token: Option<&str>) -> String {
    let token = token.map(|token| ("accessToken", token));
    let mut form = String::new();
    for (name, value) in parameters.iter().copied().chain(token) {
        if !form.is_empty() {
            form.push('&');
        }
        form.push_str(name);
        form.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                form.push(byte.into());
            } else {
                let _ = write!(form, "%{byte:02X}"); // Text takes whatever is written into it.
            }
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn trust() -> Trust {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        Trust { config, server_name: None }
    }

    #[tokio::test]
    async fn an_address_is_a_host_and_a_port_over_tls_where_there_is_trust() {
        for good in ["127.0.0.1:8848", "http://127.0.0.1:8848", "http://127.0.0.1:8848/nacos/", "[::1]:8848"]
        {
            let server = Server::new(good, None).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert!(server.base().starts_with("http://") && server.base().ends_with(":8848"), "{good}");
        }
        for good in ["registry.internal:8848", "https://registry.internal:8848/nacos"] {
            let server = Server::new(good, Some(trust())).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert_eq!(server.base(), "https://registry.internal:8848");
        }
        for bad in ["", "127.0.0.1", "ftp://127.0.0.1:8848", "http://a:1/x", "a b:1"] {
            assert!(matches!(Server::new(bad, None), Err(Trouble::Address { .. })), "{bad}");
        }
        assert!(matches!(Server::new("https://a:1", None), Err(Trouble::Untrusted { .. })));
        assert!(matches!(Server::new("http://a:1", Some(trust())), Err(Trouble::AskedForTls { .. })));
    }

    #[test]
    fn a_refusal_is_told_in_its_words_and_not_in_json() {
        for (body, words) in [
            (
                r#"{"code":10001,"message":"access denied","data":"unknown user!"}"#,
                "access denied: unknown user!",
            ),
            (r#"{"code":20004,"message":"no such service","data":null}"#, "no such service"),
            (
                r#"{"timestamp":"now","status":403,"message":"authorization failed","path":"/"}"#,
                "authorization failed",
            ),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            ("unknown user!", "unknown user!"),
        ] {
            assert_eq!(why(body.as_bytes()), words);
        }
    }

    #[test]
    fn whoever_asks_is_named_in_letters_that_a_header_takes() {
        let program = concat!("graceful/", env!("CARGO_PKG_VERSION"));
        assert_eq!(agent(Some("ann\r\n@b(c)")), format!("{program} (ann@bc)"));
        assert_eq!(agent(Some("")), program);
        assert_eq!(agent(None), program);
    }

    #[test]
    fn parameters_are_percent_encoded() {
        let parameters = [("a", "x y&z=\u{fc}"), ("b", "-_.~")];
        assert_eq!(encoded(&parameters, Some("t/")), "a=x%20y%26z%3D%C3%BC&b=-_.~&accessToken=t%2F");
    }
}
