//! How long things take, in buckets.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds, each with how it is written in seconds: from what an answer
/// from memory takes to what a disk or a slow network does.
const BOUNDS: [(u64, &str); 13] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];

/// Counts of durations. Recording is three atomic additions at most, and no lock.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Of each bucket alone; what is longer than all of them is in `count` only.
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BOUNDS.iter().position(|(bound, _)| us <= *bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
        self.count.fetch_add(1, Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    /// Writes its series as Prometheus' text; `label` is empty, or as in `api="list"`.
    pub(super) fn write(&self, out: &mut String, name: &str, label: &str) -> fmt::Result {
        let comma = if label.is_empty() { "" } else { "," };
        let mut so_far = 0;
        for ((_, bound), bucket) in BOUNDS.iter().zip(&self.buckets) {
            so_far += bucket.load(Relaxed);
            writeln!(out, r#"{name}_bucket{{{label}{comma}le="{bound}"}} {so_far}"#)?;
        }
        // Read last, and never below the buckets: whoever records meanwhile counts in both or in neither.
        let count = self.count.load(Relaxed).max(so_far);
        let braced = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        let sum = Duration::from_micros(self.sum_us.load(Relaxed)).as_secs_f64();
        writeln!(out, r#"{name}_bucket{{{label}{comma}le="+Inf"}} {count}"#)?;
        writeln!(out, "{name}_sum{braced} {sum}")?;
        writeln!(out, "{name}_count{braced} {count}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_what_is_longer_than_all_counts_too() {
        let histogram = Histogram::default();
        assert!(histogram.is_empty());
        for us in [100, 101, 5_000_001] {
            histogram.record(Duration::from_micros(us));
        }
        let mut text = String::new();
        histogram.write(&mut text, "took_seconds", r#"api="a""#).unwrap();
        for line in [
            r#"took_seconds_bucket{api="a",le="0.0001"} 1"#,
            r#"took_seconds_bucket{api="a",le="0.00025"} 2"#,
            r#"took_seconds_bucket{api="a",le="5"} 2"#,
            r#"took_seconds_bucket{api="a",le="+Inf"} 3"#,
            r#"took_seconds_sum{api="a"} 5.000202"#,
            r#"took_seconds_count{api="a"} 3"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let mut text = String::new();
        histogram.write(&mut text, "took_seconds", "").unwrap();
        assert!(
            text.contains("took_seconds_bucket{le=\"1\"} 2\n") && text.contains("took_seconds_count 3\n")
        );
    }

    #[test]
    fn bounds_rise_and_are_written_as_what_they_are() {
        assert!(BOUNDS.is_sorted_by(|(a, _), (b, _)| a < b));
        for (us, seconds) in BOUNDS {
            assert_eq!(seconds.parse::<f64>().unwrap(), Duration::from_micros(us).as_secs_f64());
        }
    }
}
