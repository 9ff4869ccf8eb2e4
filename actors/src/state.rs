//! Stored types: the envelope of everything that a store keeps as bytes, which is one version byte
//! and then postcard.
//!
//! Every stored type has a version of its own. To change the shape of one:
//!
//! 1. keep the old shape as a private type beside the new one, and raise [`Stored::VERSION`];
//! 2. give [`Stored::read`] an arm that reads the old shape and makes a value of the new one;
//! 3. add the golden of the new version (`THEATRE_GOLDEN=write cargo test -p CRATE golden`) and
//!    leave those of the older ones as they are: they are what deployed stores hold.
//!
//! The lake trackers of the pipeline are the example: their version 2 is another shape than 1.
//! Golden files stand in the `golden/<name>/v<version>.bin` of the crate that has the type. A
//! process that was not upgraded yet refuses a version it does not know, and changes nothing.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::outputs::DeadRow;
use crate::ports::{LakeFile, PastLayout};
use crate::position::Positions;

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by a later build, or by none.
    #[error(
        "stored {name} of version {found} is not known to this build, which reads versions 1 to {known}: use the version of theatre that wrote it, or a later one"
    )]
    Version {
        /// The stored type.
        name: &'static str,
        /// The version of the bytes.
        found: u8,
        /// The highest version that this build reads.
        known: u8,
    },
    /// The bytes are not those that were written.
    #[error("stored {name} is damaged: {why}; restore the store from a backup")]
    Damaged {
        /// The stored type.
        name: &'static str,
        /// What the decoder met.
        why: String,
    },
}

/// A type whose values a store keeps as bytes.
pub trait Stored: Sized {
    /// What errors and golden files call it: words of small letters.
    const NAME: &'static str;
    /// The version that is written now; every version from 1 on is read.
    const VERSION: u8;

    /// The version that this value is written in: a lower one where its shape holds all of the
    /// value, so that processes which were not upgraded yet, or went back, can read it.
    fn version(&self) -> u8 {
        Self::VERSION
    }

    /// The value in the shape of its version.
    fn body(&self) -> impl Serialize;

    /// The value from a body of any version that was ever written.
    ///
    /// # Errors
    /// When the version is unknown or the body is damaged.
    fn read(body: Body<'_>) -> Result<Self, StateError>;
}

/// Stored bytes without their envelope.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// The version that they were written in.
    pub version: u8,
    name: &'static str,
    known: u8,
    bytes: &'a [u8],
}

impl Body<'_> {
    /// The body as a value of this shape, which must be that of its version.
    ///
    /// # Errors
    /// When the bytes are no value of the shape.
    pub fn decode<Shape: DeserializeOwned>(&self) -> Result<Shape, StateError> {
        let damaged = |why: String| StateError::Damaged {
            name: self.name,
            why,
        };
        match postcard::take_from_bytes(self.bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(damaged(format!("{} bytes are left after it", rest.len()))),
            Err(error) => Err(damaged(error.to_string())),
        }
    }

    /// The refusal of a version that the type has no reader for.
    ///
    /// # Errors
    /// Always: it names type, version and what to do.
    pub fn unknown<T>(&self) -> Result<T, StateError> {
        Err(StateError::Version {
            name: self.name,
            found: self.version,
            known: self.known,
        })
    }
}

/// Encodes a value in its version.
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    postcard::to_extend(&value.body(), vec![value.version()])
        .expect("writing to memory cannot fail, and every map's length is known")
}

/// A part of a value in the encoding of stored values, without version: for comparing.
pub(crate) fn body(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, Vec::new())
        .expect("writing to memory cannot fail, and every map's length is known")
}

/// Decodes any version of a type that was ever written.
///
/// # Errors
/// When the version is unknown or the bytes are damaged.
pub fn decode<T: Stored>(bytes: &[u8]) -> Result<T, StateError> {
    let (&version, bytes) = bytes.split_first().ok_or_else(|| StateError::Damaged {
        name: T::NAME,
        why: "it is empty".to_owned(),
    })?;
    T::read(Body {
        version,
        name: T::NAME,
        known: T::VERSION,
        bytes,
    })
}

impl Stored for Positions {
    const NAME: &'static str = "positions";
    const VERSION: u8 = 1;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => body.decode(),
            _ => body.unknown(),
        }
    }
}

impl Stored for DeadRow {
    const NAME: &'static str = "dead letter";
    const VERSION: u8 = 1;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => body.decode(),
            _ => body.unknown(),
        }
    }
}

/// A lake file as version 1 has it, of which no rows are erased.
#[derive(Serialize, Deserialize)]
struct UnerasedFile {
    path: String,
    upload: String,
    dataset: String,
    rows: u64,
    bytes: u64,
    event_time_min: i64,
    event_time_max: i64,
}

/// A lake file in the shape of its version.
struct FileBody<'a>(&'a LakeFile);

impl Serialize for FileBody<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let file = self.0;
        if file.version() > 1 {
            return file.serialize(to);
        }
        let unerased = UnerasedFile {
            path: file.path.clone(),
            upload: file.upload.clone(),
            dataset: file.dataset.clone(),
            rows: file.rows,
            bytes: file.bytes,
            event_time_min: file.event_time_min,
            event_time_max: file.event_time_max,
        };
        unerased.serialize(to)
    }
}

impl Stored for LakeFile {
    const NAME: &'static str = "lake file";
    const VERSION: u8 = 2;

    fn version(&self) -> u8 {
        match self.erased.is_empty() && self.erasing.is_empty() {
            true => 1,
            false => 2,
        }
    }

    fn body(&self) -> impl Serialize {
        FileBody(self)
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => {
                let old: UnerasedFile = body.decode()?;
                Ok(Self {
                    path: old.path,
                    upload: old.upload,
                    dataset: old.dataset,
                    rows: old.rows,
                    bytes: old.bytes,
                    event_time_min: old.event_time_min,
                    event_time_max: old.event_time_max,
                    erased: Vec::new(),
                    erasing: Vec::new(),
                })
            }
            2 => body.decode(),
            _ => body.unknown(),
        }
    }
}

impl Stored for PastLayout {
    const NAME: &'static str = "past layout";
    const VERSION: u8 = 1;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => body.decode(),
            _ => body.unknown(),
        }
    }
}

/// The input topics of a store, in the order that positions are stored in.
impl Stored for Vec<String> {
    const NAME: &'static str = "topic list";
    const VERSION: u8 = 1;

    fn body(&self) -> impl Serialize {
        self
    }

    fn read(body: Body<'_>) -> Result<Self, StateError> {
        match body.version {
            1 => body.decode(),
            _ => body.unknown(),
        }
    }
}

#[cfg(test)]
mod tests;
