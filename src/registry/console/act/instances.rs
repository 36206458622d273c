//! What is set on instances, one or many, and having one leave.

use super::super::page::Console;
use super::handle::Act;
use super::read::{Meant, differences, lines, metadata, serving_without};
use super::sheet::{Field, Line, Plan, Sheet};
use crate::model::{Instance, InstanceKey, Metadata, Weight};
use crate::protocol::form::{Form, InvalidForm};
use crate::registry::access::whoever;
use crate::registry::error::Refusal;
use crate::registry::fact::Overrides;
use crate::registry::hub::Hub;
use crate::registry::write::{Set, Write};

const NOBODY_SERVES: &str =
    "Then no instance takes traffic: every call to this service fails until one does.";

/// Has instances take traffic again.
pub(super) struct Enable(Meant);
/// Has instances take no traffic.
pub(super) struct Disable(Meant);
/// Gives instances another weight.
pub(super) struct Weigh(Meant, Weight);
/// Lays metadata over those that an instance registers.
pub(super) struct Describe(Meant, Metadata);
/// Takes back all that is set.
pub(super) struct TakeBack(Meant);
/// Has an instance leave.
pub(super) struct Offline(Meant);

impl Act for Enable {
    const PATH: &'static str = "/console/act/enable";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        sheet::<Self>(console, form, ("Enable", "Enable"), Vec::new())
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        listed(console, form).map(Self)
    }

    fn plan(&self, console: &Console) -> Plan {
        let Meant { service, keys } = &self.0;
        let list = console.hub.snapshot(service);
        let meant = keys.iter().filter_map(|key| list.get(key));
        let line = |instance: &Instance| {
            let will = match (instance.enabled, instance.healthy) {
                (true, _) => "is enabled already.",
                (false, true) => "is listed again, and takes traffic at once.",
                (false, false) => "is listed again, and takes traffic when it is healthy.",
            };
            Line::new(instance.address(), will)
        };
        Plan { will: meant.map(line).collect(), warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let said = format!("Enabled: {}.", self.0.subject());
        set(&console.hub, self.0, Set::Given { enabled: Some(true), weight: None, metadata: None }).await?;
        Ok(said)
    }
}

impl Act for Disable {
    const PATH: &'static str = "/console/act/disable";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        sheet::<Self>(console, form, ("Disable", "Disable"), Vec::new())
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        listed(console, form).map(Self)
    }

    fn plan(&self, console: &Console) -> Plan {
        let Meant { service, keys } = &self.0;
        let list = console.hub.snapshot(service);
        let (remain, all) = serving_without(&list, keys);
        let line = |instance: &Instance| {
            let will = if instance.enabled {
                "goes off every list at once: consumers send it no new request. Its process runs on."
            } else {
                "is disabled already."
            };
            Line::new(instance.address(), will)
        };
        let mut will: Vec<Line> = keys.iter().filter_map(|key| list.get(key)).map(line).collect();
        will.push(Line::new(
            service.name.as_str(),
            format!("has {remain} of {all} instances that take traffic then."),
        ));
        Plan { will, warnings: nobody_serves(remain) }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let said = format!("Disabled: {}.", self.0.subject());
        set(&console.hub, self.0, Set::Given { enabled: Some(false), weight: None, metadata: None }).await?;
        Ok(said)
    }
}

impl Act for Weigh {
    const PATH: &'static str = "/console/act/weight";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let meant = listed(console, form)?;
        let list = console.hub.snapshot(&meant.service);
        let present = meant.keys.first().and_then(|key| list.get(key)).map_or(Weight::FULL, |one| one.weight);
        let field = Field::line(form, "weight", "Weight", &present.as_f64().to_string());
        let field = field.hint("0 to 10000; 1 is usual, and 0 takes no traffic. A warm-up rises to it.");
        sheet::<Self>(console, form, ("Set the weight", "Set the weight"), vec![field])
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        Ok(Self(listed(console, form)?, form.weight()?.ok_or(InvalidForm::Missing("weight"))?))
    }

    fn plan(&self, console: &Console) -> Plan {
        let Self(Meant { service, keys }, weight) = self;
        let list = console.hub.snapshot(service);
        let serving = || list.instances().iter().filter(|one| one.healthy && one.enabled);
        let after = |one: &Instance| if keys.contains(&one.key) { *weight } else { one.weight }.as_f64();
        let sums = serving()
            .fold((0.0, 0.0), |(before, then), one| (before + one.weight.as_f64(), then + after(one)));
        let line = |one: &Instance| {
            let (was, is) = (one.weight.as_f64(), weight.as_f64());
            let mut shares = String::new();
            if one.healthy && one.enabled && sums.0 > 0.0 && sums.1 > 0.0 {
                let [before, then] = [was / sums.0, is / sums.1].map(|share| (share * 100.0).round());
                shares = format!(", and so {then} % of the calls in place of {before} %, when all are warm");
            }
            Line::new(one.address(), format!("gets weight {is} in place of {was}{shares}."))
        };
        let will = keys.iter().filter_map(|key| list.get(key)).map(line).collect();
        let remain = serving().filter(|one| after(one) > 0.0).count();
        Plan { will, warnings: nobody_serves(remain) }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let Self(meant, weight) = self;
        let said = format!("Weight {} is set: {}.", weight.as_f64(), meant.subject());
        set(&console.hub, meant, Set::Given { enabled: None, weight: Some(weight), metadata: None }).await?;
        Ok(said)
    }
}

impl Act for Describe {
    const PATH: &'static str = "/console/act/metadata";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let meant = listed(console, form)?;
        let present =
            meant.keys.first().map(|key| overrides(console, &meant, key).metadata).unwrap_or_default();
        let field = Field::text(form, "metadata", "Metadata that count more than its own", &lines(&present));
        let field = field.hint("One key=value a line. What is not here is as the instance registers it.");
        sheet::<Self>(console, form, ("Set metadata", "Set the metadata"), vec![field])
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        Ok(Self(listed(console, form)?, metadata(form)?))
    }

    fn plan(&self, console: &Console) -> Plan {
        let Self(meant, metadata) = self;
        let before = |key: &InstanceKey| overrides(console, meant, key).metadata;
        let changes = meant.keys.iter().flat_map(|key| differences(&before(key), metadata));
        let changes: std::collections::BTreeSet<_> = changes.collect();
        let mut will: Vec<Line> =
            changes.into_iter().map(|(what, becomes)| Line::new(&what, format!("{becomes}."))).collect();
        if will.is_empty() {
            will.push(Line::new(&meant.subject(), "stays as it is."));
        }
        Plan { will, warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let Self(meant, metadata) = self;
        let said = format!("Metadata are set: {}.", meant.subject());
        set(&console.hub, meant, Set::Given { enabled: None, weight: None, metadata: Some(metadata) })
            .await?;
        Ok(said)
    }
}

impl Act for TakeBack {
    const PATH: &'static str = "/console/act/take-back";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let title = "Take back what operators have set";
        sheet::<Self>(console, form, (title, "Take it back"), Vec::new())
    }

    fn read(_: &Console, form: &Form) -> Result<Self, Refusal> {
        Meant::read(form).map(Self) // Something may be set on an instance that is gone.
    }

    fn plan(&self, console: &Console) -> Plan {
        let line = |key: &InstanceKey| {
            let Overrides { enabled, weight, metadata } = overrides(console, &self.0, key);
            let enabled = enabled.map(|enabled| if enabled { "enabled" } else { "disabled" }.to_owned());
            let weight = weight.map(|weight| format!("weight {}", weight.as_f64()));
            let metadata = (!metadata.is_empty()).then(|| "metadata".to_owned());
            let set: Vec<String> = enabled.into_iter().chain(weight).chain(metadata).collect();
            let set = if set.is_empty() { "nothing is set".to_owned() } else { set.join(", ") };
            Line::new(&key.address, format!("is as it registers itself. Now on it: {set}."))
        };
        Plan { will: self.0.keys.iter().map(line).collect(), warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let said = format!("As registered again: {}.", self.0.subject());
        set(&console.hub, self.0, Set::All(Overrides::default())).await?;
        Ok(said)
    }
}

impl Act for Offline {
    const PATH: &'static str = "/console/act/offline";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        sheet::<Self>(console, form, ("Take offline", "Take it offline"), Vec::new())
    }

    fn read(console: &Console, form: &Form) -> Result<Self, Refusal> {
        let meant = listed(console, form)?;
        if meant.keys.len() > 1 {
            let accepted = "one instance: each of them answers for itself";
            return Err(InvalidForm::value("instance", &meant.subject(), accepted).into());
        }
        Ok(Self(meant))
    }

    fn plan(&self, console: &Console) -> Plan {
        let Meant { service, keys } = &self.0;
        let (remain, all) = serving_without(&console.hub.snapshot(service), keys);
        let will = "is told to leave, over its own connection: it deregisters, tells its consumers, and answers \
                    what is under way and what still comes. Its process runs on until somebody ends it, and comes \
                    back by a restart only.";
        let mut lines: Vec<Line> = keys.iter().map(|key| Line::new(&key.address, will)).collect();
        lines.push(Line::new(
            service.name.as_str(),
            format!(
                "has {remain} of {} other instances that take traffic then.",
                all.saturating_sub(keys.len())
            ),
        ));
        Plan { will: lines, warnings: nobody_serves(remain) }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let actor = whoever();
        for key in &self.0.keys {
            console.hub.take_offline(&self.0.service, &key.address, actor.clone().into()).await?;
        }
        Ok(format!("Told to leave: {}. What comes of it, its events tell.", self.0.subject()))
    }
}

fn sheet<A: Act>(
    console: &Console,
    form: &Form,
    (title, button): (&'static str, &'static str),
    fields: Vec<Field>,
) -> Result<Sheet, Refusal> {
    let meant = Meant::read(form)?;
    console.hub.described(&meant.service)?;
    Ok(Sheet {
        title,
        subject: meant.subject(),
        path: A::PATH,
        meant: meant.hidden(),
        fields,
        plan: None,
        wrong: None,
        button,
        back: meant.back(),
    })
}

/// Those who are meant and are still there; an error when none is.
fn listed(console: &Console, form: &Form) -> Result<Meant, Refusal> {
    let Meant { service, mut keys } = Meant::read(form)?;
    let list = console.hub.snapshot(&service);
    keys.retain(|key| list.get(key).is_some());
    if keys.is_empty() { Err(Refusal::NotFound) } else { Ok(Meant { service, keys }) }
}

fn overrides(console: &Console, meant: &Meant, key: &InstanceKey) -> Overrides {
    console.hub.overrides(&meant.service, key).unwrap_or_default()
}

async fn set(hub: &Hub, meant: Meant, set: Set) -> Result<(), Refusal> {
    let Meant { service, keys } = meant;
    hub.write(Write::Override { service, keys: keys.into_iter().collect(), set }).await
}

fn nobody_serves(remain: usize) -> Vec<String> {
    (remain == 0).then(|| NOBODY_SERVES.to_owned()).into_iter().collect()
}
