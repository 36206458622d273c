//! Users and tokens for tests of both wires.

use super::token::{Claims, TokenKey, forged};
use super::user::User;
use crate::registry::fact::Fact;
use crate::registry::hub::Hub;
use std::sync::Arc;
use std::time::Duration;

/// Who asks: each has one role in `dev`, but for those whose names say otherwise.
pub(crate) const USERS: &[(&str, &[&str])] = &[
    ("root", &["admin"]),
    ("reader", &["read@dev"]),
    ("writer", &["write@dev"]),
    ("admin", &["admin@dev"]),
    ("other", &["admin@prod"]),
    ("everywhere", &["read"]),
    ("nothing", &[]),
];

/// How long a token of these tests counts.
const TTL: Duration = Duration::from_secs(10);

/// Lets the users into a hub, whose moment must be a while after 1970 began, and returns their names with their
/// tokens; and names of tokens that are nobody's.
pub(crate) fn tokens(hub: &Hub) -> Vec<(&'static str, Option<String>)> {
    let key = TokenKey::generate().unwrap();
    let users = USERS.iter().map(|(name, grants)| Arc::new(User::with_grants(name, grants)));
    let facts = users.map(|user| Fact::User { name: user.name.clone(), user: Some(user) });
    hub.restore(facts.chain([Fact::Key { key: Some(Arc::new(key.clone())) }]).collect());
    let claims = |user: &str, stamp| Claims::new(&user.parse().unwrap(), stamp, hub.now(), TTL).unwrap();
    let expired = Claims { exp: hub.now().as_u64() / 1000, ..claims("root", 1) };
    let said = serde_json::to_string(&claims("root", 1)).unwrap();
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let mut tokens: Vec<_> =
        USERS.iter().map(|(name, _)| (*name, Some(key.sign(&claims(name, 1))))).collect();
    tokens.extend([
        ("no token", None),
        ("an expired one", Some(key.sign(&expired))),
        ("one of before a change", Some(key.sign(&claims("root", 7)))),
        ("one of nobody", Some(key.sign(&claims("ghost", 1)))),
        ("one of another key", Some(TokenKey::generate().unwrap().sign(&claims("root", 1)))),
        ("one of the key of Nacos", Some(forged::token(header, &said, &forged::nacos_key()))),
        ("one without a signature", Some(forged::token(r#"{"alg":"none"}"#, &said, b""))),
        ("everyone's", Some("everyone".to_owned())),
    ]);
    tokens
}
