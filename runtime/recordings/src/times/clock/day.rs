//! Times that count from a start: across midnight, and when the count begins anew.

const HOUR: i128 = 3_600_000_000_000;
const DAY: i128 = 24 * HOUR;

/// Times of day of one robot, in the order of its rows.
#[derive(Debug, Default)]
pub(super) struct DayClock {
    /// Midnights that were passed, in nanoseconds.
    passed: i128,
    last: Option<i128>,
    before_last: Option<i128>,
    /// The last row was the first one after a midnight.
    is_new_day: bool,
}

impl DayClock {
    /// A time, with the days that went by. It falls by more than half a day at midnight, unless the
    /// row before, or this one, is alone with a wrong time.
    pub(super) fn take(&mut self, time: i128) -> i128 {
        let is_far = |from: i128, to: i128| from - to > DAY / 2 && from < DAY;
        let mut is_new_day = false;
        if let Some(last) = self.last {
            let was_alone = self.before_last.is_some_and(|before| is_far(last, before));
            if is_far(last, time) && !was_alone {
                self.passed += DAY;
                is_new_day = true;
            } else if self.is_new_day && is_far(time, last) {
                self.passed -= DAY;
            }
        }
        self.is_new_day = is_new_day;
        self.before_last = self.last.replace(time);
        self.passed + time
    }
}

/// A count of one robot, in the order of its rows.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// First and greatest number since it began.
    span: Option<(i128, i128)>,
    /// How often it fell back by more than half of what it had counted.
    pub(super) falls: u64,
    /// From where to where it did so first.
    pub(super) first_fall: Option<(i128, i128)>,
}

impl Count {
    pub(super) fn take(&mut self, number: i128) {
        let Some((first, most)) = self.span else {
            self.span = Some((number, number));
            return;
        };
        if (most - number) * 2 > most - first && most > first {
            self.falls += 1;
            self.first_fall.get_or_insert((most, number));
            self.span = Some((number, number));
        } else {
            self.span = Some((first, most.max(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(times: &[i128]) -> Vec<i128> {
        let mut clock = DayClock::default();
        let taken = times.iter().map(|hours| clock.take(hours * HOUR) / HOUR);
        taken.collect()
    }

    #[test]
    fn times_of_day_go_on_after_midnight_and_one_wrong_time_is_no_midnight() {
        assert_eq!(
            hours(&[22, 23, 0, 1, 12, 23, 0]),
            [22, 23, 24, 25, 36, 47, 48]
        );
        assert_eq!(hours(&[8, 23, 8, 9]), [8, 23, 8, 9]);
        assert_eq!(hours(&[20, 1, 20, 21]), [20, 25, 20, 21]);
        // A count of hours, and a file that runs backwards.
        assert_eq!(hours(&[1, 30, 55, 2]), [1, 30, 55, 2]);
        assert_eq!(hours(&[9, 8, 7]), [9, 8, 7]);
    }

    #[test]
    fn a_count_that_begins_anew_is_seen_and_one_that_runs_backwards_is_not() {
        let falls = |numbers: &[i128]| {
            let mut count = Count::default();
            numbers.iter().for_each(|number| count.take(*number));
            (count.falls, count.first_fall)
        };
        assert_eq!(falls(&[0, 1, 2, 0, 1, 2, 0]), (2, Some((2, 0))));
        assert_eq!(falls(&[5, 4, 3, 2]), (0, None));
        assert_eq!(falls(&[0, 10, 20, 19, 21]), (0, None));
    }
}
