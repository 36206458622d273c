//! How a new instance comes to its share: under this crate's balancer, under power of two choices by
//! `(in flight + 1) / weight`, and without a ramp.
//!
//! ```console
//! $ cargo run --release --features full --example ramp
//! ```
//!
//! simulates two warm instances that are joined by a new one (30 consumers with 10 requests a second each,
//! 20 ms a request, warm-up of 120 s, in virtual time: it takes a second), prints how well each follows the
//! curve, and draws `target/ramp.svg`. Our line lies on the curve, within what chance does to counted
//! requests; the second stays near nothing until the new instance is nearly warm, for while everyone is idle
//! an instance of little weight looks busy; the third jumps to a full share.

// The unit tests of the balancer measure with the same file.
#[path = "../src/consumer/endpoints/simulation/fit.rs"]
mod fit;

use fit::Fit;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, advance};
use tower_graceful::BoxError;
use tower_graceful::consumer::Balance;
use tower_graceful::model::{Instance, Metadata, Snapshot, UnixMillis, WarmUp, WarmUpAge, key};
use tower_graceful::naming::Publisher;

const CONSUMERS: usize = 30;
/// Requests per second of all of them.
const RATE: f64 = 300.0;
const LATENCY: Duration = Duration::from_millis(20);
/// The warm-up, and a while beyond.
const SECONDS: u32 = 140;
/// Of the three, the one that is new.
const NEW: usize = 2;

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let ours = runtime.block_on(balanced(WarmUp::default()))?;
    let without = runtime.block_on(balanced(WarmUp::NONE))?;
    let by_load = runtime.block_on(by_load_and_weight());
    let lines = [
        Line { class: "ours", words: "tower-graceful", fit: ours },
        Line { class: "load", words: "p2c by (in flight + 1) / weight", fit: by_load },
        Line { class: "none", words: "no ramp", fit: without },
    ];
    let file = Path::new("target").join("ramp.svg");
    std::fs::create_dir_all("target")?;
    std::fs::write(&file, draw(&lines))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:34}{:>14}{:>9}{:>10}", "", "RMSE (chance)", "bias", "chi2/df")?;
    for Line { words, fit, .. } in &lines {
        let (chi_square, freedom) = fit.chi_square();
        let (rmse, floor, bias) = (fit.rmse(), fit.floor(), 100.0 * fit.bias());
        writeln!(out, "{words:34}{rmse:>6.1} ({floor:.1}){bias:>8.1} %{:>10.2}", chi_square / freedom)?;
    }
    writeln!(out, "one standard deviation of the bias: {:.1} %", 100.0 * lines[0].fit.sigma())?;
    writeln!(out, "drawn: {}", file.display())?;
    Ok(())
}

/// What the new instance gets from this crate's balancer when it ramps along `curve`.
async fn balanced(curve: WarmUp) -> Result<Fit, BoxError> {
    fastrand::seed(1);
    let (publisher, snapshots) = Publisher::new("orders".parse()?);
    let addresses = ["10.0.0.7:8080", "10.0.0.8:8080", "10.0.0.9:8080"];
    let mut instances = Vec::new();
    for address in addresses {
        instances.push(Instance::new(address.parse()?));
    }
    publisher.publish(Snapshot::new("orders".parse()?, 1, instances[..NEW].to_vec()));
    let consumers: Vec<_> = (0..CONSUMERS).map(|_| Balance::new(snapshots.clone(), |_| ())).collect();
    for consumer in &consumers {
        consumer.pick()?; // From here on it watches: what appears later is timed by the news of it.
    }

    let metadata: Metadata = curve.to_metadata().into_iter().collect();
    let begun = metadata.with(key::WARM_UP_START, UnixMillis::new(1_732_060_800_000));
    instances[NEW] = instances[NEW].clone().with_metadata(begun);
    let new = instances[NEW].address().clone();
    publisher.publish(Snapshot::new("orders".parse()?, 2, instances));
    let mut under_way = VecDeque::new();
    let arrivals = simulate(|now, consumer, _| {
        while under_way.front().is_some_and(|(until, _)| *until <= now) {
            under_way.pop_front();
        }
        let pick = consumers[consumer].pick().ok()?;
        let chosen = *pick.instance().address() == new;
        under_way.push_back((now + LATENCY, pick)); // A pick counts as in flight until it is dropped.
        Some(chosen)
    });
    Ok(fit(arrivals.await))
}

/// The same from the usual weighted form of power of two choices.
async fn by_load_and_weight() -> Fit {
    let mut under_way: VecDeque<(Duration, (usize, usize))> = VecDeque::new();
    let arrivals = simulate(|now, consumer, chance| {
        while under_way.front().is_some_and(|(until, _)| *until <= now) {
            under_way.pop_front();
        }
        let load = |index: usize| {
            let in_flight = under_way.iter().filter(|(_, call)| *call == (consumer, index)).count() as f64;
            (in_flight + 1.0) / if index == NEW { weight(now.as_secs_f64()) } else { 1.0 }
        };
        let one = chance.usize(..3);
        let other = (one + chance.usize(1..3)) % 3;
        let chosen = if load(other) < load(one) { other } else { one };
        under_way.push_back((now + LATENCY, (consumer, chosen)));
        Some(chosen == NEW)
    });
    fit(arrivals.await)
}

/// The moments of those requests for which `choose` took the new instance.
async fn simulate(
    mut choose: impl FnMut(Duration, usize, &mut fastrand::Rng) -> Option<bool>,
) -> Vec<Duration> {
    let (start, mut chance, mut arrivals) = (Instant::now(), fastrand::Rng::with_seed(2), Vec::new());
    while start.elapsed() < Duration::from_secs(SECONDS.into()) {
        let gap = Duration::from_secs_f64(-(1.0 - chance.f64()).ln() / RATE);
        advance(gap).await;
        let (now, consumer) = (start.elapsed(), chance.usize(..CONSUMERS));
        arrivals.extend(choose(now, consumer, &mut chance).filter(|new| *new).map(|_| now));
    }
    arrivals
}

fn weight(age: f64) -> f64 {
    WarmUp::default().factor(WarmUpAge::Running(Duration::from_secs_f64(age)))
}

fn fit(arrivals: Vec<Duration>) -> Fit {
    Fit::new(arrivals.into_iter(), SECONDS, RATE, |age| weight(age) / (2.0 + weight(age)))
}

struct Line {
    class: &'static str,
    words: &'static str,
    fit: Fit,
}

/// Where the plot begins and ends in the picture, left and right, bottom and top.
const PLOT_X: (f64, f64) = (60.0, 920.0);
const PLOT_Y: (f64, f64) = (360.0, 56.0);
/// What the height of the plot shows, in fair loads: a third of all requests each.
const MOST: f64 = 1.3;
/// Each point of a line is the mean of so many seconds.
const SMOOTH: usize = 2;

/// Colours by class; no variables, which not every viewer of SVG knows.
const STYLE: &str = "
text { fill: #1f2933; font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
path { fill: none; stroke-width: 1.6; }
.paper { fill: #ffffff; } .axis { stroke: #d8dee4; } .ideal { stroke: #1f2933; stroke-dasharray: 5 4; }
.ours { stroke: #3aa58a; } .load { stroke: #b4540a; } .none { stroke: #a9b7c6; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6eaee; }
  .paper { fill: #14181d; } .axis { stroke: #39434e; } .ideal { stroke: #e6eaee; }
  .ours { stroke: #4cc2a3; } .load { stroke: #f2a154; } .none { stroke: #5d7089; }
}
";

/// The lines over time, and the curve that they ought to follow.
fn draw(lines: &[Line]) -> String {
    let mut shapes = String::new();
    axes(&mut shapes);
    let mut legend = PLOT_X.0;
    let ideal = lines[0].fit.bins().map(|(_, expected)| expected).collect::<Vec<_>>();
    let curves = lines.iter().map(|line| {
        (line.class, line.words, line.fit.bins().map(|(counted, _)| counted).collect::<Vec<_>>())
    });
    for (class, words, counts) in curves.chain([("ideal", "the curve", ideal)]) {
        shapes.push_str(&path(class, &counts));
        let _ = write!(shapes, "<path class=\"{class}\" d=\"M{legend} 26h26\"/>"); // A string takes all.
        let _ = writeln!(shapes, "<text x=\"{}\" y=\"30\">{words}</text>", legend + 32.0);
        legend += 64.0 + 7.0 * words.len() as f64;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 400\" role=\"img\">\n\
         <title>Requests per second at a new instance during its warm-up</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{shapes}</svg>\n"
    )
}

/// Lines for nothing, half and all of a fair load, and a mark each 20 s.
fn axes(shapes: &mut String) {
    for (load, words) in [(0.0, "0"), (0.5, "half"), (1.0, "fair")] {
        let y = y(load);
        let _ = writeln!(shapes, "<path class=\"axis\" d=\"M{} {y:.1}H{}\"/>", PLOT_X.0, PLOT_X.1);
        let _ = writeln!(shapes, "<text x=\"20\" y=\"{:.1}\">{words}</text>", y + 4.0);
    }
    for second in (0..=SECONDS).step_by(20) {
        let x = x(second.into());
        let _ = writeln!(shapes, "<text x=\"{x:.1}\" y=\"380\" text-anchor=\"middle\">{second} s</text>");
    }
}

fn path(class: &str, counts: &[f64]) -> String {
    let mut points = String::new();
    for (index, seconds) in counts.chunks(SMOOTH).enumerate() {
        let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
        let (x, y) = (x((index as f64 + 0.5) * SMOOTH as f64), y(mean / (RATE / 3.0)));
        let _ = write!(points, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    format!("<path class=\"{class}\" d=\"{points}\"/>\n")
}

fn x(second: f64) -> f64 {
    PLOT_X.0 + (PLOT_X.1 - PLOT_X.0) * second / f64::from(SECONDS)
}

fn y(load: f64) -> f64 {
    PLOT_Y.0 + (PLOT_Y.1 - PLOT_Y.0) * (load / MOST).min(1.0)
}
