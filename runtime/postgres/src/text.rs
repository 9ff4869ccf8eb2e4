//! Names from outside as the server keeps them: its `text` cannot hold the character NUL, and a
//! robot that has one in its name must not stop the others.
//!
//! NUL becomes U+0001 `0`, U+0001 itself U+0001 `1`; all else stays. Different names stay
//! different, and keep their order.

use std::borrow::Cow;

const ESCAPE: char = '\u{1}';

/// A name as it is kept.
pub(super) fn stored(name: &str) -> Cow<'_, str> {
    if !name.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(name);
    }
    let escape = |character: char| match character {
        '\0' => [Some(ESCAPE), Some('0')],
        ESCAPE => [Some(ESCAPE), Some('1')],
        other => [Some(other), None],
    };
    Cow::Owned(name.chars().flat_map(escape).flatten().collect())
}

/// The name that is kept as `stored`.
pub(super) fn read_text(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut name = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => name.push(if characters.next() == Some('0') {
                '\0'
            } else {
                ESCAPE
            }),
            other => name.push(other),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{read_text, stored};

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec!['\0', '\u{1}', '\u{2}', '0', '1', 'r', 'ä']),
            0..6,
        )
        .prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn any_name_comes_back_and_keeps_its_place(left in name(), right in name()) {
            let (kept_left, kept_right) = (stored(&left), stored(&right));
            prop_assert!(!kept_left.contains('\0'));
            prop_assert_eq!(left.cmp(&right), kept_left.as_ref().cmp(kept_right.as_ref()));
            prop_assert_eq!(read_text(kept_left.clone().into_owned()), left.clone());
        }
    }
}
