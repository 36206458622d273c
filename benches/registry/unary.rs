//! A client of the gRPC API that costs as little as possible, so that it is the registry that is measured:
//! just enough HTTP/2, one request at a time, beside the stream that makes a connection of the transport.
//! It compresses the heads of its requests as SDKs do: all but the first are a few numbers.

use crate::grpc::{message, setup};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower_graceful::BoxError;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of the head of a frame.
const HEAD_BYTES: usize = 9;
/// Bytes that are read at once: more than the list of 100 hosts.
const BUFFER_BYTES: usize = 64 * 1024;
/// Flow control that never stops the registry, and the window that either side has at first.
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_FIRST: u32 = 65_535;
/// What r-nacos and we say in a success.
const SUCCESS: &[u8] = br#""resultCode":200"#;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

/// A client that is set up.
pub(crate) struct Client {
    stream: TcpStream,
    /// What has been read and not looked at: `buffer[at..filled]`.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    outgoing: Vec<u8>,
    answer: Vec<u8>,
    /// Of the last request.
    number: u32,
    /// Bytes that the registry takes.
    window: u32,
}

/// The head of a frame.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: usize,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, BoxError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            buffer: vec![0; BUFFER_BYTES],
            at: 0,
            filled: 0,
            outgoing: PREFACE.to_vec(),
            answer: Vec::new(),
            number: 1,
            window: WINDOW_FIRST,
        };
        let window = [&SETTINGS_INITIAL_WINDOW_SIZE.to_be_bytes()[..], &WINDOW_MAX.to_be_bytes()].concat();
        client.put(SETTINGS, 0, 0, &window);
        client.put(WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_FIRST).to_be_bytes());
        client.put(HEADERS, END_HEADERS, 1, &first_head("/BiRequestStream/requestBiStream"));
        client.put_data(0, 1, &setup()?);
        client.ask(&message("HealthCheckRequest", &json!({}))?).await?;
        Ok(client)
    }

    /// Asks with a message that has its prefix, and returns the text of an answer that is a success.
    pub(crate) async fn ask(&mut self, message: &[u8]) -> Result<&[u8], BoxError> {
        while (self.window as usize) < message.len() {
            self.next().await?;
        }
        self.number += 2;
        let (number, first) = (self.number, self.number == 3);
        self.put(HEADERS, END_HEADERS, number, &next_head("/Request/request", first));
        self.put_data(END_STREAM, number, message);
        self.stream.write_all(&self.outgoing).await?;
        self.outgoing.clear();
        self.answer.clear();
        while !self.next().await? {}
        let begins = self.answer.windows(2).position(|bytes| bytes == br#"{""#);
        let begins = begins.ok_or("an answer without a text")?;
        let text = &self.answer[begins..];
        // In the first bytes or the last ones, as the registry likes it; a list may lie between them.
        let near = [&text[..text.len().min(256)], &text[text.len().saturating_sub(256)..]];
        if near.iter().all(|part| !part.windows(SUCCESS.len()).any(|bytes| bytes == SUCCESS)) {
            return Err(format!("refused: {}", String::from_utf8_lossy(text)).into());
        }
        Ok(text)
    }

    /// Takes the next frame; whether it ends the answer to the last request.
    async fn next(&mut self) -> io::Result<bool> {
        let Frame { kind, flags, stream, length } = self.frame().await?;
        let body = self.at..self.at + length;
        self.at = body.end;
        let body = &self.buffer[body];
        let number = || body.last_chunk().copied().map_or(0, u32::from_be_bytes);
        match kind {
            DATA if stream == self.number => self.answer.extend_from_slice(body),
            WINDOW_UPDATE if stream == 0 => self.window = self.window.saturating_add(number()),
            RST_STREAM | GOAWAY => return Err(io::Error::other(format!("ended with error {}", number()))),
            SETTINGS if flags & ACK == 0 => self.put(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => {
                let body = body.to_vec();
                self.put(PING, ACK, 0, &body);
            }
            _ => {}
        }
        Ok(stream == self.number && flags & END_STREAM != 0 && (kind == DATA || kind == HEADERS))
    }

    /// Reads until a whole frame has come.
    async fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let read = &self.buffer[self.at..self.filled];
            if let Some(&[a, b, c, kind, flags, e, f, g, h]) = read.first_chunk::<HEAD_BYTES>() {
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                if read.len() >= HEAD_BYTES + length {
                    self.at += HEAD_BYTES;
                    return Ok(Frame { kind, flags, stream: u32::from_be_bytes([e, f, g, h]), length });
                }
            }
            self.buffer.copy_within(self.at..self.filled, 0);
            (self.at, self.filled) = (0, self.filled - self.at);
            let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
            if read == 0 {
                return Err(io::Error::other("the connection ended, or a frame is too long"));
            }
            self.filled += read;
        }
    }

    fn put_data(&mut self, flags: u8, stream: u32, message: &[u8]) {
        self.window -= u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.put(DATA, flags, stream, message);
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        self.outgoing.extend_from_slice(&length[1..]);
        self.outgoing.extend_from_slice(&[kind, flags]);
        self.outgoing.extend_from_slice(&stream.to_be_bytes());
        self.outgoing.extend_from_slice(body);
    }
}

/// `:method: POST` and `:scheme: http`, from the table that everybody has.
const POST_HTTP: [u8; 2] = [0x83, 0x86];

/// The head of the first request, from which the registry remembers authority, content type and `te`.
fn first_head(path: &str) -> Vec<u8> {
    let mut head = [&POST_HTTP[..], &[0x04], &text(path)].concat();
    for (name, value) in [(&[0x41][..], "registry"), (&[0x5f], "application/grpc")] {
        head.extend([name, &text(value)].concat());
    }
    head.extend([&[0x40][..], &text("te"), &text("trailers")].concat());
    head
}

/// The head of a later one: the path is remembered from the `first` of these on, before the other three.
fn next_head(path: &str, first: bool) -> Vec<u8> {
    let path = if first { [&[0x44][..], &text(path)].concat() } else { vec![0xbe] };
    [&POST_HTTP[..], &path, &[0xc1, 0xc0, 0xbf]].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap_or_default()], text.as_bytes()].concat()
}
