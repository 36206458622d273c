//! A registry that is full: instances that connections keep alive, and subscribers who listen while nothing
//! happens, and when one thing does.

use crate::fleet::{Member, SPREAD, WHOLE_LIST};
use crate::grpc::{Client, End};
use crate::load::Moment;
use crate::process::Subject;
use crate::pushes::{Audience, QUIET, TIMES, listen, runtime};
use crate::report::median;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;
use tower_graceful::BoxError;

/// Instances, and subscribers of one of their services.
pub(crate) const INSTANCES: usize = 100_000;
pub(crate) const SUBSCRIBERS: usize = 1_000;
const SERVICES: usize = SPREAD / WHOLE_LIST;
/// How long it is watched while nothing happens.
const AT_REST: Duration = Duration::from_secs(60);

/// What was found.
pub(crate) struct Crowd {
    /// Bytes of an instance, with nobody listening.
    pub(crate) per_instance: f64,
    /// Bytes of a subscriber.
    pub(crate) per_subscriber: f64,
    /// Milliseconds from a change until half of the subscribers know, and until 99 of a hundred do.
    pub(crate) half_ms: f64,
    pub(crate) most_ms: f64,
    /// CPU time of a second in which nothing happens, in milliseconds.
    pub(crate) rest_ms: f64,
}

pub(crate) fn crowd(subject: &Subject) -> Result<Crowd, BoxError> {
    let registry = subject.start()?;
    runtime()?.block_on(async {
        let idle = registry.memory_bytes()?;
        let (mut publisher, pushes) = Client::open(registry.grpc(), End::Fin).await?;
        let (tell, _nothing) = unbounded_channel();
        let publishing = tokio::spawn(listen(0, pushes, tell)); // It is asked whether it lives.
        for service in 0..SERVICES {
            let indices = (0..INSTANCES).skip(service).step_by(SERVICES).map(|job| job / SERVICES);
            let members: Vec<Member> = indices.map(|index| Member { service, index }).collect();
            publisher.ask("BatchInstanceRequest", &Member::batch(&members)).await?;
        }
        let full = registry.memory_bytes()?;
        let (mut changing, pushes) = Client::open(registry.grpc(), End::Fin).await?;
        let (tell, _nothing) = unbounded_channel();
        let changes = tokio::spawn(listen(0, pushes, tell));
        let mut audience = Audience::gather(&registry, SUBSCRIBERS, 1).await?;
        let listened_to = registry.memory_bytes()?;

        let member = Member { service: 0, index: INSTANCES / SERVICES + 1 };
        let (mut half, mut most) = (Vec::new(), Vec::new());
        for change in 1..=TIMES {
            sleep(QUIET).await;
            let sent = Moment::now();
            changing.ask("InstanceRequest", &member.changed(change)).await?;
            let (mut who, mut took) = (HashSet::new(), Vec::new());
            while who.len() < SUBSCRIBERS {
                let heard = audience.next().await?;
                if heard.change == change && who.insert(heard.who) {
                    took.push((heard.at - sent).as_secs_f64() * 1e3);
                }
            }
            took.sort_by(f64::total_cmp);
            half.push(took[SUBSCRIBERS / 2]);
            most.push(took[SUBSCRIBERS * 99 / 100]);
        }
        sleep(QUIET).await;
        let before = registry.cpu_us()?;
        sleep(AT_REST).await;
        let rest = registry.cpu_us()? - before;
        publishing.abort();
        changes.abort();
        Ok(Crowd {
            per_instance: (full - idle) / INSTANCES as f64,
            per_subscriber: (listened_to - full) / SUBSCRIBERS as f64,
            half_ms: median(&mut half),
            most_ms: median(&mut most),
            rest_ms: rest / 1e3 / AT_REST.as_secs_f64(),
        })
    })
}
