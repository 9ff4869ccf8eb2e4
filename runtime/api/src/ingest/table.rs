//! How wide a table in CSV is, before it is read.

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_wider;

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
