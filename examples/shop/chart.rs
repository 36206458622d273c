//! A picture of a release: requests per second of each instance over time, the ideal ramp beside them.
//!
//! One strip for each instance, all on one axis of time and one scale, so that the work can be seen to
//! pass from one to the next; below them what failed. The picture needs nothing but itself, and follows
//! the reader's choice of light or dark.

use super::ramp::{BIN, ideal_count};
use super::record::{Instance, Record};
use std::fmt::Write;
use std::time::Duration;
use tower_graceful::model::UnixMillis;

/// Width of the picture. Units here are those of the picture's own grid.
const WIDTH: f64 = 960.0;
/// Where time begins and ends on the x axis; left of it stand the names, right of it the scale.
const PLOT: (f64, f64) = (120.0, 905.0);
/// Height of a strip's plot.
const STRIP: f64 = 54.0;
/// Room above a strip's plot for the labels of its events.
const LABELS: f64 = 22.0;
/// Height of the strip of failures.
const FAILURES: f64 = 28.0;
/// Size of text; a title is larger.
const TEXT: f64 = 12.0;
const TITLE: f64 = 17.0;
/// The widest that letters of a system font get on average, as a part of their size.
const LETTER: f64 = 0.58;
/// Room between two labels.
const GAP: f64 = 10.0;
/// The ideal is drawn with a point at each of these spans.
const IDEAL_STEP: Duration = Duration::from_millis(200);

/// Colours by class; no variables, which not every viewer of SVG knows.
const STYLE: &str = "
text { fill: #1f2933; font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
.title { font-size: 17px; font-weight: 600; }
.soft { fill: #66727f; }
.paper { fill: #ffffff; }
.line { stroke: #d8dee4; fill: none; }
.old { fill: #a9b7c6; }
.new { fill: #3aa58a; }
.lost { fill: #c62f3b; }
.ideal { stroke: #b4540a; stroke-width: 1.6; stroke-dasharray: 5 4; fill: none; }
.event { stroke: #1f2933; stroke-width: 1.2; fill: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6eaee; }
  .soft { fill: #97a3af; }
  .paper { fill: #14181d; }
  .line { stroke: #39434e; }
  .old { fill: #5d7089; }
  .new { fill: #2b9a7e; }
  .lost { fill: #ff6b74; }
  .ideal { stroke: #f2a154; }
  .event { stroke: #e6eaee; }
}
";

/// Draws `records` one below the other.
pub fn draw(records: &[&Record]) -> String {
    let mut sheet = Sheet::default();
    sheet.legend();
    for record in records {
        sheet.release(record);
    }
    sheet.into_svg(records)
}

/// The picture as it grows downwards.
#[derive(Default)]
struct Sheet {
    shapes: String,
    texts: Vec<Text>,
    height: f64,
}

/// A line of text with its place, so that tests can see whether any two overlap.
#[derive(Clone, Debug)]
struct Text {
    x: f64,
    baseline: f64,
    size: f64,
    anchor: Anchor,
    class: &'static str,
    words: String,
}

#[derive(Clone, Copy, Debug)]
enum Anchor {
    Start,
    Middle,
}

impl Sheet {
    fn legend(&mut self) {
        let y = 26.0;
        let mut x = PLOT.0;
        let entries = [("old", "old release"), ("new", "new release"), ("lost", "failed requests")];
        for (class, words) in entries {
            self.rect(class, x, y - 10.0, 12.0, 12.0);
            x = self.text(x + 18.0, y, TEXT, Anchor::Start, "", words.to_owned()) + 24.0;
        }
        self.shape(format_args!(r#"<path class="ideal" d="M{x:.1} {:.1}h26"/>"#, y - 4.0));
        x = self.text(x + 32.0, y, TEXT, Anchor::Start, "", "what its weight calls for".to_owned()) + 24.0;
        self.text(x, y, TEXT, Anchor::Start, "soft", "each strip: requests per second".to_owned());
        self.height = y + 8.0;
    }

    fn release(&mut self, record: &Record) {
        let axis = Axis::of(record);
        self.text(24.0, self.height + 34.0, TITLE, Anchor::Start, "title", headline(record));
        self.height += 44.0;
        for instance in &record.instances {
            self.strip(record, instance, &axis);
        }
        self.failures(record, &axis);
        self.times(&axis);
    }

    fn strip(&mut self, record: &Record, instance: &Instance, axis: &Axis) {
        let (top, bottom) = (self.height + LABELS, self.height + LABELS + STRIP);
        let class = if record.is_new(instance) { "new" } else { "old" };
        let name = format!("{} :{}", instance.release, instance.address.port());
        self.text(24.0, bottom - STRIP / 2.0 + 4.0, TEXT, Anchor::Start, "", name);
        self.scale(axis, bottom);
        let mut area = format!("M{:.1} {bottom:.1}", PLOT.0);
        for (from, until) in axis.bins() {
            let rate = instance.executed_between(from, until) as f64 / until.since(from).as_secs_f64();
            let (x, y, end) = (axis.x(from), axis.y(rate, bottom), axis.x(until));
            let _ = write!(area, "L{x:.1} {y:.1}H{end:.1}"); // Writing to a string cannot fail.
        }
        self.shape(format_args!(r#"<path class="{class}" d="{area}V{bottom:.1}Z"/>"#));
        self.shape(format_args!(r#"<path class="ideal" d="{}"/>"#, ideal(record, instance, axis, bottom)));
        self.events(record, instance, axis, top, bottom);
        self.height = bottom;
    }

    /// The line of zero, and a thin one with its number at the fair load of all old instances together.
    fn scale(&mut self, axis: &Axis, bottom: f64) {
        let y = axis.y(axis.fair, bottom);
        for y in [y, bottom] {
            self.shape(format_args!(r#"<path class="line" d="M{:.1} {y:.1}H{:.1}"/>"#, PLOT.0, PLOT.1));
        }
        let number = format!("{:.0}/s", axis.fair);
        self.text(PLOT.1 + 8.0, y + 4.0, TEXT, Anchor::Start, "soft", number);
    }

    fn events(&mut self, record: &Record, instance: &Instance, axis: &Axis, top: f64, bottom: f64) {
        let events = events(record, instance);
        let wanted: Vec<(f64, f64)> =
            events.iter().map(|(at, words)| (axis.x(*at), width(words, TEXT))).collect();
        for ((at, words), place) in events.into_iter().zip(placed(&wanted, PLOT)) {
            let x = axis.x(at);
            self.shape(format_args!(r#"<path class="event" d="M{x:.1} {:.1}V{bottom:.1}"/>"#, top - 4.0));
            self.text(place, top - 7.0, TEXT, Anchor::Start, "", words);
        }
    }

    fn failures(&mut self, record: &Record, axis: &Axis) {
        let bottom = self.height + LABELS + FAILURES;
        let counts: Vec<_> = axis
            .bins()
            .map(|bin| {
                let within = |at: &UnixMillis| (bin.0..bin.1).contains(at);
                (bin, record.failures().filter(|(answer, _)| within(&answer.due)).count())
            })
            .collect();
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        for ((from, until), count) in counts.iter().filter(|(_, count)| *count > 0) {
            let height = FAILURES * *count as f64 / most as f64;
            self.rect("lost", axis.x(*from), bottom - height, axis.x(*until) - axis.x(*from), height);
        }
        self.shape(format_args!(r#"<path class="line" d="M{:.1} {bottom:.1}H{:.1}"/>"#, PLOT.0, PLOT.1));
        self.text(24.0, bottom - FAILURES / 2.0 + 4.0, TEXT, Anchor::Start, "", "failed".to_owned());
        if most > 0 {
            let number = format!("{most}/s");
            self.text(PLOT.1 + 8.0, bottom - FAILURES + 8.0, TEXT, Anchor::Start, "soft", number);
        }
        self.height = bottom;
    }

    fn times(&mut self, axis: &Axis) {
        let span = axis.until.since(axis.from);
        let wide_enough = |step: &u64| span.as_secs_f64() / *step as f64 <= 12.0;
        let step = [1, 2, 5, 10, 20, 50, 100].into_iter().find(wide_enough).unwrap_or(200);
        let (top, y) = (self.height, self.height + 17.0);
        for second in (0..=span.as_secs()).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let x = axis.x(axis.from + Duration::from_secs(second));
            self.shape(format_args!(r#"<path class="line" d="M{x:.1} {top:.1}v4"/>"#));
            self.text(x, y, TEXT, Anchor::Middle, "soft", format!("{second} s"));
        }
        self.height = y + 14.0;
    }

    fn text(&mut self, x: f64, y: f64, size: f64, anchor: Anchor, class: &'static str, words: String) -> f64 {
        let text = Text { x, baseline: y, size, anchor, class, words };
        let right = text.right();
        self.texts.push(text);
        right
    }

    fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        let size = format!(r#"x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}""#);
        self.shape(format_args!(r#"<rect class="{class}" {size}/>"#));
    }

    fn shape(&mut self, shape: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.shapes, "{shape}"); // Writing to a string cannot fail.
    }

    fn into_svg(self, records: &[&Record]) -> String {
        let height = self.height + 6.0;
        let title = "A rolling release under load: requests per second of each instance";
        let said: Vec<String> = records.iter().map(|record| headline(record)).collect();
        let texts: String = self.texts.iter().map(Text::to_svg).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
             aria-labelledby=\"title desc\">\n<title id=\"title\">{title}</title>\n\
             <desc id=\"desc\">{}</desc>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{}{texts}</svg>\n",
            escaped(&said.join("; ")),
            self.shapes,
        )
    }
}

impl Text {
    fn to_svg(&self) -> String {
        let anchor = match self.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
        };
        format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"{}\" text-anchor=\"{anchor}\">{}</text>\n",
            self.x,
            self.baseline,
            self.class,
            escaped(&self.words),
        )
    }

    fn left(&self) -> f64 {
        match self.anchor {
            Anchor::Start => self.x,
            Anchor::Middle => self.x - width(&self.words, self.size) / 2.0,
        }
    }

    fn right(&self) -> f64 {
        self.left() + width(&self.words, self.size)
    }
}

/// Where moments and rates lie in the picture.
struct Axis {
    from: UnixMillis,
    until: UnixMillis,
    /// The load of one of the instances that the release began with.
    fair: f64,
    most: f64,
}

impl Axis {
    fn of(record: &Record) -> Self {
        let old = record.instances.iter().filter(|instance| !record.is_new(instance)).count();
        let fair = record.rate / old.max(1) as f64;
        let mut axis = Self { from: record.began, until: record.ended, fair, most: fair };
        let rates = |instance: &Instance| {
            let counts = axis.bins().map(|(from, until)| {
                instance.executed_between(from, until) as f64 / until.since(from).as_secs_f64()
            });
            counts.fold(0.0, f64::max)
        };
        axis.most = record.instances.iter().map(rates).fold(fair, f64::max) * 1.05;
        axis
    }

    /// Whole bins from the first request on.
    fn bins(&self) -> impl Iterator<Item = (UnixMillis, UnixMillis)> {
        let starts = std::iter::successors(Some(self.from), |from| Some(*from + BIN));
        starts.map(|from| (from, from + BIN)).take_while(|(_, until)| *until <= self.until)
    }

    fn x(&self, at: UnixMillis) -> f64 {
        let span = self.until.since(self.from).as_secs_f64().max(f64::EPSILON);
        let part = at.since(self.from).as_secs_f64() / span;
        PLOT.0 + (PLOT.1 - PLOT.0) * part.clamp(0.0, 1.0)
    }

    fn y(&self, rate: f64, bottom: f64) -> f64 {
        bottom - STRIP * (rate / self.most).clamp(0.0, 1.0)
    }
}

/// The ideal as a path, drawn only while it calls for anything.
fn ideal(record: &Record, instance: &Instance, axis: &Axis, bottom: f64) -> String {
    let moments = std::iter::successors(Some(axis.from), |at| Some(*at + IDEAL_STEP));
    let (mut path, mut drawing) = (String::new(), false);
    for at in moments.take_while(|at| *at < axis.until) {
        let rate = ideal_count(record, instance, at, at + IDEAL_STEP) / IDEAL_STEP.as_secs_f64();
        let (x, y) = (axis.x(at + IDEAL_STEP / 2), axis.y(rate, bottom));
        if rate > 0.0 {
            let command = if drawing { 'L' } else { 'M' };
            let _ = write!(path, "{command}{x:.1} {y:.1}"); // Writing to a string cannot fail.
        }
        drawing = rate > 0.0;
    }
    path
}

/// What happened to an instance during the release, with its words, in order of time.
fn events(record: &Record, instance: &Instance) -> Vec<(UnixMillis, String)> {
    let mut events = Vec::new();
    if let Some(ready) = instance.ready.filter(|_| record.is_new(instance)) {
        events.push((ready, "ready".to_owned()));
    }
    if let Some((curve, start)) = instance.warm_up.zip(instance.warm_up_start) {
        events.push((start + curve.window(), "warm".to_owned()));
    }
    if let Some((signalled, drain)) = instance.signalled.zip(instance.drain()) {
        let requests = instance.after_signal().unwrap_or(0);
        let plural = if requests == 1 { "" } else { "s" };
        let seconds = drain.as_secs_f64();
        let words = format!("SIGTERM, {requests} more request{plural}, gone after {seconds:.2} s");
        events.push((signalled, words));
    }
    events.retain(|(at, _)| *at <= record.ended);
    events.sort_by_key(|(at, _)| *at);
    events
}

/// Places labels of these (x, width) so that none overlaps its neighbour and all end within `plot`: each
/// where it is wanted, else further right, and what then sticks out at the right is moved back.
fn placed(wanted: &[(f64, f64)], plot: (f64, f64)) -> Vec<f64> {
    let mut places = Vec::with_capacity(wanted.len());
    let mut free = plot.0;
    for (x, width) in wanted {
        let place = x.max(free);
        places.push(place);
        free = place + width + GAP;
    }
    let mut limit = plot.1;
    for (place, (_, width)) in places.iter_mut().zip(wanted).rev() {
        *place = place.min(limit - width);
        limit = *place - GAP;
    }
    places
}

fn headline(record: &Record) -> String {
    let (sent, failed) = (record.answers.len(), record.failures().count());
    let twice = record.executed_twice();
    format!("{}: {sent} requests, {failed} failed, {twice} executed twice", record.title)
}

fn width(words: &str, size: f64) -> f64 {
    words.chars().count() as f64 * size * LETTER
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::record::{Answer, Failure};
    use super::*;
    use proptest::prelude::*;
    use tower_graceful::model::WarmUp;

    fn at(second: f64) -> UnixMillis {
        UnixMillis::new(0) + Duration::from_secs_f64(second)
    }

    /// Three old instances handed over to three new ones, each after a warm-up of this many seconds.
    fn release(warm_up: f64, title: &'static str) -> Record {
        let mut record = Record::new(title, 300.0, at(0.0));
        let address = |port| ([127, 0, 0, 1], port).into();
        for old in 0..3_u16 {
            let signal = 3.0 + (warm_up + 1.0) * f64::from(old + 1);
            let mut instance = Instance::new("v1", address(40_001 + old));
            instance.ready = Some(at(0.0));
            (instance.signalled, instance.exited) = (Some(at(signal)), Some(at(signal + 0.6)));
            record.instances.push(instance);
        }
        for new in 0..3_u16 {
            let start = 3.0 + (warm_up + 1.0) * f64::from(new) + 0.3;
            let mut instance = Instance::new("v2", address(40_011 + new));
            (instance.ready, instance.warm_up_start) = (Some(at(start)), Some(at(start + 0.2)));
            instance.warm_up = WarmUp::new(Duration::from_secs_f64(warm_up)).ok();
            record.instances.push(instance);
        }
        record.ended = at(3.0 + (warm_up + 1.0) * 3.0 + 3.0);
        let outcome = Err(Failure::Status(502));
        record.answers = vec![Answer::to_a_read(at(5.0), Duration::from_millis(1), outcome)];
        record
    }

    fn texts(records: &[&Record]) -> (Vec<Text>, f64) {
        let mut sheet = Sheet::default();
        sheet.legend();
        for record in records {
            sheet.release(record);
        }
        (sheet.texts, sheet.height)
    }

    /// Top and bottom of a line of text.
    fn height(text: &Text) -> (f64, f64) {
        (text.baseline - 0.8 * text.size, text.baseline + 0.25 * text.size)
    }

    fn are_apart(one: &Text, other: &Text) -> bool {
        let (height, other_height) = (height(one), height(other));
        let beside = one.right() <= other.left() || other.right() <= one.left();
        beside || height.1 <= other_height.0 || other_height.1 <= height.0
    }

    #[test]
    fn no_two_texts_overlap_and_none_leaves_the_picture() {
        for warm_up in [0.5, 1.0, 2.0, 10.0, 120.0] {
            let (ours, plain) = (release(warm_up, "tower-graceful"), release(warm_up, "plain axum"));
            let (texts, drawn) = texts(&[&ours, &plain]);
            for (n, text) in texts.iter().enumerate() {
                let (top, bottom) = height(text);
                assert!(text.left() >= 0.0 && text.right() <= WIDTH, "{text:?}");
                assert!(top >= 0.0 && bottom <= drawn, "{text:?}");
                for other in &texts[n + 1..] {
                    assert!(are_apart(text, other), "{warm_up} s: {text:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn the_picture_says_what_it_shows_and_escapes_words() {
        let svg = draw(&[&release(10.0, "a < b & c")]);
        assert!(svg.contains("<title id=") && svg.contains("1 requests, 1 failed, 0 executed twice"));
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("a < b"));
        assert!(svg.contains("prefers-color-scheme: dark"));
        assert_eq!(svg.matches("gone after 0.60 s").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn an_empty_record_can_be_drawn() {
        let svg = draw(&[&Record::new("nothing", 300.0, at(0.0))]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    proptest! {
        #[test]
        fn labels_that_fit_into_a_strip_never_overlap(
            mut wanted in prop::collection::vec((120.0..905.0, 10.0..180.0), 0..4),
        ) {
            wanted.sort_by(|(a, _): &(f64, f64), (b, _)| a.total_cmp(b));
            let places = placed(&wanted, PLOT);
            for (n, (place, (_, width))) in places.iter().zip(&wanted).enumerate() {
                prop_assert!(*place >= PLOT.0 && place + width <= PLOT.1 + 1e-9);
                if let Some(next) = places.get(n + 1) {
                    prop_assert!(place + width + GAP <= next + 1e-9);
                }
            }
        }
    }
}
