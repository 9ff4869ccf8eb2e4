//! Where writers' schemas come from.

use theatre_schemas::framing::SchemaId;

use super::Result;

/// Something that knows schemas by id. Calls block, for a few seconds at most. What must hold: a
/// record is never dead-lettered because a source was away.
pub trait SchemaSource: Send + Sync {
    /// The JSON of a schema; `None` when the source answered that there is no such id.
    ///
    /// # Errors
    /// `Unavailable` when it did not answer, or not as it should.
    fn fetch(&self, id: SchemaId) -> Result<Option<String>>;

    /// The newest schema of a subject.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    fn latest(&self, subject: &str) -> Result<Option<String>>;
}
