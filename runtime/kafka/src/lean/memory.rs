//! The memory of what is fetched and not yet consumed, of the whole process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers of up to this size are used again: those of ordinary answers.
const REUSED_SIZE: usize = 2 << 20;
/// Most bytes of buffers that wait to be used again.
const REUSED_BYTES: usize = 4 << 20;
/// A buffer's size is a multiple of this, so that the next answer finds one that fits.
const GRAIN: usize = 4 << 10;
/// A buffer that is more than so many times as large as what it is for is left for others.
const FIT: usize = 2;

/// Counts the bytes that are held, and keeps some buffers for the next answers: the one that was
/// given back last is still in the processor's cache.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    held: AtomicUsize,
    free: Mutex<Vec<Vec<u8>>>,
}

/// The records of one partition in one answer. Its bytes count as held until it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Vec<u8>,
    length: usize,
    memory: Arc<Memory>,
}

impl Memory {
    /// Of which `limit` bytes are to be used.
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            held: AtomicUsize::new(0),
            free: Mutex::default(),
        })
    }

    /// Bytes that may be used in all.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that are used, of buffers that were not dropped.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Bytes that may still be used.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.held())
    }

    /// A buffer of this length. It is never refused: who asks has looked at `room`.
    pub(super) fn buffer(self: &Arc<Self>, length: usize) -> Buffer {
        let size = length.next_multiple_of(GRAIN);
        let reused = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.iter()
                .rposition(|data| (size..=size.saturating_mul(FIT)).contains(&data.len()))
                .map(|place| free.remove(place))
        };
        let data = reused.unwrap_or_else(|| vec![0; size]);
        self.held.fetch_add(data.len(), Ordering::AcqRel);
        Buffer {
            data,
            length,
            memory: self.clone(),
        }
    }

    fn take_back(&self, data: Vec<u8>) {
        self.held.fetch_sub(data.len(), Ordering::AcqRel);
        if data.len() > REUSED_SIZE {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(data);
        // The oldest go first: sizes that nothing asks for any more.
        let mut kept: usize = free.iter().map(Vec::len).sum();
        while kept > REUSED_BYTES {
            kept -= free.remove(0).len();
        }
    }
}

impl Buffer {
    /// Bytes that it takes, which are those of its contents or more.
    pub(super) fn size(&self) -> usize {
        self.data.len()
    }

    /// Its contents.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[..self.length]
    }

    /// Its contents, to be written.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[..self.length]
    }

    /// Leaves only the first `length` bytes.
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.memory.take_back(std::mem::take(&mut self.data));
    }
}
