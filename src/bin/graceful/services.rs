//! `graceful services`: what a namespace has.

use super::api::{Api, Kind, Target, failed};
use super::shown::{Cell, Row, Shown, Tone, age};
use super::transfer::{Server, Trouble, Version};
use super::{Failure, log, remote};
use clap::Args;
use serde::{Deserialize, Serialize};
use tower_graceful::Clock;
use tower_graceful::model::{Group, Namespace, UnixMillis};

/// Services in one answer.
const PAGE_SIZE: usize = 1000;
/// Pages that are read: as many services as a registry has instances at its bound.
const PAGES_MAX: usize = 1000;

/// Lists the services of a namespace: how many instances each has, how many of them serve, and who follows it.
///
/// CHANGED tells how old the present list is. A Nacos does not tell that, nor who follows without being asked
/// about each service: `graceful subscribers` does.
#[derive(Args)]
pub(super) struct Arguments {
    /// Only those whose name contains this.
    #[arg(value_name = "TEXT")]
    text: Option<String>,

    /// Only those of this group.
    #[arg(long, value_name = "GROUP")]
    group: Option<Group>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// A service in one line; what the registry does not tell is not there.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Line {
    namespace: String,
    pub(super) group: String,
    pub(super) name: String,
    instances: Option<usize>,
    /// Those that take traffic.
    serving: Option<usize>,
    subscribers: Option<usize>,
    /// Of its list: about the moment of its last change, in milliseconds since 1970.
    revision: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    remote::block_on(async {
        let api = arguments.target.enter().await?;
        let mut lines = lines(&api).await.map_err(failed)?;
        let Arguments { text, group, target, shown } = arguments;
        let all = lines.len();
        lines.retain(|line| {
            text.as_ref().is_none_or(|text| line.name.contains(text))
                && group.as_ref().is_none_or(|group| line.group == group.as_str())
        });
        shown.list(&lines, &nothing(all, &target.namespace))
    })?
}

fn nothing(all: usize, namespace: &Namespace) -> String {
    match all {
        0 => format!(
            "no services in namespace {namespace}: a service is there once an instance of it registers (`graceful register`, or an application), or an import has brought it"
        ),
        _ => format!("none of the {all} services in namespace {namespace} is meant by that"),
    }
}

/// The services of a namespace.
pub(super) async fn lines(api: &Api) -> Result<Vec<Line>, Trouble> {
    match api.kind {
        Kind::Ours => ours(&api.server, &api.namespace).await,
        Kind::Nacos(version) => foreign(&api.server, version, &api.namespace).await,
    }
}

async fn ours(server: &Server, namespace: &Namespace) -> Result<Vec<Line>, Trouble> {
    #[derive(Deserialize)]
    struct Page {
        count: usize,
        services: Vec<Line>,
    }
    let (mut lines, size) = (Vec::new(), PAGE_SIZE.to_string());
    for page in 1..=PAGES_MAX {
        let page = page.to_string();
        let parameters = [("namespaceId", namespace.as_str()), ("pageNo", &page), ("pageSize", &size)];
        let Page { count, services } = server.get("/graceful/v1/services", &parameters).await?;
        let is_last = services.len() < PAGE_SIZE;
        lines.extend(services);
        if is_last || lines.len() >= count {
            break;
        }
    }
    Ok(lines)
}

async fn foreign(server: &Server, version: Version, namespace: &Namespace) -> Result<Vec<Line>, Trouble> {
    let told = version.services(server, namespace.as_str()).await?;
    let line = |told: super::transfer::Line| Line {
        namespace: namespace.to_string(),
        group: told.group_name,
        name: told.name,
        instances: told.ip_count,
        serving: told.healthy_instance_count,
        subscribers: None,
        revision: None,
    };
    Ok(told.into_iter().map(line).collect())
}

impl Row for Line {
    const HEADS: &'static [&'static str] =
        &["GROUP", "SERVICE", "INSTANCES", "SERVING", "SUBSCRIBERS", "CHANGED"];

    fn cells(&self) -> Vec<Cell> {
        let now = Clock::system().now();
        let changed = self.revision.map(|revision| age(UnixMillis::new(revision), now));
        let tone = match (self.instances, self.serving) {
            (Some(1..), Some(0)) => Tone::Bad,
            (Some(all), Some(serving)) if serving < all => Tone::Passing,
            (Some(_), Some(1..)) => Tone::Good,
            _ => Tone::Plain,
        };
        vec![
            Cell::text(&self.group),
            Cell::text(&self.name),
            Cell::number(self.instances),
            Cell::number(self.serving).with_tone(tone),
            Cell::number(self.subscribers),
            Cell::number(changed),
        ]
    }
}
