//! Traffic over time as a picture: where lines, their letters, the marks of both axes and events stand. Pure:
//! plain series come in, places go out; `pages/chart.html` writes them as SVG.
//!
//! The plot is stretched to whatever width there is while letters keep their size, so the places of lines are
//! in units of their own (a second across, a hundredth of the height down), and those of letters in percent.
//! No line is known by its colour alone: each has a letter, and what it should be is dashed.

use super::moment::Clock;
use serde::Serialize;
use std::fmt::Write as _;

/// Lines in one picture: as many as can be told apart.
pub(super) const LINES_MAX: usize = 8;
/// Least distance of the numbers of two events, in percent of the width: two digits at 400 pixels.
const MARK_DISTANCE: f64 = 5.0;
/// Least distances of two letters, in percent of the width and of the height.
const LETTER_DISTANCES: (f64, f64) = (4.5, 8.0);
/// Seconds that a picture shows at least.
const WIDTH_MIN: u64 = 60;
/// Seconds before the first one of which something is known.
const BEFORE: u64 = 3;
/// Seconds that a picture may show for its marks of time to be those of half minutes.
const SHORT: u64 = 150;
/// Events that are written out under the picture.
const EVENTS_MAX: usize = 60;
/// Over how many seconds to each side the ideal is averaged: it is a part of what came in all, which jumps from
/// second to second, and dashes that jump cannot be read.
const SMOOTHED_OVER: u64 = 5;

/// The traffic of one instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) name: String,
    /// Requests that began in each second since 1970 in which there were some, by time.
    pub(super) measured: Vec<(u64, f64)>,
    /// What each second should have had, as far as it is known.
    pub(super) ideal: Vec<(u64, f64)>,
    /// The last second of which something is known.
    pub(super) until: u64,
    /// Whether it has ended with that second, so that it has had no requests since.
    pub(super) ended: bool,
}

/// Something that happened, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    pub(super) at: u64,
    /// To whom.
    pub(super) name: String,
    /// What, as a person reads it.
    pub(super) what: String,
}

/// A picture.
#[derive(Debug)]
pub(super) struct Chart {
    /// What it shows, for whoever does not see it.
    pub(super) about: String,
    /// Seconds from its left to its right edge.
    pub(super) width: u64,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<Mark>,
    /// Events that are older than those that are marked.
    pub(super) unmarked: usize,
    pub(super) across: Vec<Tick>,
    pub(super) up: Vec<Tick>,
}

/// What an instance has had, and what it should have had.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) letter: char,
    pub(super) name: String,
    /// Path in seconds and hundredths.
    pub(super) measured: String,
    pub(super) ideal: String,
    /// Where its letter stands, in percent.
    pub(super) x: f64,
    pub(super) y: f64,
    /// In the last second.
    pub(super) last: f64,
    pub(super) highest: f64,
}

/// Events that are near each other, under one number.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) number: usize,
    /// Where the number stands, and where each of the events, in percent.
    pub(super) x: f64,
    pub(super) places: Vec<f64>,
    pub(super) events: Vec<Event>,
}

/// A mark of an axis, in percent.
#[derive(Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) text: String,
}

impl Chart {
    /// The seconds from `from` on, `until` included, or as many of the last ones as there is something to show of.
    /// Of more than [`LINES_MAX`] series the first are drawn.
    pub(super) fn draw(series: &[Series], mut events: Vec<Event>, from: u64, until: u64) -> Self {
        let from = begin(series, &events, from, until);
        let width = until.saturating_sub(from).max(1);
        let drawn = &series[..series.len().min(LINES_MAX)];
        let shown: Vec<_> =
            drawn.iter().map(|series| (series, series.seconds(from, until), series.smooth())).collect();
        let values =
            shown.iter().flat_map(|(_, measured, ideal)| measured.iter().chain(ideal)).map(|(_, v)| *v);
        let (top, step) = scale(values.fold(0.0, f64::max));
        let path = |points: &[(u64, f64)]| path(points, from, top);
        let mut lines: Vec<Line> = shown
            .iter()
            .zip('A'..)
            .map(|((series, measured, ideal), letter)| {
                let (second, value) = letter_at(measured, series.ended);
                Line {
                    letter,
                    name: series.name.clone(),
                    measured: path(measured),
                    ideal: path(
                        &ideal
                            .iter()
                            .copied()
                            .filter(|(s, _)| (from..=until).contains(s))
                            .collect::<Vec<_>>(),
                    ),
                    x: percent(second.saturating_sub(from) as f64, width as f64),
                    y: 100.0 - percent(value, top),
                    last: measured.last().map_or(0.0, |(_, value)| *value),
                    highest: measured.iter().map(|(_, value)| *value).fold(0.0, f64::max),
                }
            })
            .collect();
        part_letters(&mut lines);
        events.retain(|event| (from..=until).contains(&(event.at / 1000)));
        events.sort_by_key(|event| event.at);
        let unmarked = events.len().saturating_sub(EVENTS_MAX);
        let marks = marks(events.split_off(unmarked), from, width);
        let across = minutes(from, until, width);
        let up = heights(top, step);
        Self { about: about(&lines, &marks, top), width, lines, marks, unmarked, across, up }
    }
}

impl Series {
    /// Every second from its first in the picture on: one that is missing had no requests.
    fn seconds(&self, from: u64, until: u64) -> Vec<(u64, f64)> {
        let measured = self.measured.iter().filter(|(second, _)| (from..=until).contains(second));
        let ideal = self.ideal.iter().find(|(second, value)| *second >= from && *value > 0.0);
        let first = measured
            .clone()
            .map(|(second, _)| *second)
            .next()
            .into_iter()
            .chain(ideal.map(|(second, _)| *second))
            .min();
        let Some(first) = first else { return Vec::new() };
        let mut measured = measured.peekable();
        let value = |second| measured.next_if(|(known, _)| *known == second).map_or(0.0, |(_, value)| *value);
        let until = (self.until + u64::from(self.ended)).min(until); // Which shows it fall to zero.
        let values: Vec<f64> = (first..=until).map(value).collect();
        (first..).zip(values).collect()
    }

    /// The ideal without its jumps, for as long as it had a share.
    fn smooth(&self) -> Vec<(u64, f64)> {
        let ideal: Vec<_> = self.ideal.iter().filter(|(_, value)| *value > 0.0).collect();
        let ends = ideal.first().zip(ideal.last()).map_or((0, 0), |((first, _), (last, _))| (*first, *last));
        let around = |(second, _): &&(u64, f64)| {
            // As far to one side as to the other, or a ramp would not begin where it does.
            let over = SMOOTHED_OVER.min(second - ends.0).min(ends.1 - second);
            let near = ideal.iter().filter(|(other, _)| other.abs_diff(*second) <= over);
            let (count, sum) = near.fold((0.0, 0.0), |(count, sum), (_, value)| (count + 1.0, sum + value));
            (*second, sum / count)
        };
        ideal.iter().map(around).collect()
    }
}

/// The first second of a picture: a little before anything is known, so that a service that has just started does
/// not stand in its corner.
fn begin(series: &[Series], events: &[Event], from: u64, until: u64) -> u64 {
    let known = series.iter().flat_map(|series| series.measured.iter().map(|(second, _)| *second));
    let first =
        known.chain(events.iter().map(|event| event.at / 1000)).filter(|second| *second >= from).min();
    let latest = until.saturating_sub(WIDTH_MIN).max(from);
    first.map_or(latest, |first| first.saturating_sub(BEFORE)).clamp(from, latest)
}

/// Where the letter of a line stands: at its end, or where it last took requests before it fell to zero.
fn letter_at(points: &[(u64, f64)], ended: bool) -> (u64, f64) {
    let end = points.last().copied().unwrap_or_default();
    let taking = points.iter().rfind(|(_, value)| *value > 0.0).copied();
    // Of one that has not ended, a few seconds without a request are no end either.
    taking.filter(|(second, _)| ended || end.0 - second > 3).unwrap_or(end)
}

/// Moves letters up or down until none covers another.
fn part_letters(lines: &mut [Line]) {
    for at in 0..lines.len() {
        let (before, rest) = lines.split_at_mut(at);
        let line = &mut rest[0];
        let (dx, dy) = LETTER_DISTANCES;
        let is_free =
            |y: f64| !before.iter().any(|other| (other.x - line.x).abs() < dx && (other.y - y).abs() < dy);
        let steps = (0..2 * LINES_MAX)
            .map(|step| (step / 2 + step % 2) as f64 * if step % 2 == 0 { dy } else { -dy });
        let places = steps.map(|step| line.y + step).filter(|y| (0.0..=100.0).contains(y));
        if let Some(free) = places.into_iter().find(|y| is_free(*y)) {
            line.y = free;
        }
    }
}

/// A path through points, without those that lie between two of the same height.
fn path(points: &[(u64, f64)], from: u64, top: f64) -> String {
    let (mut path, mut before): (String, Option<u64>) = (String::new(), None);
    for (at, (second, value)) in points.iter().enumerate() {
        let same = |other: Option<&(u64, f64)>, distance: i64| {
            other.is_some_and(|(s, v)| v == value && *s == second.saturating_add_signed(distance))
        };
        if at > 0 && same(points.get(at - 1), -1) && same(points.get(at + 1), 1) {
            before = Some(*second);
            continue;
        }
        let go = if before == Some(second.saturating_sub(1)) { 'L' } else { 'M' };
        let y = 100.0 - percent(*value, top);
        let _ = write!(path, "{go}{} {}", second.saturating_sub(from), rounded(y)); // Writing to text does not fail.
        before = Some(*second);
    }
    path
}

/// Events under numbers that stand apart.
fn marks(events: Vec<Event>, from: u64, width: u64) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for event in events {
        let place = rounded(percent(event.at as f64 / 1000.0 - from as f64, width as f64));
        let near = marks.last_mut().filter(|mark| place - mark.x < MARK_DISTANCE);
        let Some(mark) = near else {
            let number = marks.len() + 1;
            marks.push(Mark { number, x: place, places: vec![place], events: vec![event] });
            continue;
        };
        if mark.places.last() != Some(&place) {
            mark.places.push(place);
        }
        mark.events.push(event);
    }
    marks
}

/// The highest value of an axis that has room for `highest`, and the step of its marks: 1, 2 or 5 of some power of
/// ten, at most five of them.
fn scale(highest: f64) -> (f64, f64) {
    let highest = if highest.is_finite() { highest.max(1.0) } else { 1.0 };
    let power = 10_f64.powf((highest / 5.0).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| step * 5.0 >= highest);
    let step = step.unwrap_or(highest);
    ((highest / step).ceil() * step, step)
}

fn heights(top: f64, step: f64) -> Vec<Tick> {
    // Steps are whole numbers or tenths: without the rounding 0.2 three times is 0.6000000000000001.
    let values = (0..=5).map(|count| rounded(f64::from(count) * step)).take_while(|value| *value <= top);
    values.map(|value| Tick { at: rounded(100.0 - percent(value, top)), text: format!("{value}") }).collect()
}

/// Whole minutes of the clock, or half ones.
fn minutes(from: u64, until: u64, width: u64) -> Vec<Tick> {
    let (step, letters) = if width > SHORT { (60, 5) } else { (30, 8) };
    let tick = |second: u64| Tick {
        at: rounded(percent((second - from) as f64, width as f64)),
        text: Clock(second * 1000).to_string()[..letters].to_owned(),
    };
    (from.div_ceil(step)..=until / step).map(|count| tick(count * step)).collect()
}

fn percent(part: f64, whole: f64) -> f64 {
    (part / whole * 100.0).clamp(0.0, 100.0)
}

/// To a tenth: more makes the page long and nothing better.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn about(lines: &[Line], marks: &[Mark], top: f64) -> String {
    let mut about = format!("Requests a second, from 0 to {top}.");
    for Line { letter, name, last, highest, .. } in lines {
        let _ = write!(about, " {letter}, {name}: {highest} at most, {last} in the last second.");
    }
    let events = marks.iter().map(|mark| mark.events.len()).sum::<usize>();
    let _ = write!(about, " {events} events are marked, and listed below.");
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, measured: &[(u64, f64)], until: u64) -> Series {
        Series { name: name.to_owned(), measured: measured.to_vec(), until, ..Series::default() }
    }

    fn event(s: u64) -> Event {
        Event { at: s * 1000, name: "10.0.0.7:80".to_owned(), what: "left".to_owned() }
    }

    #[test]
    fn a_second_without_requests_is_drawn_as_none_until_the_last_report() {
        let line = series("a", &[(1000, 10.0), (1001, 10.0), (1002, 10.0), (1003, 10.0), (1005, 5.0)], 1009);
        let chart = Chart::draw(&[line], Vec::new(), 1000, 1010);
        assert_eq!(chart.lines[0].measured, "M0 0L3 0L4 100L5 50L6 100L9 100");
        assert_eq!(
            (chart.lines[0].x, chart.lines[0].y),
            (50.0, 50.0),
            "the letter stays where requests came"
        );
        assert_eq!((chart.lines[0].last, chart.lines[0].highest), (0.0, 10.0));
    }

    #[test]
    fn one_that_has_ended_falls_to_zero() {
        let drawn = |ended| {
            let line = Series { ended, ..series("a", &[(1000, 10.0), (1001, 10.0)], 1001) };
            Chart::draw(&[line], Vec::new(), 1000, 1010).lines.remove(0).measured
        };
        assert_eq!((drawn(false).as_str(), drawn(true).as_str()), ("M0 0L1 0", "M0 0L1 0L2 100"));
    }

    #[test]
    fn an_instance_that_should_have_had_requests_and_had_none_is_a_line_at_zero() {
        let idle = Series { ideal: vec![(1002, 4.0), (1003, 4.0)], until: 1005, ..Series::default() };
        let chart = Chart::draw(&[idle], Vec::new(), 1000, 1010);
        assert_eq!(chart.lines[0].measured, "M2 100L5 100");
        assert_eq!(chart.lines[0].ideal, "M2 0L3 0");
    }

    #[test]
    fn a_gap_in_what_should_have_been_is_a_gap_in_the_picture() {
        let ideal = vec![(1000, 5.0), (1001, 5.0), (1020, 5.0)];
        let chart =
            Chart::draw(&[Series { ideal, until: 1020, ..Series::default() }], Vec::new(), 1000, 1020);
        assert_eq!(chart.lines[0].ideal, "M0 0L1 0M20 0");
    }

    #[test]
    fn a_ramp_without_jumps_is_drawn_as_it_is() {
        let ideal: Vec<_> = (0..=20).map(|n| (1000 + n, 1.0 + n as f64)).collect();
        assert_eq!(Series { ideal: ideal.clone(), ..Series::default() }.smooth(), ideal);
    }

    #[test]
    fn letters_never_cover_each_other() {
        let same: Vec<_> =
            (0..LINES_MAX + 3).map(|n| series(&n.to_string(), &[(1000, 5.0), (1001, 5.0)], 1001)).collect();
        let lines = Chart::draw(&same, Vec::new(), 1000, 1010).lines;
        assert_eq!(lines.len(), LINES_MAX);
        for (at, line) in lines.iter().enumerate() {
            assert!((0.0..=100.0).contains(&line.y));
            let near = lines[..at].iter().find(|other| (other.y - line.y).abs() < LETTER_DISTANCES.1);
            assert!(near.is_none(), "{line:?} covers {near:?}");
        }
    }

    #[test]
    fn events_that_are_near_each_other_share_a_number() {
        let events = [1000, 1002, 1002, 1090, 2000].map(event).to_vec();
        let chart = Chart::draw(&[], events, 1000, 1100);
        let marks: Vec<_> = chart.marks.iter().map(|mark| (mark.number, mark.x, mark.events.len())).collect();
        assert_eq!(marks, [(1, 0.0, 3), (2, 90.0, 1)], "what is outside of the picture is no mark");
        assert_eq!(chart.marks[0].places, [0.0, 2.0]);
        let many: Vec<_> = (0..EVENTS_MAX as u64 + 5).map(|s| event(1000 + s)).collect();
        let chart = Chart::draw(&[], many, 1000, 1100);
        assert_eq!(chart.unmarked, 5);
        assert_eq!(chart.marks[0].events[0].at, 1_005_000, "the oldest are left out");
        assert!(chart.marks.windows(2).all(|pair| pair[1].x - pair[0].x >= MARK_DISTANCE));
    }

    #[test]
    fn the_axis_has_few_round_steps_and_room_for_all() {
        for (highest, expected) in [
            (0.0, (1.0, 0.2)),
            (3.0, (3.0, 1.0)),
            (7.0, (8.0, 2.0)),
            (99.0, (100.0, 20.0)),
            (101.0, (150.0, 50.0)),
            (f64::NAN, (1.0, 0.2)),
        ] {
            let (top, step) = scale(highest);
            assert!(
                (top - expected.0).abs() < 1e-9 && (step - expected.1).abs() < 1e-9,
                "{highest}: {top} {step}"
            );
        }
        let up = heights(100.0, 50.0);
        assert_eq!(
            up.iter().map(|tick| (tick.at, tick.text.as_str())).collect::<Vec<_>>(),
            [(100.0, "0"), (50.0, "50"), (0.0, "100")]
        );
        let across = minutes(59, 240, 181);
        assert_eq!(across[0], Tick { at: 0.6, text: "00:01".to_owned() });
        assert_eq!(across.len(), 4);
        let across = minutes(59, 120, 61);
        assert_eq!(
            across.iter().map(|tick| tick.text.as_str()).collect::<Vec<_>>(),
            ["00:01:00", "00:01:30", "00:02:00"]
        );
    }

    #[test]
    fn a_picture_begins_shortly_before_anything_is_known() {
        let width =
            |first: u64| Chart::draw(&[series("a", &[(first, 1.0)], 1300)], Vec::new(), 1000, 1300).width;
        assert_eq!([900, 1000, 1100, 1290].map(width), [60, 300, 203, 60]);
        let chart = Chart::draw(&[], vec![event(1100)], 1000, 1300);
        assert_eq!((chart.width, chart.marks[0].x), (203, 1.5));
    }

    #[test]
    fn nothing_to_draw_is_an_empty_picture() {
        let chart = Chart::draw(&[series("a", &[], 1010)], Vec::new(), 1000, 1010);
        assert_eq!(chart.lines[0].measured, "");
        assert_eq!(Chart::draw(&[], Vec::new(), 1000, 1000).width, 1);
    }
}
