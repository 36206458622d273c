//! How long names may be that somebody brings: of namespaces, groups, services, clusters and users.
//!
//! Asked where a name would stay: of what is published, followed, created and set. What is there already can be
//! read and taken off, however long its names are, and a question for a longer one finds nothing.

use super::access::Edit as UserEdit;
use super::error::Refusal;
use super::write::{Edit, Set, Write};
use crate::model::{Cluster, InstanceKey, Namespace, ServiceKey};

/// The longest name of any kind.
pub(crate) const NAME_BYTES_MAX: usize = 512;

/// How long a name may be, whose kind may have a shorter bound of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) bytes_max: usize,
}

impl Names {
    /// Whether there may be a service of this name.
    ///
    /// # Errors
    /// With the first of its three names that is too long.
    pub(crate) fn check(self, service: &ServiceKey) -> Result<(), Refusal> {
        self.check_namespace(&service.namespace)?;
        self.check_one("group", service.group.as_str())?;
        self.check_one("service", service.name.as_str())
    }

    /// Whether there may be instances of these keys in a service.
    ///
    /// # Errors
    /// With the first name that is too long.
    pub(crate) fn check_keys<'a>(
        self,
        service: &ServiceKey,
        keys: impl IntoIterator<Item = &'a InstanceKey>,
    ) -> Result<(), Refusal> {
        self.check(service)?;
        keys.into_iter().try_for_each(|key| self.check_cluster(&key.cluster))
    }

    /// Whether a change brings no name that is too long.
    ///
    /// # Errors
    /// With the first one that is.
    pub(crate) fn check_write(self, write: &Write) -> Result<(), Refusal> {
        match write {
            Write::Register { service, instance } => self.check_keys(service, [&instance.key]),
            Write::Override { service, keys, set: Set::All(_) } | Write::Metadata { service, keys, .. } => {
                self.check_keys(service, keys)
            }
            Write::Create { service, .. } => self.check(service),
            Write::Describe { edit: Edit::Cluster(name, _), .. } => self.check_cluster(name),
            Write::CreateNamespace { namespace, .. } => self.check_namespace(namespace),
            Write::User { name, edit: UserEdit::Create { .. }, .. } => self.check_one("user", name.as_str()),
            Write::Deregister { .. }
            | Write::Override { set: Set::Given { .. }, .. }
            | Write::Drop { .. }
            | Write::Delete { .. }
            | Write::Describe { edit: Edit::Said(_) | Edit::Rollout(_), .. }
            | Write::DescribeNamespace { .. }
            | Write::DeleteNamespace { .. }
            | Write::User { .. } => Ok(()),
        }
    }

    fn check_namespace(self, namespace: &Namespace) -> Result<(), Refusal> {
        self.check_one("namespace", namespace.as_str())
    }

    fn check_cluster(self, cluster: &Cluster) -> Result<(), Refusal> {
        self.check_one("cluster", cluster.as_str())
    }

    fn check_one(self, kind: &'static str, name: &str) -> Result<(), Refusal> {
        let (bytes, max) = (name.len(), self.bytes_max);
        if bytes > max { Err(Refusal::NameTooLong { kind, bytes, max }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;

    #[test]
    fn each_name_of_a_service_and_of_its_instances_has_the_bound() {
        let key = |text: &str| text.parse::<ServiceKey>().unwrap();
        let names = Names { bytes_max: 8 };
        let address = Address::new("10.0.0.7", 80).unwrap();
        let instance =
            |cluster: &str| InstanceKey { address: address.clone(), cluster: cluster.parse().unwrap() };
        assert!(names.check_keys(&key("12345678##12345678@@12345678"), [&instance("12345678")]).is_ok());
        let refused = |service: &str, cluster: &str| {
            names.check_keys(&key(service), [&instance("a"), &instance(cluster)]).unwrap_err().to_string()
        };
        for (service, cluster, kind) in [
            ("123456789##a@@a", "a", "namespace"),
            ("a##123456789@@a", "a", "group"),
            ("a##a@@123456789", "a", "service"),
            ("a##a@@a", "123456789", "cluster"),
        ] {
            let said = format!("{kind} name of 9 bytes is too long: accepted are up to 8");
            assert_eq!(refused(service, cluster), said);
        }
    }
}
