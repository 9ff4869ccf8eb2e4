//! What a processor puts out: outputs, committed to the store and read from there by the consumers
//! of the outbox, and dead letters.
//!
//! A kind of output is one file below this folder that says everything about it, and one line of
//! the list below. Stores, relay, exporter, warehouse and commands ask its [`OutputSpec`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use theatre_schemas::dataset::Datasets;

use crate::ports::{Error, LoadMode, Result, TableSpec, UnknownCode};

pub mod alert;
pub mod columns;
pub mod component;
mod dead_letter;
pub mod description;
pub mod facility_version;
pub mod instrument;
pub mod maintenance;
pub mod model_version;
pub mod outcome;
pub mod phase;
pub mod procedure;
pub mod robot_version;
pub mod session;
pub mod shadow_alert;
pub mod surgeon_version;
mod tally;
pub mod window;

use columns::{ColumnSink, ColumnTypes};
pub use dead_letter::{Counters, DeadReason, DeadRow};
pub use tally::{Tally, TopicTally};

/// Makes the kinds of output of the modules that describe them: the only list of kinds.
macro_rules! output_kinds {
    ($($(#[$doc:meta])* $kind:ident in $module:ident,)+) => {
        /// Kind of an output. The discriminant is stored; never re-used.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum OutputKind {
            $($(#[$doc])* $kind = $module::CODE,)+
        }

        /// Every kind of output, in order of their codes.
        pub static ALL: [&OutputSpec; KINDS] = [$(&$module::SPEC),+];

        /// Number of kinds.
        pub const KINDS: usize = [$($module::CODE),+].len();

        impl OutputKind {
            /// Everything about the kind.
            pub fn spec(self) -> &'static OutputSpec {
                match self {
                    $(Self::$kind => &$module::SPEC,)+
                }
            }
        }
    };
}

output_kinds! {
    /// A revision of a window's aggregates: not published to the log by default.
    Window in window,
    /// A transition of a condition: published to the alert topic.
    Alert in alert,
    /// A revision of a procedure's outcome: published to the outcome topic.
    Outcome in outcome,
    /// What a robot was from a moment on.
    RobotVersion in robot_version,
    /// What a facility was from a moment on.
    FacilityVersion in facility_version,
    /// Who a surgeon was from a moment on.
    SurgeonVersion in surgeon_version,
    /// What a robot model was from a moment on.
    ModelVersion in model_version,
    /// A revision of the record of work on a robot.
    Maintenance in maintenance,
    /// What was measured in a phase of a case: published to a topic of its own.
    Phase in phase,
    /// The state of a case after a step: published to a topic of its own.
    Procedure in procedure,
    /// Use of an instrument on a robot: published to a topic of its own.
    Instrument in instrument,
    /// Use of a component of a robot: published to a topic of its own.
    Component in component,
    /// A session: in store, lake and warehouse only.
    Session in session,
    /// A transition of a condition of a rule in the shadow: in store, lake and warehouse only.
    ShadowAlert in shadow_alert,
}

impl OutputKind {
    /// The kind under a stored code.
    ///
    /// # Errors
    /// When no kind has this code.
    pub fn from_code(code: i64) -> std::result::Result<Self, UnknownCode> {
        ALL.iter()
            .map(|spec| spec.kind)
            .find(|kind| i64::from(kind.code()) == code)
            .ok_or(UnknownCode {
                what: "an output's kind",
                code,
            })
    }

    /// The code under which it is stored.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Its place in [`ALL`].
    pub fn index(self) -> usize {
        let place = ALL.iter().position(|spec| spec.kind == self);
        place.expect("ALL lists every kind")
    }

    /// The table it is exported to.
    pub fn table(self) -> TableSpec {
        let table = &self.spec().table;
        let mut types = ColumnTypes::default();
        // Only a payload can be refused, and there is none here.
        let typed = (table.columns)(&[], &Datasets::default(), &mut types);
        debug_assert!(typed.is_ok(), "{typed:?}");
        TableSpec {
            name: table.name.to_owned(),
            columns: types.0,
            mode: (table.mode)(),
        }
    }
}

/// Everything about a kind of output.
pub struct OutputSpec {
    /// The kind.
    pub kind: OutputKind,
    /// Its name, in lower case.
    pub name: &'static str,
    /// Where it is published.
    pub topic: Topic,
    /// Type of the CloudEvents that it is published as.
    pub event_type: &'static str,
    /// Key of its records in the log, and subject of the CloudEvent: outputs of one key are in one
    /// partition of the topic, in order.
    pub key: fn(&OutputEvent) -> &str,
    /// The dataset that must be known to read it; `None` where none is needed. An output of a
    /// dataset that has left the configuration is neither published nor exported.
    pub dataset: fn(&OutputEvent) -> Option<&str>,
    /// The framed Avro that is published.
    pub record: for<'a> fn(&'a OutputEvent, &Datasets) -> Result<Cow<'a, [u8]>>,
    /// Whether it is deleted from the store once it is old enough and no consumer needs it.
    pub expires: bool,
    /// The table it is exported to.
    pub table: OutputTable,
}

/// Where outputs of a kind are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// To this topic.
    Named(&'static str),
    /// To the topic that the configuration names, else not at all.
    WhereConfigured,
}

/// The table of a kind of output, in the lake and in the warehouse.
pub struct OutputTable {
    /// Name.
    pub name: &'static str,
    /// How loads meet what is there.
    pub mode: fn() -> LoadMode,
    /// Whether no row replaces another, so that the warehouse has all that the lake has.
    pub keeps_every_row: bool,
    /// The columns that tell its rows apart: no two rows of the lake are equal in all of them.
    pub identity: &'static [&'static str],
    /// What rows and columns are, for people.
    pub described: description::Described,
    /// What its rows are, to those who erase.
    pub holds: Holds,
    /// The column that says when a row happened, where no two revisions of a row differ in it. A
    /// table without has no rows that are old: what they say may still hold, or be revised.
    pub happened: Option<&'static str>,
    /// Gives the columns of these outputs to a sink, in the order of the files; without outputs
    /// their names and types.
    pub columns: fn(&[&OutputEvent], &Datasets, &mut dyn ColumnSink) -> Result<()>,
    /// How the checkpoint store keeps the rows of an output together, where one has many.
    pub grouped: Option<Grouped>,
}

/// Gives columns of outputs to a sink, with a value for each output in those that rows of an output
/// share; returns the number of rows of each output.
pub type GroupedColumns = fn(&[&OutputEvent], &Datasets, &mut dyn ColumnSink) -> Result<Vec<u32>>;

/// Rows of an output as one row of a database that has arrays: what they share once, all else as an
/// array with a place for each row. A row of its own for each costs ten times as much.
#[derive(Debug, Clone, Copy)]
pub struct Grouped {
    /// The table of such rows; the kind's own table is a view of it.
    pub table: &'static str,
    /// How many of the columns rows of an output share: the first ones.
    pub shared: usize,
    /// Gives the columns to a sink, as the function of the table does.
    pub columns: GroupedColumns,
}

/// What rows of a table are, to those who erase rows of robots, or old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// What was measured, and noticed in it: erased unless the table is left out.
    Measurements,
    /// The history of cases, services and things: erased only where the table is named.
    History,
}

/// The topics of the kinds that are published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputTopics(BTreeMap<OutputKind, String>);

impl OutputTopics {
    /// The topics that the kinds name, and those that the configuration has for the others.
    pub fn new(configured: impl Fn(OutputKind) -> Option<String>) -> Self {
        let topic = |spec: &&OutputSpec| {
            let topic = match spec.topic {
                Topic::Named(topic) => Some(topic.to_owned()),
                Topic::WhereConfigured => configured(spec.kind),
            };
            topic.map(|topic| (spec.kind, topic))
        };
        Self(ALL.iter().filter_map(topic).collect())
    }

    /// The topic of a kind; `None` where it is not published.
    pub fn get(&self, kind: OutputKind) -> Option<&str> {
        self.0.get(&kind).map(String::as_str)
    }

    /// Publishes a kind to another topic.
    pub fn set(&mut self, kind: OutputKind, topic: String) {
        self.0.insert(kind, topic);
    }

    /// All topics.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

/// Something a processor concluded, committed with the state that concluded it. Immutable once
/// committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputEvent {
    /// Kind of output.
    pub kind: OutputKind,
    /// The actor that concluded it: the robot, or the key of what else it is about.
    pub robot_id: String,
    /// Deterministic id, the same on every replay: `(kind, id, revision)` is unique.
    pub id: String,
    /// What readers call it: dataset and window ([`window::WindowSubject`]), rule, procedure.
    pub subject: String,
    /// 0 for the first output of an id, one more for each correction or transition.
    pub revision: u32,
    /// Event time it speaks of: window start, moment of the transition, end of the procedure.
    /// Microseconds UTC.
    pub event_time: i64,
    /// Encoded content: [`crate::window::WindowRow::encode`] for windows, framed Avro for the
    /// published kinds.
    pub payload: Vec<u8>,
}

/// The id of a version: what it is of, with slashes percent-encoded, and its moment.
pub(crate) fn version_id(id: &str, valid_from: i64) -> String {
    let id = id.replace('%', "%25").replace('/', "%2F");
    format!("{id}/{valid_from}")
}

/// What an output or a dead letter weighs beside its payload, bytes.
const OVERHEAD: usize = 128;

impl OutputEvent {
    /// Rough size in memory and in a commit, bytes.
    pub fn weight(&self) -> usize {
        self.payload.len() + OVERHEAD
    }

    /// The dataset that must be known to read it.
    pub fn dataset(&self) -> Option<&str> {
        (self.kind.spec().dataset)(self)
    }

    /// The refusal of a payload that does not decode.
    pub(crate) fn unreadable(&self, error: impl std::fmt::Display) -> Error {
        Error::Refused(format!(
            "output '{}' revision {} cannot be read: {error}",
            self.id, self.revision
        ))
    }
}

/// Tells contents apart: what was published last is compared by it.
pub(crate) fn fingerprint(content: &[u8]) -> u64 {
    let digest = Sha256::digest(content);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// Everything a processor asks for while it applies rows, in order.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// Outputs to commit and publish.
    pub events: Vec<OutputEvent>,
    /// Records to dead-letter.
    pub dead: Vec<DeadRow>,
    /// True when something should be saved at once instead of at the next sweep (a high-priority
    /// alert).
    pub urgent: bool,
    /// What is only counted.
    pub tally: Tally,
}

/// Outputs are equal if what is committed is. What is only counted depends on how rows were cut
/// into messages, which nothing else may.
impl PartialEq for Outputs {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            events,
            dead,
            urgent,
            tally: _,
        } = self;
        (events, dead, urgent) == (&other.events, &other.dead, &other.urgent)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_code_leads_to_its_kind_and_an_unknown_one_is_refused_by_number() {
        for spec in ALL {
            assert_eq!(
                OutputKind::from_code(spec.kind.code().into()),
                Ok(spec.kind)
            );
            assert_eq!(ALL[spec.kind.index()].name, spec.name);
            assert_eq!(spec.kind.spec().name, spec.name);
        }
        for code in [-1, 0, 255, 257, i64::MAX] {
            let refused = OutputKind::from_code(code).unwrap_err().to_string();
            assert!(refused.contains(&format!("code {code},")), "{refused}");
        }
    }

    #[test]
    fn codes_names_tables_and_topics_are_given_once() {
        let distinct = |of: fn(&OutputSpec) -> String| {
            ALL.iter()
                .map(|spec| of(spec))
                .collect::<BTreeSet<_>>()
                .len()
        };
        assert_eq!(distinct(|spec| spec.kind.code().to_string()), KINDS);
        assert_eq!(distinct(|spec| spec.name.to_owned()), KINDS);
        assert_eq!(distinct(|spec| spec.event_type.to_owned()), KINDS);
        assert_eq!(distinct(|spec| spec.table.name.to_owned()), KINDS);
        let topics = OutputTopics::new(|kind| Some(kind.spec().name.to_owned()));
        assert_eq!(topics.iter().collect::<BTreeSet<_>>().len(), KINDS);
    }

    #[test]
    fn every_table_has_distinct_columns_and_those_that_loads_need() {
        for spec in ALL {
            let table = spec.kind.table();
            let names: BTreeSet<&str> = table.columns.iter().map(|(name, _)| &**name).collect();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
            let happened = spec.table.happened;
            assert!(happened.is_none_or(|column| names.contains(column)));
            // Who erases old rows leaves no revision of them behind.
            let is_of_moments = spec.table.keeps_every_row || spec.kind == OutputKind::Session;
            assert!(happened.is_none() || is_of_moments, "{}", table.name);
            if let LoadMode::MergeByRevision { key, revision } = &table.mode {
                for column in key.iter().chain([revision]) {
                    assert!(names.contains(&**column), "{}: {column}", table.name);
                }
            }
        }
    }

    #[test]
    fn a_windows_subject_comes_apart_as_it_was_put_together() {
        let subject = window::WindowSubject {
            dataset: "robot_telemetry",
            window: "a/b",
        };
        let output = OutputEvent {
            kind: OutputKind::Window,
            robot_id: String::new(),
            id: String::new(),
            subject: subject.to_string(),
            revision: 0,
            event_time: 0,
            payload: Vec::new(),
        };
        assert_eq!(output.subject, "robot_telemetry/a/b");
        assert_eq!(window::WindowSubject::of(&output), subject);
        assert_eq!(output.dataset(), Some("robot_telemetry"));
    }
}
