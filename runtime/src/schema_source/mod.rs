//! Where writers' schemas come from: a folder, a Confluent-compatible registry, AWS Glue.
//!
//! A [`SchemaSource`] answers one question over I/O. [`InputSchemas`] stands between it and the
//! intake of one input: it keeps what was answered, asks again what was not found, and lets the
//! intake wait while nobody answers. What must hold: a record is never dead-lettered because a
//! source was away.

pub mod confluent;
pub mod directory;
pub mod glue;
mod http;
mod inputs;

use theatre_actors::ports::Result;
use theatre_schemas::framing::SchemaId;

pub use inputs::{Answer, InputSchemas, Target};

/// Something that knows schemas by id. Calls block, for a few seconds at most.
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
