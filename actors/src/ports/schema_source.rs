//! The source of writers' schemas: a registry or a folder.

use theatre_schemas::framing::SchemaId;

use super::Result;

/// A source of schemas by id. Calls block, for a few seconds at most.
///
/// Invariant: a record never becomes a dead letter because a source was unavailable.
pub trait SchemaSource: Send + Sync {
    /// The JSON of a schema; `None` when the source answered that there is no such id.
    ///
    /// # Errors
    /// `Unavailable` when the source did not answer, or its answer cannot be understood.
    fn fetch(&self, id: SchemaId) -> Result<Option<String>>;

    /// The newest schema of a subject.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    fn latest(&self, subject: &str) -> Result<Option<String>>;
}
