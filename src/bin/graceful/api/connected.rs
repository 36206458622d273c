//! A registry as subcommands follow it: over gRPC, with this crate's client.

use super::{Api, Target};
use crate::Failure;
use crate::shown::note;
use clap::Args;
use std::error::Error as _;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_graceful::client::Nacos;
use tower_graceful::model::Address;
use tower_graceful::naming::{Causes, Error};

/// How far the gRPC port is from that of HTTP, where nothing else is said.
const GRPC_PORT_AFTER: u16 = 1000;
/// A port that takes longer is told not to answer.
const REACHED_WITHIN: Duration = Duration::from_secs(2);

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
        let mut settings = settings.keep_empty(Duration::ZERO).reports(false);
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

    /// Says at once on stderr when nobody takes a connection there: the client tries for as long as it must.
    pub(crate) async fn look(&self, api: &Api) {
        let base = api.server.base();
        let address = base.split_once("://").map_or(base, |(_, address)| address);
        let Ok(at) = address.parse::<Address>() else { return };
        let port = self.grpc_port.unwrap_or_else(|| at.port().saturating_add(GRPC_PORT_AFTER));
        let host = at.host().to_owned();
        let why = match timeout(REACHED_WITHIN, TcpStream::connect((host.as_str(), port))).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {REACHED_WITHIN:?}"),
        };
        note(&format!(
            "nobody takes connections at {host} port {port} ({why}): is that the registry's gRPC port? --grpc-port \
             names another; trying on"
        ));
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
