//! The envelope of everything stored: one version byte, then postcard.
//!
//! A change of a stored struct is a new version with a decoder for the old one; golden files keep
//! the old ones honest.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version written now.
pub const VERSION: u8 = 1;

/// Why stored bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Written by a later version.
    #[error(
        "state version {0} is not known to this build, which knows up to {VERSION}: use the version that wrote it, or a later one"
    )]
    Version(u8),
    /// Not what was written.
    #[error("the state is damaged: {0}")]
    Damaged(String),
}

/// Encodes under the current version.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION])
        .expect("writing to memory cannot fail, and every map's length is known")
}

/// Decodes any known version.
///
/// # Errors
/// When the version is unknown or the bytes are damaged.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StateError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => {
            postcard::from_bytes(body).map_err(|error| StateError::Damaged(error.to_string()))
        }
        Some((&version, _)) => Err(StateError::Version(version)),
        None => Err(StateError::Damaged("empty".to_owned())),
    }
}
