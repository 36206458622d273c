//! Closing the connection of a client.

use super::super::links;
use super::super::page::Console;
use super::handle::Act;
use super::read::serving_without;
use super::sheet::{Line, Plan, Sheet};
use crate::model::{InstanceKey, ServiceKey};
use crate::protocol::form::Form;
use crate::registry::access::whoever;
use crate::registry::error::Refusal;
use std::collections::{BTreeMap, BTreeSet};

/// Services of a client that a plan names.
const SERVICES_SHOWN: usize = 20;

/// Closes a connection.
pub(super) struct Close(u64);

impl Act for Close {
    const PATH: &'static str = "/console/act/close";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let connection = form.required_count("connection")? as u64;
        let peer = console.hub.connected_as(connection)?;
        let app = if peer.app.is_empty() { String::new() } else { format!(" ({})", peer.app) };
        Ok(Sheet {
            title: "Close a connection",
            subject: format!("Connection {connection} from {}{app}", peer.address),
            path: Self::PATH,
            meant: vec![("connection", connection.to_string())],
            fields: Vec::new(),
            plan: None,
            wrong: None,
            button: "Close it",
            back: links::CLIENTS.to_owned(),
        })
    }

    fn read(_: &Console, form: &Form) -> Result<Self, Refusal> {
        Ok(Self(form.required_count("connection")? as u64))
    }

    fn plan(&self, console: &Console) -> Plan {
        let mut services = BTreeMap::<ServiceKey, BTreeSet<InstanceKey>>::new();
        for (service, key) in console.hub.published_over(self.0) {
            services.entry(service).or_default().insert(key);
        }
        let (mut lines, mut warnings) = (Vec::new(), Vec::new());
        for (service, keys) in &services {
            let (remain, _) = serving_without(&console.hub.snapshot(service), keys);
            if lines.len() < SERVICES_SHOWN {
                let will =
                    format!("loses {} of its instances; {remain} that take traffic remain.", keys.len());
                lines.push(Line::new(service.name.as_str(), will));
            }
            if remain == 0 && warnings.len() < SERVICES_SHOWN {
                warnings
                    .push(format!("Then no instance of {} takes traffic until it comes back.", service.name));
            }
        }
        if services.len() > SERVICES_SHOWN {
            lines.push(Line::new(&(services.len() - SERVICES_SHOWN), "more services lose instances."));
        }
        let comes_back = "ends, with all that it publishes and follows. Its client may connect again, as most do \
                          at once, and then all is as before: an instance that shall stay away is disabled, or \
                          taken offline.";
        lines.push(Line::new("The connection", comes_back));
        Plan { will: lines, warnings }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let instances = console.hub.close_connection(self.0, &whoever().into())?;
        Ok(format!("Closed: connection {}, with {instances} instances.", self.0))
    }
}
