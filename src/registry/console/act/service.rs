//! Services as a whole: created, described and deleted.

use super::super::links;
use super::super::page::Console;
use super::handle::Act;
use super::read::{differences, lines, metadata, of_service, threshold};
use super::sheet::{Field, Line, Plan, Sheet};
use crate::model::{Metadata, ServiceKey};
use crate::protocol::form::Form;
use crate::registry::error::Refusal;
use crate::registry::fact::Kind;
use crate::registry::write::{Edit, Said, Write};

const KINDS: &[(&str, &str)] =
    &[("ephemeral", "ends with its connection or heartbeats"), ("persistent", "stays until it is taken off")];
const THRESHOLD_HINT: &str = "0 to 1. When no greater a share of the instances is healthy, consumers are given all \
                              of them, so that the last ones are not overrun.";
const METADATA_HINT: &str =
    "One key=value a line. Keys that begin with graceful. hold for all its instances.";

/// Creates a service.
pub(super) struct Create {
    service: ServiceKey,
    kind: Kind,
    threshold: f64,
    metadata: Metadata,
}

/// Says something else of a service.
pub(super) struct Update {
    service: ServiceKey,
    threshold: f64,
    metadata: Metadata,
}

/// Takes a service off that has no instances.
pub(super) struct Delete(ServiceKey);

impl Act for Create {
    const PATH: &'static str = "/console/act/create-service";

    fn sheet(_: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let namespace = form.namespace()?;
        let fields = vec![
            Field::line(form, "serviceName", "Name", ""),
            Field::line(form, "groupName", "Group", "DEFAULT_GROUP")
                .hint("DEFAULT_GROUP where there are none."),
            Field::choice(form, "kind", "An instance of it", "ephemeral", KINDS),
            Field::line(form, "protectThreshold", "Protection threshold", "0").hint(THRESHOLD_HINT),
            Field::text(form, "metadata", "Metadata", "").hint(METADATA_HINT),
        ];
        Ok(Sheet {
            title: "Create a service",
            subject: format!("Namespace {namespace}"),
            path: Self::PATH,
            meant: vec![("namespaceId", namespace.to_string())],
            fields,
            plan: None,
            wrong: None,
            button: "Create it",
            back: form
                .service()
                .map_or_else(|_| links::overview(&namespace), |service| links::service(&service)),
        })
    }

    fn read(_: &Console, form: &Form) -> Result<Self, Refusal> {
        let kind = if form.text("kind") == Some("persistent") { Kind::Persistent } else { Kind::Ephemeral };
        Ok(Self { service: form.service()?, kind, threshold: threshold(form)?, metadata: metadata(form)? })
    }

    fn plan(&self, _: &Console) -> Plan {
        let Self { service, kind, threshold, metadata } = self;
        let will = format!(
            "comes to be in the group {}, takes {} instances only, and stays until it is deleted; protection threshold {threshold}.",
            service.group,
            kind.as_str()
        );
        let mut lines = vec![Line::new(service.name.as_str(), will)];
        lines.extend(changes(&Metadata::new(), metadata));
        Plan { will: lines, warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let Self { service, kind, threshold, metadata } = self;
        let words = format!("Created: {}.", service.name);
        let said = Said { protect_threshold: Some(threshold), metadata: Some(metadata), selector: None };
        console.hub.write(Write::Create { service, kind, said }).await?;
        Ok(words)
    }
}

impl Act for Update {
    const PATH: &'static str = "/console/act/update-service";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let service = form.service()?;
        let record = console.hub.described(&service)?.record;
        let threshold = record.protect_threshold.to_string();
        let fields = vec![
            Field::line(form, "protectThreshold", "Protection threshold", &threshold).hint(THRESHOLD_HINT),
            Field::text(form, "metadata", "Metadata", &lines(&record.metadata)).hint(METADATA_HINT),
        ];
        Ok(of(&service, Self::PATH, ("Describe a service", "Describe it so"), fields))
    }

    fn read(_: &Console, form: &Form) -> Result<Self, Refusal> {
        Ok(Self { service: form.service()?, threshold: threshold(form)?, metadata: metadata(form)? })
    }

    fn plan(&self, console: &Console) -> Plan {
        let Ok(described) = console.hub.described(&self.service) else { return Plan::default() };
        let (before, now) = (described.record.protect_threshold, self.threshold);
        let mut lines = Vec::new();
        if before != now {
            let will = format!("has the protection threshold {now} in place of {before}.");
            lines.push(Line::new(self.service.name.as_str(), will));
        }
        lines.extend(changes(&described.record.metadata, &self.metadata));
        if lines.is_empty() {
            lines.push(Line::new(self.service.name.as_str(), "stays as it is."));
        }
        Plan { will: lines, warnings: Vec::new() }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let Self { service, threshold, metadata } = self;
        let words = format!("Described anew: {}.", service.name);
        let said = Said { protect_threshold: Some(threshold), metadata: Some(metadata), selector: None };
        console.hub.write(Write::Describe { service, edit: Edit::Said(said) }).await?;
        Ok(words)
    }
}

impl Act for Delete {
    const PATH: &'static str = "/console/act/delete-service";

    fn sheet(console: &Console, form: &Form) -> Result<Sheet, Refusal> {
        let service = form.service()?;
        console.hub.described(&service)?;
        let sheet = of(&service, Self::PATH, ("Delete a service", "Delete it"), Vec::new());
        Ok(Sheet { back: links::overview(&service.namespace), ..sheet })
    }

    fn read(_: &Console, form: &Form) -> Result<Self, Refusal> {
        form.service().map(Self).map_err(Refusal::from)
    }

    fn plan(&self, console: &Console) -> Plan {
        let name = self.0.name.as_str();
        let will = "goes, with its protection threshold, its metadata, and what is said of its clusters.";
        let (mut lines, mut warnings) = (vec![Line::new(name, will)], Vec::new());
        let followers = console.hub.followers_of(&self.0).len();
        if followers > 0 {
            lines.push(Line::new(&followers, "follow it, and have an empty list as before."));
        }
        let instances = console.hub.snapshot(&self.0).instances().len();
        if instances > 0 {
            warnings.push(format!("It has {instances} instances, and is deleted when they are gone only."));
        }
        Plan { will: lines, warnings }
    }

    async fn perform(self, console: &Console) -> Result<String, Refusal> {
        let words = format!("Deleted: {}.", self.0.name);
        console.hub.write(Write::Delete { service: self.0 }).await?;
        Ok(words)
    }
}

/// The page of an act on a service that is there.
pub(super) fn of(
    service: &ServiceKey,
    path: &'static str,
    (title, button): (&'static str, &'static str),
    fields: Vec<Field>,
) -> Sheet {
    Sheet {
        title,
        subject: service.name.to_string(),
        path,
        meant: of_service(service),
        fields,
        plan: None,
        wrong: None,
        button,
        back: links::service(service),
    }
}

fn changes(before: &Metadata, after: &Metadata) -> impl Iterator<Item = Line> {
    let differences = differences(before, after).into_iter();
    differences.map(|(what, becomes)| Line::new(&what, format!("{becomes}.")))
}
