//! Record batches, written as Kafka's clients write them.

use std::io::Write;

/// Offset after the first of the batch, key and value.
pub(super) type BatchRecord = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

/// A batch of format 2.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) base: i64,
    /// Offset deltas, keys and values.
    pub(super) records: Vec<BatchRecord>,
    /// Compaction may leave a larger one than that of the last record.
    pub(super) last_delta: i32,
    pub(super) attributes: i16,
    pub(super) producer: i64,
    pub(super) epoch: i32,
    pub(super) time: i64,
}

pub(super) const CODECS: [i16; 5] = [0, 1, 2, 3, 4];
/// Snappy in the blocks of Kafka's Java client.
pub(super) const SNAPPY_OF_JAVA: i16 = 0x102;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const CONTROL: i16 = 0x30;
pub(super) const TIME: i64 = 1_700_000_000_000;

impl Batch {
    /// Records with these values, one after the other.
    pub(super) fn of(base: i64, values: &[&[u8]]) -> Self {
        let records: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(delta, value)| (delta as i32, Some(b"key".to_vec()), Some(value.to_vec())))
            .collect();
        Self {
            base,
            last_delta: records.len() as i32 - 1,
            records,
            attributes: 0,
            producer: -1,
            epoch: 0,
            time: TIME,
        }
    }

    /// The marker that ends a transaction.
    pub(super) fn marker(base: i64, producer: i64, commits: bool) -> Self {
        let key = [0, 0, 0, u8::from(commits)].to_vec();
        Self {
            records: vec![(0, Some(key), Some(vec![0; 6]))],
            attributes: CONTROL,
            producer,
            ..Self::of(base, &[b""])
        }
    }

    pub(super) fn with(self, codec: i16) -> Self {
        Self {
            attributes: self.attributes | codec,
            ..self
        }
    }

    pub(super) fn by(self, producer: i64) -> Self {
        Self {
            attributes: self.attributes | TRANSACTIONAL,
            producer,
            ..self
        }
    }

    pub(super) fn next(&self) -> i64 {
        self.base + i64::from(self.last_delta) + 1
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (delta, key, value) in &self.records {
            let mut record = vec![0];
            integer(&mut record, i64::from(*delta));
            integer(&mut record, i64::from(*delta));
            for field in [key, value] {
                match field {
                    None => integer(&mut record, -1),
                    Some(field) => {
                        integer(&mut record, field.len() as i64);
                        record.extend_from_slice(field);
                    }
                }
            }
            // One header.
            record.extend_from_slice(&[2, 2, b'h', 2, b'v']);
            integer(&mut records, record.len() as i64);
            records.extend_from_slice(&record);
        }
        let records = pack(self.attributes & 0x107, &records);
        let mut checked = Vec::new();
        checked.extend_from_slice(&(self.attributes & 0xff).to_be_bytes());
        checked.extend_from_slice(&self.last_delta.to_be_bytes());
        checked.extend_from_slice(&self.time.to_be_bytes());
        checked.extend_from_slice(&(self.time + 1000).to_be_bytes());
        checked.extend_from_slice(&self.producer.to_be_bytes());
        checked.extend_from_slice(&[0; 6]);
        checked.extend_from_slice(&(self.records.len() as i32).to_be_bytes());
        checked.extend_from_slice(&records);
        let mut batch = self.base.to_be_bytes().to_vec();
        batch.extend_from_slice(&(checked.len() as i32 + 9).to_be_bytes());
        batch.extend_from_slice(&self.epoch.to_be_bytes());
        batch.push(2);
        batch.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
        batch.extend_from_slice(&checked);
        batch
    }
}

/// A zigzag integer.
fn integer(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn pack(codec: i16, records: &[u8]) -> Vec<u8> {
    match codec {
        1 => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(records).unwrap();
            encoder.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(records).unwrap(),
        SNAPPY_OF_JAVA => {
            let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for block in records.chunks(100) {
                let block = snap::raw::Encoder::new().compress_vec(block).unwrap();
                packed.extend_from_slice(&(block.len() as u32).to_be_bytes());
                packed.extend_from_slice(&block);
            }
            packed
        }
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(records).unwrap();
            encoder.finish().unwrap()
        }
        4 => zstd::stream::encode_all(records, 1).unwrap(),
        _ => records.to_vec(),
    }
}
