//! `graceful doctor`: what goes wrong with starts, releases and shutdowns, and what to do about it.
//!
//! The registry does the checks; this asks for them, and sees whether the registry can be reached as its clients
//! reach it.

mod check;
mod text;

use super::api::{Api, Kind, Target, failed};
use super::services::lines;
use super::shown::{Shown, counted};
use super::{Failure, log, remote};
use check::{Check, Diagnosis, Report, Verdict};
use clap::Args;
use http::Uri;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_graceful::model::ServiceKey;

/// Services that are looked at without being named: an operator of more names those that are meant.
const SERVICES_MAX: usize = 1000;
/// How long a port may take to accept a connection.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// How far the port for gRPC lies above the one for HTTP, where nobody has moved it.
const GRPC_ABOVE: u16 = 1000;
const PERIOD: &str = "1h";
const PERIOD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks for what goes wrong with starts, releases and shutdowns, and says what to do about it.
///
/// Fourteen numbered checks of each service, by what the registry has recorded: surges and gaps of traffic, requests
/// that come late, entries that stay or vanish, readiness, warm-up, subscribers, clocks. Each is
/// named by what goes wrong, and `pass` beside it says that this was not found. What happened is known for a day,
/// requests for five minutes.
///
/// Exit codes: 0 all checks passed; 1 something was found; 2 something could not be checked, or wrong usage.
#[derive(Args)]
pub(super) struct Arguments {
    /// Only this service, NAME or GROUP@@NAME; may be given several times [default: all of the namespace].
    #[arg(long, value_name = "SERVICE")]
    service: Vec<ServiceKey>,

    /// How far back what has happened is looked at: 90s, 15m, 2h, 1d at most.
    #[arg(long, value_name = "TIME", default_value = PERIOD, value_parser = period)]
    since: Duration,

    /// Port of the registry for gRPC [default: 1000 above that of --registry].
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<u16>,

    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    shown: Shown,
}

/// Exit codes of its own: those of a check, not of a change.
const FOUND: u8 = 1;
const COULD_NOT_CHECK: u8 = 2;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let not_checked = |failure: Failure| Failure { code: COULD_NOT_CHECK, ..failure };
    let report = remote::block_on(examined(arguments))?.map_err(not_checked)?;
    let Arguments { shown, .. } = arguments;
    shown.one(&report, |coloured| text::of(&report, coloured)).map_err(not_checked)?;
    let (code, said) = match report.verdict {
        Verdict::Pass => return Ok(()),
        Verdict::Found => (FOUND, counted(report.found(), "finding")),
        Verdict::Unknown => {
            (COULD_NOT_CHECK, "nothing was found, but not everything could be checked".to_owned())
        }
    };
    Err(Failure { code, error: said.into() })
}

async fn examined(arguments: &Arguments) -> Result<Report, Failure> {
    let Arguments { service, since, grpc_port, target, .. } = arguments;
    let api = target.enter().await?;
    if !matches!(api.kind, Kind::Ours) {
        return Err(api.cannot_tell("what has happened", "only a registry of this program records it"));
    }
    let registry = reached(api.server.base(), *grpc_port).await;
    let names: Vec<(String, String)> = if service.is_empty() {
        let all = lines(&api).await.map_err(failed)?;
        if all.len() > SERVICES_MAX {
            let said = format!(
                "service: there are {} services: name those that are meant, up to {SERVICES_MAX}",
                all.len()
            );
            return Err(Failure::wrong_usage(said));
        }
        all.into_iter().map(|line| (line.group, line.name)).collect()
    } else {
        service.iter().map(|key| (key.group.to_string(), key.name.to_string())).collect()
    };
    let mut services = Vec::new();
    for (group, name) in names {
        services.push(diagnosed(&api, &group, &name, *since).await?);
    }
    Ok(Report::new(registry, services, api.server.base()))
}

async fn diagnosed(api: &Api, group: &str, name: &str, since: Duration) -> Result<Diagnosis, Failure> {
    let seconds = since.as_secs().to_string();
    let parameters = [
        ("namespaceId", api.namespace.as_str()),
        ("groupName", group),
        ("serviceName", name),
        ("seconds", &seconds),
    ];
    api.server.get("/graceful/v1/diagnosis", &parameters).await.map_err(failed)
}

/// Whether the registry at `base`, which has answered over HTTP, takes connections on its other port.
async fn reached(base: &str, grpc_port: Option<u16>) -> Check {
    let uri: Uri = base.parse().unwrap_or_default();
    let (host, http) =
        (uri.host().unwrap_or_default().trim_matches(['[', ']']), uri.port_u16().unwrap_or_default());
    let Some(port) = grpc_port.or_else(|| http.checked_add(GRPC_ABOVE)) else {
        return Check::unreached(format!("there is no port 1000 above {http}"), "give --grpc-port");
    };
    let tried = match timeout(CONNECTED_WITHIN, TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECTED_WITHIN:?}")),
    };
    match tried {
        Ok(()) => {
            Check::reached(format!("{host} takes connections on the ports {http} (HTTP) and {port} (gRPC)"))
        }
        Err(error) => Check::unreached(
            format!(
                "{host} takes no connection on the port {port} for gRPC ({error}), and does on {http} for HTTP"
            ),
            "let that port through firewalls, services and load balancers as well; or give --grpc-port, and the same to the \
             clients, where it is another one",
        ),
    }
}

/// A time in words: a whole number, and `s`, `m`, `h` or `d`.
fn period(text: &str) -> Result<Duration, String> {
    let accepted = || "accepted is a whole number and s, m, h or d, from 1s to 1d".to_owned();
    let unit_at = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
    let (count, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(accepted()),
    };
    let count: u64 = count.parse().map_err(|_| accepted())?;
    let period = Duration::from_secs(count.saturating_mul(seconds));
    (!period.is_zero() && period <= PERIOD_MAX).then_some(period).ok_or_else(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7_200), ("1d", 86_400)] {
            assert_eq!(period(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "15", "m", "0s", "2d", "-1s", "1.5h", "1\u{fc}"] {
            assert!(period(wrong).unwrap_err().starts_with("accepted is"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_port_that_takes_no_connections_is_found() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(reached("http://127.0.0.1:1", Some(port)).await.verdict, Verdict::Pass);
        drop(listener);
        let check = reached("http://127.0.0.1:1", Some(port)).await;
        assert!(check.findings[0].cause.contains(&format!("on the port {port} for gRPC")), "{check:?}");
        assert_eq!(reached("http://127.0.0.1:65000", None).await.verdict, Verdict::Found);
    }
}
