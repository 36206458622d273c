//! What people ask orders for, and whether an answer is the right and whole one.

use super::goods::{Order, REQUEST_ID, Receipt, checksum, chunk};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

/// Length of a new order's body, in bytes.
const BODY_BYTES: std::ops::Range<usize> = 16..4096;
/// How slow the slow answers are, in milliseconds.
const SLOW_MS: std::ops::Range<u64> = 50..400;
/// How many chunks the streamed answers have.
const CHUNKS: std::ops::Range<u64> = 2..20;

/// What people ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// `GET /orders/{id}`.
    Read,
    /// `POST /orders` with this body.
    Create(String),
    /// `GET /slow?ms=`.
    Slow(u64),
    /// `GET /stream?chunks=`.
    Stream(u64),
}

impl Wish {
    /// Any wish: of ten, six to read, two to create, one slow, one streamed.
    pub fn draw(random: &mut fastrand::Rng) -> Self {
        match random.u8(0..100) {
            0..60 => Self::Read,
            60..80 => {
                let bytes = random.usize(BODY_BYTES);
                Self::Create(std::iter::repeat_with(|| random.alphanumeric()).take(bytes).collect())
            }
            80..90 => Self::Slow(random.u64(SLOW_MS)),
            _ => Self::Stream(random.u64(CHUNKS)),
        }
    }

    /// In a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create(_) => "create",
            Self::Slow(_) => "slow",
            Self::Stream(_) => "stream",
        }
    }

    /// Whether it is to be answered at once. The others take as long as they were asked to.
    pub const fn is_short(&self) -> bool {
        matches!(self, Self::Read | Self::Create(_))
    }

    /// How it is asked for over HTTP.
    pub const fn method(&self) -> Method {
        match self {
            Self::Create(_) => Method::POST,
            Self::Read | Self::Slow(_) | Self::Stream(_) => Method::GET,
        }
    }

    /// The request for it, by the name `id`; its URI is a path.
    pub fn to_request(&self, id: &str) -> Request<Full<Bytes>> {
        let (path, body) = match self {
            Self::Read => (format!("/orders/{id}"), Bytes::new()),
            Self::Create(order) => ("/orders".to_owned(), Bytes::from(order.clone())),
            Self::Slow(ms) => (format!("/slow?ms={ms}"), Bytes::new()),
            Self::Stream(chunks) => (format!("/stream?chunks={chunks}"), Bytes::new()),
        };
        let request = Request::builder().method(self.method()).uri(path).header(REQUEST_ID, id);
        request.body(Full::new(body)).expect("ids and numbers make valid paths and headers")
    }

    /// Whether `body` is the right and whole answer to the request with the name `id`.
    pub fn is_answered_by(&self, id: &str, body: &[u8]) -> bool {
        match self {
            Self::Read => serde_json::from_slice(body).is_ok_and(|order: Order| order.id == id),
            Self::Slow(_) => serde_json::from_slice(body).is_ok_and(|order: Order| order.id == "slow"),
            Self::Create(sent) => serde_json::from_slice(body).is_ok_and(|receipt: Receipt| {
                receipt.bytes == sent.len() && receipt.checksum == checksum(sent.as_bytes())
            }),
            Self::Stream(chunks) => body == (0..*chunks).flat_map(chunk).collect::<Vec<u8>>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_lacks_or_doubles_a_byte_is_wrong() {
        let whole: Vec<u8> = (0..5).flat_map(chunk).collect();
        assert!(Wish::Stream(5).is_answered_by("1", &whole));
        assert!(!Wish::Stream(5).is_answered_by("1", &whole[1..]));
        assert!(!Wish::Stream(5).is_answered_by("1", &[&whole[..], &chunk(4)].concat()));
        let order = br#"{"id":"7","instance":"a","release":"v1"}"#;
        assert!(Wish::Read.is_answered_by("7", order));
        assert!(!Wish::Read.is_answered_by("8", order));
        assert!(!Wish::Read.is_answered_by("7", b""));
        let receipt = |bytes: usize| {
            let (checksum, instance, release) = (checksum(b"abc"), "a".to_owned(), "v1".to_owned());
            serde_json::to_vec(&Receipt { bytes, checksum, instance, release }).unwrap()
        };
        let create = |order: &str| Wish::Create(order.to_owned());
        assert!(create("abc").is_answered_by("1", &receipt(3)));
        assert!(!create("abc").is_answered_by("1", &receipt(4)));
        assert!(!create("abd").is_answered_by("1", &receipt(3)));
    }
}
