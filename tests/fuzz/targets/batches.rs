//! Any bytes as the records of a Fetch answer. Nothing may panic, no batch may inflate beyond its
//! bound, and offsets ascend. Bytes 0 to 15 are an aborted transaction; a header that passes is put
//! before the rest, if the first bit says so, for a search that gets beyond checksums.

#![no_main]

use lean::visit::{Aborted, visit_batches};
use libfuzzer_sys::fuzz_target;

/// The parser, without the client that it is a part of.
#[allow(dead_code)]
#[path = "."]
mod lean {
    #[path = "../../../runtime/kafka/src/lean/batches.rs"]
    pub mod batches;
    #[path = "../../../runtime/kafka/src/lean/codecs.rs"]
    pub mod codecs;
    #[path = "../../../runtime/kafka/src/lean/records.rs"]
    pub mod records;
    #[path = "../../../runtime/kafka/src/lean/visit.rs"]
    pub mod visit;
}

const INFLATED_MAX: usize = 1 << 20;
const HEADER: usize = 61;
const CHECKED_FROM: usize = 21;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first_chunk::<16>() else {
        return;
    };
    let number = |half: &[u8]| half.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte));
    let aborted = [Aborted {
        producer: number(&first[..8]),
        first_offset: number(&first[8..]),
    }];
    let mut batch = bytes.to_vec();
    if first[0] & 1 == 1 && batch.len() > HEADER {
        let length = batch.len() as i32 - 12;
        batch[..8].fill(0);
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch[16] = 2;
        // Any small number of records, at offsets that are as small.
        batch[23..26].fill(0);
        batch[57..59].fill(0);
        let checksum = crc32c::crc32c(&batch[CHECKED_FROM..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    let mut last = None;
    let end = visit_batches(&batch, &aborted, 0, INFLATED_MAX, &mut |record| {
        assert!(last.is_none_or(|last| record.offset > last));
        assert!(record.key.len().max(record.value.len()) <= INFLATED_MAX.max(batch.len()));
        last = Some(record.offset);
    });
    if let (Ok(end), Some(last)) = (end, last) {
        assert!(end > last);
    }
});
