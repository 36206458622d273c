//! Whoever is logged in to the console: a cookie that holds the token of their login.
//!
//! It is the token of any login, so it says whose it is and until when, dies with its user or their password, and
//! gives no more rights than theirs. Scripts cannot read the cookie, other sites cannot have it sent, and only
//! `/console` gets it: the API is not opened by it.

use super::links::Encoded;
use super::page::{self, Asked, Console};
use super::viewer::Viewer;
use crate::protocol::form::Form;
use crate::registry::access::{Access, Denied};
use crate::registry::error::Refusal;
use crate::registry::http::host;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, COOKIE, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use std::sync::Arc;
use std::time::Duration;

/// Where one logs in.
pub(super) const LOGIN: &str = "/console/login";
/// Beginning of the name of the cookie that holds the token. Cookies know no ports, so its end is one: two
/// registries on one machine have a session each.
const SESSION: &str = "graceful-session";
/// Beginning of the name of the cookie that tells the next page what was done.
const SAID: &str = "graceful-said";
/// How long what was done waits for the next page, which a browser asks for at once.
const SAID_FOR: Duration = Duration::from_secs(30);
/// Letters of it.
const SAID_CHARS_MAX: usize = 400;

/// The token that comes with a request to the console.
pub(in crate::registry) fn token<'a>(uri: &Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if !is_page(uri.path()) {
        return None;
    }
    cookie(headers, &named(SESSION, uri, headers))
}

/// Says to whoever asks for a page and is nobody where to log in, and to whoever may not have it what they may
/// have; nothing to whoever is no browser.
pub(in crate::registry) fn refused(
    access: &Arc<Access>,
    parts: &Parts,
    form: &Form,
    refusal: &Refusal,
) -> Option<Response> {
    let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if !is_page(parts.uri.path()) || !accept.contains("text/html") {
        return None;
    }
    let nobody = matches!(refusal, Refusal::Denied(Denied::NoToken | Denied::BadToken | Denied::Expired));
    if !nobody {
        let known = token(&parts.uri, &parts.headers).and_then(|token| access.by_token(Some(token)).ok());
        let viewer = known.map_or_else(Viewer::nobody, Viewer::of);
        let (uri, headers) = (parts.uri.clone(), parts.headers.clone());
        let asked = Asked { form: form.clone(), viewer, uri, headers };
        return Some(page::refused(&Console::new(access.hub().clone(), access.clone()), &asked, refusal));
    }
    let asked = parts.uri.path_and_query().map_or("/console", |asked| asked.as_str());
    // What was sent by a form is not sent again; its page is.
    let next = Encoded(asked);
    Some(see_other(&format!("{LOGIN}?next={next}")))
}

/// The cookie that begins a session.
pub(super) fn begun(uri: &Uri, headers: &HeaderMap, token: &str, ttl: Duration, tls: bool) -> HeaderValue {
    set(&named(SESSION, uri, headers), token, ttl, tls)
}

/// The cookie that ends one.
pub(super) fn ended(uri: &Uri, headers: &HeaderMap, tls: bool) -> HeaderValue {
    set(&named(SESSION, uri, headers), "", Duration::ZERO, tls)
}

/// Goes to `to`, where people read what was done.
pub(super) fn tell(uri: &Uri, headers: &HeaderMap, to: &str, said: &str, tls: bool) -> Response {
    let said: String = said.chars().take(SAID_CHARS_MAX).collect();
    let cookie = set(&named(SAID, uri, headers), &Encoded(&said).to_string(), SAID_FOR, tls);
    let mut answer = see_other(to);
    answer.headers_mut().append(SET_COOKIE, cookie);
    answer
}

/// What was done by the last form, told once: with the cookie that takes it back.
pub(super) fn said(uri: &Uri, headers: &HeaderMap, tls: bool) -> Option<(String, HeaderValue)> {
    let name = named(SAID, uri, headers);
    let said = decoded(cookie(headers, &name)?)?;
    Some((said.chars().take(SAID_CHARS_MAX).collect(), set(&name, "", Duration::ZERO, tls)))
}

/// Where to go after a login: to a page of this console, whatever is asked for.
pub(super) fn next(asked: Option<&str>) -> &str {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    let is_ours =
        |asked: &&str| is_page(asked.split('?').next().unwrap_or_default()) && asked.bytes().all(plain);
    asked.filter(is_ours).filter(|asked| !asked.starts_with(LOGIN)).unwrap_or("/console")
}

/// An answer that has a browser ask for another page, whatever it has just sent.
pub(super) fn see_other(to: &str) -> Response {
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/console"));
    (StatusCode::SEE_OTHER, [(LOCATION, to), (CACHE_CONTROL, HeaderValue::from_static("no-store"))])
        .into_response()
}

fn is_page(path: &str) -> bool {
    path == "/console" || path.starts_with("/console/")
}

fn named(name: &str, uri: &Uri, headers: &HeaderMap) -> String {
    let port = host(uri, headers).rsplit_once(':').map_or("", |(_, port)| port);
    let port: String = port.chars().filter(char::is_ascii_digit).take(5).collect();
    format!("{name}-{port}")
}

fn set(name: &str, value: &str, lasts: Duration, tls: bool) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let lasts = lasts.as_secs();
    let cookie = format!("{name}={value}; Path=/console; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static("")) // Both parts are plain.
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// Undoes [`Encoded`]; nothing of what it never makes.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, cookies: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::try_from(host).unwrap());
        headers.insert(COOKIE, HeaderValue::try_from(cookies).unwrap());
        headers
    }

    #[test]
    fn after_a_login_one_comes_to_a_page_of_this_console_and_to_no_other() {
        for ours in ["/console", "/console/service?serviceName=a%26b&x=//y", "/console?namespaceId=dev"] {
            assert_eq!(next(Some(ours)), ours);
        }
        for foreign in [
            "https://evil.example/console",
            "//evil.example",
            "/\\evil.example",
            "/console\\evil",
            "/consoles",
            "/console\r\nset-cookie: a=b",
            "/nacos",
            "javascript:alert(1)",
            "/console/login?next=/console/login",
            "",
        ] {
            assert_eq!(next(Some(foreign)), "/console", "{foreign}");
        }
        assert_eq!(next(None), "/console");
    }

    #[test]
    fn a_session_is_of_the_console_at_one_port_and_its_cookie_says_who_gets_it() {
        let (page, api) = (Uri::from_static("/console/service"), Uri::from_static("/nacos/v1/ns/instance"));
        let headers =
            asked("localhost:8848", "a=b; graceful-session-9999=other; graceful-session-8848=t.o.k");
        assert_eq!(token(&page, &headers), Some("t.o.k"));
        assert_eq!(token(&api, &headers), None, "the API is not opened by a cookie");
        assert_eq!(token(&page, &asked("localhost:80", "graceful-session-8848=t")), None);
        let cookie = begun(&page, &headers, "t.o.k", Duration::from_secs(60), true);
        let expected =
            "graceful-session-8848=t.o.k; Path=/console; Max-Age=60; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(cookie, expected);
        assert!(ended(&page, &headers, false).to_str().unwrap().contains("=; Path=/console; Max-Age=0;"));
    }

    #[test]
    fn what_was_done_is_told_once_and_cannot_leave_its_cookie() {
        let (page, headers) = (Uri::from_static("/console"), asked("localhost:8848", ""));
        let answer = tell(&page, &headers, "/console", "a;b=\"<c>\" \u{202e}é\r\n", false);
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        let (pair, _) = cookie.split_once(';').unwrap();
        let (said, taken_back) = said(&page, &asked("localhost:8848", pair), false).unwrap();
        assert_eq!(said, "a;b=\"<c>\" \u{202e}é\r\n");
        assert!(taken_back.to_str().unwrap().contains("Max-Age=0"));
        assert_eq!(decoded("%zz"), None);
        assert_eq!(decoded("%4"), None);
    }
}
