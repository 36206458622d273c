//! What a provider can be told, checked once before anything starts.

use super::error::InvalidSetting;
use super::{ProbePaths, Provider};
use crate::Clock;
use crate::model::{Address, Cluster, Group, Metadata, Namespace, ServiceKey, WarmUp, Weight};
use crate::naming::Naming;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Default port of readiness, on the address of the application.
const READINESS_PORT: u16 = 55199;
/// Default address of `/offline`: who can reach it can take this instance out.
const OFFLINE_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 54199);
/// A shorter token is guessed in a day over a fast network.
const TOKEN_CHARS_MIN: usize = 16;

const QUIET_PERIODS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const LAME_DUCKS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);
const DRAINS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const CACHE_TIMES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

/// How a [`Provider`] is told what to do; made by [`Provider::builder`].
///
/// What is not given here is taken from the environment where a variable is named, and is the default
/// otherwise.
///
/// ```
/// use tower_graceful::{model::WarmUp, naming::InProcess, provider::Provider};
/// let provider = Provider::builder("orders")
///     .registry(InProcess::new())
///     .warm_up(WarmUp::default())
///     .metadata("zone", "a")
///     .readiness_bind(([127, 0, 0, 1], 0).into())
///     .build()?;
/// # Ok::<(), tower_graceful::provider::InvalidSetting>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "`build` makes the provider"]
pub struct ProviderBuilder {
    service: String,
    namespace: Option<String>,
    group: Option<String>,
    cluster: Option<String>,
    weight: f64,
    metadata: Vec<(String, String)>,
    warm_up: Option<WarmUp>,
    registry: Option<Arc<dyn Naming>>,
    registry_addr: Option<SocketAddr>,
    advertise: Option<Address>,
    readiness: Option<Port>,
    offline: Option<Port>,
    offline_token: Option<String>,
    exit_after_offline: bool,
    signals: bool,
    gated: bool,
    probes: ProbePaths,
    pace: Pace,
    clock: Clock,
}

/// How long each part of the way out may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) quiet_period: Duration,
    pub(super) lame_duck_max: Duration,
    pub(super) drain_timeout: Duration,
    pub(super) cache_time: Duration,
}

/// Where a port of ours is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Off,
    At(SocketAddr),
    /// On the address of the application.
    Beside(u16),
}

/// A secret that never shows in logs.
#[derive(Clone)]
pub(super) struct Token(Box<str>);

/// Checked settings.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) service: ServiceKey,
    pub(super) cluster: Cluster,
    pub(super) weight: Weight,
    pub(super) metadata: Metadata,
    pub(super) warm_up: WarmUp,
    pub(super) registry: Option<Arc<dyn Naming>>,
    pub(super) registry_addr: Option<SocketAddr>,
    pub(super) advertise: Option<Address>,
    pub(super) readiness: Port,
    pub(super) offline: Port,
    pub(super) offline_token: Option<Token>,
    pub(super) exit_after_offline: bool,
    pub(super) signals: bool,
    pub(super) gated: bool,
    pub(super) probes: ProbePaths,
    pub(super) pace: Pace,
    pub(super) clock: Clock,
}

impl ProviderBuilder {
    pub(super) fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            namespace: None,
            group: None,
            cluster: None,
            weight: 1.0,
            metadata: Vec::new(),
            warm_up: None,
            registry: None,
            registry_addr: None,
            advertise: None,
            readiness: None,
            offline: None,
            offline_token: None,
            exit_after_offline: false,
            signals: true,
            gated: true,
            probes: ProbePaths::default(),
            pace: Pace::default(),
            clock: Clock::system(),
        }
    }

    /// Where this instance registers, and looks whether it is listed. Without one the process serves at
    /// once, and has nothing to take back when it leaves.
    pub fn registry(self, registry: impl Naming) -> Self {
        Self { registry: Some(Arc::new(registry)), ..self }
    }

    /// Address to which a route decides what is advertised for a listener on all addresses. Default: where
    /// the registry says that it is.
    pub fn registry_addr(self, address: SocketAddr) -> Self {
        Self { registry_addr: Some(address), ..self }
    }

    /// Address under which consumers reach this instance. Default: `GRACEFUL_ADVERTISE`, else the
    /// listener's address, for `0.0.0.0` and `[::]` the source address of the route to
    /// [`registry_addr`](Self::registry_addr).
    pub fn advertise(self, address: impl Into<Address>) -> Self {
        Self { advertise: Some(address.into()), ..self }
    }

    /// Namespace of the service. Default `public`.
    pub fn namespace(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// Group of the service. Default `DEFAULT_GROUP`.
    pub fn group(self, group: &str) -> Self {
        Self { group: Some(group.to_owned()), ..self }
    }

    /// Cluster of this instance. Default `DEFAULT`.
    pub fn cluster(self, cluster: &str) -> Self {
        Self { cluster: Some(cluster.to_owned()), ..self }
    }

    /// Registered weight, finite and not negative. Default 1.
    pub fn weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// One more word of the registration; keys that begin with `graceful.` are ours.
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How consumers ramp this instance. Default: [`WarmUp::default`], with the window of
    /// `GRACEFUL_WARMUP_SECONDS` where that is set.
    pub fn warm_up(self, warm_up: WarmUp) -> Self {
        Self { warm_up: Some(warm_up), ..self }
    }

    /// Whether requests are refused until this instance is listed. Default true.
    pub fn gate(self, gated: bool) -> Self {
        Self { gated, ..self }
    }

    /// The paths on the application's own port that are no real requests. Default [`ProbePaths::default`].
    pub fn probes(self, probes: ProbePaths) -> Self {
        Self { probes, ..self }
    }

    /// Where `/readiness`, `/health` and `/livez` are; port 0 takes any. Default:
    /// `GRACEFUL_READINESS_BIND`, else port 55199 on the application's address, because probes come from
    /// outside.
    pub fn readiness_bind(self, address: SocketAddr) -> Self {
        Self { readiness: Some(Port::At(address)), ..self }
    }

    /// No readiness port.
    pub fn without_readiness(self) -> Self {
        Self { readiness: Some(Port::Off), ..self }
    }

    /// Where `/offline` is; port 0 takes any. Default: `GRACEFUL_OFFLINE_BIND`, else 127.0.0.1:54199.
    /// Anything but loopback needs an [`offline_token`](Self::offline_token).
    pub fn offline_bind(self, address: SocketAddr) -> Self {
        Self { offline: Some(Port::At(address)), ..self }
    }

    /// No offline port.
    pub fn without_offline(self) -> Self {
        Self { offline: Some(Port::Off), ..self }
    }

    /// What `/offline` asks for as `Authorization: Bearer TOKEN`: at least 16 characters. Default none.
    pub fn offline_token(self, token: &str) -> Self {
        Self { offline_token: Some(token.to_owned()), ..self }
    }

    /// Whether `/offline` ends the process once it has drained. Default false: it stays until a signal,
    /// because what watches processes would start it again.
    pub fn exit_after_offline(self, exits: bool) -> Self {
        Self { exit_after_offline: exits, ..self }
    }

    /// Leaves signals alone, for a process that has other things to end: only `/offline` and a
    /// [`ShutdownHandle`](super::ShutdownHandle) end the provider. By default SIGTERM and SIGINT do.
    pub fn without_signals(self) -> Self {
        Self { signals: false, ..self }
    }

    /// How long no request may have begun before traffic counts as gone. 10 ms to 60 s, default 500 ms.
    pub fn quiet_period(mut self, period: Duration) -> Self {
        self.pace.quiet_period = period;
        self
    }

    /// How long to go on serving while consumers learn that this instance leaves. 0 s to 10 min and less
    /// than [`drain_timeout`](Self::drain_timeout), default 10 s.
    pub fn lame_duck_max(mut self, limit: Duration) -> Self {
        self.pace.lame_duck_max = limit;
        self
    }

    /// When all is over, counted from the first signal. 100 ms to 1 h, and less than
    /// `GRACEFUL_GRACE_PERIOD` (seconds) where that is set; default 25 s, Kubernetes giving 30.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.pace.drain_timeout = timeout;
        self
    }

    /// For how long a consumer may use an old list: callers of this last while must have been told before
    /// the process goes. 0 s to 10 min, default 30 s.
    pub fn cache_time(mut self, time: Duration) -> Self {
        self.pace.cache_time = time;
        self
    }

    /// The wall clock, for tests. Default the system's.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Checks the settings and reads the environment. Nothing is bound and nothing runs yet.
    ///
    /// # Errors
    /// When a setting is not valid; the error names it and says what is accepted.
    pub fn build(self) -> Result<Provider, InvalidSetting> {
        let settings = self.check(|name| std::env::var(name).ok())?;
        Ok(Provider::new(settings))
    }

    fn check(self, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, InvalidSetting> {
        let environment = Environment(environment);
        let pace = self.pace.checked(environment.seconds("GRACEFUL_GRACE_PERIOD")?)?;
        let offline_token = self.offline_token.as_deref().map(Token::new).transpose()?;
        let offline = match self.offline {
            Some(port) => port,
            None => environment.port("GRACEFUL_OFFLINE_BIND")?.unwrap_or(Port::At(OFFLINE_BIND)),
        };
        if let Port::At(address) = offline
            && !address.ip().to_canonical().is_loopback()
            && offline_token.is_none()
        {
            let accepted = "a loopback address, or any with an `offline_token`";
            return Err(InvalidSetting::new("offline_bind", address, accepted));
        }
        let readiness = match self.readiness {
            Some(port) => port,
            None => environment.port("GRACEFUL_READINESS_BIND")?.unwrap_or(Port::Beside(READINESS_PORT)),
        };
        let advertise = match self.advertise {
            Some(address) => Some(address),
            None => environment.parse("GRACEFUL_ADVERTISE", "HOST:PORT")?,
        };
        if let Some(address) = advertise.as_ref().filter(|address| address.port() == 0) {
            return Err(InvalidSetting::new("advertise", address, "HOST:PORT with a port from 1 on"));
        }
        let warm_up = match (self.warm_up, environment.seconds("GRACEFUL_WARMUP_SECONDS")?) {
            (Some(curve), _) => curve,
            (None, Some(window)) => WarmUp::new(window)
                .map_err(|error| InvalidSetting::because("GRACEFUL_WARMUP_SECONDS", &error))?,
            (None, None) => WarmUp::default(),
        };
        Ok(Settings {
            service: service_key(&self.service, self.namespace.as_deref(), self.group.as_deref())?,
            cluster: named("cluster", self.cluster.as_deref())?.unwrap_or_default(),
            weight: Weight::new(self.weight).map_err(|error| InvalidSetting::because("weight", &error))?,
            metadata: own_words(self.metadata)?,
            warm_up,
            registry: self.registry,
            registry_addr: self.registry_addr,
            advertise,
            readiness,
            offline,
            offline_token,
            exit_after_offline: self.exit_after_offline,
            signals: self.signals,
            gated: self.gated,
            probes: self.probes,
            pace,
            clock: self.clock,
        })
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            quiet_period: Duration::from_millis(500),
            lame_duck_max: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(25),
            cache_time: Duration::from_secs(30),
        }
    }
}

impl Pace {
    fn checked(self, grace_period: Option<Duration>) -> Result<Self, InvalidSetting> {
        within("quiet_period", self.quiet_period, &QUIET_PERIODS)?;
        within("lame_duck_max", self.lame_duck_max, &LAME_DUCKS)?;
        within("drain_timeout", self.drain_timeout, &DRAINS)?;
        within("cache_time", self.cache_time, &CACHE_TIMES)?;
        below("lame_duck_max", self.lame_duck_max, "the drain_timeout", self.drain_timeout)?;
        if let Some(grace_period) = grace_period {
            below("drain_timeout", self.drain_timeout, "GRACEFUL_GRACE_PERIOD", grace_period)?;
        }
        Ok(self)
    }
}

fn within(
    setting: &'static str,
    given: Duration,
    accepted: &RangeInclusive<Duration>,
) -> Result<(), InvalidSetting> {
    if accepted.contains(&given) {
        return Ok(());
    }
    let accepted = format!("{:?} to {:?}", accepted.start(), accepted.end());
    Err(InvalidSetting::new(setting, format_args!("{given:?}"), accepted))
}

fn below(setting: &'static str, given: Duration, name: &str, limit: Duration) -> Result<(), InvalidSetting> {
    if given < limit {
        return Ok(());
    }
    Err(InvalidSetting::new(setting, format_args!("{given:?}"), format!("less than {name}, {limit:?}")))
}

fn named<T: FromStr<Err: fmt::Display>>(
    setting: &'static str,
    name: Option<&str>,
) -> Result<Option<T>, InvalidSetting> {
    name.map(str::parse).transpose().map_err(|error| InvalidSetting::because(setting, &error))
}

fn service_key(
    service: &str,
    namespace: Option<&str>,
    group: Option<&str>,
) -> Result<ServiceKey, InvalidSetting> {
    let key: ServiceKey = service.parse().map_err(|error| InvalidSetting::because("service", &error))?;
    Ok(ServiceKey {
        namespace: named::<Namespace>("namespace", namespace)?.unwrap_or(key.namespace),
        group: named::<Group>("group", group)?.unwrap_or(key.group),
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

/// The variables of the process, or those of a test.
struct Environment<F>(F);

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    fn parse<T: FromStr>(
        &self,
        name: &'static str,
        accepted: &'static str,
    ) -> Result<Option<T>, InvalidSetting> {
        let Some(text) = (self.0)(name).filter(|text| !text.trim().is_empty()) else { return Ok(None) };
        let parsed = text.trim().parse();
        parsed.map(Some).map_err(|_| InvalidSetting::new(name, &text, accepted))
    }

    fn port(&self, name: &'static str) -> Result<Option<Port>, InvalidSetting> {
        Ok(self.parse(name, "IP:PORT")?.map(Port::At))
    }

    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, InvalidSetting> {
        const ACCEPTED: &str = "a number of seconds from 0 on";
        let Some(seconds) = self.parse::<f64>(name, ACCEPTED)? else { return Ok(None) };
        let span = Duration::try_from_secs_f64(seconds);
        span.map(Some).map_err(|_| InvalidSetting::new(name, seconds, ACCEPTED))
    }
}

impl Token {
    fn new(token: &str) -> Result<Self, InvalidSetting> {
        let chars = token.chars().count();
        if chars < TOKEN_CHARS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let given = format_args!("{chars} characters");
            return Err(InvalidSetting::new("offline_token", given, "16 or more visible ASCII characters"));
        }
        Ok(Self(token.into()))
    }

    /// Takes the same time wherever the first difference lies.
    pub(super) fn is(&self, given: &str) -> bool {
        let differences = self.0.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        self.0.len() == given.len() && differences == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WarmUpClock;

    fn check(builder: ProviderBuilder) -> Result<Settings, InvalidSetting> {
        builder.check(|_| None)
    }

    fn check_with(variable: &str, value: &str) -> Result<Settings, InvalidSetting> {
        ProviderBuilder::new("orders").check(|name| (name == variable).then(|| value.to_owned()))
    }

    #[test]
    fn a_setting_that_is_out_of_range_is_refused_with_the_range() {
        let orders = || ProviderBuilder::new("orders");
        let seconds = Duration::from_secs;
        for (builder, setting, accepted) in [
            (ProviderBuilder::new("a b"), "service", "visible ASCII"),
            (orders().group("a/b"), "group", "A-Z"),
            (orders().weight(-1.0), "weight", "from 0 on"),
            (orders().metadata("graceful.epoch", "1"), "metadata", "does not begin"),
            (orders().quiet_period(seconds(0)), "quiet_period", "10ms to 60s"),
            (orders().lame_duck_max(seconds(601)), "lame_duck_max", "0ns to 600s"),
            (orders().lame_duck_max(seconds(25)), "lame_duck_max", "less than the drain_timeout"),
            (orders().drain_timeout(seconds(3601)), "drain_timeout", "100ms to 3600s"),
            (orders().cache_time(seconds(601)), "cache_time", "0ns to 600s"),
            (orders().offline_token("secret"), "offline_token", "16 or more"),
            (orders().offline_bind(([0, 0, 0, 0], 0).into()), "offline_bind", "loopback"),
            (orders().advertise(Address::new("orders", 0).unwrap()), "advertise", "HOST:PORT"),
        ] {
            let error = check(builder).unwrap_err();
            assert_eq!(error.setting(), setting);
            assert!(error.to_string().contains(accepted), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_environment_speaks_where_the_code_does_not() {
        let settings = check_with("GRACEFUL_WARMUP_SECONDS", "1.5").unwrap();
        assert_eq!(settings.warm_up.window(), Duration::from_millis(1_500));
        let settings = check_with("GRACEFUL_READINESS_BIND", "127.0.0.1:0").unwrap();
        assert_eq!(settings.readiness, Port::At(([127, 0, 0, 1], 0).into()));
        assert!(check_with("GRACEFUL_OFFLINE_BIND", "10.0.0.7:54199").is_err());
        assert_eq!(check_with("GRACEFUL_ADVERTISE", "orders:80").unwrap().advertise.unwrap().port(), 80);
        assert!(check_with("GRACEFUL_GRACE_PERIOD", "25").is_err());
        assert!(check_with("GRACEFUL_GRACE_PERIOD", "30").is_ok());

        let curve = WarmUp::default().with_clock(WarmUpClock::Registration).unwrap();
        let told =
            ProviderBuilder::new("orders").warm_up(curve).advertise(SocketAddr::from(([10, 0, 0, 7], 1)));
        let settings = told.check(|_| Some("127.0.0.1:9".to_owned()));
        assert_eq!(settings.unwrap_err().setting(), "GRACEFUL_GRACE_PERIOD");
    }

    #[test]
    fn a_variable_that_does_not_read_is_refused_by_its_name() {
        for (name, value) in [
            ("GRACEFUL_ADVERTISE", "10.0.0.7"),
            ("GRACEFUL_READINESS_BIND", "55199"),
            ("GRACEFUL_WARMUP_SECONDS", "-1"),
            ("GRACEFUL_WARMUP_SECONDS", "100000"),
            ("GRACEFUL_GRACE_PERIOD", "half a minute"),
        ] {
            assert_eq!(check_with(name, value).unwrap_err().setting(), name);
        }
        assert!(check_with("GRACEFUL_ADVERTISE", " ").unwrap().advertise.is_none());
    }

    #[test]
    fn a_token_is_compared_whole_and_never_shown() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_service_may_name_its_group_and_the_setting_wins() {
        let settings = check(ProviderBuilder::new("shop@@orders").namespace("test")).unwrap();
        assert_eq!(settings.service.to_string(), "test##shop@@orders");
        let settings = check(ProviderBuilder::new("shop@@orders").group("market")).unwrap();
        assert_eq!(settings.service.group.as_str(), "market");
    }
}
