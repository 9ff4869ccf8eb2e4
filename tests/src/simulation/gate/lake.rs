//! Lake and warehouse behind the gate.

use std::sync::Arc;

use theatre_actors::ports::*;
use theatre_actors::position::Partition;

use super::Gate;

pub(super) struct GatedLake {
    pub(super) inner: Arc<dyn Lake>,
    pub(super) gate: Arc<Gate>,
}

struct GatedUpload {
    inner: Box<dyn LakeUpload>,
    gate: Arc<Gate>,
}

impl LakeUpload for GatedUpload {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (gate, inner) = (self.gate.clone(), &mut self.inner);
        gate.call(|| inner.write(bytes))
    }
    fn seal(self: Box<Self>) -> Result<String> {
        let Self { inner, gate } = *self;
        gate.call(|| inner.seal())
    }
}

impl Lake for GatedLake {
    fn begin(&self, path: &str, attempt: &str) -> Result<Box<dyn LakeUpload>> {
        let inner = self.gate.call(|| self.inner.begin(path, attempt))?;
        Ok(Box::new(GatedUpload {
            inner,
            gate: self.gate.clone(),
        }))
    }
    fn complete(&self, path: &str, upload: &str) -> Result<()> {
        self.gate.call(|| self.inner.complete(path, upload))
    }
    fn replace(&self, path: &str, bytes: bytes::Bytes) -> Result<()> {
        self.gate.call(|| self.inner.replace(path, bytes))
    }
    fn list(&self, prefix: &str) -> Result<Vec<LakeEntry>> {
        self.gate.call(|| self.inner.list(prefix))
    }
    fn read(&self, path: &str) -> Result<bytes::Bytes> {
        self.gate.call(|| self.inner.read(path))
    }
    fn location(&self, path: &str) -> Option<String> {
        self.inner.location(path)
    }
    fn sweep(&self, partition: Partition, epoch: Epoch, keep: &[String]) -> Result<usize> {
        self.gate.call(|| self.inner.sweep(partition, epoch, keep))
    }
}

pub(super) struct GatedWarehouse {
    pub(super) inner: Arc<dyn Warehouse>,
    pub(super) plain_lake: Arc<dyn Lake>,
    pub(super) gate: Arc<Gate>,
}

impl Warehouse for GatedWarehouse {
    fn ensure_tables(&self, tables: &[TableSpec]) -> Result<()> {
        self.gate.call(|| self.inner.ensure_tables(tables))
    }
    fn load(&self, batch: &LoadBatch, _: &dyn Lake) -> Result<LoadReceipt> {
        // A warehouse reads the lake by itself, not through the process.
        self.gate.call(|| self.inner.load(batch, &*self.plain_lake))
    }
    fn erase(&self, erasure: &TableErasure) -> Result<Option<u64>> {
        self.gate.call(|| self.inner.erase(erasure))
    }
    fn receipt(&self, batch: &str) -> Result<Option<LoadReceipt>> {
        self.gate.call(|| self.inner.receipt(batch))
    }
    fn query(&self, sql: &str) -> Result<QueryResult> {
        self.gate.call(|| self.inner.query(sql))
    }
}
