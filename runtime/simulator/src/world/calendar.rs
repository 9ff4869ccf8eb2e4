//! Days and hours: event time is in microseconds UTC, days are counted from 1970-01-01.

/// A second, microseconds.
pub const SECOND_US: i64 = 1_000_000;
/// A minute, microseconds.
pub const MINUTE_US: i64 = 60 * SECOND_US;
/// An hour, microseconds.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// A day, microseconds.
pub const DAY_US: i64 = 24 * HOUR_US;

/// The day on which a moment lies.
pub fn day_of(time: i64) -> i64 {
    time.div_euclid(DAY_US)
}

/// Number of a day of the Gregorian calendar.
pub fn day(year: i64, month: i64, day_of_month: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, month) = (shifted.div_euclid(400), (month + 9) % 12);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day_of_month - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the month.
pub fn date(day_number: i64) -> (i64, i64, i64) {
    let mut year = 1970 + day_number.div_euclid(366);
    while day(year + 1, 1, 1) <= day_number {
        year += 1;
    }
    let month = (1..=12)
        .rev()
        .find(|month| day(year, *month, 1) <= day_number)
        .unwrap_or(1);
    (year, month, day_number - day(year, month, 1) + 1)
}

/// Day of the week, from 0, a Monday.
pub fn weekday(day_number: i64) -> i64 {
    (day_number + 3).rem_euclid(7)
}

/// True on 1 January, 4 July, 25 December and the fourth Thursday of November.
pub fn is_holiday(day_number: i64) -> bool {
    match date(day_number) {
        (_, 1, 1) | (_, 7, 4) | (_, 12, 25) => true,
        (_, 11, 22..=28) => weekday(day_number) == 3,
        _ => false,
    }
}

/// How many cases a day has, in proportion to an ordinary working day.
pub fn busyness(day_number: i64) -> f64 {
    match weekday(day_number) {
        _ if is_holiday(day_number) => 0.15,
        5 => 0.25,
        6 => 0.15,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{date, day, is_holiday, weekday};

    #[test]
    fn days_have_dates_and_weekdays() {
        assert_eq!(day(1970, 1, 1), 0);
        assert_eq!(day(2023, 1, 1), 19_358);
        assert_eq!(day(2025, 1, 1) - day(2023, 1, 1), 731);
        for number in day(1999, 12, 1)..day(2032, 2, 1) {
            let (year, month, of_month) = date(number);
            assert_eq!(day(year, month, of_month), number);
        }
        assert_eq!(date(day(2024, 2, 29)), (2024, 2, 29));
        assert_eq!(weekday(day(2023, 1, 1)), 6, "a Sunday");
        assert!(is_holiday(day(2024, 11, 28)) && !is_holiday(day(2024, 11, 21)));
        assert!(is_holiday(day(2023, 11, 23)) && !is_holiday(day(2023, 11, 30)));
    }
}
