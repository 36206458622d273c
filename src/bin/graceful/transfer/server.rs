//! A registry at the other end of HTTP: asks with parameters, and reads what is answered.

use axum::body::{Body, Bytes, to_bytes};
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::timeout;
use tower_graceful::naming::{BoxError, Causes};

/// How long one answer may take: a registry that is busy storing, and a page of ten thousand services.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of one answer: ten thousand instances with long metadata.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Characters of a failure that are repeated.
const WORDS_MAX: usize = 300;
/// Where one logs in: Nacos 3 and this crate's registry, and everything before.
const LOGINS: [&str; 2] = ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"];

/// Parameters of a request.
pub(crate) type Parameters<'a> = &'a [(&'a str, &'a str)];

/// A registry, and the right to ask it.
#[derive(Debug)]
pub(crate) struct Server {
    /// `http://HOST:PORT`.
    base: String,
    client: Client<HttpConnector, Body>,
    token: Option<String>,
}

/// What went wrong with one request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("{given:?} is no address of a registry: accepted is http://HOST:PORT, without TLS")]
    Address { given: String },
    #[error("{url} gives no answer in plain HTTP")]
    Silent { url: String, source: BoxError },
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

impl Server {
    /// The registry at `address`, which is `http://HOST:PORT`, with or without the scheme.
    ///
    /// # Errors
    /// When the address is something else.
    pub(crate) fn new(address: &str) -> Result<Self, Trouble> {
        let wrong = || Trouble::Address { given: address.to_owned() };
        let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let base = base.trim_end_matches('/').trim_end_matches("/nacos").to_owned();
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        let plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.port_u16().is_some();
        plain.then(|| Self { base, client: tower_graceful::http_client(), token: None }).ok_or_else(wrong)
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
        let silent = |source: BoxError| Trouble::Silent { url: url.clone(), source };
        let form = encoded(parameters, self.token.as_deref());
        let request = if method == Method::GET {
            Request::get(format!("{url}?{form}")).body(Body::empty())
        } else {
            let request = Request::builder().method(method).uri(&url);
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.into())
        };
        let request = request.map_err(|error| silent(error.into()))?;
        let answered = async {
            let answer = self.client.request(request).await.map_err(BoxError::from)?;
            let (head, body) = answer.map(Body::new).into_parts();
            Ok::<_, BoxError>((head.status, to_bytes(body, ANSWER_BYTES_MAX).await?))
        };
        let answered = timeout(ANSWERED_WITHIN, answered).await.unwrap_or_else(|late| Err(late.into()));
        let (status, body) = answered.map_err(silent)?;
        Ok(Answer { url, status, body })
    }
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
        let words = words(&self.body);
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

    #[test]
    fn an_address_is_a_host_and_a_port_over_plain_http() {
        for good in ["127.0.0.1:8848", "http://127.0.0.1:8848", "http://127.0.0.1:8848/nacos/", "[::1]:8848"]
        {
            let server = Server::new(good).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert!(server.base().starts_with("http://") && server.base().ends_with(":8848"), "{good}");
        }
        for bad in ["", "127.0.0.1", "https://127.0.0.1:8848", "http://a:1/x", "a b:1"] {
            assert!(Server::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_are_percent_encoded() {
        let parameters = [("a", "x y&z=\u{fc}"), ("b", "-_.~")];
        assert_eq!(encoded(&parameters, Some("t/")), "a=x%20y%26z%3D%C3%BC&b=-_.~&accessToken=t%2F");
    }
}
