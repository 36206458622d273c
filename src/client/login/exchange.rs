//! One login: a request over HTTP/1.1, on a connection of its own.

use super::super::alert;
use super::super::dial::{Dial, Io};
use super::super::servers::{Port, Server};
use crate::naming::BoxError;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::fmt::Write;
use std::pin::pin;
use std::time::Duration;

/// Where registries let users in: Nacos 3 and this crate's, and then older ones.
const PATHS: [&str; 2] = ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"];
/// Bytes of an answer: a token is a few hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Characters that are repeated of the words of a registry that said no.
const WORDS_MAX: usize = 200;
/// Life of a token whose answer does not tell it: Nacos' default.
const LIFE_S: u64 = 18_000;

/// What a registry answered to a login.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Here is a token, which lives for so long.
    Token(String, Duration),
    /// This user does not come in, or not with this password.
    Refused(String),
    /// Something else than one of these two.
    Strange(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    access_token: String,
    token_ttl: Option<u64>,
}

/// A refusal in the envelope of Nacos' later versions.
#[derive(Deserialize)]
struct Explained {
    message: String,
}

/// Asks a server for a token, by each path at which one may be had.
pub(super) async fn log_in(
    dial: &dyn Dial,
    server: &Server,
    user: &str,
    password: &str,
) -> Result<Answer, BoxError> {
    let form = format!("username={}&password={}", encoded(user), encoded(password));
    for path in PATHS {
        let io = dial.dial(server, Port::Http).await?;
        let (io, alert) = alert::watch(io);
        let posted = post(io, server, path, form.clone()).await;
        let (status, body) = posted.map_err(|error| alert.explain(error))?;
        if let Some(answer) = read(status, &body) {
            return Ok(answer);
        }
    }
    Ok(Answer::Strange(format!("there is no login at {} nor at {}", PATHS[0], PATHS[1])))
}

async fn post(
    io: impl Io + 'static,
    server: &Server,
    path: &str,
    form: String,
) -> Result<(StatusCode, Bytes), BoxError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    let mut request = Request::post(path).body(Full::new(Bytes::from(form)))?;
    let (host, kind) = (server.http.to_string(), "application/x-www-form-urlencoded");
    request.headers_mut().insert(HOST, HeaderValue::try_from(host)?);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let mut answered = pin!(async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?;
        Ok((status, body.to_bytes()))
    });
    tokio::select! {
        biased;
        answered = &mut answered => answered,
        // Who closes after the answer ends the connection in the same moment; the answer is there all the same.
        _ = connection => answered.await,
    }
}

/// Reads an answer; nothing when there is nothing at the path.
fn read(status: StatusCode, body: &[u8]) -> Option<Answer> {
    Some(match status.as_u16() {
        200 => match serde_json::from_slice(body) {
            Ok(Granted { access_token, token_ttl }) if !access_token.is_empty() => {
                Answer::Token(access_token, Duration::from_secs(token_ttl.unwrap_or(LIFE_S)))
            }
            // Shown without its text, which may hold a token in a form that we do not know.
            Ok(_) | Err(_) => Answer::Strange("the answer holds no token".to_owned()),
        },
        404 | 405 | 501 => return None,
        400 | 401 | 403 | 429 => Answer::Refused(words(status, body)),
        _ => Answer::Strange(words(status, body)),
    })
}

/// Status and words of an answer, on one line.
fn words(status: StatusCode, body: &[u8]) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(Explained { message }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
    if text.is_empty() { status.to_string() } else { format!("{status}: {text}") }
}

/// As it stands in a form.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut form, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            form.push(byte.into());
        } else {
            let _ = write!(form, "%{byte:02X}"); // Writing into a string cannot fail.
        }
        form
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_sent_as_they_are() {
        assert_eq!(encoded("orders-1._~"), "orders-1._~");
        assert_eq!(encoded("a b&c=d+%\u{fc}"), "a%20b%26c%3Dd%2B%25%C3%BC");
    }

    #[test]
    fn an_answer_is_a_token_or_says_why_there_is_none() {
        let read = |status, body: &str| read(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        let of = |status, body: &str| read(status, body).unwrap();
        let token = |s| Answer::Token("abc".into(), Duration::from_secs(s));
        assert_eq!(of(200, r#"{"accessToken":"abc","tokenTtl":60,"globalAdmin":true}"#), token(60));
        assert_eq!(of(200, r#"{"accessToken":"abc"}"#), token(LIFE_S));
        for strange in [r#"{"accessToken":""}"#, "ok", ""] {
            assert_eq!(of(200, strange), Answer::Strange("the answer holds no token".into()));
        }
        assert_eq!(of(403, "unknown user!\n"), Answer::Refused("403 Forbidden: unknown user!".into()));
        let enveloped = of(403, r#"{"code":10001,"message":"User not found!","data":null}"#);
        assert_eq!(enveloped, Answer::Refused("403 Forbidden: User not found!".into()));
        assert_eq!(of(429, ""), Answer::Refused("429 Too Many Requests".into()));
        assert_eq!([read(404, "{}"), read(501, "")], [None, None]);
        let long = of(500, &"x".repeat(1000));
        assert_eq!(long, Answer::Strange(format!("500 Internal Server Error: {}", "x".repeat(WORDS_MAX))));
    }
}
