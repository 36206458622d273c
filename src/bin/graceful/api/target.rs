//! Which registry a subcommand asks, as whom, and about which service.

use super::{Api, failed};
use crate::transfer::Trouble;
use crate::{Failure, remote};
use clap::Args;
use tower_graceful::model::{Group, Namespace, ServiceKey};

/// Which registry is asked, and as whom.
#[derive(Args)]
pub(crate) struct Target {
    /// The registry: HOST:PORT of its HTTP API, or a URL.
    #[arg(long, value_name = "ADDRESS", env = "GRACEFUL_REGISTRY", default_value = remote::DEFAULT)]
    registry: String,

    /// The namespace that is meant.
    #[arg(long, value_name = "ID", default_value = "public")]
    pub(crate) namespace: Namespace,

    #[command(flatten)]
    login: remote::Login,

    #[command(flatten)]
    pub(crate) tls: remote::Tls,
}

impl Target {
    /// Where the registry is.
    pub(crate) fn address(&self) -> &str {
        // A variable that is empty says nothing.
        if self.registry.is_empty() { remote::DEFAULT } else { &self.registry }
    }

    /// Logs in, if there is a user, and finds out what the registry can do.
    pub(crate) async fn enter(&self) -> Result<Api, Failure> {
        let mut server = self.tls.server(self.address()).map_err(Failure::wrong_usage)?;
        let user = self.login.named().map_err(Failure::could_not)?;
        if let Some((name, password)) = &user {
            server.log_in(name, password).await.map_err(not_let_in)?;
        }
        Api::new(server, self.namespace.clone(), user).await.map_err(failed)
    }
}

/// Why nobody was logged in.
fn not_let_in(trouble: Trouble) -> Failure {
    if let Trouble::Refused { words, .. } = trouble {
        let said = format!("the registry does not let you in: {words}; is the password that of --user?");
        return Failure::could_not(said);
    }
    failed(trouble)
}

/// Which service is meant.
#[derive(Args)]
pub(crate) struct Of {
    /// Name of the service, or GROUP@@NAME.
    #[arg(value_name = "SERVICE")]
    service: ServiceKey,

    /// Its group [default: `DEFAULT_GROUP`].
    #[arg(long, value_name = "GROUP")]
    group: Option<Group>,
}

impl Of {
    /// The service that is meant, in `namespace`.
    pub(crate) fn key(&self, namespace: &Namespace) -> Result<ServiceKey, Failure> {
        key_of(&self.service, self.group.as_ref(), namespace)
    }
}

/// The service of a name that may have its group with it, in `namespace`.
pub(crate) fn key_of(
    service: &ServiceKey,
    other: Option<&Group>,
    namespace: &Namespace,
) -> Result<ServiceKey, Failure> {
    let ServiceKey { group, name, .. } = service.clone();
    let other = other.filter(|other| **other != group);
    if let Some(other) = other.filter(|_| group != Group::default()) {
        let grouped = service.grouped();
        let said = format!("group: {other} is not the group of {grouped}: leave one of them out");
        return Err(Failure::wrong_usage(said));
    }
    Ok(ServiceKey { namespace: namespace.clone(), group: other.cloned().unwrap_or(group), name })
}
