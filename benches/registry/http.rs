//! A client of the HTTP API that costs as little as possible: one connection, one request at a time.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an answer: more than the list of 5000 hosts.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ANSWER_BYTES_MAX] })
    }

    /// Sends a request, and returns the body of the answer, whose status must be 200.
    pub(crate) async fn ask(&mut self, request: &str) -> io::Result<&[u8]> {
        self.stream.write_all(request.as_bytes()).await?;
        let (mut filled, mut body) = (0, None);
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::Error::other("an answer that ends too early, or is too long"));
            }
            filled += read;
            if body.is_none() {
                body = body_of(&self.buffer[..filled])?;
            }
            if let Some(body) = body.clone().filter(|body| body.end <= filled) {
                return Ok(&self.buffer[body]);
            }
        }
    }
}

/// A request without a body.
pub(crate) fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: registry\r\ncontent-length: 0\r\n\r\n")
}

/// Where the body stands; nothing while the head has not come whole.
fn body_of(answer: &[u8]) -> io::Result<Option<std::ops::Range<usize>>> {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).map_err(io::Error::other)?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(format!("refused: {}", String::from_utf8_lossy(answer))));
    }
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.find_map(|(_, value)| value.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    Ok(Some(end + 4..end + 4 + length))
}
