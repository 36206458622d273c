//! How many requests of one kind a registry answers in a second, and how much CPU time one of them takes it.

use crate::fleet::{Member, SPREAD, WHOLE_LIST};
use crate::grpc::message;
use crate::http::{Connection, request};
use crate::load::{CONNECTIONS, drive, runtime};
use crate::process::{Registry, Subject};
use crate::unary::Client;
use bytes::Bytes;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tower_graceful::BoxError;

/// Instances of one service that are registered.
const OF_ONE: usize = 5_000;
/// Reads of a list.
const READS: usize = 30_000;
/// Services in which each gRPC connection registers an instance.
const SERVICES_EACH: usize = 1_000;

/// What was found: of a case, the requests and the rate, and the registry's CPU time for one in microseconds.
pub(crate) struct Rate {
    pub(crate) case: &'static str,
    pub(crate) requests: usize,
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
}

/// Instances over many services: registered, and then kept alive by both kinds of heartbeats.
pub(crate) fn spread(subject: &Subject) -> Result<Vec<Rate>, BoxError> {
    let registry = subject.start()?;
    let address = registry.http();
    let open = async move |_| Ok(Connection::open(address).await?);
    let registrations = all(SPREAD, |job| request("POST", &spread_member(job).register_path()));
    let register =
        measure(&registry, "register", SPREAD, open, async move |connection: &mut Connection, job| {
            expect_ok(connection.ask(&registrations[job]).await?)
        })?;
    runtime()?.block_on(expect_hosts(address, spread_member(7), WHOLE_LIST))?;
    let beaten = |case, path: fn(Member) -> String| {
        let beats = all(SPREAD, |job| request("PUT", &path(spread_member(job))));
        measure(&registry, case, SPREAD, open, async move |connection: &mut Connection, job| {
            expect_renewed(connection.ask(&beats[job]).await?)
        })
    };
    let (full, light) = (beaten("beat-full", Member::full_beat)?, beaten("beat-light", Member::light_beat)?);
    Ok(vec![register, full, light])
}

/// Instances of one service.
pub(crate) fn one_service(subject: &Subject) -> Result<Vec<Rate>, BoxError> {
    let registry = subject.start()?;
    let address = registry.http();
    let open = async move |_| Ok(Connection::open(address).await?);
    let member = |job| Member { service: 0, index: job };
    let registrations = all(OF_ONE, |job| request("POST", &member(job).register_path()));
    let register =
        measure(&registry, "register-one", OF_ONE, open, async move |connection: &mut Connection, job| {
            expect_ok(connection.ask(&registrations[job]).await?)
        })?;
    runtime()?.block_on(expect_hosts(address, member(0), OF_ONE))?;
    Ok(vec![register])
}

/// Reading the list of a hundred hosts, over HTTP and over gRPC.
pub(crate) fn reads(subject: &Subject) -> Result<Vec<Rate>, BoxError> {
    let registry = subject.start()?;
    let (http, grpc) = (registry.http(), registry.grpc());
    // Again before the second part: nobody sends heartbeats meanwhile.
    let register_all = async || {
        let mut connection = Connection::open(http).await?;
        for index in 0..WHOLE_LIST {
            register(&mut connection, Member { service: 0, index }).await?;
        }
        Ok::<_, BoxError>(())
    };
    let (member, expected) = (Member { service: 0, index: 0 }, Arc::<OnceLock<Expected>>::default());
    runtime()?.block_on(register_all())?;
    let open = async move |_| Ok(Connection::open(http).await?);
    let question: Arc<str> = request("GET", &member.list_path()).into();
    let list = measure(&registry, "list", READS, open, async move |connection: &mut Connection, _| {
        check(connection.ask(&question).await?, &expected)
    })?;
    let expected = Arc::<OnceLock<Expected>>::default();
    runtime()?.block_on(register_all())?;
    let question = message("ServiceQueryRequest", &member.question())?;
    let open = async move |_| Client::open(grpc).await;
    let query = measure(&registry, "grpc-query", READS, open, async move |client: &mut Client, _| {
        check(client.ask(&question).await?, &expected)
    })?;
    Ok(vec![list, query])
}

/// Each connection registers an instance in each of many services.
pub(crate) fn grpc_register(subject: &Subject) -> Result<Vec<Rate>, BoxError> {
    let registry = subject.start()?;
    let grpc = registry.grpc();
    let requests = CONNECTIONS * SERVICES_EACH;
    let member = |job: usize| Member { service: job / CONNECTIONS, index: job % CONNECTIONS };
    let registrations = (0..requests).map(|job| message("InstanceRequest", &member(job).registration()));
    let registrations: Arc<[Bytes]> = registrations.collect::<Result<_, _>>()?;
    let open = async move |_| Client::open(grpc).await;
    let register = async move |client: &mut Client, job: usize| {
        client.ask(&registrations[job]).await?;
        // The connection's last one is looked for.
        if requests - job > CONNECTIONS { Ok(()) } else { expect_listed(client, member(job)).await }
    };
    let registered = measure(&registry, "grpc-register", requests, open, register)?;
    Ok(vec![registered])
}

/// What is asked, written before anything is timed.
fn all(jobs: usize, write: impl Fn(usize) -> String) -> Arc<[String]> {
    (0..jobs).map(write).collect()
}

async fn expect_listed(client: &mut Client, member: Member) -> Result<(), BoxError> {
    let answer = client.ask(&message("ServiceQueryRequest", &member.question())?).await?;
    let answer: Value = serde_json::from_slice(answer)?;
    let hosts = answer["serviceInfo"]["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let listed = hosts.iter().any(|host| host["ip"] == *member.ip());
    if listed { Ok(()) } else { Err(format!("{member:?} is not listed").into()) }
}

fn spread_member(job: usize) -> Member {
    Member { service: job % (SPREAD / WHOLE_LIST), index: job / (SPREAD / WHOLE_LIST) }
}

fn measure<C: 'static>(
    registry: &Registry,
    case: &'static str,
    requests: usize,
    open: impl AsyncFn(usize) -> Result<C, BoxError> + Clone + Send + Sync + 'static,
    work: impl AsyncFn(&mut C, usize) -> Result<(), BoxError> + Clone + Send + Sync + 'static,
) -> Result<Rate, BoxError> {
    let before = registry.cpu_us()?;
    let (took, after) = drive(requests, open, work, || registry.cpu_us())?;
    let cpu_us = (after? - before) / requests as f64;
    Ok(Rate { case, requests, per_second: requests as f64 / took.as_secs_f64(), cpu_us })
}

pub(crate) async fn register(connection: &mut Connection, member: Member) -> Result<(), BoxError> {
    expect_ok(connection.ask(&request("POST", &member.register_path())).await?)
}

pub(crate) fn expect_ok(answer: &[u8]) -> Result<(), BoxError> {
    if answer == b"ok" { Ok(()) } else { Err(format!("not ok: {}", String::from_utf8_lossy(answer)).into()) }
}

fn expect_renewed(answer: &[u8]) -> Result<(), BoxError> {
    let code = br#""code":10200"#;
    let renewed = answer.windows(code.len()).any(|bytes| bytes == code);
    if renewed { Ok(()) } else { Err(format!("no heartbeat: {}", String::from_utf8_lossy(answer)).into()) }
}

async fn expect_hosts(address: SocketAddr, member: Member, hosts: usize) -> Result<(), BoxError> {
    let mut connection = Connection::open(address).await?;
    let list: Value = serde_json::from_slice(connection.ask(&request("GET", &member.list_path())).await?)?;
    let listed = list["hosts"].as_array().map_or(0, Vec::len);
    if listed == hosts { Ok(()) } else { Err(format!("{listed} hosts are listed instead of {hosts}").into()) }
}

/// A list whose hosts were all looked at, and where the moment stands in it, which may differ.
struct Expected {
    text: Bytes,
    moment: std::ops::Range<usize>,
}

/// Whether a list is the expected one to the letter; the first is looked at closely.
fn check(answer: &[u8], expected: &OnceLock<Expected>) -> Result<(), BoxError> {
    let as_expected = |expected: &Expected| {
        let Expected { text, moment } = expected;
        answer.len() == text.len()
            && answer[..moment.start] == text[..moment.start]
            && answer[moment.end..] == text[moment.end..]
    };
    match expected.get() {
        Some(expected) if as_expected(expected) => Ok(()),
        _ => look_at(answer).map(|found| drop(expected.set(found))),
    }
}

fn look_at(answer: &[u8]) -> Result<Expected, BoxError> {
    let list: Value = serde_json::from_slice(answer)?;
    let list = list.get("serviceInfo").unwrap_or(&list);
    let hosts = list["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let right = |index: usize| {
        let ip = Member { service: 0, index }.ip();
        hosts.iter().any(|host| host["ip"] == *ip && host["metadata"]["version"] == "1.0.0")
    };
    if hosts.len() != WHOLE_LIST || !(0..WHOLE_LIST).all(right) {
        return Err(format!("another list was expected than that of {} hosts", hosts.len()).into());
    }
    let name = br#""lastRefTime":"#;
    let at = answer.windows(name.len()).position(|bytes| bytes == name).ok_or("a list without its moment")?;
    let (start, digits) = (at + name.len(), &answer[at + name.len()..]);
    let end = start + digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Ok(Expected { text: Bytes::copy_from_slice(answer), moment: start..end })
}
