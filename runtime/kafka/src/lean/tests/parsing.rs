//! Batches: what was written is read, whatever it is compressed by, and no bytes do harm.

use proptest::prelude::*;

use super::super::visit::{Aborted, visit_batches};
use super::super::{BatchFault, batches::Survey};
use super::encode::{Batch, CODECS, LOG_APPEND_TIME, SNAPPY_OF_JAVA, TIME};

const LIMIT: usize = 1 << 20;

type Seen = Vec<(u64, i64, Vec<u8>, Vec<u8>)>;

fn read_from(bytes: &[u8], aborted: &[Aborted], from: u64) -> (Seen, Result<u64, BatchFault>) {
    let mut seen = Vec::new();
    let end = visit_batches(bytes, aborted, from, LIMIT, &mut |record| {
        seen.push((
            record.offset,
            record.append_time.0,
            record.key.to_vec(),
            record.value.to_vec(),
        ));
    });
    (seen, end)
}

fn read(bytes: &[u8]) -> Seen {
    let (seen, end) = read_from(bytes, &[], 0);
    end.unwrap();
    seen
}

fn written(batches: &[Batch]) -> Seen {
    batches
        .iter()
        .flat_map(|batch| {
            batch.records.iter().map(|(delta, key, value)| {
                let time = if batch.attributes & LOG_APPEND_TIME != 0 {
                    batch.time + 1000
                } else {
                    batch.time + i64::from(*delta)
                };
                (
                    (batch.base + i64::from(*delta)) as u64,
                    time * 1000,
                    key.clone().unwrap_or_default(),
                    value.clone().unwrap_or_default(),
                )
            })
        })
        .collect()
}

fn bytes_of(batches: &[Batch]) -> Vec<u8> {
    batches.iter().flat_map(Batch::bytes).collect()
}

/// Batches with offsets that ascend, gaps between and within them, and any codec.
fn any_batches() -> impl Strategy<Value = Vec<Batch>> {
    let field = || prop::option::of(prop::collection::vec(any::<u8>(), 0..300));
    let record = (1..4_i32, field(), field());
    let codec = prop::sample::select([CODECS.as_slice(), &[SNAPPY_OF_JAVA]].concat());
    let batch = (
        0..5_i64,
        prop::collection::vec(record, 0..20),
        codec,
        any::<bool>(),
        0..3_i32,
    );
    prop::collection::vec(batch, 1..6).prop_map(|batches| {
        let mut base = 0;
        batches
            .into_iter()
            .map(|(gap, steps, codec, appends, tail)| {
                let mut delta = -1;
                let records: Vec<_> = steps
                    .into_iter()
                    .map(|(step, key, value)| {
                        delta += step;
                        (delta, key, value)
                    })
                    .collect();
                let batch = Batch {
                    base: base + gap,
                    last_delta: delta.max(0) + tail,
                    records,
                    attributes: codec | if appends { LOG_APPEND_TIME } else { 0 },
                    producer: -1,
                    epoch: 3,
                    time: TIME,
                };
                base = batch.next();
                batch
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(batches in any_batches()) {
        let bytes = bytes_of(&batches);
        let (seen, end) = read_from(&bytes, &[], 0);
        prop_assert_eq!(end, Ok(batches.last().unwrap().next() as u64));
        prop_assert_eq!(&seen, &written(&batches));
        let survey = Survey::of(&bytes, 0);
        prop_assert_eq!(survey.complete, bytes.len());
        prop_assert_eq!(survey.next_offset, Some(batches.last().unwrap().next()));
        prop_assert_eq!(survey.leader_epoch, 3);
    }

    #[test]
    fn a_reader_begins_within_a_batch(batches in any_batches(), from in 0..60_u64) {
        let (seen, end) = read_from(&bytes_of(&batches), &[], from);
        let end_offset = batches.last().unwrap().next() as u64;
        prop_assert_eq!(end, Ok(end_offset.max(from)));
        let wanted: Seen = written(&batches)
            .into_iter()
            .filter(|record| record.0 >= from)
            .collect();
        prop_assert_eq!(seen, wanted);
    }

    #[test]
    fn a_cut_answer_brings_the_batches_that_are_whole(
        batches in any_batches(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = bytes_of(&batches);
        let cut = cut.index(bytes.len());
        let mut end = 0;
        let whole: Vec<Batch> = batches
            .iter()
            .filter(|batch| {
                end += batch.bytes().len();
                end <= cut
            })
            .cloned()
            .collect();
        prop_assert_eq!(read(&bytes[..cut]), written(&whole));
        let survey = Survey::of(&bytes[..cut], 0);
        prop_assert_eq!(survey.complete, bytes_of(&whole).len());
        prop_assert_eq!(survey.is_cut, survey.complete < cut);
    }

    /// A byte that was changed on its way is found by the checksum, or changes what it does not
    /// cover: offset, length, epoch.
    #[test]
    fn a_changed_byte_changes_no_record(
        batches in any_batches(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut bytes = bytes_of(&batches);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let (seen, _) = read_from(&bytes, &[], 0);
        let contents = |seen: &Seen| -> Vec<_> {
            seen.iter().map(|(_, time, key, value)| (*time, key.clone(), value.clone())).collect()
        };
        let written = contents(&written(&batches));
        let mut rest = written.iter();
        // What is seen is a part of what was written, in order.
        for record in contents(&seen) {
            prop_assert!(rest.any(|other| *other == record), "not written: {record:?}");
        }
    }

    #[test]
    fn any_bytes_do_no_harm(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        with_magic in any::<bool>(),
        attributes in 0..64_u8,
    ) {
        if with_magic && bytes.len() > 61 {
            // A header that passes, and anything behind it.
            let length = bytes.len() as i32 - 12;
            bytes[..8].fill(0);
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[21] = 0;
            bytes[22] = attributes;
            bytes[23..27].copy_from_slice(&9_i32.to_be_bytes());
            bytes[57..61].copy_from_slice(&5_i32.to_be_bytes());
            let checksum = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        }
        let survey = Survey::of(&bytes, 0);
        prop_assert!(survey.complete <= bytes.len());
        let (seen, _) = read_from(&bytes, &[Aborted { producer: 1, first_offset: 0 }], 0);
        prop_assert!(seen.len() <= 10);
    }
}

#[test]
fn records_of_aborted_transactions_and_markers_are_left_out() {
    let batches = [
        Batch::of(0, &[b"a0"]).by(1),
        Batch::of(1, &[b"b1"]).by(2),
        Batch::of(2, &[b"c2"]),
        Batch::of(3, &[b"a3"]).by(1),
        Batch::marker(4, 1, false),
        Batch::of(5, &[b"a5"]).by(1),
        Batch::marker(6, 2, true),
        Batch::marker(7, 1, true),
        Batch::of(8, &[b"a8"]).by(1),
        Batch::marker(9, 1, false),
    ];
    let aborted = [(1, 8), (1, 0)].map(|(producer, first_offset)| Aborted {
        producer,
        first_offset,
    });
    let bytes = bytes_of(&batches);
    let (seen, end) = read_from(&bytes, &aborted, 0);
    assert_eq!(end, Ok(10), "markers have offsets of their own");
    let values: Vec<_> = seen.into_iter().map(|record| record.3).collect();
    assert_eq!(values, [b"b1", b"c2", b"a5"]);
    let (seen, _) = read_from(&bytes, &aborted, 3);
    assert_eq!(seen.len(), 1, "begun in the midst of a transaction");
}

#[test]
fn what_cannot_be_read_is_named() {
    let sound = Batch::of(0, &[b"value"]).bytes();
    let fault = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sound.clone();
        change(&mut bytes);
        read_from(&bytes, &[], 0).1.unwrap_err()
    };
    assert_eq!(fault(&|bytes| bytes[17] ^= 1), BatchFault::Checksum);
    let old = fault(&|bytes| bytes[16] = 1);
    assert_eq!(old, BatchFault::OldFormat(1));
    assert!(old.to_string().contains("log.fetcher"), "{old}");
    assert!(!old.may_pass() && BatchFault::Checksum.may_pass());
    let recheck = |bytes: &mut Vec<u8>| {
        let checksum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    };
    let unknown = fault(&|bytes| {
        bytes[22] = 7;
        recheck(bytes);
    });
    assert_eq!(unknown, BatchFault::Codec(7));
    let outside = fault(&|bytes| {
        // The length of the only record.
        bytes[61] = 0x7e;
        recheck(bytes);
    });
    assert_eq!(outside, BatchFault::Malformed("a record ends early"));
}

#[test]
fn nothing_inflates_beyond_its_bound() {
    let large = vec![7_u8; 4 * LIMIT];
    for codec in [1, 2, 3, 4, SNAPPY_OF_JAVA] {
        let bytes = Batch::of(0, &[&large]).with(codec).bytes();
        let (seen, end) = read_from(&bytes, &[], 0);
        assert_eq!(end, Err(BatchFault::TooLarge(LIMIT)), "codec {codec}");
        assert!(seen.is_empty());
    }
    let just = vec![7_u8; LIMIT - 100];
    for codec in [1, 2, 3, 4, SNAPPY_OF_JAVA] {
        assert_eq!(read(&Batch::of(0, &[&just]).with(codec).bytes()).len(), 1);
    }
    // A block that claims to be large and holds nothing makes no room.
    let mut claim = Batch::of(0, &[b"x"]).with(2).bytes();
    claim.truncate(61);
    claim.extend_from_slice(&[0xff, 0xff, 0x3f]);
    claim[8..12].copy_from_slice(&52_i32.to_be_bytes());
    let checksum = crc32c::crc32c(&claim[21..]);
    claim[17..21].copy_from_slice(&checksum.to_be_bytes());
    let fault = read_from(&claim, &[], 0).1.unwrap_err();
    assert_eq!(
        fault,
        BatchFault::Malformed("a block of snappy claims too much")
    );
}

#[test]
fn a_batch_that_brings_nothing_forward_is_a_fault() {
    let batches = [Batch::of(5, &[b"a", b"b"]), Batch::of(5, &[b"c"])];
    let survey = Survey::of(&bytes_of(&batches), 5);
    assert_eq!(survey.next_offset, Some(7));
    assert!(survey.fault.is_some());
    assert!(Survey::of(&batches[1].bytes(), 6).fault.is_some());
}
