//! Where a list goes on: an opaque text that holds the place of the last item that was looked at,
//! and by which list it was given. One that is broken, or of another list, is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::problem::{Answer, Problem};

/// Bytes by which a place is known to be whole, and of its list.
const SUM: usize = 8;

/// The text of a place in a list; the list is its path with what it is asked by.
pub(crate) fn seal(list: &str, place: &impl Serialize) -> String {
    let mut bytes = serde_json::to_vec(place).unwrap_or_default();
    let sum = sum(list, &bytes);
    bytes.extend(sum);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that a text holds.
pub(crate) fn open<T: DeserializeOwned>(list: &str, text: &str) -> Answer<T> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, its_sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM)?)?;
        if sum(list, place) != its_sum {
            return None;
        }
        serde_json::from_slice(place).ok()
    };
    read().ok_or_else(|| {
        Problem::bad(
            "after: give the `next` of the page before as it was, with the same filters; without `after` the list begins anew",
        )
    })
}

fn sum(list: &str, place: &[u8]) -> [u8; SUM] {
    let mut digest = Sha256::new();
    digest.update((list.len() as u64).to_be_bytes());
    digest.update(list.as_bytes());
    digest.update(place);
    let mut sum = [0; SUM];
    sum.copy_from_slice(&digest.finalize()[..SUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::{open, seal};

    #[test]
    fn a_place_comes_back_in_its_own_list_only_and_whole() {
        let place = ("a/b".to_owned(), 7_u64);
        let text = seal("outcomes?robot=r", &place);
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
        assert_eq!(
            open::<(String, u64)>("outcomes?robot=r", &text).unwrap(),
            place
        );
        assert!(open::<(String, u64)>("outcomes?robot=s", &text).is_err());
        assert!(open::<u64>("outcomes?robot=r", &text).is_err(), "its form");
        for broken in ["", "x", "AAAA", &text[1..], &format!("{text}A"), "ä"] {
            assert!(
                open::<(String, u64)>("outcomes?robot=r", broken).is_err(),
                "{broken}"
            );
        }
    }
}
