//! What must hold of every input, for the property test and for the fuzz target: every line is a
//! row, a refusal or left out by the rules, nothing panics, and the same bytes give the same rows
//! however they come.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

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

/// The plans of all mappings; `corpus` is the folder of the corpus.
pub fn plans(corpus: &Path) -> Vec<Arc<Plan>> {
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
pub fn read(plan: &Arc<Plan>, name: &str, bytes: &[u8], piece: usize) -> Option<(Vec<Row>, Tally)> {
    let pieces = Pieces {
        bytes: bytes.to_vec(),
        at: 0,
        piece,
    };
    let input = Input::of(name, Box::new(pieces)).ok()?;
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

/// Whether the bytes are read as one byte a sign: nothing packed, no mark, no zeros.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && !matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// What must hold of a file of this name with these bytes, whatever they are.
pub fn check(plans: &[Arc<Plan>], name: &str, bytes: &[u8]) {
    for plan in plans {
        let whole = read(plan, name, bytes, usize::MAX);
        let single = read(plan, name, bytes, 1);
        assert_eq!(whole, single, "bytes come one by one, or all at once");
        let Some((rows, tally)) = whole else {
            continue;
        };
        if name.ends_with(".csv") && is_plain(bytes) && plan.mapping().encoding.is_none() {
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
