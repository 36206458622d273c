//! Addresses of pages. Pure: names come from anyone, so whatever is not plain is percent-encoded.

use crate::model::{Address, Cluster, InstanceKey, Namespace, ServiceKey};
use std::fmt;

/// The first page of a namespace.
pub(super) fn overview(namespace: &Namespace) -> String {
    format!("/console?namespaceId={}", Encoded(namespace.as_str()))
}

/// The page of a service.
pub(super) fn service(service: &ServiceKey) -> String {
    format!("/console/service?{}", of_service(service))
}

/// The diagnosis of a service.
pub(super) fn diagnosis(service: &ServiceKey) -> String {
    format!("/console/diagnosis?{}", of_service(service))
}

/// The page of an instance of a service, listed or not.
pub(super) fn instance(service: &ServiceKey, ip: &str, port: u16, cluster: &str) -> String {
    let (ip, cluster) = (Encoded(ip), Encoded(cluster));
    format!("/console/instance?{}&ip={ip}&port={port}&clusterName={cluster}", of_service(service))
}

/// The page of all clients.
pub(super) const CLIENTS: &str = "/console/clients";

/// The page by which a service comes to be in a namespace.
pub(super) fn create(namespace: &Namespace) -> String {
    format!("/console/act/create-service?namespaceId={}", Encoded(namespace.as_str()))
}

/// The page of something that is done to a service.
pub(super) fn act(act: &str, service: &ServiceKey) -> String {
    format!("/console/act/{act}?{}", of_service(service))
}

/// The page of something that is done to one instance of a service.
pub(super) fn act_on(act: &str, service: &ServiceKey, ip: &str, port: u16, cluster: &str) -> String {
    let chosen = chosen(ip, port, cluster);
    format!("/console/act/{act}?{}&instance={}", of_service(service), Encoded(&chosen))
}

/// The page by which a persistent instance is changed.
pub(super) fn keep(service: &ServiceKey, ip: &str, port: u16, cluster: &str) -> String {
    let (ip, cluster) = (Encoded(ip), Encoded(cluster));
    format!("/console/act/keep?{}&ip={ip}&port={port}&clusterName={cluster}", of_service(service))
}

/// The page by which a connection is closed.
pub(super) fn close(connection: u64) -> String {
    format!("/console/act/close?connection={connection}")
}

/// An instance as forms name it.
pub(super) fn chosen(ip: &str, port: u16, cluster: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}#{cluster}") } else { format!("{ip}:{port}#{cluster}") }
}

/// The instance that a form names; nothing where it is none.
pub(super) fn read_chosen(text: &str) -> Option<InstanceKey> {
    let (address, cluster) = text.rsplit_once('#')?;
    let (address, cluster): (Address, _) = (address.parse().ok()?, Cluster::new(cluster).ok()?);
    Some(InstanceKey { address, cluster })
}

fn of_service(service: &ServiceKey) -> String {
    let (namespace, group) = (Encoded(service.namespace.as_str()), Encoded(service.group.as_str()));
    format!("namespaceId={namespace}&groupName={group}&serviceName={}", Encoded(service.name.as_str()))
}

/// A value in a query.
pub(super) struct Encoded<'a>(pub(super) &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", byte as char)
            }
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_an_address() {
        assert_eq!(Encoded("a b&c=d#e\"<'é").to_string(), "a%20b%26c%3Dd%23e%22%3C%27%C3%A9");
        let key: ServiceKey = "DEFAULT_GROUP@@orders".parse().unwrap();
        let link = instance(&key, "10.0.0.7", 80, "a&b");
        assert_eq!(
            link,
            "/console/instance?namespaceId=public&groupName=DEFAULT_GROUP&serviceName=orders&ip=10.0.0.7&port=80&clusterName=a%26b"
        );
    }
}
