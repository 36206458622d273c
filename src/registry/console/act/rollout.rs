//! How the instances of a service start and leave.

use super::super::page::Console;
use super::handle::Act;
use super::service::of;
use super::sheet::{Field, Line, Plan, Sheet};
use crate::model::ServiceKey;
use crate::protocol::form::Form;
use crate::registry::error::Refusal;
use crate::registry::rollout::Rollout;
use crate::registry::write::{Edit, Write};
use std::time::Duration;

const NOTICES: &[(&str, &str)] =
    &[("", "as each instance registers"), ("true", "sent when an instance leaves"), ("false", "not sent")];

/// Says for all instances how they start and leave.
pub(super) struct RollOut {
    service: ServiceKey,
    rollout: Rollout,
}

impl Act for RollOut {
    const PATH: &'static str = "/console/act/rollout";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let service = form.service()?;
        let present = Rollout::from_metadata(&console.hub.described(&service)?.record.metadata);
        let number = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let [window, delay] =
            [present.warm_up, present.delay].map(|span| number(span.map(|span| span.as_secs_f64())));
        let notices = present.notices.map(|notices| notices.to_string()).unwrap_or_default();
        let fields = vec![
            Field::line(form, "warmup", "Warm-up, in seconds", &window)
                .hint("0 to 86400; 0 is none. Empty: as each instance registers."),
            Field::line(form, "exponent", "Exponent of the ramp", &number(present.exponent)).hint(
                "0.1 to 10; 1 is a straight line, more begins slower. Empty: as each instance registers.",
            ),
            Field::line(form, "floor", "Least part of its weight", &number(present.floor))
                .hint("Above 0 and up to 1. Empty: as each instance registers."),
            Field::choice(form, "notices", "Notices to consumers", &notices, NOTICES),
            Field::line(form, "delay", "Registration after the start, in seconds", &delay)
                .hint("0 to 600, for instances that are yet to start. Empty: as each instance says."),
        ];
        Ok(of(&service, Self::PATH, ("Set how instances start and leave", "Set it"), fields))
    }

    fn read(_: &Console, form: &Form) -> Result<Self, Refusal> {
        Ok(Self { service: form.service()?, rollout: Rollout::from_form(form)? })
    }

    fn plan(&self, console: &Console) -> Plan {
        let Ok(described) = console.hub.described(&self.service) else { return Plan::default() };
        let before = Rollout::from_metadata(&described.record.metadata);
        let line = |what: &'static str, before: Option<String>, now: Option<String>| {
            let own = || "each instance's own".to_owned();
            let (is, was) = (now.clone().unwrap_or_else(own), before.clone().unwrap_or_else(own));
            (before != now).then(|| Line::new(what, format!("{is}, in place of {was}.")))
        };
        let seconds = |span: Option<Duration>| span.map(|span| format!("{} s", span.as_secs_f64()));
        let text = |number: Option<f64>| number.map(|number| number.to_string());
        let sent = |sent: Option<bool>| sent.map(|sent| if sent { "sent" } else { "not sent" }.to_owned());
        let now = &self.rollout;
        let lines = [
            line("Warm-up:", seconds(before.warm_up), seconds(now.warm_up)),
            line("Exponent:", text(before.exponent), text(now.exponent)),
            line("Least part:", text(before.floor), text(now.floor)),
            line("Notices:", sent(before.notices), sent(now.notices)),
            line("Registration after the start:", seconds(before.delay), seconds(now.delay)),
        ];
        let mut will: Vec<Line> = lines.into_iter().flatten().collect();
        let name = self.service.name.as_str();
        will.push(if will.is_empty() {
            Line::new(name, "stays as it is.")
        } else {
            let instances = described.snapshot.instances().len();
            let holds = format!(
                "has {instances} instances for which this holds at once, without a restart, and later ones as \
                 well; when to register is for those that have not. What starts a warm-up and the fade are \
                 settings of each process."
            );
            Line::new(name, holds)
        });
        Plan { will, warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let Self { service, rollout } = self;
        let said = format!("Set for all instances of {}.", service.name);
        console.hub.write(Write::Describe { service, edit: Edit::Rollout(rollout) }).await?;
        Ok(said)
    }
}
