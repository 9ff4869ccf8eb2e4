//! Numbering a recording: which of its rows are known, which are new, and which differ from what an
//! earlier version of it has.

use std::collections::{HashMap, HashSet};

use theatre_actors::ports::{Error, Result};

use super::group::{KnownRows, copies};
use super::table::{KnownRow, RecordingIndex, Series, StoredRobot};
use super::{Bounds, Identity, RowKey};

/// A counter that skips more than this has begun anew rather than lost rows.
const HOLE_MAX: i64 = 10_000;

/// One recording on its way through the index: first every row is surveyed, then numbered, both in
/// order of time.
pub struct Numbering<'a> {
    index: &'a mut RecordingIndex,
    /// First number of a robot that the index does not know.
    first_number: &'a dyn Fn(&str) -> Result<i64>,
    dataset: i64,
    recording: i64,
    /// Whether a person said which recording this is.
    is_named: bool,
    robots: Vec<RobotState>,
    by_name: HashMap<String, usize>,
    /// Robots whose state differs from what the file has.
    changed: Vec<usize>,
}

struct RobotState {
    stored: StoredRobot,
    /// The last row's counter.
    counter: Option<i64>,
    /// The greatest known event time of the robot in this dataset: rows above it are new.
    known_to: Option<i64>,
    /// First and last event time of this recording, and how many of its rows are known.
    surveyed: Option<(i64, i64)>,
    rows: i64,
    matched: i64,
    /// Whether so many of its rows are known that it must be an earlier one, corrected.
    corrects: bool,
    /// Whether the state differs from what the file has.
    is_changed: bool,
}

impl RobotState {
    fn is_known_at(&self, time: i64) -> bool {
        self.known_to.is_some_and(|known_to| time <= known_to)
    }
}

impl RecordingIndex {
    /// Begins to number a recording of a dataset. `name` is what a person calls it; without one its
    /// rows say whether it is known. `first_number` says from where a robot is numbered that the
    /// index does not know.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn begin<'a>(
        &'a mut self,
        dataset: &str,
        name: Option<&str>,
        first_number: &'a dyn Fn(&str) -> Result<i64>,
    ) -> Result<Numbering<'a>> {
        Ok(Numbering {
            first_number,
            dataset: self.id("dataset", dataset)?,
            recording: self.id("recording", name.unwrap_or_default())?,
            is_named: name.is_some(),
            robots: Vec::new(),
            by_name: HashMap::new(),
            changed: Vec::new(),
            index: self,
        })
    }
}

impl Numbering<'_> {
    /// Begins a part of the recording that is surveyed and numbered for itself, such as what has
    /// come through a pipe so far.
    pub fn begin_piece(&mut self) {
        for robot in &mut self.robots {
            let numbered_to = robot.surveyed.take().map(|(_, to)| to);
            robot.known_to = robot.known_to.max(numbered_to);
            (robot.rows, robot.matched, robot.corrects) = (0, 0, false);
        }
    }

    /// Looks at rows before they are numbered, to find out whether this is a known recording,
    /// corrected. `rows` are in order of time, and no later call has rows of a time that this one
    /// has.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn survey(&mut self, rows: &[RowKey<'_>]) -> Result<()> {
        self.write(|numbering| {
            let order = by_time_and_robot(rows);
            for group in order.chunk_by(|left, right| is_one_group(rows, *left, *right)) {
                let first = rows[group[0]];
                let at = numbering.place(first.robot)?;
                let known = numbering.known(at, first.time)?;
                let distinct: HashSet<_> = copies(rows, group).into_iter().collect();
                let matched = distinct.iter().filter(|row| known.number(**row).is_some());
                let matched = matched.count() as i64;
                let robot = &mut numbering.robots[at];
                robot.rows += distinct.len() as i64;
                robot.matched += matched;
                let from = robot.surveyed.map_or(first.time, |(from, _)| from);
                robot.surveyed = Some((from, first.time));
            }
            Ok(())
        })
    }

    /// Ends the survey: a recording that has at least half of the rows that are known of a robot in
    /// the same span of time is an earlier one, corrected.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn end_survey(&mut self) -> Result<()> {
        self.write(|numbering| {
            for at in 0..numbering.robots.len() {
                let robot = &numbering.robots[at];
                let Some((from, to)) = robot.surveyed else {
                    continue;
                };
                if robot.matched > 0 {
                    let series = numbering.series(at);
                    let known = numbering.index.count_between(series, from, to)?;
                    let robot = &mut numbering.robots[at];
                    robot.corrects = robot.matched * 2 >= known;
                }
                let robot = &numbering.robots[at];
                if robot.rows > robot.matched && !robot.stored.open {
                    numbering.change(at).open = true;
                }
            }
            Ok(())
        })
    }

    /// Gives rows their numbers, and keeps them before it returns. `rows` are in order of time, and
    /// no later call has rows of a time that this one has.
    ///
    /// # Errors
    /// When the index cannot be written: then nothing of this call is kept.
    pub fn number(&mut self, rows: &[RowKey<'_>]) -> Result<Vec<Identity>> {
        self.write(|numbering| numbering.identify(rows))
    }

    /// Gives rows their numbers, hands them to `send`, and keeps them when that has succeeded: for
    /// records without a number, which the pipeline cannot tell from those that it has. A process
    /// that is killed in between sends the rows of one call twice.
    ///
    /// # Errors
    /// When `send` fails or the index cannot be written: then nothing of this call is kept.
    pub fn number_after<T, E: From<Error>>(
        &mut self,
        rows: &[RowKey<'_>],
        send: impl FnOnce(Vec<Identity>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.write(|numbering| send(numbering.identify(rows)?))
    }

    fn identify(&mut self, rows: &[RowKey<'_>]) -> Result<Vec<Identity>> {
        let mut identities = vec![Identity::Conflict; rows.len()];
        let order = by_time_and_robot(rows);
        for group in order.chunk_by(|left, right| is_one_group(rows, *left, *right)) {
            self.number_group(rows, group, &mut identities)?;
        }
        Ok(identities)
    }

    /// The numbers of the events around a robot's rows. They are those of before when all of its
    /// rows are known and were ended: nothing is to be begun or ended anew.
    ///
    /// # Errors
    /// When the index cannot be read or written.
    pub fn bounds(&mut self, robot: &str) -> Result<Bounds> {
        let at = self.place(robot)?;
        let robot = &self.robots[at].stored;
        let part = if robot.open {
            robot.parts
        } else {
            robot.parts - 1
        };
        Ok(Bounds {
            started: part * 2,
            ended: part * 2 + 1,
        })
    }

    /// Says that the ends of all robots are in the log.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn end(mut self) -> Result<()> {
        for at in 0..self.robots.len() {
            if self.robots[at].stored.open {
                let robot = self.change(at);
                robot.open = false;
                robot.parts += 1;
            }
        }
        self.write(|_| Ok(()))
    }

    /// Runs `work` and keeps it with the states of all robots, in one transaction.
    fn write<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        self.index.begin_write()?;
        let done = work(self).and_then(|done| {
            self.keep_robots()?;
            self.index.commit()?;
            Ok(done)
        });
        if done.is_err() {
            self.index.roll_back();
        }
        done
    }

    /// Numbers the rows of one robot at one time.
    fn number_group(
        &mut self,
        rows: &[RowKey<'_>],
        group: &[usize],
        identities: &mut [Identity],
    ) -> Result<()> {
        let first = rows[group[0]];
        let place = self.place(first.robot)?;
        let mut known = self.known(place, first.time)?;
        let copies = copies(rows, group);
        let mut unknown = Vec::new();
        for (at, row) in group.iter().zip(copies) {
            match known.take(row) {
                Some(number) => {
                    identities[*at] = Identity::Known(number);
                    if rows[*at].counter.is_some() {
                        self.robots[place].counter = rows[*at].counter;
                    }
                }
                None => unknown.push((*at, row)),
            }
        }
        let recording = self.recording;
        let (series, corrects) = (self.series(place), self.robots[place].corrects);
        let is_earlier = |row: &KnownRow| corrects || self.is_named && row.recording == recording;
        let mut others = known.left(is_earlier);
        let mut conflicts = HashSet::new();
        for (at, (content, copy)) in unknown {
            // Another file of the recording has brought it.
            if let Some(number) = known.number((content, copy)) {
                identities[at] = Identity::Known(number);
                continue;
            }
            // What an earlier version of the recording had here stays.
            if others > 0 || conflicts.contains(&(content, copy)) {
                others -= usize::from(conflicts.insert((content, copy)));
                continue;
            }
            let row = rows[at];
            let number = self.next_number(place, row.counter)?;
            let added = KnownRow {
                content,
                copy,
                number,
                recording,
            };
            self.index.add(series, row.time, &added)?;
            known.add(&added);
            identities[at] = Identity::New(number);
        }
        Ok(())
    }

    /// The number of a new row. Where the robot's own counter skips some, as many numbers are left
    /// out, so that they count as missing; a correction that brings them later gets these.
    fn next_number(&mut self, place: usize, counter: Option<i64>) -> Result<i64> {
        let id = self.robots[place].stored.id;
        let may_fill = self.is_named || self.robots[place].corrects;
        if let Some(missing) = counter.filter(|_| may_fill)
            && let Some(number) = self.index.take_hole(id, missing)?
        {
            self.robots[place].counter = counter;
            return Ok(number);
        }
        let last = std::mem::replace(&mut self.robots[place].counter, counter);
        let skipped = match (last, counter) {
            (Some(last), Some(counter)) => counter.saturating_sub(last).saturating_sub(1),
            _ => 0,
        };
        // A counter that goes back or jumps far has begun anew.
        let skipped = if (1..=HOLE_MAX).contains(&skipped) {
            skipped
        } else {
            0
        };
        let robot = self.change(place);
        let from = robot.next;
        robot.next = from + skipped + 1;
        for hole in 0..skipped {
            let counter = last.unwrap_or(0) + 1 + hole;
            self.index.leave_hole(id, counter, from + hole)?;
        }
        Ok(from + skipped)
    }

    /// The rows that are known of a robot at a time.
    fn known(&self, place: usize, time: i64) -> Result<KnownRows> {
        let rows = if self.robots[place].is_known_at(time) {
            self.index.known_at(self.series(place), time)?
        } else {
            Vec::new()
        };
        Ok(KnownRows::new(rows))
    }

    fn series(&self, place: usize) -> Series {
        Series {
            robot: self.robots[place].stored.id,
            dataset: self.dataset,
        }
    }

    /// The place of a robot's state, which is read from the index or begun.
    fn place(&mut self, name: &str) -> Result<usize> {
        if let Some(at) = self.by_name.get(name) {
            return Ok(*at);
        }
        let stored = self.index.robot(name, || (self.first_number)(name))?;
        let series = Series {
            robot: stored.id,
            dataset: self.dataset,
        };
        self.robots.push(RobotState {
            stored,
            counter: None,
            known_to: self.index.known_to(series)?,
            surveyed: None,
            rows: 0,
            matched: 0,
            corrects: false,
            is_changed: false,
        });
        self.by_name.insert(name.to_owned(), self.robots.len() - 1);
        Ok(self.robots.len() - 1)
    }

    /// A robot as the file will have it with the next write.
    fn change(&mut self, at: usize) -> &mut StoredRobot {
        let robot = &mut self.robots[at];
        if !robot.is_changed {
            robot.is_changed = true;
            self.changed.push(at);
        }
        &mut robot.stored
    }

    fn keep_robots(&mut self) -> Result<()> {
        for at in self.changed.drain(..) {
            let robot = &mut self.robots[at];
            self.index.keep_robot(&robot.stored)?;
            robot.is_changed = false;
        }
        Ok(())
    }
}

/// Indices of the rows, those of one robot and time beside each other.
fn by_time_and_robot(rows: &[RowKey<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|left, right| {
        let (left, right) = (&rows[*left], &rows[*right]);
        (left.time, left.robot).cmp(&(right.time, right.robot))
    });
    order
}

fn is_one_group(rows: &[RowKey<'_>], left: usize, right: usize) -> bool {
    rows[left].time == rows[right].time && rows[left].robot == rows[right].robot
}
