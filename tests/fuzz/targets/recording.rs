//! A recording of any bytes, under every kind of mapping. The first byte picks the kind of file; the
//! rest is its content. What must hold is what the property test of the crate asks for.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use theatre_recordings::rows::Plan;

#[path = "../../../runtime/recordings/tests/checked/mod.rs"]
mod checked;

static PLANS: LazyLock<Vec<Arc<Plan>>> = LazyLock::new(|| {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime/recordings/corpus");
    checked::plans(&corpus)
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let name = ["in.csv", "in.ndjson", "in.parquet", "in.mcap"][usize::from(*kind) % 4];
    checked::check(&PLANS, name, bytes);
});
