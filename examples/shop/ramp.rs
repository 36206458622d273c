//! The ramp that a new instance ought to follow, and how far it was missed.

use super::record::{Instance, Record};
use std::time::Duration;
use tower_graceful::model::{UnixMillis, WarmUpAge};

/// The ideal is compared with what was counted in bins of this width.
pub const BIN: Duration = Duration::from_secs(1);
/// The ideal is summed up in steps this short: much less than a ramp that people notice.
const STEP: Duration = Duration::from_millis(10);

/// The weight that `instance` ought to have at `at`: 0 before it is ready and once it has to go.
pub fn ideal_weight(instance: &Instance, at: UnixMillis) -> f64 {
    let ready = instance.ready.is_some_and(|ready| at >= ready);
    if !ready || instance.signalled.is_some_and(|signalled| at >= signalled) {
        return 0.0;
    }
    let Some(curve) = instance.warm_up else { return 1.0 };
    match instance.warm_up_start {
        Some(start) if at >= start => curve.factor(WarmUpAge::Running(at.since(start))),
        _ => curve.factor(WarmUpAge::NotStarted),
    }
}

/// Requests that `instance` ought to get in `from..until`: its part of the rate by weight.
pub fn ideal_count(record: &Record, instance: &Instance, from: UnixMillis, until: UnixMillis) -> f64 {
    let steps = (until.since(from).as_secs_f64() / STEP.as_secs_f64()).round().max(1.0);
    let step = until.since(from).div_f64(steps);
    let share_at = |n: f64| {
        let at = from + step.mul_f64(n + 0.5);
        let all: f64 = record.instances.iter().map(|other| ideal_weight(other, at)).sum();
        if all > 0.0 { ideal_weight(instance, at) / all } else { 0.0 }
    };
    let shares: f64 =
        std::iter::successors(Some(0.0), |n| Some(n + 1.0)).take_while(|n| *n < steps).map(share_at).sum();
    record.rate * step.as_secs_f64() * shares
}

/// How far the worst instance missed its ramp, in percent of a fair load; none when nothing warmed up.
pub fn worst_rmse_percent(record: &Record) -> Option<f64> {
    record.instances.iter().filter_map(|instance| rmse_percent(record, instance)).max_by(f64::total_cmp)
}

/// Root mean square over the one-second bins of a warm-up of (requests - ideal), in percent of a fair load.
///
/// The bins begin with the warm-up. A bin that the ramp, the instance or the record does not fill is left
/// out. A fair load is the rate divided by the instances that stand for traffic in that bin.
pub fn rmse_percent(record: &Record, instance: &Instance) -> Option<f64> {
    let start = instance.warm_up_start?;
    let ends = [Some(start + instance.warm_up?.window()), instance.signalled, Some(record.ended)];
    let end = ends.into_iter().flatten().min()?;
    let starts = std::iter::successors(Some(start), |from| Some(*from + BIN));
    let squares: Vec<f64> = starts
        .take_while(|from| *from + BIN <= end)
        .map(|from| {
            let until = from + BIN;
            let missed =
                instance.executed_between(from, until) as f64 - ideal_count(record, instance, from, until);
            (missed / fair_count(record, from + BIN / 2)).powi(2)
        })
        .collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    (!squares.is_empty()).then(|| 100.0 * mean.sqrt())
}

/// Requests in one bin, if all instances that stand for traffic at `at` were to get the same.
fn fair_count(record: &Record, at: UnixMillis) -> f64 {
    let live = record.instances.iter().filter(|instance| ideal_weight(instance, at) > 0.0).count();
    record.rate * BIN.as_secs_f64() / live.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_graceful::model::WarmUp;

    const RATE: f64 = 300.0;
    const START: UnixMillis = UnixMillis::new(5_000);
    const WINDOW: Duration = Duration::from_secs(10);

    /// Three warm instances and a new one, which gets `share(age in 0..1)` of all requests.
    fn scale_out(share: impl Fn(f64) -> f64) -> Record {
        let mut record = Record::new("test", RATE, UnixMillis::new(0));
        record.ended = UnixMillis::new(20_000);
        let instance = |port| {
            let address = ([127, 0, 0, 1], port).into();
            let ready = Some(UnixMillis::new(0));
            Instance { ready, ..Instance::new("v1", address) }
        };
        record.instances = (1..=3).map(instance).collect();
        let mut new = instance(4);
        (new.ready, new.warm_up_start) = (Some(UnixMillis::new(4_000)), Some(START));
        new.warm_up = Some(WarmUp::new(WINDOW).unwrap());
        let mut due = 0.0;
        for request in 0..3_000_u32 {
            let age = f64::from(request) / 3_000.0;
            due += share(age);
            if due >= 1.0 {
                due -= 1.0;
                new.executions.push((request.to_string(), START + WINDOW.mul_f64(age)));
            }
        }
        record.instances.push(new);
        record
    }

    fn rmse(share: impl Fn(f64) -> f64) -> f64 {
        worst_rmse_percent(&scale_out(share)).unwrap()
    }

    #[test]
    fn the_measure_tells_the_ramp_from_a_line_and_from_none() {
        assert!(rmse(|age| age.powi(2) / (3.0 + age.powi(2))) < 1.5);
        let line = rmse(|age| age / (3.0 + age));
        assert!((18.0..26.0).contains(&line), "{line}");
        let none = rmse(|_| 0.25);
        assert!((66.0..72.0).contains(&none), "{none}");
    }

    #[test]
    fn what_came_before_the_start_of_the_ramp_is_in_no_bin() {
        let mut record = scale_out(|age| age.powi(2) / (3.0 + age.powi(2)));
        let before = worst_rmse_percent(&record);
        record.instances[3].executions.extend((0..500).map(|n| (n.to_string(), UnixMillis::new(4_999))));
        assert_eq!(worst_rmse_percent(&record), before);
    }

    #[test]
    fn weights_follow_the_life_of_an_instance() {
        let mut record = scale_out(|_| 0.0);
        let new = &mut record.instances[3];
        new.signalled = Some(UnixMillis::new(16_000));
        for (at, weight) in [(3_999, 0.0), (4_500, 0.01), (10_000, 0.25), (15_500, 1.0), (16_000, 0.0)] {
            assert_eq!(ideal_weight(new, UnixMillis::new(at)), weight, "{at}");
        }
        let (from, until) = (UnixMillis::new(15_000), UnixMillis::new(16_000));
        let count = ideal_count(&record, &record.instances[3], from, until);
        assert!((count - RATE / 4.0).abs() < 1e-6, "{count}");
    }
}
