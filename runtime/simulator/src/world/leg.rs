//! A leg of a case: its time on one robot, and the samples that the robot measures in it.

use std::sync::Arc;

use super::component::{PARTS, Wear};
use super::dice::Dice;
use super::records::{Content, Fact};
use super::robot::Counter;
use super::settings::Sampling;
use super::telemetry::{Label, Moment, Signals};

/// A leg of a case.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) robot: usize,
    pub(super) label: Arc<Label>,
    /// Start and length of the whole case.
    pub(super) case: (i64, i64),
    /// Begin and end on this robot.
    pub(super) span: (i64, i64),
    /// Wear at both.
    pub(super) wear: (Wear, Wear),
    /// When a part fails, and its error code.
    pub(super) failure: Option<(i64, i32)>,
    sampling: Sampling,
    signals: Signals,
    /// The next sample.
    next: i64,
    /// The next sample that the signals have not seen.
    measured: i64,
}

/// What is known of a leg when it begins.
pub(super) struct Course {
    pub(super) case: (i64, i64),
    pub(super) span: (i64, i64),
    pub(super) wear: (Wear, Wear),
    pub(super) failure: Option<(i64, i32)>,
}

impl Leg {
    /// A leg that begins.
    pub(super) fn new(
        robot: usize,
        label: Label,
        course: Course,
        sampling: Sampling,
        mut dice: Dice,
    ) -> Self {
        let label = Arc::new(label);
        let ambient = dice.uniform(20.5, 23.0);
        let mut leg = Self {
            robot,
            signals: Signals::new(label.clone(), ambient, dice),
            label,
            case: course.case,
            span: course.span,
            wear: course.wear,
            failure: course.failure,
            sampling,
            next: 0,
            measured: 0,
        };
        while leg.time(leg.next) < leg.span.0 {
            leg.next += 1;
        }
        leg.measured = leg.next;
        leg
    }

    /// When a sample is taken.
    fn time(&self, index: i64) -> i64 {
        self.case.0
            + match self.sampling {
                Sampling::PerCase(count) => {
                    (i128::from(index) * i128::from(self.case.1) / i128::from(count)) as i64
                }
                Sampling::Every(interval) => index * interval,
            }
    }

    /// True when all of its samples were taken.
    pub(super) fn is_over(&self) -> bool {
        self.time(self.next) >= self.span.1
    }

    /// Takes the samples before `until`; without `facts` they are only counted.
    pub(super) fn sample(
        &mut self,
        counter: &mut Counter,
        until: i64,
        mut facts: Option<&mut Vec<Fact>>,
    ) {
        let until = until.min(self.span.1);
        loop {
            let time = self.time(self.next);
            if time >= until {
                return;
            }
            let numbers = counter.next(time);
            self.next += 1;
            if let Some(facts) = &mut facts {
                // Signals depend on the samples before, also on those that were only counted.
                while self.measured + 1 < self.next {
                    let moment = self.moment(self.time(self.measured));
                    self.signals.measure(&moment, (0, 0, 0));
                    self.measured += 1;
                }
                let sample = self.signals.measure(&self.moment(time), numbers);
                self.measured = self.next;
                facts.push(Fact {
                    time,
                    key: self.label.robot_id.clone(),
                    event_id: String::new(),
                    content: Content::Telemetry(Box::new(sample)),
                });
            }
        }
    }

    fn moment(&self, time: i64) -> Moment {
        let part = |(begin, length): (i64, i64)| (time - begin) as f64 / length.max(1) as f64;
        let share = part((self.span.0, self.span.1 - self.span.0));
        let between =
            |index: usize| self.wear.0[index] + (self.wear.1[index] - self.wear.0[index]) * share;
        let mut wear: Wear = [0.0; PARTS];
        for (index, wear) in wear.iter_mut().enumerate() {
            *wear = between(index);
        }
        Moment {
            time,
            share: part(self.case),
            wear,
            failed: match self.failure {
                Some((at, code)) if at <= time => code,
                _ => 0,
            },
        }
    }
}
