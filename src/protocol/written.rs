//! Lists that are written once and sent many times.
//!
//! Writing the list of a hundred hosts takes longer than all the rest of answering with it. Its text is the
//! same for everyone who asks for the same, so it is kept, and copied into each answer.

use super::entity::ServiceInfo;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;

/// A list as JSON text; a clone shares it.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Written(Arc<RawValue>);

impl Written {
    /// Writes a list.
    pub(crate) fn new(list: &ServiceInfo) -> Self {
        Self(to_raw_value(list).expect("lists have string keys and finite numbers only").into())
    }

    /// The text.
    #[cfg(feature = "registry")]
    pub(crate) fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.get().len()
    }
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        self.0.get().as_bytes()
    }
}

impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl From<Written> for Bytes {
    /// The text itself, not a copy.
    fn from(written: Written) -> Self {
        Self::from_owner(written)
    }
}

/// Writes a list into a message: its text where it has one.
pub(super) fn written_or_whole<S: Serializer>(list: &ServiceInfo, serializer: S) -> Result<S::Ok, S::Error> {
    match &list.written {
        Some(written) => written.serialize(serializer),
        None => list.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, ServiceKey};
    use crate::protocol::message::NotifySubscriberRequest;

    #[test]
    fn a_message_is_the_same_with_a_list_and_with_its_text() {
        let instance = Instance::new("10.0.0.7:80".parse().unwrap());
        let list = ServiceInfo::new(&ServiceKey::new("orders").unwrap(), 7, "", [&instance].into_iter());
        let written = ServiceInfo::from_written(Written::new(&list));
        let json = |service_info| {
            let push = NotifySubscriberRequest { service_info, ..NotifySubscriberRequest::default() };
            serde_json::to_string(&push).unwrap()
        };
        assert_eq!(json(written), json(list));
    }
}
