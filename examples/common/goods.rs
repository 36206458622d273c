//! What orders answer, so that whoever asked can check every byte of it.

use bytes::Bytes;
use http::HeaderName;
use serde::{Deserialize, Serialize};

/// Carries the caller's own name for a request; orders count executions by it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Names the instance that answered, or that was to.
pub const ANSWERED_BY: HeaderName = HeaderName::from_static("x-instance");
/// The longest slow answer, in milliseconds: what a release has to wait for stays within its deadline.
pub const SLOW_MS_MAX: u64 = 10_000;
/// The longest stream: 1 000 chunks are about 10 s and 80 kB.
pub const CHUNKS_MAX: u64 = 1_000;

/// One order, and who answered.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What was asked for.
    pub id: String,
    /// Address of the instance that answered.
    pub instance: String,
    /// The release it runs.
    pub release: String,
}

/// What a new order is answered with: proof that its body arrived whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Length of the body.
    pub bytes: usize,
    /// [`checksum`] of the body.
    pub checksum: String,
    /// Address of the instance that answered.
    pub instance: String,
    /// The release it runs.
    pub release: String,
}

/// Part `n` of a streamed answer; the same on every instance.
pub fn chunk(n: u64) -> Bytes {
    Bytes::from(format!("{n:04} {}\n", checksum(&n.to_be_bytes()).repeat(4)))
}

/// FNV-1a over 64 bits, in hex: short, and finds what a lost or doubled chunk does to a body.
pub fn checksum(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(checksum(b""), "cbf29ce484222325");
        assert_eq!(checksum(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn no_two_chunks_are_alike() {
        let chunks: std::collections::HashSet<_> = (0..CHUNKS_MAX).map(chunk).collect();
        assert_eq!(chunks.len(), 1_000);
    }
}
