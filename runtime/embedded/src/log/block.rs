//! A block: records one after another, each key, value and headers with their lengths in front
//! (little-endian 32 bits).

use theatre_actors::ports::NewRecord;

/// Records in runs of at most about `bytes`, each of at least one.
pub(super) fn split(records: &[NewRecord], bytes: usize) -> impl Iterator<Item = &[NewRecord]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut size = 0;
        let fits = rest.iter().take_while(|record| {
            size += record.key.len() + record.value.len();
            size <= bytes
        });
        let (part, left) = rest.split_at(fits.count().max(1));
        rest = left;
        Some(part)
    })
}

pub(super) fn encode(records: &[NewRecord]) -> Vec<u8> {
    let size: usize = records
        .iter()
        .map(|record| record.key.len() + record.value.len() + 16)
        .sum();
    let mut block = Vec::with_capacity(size);
    let mut put = |bytes: &[u8]| {
        block.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        block.extend_from_slice(bytes);
    };
    for record in records {
        put(&record.key);
        put(&record.value);
        let headers: Vec<u8> = record
            .headers
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat())
            .collect();
        put(&headers);
    }
    block
}

/// Keys and values in order; `None` in place of a record that is cut off, and nothing after it.
pub(super) fn decode(block: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut take = || {
            let (length, body) = rest.split_first_chunk::<4>()?;
            let (taken, left) = body.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = left;
            Some(taken)
        };
        let record = take()
            .and_then(|key| Some((key, take()?)))
            .and_then(|record| take().map(|_| record));
        if record.is_none() {
            rest = &[];
        }
        Some(record)
    })
}
