//! Why an instance is on a list no more.

use super::{Address, Instance, UnixMillis};
use std::fmt;
use std::str::FromStr;

/// One incarnation of an instance that went off a service's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    pub(crate) address: Address,
    pub(crate) epoch: Option<UnixMillis>,
    pub(crate) reason: Reason,
}

/// Why an instance went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its publisher took it off, or published others in its place.
    Deregistered,
    /// It is registered still, but takes no traffic any more.
    Disabled,
    /// Its heartbeats stopped.
    Expired,
    /// Its connection ended.
    ConnectionLost,
}

impl Removal {
    /// The removal of `instance` as it is now.
    pub(crate) fn new(instance: &Instance, reason: Reason) -> Self {
        Self { address: instance.address().clone(), epoch: instance.epoch(), reason }
    }

    /// Whether it was an order that takes in `instance`: somebody meant that it gets no more requests. An
    /// order about one incarnation takes in those before it at the same address.
    pub(crate) fn orders_off(&self, instance: &Instance) -> bool {
        self.reason.is_order() && self.address == *instance.address() && self.epoch >= instance.epoch()
    }
}

impl Reason {
    const ALL: [Self; 4] = [Self::Deregistered, Self::Disabled, Self::Expired, Self::ConnectionLost];

    /// Its word on the wire and in logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deregistered => "deregistered",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::ConnectionLost => "connection-lost",
        }
    }

    /// Whether somebody meant it. Otherwise the registry has only lost sight of the instance, which may be
    /// well.
    pub(crate) const fn is_order(self) -> bool {
        matches!(self, Self::Deregistered | Self::Disabled)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no reason, of a registry that knows more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(word: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word).ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metadata, key};

    fn instance(port: u16, epoch: Option<u64>) -> Instance {
        let metadata: Metadata = epoch.map(|epoch| (key::EPOCH, epoch.to_string())).into_iter().collect();
        Instance::new(Address::new("10.0.0.7", port).unwrap()).with_metadata(metadata)
    }

    #[test]
    fn a_reason_survives_its_word() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert_eq!("retired".parse::<Reason>(), Err(UnknownReason));
    }

    #[test]
    fn an_order_takes_in_the_incarnation_it_names_and_those_before_it() {
        let order = Removal::new(&instance(1, Some(5)), Reason::Deregistered);
        for (other, taken_in) in [
            (instance(1, Some(5)), true),
            (instance(1, Some(4)), true),
            (instance(1, None), true),
            (instance(1, Some(6)), false),
            (instance(2, Some(5)), false),
        ] {
            assert_eq!(order.orders_off(&other), taken_in, "{other:?}");
        }
        let nameless = Removal::new(&instance(1, None), Reason::Disabled);
        assert!(nameless.orders_off(&instance(1, None)) && !nameless.orders_off(&instance(1, Some(5))));
        for lost in [Reason::Expired, Reason::ConnectionLost] {
            assert!(!Removal { reason: lost, ..order.clone() }.orders_off(&instance(1, Some(5))));
        }
    }
}
