//! Whatever bytes come in: every line is a row, a refusal or left out by the rules, nothing panics,
//! and the same bytes give the same rows however they come.

#![allow(clippy::unwrap_used)] // Of helpers of tests, too.

mod checked;

use std::fs;
use std::path::{Path, PathBuf};

use checked::{check, plans, read};
use proptest::prelude::*;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
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

/// Objects, one a line, with faults.
fn json_lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\n",
        "\r\n",
        " ",
        "\"time\"",
        "\"v\"",
        "\"b\"",
        "\"i\"",
        "\"n\"",
        "\"2026-01-31T08:00:00Z\"",
        "1769846400",
        "1.5",
        "-1e400",
        "true",
        "null",
        "\"",
        "\\u00e4",
        "\\",
        "{\"time\": \"2026-01-31T08:00:00Z\", \"v\": 1, \"b\": true, \"i\": 2, \"n\": \"r2\"}\n",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat().into_bytes())
}

/// Found by the fuzzer: more than eight bytes were looked at where they had come.
#[test]
fn what_a_file_is_does_not_depend_on_how_its_bytes_come() {
    let plans = plans(&corpus());
    for bytes in [
        &b"\x000\x002\x006\x00-\x000\x001\x00-\x003\x00\x00t\x00i\x00m\x00e\x00,\x00v\x00\n\x001\x00"[..],
        b"{          x\ntime,v\n2026-01-31T08:00:00Z,1\n",
        b"            {\"time\":1,\"v\":2}\n",
        b"SQLite format 3\x00 and what follows\n",
        b"#ROSBAG V2.0\ntime,v\n",
    ] {
        check(&plans, "in.csv", bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_become_rows_refusals_or_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        check(&plans(&corpus()), "in.csv", &bytes);
    }

    #[test]
    fn files_with_faults_become_rows_refusals_or_nothing(bytes in mutated()) {
        check(&plans(&corpus()), "in.csv", &bytes);
    }

    #[test]
    fn lines_of_json_become_rows_refusals_or_nothing(bytes in json_lines()) {
        check(&plans(&corpus())[..2], "in.ndjson", &bytes);
    }
}

#[test]
fn files_of_the_corpus_with_every_byte_changed_or_the_end_missing_do_no_harm() {
    let corpus = corpus();
    let plans = plans(&corpus);
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
                let _ = read(plan, "in.csv", &changed, usize::MAX);
                let _ = read(plan, "in.csv", &bytes[..at], usize::MAX);
            }
        }
    }
}
