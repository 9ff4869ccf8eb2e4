//! A lake in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use theatre_actors::ports::{Epoch, Error, Lake, LakeEntry, LakeUpload, Result, is_outdated};
use theatre_actors::position::Partition;

use super::lock;

#[derive(Default)]
struct State {
    /// By handle; begun ones are there without bytes.
    uploads: BTreeMap<String, Bytes>,
    files: BTreeMap<String, Bytes>,
}

/// Files and uploads in memory.
#[derive(Default)]
pub struct MemoryLake {
    state: Arc<Mutex<State>>,
}

struct Upload {
    state: Arc<Mutex<State>>,
    handle: String,
    bytes: Vec<u8>,
}

impl LakeUpload for Upload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn seal(self: Box<Self>) -> Result<String> {
        // One that was swept meanwhile stays swept, as an unlinked file does.
        if let Some(sealed) = lock(&self.state).uploads.get_mut(&self.handle) {
            *sealed = self.bytes.into();
        }
        Ok(self.handle)
    }
}

impl Lake for MemoryLake {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        let handle = format!("{attempt}.{path}");
        lock(&self.state)
            .uploads
            .insert(handle.clone(), Bytes::new());
        Ok(Box::new(Upload {
            state: self.state.clone(),
            handle,
            bytes: Vec::new(),
        }))
    }

    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        let mut state = lock(&self.state);
        if state.files.contains_key(path) {
            return Ok(());
        }
        let missing = || {
            Error::Gone(format!(
                "lake file '{path}': neither the file nor its upload '{upload}' is there"
            ))
        };
        let bytes = state.uploads.remove(upload).ok_or_else(missing)?;
        state.files.insert(path.to_owned(), bytes);
        Ok(())
    }

    fn replace(&self, path: &str, bytes: Bytes) -> Result<()> {
        let mut state = lock(&self.state);
        let file = state.files.get_mut(path);
        let file = file.ok_or_else(|| Error::Gone(format!("lake file '{path}' is not there")))?;
        *file = bytes;
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        let state = lock(&self.state);
        let entries = state
            .files
            .iter()
            .filter(|(path, _)| path.starts_with(prefix));
        Ok(entries
            .map(|(path, bytes)| LakeEntry {
                path: path.clone(),
                bytes: bytes.len() as u64,
            })
            .collect())
    }

    fn read(&self, path: &str) -> Result<Bytes> {
        lock(&self.state)
            .files
            .get(path)
            .cloned()
            .ok_or_else(|| Error::Gone(format!("lake file '{path}' is not there")))
    }

    fn location(&self, _path: &str) -> Option<String> {
        None
    }

    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        let mut state = lock(&self.state);
        let before = state.uploads.len();
        state
            .uploads
            .retain(|handle, _| !is_outdated(handle, partition, epoch) || keep.contains(handle));
        Ok(before - state.uploads.len())
    }
}
