//! Moments on the command line.

/// A date or a time, as microseconds UTC.
pub(super) fn moment(text: &str) -> Result<i64, String> {
    let of_date = |date: jiff::civil::Date| date.to_zoned(jiff::tz::TimeZone::UTC);
    let day = text.parse::<jiff::civil::Date>().ok();
    let at = match day.filter(|_| text.len() == 10) {
        Some(date) => of_date(date).ok().map(|zoned| zoned.timestamp()),
        None => text.parse::<jiff::Timestamp>().ok(),
    };
    at.map(|at| at.as_microsecond()).ok_or_else(|| {
        "a date such as 2026-01-31, or a time such as 2026-01-31T08:00:00Z".to_owned()
    })
}
