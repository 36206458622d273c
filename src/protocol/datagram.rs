//! Lists as datagrams, for clients of version 1 that poll over HTTP and hear of changes over UDP.
//!
//! `{"type":"dom","data":"<the list as text>","lastRefTime":7}`, in gzip when it is long; answered by
//! `{"type":"push-ack","lastRefTime":"7","data":""}` to the port that it came from. Here `lastRefTime` is no
//! time but the number of the datagram.

use super::written::Written;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::io::Write as _;

/// Length from which a datagram is sent in gzip. Nacos' value; receivers know gzip by its first bytes.
const GZIP_FROM: usize = 1024;
/// What UDP over IPv4 carries: the protocol has no way to send a list in parts.
const BYTES_MAX: usize = 65_507;
/// Length of an answer, with room to spare: nothing of ours is repeated in it.
pub(crate) const ANSWER_BYTES_MAX: usize = 512;

/// Clients that take datagrams, as their `User-Agent` begins, with the first version that does.
const TAKERS: [(&str, [u32; 3]); 5] = [
    ("Nacos-Java-Client", [0, 1, 0]),
    ("Nacos-Go-Client", [0, 0, 0]),
    ("Nacos-CSharp-Client", [0, 9, 0]),
    ("Nacos-C-Client", [1, 0, 12]),
    ("Nacos-DNS", [0, 4, 3]),
];

#[derive(Serialize)]
struct Push<'a> {
    r#type: &'static str,
    data: &'a str,
    #[serde(rename = "lastRefTime")]
    number: u64,
}

#[derive(Deserialize)]
struct Answer {
    r#type: String,
    #[serde(rename = "lastRefTime")]
    number: Number,
}

/// Java writes text, and Node a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Bare(u64),
    Text(String),
}

/// The datagram with this number, which Node reads exactly up to 2^53; nothing for a list that fits in none.
pub(crate) fn write(list: &Written, number: u64) -> Option<Vec<u8>> {
    let push = Push { r#type: "dom", data: list.as_str(), number };
    let text = serde_json::to_vec(&push).expect("text and a number are JSON");
    let bytes = if text.len() < GZIP_FROM { text } else { gzip(&text) };
    (bytes.len() <= BYTES_MAX).then_some(bytes)
}

/// The number of the datagram that is acknowledged; nothing for whatever else is sent to a port.
pub(crate) fn acknowledged(answer: &[u8]) -> Option<u64> {
    let Answer { r#type, number } = serde_json::from_slice(answer).ok()?;
    let number = match number {
        Number::Bare(number) => Some(number),
        Number::Text(text) => text.parse().ok(),
    };
    number.filter(|_| r#type == "push-ack")
}

/// Whether a client that calls itself `agent` takes datagrams: `Nacos-Java-Client:v1.4.8`.
pub(crate) fn is_taken_by(agent: &str) -> bool {
    TAKERS.iter().any(|(name, since)| {
        let version = agent.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(':'));
        version.is_some_and(|version| read_version(version.trim_start_matches([':', 'v', 'V'])) >= *since)
    })
}

/// The first three numbers of a version; what is no number is 0.
fn read_version(text: &str) -> [u32; 3] {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    let mut parts = text.split('.').map(|part| digits(part).parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("memory takes whatever is written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, ServiceKey};
    use crate::protocol::entity::ServiceInfo;
    use std::io::Read as _;

    fn list(hosts: u16) -> Written {
        let service = ServiceKey::new("orders").unwrap();
        let hosts: Vec<_> = (0..hosts)
            .map(|port| Instance::new(crate::model::Address::new("10.0.0.7", port).unwrap()))
            .collect();
        Written::new(&ServiceInfo::new(&service, 7, "a", hosts.iter()).grouped(&service, 10_000))
    }

    #[test]
    fn a_short_list_goes_as_it_is_and_a_long_one_in_gzip() {
        assert_eq!(
            String::from_utf8(write(&list(0), 3).unwrap()).unwrap(),
            r#"{"type":"dom","data":"{\"name\":\"DEFAULT_GROUP@@orders\",\"groupName\":\"DEFAULT_GROUP\",\"clusters\":\"a\",\"cacheMillis\":10000,\"hosts\":[],\"lastRefTime\":7,\"checksum\":\"\",\"allIPs\":false,\"allIps\":false,\"reachProtectionThreshold\":false,\"valid\":true}","lastRefTime":3}"#
        );
        let long = write(&list(100), 4).unwrap();
        assert!(long.starts_with(&[0x1f, 0x8b]) && long.len() < 8 * 1024, "{}", long.len());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&long[..]).read_to_string(&mut text).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read["data"].as_str(), read["lastRefTime"].as_u64()),
            (Some(list(100).as_str()), Some(4))
        );
    }

    #[test]
    fn what_fits_into_no_datagram_is_not_sent() {
        let noise: String = (0..200_000).map(|_| fastrand::alphanumeric()).collect();
        let service = ServiceKey::new("orders").unwrap();
        let info = ServiceInfo::new(&service, 7, &noise, std::iter::empty());
        assert_eq!(write(&Written::new(&info), 1), None);
    }

    #[test]
    fn an_answer_is_read_as_java_and_node_write_it_and_nothing_else_is_one() {
        for (answer, number) in [
            (r#"{"type":"push-ack","lastRefTime":"7","data":""}"#, Some(7)),
            (r#"{"type": "push-ack", "lastRefTime": 7}"#, Some(7)),
            (r#"{"type":"unknown-ack","lastRefTime":7}"#, None),
            (r#"{"type":"push-ack","lastRefTime":-7}"#, None),
            (r#"{"type":"push-ack","lastRefTime":"seven"}"#, None),
            (r#"{"type":"push-ack"}"#, None),
            ("\u{0}", None),
            ("", None),
        ] {
            assert_eq!(acknowledged(answer.as_bytes()), number, "{answer}");
        }
    }

    #[test]
    fn old_clients_and_other_programs_are_sent_nothing() {
        for agent in [
            "Nacos-Java-Client:v1.0.0",
            "Nacos-Java-Client:v0.1.0",
            "Nacos-Go-Client:v0.0.1",
            "Nacos-DNS:v0.4.3",
        ] {
            assert!(is_taken_by(agent), "{agent}");
        }
        for agent in [
            "Nacos-Java-Client:v0.0.9",
            "Nacos-C-Client:v1.0.11",
            "Nacos-Python-Client",
            "Nacos-DNSx:v9",
            "curl/8",
            "",
        ] {
            assert!(!is_taken_by(agent), "{agent}");
        }
    }
}
