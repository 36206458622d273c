//! A registry as subcommands follow it: over gRPC, with this crate's client.

use super::{Api, Target};
use crate::Failure;
use clap::Args;
use std::error::Error as _;
use tower_graceful::client::Nacos;
use tower_graceful::naming::{Causes, Error};

/// How the registry is reached over gRPC.
#[derive(Args)]
pub(crate) struct Connected {
    /// The registry's gRPC port [default: its HTTP port + 1000].
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<u16>,
}

impl Connected {
    /// A client in the namespace of `target`, of the user as whom `api` is asked.
    pub(crate) fn client(&self, target: &Target, api: &Api) -> Result<Nacos, Failure> {
        let base = api.server.base();
        let address = base.split_once("://").map_or(base, |(_, address)| address);
        let settings = Nacos::builder(address).namespace(target.namespace.as_str()).app("graceful");
        // What the registry says counts, and this process wears no layers that could tell anything.
        let mut settings = settings.keep_empty(std::time::Duration::ZERO).reports(false);
        if let Some(port) = self.grpc_port {
            settings = settings.grpc_port(port);
        }
        if let Some((name, password)) = &api.user {
            settings = settings.user(name, password);
        }
        if let Some(trust) = target.tls.trust().map_err(Failure::wrong_usage)? {
            settings = settings.tls(trust.config);
            if let Some(name) = trust.server_name {
                settings = settings.tls_server_name(&name);
            }
        }
        settings.connect().map_err(Failure::wrong_usage)
    }

    /// A failure of that client, with what to do next.
    pub(crate) fn failed(&self, error: &Error) -> Failure {
        let words = Causes(error).to_string();
        if error.is_temporary() && error.source().is_some() {
            let port = self.grpc_port.map_or_else(String::new, |port| format!(" {port}"));
            return Failure::could_not(format!(
                "{words}; the registry answers over HTTP: is its gRPC port{port} reachable? --grpc-port names another"
            ));
        }
        Failure::could_not(words)
    }
}
