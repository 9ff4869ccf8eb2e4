//! A folder of schemas: `<id>.avsc`, and `<subject>.avsc` for readers. A file that is put there is
//! found without a restart.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use theatre_actors::ports::{Error, Result, SchemaSource};
use theatre_schemas::framing::SchemaId;

/// A folder.
#[derive(Debug)]
pub struct DirectorySource {
    folder: PathBuf,
}

impl DirectorySource {
    /// The folder need not be there yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.folder.join(format!("{name}.avsc"));
        match std::fs::read_to_string(&path) {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Unavailable {
                what: "schema folder",
                why: format!("{} cannot be read: {error}", path.display()),
            }),
        }
    }
}

impl SchemaSource for DirectorySource {
    fn fetch(&self, id: SchemaId) -> Result<Option<String>> {
        self.read(&id.to_string())
    }

    fn latest(&self, subject: &str) -> Result<Option<String>> {
        if subject.contains(['/', '\\']) {
            Ok(None)
        } else {
            self.read(subject)
        }
    }
}
