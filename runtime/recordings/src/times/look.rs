//! Which forms a sample of times could have.

use std::sync::Arc;

use super::civil::{self, Order};
use super::number::{self, UNITS};
use super::rules::TimeRules;
use super::{TimeFault, Times};
use crate::mapping::Mapping;
use crate::records::Cell;

/// A form that all times of a sample have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Value of `time_format`; none: it needs none.
    pub time_format: Option<&'static str>,
    /// Whether `time_zone` must be given.
    pub needs_zone: bool,
    /// Whether `time_start` must be given.
    pub needs_start: bool,
    /// Whether letters such as CET stand for the zone, so that it cannot be assumed.
    pub has_letters: bool,
}

/// The forms that all of these times could have, the likeliest first; none when they are no times.
/// Several forms are a question to the user: nothing in the sample tells them apart.
pub fn forms(samples: &[&str]) -> Vec<Form> {
    let samples: Vec<&str> = samples.iter().map(|text| text.trim()).collect();
    if samples.is_empty() {
        return Vec::new();
    }
    let form = |time_format, needs_zone, needs_start| Form {
        time_format,
        needs_zone,
        needs_start,
        has_letters: false,
    };
    let reads = |order: Option<Order>| {
        let read = samples.iter().map(|text| civil::read(text, order));
        read.collect::<Result<Vec<_>, _>>().ok()
    };
    let mut forms = Vec::new();
    if let Some(time_format) = compact(&samples) {
        return vec![form(Some(time_format), true, false)];
    }
    let is_number = |text: &&str| crate::cells::decimal::Decimal::parse(text).is_some();
    if samples.iter().all(is_number) {
        for unit in UNITS {
            let is_ours = |text: &&str| {
                let cell = Cell::Text((*text).to_owned());
                let nanos = number::nanos(&cell, text, unit.nanos, '.');
                nanos.is_some_and(|nanos| number::micros(nanos).is_ok_and(number::is_ours))
            };
            if samples.iter().all(is_ours) {
                forms.push(form(Some(unit.epoch), false, false));
            }
        }
        if forms.is_empty() {
            forms.extend(
                UNITS
                    .iter()
                    .map(|unit| form(Some(unit.elapsed), false, true)),
            );
        }
        return forms;
    }
    for (order, time_format) in [
        (None, None),
        (Some(Order::Day), Some("day_first")),
        (Some(Order::Month), Some("month_first")),
        (Some(Order::Year), Some("year_first")),
    ] {
        if let Some(read) = reads(order) {
            let needs_zone = read.iter().any(|civil| civil.zone.is_none());
            forms.push(Form {
                has_letters: read.iter().any(|civil| civil.letters.is_some()),
                ..form(time_format, needs_zone, false)
            });
            if order.is_none() {
                return forms;
            }
        }
    }
    if samples.iter().all(|text| civil::duration(text).is_some()) {
        forms.push(form(Some("elapsed_hms"), false, true));
    }
    forms
}

/// The pattern of dates and times that are written without anything between their parts, which no
/// epoch of our days looks like.
fn compact(samples: &[&str]) -> Option<&'static str> {
    let patterns = [
        (12, "%Y%m%d%H%M"),
        (14, "%Y%m%d%H%M%S"),
        (17, "%Y%m%d%H%M%S%f"),
    ];
    let (_, pattern) = patterns
        .into_iter()
        .find(|(length, _)| samples.iter().all(|text| text.len() == *length))?;
    let is_time = |text: &&str| {
        let of = |range: std::ops::Range<usize>| text.get(range)?.parse::<i8>().ok();
        let read = || {
            let year = text
                .get(..4)?
                .parse()
                .ok()
                .filter(|year| (1990..2100).contains(year))?;
            jiff::civil::Date::new(year, of(4..6)?, of(6..8)?).ok()?;
            let second = if text.len() > 12 { of(12..14)? } else { 0 };
            jiff::civil::Time::new(of(8..10)?, of(10..12)?, second, 0).ok()
        };
        text.bytes().all(|byte| byte.is_ascii_digit()) && read().is_some()
    };
    samples.iter().all(is_time).then_some(pattern)
}

/// Reads one text by a mapping's rules, microseconds since 1970-01-01T00:00:00Z: for showing what
/// a mapping would make of it.
///
/// # Errors
/// Why it cannot be read.
pub fn example(mapping: &Mapping, text: &str) -> Result<i64, String> {
    let rules = Arc::new(TimeRules::new(mapping)?);
    let cell = Cell::Text(text.to_owned());
    let times = Times {
        date: None,
        time: Some(&cell),
        nanos: None,
    };
    let read = super::Clock::new(rules).read(&times, "");
    read.map_err(|fault: TimeFault| fault.kind(None))
}
