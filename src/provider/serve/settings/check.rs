//! From what code and environment say to settings that hold, or to the one that does not.
//!
//! What code gives wins over the environment, the environment over the default. Whatever is refused is
//! named as whoever gave it knows it: by the builder's method, or by the variable.

use super::super::delay::DELAY_MAX;
use super::super::error::InvalidSetting;
#[cfg(feature = "notice")]
use super::Notices;
use super::environment::{Environment, said};
use super::span::Span;
use super::{Once, Pace, Port, ProviderBuilder, Settings, Token};
use crate::model::{Group, Metadata, Namespace, ServiceKey, WarmUp, WarmUpClock, Weight};
#[cfg(feature = "notice")]
use crate::naming::notice::NoticeSecret;
#[cfg(feature = "metrics")]
use crate::observe::Metrics;
use crate::provider::ProbePaths;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// Default port of readiness, on the address of the application.
const READINESS_PORT: u16 = 55199;
/// Default address of `/offline`: who can reach it can take this instance out.
const OFFLINE_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 54199);

const REGISTER_AFTER: Span = Span {
    names: ["register_after", "GRACEFUL_REGISTER_AFTER"],
    accepted: Duration::ZERO..=DELAY_MAX,
    default: Duration::ZERO,
};

/// What does not start the warm-up: ours, and the name that it has elsewhere, read where ours is not set.
const IGNORED_PATHS: [&str; 2] =
    ["GRACEFUL_WARMUP_IGNORED_PATHS", "profile_micro_service_record_warmup_ignored_path"];

/// Where metrics are told.
const METRICS_BIND: &str = "GRACEFUL_METRICS_BIND";

/// Whether notices are sent.
const NOTICE: &str = "GRACEFUL_NOTICE";

impl ProviderBuilder {
    pub(super) fn check(
        self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, InvalidSetting> {
        let environment = Environment(environment);
        let pace = Pace::said(&self, &environment)?;
        let token = said(self.offline_token.clone(), ["offline_token", "GRACEFUL_OFFLINE_TOKEN"], |name| {
            Ok(environment.text(name))
        })?;
        let offline_token = token.map(|(token, name)| Token::new(name, &token)).transpose()?;
        let bind =
            said(self.offline, ["offline_bind", "GRACEFUL_OFFLINE_BIND"], |name| environment.port(name))?;
        let (offline, name) = bind.unwrap_or((Port::At(OFFLINE_BIND), "offline_bind"));
        if let Port::At(address) = offline
            && !address.ip().to_canonical().is_loopback()
            && offline_token.is_none()
        {
            return Err(InvalidSetting::new(
                name,
                address,
                "a loopback address, or any with an `offline_token` (GRACEFUL_OFFLINE_TOKEN)",
            ));
        }
        let readiness = match self.readiness {
            Some(port) => port,
            None => environment.port("GRACEFUL_READINESS_BIND")?.unwrap_or(Port::Beside(READINESS_PORT)),
        };
        let advertise = said(self.advertise.clone(), ["advertise", "GRACEFUL_ADVERTISE"], |name| {
            environment.parse(name, "HOST:PORT")
        })?;
        if let Some((address, name)) = advertise.as_ref().filter(|(address, _)| address.port() == 0) {
            return Err(InvalidSetting::new(name, address, "HOST:PORT with a port from 1 on"));
        }
        let warm_up = match self.warm_up {
            Some(curve) => curve,
            None => curve(&environment)?,
        };
        let register_after = REGISTER_AFTER.said(self.register_after, &environment)?.span;
        let weight = said(self.weight, ["weight", "GRACEFUL_WEIGHT"], |name| {
            environment.parse(name, "a number from 0 on")
        })?;
        let weight = weight
            .map(|(weight, name)| Weight::new(weight).map_err(|error| InvalidSetting::because(name, &error)));
        let cluster = name_of(self.cluster.as_deref(), ["cluster", "GRACEFUL_CLUSTER"], &environment)?;
        #[cfg(feature = "metrics")]
        let (metrics, metrics_port) = metrics(&self, &environment)?;
        #[cfg(not(feature = "metrics"))]
        let metrics_port = match environment.text(METRICS_BIND) {
            None => Port::Off,
            Some(given) => {
                let accepted = "nothing: built without the feature `metrics`";
                return Err(InvalidSetting::new(METRICS_BIND, given, accepted));
            }
        };
        let of_registry = self.registry.as_ref().and_then(|registry| registry.observer());
        let observers = self.observers.clone().and_maybe(of_registry);
        #[cfg(feature = "metrics")]
        let observers = match &metrics {
            Some(metrics) => observers.and(metrics.clone()),
            None => observers,
        };
        let switch = |given: Option<bool>, variable| match given {
            Some(given) => Ok(Some(given)),
            None => environment.switch(variable),
        };
        #[cfg(not(feature = "notice"))]
        if switch(self.notice, NOTICE)? == Some(true) {
            return Err(InvalidSetting::new(NOTICE, true, "`false`: built without the feature `notice`"));
        }
        Ok(Settings {
            service: service_key(&self, &environment)?,
            cluster: cluster.unwrap_or_default(),
            weight: weight.transpose()?.unwrap_or_default(),
            warm_up_ignored: ignored_paths(&self, &environment)?,
            metadata: own_words(self.metadata)?,
            warm_up,
            registry: self.registry,
            registry_addr: self.registry_addr,
            advertise: advertise.map(|(address, _)| address),
            readiness,
            offline,
            offline_token,
            #[cfg(feature = "metrics")]
            metrics,
            metrics_port,
            observers,
            exit_after_offline: switch(self.exit_after_offline, "GRACEFUL_EXIT_AFTER_OFFLINE")?
                .unwrap_or(false),
            signals: self.signals,
            gated: switch(self.gated, "GRACEFUL_GATE")?.unwrap_or(true),
            register_after,
            ready_once: match switch(self.ready_after_warm_up, "GRACEFUL_READY_AFTER_WARMUP")? {
                Some(true) => Once::Warm,
                Some(false) | None => Once::Listed,
            },
            #[cfg(feature = "notice")]
            notices: Notices {
                wanted: switch(self.notice, NOTICE)? == Some(true),
                secret: NoticeSecret::random().map_err(|error| InvalidSetting::because(NOTICE, &error))?,
            },
            probes: self.probes,
            pace,
            clock: self.clock,
        })
    }
}

/// Metrics, where code or environment ask for them, and the port of their own that they may have.
#[cfg(feature = "metrics")]
fn metrics<F: Fn(&str) -> Option<String>>(
    given: &ProviderBuilder,
    environment: &Environment<F>,
) -> Result<(Option<Metrics>, Port), InvalidSetting> {
    let bind = match given.metrics_bind {
        Some(address) => Some(address),
        None => environment.parse(METRICS_BIND, "IP:PORT")?,
    };
    let metrics = given.metrics.clone().or_else(|| bind.map(|_| Metrics::global()));
    Ok((metrics, bind.map_or(Port::Off, Port::At)))
}

/// The curve that the environment describes; where it is silent, the default's.
fn curve<F: Fn(&str) -> Option<String>>(environment: &Environment<F>) -> Result<WarmUp, InvalidSetting> {
    let mut curve = WarmUp::default();
    let window = "GRACEFUL_WARMUP_SECONDS";
    if let Some(given) = environment.seconds(window, "0 to 86400 seconds")? {
        curve = WarmUp::new(given).map_err(|error| InvalidSetting::because(window, &error))?;
    }
    // Before the floor: 0 is accepted with one of the clocks only.
    let clock = "GRACEFUL_WARMUP_CLOCK";
    if let Some(given) = environment.parse::<WarmUpClock>(clock, "`first-request` or `registration`")? {
        curve = curve.with_clock(given).map_err(|error| InvalidSetting::because(clock, &error))?;
    }
    let exponent = "GRACEFUL_WARMUP_EXPONENT";
    if let Some(given) = environment.parse(exponent, "0.1 to 10")? {
        curve = curve.with_exponent(given).map_err(|error| InvalidSetting::because(exponent, &error))?;
    }
    let floor = "GRACEFUL_WARMUP_FLOOR";
    if let Some(given) = environment.parse(floor, "0 to 1")? {
        curve = curve.with_floor(given).map_err(|error| InvalidSetting::because(floor, &error))?;
    }
    Ok(curve)
}

/// The probes, and what code and environment want the warm-up to ignore besides.
fn ignored_paths<F: Fn(&str) -> Option<String>>(
    given: &ProviderBuilder,
    environment: &Environment<F>,
) -> Result<ProbePaths, InvalidSetting> {
    let listed = IGNORED_PATHS.into_iter().find_map(|name| Some((environment.text(name)?, name)));
    let (list, variable) = listed.unwrap_or_default();
    let of_environment = unquoted(&list).split(',').map(unquoted).filter(|path| !path.is_empty());
    let of_code = given.warm_up_ignored.iter().map(|path| (path.as_str(), "warm_up_ignores"));
    let mut ignored = given.probes.clone();
    for (path, name) in of_code.chain(of_environment.map(|path| (path, variable))) {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"*?#,\"'".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(is_plain) {
            let accepted = "exact paths that begin with `/`, without `*` and without a query";
            return Err(InvalidSetting::new(name, format_args!("`{path}`"), accepted));
        }
        ignored = ignored.with(path);
    }
    Ok(ignored)
}

/// Without the quotes that manifests and shells leave around a value.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    // A list whose first and last entry are quoted is not quoted itself.
    match inner('"').map(|inner| (inner, '"')).or_else(|| inner('\'').map(|inner| (inner, '\''))) {
        Some((inner, quote)) if !inner.contains(quote) => inner.trim(),
        Some(_) | None => text,
    }
}

fn name_of<T, F>(
    given: Option<&str>,
    names: [&'static str; 2],
    environment: &Environment<F>,
) -> Result<Option<T>, InvalidSetting>
where
    T: FromStr<Err: fmt::Display>,
    F: Fn(&str) -> Option<String>,
{
    let said = said(given.map(str::to_owned), names, |name| Ok(environment.text(name)))?;
    let Some((text, name)) = said else { return Ok(None) };
    text.parse().map(Some).map_err(|error| InvalidSetting::because(name, &error))
}

fn service_key<F: Fn(&str) -> Option<String>>(
    given: &ProviderBuilder,
    environment: &Environment<F>,
) -> Result<ServiceKey, InvalidSetting> {
    let key: Option<ServiceKey> =
        name_of(given.service.as_deref(), ["service", "GRACEFUL_SERVICE"], environment)?;
    let key = key.ok_or_else(|| {
        InvalidSetting::because("GRACEFUL_SERVICE", &"it names the service, and is not set")
    })?;
    let namespace: Option<Namespace> =
        name_of(given.namespace.as_deref(), ["namespace", "GRACEFUL_NAMESPACE"], environment)?;
    let group: Option<Group> = name_of(given.group.as_deref(), ["group", "GRACEFUL_GROUP"], environment)?;
    Ok(ServiceKey {
        namespace: namespace.unwrap_or(key.namespace),
        group: group.unwrap_or(key.group),
        name: key.name,
    })
}

fn own_words(words: Vec<(String, String)>) -> Result<Metadata, InvalidSetting> {
    match words.iter().find(|(key, _)| key.starts_with("graceful.")) {
        Some((ours, _)) => {
            Err(InvalidSetting::new("metadata", ours, "any key that does not begin with `graceful.`"))
        }
        None => Ok(words.into_iter().collect()),
    }
}
