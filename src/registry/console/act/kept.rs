//! Persistent instances: registered, changed and taken off by hand.

use super::super::links;
use super::super::page::Console;
use super::handle::Act;
use super::read::{Meant, lines, metadata, of_service, serving_without};
use super::sheet::{Field, Line, Plan, Sheet};
use crate::model::{Instance, ServiceKey, Weight};
use crate::protocol::form::Form;
use crate::registry::error::Refusal;
use crate::registry::write::Write;
use std::collections::BTreeSet;

const YES_OR_NO: &[(&str, &str)] = &[("true", "takes traffic"), ("false", "takes no traffic")];

/// Registers a persistent instance, or registers it anew.
pub(super) struct Keep {
    service: ServiceKey,
    instance: Instance,
}

/// Takes persistent instances off.
pub(super) struct Remove(Meant);

impl Act for Keep {
    const PATH: &'static str = "/console/act/keep";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let service = form.service()?;
        let known = form.instance_key().ok().and_then(|key| console.hub.kept_instance(&service, &key));
        let title =
            if known.is_some() { "Change a persistent instance" } else { "Register a persistent instance" };
        let weight = known.as_ref().map_or(Weight::FULL, |one| one.weight).as_f64().to_string();
        let enabled = known.as_ref().is_none_or(|one| one.enabled).to_string();
        let words = known.map(|one| lines(&one.metadata)).unwrap_or_default();
        let fields = vec![
            Field::line(form, "ip", "Host", "").hint("An IP address, or a name."),
            Field::line(form, "port", "Port", ""),
            Field::line(form, "clusterName", "Cluster", "DEFAULT").hint("DEFAULT where there are none."),
            Field::line(form, "weight", "Weight", &weight).hint("0 to 10000; 1 is usual."),
            Field::choice(form, "enabled", "It", &enabled, YES_OR_NO),
            Field::text(form, "metadata", "Metadata", &words).hint("One key=value a line."),
        ];
        Ok(Sheet {
            title,
            subject: service.name.to_string(),
            path: Self::PATH,
            meant: of_service(&service),
            fields,
            plan: None,
            wrong: None,
            button: "Register it",
            back: links::service(&service),
        })
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        let (service, key) = (form.service()?, form.instance_key()?);
        let healthy = console.hub.kept_instance(&service, &key).is_none_or(|known| known.healthy);
        let (weight, enabled) = (form.weight()?.unwrap_or(Weight::FULL), form.enabled()?.unwrap_or(true));
        let metadata = metadata(form)?;
        let instance = Instance { key, weight, healthy, enabled, ephemeral: false, metadata };
        Ok(Self { service, instance })
    }

    fn plan(&self, console: &Console) -> Plan {
        let Self { service, instance } = self;
        let will = match console.hub.kept_instance(service, &instance.key) {
            Some(known) if known == *instance => "stays as it is registered.",
            Some(_) => "is registered anew, with what stands here, and nothing else.",
            None if instance.enabled => "is listed at once, and stays until somebody takes it off.",
            None => "is registered, takes no traffic, and stays until somebody takes it off.",
        };
        let mut lines = vec![Line::new(instance.address(), will)];
        if console.hub.described(service).is_err() {
            lines
                .push(Line::new(service.name.as_str(), "comes to be with it: there is no such service yet."));
        }
        Plan { will: lines, warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let Self { service, instance } = self;
        let said = format!("Registered: {} of {}.", instance.address(), service.name);
        console.hub.write(Write::Register { service, instance }).await?;
        Ok(said)
    }
}

impl Act for Remove {
    const PATH: &'static str = "/console/act/remove";

    fn sheet(_: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let meant = Meant::read(form)?;
        Ok(Sheet {
            title: "Take a persistent instance off",
            subject: meant.subject(),
            path: Self::PATH,
            meant: meant.hidden(),
            fields: Vec::new(),
            plan: None,
            wrong: None,
            button: "Take it off",
            back: meant.back(),
        })
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        let Meant { service, mut keys } = Meant::read(form)?;
        keys.retain(|key| console.hub.kept_instance(&service, key).is_some());
        if keys.is_empty() { Err(Refusal::NotFound) } else { Ok(Self(Meant { service, keys })) }
    }

    fn plan(&self, console: &Console) -> Plan {
        let Meant { service, keys } = &self.0;
        let (remain, all) = serving_without(&console.hub.snapshot(service), keys);
        let will = "goes off every list and off the disk. Its process, if there is one, runs on.";
        let mut lines: Vec<Line> = keys.iter().map(|key| Line::new(&key.address, will)).collect();
        let left = all.saturating_sub(keys.len());
        lines.push(Line::new(
            service.name.as_str(),
            format!("has {remain} of {left} instances that take traffic then."),
        ));
        let nobody = "Then no instance takes traffic: every call to this service fails until one does.";
        Plan { will: lines, warnings: (remain == 0).then(|| nobody.to_owned()).into_iter().collect() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let said = format!("Taken off: {}.", self.0.subject());
        let Meant { service, keys } = self.0;
        let keys: BTreeSet<_> = keys;
        for key in keys {
            console.hub.write(Write::Deregister { service: service.clone(), key }).await?;
        }
        Ok(said)
    }
}
