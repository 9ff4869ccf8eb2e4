//! Which row is which: the index of the rows that recordings have brought.
//!
//! The number of a row within its file says nothing: a file is cut, joined, sorted, compressed,
//! corrected. So a row is known by what it says: its robot, its dataset, its event time and the hash
//! of its content; equal ones are told apart by how many came before. The index gives every row a
//! number, which is consecutive for each robot over all recordings. A known row gets the number it
//! had, a new one the next; all are sent to the log under their numbers, and the duplicate check of
//! the pipeline drops what it has. So a replay that was killed at any moment is simply run again.
//!
//! **Invariant:** numbers are committed here before their rows are appended to the log; a number is
//! never given to two rows.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use theatre_actors::ports::{Error, Result};

const WHAT: &str = "index of recordings";
/// How long one process waits for another's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// A counter that skips more than this has begun anew rather than lost rows.
const HOLE_MAX: i64 = 10_000;

/// Version of the file's tables.
const VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS robot (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, next INTEGER NOT NULL, parts INTEGER NOT NULL, open INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS dataset (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS recording (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS row (robot INTEGER, dataset INTEGER, time INTEGER, content INTEGER, copy INTEGER, number INTEGER NOT NULL,
        recording INTEGER NOT NULL, PRIMARY KEY (robot, dataset, time, content, copy)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS hole (robot INTEGER, counter INTEGER, number INTEGER NOT NULL, PRIMARY KEY (robot, counter)) STRICT, WITHOUT ROWID;
";

/// What identifies a row, besides its dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// Robot.
    pub robot: &'a str,
    /// Event time, microseconds UTC.
    pub time: i64,
    /// Hash of all that the row says.
    pub content: u64,
    /// The robot's own counter, in steps of 1, where the recording has one.
    pub counter: Option<i64>,
}

/// What the index says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A row that no recording brought before, under its new number.
    New(i64),
    /// A row that is known, under the number it has.
    Known(i64),
    /// An earlier version of this recording had another row here: that one stays.
    Conflict,
}

/// The numbers of the events that stand before and after the rows of a robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Number of `recording_started`.
    pub started: i64,
    /// Number of `recording_ended`.
    pub ended: i64,
}

/// The index, a file of the data directory.
pub struct RecordingIndex {
    connection: Connection,
}

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
    id: i64,
    next: i64,
    /// How many recordings have brought something new.
    parts: i64,
    /// Whether rows are numbered that no end follows yet.
    open: bool,
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

/// A row of the index at one robot and time.
struct KnownRow {
    content: u64,
    copy: i64,
    number: i64,
    recording: i64,
    is_matched: bool,
}

impl RecordingIndex {
    /// Opens the index at `path`, or makes it.
    ///
    /// # Errors
    /// When the file cannot be opened, or is from a newer version.
    pub fn open(path: &Path) -> Result<Self> {
        let refused = |error: rusqlite::Error| {
            Error::Refused(format!(
                "the {WHAT} at {} cannot be opened: {error}",
                path.display()
            ))
        };
        let connection = Connection::open(path).map_err(refused)?;
        let configure = || -> rusqlite::Result<i64> {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version <= VERSION {
                connection.execute_batch(SCHEMA)?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            Ok(version)
        };
        let version = configure().map_err(refused)?;
        if version > VERSION {
            return Err(Error::Refused(format!(
                "the {WHAT} at {} has version {version}, this build reads up to {VERSION}: run the newer build that wrote it",
                path.display()
            )));
        }
        Ok(Self { connection })
    }

    /// Begins to number a recording of a dataset. `name` is what a person calls it; without one its
    /// rows say whether it is known. `first_number` says from where a robot is numbered that the index does not
    /// know.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn begin<'a>(
        &'a mut self,
        dataset: &str,
        name: Option<&str>,
        first_number: &'a dyn Fn(&str) -> Result<i64>,
    ) -> Result<Numbering<'a>> {
        let id = |table: &str, name: &str| -> rusqlite::Result<i64> {
            self.connection.execute(
                &format!("INSERT OR IGNORE INTO {table} (name) VALUES (?1)"),
                [name],
            )?;
            self.connection.query_row(
                &format!("SELECT id FROM {table} WHERE name = ?1"),
                [name],
                |row| row.get(0),
            )
        };
        let dataset = id("dataset", dataset).map_err(failed)?;
        let recording = id("recording", name.unwrap_or_default()).map_err(failed)?;
        Ok(Numbering {
            first_number,
            dataset,
            recording,
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
                let mut known = numbering.known(at, first.time)?;
                let contents = group.iter().map(|row| rows[*row].content);
                let matched = contents
                    .filter(|content| take_equal(&mut known, *content).is_some())
                    .count();
                let robot = &mut numbering.robots[at];
                robot.rows += group.len() as i64;
                robot.matched += matched as i64;
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
                    let connection = &numbering.index.connection;
                    let known = rows_between(connection, robot.id, numbering.dataset, from, to)?;
                    let robot = &mut numbering.robots[at];
                    robot.corrects = robot.matched * 2 >= known;
                }
                let robot = &numbering.robots[at];
                if robot.rows > robot.matched && !robot.open {
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
        let robot = &self.robots[at];
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
            if self.robots[at].open {
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
        self.index
            .connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(failed)?;
        let done = work(self).and_then(|done| {
            self.keep_robots()?;
            let committed = self.index.connection.execute_batch("COMMIT");
            committed.map_err(failed)?;
            Ok(done)
        });
        if done.is_err() && !self.index.connection.is_autocommit() {
            // The error that led here says more than one of the rollback would.
            let _ = self.index.connection.execute_batch("ROLLBACK");
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
        let mut unknown = Vec::new();
        for at in group {
            match take_equal(&mut known, rows[*at].content) {
                Some(number) => {
                    identities[*at] = Identity::Known(number);
                    if rows[*at].counter.is_some() {
                        self.robots[place].counter = rows[*at].counter;
                    }
                }
                None => unknown.push(*at),
            }
        }
        let recording = self.recording;
        let (id, corrects) = (self.robots[place].id, self.robots[place].corrects);
        let is_earlier = |row: &&KnownRow| {
            !row.is_matched && (corrects || self.is_named && row.recording == recording)
        };
        let mut others = known.iter().filter(is_earlier).count();
        for at in unknown {
            // What an earlier version of the recording had here stays.
            if others > 0 {
                others -= 1;
                continue;
            }
            let row = rows[at];
            let equal = known.iter().filter(|other| other.content == row.content);
            let copy = equal.map(|other| other.copy + 1).max().unwrap_or(0);
            let number = self.next_number(place, row.counter)?;
            self.index
                .connection
                .prepare_cached("INSERT INTO row VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                .and_then(|mut statement| {
                    statement.execute(params![
                        id,
                        self.dataset,
                        row.time,
                        row.content as i64,
                        copy,
                        number,
                        recording
                    ])
                })
                .map_err(failed)?;
            known.push(KnownRow {
                content: row.content,
                copy,
                number,
                recording,
                is_matched: true,
            });
            identities[at] = Identity::New(number);
        }
        Ok(())
    }

    /// The number of a new row. Where the robot's own counter skips some, as many numbers are left
    /// out, so that they count as missing; a correction that brings them later gets these.
    fn next_number(&mut self, place: usize, counter: Option<i64>) -> Result<i64> {
        let id = self.robots[place].id;
        let may_fill = self.is_named || self.robots[place].corrects;
        if let Some(missing) = counter.filter(|_| may_fill) {
            let filled = self
                .index
                .connection
                .prepare_cached(
                    "DELETE FROM hole WHERE robot = ?1 AND counter = ?2 RETURNING number",
                )
                .and_then(|mut statement| {
                    statement
                        .query_row(params![id, missing], |row| row.get(0))
                        .optional()
                })
                .map_err(failed)?;
            if let Some(number) = filled {
                self.robots[place].counter = counter;
                return Ok(number);
            }
        }
        let robot = self.change(place);
        let last = std::mem::replace(&mut robot.counter, counter);
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
        let from = robot.next;
        robot.next = from + skipped + 1;
        if let Some(last) = last.filter(|_| skipped > 0) {
            let mut statement = self
                .index
                .connection
                .prepare_cached("INSERT OR REPLACE INTO hole VALUES (?1, ?2, ?3)")
                .map_err(failed)?;
            for hole in 0..skipped {
                statement
                    .execute(params![id, last + 1 + hole, from + hole])
                    .map_err(failed)?;
            }
        }
        Ok(from + skipped)
    }

    /// The rows that are known of a robot at a time.
    fn known(&self, place: usize, time: i64) -> Result<Vec<KnownRow>> {
        let robot = &self.robots[place];
        if !robot.is_known_at(time) {
            return Ok(Vec::new());
        }
        let mut statement = self
            .index
            .connection
            .prepare_cached(
                "SELECT content, copy, number, recording FROM row WHERE robot = ?1 AND dataset = ?2 AND time = ?3 ORDER BY number",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![robot.id, self.dataset, time], |row| {
                Ok(KnownRow {
                    content: row.get::<_, i64>(0)? as u64,
                    copy: row.get(1)?,
                    number: row.get(2)?,
                    recording: row.get(3)?,
                    is_matched: false,
                })
            })
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// The place of a robot's state, which is read from the index or begun.
    fn place(&mut self, name: &str) -> Result<usize> {
        if let Some(at) = self.by_name.get(name) {
            return Ok(*at);
        }
        let state = self.load(name)?;
        self.robots.push(state);
        self.by_name.insert(name.to_owned(), self.robots.len() - 1);
        Ok(self.robots.len() - 1)
    }

    /// A robot's state, to be changed and kept with the next write.
    fn change(&mut self, at: usize) -> &mut RobotState {
        let robot = &mut self.robots[at];
        if !robot.is_changed {
            robot.is_changed = true;
            self.changed.push(at);
        }
        robot
    }

    fn load(&self, name: &str) -> Result<RobotState> {
        let connection = &self.index.connection;
        let found = connection
            .prepare_cached("SELECT id, next, parts, open FROM robot WHERE name = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([name], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                    })
                    .optional()
            })
            .map_err(failed)?;
        let (id, next, parts, open) = match found {
            Some(found) => found,
            None => {
                let next = (self.first_number)(name)?;
                connection
                    .prepare_cached(
                        "INSERT INTO robot (name, next, parts, open) VALUES (?1, ?2, 0, 0)",
                    )
                    .and_then(|mut statement| statement.execute(params![name, next]))
                    .map_err(failed)?;
                (connection.last_insert_rowid(), next, 0, false)
            }
        };
        let known_to = connection
            .prepare_cached("SELECT max(time) FROM row WHERE robot = ?1 AND dataset = ?2")
            .and_then(|mut statement| {
                statement.query_row(params![id, self.dataset], |row| row.get(0))
            })
            .map_err(failed)?;
        Ok(RobotState {
            id,
            next,
            parts,
            open,
            counter: None,
            known_to,
            surveyed: None,
            rows: 0,
            matched: 0,
            corrects: false,
            is_changed: false,
        })
    }

    fn keep_robots(&mut self) -> Result<()> {
        let mut statement = self
            .index
            .connection
            .prepare_cached("UPDATE robot SET next = ?2, parts = ?3, open = ?4 WHERE id = ?1")
            .map_err(failed)?;
        for at in self.changed.drain(..) {
            let robot = &mut self.robots[at];
            statement
                .execute(params![robot.id, robot.next, robot.parts, robot.open])
                .map_err(failed)?;
            robot.is_changed = false;
        }
        Ok(())
    }
}

/// Marks a row of this content as met and returns its number.
fn take_equal(known: &mut [KnownRow], content: u64) -> Option<i64> {
    let row = known
        .iter_mut()
        .find(|row| !row.is_matched && row.content == content)?;
    row.is_matched = true;
    Some(row.number)
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

fn rows_between(
    connection: &Connection,
    robot: i64,
    dataset: i64,
    from: i64,
    to: i64,
) -> Result<i64> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM row WHERE robot = ?1 AND dataset = ?2 AND time BETWEEN ?3 AND ?4",
        )
        .and_then(|mut statement| {
            statement.query_row(params![robot, dataset, from, to], |row| row.get(0))
        })
        .map_err(failed)
}

fn failed(error: rusqlite::Error) -> Error {
    Error::Unavailable {
        what: WHAT,
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
