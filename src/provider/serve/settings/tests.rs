//! Which settings hold, and how the others are refused.

use super::*;
use crate::model::WarmUpClock;

fn check(builder: ProviderBuilder) -> Result<Settings, InvalidSetting> {
    builder.check(|_| None)
}

fn check_with(variable: &str, value: &str) -> Result<Settings, InvalidSetting> {
    ProviderBuilder::new(Some("orders")).check(|name| (name == variable).then(|| value.to_owned()))
}

#[test]
fn a_setting_that_is_out_of_range_is_refused_with_the_range() {
    let orders = || ProviderBuilder::new(Some("orders"));
    let seconds = Duration::from_secs;
    for (builder, setting, accepted) in [
        (ProviderBuilder::new(Some("a b")), "service", "visible ASCII"),
        (orders().group("a/b"), "group", "A-Z"),
        (orders().weight(-1.0), "weight", "from 0 on"),
        (orders().metadata("graceful.epoch", "1"), "metadata", "does not begin"),
        (orders().quiet_period(seconds(0)), "quiet_period", "10 ms to 60 s"),
        (orders().quiet_period(seconds(10)), "quiet_period", "less than the lame_duck_max, 10 s"),
        (
            orders().quiet_period(seconds(3)).lame_duck_max(seconds(2)),
            "quiet_period",
            "3 s is not valid: accepted is less than the lame_duck_max, 2 s",
        ),
        (orders().lame_duck_max(seconds(601)), "lame_duck_max", "0 s to 600 s"),
        (orders().lame_duck_max(seconds(25)), "lame_duck_max", "less than the drain_timeout, 25 s"),
        (orders().drain_timeout(seconds(10)), "drain_timeout", "more than the lame_duck_max, 10 s"),
        (orders().drain_timeout(seconds(3601)), "drain_timeout", "100 ms to 3600 s"),
        (orders().cache_time(seconds(601)), "cache_time", "0 s to 600 s"),
        (
            orders().offline_token("secret"),
            "offline_token",
            "a token of 6 characters is not valid: accepted is one of 16",
        ),
        (orders().offline_token("secret but with blanks"), "offline_token", "visible ASCII"),
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
}

#[test]
fn a_variable_that_is_wrong_is_refused_by_its_name_and_with_what_is_accepted() {
    for (name, value, accepted) in [
        ("GRACEFUL_NAMESPACE", "a b", "accepted"),
        ("GRACEFUL_GROUP", "a/b", "A-Z"),
        ("GRACEFUL_CLUSTER", "a b", "accepted"),
        ("GRACEFUL_WEIGHT", "-1", "from 0 on"),
        ("GRACEFUL_WEIGHT", "heavy", "from 0 on"),
        ("GRACEFUL_ADVERTISE", "10.0.0.7", "HOST:PORT"),
        ("GRACEFUL_ADVERTISE", "10.0.0.7:0", "from 1 on"),
        ("GRACEFUL_WARMUP_SECONDS", "-1", "0 to 86400"),
        ("GRACEFUL_WARMUP_SECONDS", "100000", "0 s to 24 h"),
        ("GRACEFUL_WARMUP_EXPONENT", "11", "0.1 to 10"),
        ("GRACEFUL_WARMUP_EXPONENT", "steep", "0.1 to 10"),
        ("GRACEFUL_WARMUP_FLOOR", "1.1", "0 to 1"),
        ("GRACEFUL_WARMUP_FLOOR", "0", "registration"),
        ("GRACEFUL_WARMUP_CLOCK", "start", "first-request"),
        ("GRACEFUL_WARMUP_IGNORED_PATHS", "/a,/b/*", "without `*`"),
        ("GRACEFUL_WARMUP_IGNORED_PATHS", "ping", "begin with `/`"),
        ("profile_micro_service_record_warmup_ignored_path", "*", "without `*`"),
        ("GRACEFUL_GATE", "open", "`true` or `false`"),
        ("GRACEFUL_REGISTER_AFTER", "601", "0 s to 600 s"),
        ("GRACEFUL_REGISTER_AFTER", "later", "0 to 600 seconds"),
        ("GRACEFUL_READY_AFTER_WARMUP", "120", "`true` or `false`"),
        ("GRACEFUL_READINESS_BIND", "55199", "IP:PORT, or `off`"),
        ("GRACEFUL_OFFLINE_BIND", "localhost", "IP:PORT, or `off`"),
        ("GRACEFUL_OFFLINE_BIND", "10.0.0.7:54199", "GRACEFUL_OFFLINE_TOKEN"),
        ("GRACEFUL_OFFLINE_TOKEN", "REPLACE-ME", "16 or more"),
        ("GRACEFUL_EXIT_AFTER_OFFLINE", "1", "`true` or `false`"),
        ("GRACEFUL_QUIET_PERIOD", "0", "10 ms to 60 s"),
        ("GRACEFUL_QUIET_PERIOD", "500ms", "0.01 to 60 seconds"),
        ("GRACEFUL_LAME_DUCK_MAX", "601", "0 s to 600 s"),
        ("GRACEFUL_LAME_DUCK_MAX", "25", "less than the drain_timeout"),
        ("GRACEFUL_DRAIN_TIMEOUT", "0", "100 ms to 3600 s"),
        ("GRACEFUL_LEAVE_FADE", "601", "0 s to 600 s"),
        ("GRACEFUL_LEAVE_FADE", "1.5", "whole seconds"),
        ("GRACEFUL_CACHE_TIME", "-1", "0 to 600 seconds"),
        #[cfg(feature = "metrics")]
        ("GRACEFUL_METRICS_BIND", "9090", "IP:PORT"),
        ("GRACEFUL_NOTICE", "yes", "`true` or `false`"),
        ("GRACEFUL_GRACE_PERIOD", "half a minute", "seconds"),
        ("GRACEFUL_GRACE_PERIOD", "20", "20 s is not valid: accepted is more than the drain_timeout, 25 s"),
    ] {
        let error = check_with(name, value).unwrap_err();
        assert_eq!(error.setting(), name, "{error}");
        assert!(error.to_string().contains(accepted), "{error}");
        assert!(!error.to_string().contains("REPLACE-ME"), "{error}");
    }
    assert!(check_with("GRACEFUL_ADVERTISE", " ").unwrap().advertise.is_none());
}

#[test]
fn each_setting_has_a_variable() {
    let settings = |name, value| check_with(name, value).unwrap();
    assert_eq!(settings("GRACEFUL_NAMESPACE", "test").service.namespace.as_str(), "test");
    assert_eq!(settings("GRACEFUL_GROUP", "shop").service.group.as_str(), "shop");
    assert_eq!(settings("GRACEFUL_CLUSTER", "a").cluster.as_str(), "a");
    assert_eq!(settings("GRACEFUL_WEIGHT", "0.5").weight.as_f64(), 0.5);
    let curve = WarmUp::default();
    assert_eq!(settings("GRACEFUL_WARMUP_EXPONENT", "1").warm_up, curve.with_exponent(1.0).unwrap());
    assert_eq!(settings("GRACEFUL_WARMUP_FLOOR", "0.1").warm_up, curve.with_floor(0.1).unwrap());
    assert_eq!(settings("GRACEFUL_WARMUP_CLOCK", "registration").warm_up.clock(), WarmUpClock::Registration);
    assert!(!settings("GRACEFUL_GATE", "false").gated);
    assert_eq!(settings("GRACEFUL_READINESS_BIND", "off").readiness, Port::Off);
    assert_eq!(settings("GRACEFUL_OFFLINE_BIND", "off").offline, Port::Off);
    assert!(settings("GRACEFUL_OFFLINE_TOKEN", "0123456789abcdef").offline_token.is_some());
    assert!(settings("GRACEFUL_EXIT_AFTER_OFFLINE", "true").exit_after_offline);
    let after = settings("GRACEFUL_REGISTER_AFTER", "1.5").register_after;
    assert_eq!(after, Duration::from_millis(1_500));
    assert_eq!(settings("GRACEFUL_READY_AFTER_WARMUP", "true").ready_once, Once::Warm);
    #[cfg(feature = "metrics")]
    assert_eq!(
        settings("GRACEFUL_METRICS_BIND", "127.0.0.1:0").metrics_port,
        Port::At(([127, 0, 0, 1], 0).into())
    );
    let pace = |name| settings(name, "1.5").pace;
    assert_eq!(pace("GRACEFUL_QUIET_PERIOD").quiet_period, Duration::from_millis(1_500));
    assert_eq!(pace("GRACEFUL_LAME_DUCK_MAX").lame_duck_max, Duration::from_millis(1_500));
    assert_eq!(settings("GRACEFUL_DRAIN_TIMEOUT", "11").pace.drain_timeout, Duration::from_secs(11));
    assert_eq!(settings("GRACEFUL_LEAVE_FADE", "20").pace.leave_fade, Duration::from_secs(20));
    assert_eq!(pace("GRACEFUL_CACHE_TIME").cache_time, Duration::from_millis(1_500));
}

#[test]
fn what_code_has_said_is_not_read_from_the_environment() {
    let all = ProviderBuilder::new(Some("orders")).namespace("test").group("shop").cluster("a").weight(2.0);
    let all = all
        .warm_up(WarmUp::NONE)
        .register_after(Duration::ZERO)
        .ready_after_warm_up(true)
        .gate(true)
        .exit_after_offline(false)
        .without_offline();
    let all = all.readiness_bind(([127, 0, 0, 1], 0).into()).offline_token("0123456789abcdef");
    let all = all.advertise(SocketAddr::from(([10, 0, 0, 7], 1)));
    let all = all.quiet_period(Duration::from_secs(1)).lame_duck_max(Duration::from_secs(2));
    #[cfg(feature = "metrics")]
    let all = all.metrics(Metrics::alone()).metrics_bind(([127, 0, 0, 1], 0).into());
    let all = all
        .drain_timeout(Duration::from_secs(3))
        .cache_time(Duration::from_secs(4))
        .leave_fade(Duration::from_secs(5));
    let added = ["GRACEFUL_GRACE_PERIOD", "GRACEFUL_WARMUP_IGNORED_PATHS", "GRACEFUL_NOTICE"];
    let wrong = |name: &str| name.starts_with("GRACEFUL_") && !added.contains(&name);
    assert!(all.check(|name| wrong(name).then(|| "wrong!".to_owned())).is_ok());
}

#[test]
fn a_lame_duck_may_be_shorter_than_the_quiet_period_that_nobody_set_or_not_be() {
    let orders = || ProviderBuilder::new(Some("orders"));
    assert!(check(orders().lame_duck_max(Duration::from_millis(300))).is_ok());
    assert!(check(orders().quiet_period(Duration::from_secs(1)).lame_duck_max(Duration::ZERO)).is_ok());
}

#[test]
fn the_environment_may_name_the_service() {
    let named = |name: &str| (name == "GRACEFUL_SERVICE").then(|| "shop@@orders".to_owned());
    let settings = ProviderBuilder::new(None).check(named).unwrap();
    assert_eq!(settings.service.to_string(), "public##shop@@orders");
    let settings = ProviderBuilder::new(Some("invoices")).check(named).unwrap();
    assert_eq!(settings.service.name.as_str(), "invoices");
    assert_eq!(ProviderBuilder::new(None).check(|_| None).unwrap_err().setting(), "GRACEFUL_SERVICE");
}

#[test]
fn fade_and_drain_together_fit_into_what_the_platform_gives() {
    let fades = |fade: u64, grace: &str| {
        let builder = ProviderBuilder::new(Some("orders")).leave_fade(Duration::from_secs(fade));
        builder.check(|name| (name == "GRACEFUL_GRACE_PERIOD").then(|| grace.to_owned()))
    };
    let error = fades(20, "45").unwrap_err();
    assert_eq!(error.setting(), "leave_fade");
    assert!(error.to_string().contains("GRACEFUL_GRACE_PERIOD, 20 s"), "{error}");
    let drains = ProviderBuilder::new(Some("orders")).drain_timeout(Duration::from_secs(30));
    let error = drains.check(|name| (name == "GRACEFUL_GRACE_PERIOD").then(|| "30".to_owned())).unwrap_err();
    assert_eq!(error.setting(), "drain_timeout", "what code says is wrong where it runs");
    let pace = fades(20, "46").unwrap().pace;
    assert_eq!((pace.left_within(), pace.ended_within()), (Duration::from_secs(30), Duration::from_secs(45)));
}

#[cfg(feature = "notice")]
#[test]
fn notices_are_sent_where_that_is_wanted() {
    assert!(check_with("GRACEFUL_NOTICE", "true").unwrap().notices.wanted);
    assert!(!check_with("GRACEFUL_NOTICE", "false").unwrap().notices.wanted);
    assert!(!check(ProviderBuilder::new(Some("orders"))).unwrap().notices.wanted);
}

#[test]
fn a_floor_of_nothing_is_accepted_with_the_clock_that_leaves_it() {
    let variables = |name: &str| match name {
        "GRACEFUL_WARMUP_CLOCK" => Some("registration".to_owned()),
        "GRACEFUL_WARMUP_FLOOR" => Some("0".to_owned()),
        _ => None,
    };
    assert!(ProviderBuilder::new(Some("orders")).check(variables).is_ok());
}

#[test]
fn what_the_warm_up_ignores_is_the_probes_and_what_code_and_environment_add() {
    for list in ["/a,/b", "\"/a, /b\"", " '/a,/b' ", "\"/a\",\"/b\"", "/a,,/b,"] {
        for name in ["GRACEFUL_WARMUP_IGNORED_PATHS", "profile_micro_service_record_warmup_ignored_path"] {
            let builder = ProviderBuilder::new(Some("orders")).warm_up_ignores("/c");
            let settings = builder.check(|asked| (asked == name).then(|| list.to_owned())).unwrap();
            for path in ["/a", "/b", "/c", "/healthz"] {
                assert!(settings.warm_up_ignored.contains(path), "{path} of {list}");
            }
            assert!(!settings.warm_up_ignored.contains("/"));
            assert!(!settings.probes.contains("/a"), "it is a request like any other");
        }
    }
    let both = |name: &str| match name {
        "GRACEFUL_WARMUP_IGNORED_PATHS" => Some("/ours".to_owned()),
        "profile_micro_service_record_warmup_ignored_path" => Some("/*".to_owned()),
        _ => None,
    };
    let settings = ProviderBuilder::new(Some("orders")).check(both).unwrap();
    assert!(settings.warm_up_ignored.contains("/ours"), "ours wins");
    let error = check(ProviderBuilder::new(Some("orders")).warm_up_ignores("/a*")).unwrap_err();
    assert_eq!(error.setting(), "warm_up_ignores");
}

#[test]
fn a_token_is_compared_whole_and_never_shown() {
    let token = Token::new("offline_token", "0123456789abcdef").unwrap();
    assert!(token.is("0123456789abcdef"));
    for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0"] {
        assert!(!token.is(wrong), "{wrong}");
    }
    assert_eq!(format!("{token:?}"), "Token(..)");
}

#[test]
fn a_service_may_name_its_group_and_the_setting_wins() {
    let settings = check(ProviderBuilder::new(Some("shop@@orders")).namespace("test")).unwrap();
    assert_eq!(settings.service.to_string(), "test##shop@@orders");
    let settings = check(ProviderBuilder::new(Some("shop@@orders")).group("market")).unwrap();
    assert_eq!(settings.service.group.as_str(), "market");
}
