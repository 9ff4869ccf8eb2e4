//! Pages of what the store keeps: outputs and dead letters by a key that does not move, as far back
//! as the store goes, with bounded work for each page.

use super::{Result, StoredDead, StoredOutput};
use crate::outputs::OutputKind;
use crate::position::Partition;
use crate::time::LogTime;

/// The place of an output in a list of its kind: no other one has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputPlace {
    /// Event time, or when it was committed where the list is in that order; microseconds UTC.
    pub time: i64,
    /// Its id.
    pub id: String,
    /// Its revision.
    pub revision: u32,
}

/// Which outputs of a kind a page is made of. Windows are not listed: there are too many.
#[derive(Debug, Clone, PartialEq)]
pub struct PageFilter {
    /// The kind.
    pub kind: OutputKind,
    /// Outputs up to these numbers, by partition: what is committed later changes no page of the
    /// list. Of a partition beyond its end there are none.
    pub seen: Vec<u64>,
    /// Each revision, and not only the last one of each id.
    pub every_revision: bool,
    /// Only of these robots; `None`: of all.
    pub robots: Option<Vec<String>>,
    /// Only this subject.
    pub subject: Option<String>,
    /// Event time at or after, microseconds UTC.
    pub from: Option<i64>,
    /// Event time before.
    pub until: Option<i64>,
    /// Only what was committed at or after this moment, in the order of commit; else the latest by
    /// event time come first.
    pub changed_since: Option<LogTime>,
    /// Only what comes after this place.
    pub after: Option<OutputPlace>,
    /// Most outputs that are looked at, at least 1.
    pub look_at: usize,
    /// Most outputs that are returned, at least 1.
    pub limit: usize,
}

impl PageFilter {
    /// The latest of a kind, each id by its last revision.
    pub fn latest(kind: OutputKind, seen: Vec<u64>, limit: usize) -> Self {
        Self {
            kind,
            seen,
            every_revision: false,
            robots: None,
            subject: None,
            from: None,
            until: None,
            changed_since: None,
            after: None,
            look_at: limit,
            limit,
        }
    }

    /// The place of an output in the order of the list.
    pub fn place(&self, stored: &StoredOutput) -> OutputPlace {
        let output = &stored.output;
        OutputPlace {
            time: match self.changed_since {
                Some(_) => stored.committed_at.0,
                None => output.event_time,
            },
            id: output.id.clone(),
            revision: output.revision,
        }
    }
}

/// A page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputPage {
    /// What is on it, in order.
    pub outputs: Vec<StoredOutput>,
    /// How far was looked, where that is not the end of the list. A page may have fewer outputs than
    /// wanted, or none, and not be the last one.
    pub next: Option<OutputPlace>,
}

/// Reads pages.
pub trait PageStore: Send + Sync {
    /// The time by the clock of the store's server; `None` where it has the clock of this process.
    fn time(&self) -> Result<Option<LogTime>>;

    /// Number of the last output of each partition of the layout.
    fn last_outputs(&self) -> Result<Vec<u64>>;

    /// A page of outputs.
    fn output_page(&self, filter: &PageFilter) -> Result<OutputPage>;

    /// The last revisions, up to what was `seen`, of outputs of a kind with these ids; in any order.
    /// Those that are not there are left out.
    fn last_revisions(
        &self,
        kind: OutputKind,
        ids: &[String],
        seen: &[u64],
    ) -> Result<Vec<StoredOutput>>;

    /// All outputs of a kind about the first so many subjects after one, in order of their subjects.
    fn of_subjects(
        &self,
        kind: OutputKind,
        after: Option<&str>,
        subjects: usize,
    ) -> Result<Vec<StoredOutput>>;

    /// Dead letters by descending number, those of one number by partition, at most `limit`;
    /// `after`: those that come after this one, by number and partition.
    fn dead_page(&self, after: Option<(u64, Partition)>, limit: usize) -> Result<Vec<StoredDead>>;
}
