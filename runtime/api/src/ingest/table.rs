//! What a table in CSV is like, before it is read: how wide, and whether its quotes are in place.

/// Where in a row a byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    CellStart,
    Plain,
    Quoted,
    /// After a quote within quotes, which ends them unless another follows.
    Closing,
}

/// Whether a row has more cells than this: reading it would take several times the memory that it is
/// long.
pub(super) fn is_wider(body: &[u8], cells_max: usize) -> bool {
    let (mut at, mut cells) = (At::CellStart, 1);
    // The reader passes over the mark of UTF-8 at the beginning.
    for byte in body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body) {
        at = match (at, byte) {
            (At::CellStart | At::Closing, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Closing,
            (At::Quoted, _) => At::Quoted,
            (_, b',') => {
                cells += 1;
                At::CellStart
            }
            (_, b'\n' | b'\r') => {
                cells = 1;
                At::CellStart
            }
            _ => At::Plain,
        };
        if cells > cells_max {
            return true;
        }
    }
    false
}

/// What is wrong with the quotes of a table, with the line; the reader would take the rows behind
/// an open quote for a cell, and would join what stands behind a closed one to its cell.
pub(super) fn misplaced_quote(body: &[u8]) -> Option<String> {
    let (mut at, mut line, mut opened) = (At::CellStart, 1_u64, 1);
    for byte in body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body) {
        at = match (at, byte) {
            (At::CellStart, b'"') => {
                opened = line;
                At::Quoted
            }
            (At::Closing, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Closing,
            (At::Quoted, _) => At::Quoted,
            (_, b',' | b'\n' | b'\r') => At::CellStart,
            (At::Closing, _) => {
                return Some(format!(
                    "the quote that opens in line {opened} of the table closes before something else than a comma; a quote within a cell is doubled"
                ));
            }
            _ => At::Plain,
        };
        line += u64::from(*byte == b'\n');
    }
    (at == At::Quoted)
        .then(|| format!("a quote opens in line {opened} of the table and does not close"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_wider, misplaced_quote};

    #[test]
    fn quotes_out_of_place_are_found_at_their_line() {
        for good in [
            "",
            "a,b\n1,\"x\n\"\"y\"\"\"\n",
            "a\n5\" tool\n",
            "\"a\",\"\"\r\n",
        ] {
            assert_eq!(misplaced_quote(good.as_bytes()), None, "{good}");
        }
        for (bad, said) in [
            ("a,b\n1,2\n3,\"x\n5,6\n", "opens in line 3"),
            ("a\n\"5 inch\" tool\n", "something else than a comma"),
        ] {
            let why = misplaced_quote(bad.as_bytes()).unwrap();
            assert!(why.contains(said), "{why}");
        }
    }

    proptest! {
        #[test]
        fn rows_are_as_wide_as_the_reader_finds_them(body in "\u{feff}?[a\",\r\n]{0,40}") {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(body.as_bytes());
            let widths = reader.records().map(|row| row.unwrap().len());
            let widest = widths.max().unwrap_or(1);
            prop_assert!(!is_wider(body.as_bytes(), widest), "{widest}");
            prop_assert!(widest == 1 || is_wider(body.as_bytes(), widest - 1), "{widest}");
        }
    }
}
