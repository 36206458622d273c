//! The console's first page over a registry that is full, while its instances change.

use crate::fleet::Member;
use crate::grpc::{Client, End};
use crate::http::Connection;
use crate::load::Moment;
use crate::process::Subject;
use crate::pushes::{listen, runtime};
use crate::report::median;
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::sleep;
use tower_graceful::BoxError;

/// Services, and instances of all of them.
pub(crate) const SERVICES: usize = 1_000;
pub(crate) const INSTANCES: usize = 100_000;
/// Requests of each kind.
const ASKED: usize = 100;
/// Between two changes, each in another service.
const CHANGE_EVERY: Duration = Duration::from_millis(10);
/// What every page has in it.
const SHOWN: &[u8] = b"service-0";
const HTML: &str = "text/html";
const JSON: &str = "application/json";

/// Milliseconds and bytes of one kind of request.
pub(crate) struct Kind {
    pub(crate) case: &'static str,
    /// The median, and the slowest.
    pub(crate) ms: f64,
    pub(crate) worst_ms: f64,
    /// Of the largest answer.
    pub(crate) bytes: usize,
}

/// The first request, and then those of each kind.
pub(crate) fn overview(subject: &Subject) -> Result<Vec<Kind>, BoxError> {
    let registry = subject.start()?;
    runtime()?.block_on(async {
        let (mut publisher, pushes) = Client::open(registry.grpc(), End::Fin).await?;
        let (tell, _nothing) = unbounded_channel();
        let publishing = tokio::spawn(listen(0, pushes, tell)); // It is asked whether it lives.
        for service in 0..SERVICES {
            let members: Vec<Member> =
                (0..INSTANCES / SERVICES).map(|index| Member { service, index }).collect();
            publisher.ask("BatchInstanceRequest", &Member::batch(&members)).await?;
        }
        let host = registry.http();
        let ask = |accept: &str, path: &str| {
            format!("GET /console{path} HTTP/1.1\r\nhost: {host}\r\naccept: {accept}\r\n\r\n")
        };
        let mut connection = Connection::open(host).await?;
        let first = measured(&mut connection, "page-cold", 1, &ask(HTML, "")).await?;

        let (mut changing, pushes) = Client::open(registry.grpc(), End::Fin).await?;
        let (tell, _nothing) = unbounded_channel();
        let hearing = tokio::spawn(listen(0, pushes, tell));
        let changes = tokio::spawn(async move {
            for change in 1.. {
                let member = Member { service: change % SERVICES, index: INSTANCES / SERVICES };
                if changing.ask("InstanceRequest", &member.changed(change)).await.is_err() {
                    return; // The registry ends.
                }
                sleep(CHANGE_EVERY).await;
            }
        });
        let mut found = vec![first];
        for (case, accept, path) in [
            ("page-html", HTML, ""),
            ("page-json", JSON, ""),
            ("page-last", HTML, "?pageNo=20"),
            ("page-find", HTML, "?search=service-07"),
        ] {
            found.push(measured(&mut connection, case, ASKED, &ask(accept, path)).await?);
        }
        for task in [publishing, hearing] {
            task.abort();
        }
        changes.abort();
        Ok(found)
    })
}

async fn measured(
    connection: &mut Connection,
    case: &'static str,
    times: usize,
    request: &str,
) -> Result<Kind, BoxError> {
    let (mut took, mut bytes) = (Vec::new(), 0);
    for _ in 0..times {
        let sent = Moment::now();
        let body = connection.ask(request).await?;
        took.push(sent.elapsed().as_secs_f64() * 1e3);
        if !body.windows(SHOWN.len()).any(|words| words == SHOWN) {
            return Err(format!("{case} shows no service").into());
        }
        bytes = bytes.max(body.len());
    }
    let worst_ms = took.iter().copied().fold(0.0, f64::max);
    Ok(Kind { case, ms: median(&mut took), worst_ms, bytes })
}
