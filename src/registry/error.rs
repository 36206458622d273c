//! What the starter of a registry, and what its callers can be told.

use super::access::{Denied, HashError, InvalidUser};
use super::bound::Bound;
use super::fact::Kind;
use super::storage::StorageError;
use crate::model::{Cluster, InvalidLease, InvalidName, Namespace, ServiceKey};
use crate::protocol::entity::InvalidInstance;
use crate::protocol::form::InvalidForm;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a registry could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address goes beyond this machine, and nobody has said that everyone may change everything.
    #[error(
        "bind: {bind} can be reached from other machines, and the registry has no users: bind to 127.0.0.1; or make a first one, by `graceful registry user add NAME --role admin --data-dir DIR` or by GRACEFUL_REGISTRY_ADMIN_USER and GRACEFUL_REGISTRY_ADMIN_PASSWORD_FILE; or say --no-auth to let everyone in"
    )]
    Open {
        /// The address that was given.
        bind: IpAddr,
    },
    /// There is no gRPC port 1000 above the HTTP port.
    #[error(
        "http-port: {http_port} leaves no gRPC port 1000 above it: choose one up to 64535, or give grpc-port"
    )]
    NoGrpcPort {
        /// The HTTP port that was given.
        http_port: u16,
    },
    /// A port is taken or forbidden.
    #[error("{setting}: cannot listen on {address}")]
    Listen {
        /// The setting that chose the port.
        setting: &'static str,
        /// What was to be bound.
        address: SocketAddr,
        /// Why it could not be.
        source: io::Error,
    },
    /// A file for TLS cannot be read, or does not hold what it should.
    #[error("{setting}: cannot use the file")]
    Tls {
        /// The setting that names the file.
        setting: &'static str,
        /// What is wrong with which file.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The data directory cannot be made or written.
    #[error("data-dir: cannot write in {}", path.display())]
    DataDir {
        /// The directory that was given.
        path: PathBuf,
        /// Why it could not be.
        source: io::Error,
    },
    /// Another registry works in the data directory.
    #[error("data-dir: {} is in use by a registry that runs", path.display())]
    DataDirInUse {
        /// The directory that was given.
        path: PathBuf,
    },
    /// What the data directory holds cannot be read.
    #[error("data-dir: cannot read what {} holds", path.display())]
    Stored {
        /// The directory that was given.
        path: PathBuf,
        /// Why it cannot be.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// How long tokens shall count is not accepted.
    #[error("token-seconds: tokens cannot count for {given:?}: accepted are 1 s to 30 days, whole seconds")]
    TokenTtl {
        /// What was given.
        given: Duration,
    },
    /// A user cannot be made or changed like this.
    #[error(transparent)]
    User(#[from] InvalidUser),
    /// The system has no random numbers, or no memory for a password's hash.
    #[error("what users need cannot be made")]
    Secret {
        /// Why it could not be.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<HashError> for Error {
    fn from(error: HashError) -> Self {
        Self::Secret { source: error.into() }
    }
}

/// Why a request was refused. Its text names what is wrong and what is accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Form(#[from] InvalidForm),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Instance(#[from] InvalidInstance),
    /// Nacos' words.
    #[error("Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.")]
    Lease(InvalidLease),
    #[error("metadata of {chars} characters are too long: accepted are up to {max}")]
    MetadataTooLong { chars: usize, max: usize },
    #[error("{kind} name of {bytes} bytes is too long: accepted are up to {max}")]
    NameTooLong { kind: &'static str, bytes: usize, max: usize },
    #[error("what a connection or heartbeats keep alive is ephemeral: accepted is ephemeral=true")]
    Persistent,
    /// Nacos' words, which scripts know.
    #[error(
        "Current service {} is {} service, can't {action} {} instance.",
        service.grouped(), kind.as_str(), kind.other().as_str()
    )]
    OtherKind { service: ServiceKey, kind: Kind, action: &'static str },
    #[error("the instance is ephemeral: its connection or heartbeats say whether it is healthy")]
    OwnHealth,
    #[error("the change could not be stored, and was not made")]
    Storage(#[source] Arc<StorageError>),
    #[error("{max} changes wait to be stored, and no more can: try again")]
    Busy { max: usize },
    #[error("request type {given:?} is not supported: accepted is {accepted}")]
    RequestType { given: String, accepted: &'static str },
    #[error("too many {}: accepted are up to {max}", bound.words())]
    TooMany { bound: Bound, max: usize },
    #[error("no such instance")]
    NotFound,
    /// Nacos' words.
    #[error("clientId [ {0} ] not exist")]
    NoClient(String),
    /// Nacos' words, as the next one's.
    #[error("service not found, namespace: {}, serviceName: {}", .0.namespace, .0.grouped())]
    NoService(ServiceKey),
    /// As [`Refusal::NoService`], but what was to be changed is an instance of it.
    #[error("service not found, namespace: {}, serviceName: {}", .0.namespace, .0.grouped())]
    NothingToSet(ServiceKey),
    #[error("specified service {} already exists!", .0.grouped())]
    ServiceExists(ServiceKey),
    #[error("Service {} is not empty, can't be delete. Please unregister instance first", .0.grouped())]
    NotEmpty(ServiceKey),
    /// Nacos' words, as the next one's.
    #[error("namespaceId [{0}] already exist")]
    NamespaceExists(Namespace),
    #[error("namespaceId [ {0} ] not exist")]
    NoNamespace(Namespace),
    #[error("namespace {0} has services, or what operators set in it: it can be deleted when they are gone")]
    NamespaceInUse(Namespace),
    #[error("the namespace public is always there, under this name")]
    DefaultNamespace,
    #[error("health check is still working, service: {}, cluster: {cluster}", service.grouped())]
    Probed { service: ServiceKey, cluster: Cluster },
    #[error("the connection is not set up")]
    Unregistered,
    #[error("this connection neither publishes the instance nor follows the service that it reports of")]
    NotYours,
    #[error("the instance has not taken the order: {0}")]
    NotTaken(String),
    #[error("the registry holds {max} instances and takes no more")]
    Full { max: usize },
    #[error("nothing is switched while the registry runs: what may be chosen is a setting of its start")]
    NoSwitches,
    #[error("the registry is shutting down")]
    Closing,
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Nacos' words, also for a wrong password.
    #[error("unknown user!")]
    UnknownUser,
    #[error("too many failed logins: try again in {} s", wait.as_secs() + 1)]
    TooManyLogins { wait: Duration },
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    User(#[from] InvalidUser),
    #[error(
        "a role means what its name says, and there are no other permissions: give the role read, write or admin, alone or with @NAMESPACE"
    )]
    NoPermissions,
}

impl From<InvalidLease> for Refusal {
    fn from(invalid: InvalidLease) -> Self {
        Self::Lease(invalid)
    }
}

impl Refusal {
    /// The bound that was reached, if it is one.
    pub(crate) const fn bound(&self) -> Option<Bound> {
        if let Self::TooMany { bound, .. } = self {
            Some(*bound)
        } else if let Self::MetadataTooLong { .. } = self {
            Some(Bound::Metadata)
        } else if let Self::NameTooLong { .. } = self {
            Some(Bound::Name)
        } else if let Self::Full { .. } = self {
            Some(Bound::Instances)
        } else if let Self::Busy { .. } = self {
            Some(Bound::Waiting)
        } else {
            None
        }
    }

    /// The same refusal of a batch, for which Nacos has words of its own.
    pub(crate) fn of_batch(self) -> Self {
        let Self::OtherKind { service, kind, .. } = self else { return self };
        Self::OtherKind { service, kind, action: "batch register" }
    }
}
