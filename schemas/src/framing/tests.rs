use miniz_oxide::deflate::compress_to_vec_zlib;
use proptest::prelude::*;

use super::{FramingError, SchemaId, frame, open};

const MAX: usize = 4096;

fn glue(compression: u8, uuid: u128, datum: &[u8]) -> Vec<u8> {
    [&[3, compression][..], &uuid.to_be_bytes(), datum].concat()
}

fn refusal(message: &[u8]) -> Option<FramingError> {
    open(message, MAX).err()
}

#[test]
fn a_uuid_is_shown_as_glue_shows_it() {
    let id = SchemaId::Glue(0xb775_67be_9fd4_4e6e_8d4b_0123_4567_89ab);
    assert_eq!(id.to_string(), "b77567be-9fd4-4e6e-8d4b-0123456789ab");
    assert_eq!(SchemaId::from(7).to_string(), "7");
}

#[test]
fn a_small_message_that_inflates_without_end_is_stopped_at_the_limit() {
    let bomb = compress_to_vec_zlib(&vec![0; 64 << 20], 9);
    assert!(bomb.len() < 100_000);
    assert_eq!(
        refusal(&glue(5, 1, &bomb)),
        Some(FramingError::TooLong(MAX))
    );
    let exact = compress_to_vec_zlib(&vec![7; MAX], 9);
    assert_eq!(open(&glue(5, 1, &exact), MAX).unwrap().1.len(), MAX);
    let over = compress_to_vec_zlib(&vec![7; MAX + 1], 9);
    assert_eq!(
        refusal(&glue(5, 1, &over)),
        Some(FramingError::TooLong(MAX))
    );
}

proptest! {
    #[test]
    fn frames_of_all_kinds_give_back_what_was_framed(number: u32, uuid: u128, datum in prop::collection::vec(any::<u8>(), 0..MAX)) {
        let framed = frame(number, &datum);
        let (id, read) = open(&framed, MAX).unwrap();
        prop_assert_eq!((id, &*read), (SchemaId::Confluent(number), &datum[..]));
        for message in [glue(0, uuid, &datum), glue(5, uuid, &compress_to_vec_zlib(&datum, 6))] {
            let (id, read) = open(&message, MAX).unwrap();
            prop_assert_eq!((id, &*read), (SchemaId::Glue(uuid), &datum[..]));
        }
    }

    #[test]
    fn no_strict_prefix_of_a_header_or_of_deflated_data_is_a_frame(uuid: u128, datum in prop::collection::vec(any::<u8>(), 1..200)) {
        let plain = glue(0, uuid, &datum);
        for end in 0..18 {
            prop_assert_eq!(open(&plain[..end], MAX), Err(FramingError::Short(end)));
        }
        for end in 0..5 {
            prop_assert_eq!(refusal(&frame(1, &datum)[..end]), Some(FramingError::Short(end)));
        }
        let deflated = glue(5, uuid, &compress_to_vec_zlib(&datum, 6));
        for end in 18..deflated.len() {
            prop_assert_eq!(open(&deflated[..end], MAX), Err(FramingError::Deflated), "{} of {}", end, deflated.len());
        }
    }

    #[test]
    fn other_first_and_compression_bytes_are_named(byte: u8, rest in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assume!(byte != 0 && byte != 3);
        prop_assert_eq!(refusal(&[&[byte][..], &rest].concat()), Some(FramingError::Magic(byte)));
        prop_assume!(byte != 5);
        prop_assert_eq!(refusal(&[&[3, byte][..], &rest].concat()), Some(FramingError::Compression(byte)));
    }

    #[test]
    fn rubbish_never_panics(rest in prop::collection::vec(any::<u8>(), 0..80)) {
        drop(open(&[&[3, 5][..], &rest].concat(), MAX));
    }
}
