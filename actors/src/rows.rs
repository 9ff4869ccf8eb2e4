//! Rows of a batch for one processor, in an array that the processors of a chunk share.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Row numbers, in order.
#[derive(Debug, Clone)]
pub struct Rows {
    all: Arc<[u32]>,
    range: Range<usize>,
}

impl Rows {
    /// Those of `all` that stand in `range`; none where it reaches beyond the end.
    pub fn of(all: &Arc<[u32]>, range: Range<usize>) -> Self {
        let all = all.clone();
        Self { all, range }
    }
}

impl From<Vec<u32>> for Rows {
    fn from(rows: Vec<u32>) -> Self {
        let range = 0..rows.len();
        let all = rows.into();
        Self { all, range }
    }
}

impl Deref for Rows {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        self.all.get(self.range.clone()).unwrap_or_default()
    }
}
