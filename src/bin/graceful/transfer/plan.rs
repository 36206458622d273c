//! What is to be done so that a registry holds what a document says. Pure.
//!
//! Nothing is taken away: what the registry holds besides stays as it is. Carried out, a plan leaves nothing
//! for the next one.

use super::document::{Document, Instance, Key, Named, Override, Service};
use std::collections::BTreeMap;
use std::fmt;

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// Makes a namespace, with its name and description.
    Make(&'a Named),
    /// Gives a namespace that is there its name and description.
    Name(&'a Named),
    /// Creates the service with what is said of it.
    Create(&'a Service),
    /// Says of the service what the document says.
    Describe(&'a Service),
    /// Has a cluster probed as the document says.
    Probe(&'a Service, &'a str),
    Register(&'a Service, &'a Instance),
    Set(&'a Service, &'a Override),
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    Namespace(&'a str),
    Service(&'a Key),
}

/// All changes, and what needs none.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan<'a> {
    pub(crate) steps: Vec<Step<'a>>,
    /// How much is there already: names of namespaces, services, clusters, instances and settings.
    pub(crate) unchanged: usize,
    /// Services that are there with instances of the other kind: nothing of them can be brought about.
    pub(crate) clashes: Vec<&'a Key>,
    /// Instances of services that are ephemeral: nobody would keep them alive, and as persistent ones they would
    /// stay when their applications have gone.
    pub(crate) ephemeral: Vec<(&'a Service, &'a Instance)>,
}

impl<'a> Plan<'a> {
    /// What makes `namespaces` and `present`, the namespaces and services that the registry has, say what
    /// `wanted` says.
    pub(crate) fn new(wanted: &'a Document, namespaces: &[Named], present: &BTreeMap<Key, Service>) -> Self {
        let mut plan = Self::default();
        for named in &wanted.namespaces {
            match namespaces.iter().find(|there| there.namespace == named.namespace) {
                Some(there) => plan.step_unless(there == named, Step::Name(named)),
                None => plan.steps.push(Step::Make(named)),
            }
        }
        for service in &wanted.services {
            match present.get(&service.key) {
                Some(there) if there.ephemeral != service.ephemeral => plan.clashes.push(&service.key),
                there => plan.add(service, there),
            }
        }
        plan
    }

    fn add(&mut self, service: &'a Service, there: Option<&Service>) {
        let empty = Service::new(service.key.clone(), service.ephemeral);
        // Its persistent instances would bring it with them; anything else needs a service to be said of.
        let of_itself = service.created || !service.says_as(&empty) || !service.clusters.is_empty();
        match there {
            None if of_itself || !service.overrides.is_empty() => self.steps.push(Step::Create(service)),
            None => {}
            Some(there) if service.says_as(there) => self.unchanged += 1,
            Some(_) => self.steps.push(Step::Describe(service)),
        }
        let there = there.unwrap_or(&empty);
        for (name, cluster) in &service.clusters {
            self.step_unless(there.clusters.get(name) == Some(cluster), Step::Probe(service, name));
        }
        if service.ephemeral {
            self.ephemeral.extend(service.instances.iter().map(|instance| (service, instance)));
        }
        for instance in service.instances.iter().filter(|_| !service.ephemeral) {
            self.step_unless(there.instances.contains(instance), Step::Register(service, instance));
        }
        for set in &service.overrides {
            self.step_unless(there.overrides.contains(set), Step::Set(service, set));
        }
    }

    fn step_unless(&mut self, done: bool, step: Step<'a>) {
        if done { self.unchanged += 1 } else { self.steps.push(step) }
    }
}

impl Step<'_> {
    /// What it is about.
    pub(crate) fn about(&self) -> Subject<'_> {
        match self {
            Self::Make(named) | Self::Name(named) => Subject::Namespace(&named.namespace),
            Self::Create(service)
            | Self::Describe(service)
            | Self::Probe(service, _)
            | Self::Register(service, _)
            | Self::Set(service, _) => Subject::Service(&service.key),
        }
    }

    /// What is done, in one word.
    pub(crate) const fn verb(&self) -> &'static str {
        match self {
            Self::Make(_) => "make",
            Self::Name(_) => "name",
            Self::Create(_) => "create",
            Self::Describe(_) => "describe",
            Self::Probe(..) => "probe",
            Self::Register(..) => "register",
            Self::Set(..) => "set",
        }
    }

    /// To what of the service, if not to it as a whole.
    pub(crate) fn subject(&self) -> Option<String> {
        match self {
            Self::Make(_) | Self::Name(_) | Self::Create(_) | Self::Describe(_) => None,
            Self::Probe(_, cluster) => Some((*cluster).to_owned()),
            Self::Register(_, instance) => Some(instance.place.to_string()),
            Self::Set(_, set) => Some(set.place.to_string()),
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
            Self::Service(key) => key.fmt(f),
        }
    }
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb(), self.about())?;
        self.subject().map_or(Ok(()), |subject| write!(f, " {subject}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{Cluster, Place};
    use super::super::report::Report;
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "public".to_owned(), group: "g".to_owned(), name: name.to_owned() }
    }

    fn place(port: u16) -> Place {
        Place { ip: "10.0.0.7".to_owned(), port, cluster: "DEFAULT".to_owned() }
    }

    fn orders() -> Service {
        let instance = |port| Instance {
            place: place(port),
            weight: 1.0,
            enabled: true,
            healthy: true,
            metadata: BTreeMap::new(),
        };
        Service {
            created: true,
            metadata: [("a".to_owned(), "b".to_owned())].into(),
            clusters: [("DEFAULT".to_owned(), Cluster::default())].into(),
            instances: vec![instance(80), instance(81)],
            overrides: vec![Override {
                place: place(80),
                weight: None,
                enabled: Some(false),
                metadata: BTreeMap::new(),
            }],
            ..Service::new(key("orders"), false)
        }
    }

    fn steps(wanted: &Service, there: Option<Service>) -> (Vec<String>, usize, usize) {
        let present = there.into_iter().map(|service| (service.key.clone(), service)).collect();
        let document = Document::new(String::new(), Vec::new(), vec![wanted.clone()]);
        let plan = Plan::new(&document, &[], &present);
        (plan.steps.iter().map(ToString::to_string).collect(), plan.unchanged, plan.clashes.len())
    }

    #[test]
    fn what_is_not_there_is_made_and_what_is_there_is_left() {
        let all = [
            "create public##g@@orders",
            "probe public##g@@orders DEFAULT",
            "register public##g@@orders 10.0.0.7:80 DEFAULT",
            "register public##g@@orders 10.0.0.7:81 DEFAULT",
            "set public##g@@orders 10.0.0.7:80 DEFAULT",
        ];
        assert_eq!(steps(&orders(), None), (all.map(str::to_owned).to_vec(), 0, 0));
        assert_eq!(steps(&orders(), Some(orders())), (Vec::new(), 5, 0), "nothing is left to do");
        let mut other = orders();
        other.instances[1].weight = 2.0;
        other.metadata.clear();
        other.overrides.clear();
        let some = [
            "describe public##g@@orders",
            "register public##g@@orders 10.0.0.7:81 DEFAULT",
            "set public##g@@orders 10.0.0.7:80 DEFAULT",
        ];
        assert_eq!(steps(&orders(), Some(other)), (some.map(str::to_owned).to_vec(), 2, 0));
    }

    #[test]
    fn a_service_that_says_nothing_comes_with_its_instances() {
        let plain = Service { instances: orders().instances, ..Service::new(key("orders"), false) };
        assert_eq!(steps(&plain, None).0.len(), 2);
        let set = Service { overrides: orders().overrides, ..Service::new(key("orders"), true) };
        assert_eq!(steps(&set, None).0[0], "create public##g@@orders", "nothing else would");
    }

    #[test]
    fn instances_of_an_ephemeral_service_are_left_to_register_themselves() {
        let wanted = Service { ephemeral: true, ..orders() };
        let document = Document::new(String::new(), Vec::new(), vec![wanted]);
        let plan = Plan::new(&document, &[], &BTreeMap::new());
        assert!(plan.steps.iter().all(|step| step.verb() != "register"), "{:?}", plan.steps);
        let left: Vec<u16> = plan.ephemeral.iter().map(|(_, instance)| instance.place.port).collect();
        assert_eq!(left, [80, 81]);
        let report = Report::new(&plan, true);
        assert_eq!(report.failed(), 2);
        let said = "register public##g@@orders 10.0.0.7:80 DEFAULT: the service is ephemeral: its instances \
                    register themselves";
        assert!(report.to_string().starts_with(said), "{report}");
    }

    #[test]
    fn a_service_of_the_other_kind_is_left_alone() {
        let other = Service::new(key("orders"), true);
        assert_eq!(steps(&orders(), Some(other)), (Vec::new(), 0, 1));
    }
}
