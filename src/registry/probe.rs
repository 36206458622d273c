//! Knocks at an instance's door.

use super::health::{Finding, Probe};
use crate::model::Address;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long opening a connection may take. Nacos' value.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);
/// How long the first line of an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Bytes of `HTTP/1.1 200`, which is all that is read.
const STATUS_BYTES: usize = 12;
/// Answers that ask for patience rather than say that something is wrong; Nacos' choice.
const PATIENCE: [u16; 2] = [503, 302];

/// What a probe of `address` finds, within a second and a half.
pub(crate) async fn run(probe: &Probe, address: &Address) -> Finding {
    let connect = TcpStream::connect((address.host(), address.port()));
    let mut stream = match timeout(CONNECTED_WITHIN, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return Finding::Down,
        Err(_) => return Finding::Missed,
    };
    let Probe::Http { path, headers, expected } = probe else { return Finding::Up };
    match timeout(ANSWERED_WITHIN, status(&mut stream, &request(address, path, headers))).await {
        Ok(Ok(status)) if status == *expected => Finding::Up,
        Ok(Ok(status)) if PATIENCE.contains(&status) => Finding::Missed,
        Ok(Ok(_) | Err(_)) => Finding::Down,
        Err(_) => Finding::Missed,
    }
}

fn request(address: &Address, path: &str, headers: &[(String, String)]) -> String {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request + "\r\n"
}

/// The status of the answer; 0 where it has none.
async fn status(stream: &mut TcpStream, request: &str) -> io::Result<u16> {
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_BYTES];
    stream.read_exact(&mut line).await?;
    let digits = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..));
    Ok(digits.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answering(answer: &'static str) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 1024];
                let len = stream.read(&mut request).await.unwrap_or(0);
                if request[..len].starts_with(b"GET /ping HTTP/1.1\r\n")
                    && request[..len].ends_with(b"a: b\r\n\r\n")
                {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_is_judged_by_its_status() {
        let headers = vec![("a".to_owned(), "b".to_owned())];
        let http = Probe::Http { path: "/ping".to_owned(), headers, expected: 200 };
        for (answer, finding) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Finding::Up),
            ("HTTP/1.0 503 Busy\r\n\r\n", Finding::Missed),
            ("HTTP/1.1 404 Not Found\r\n\r\n", Finding::Down),
            ("SSH-2.0-OpenSSH_9.6\r\n", Finding::Down),
            ("", Finding::Down),
        ] {
            assert_eq!(run(&http, &answering(answer).await).await, finding, "{answer:?}");
        }
        assert_eq!(run(&Probe::Tcp, &answering("").await).await, Finding::Up);
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_down() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        drop(listener);
        assert_eq!(run(&Probe::Tcp, &address).await, Finding::Down);
    }
}
