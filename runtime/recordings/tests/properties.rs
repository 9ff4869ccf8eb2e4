//! Whatever bytes come in: every line is a row, a refusal or left out by the rules, nothing panics,
//! and the same bytes give the same rows however they come.

#![allow(clippy::unwrap_used)] // Of helpers of tests, too.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use theatre_recordings::mapping::Mapping;
use theatre_recordings::rows::{Plan, Row, Rows, Tally};
use theatre_recordings::source::Input;

/// Mappings of all kinds, over the schema of the corpus.
const MAPPINGS: &[&str] = &[
    "robot_id = \"r1\"\ntime_column = \"time\"",
    "robot_id = \"r1\"\ntime_column = \"time\"\ntime_zone = \"Europe/Berlin\"\nrepeated_hour = \"by_order\"",
    "robot_column = \"n\"\ntime_column = \"time\"\nbad_cells = \"refuse\"",
    "robot_id = \"r1\"\ntime_column = \"time\"\ntime_format = \"epoch_ns\"\ndelimiter = \"blanks\"",
    "robot_id = \"r1\"\nrate = \"100Hz\"\ntime_start = \"2026-01-31T08:00:00Z\"\nfooter_lines = 2",
    "robot_id = \"r1\"\ntime_column = \"time\"\ndelimiter = \";\"\ndecimal = \",\"\nthousands = \".\"\ntime_format = \"day_first\"\ntime_zone = \"UTC\"",
    "robot_id = \"r1\"\ntime_column = \"time\"\ncomment = \"#\"\nskip_lines = 1\nskip_after_header = 1\nencoding = \"shift_jis\"",
    "robot_id = \"r1\"\ntime_column = \"#1\"\nheader = \"none\"\nquote = \"'\"\nescape = '\\'\ntime_format = \"elapsed_s\"\ntime_start = \"2026-01-31T08:00:00Z\"\nnames = [\"time\", \"v\", \"b\", \"i\", \"n\"]",
];

fn plans() -> Vec<Arc<Plan>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let of = |keys: &&str| {
        let columns = "[columns]\nv = \"v\"\nb = \"b\"\ni = \"i\"\n";
        let text = format!("schema = \"signals.avsc\"\n{keys}\n{columns}");
        let mut mapping: Mapping = theatre_config::parse(Path::new("m.toml"), &text).unwrap();
        mapping.schema = corpus.join(&mapping.schema);
        Arc::new(Plan::new(mapping).unwrap())
    };
    MAPPINGS.iter().map(of).collect()
}

/// Gives its bytes in pieces.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(into.len()).min(self.bytes.len() - self.at);
        into[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Reads all; none when the file itself is refused.
fn read(plan: &Arc<Plan>, bytes: &[u8], piece: usize) -> Option<(Vec<Row>, Tally)> {
    let pieces = Pieces {
        bytes: bytes.to_vec(),
        at: 0,
        piece,
    };
    let input = Input::of("in.csv", Box::new(pieces)).ok()?;
    let mut reader = Rows::of_input(plan, input).ok()?;
    let mut rows = Vec::new();
    let mut refused = 0;
    while let Some(row) = reader.next_row().ok()? {
        match row {
            Ok(row) => rows.push(row),
            Err(_) => refused += 1,
        }
    }
    let tally = reader.tally().clone();
    assert_eq!(tally.rows, rows.len() as u64);
    assert_eq!(tally.refused_lines(), refused);
    Some((rows, tally))
}

/// Lines of bytes in an encoding of one byte a sign, as an editor counts them.
fn lines(bytes: &[u8]) -> u64 {
    let mut lines = 0;
    let mut is_open = false;
    let mut after_cr = false;
    for byte in bytes {
        let is_second = after_cr && *byte == b'\n';
        after_cr = *byte == b'\r';
        if is_second {
            continue;
        }
        is_open = !matches!(byte, b'\r' | b'\n');
        lines += u64::from(!is_open);
    }
    lines + u64::from(is_open)
}

/// A good file, in the words that mutations may put together.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "2026-01-31T08:00:00Z",
        "2026-10-25 02:30:00",
        "31.01.2026 08:00",
        "1769846400000000000",
        "1.7698464E9",
        "1",
        "1,5",
        "1.234,5",
        "true",
        "off",
        "N/A",
        "",
        "\"a, b\"",
        "\"open",
        "in\"ch",
        "-",
        "1e400",
        "0.0",
        "ä",
        " ",
        "#",
        "time",
        "v",
        "b",
    ]);
    let delimiter = prop::sample::select(vec![",", ";", " ", "\t"]);
    let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    let header = prop::sample::select(vec![
        "time,v,b,i,n",
        "time;v;b;i;n",
        "time v b i n",
        "x",
        "",
    ]);
    let row = prop::collection::vec(word, 0..7);
    (header, delimiter, end, prop::collection::vec(row, 0..12)).prop_map(
        |(header, delimiter, end, rows)| {
            let mut text = header.to_owned();
            for row in rows {
                text.push_str(end);
                text.push_str(&row.join(delimiter));
            }
            text.into_bytes()
        },
    )
}

/// The same with bytes put in, taken out and changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    (valid(), prop::collection::vec(change, 0..8)).prop_map(|(mut bytes, changes)| {
        for (at, byte, kind) in changes {
            if bytes.is_empty() {
                bytes.push(byte);
                continue;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 => {
                    bytes.remove(at);
                }
                2 => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

/// Whether the bytes are read as one byte a sign: nothing packed, no mark, no zeros.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && !matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

fn check(bytes: &[u8]) {
    for plan in plans() {
        let whole = read(&plan, bytes, usize::MAX);
        let single = read(&plan, bytes, 1);
        assert_eq!(whole, single, "bytes come one by one, or all at once");
        let Some((rows, tally)) = whole else {
            continue;
        };
        if is_plain(bytes) && plan.mapping().encoding.is_none() {
            assert_eq!(
                lines(bytes),
                tally.rows + tally.refused_lines() + tally.left_out,
                "every line is a row, a refusal, or left out"
            );
        }
        for row in rows {
            assert!(!row.robot_id.is_empty());
            assert!(row.draft.encode(i64::MAX).len() >= row.draft.bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_become_rows_refusals_or_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        check(&bytes);
    }

    #[test]
    fn files_with_faults_become_rows_refusals_or_nothing(bytes in mutated()) {
        check(&bytes);
    }
}

#[test]
fn files_of_the_corpus_with_every_byte_changed_or_the_end_missing_do_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let plans = plans();
    for name in [
        "open_quote",
        "semicolon",
        "utf16_be",
        "gzip",
        "zstd",
        "layout_cmapss",
    ] {
        let folder = fs::read_dir(corpus.join(name)).unwrap();
        let input = folder.map(|entry| entry.unwrap().path()).find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("in.")
        });
        let bytes = fs::read(input.unwrap()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            for plan in &plans[..3] {
                let _ = read(plan, &changed, usize::MAX);
                let _ = read(plan, &bytes[..at], usize::MAX);
            }
        }
    }
}
