//! The answer to whoever connects when there are too many connections.
//!
//! It is in the words of HTTP/1.1, or of HTTP/2 where the client begins with that; a client that begins with
//! anything else, such as a TLS handshake, is told nothing, and its connection is closed. Few are answered at
//! one time, and each within a moment: in a flood the rest is closed as it comes.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections that are answered at one time, beyond those that are served: each holds a descriptor.
const AT_ONCE_MAX: usize = 64;
/// How long each may take to ask, to take the answer, and to close.
const WITHIN: Duration = Duration::from_secs(1);
/// Bytes that are read at one time, of which the first tell the protocol.
const READ_BYTES: usize = 1024;
/// How a client begins that speaks HTTP/2 without having asked.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Those who are being told that there is no place for them.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(JoinSet<()>);

impl TurnedAway {
    /// Tells a client what there are too many of, if there is a place for that; it is told no more once this is
    /// dropped.
    pub(super) fn tell<I>(&mut self, io: I, too_many: &'static str)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        while self.0.try_join_next().is_some() {}
        if self.0.len() < AT_ONCE_MAX {
            // Whether it has heard, nobody needs to know.
            self.0.spawn(async move { _ = timeout(WITHIN, tell(io, too_many)).await });
        }
    }
}

async fn tell(mut io: impl AsyncRead + AsyncWrite + Unpin, too_many: &str) -> io::Result<()> {
    let mut read = [0; READ_BYTES];
    let begin = io.read(&mut read).await?;
    let Some(answer) = answer(&read[..begin], too_many) else { return Ok(()) };
    io.write_all(&answer).await?;
    io.shutdown().await?;
    // What is unread when a connection closes resets it, and the answer is lost.
    while io.read(&mut read).await? > 0 {}
    Ok(())
}

/// What is said to a client that begins like this.
fn answer(begin: &[u8], too_many: &str) -> Option<Vec<u8>> {
    let words = format!("too many {too_many}: try again");
    if begin.starts_with(PREFACE) {
        return Some(goaway(words.as_bytes()));
    }
    let is_http = begin.first().is_some_and(u8::is_ascii_uppercase); // As a method is.
    is_http.then(|| {
        let length = words.len();
        let head = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n";
        let about = "content-type: text/plain; charset=utf-8\r\n";
        format!("{head}{about}content-length: {length}\r\n\r\n{words}").into_bytes()
    })
}

/// The settings that every server begins with, and that no request was looked at.
fn goaway(words: &[u8]) -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 6] = [7, 0, 0, 0, 0, 0];
    const LAST_STREAM: [u8; 4] = [0; 4];
    const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
    let length = u32::try_from(LAST_STREAM.len() + ENHANCE_YOUR_CALM.len() + words.len()).unwrap_or_default();
    let [_, length @ ..] = length.to_be_bytes();
    [&SETTINGS[..], &length, &GOAWAY, &LAST_STREAM, &ENHANCE_YOUR_CALM, words].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[test]
    fn who_begins_with_neither_protocol_is_told_nothing() {
        for begin in [&b""[..], &[0x16, 3, 1], b"get / HTTP/1.1"] {
            assert_eq!(answer(begin, "connections"), None);
        }
        let told = String::from_utf8(answer(b"GET /", "connections").unwrap()).unwrap();
        assert!(
            told.starts_with("HTTP/1.1 503 ") && told.ends_with("\r\n\r\ntoo many connections: try again")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_not_answered_and_who_stays_is_left() {
        let mut away = TurnedAway::default();
        let mut waiting = Vec::new();
        for _ in 0..=AT_ONCE_MAX {
            let (client, server) = duplex(64);
            away.tell(server, "connections");
            waiting.push(client);
        }
        let mut last = waiting.pop().unwrap();
        assert_eq!(last.read(&mut [0]).await.unwrap(), 0, "one too many is closed at once");
        let began = tokio::time::Instant::now();
        for mut client in waiting {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
        assert_eq!(began.elapsed().as_secs(), WITHIN.as_secs(), "nobody is waited for");
    }
}
