use std::fs;
use std::io::{self, Read, Write};

use super::paths::natural;
use super::{Input, Kind, LINE_BYTES_MAX, LineFault, Lines, Packing, Text, find};

fn input(bytes: &[u8]) -> Input {
    Input::of("in", Box::new(io::Cursor::new(bytes.to_vec()))).unwrap()
}

fn lines(bytes: &[u8], encoding: Option<&str>) -> Vec<Result<String, LineFault>> {
    let mut lines = Lines::new(input(bytes), encoding).unwrap();
    let mut read = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        read.push(line.text.map_err(|(fault, _)| fault));
        assert_eq!(line.number, read.len() as u64);
    }
    read
}

#[test]
fn a_line_without_end_is_refused_in_bounded_memory_and_reading_goes_on() {
    let mut bytes = vec![b'x'; 3 * LINE_BYTES_MAX];
    bytes.extend_from_slice(b"\nnext\n");
    let mut lines = Lines::new(input(&bytes), None).unwrap();
    let long = lines.next_line().unwrap().unwrap();
    assert!(matches!(&long.text, Err((LineFault::TooLong, begins)) if begins.len() <= 200));
    assert!(
        lines.held_bytes() < 2 * LINE_BYTES_MAX,
        "{}",
        lines.held_bytes()
    );
    let next = lines.next_line().unwrap().unwrap();
    assert_eq!((next.number, next.text.as_deref()), (2, Ok("next")));
}

#[test]
fn malformed_bytes_cost_their_line_in_every_encoding() {
    let utf8 = lines(b"a\n\xff\nb\n", None);
    assert_eq!(utf8[1], Err(LineFault::NotText { is_assumed: true }));
    let sjis = lines(b"a\n\x81\xff\nb\n", Some("shift_jis"));
    assert_eq!(sjis[1], Err(LineFault::NotText { is_assumed: false }));
    assert_eq!(
        (&sjis[0], &sjis[2]),
        (&Ok("a".to_owned()), &Ok("b".to_owned()))
    );
    // Half of a pair.
    let mut utf16 = b"\xff\xfea\0\n\0\x00\xd8\n\0b\0".to_vec();
    assert_eq!(
        lines(&utf16, None)[1],
        Err(LineFault::NotText { is_assumed: false })
    );
    utf16.push(b'c');
    assert_eq!(
        lines(&utf16, None).len(),
        3,
        "half of a sign at the end is no panic"
    );
    assert_eq!(
        lines(b"\xef\xbb\xbfa", Some("latin1")),
        [Ok("a".to_owned())]
    );
}

#[test]
fn packed_files_that_were_cut_off_or_damaged_say_so_after_what_they_had() {
    let text: String = (0..20_000)
        .map(|line| format!("{line},{}\n", line * 7919 % 1013))
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(text.as_bytes(), 0).unwrap();
    for (name, packed) in [("gzip", gzip), ("zstd", zstd)] {
        let whole = input(&packed);
        assert!(whole.packing().is_some());
        let mut unpacked = String::new();
        let mut whole = whole;
        whole.read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
        let mut cut = Lines::new(input(&packed[..packed.len() * 9 / 10]), None).unwrap();
        let error = loop {
            match cut.next_line() {
                Ok(line) => assert!(line.is_some(), "{name}: the end of a cut file is no end"),
                Err(error) => break error,
            }
        };
        assert!(
            error
                .why
                .contains(&format!("in the middle of its {name} data")),
            "{error}"
        );
        assert!(error.place.line > 0, "{name}: what was there came");
    }
    assert_eq!(input(b"plain").packing(), None);
    assert_eq!(Packing::of(b"\x1f\x8b\x08\0"), Some(Packing::Gzip));
}

/// Gives a line and then waits for ever.
struct Pipe(usize);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0 += 1;
        assert!(self.0 < 3, "no more is asked for than the line needs");
        let piece: &[u8] = if self.0 == 1 { b"time,v\n" } else { b"1,2\n3" };
        into[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }
}

#[test]
fn a_pipe_is_read_as_far_as_it_has_come() {
    let mut lines = Lines::new(Input::of("-", Box::new(Pipe(0))).unwrap(), None).unwrap();
    assert_eq!(lines.next_line().unwrap().unwrap().text.unwrap(), "time,v");
    assert_eq!(lines.next_line().unwrap().unwrap().text.unwrap(), "1,2");
}

#[test]
fn folders_and_globs_are_files_in_the_order_of_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for name in ["run10.csv", "run2.csv", "run1.csv", ".hidden", "notes.txt"] {
        fs::write(path(name), "x").unwrap();
    }
    for name in ["deeper", "deeper/day2", "deeper/.trash"] {
        fs::create_dir(path(name)).unwrap();
    }
    for name in ["deeper/day2/run3.csv", "deeper/.trash/run4.csv"] {
        fs::write(path(name), "x").unwrap();
    }
    fs::create_dir(path("empty")).unwrap();
    let names = |files: Vec<String>| -> Vec<String> {
        let names = files
            .iter()
            .map(|file| file.rsplit('/').next().unwrap().to_owned());
        names.collect()
    };
    let all = names(find(&[folder.path().display().to_string()]).unwrap());
    assert_eq!(
        all,
        ["run3.csv", "notes.txt", "run1.csv", "run2.csv", "run10.csv"]
    );
    let some = names(find(&[path("run?*.csv"), path("run1.csv"), "-".to_owned()]).unwrap());
    assert_eq!(some, ["run1.csv", "run2.csv", "run10.csv", "-"]);
    assert!(
        find(&[path("*.none")])
            .unwrap_err()
            .why
            .contains("fits no file")
    );
    assert!(
        find(&[path("empty")])
            .unwrap_err()
            .why
            .contains("without files")
    );
    assert_eq!(
        names(find(&[path("gone.csv")]).unwrap()),
        ["gone.csv"],
        "opening it says why not"
    );
    assert!(Input::open(&path("gone.csv")).is_err());
    assert!(natural("a02", "a2").is_ne() && natural("a9b", "a10").is_lt());
    assert!(natural("a1b", "a1").is_gt() && natural("", "a").is_lt());
}

#[test]
fn what_programs_of_packing_leave_around_their_data_is_nothing() {
    let gzip = |text: &str| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let zstd = |text: &str| zstd::stream::encode_all(text.as_bytes(), 0).unwrap();
    let skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    let zeros = vec![0; 512];
    for packed in [
        [gzip("a\n"), gzip(""), gzip("b\n"), zeros.clone()].concat(),
        [gzip("a\n"), zeros, gzip("b\n")].concat(),
        [
            skipped.clone(),
            zstd("a\n"),
            skipped.clone(),
            zstd("b\n"),
            skipped,
        ]
        .concat(),
    ] {
        let mut text = String::new();
        input(&packed).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\n");
    }
    let twice = gzip("x");
    let mut outer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    outer.write_all(&twice).unwrap();
    let outer = outer.finish().unwrap();
    let opened = Input::of("in", Box::new(io::Cursor::new(outer)));
    assert!(opened.err().unwrap().why.contains("packed twice"));
    let mut junk = gzip("a\n");
    junk.extend_from_slice(b"junk");
    assert!(input(&junk).read_to_string(&mut String::new()).is_err());
}

#[test]
fn marks_of_joined_files_are_nothing() {
    let marked = "\u{feff}\u{feff}a\n\u{feff}b\nc\u{feff}\n";
    let read: Vec<String> = lines(marked.as_bytes(), None)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(read, ["a", "b", "c\u{feff}"]);
}

#[test]
fn files_that_are_no_text_are_told_apart() {
    assert_eq!(Kind::of(b"PAR1...."), Kind::Parquet);
    assert_eq!(Kind::of(b"\x89MCAP0\r\n"), Kind::Mcap);
    assert!(matches!(Kind::of(b"SQLite format 3\0"), Kind::Foreign(_)));
    assert_eq!(Kind::of(b"[N],time"), Kind::Text);
    assert_eq!(Kind::of(b"time,v"), Kind::Text);
    assert_eq!(Kind::of(b""), Kind::Text);
}

#[test]
fn text_is_read_as_utf8_whatever_it_was() {
    let mut text = String::new();
    let bytes = "grün\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect::<Vec<_>>();
    let bytes = [&[0xff, 0xfe], bytes.as_slice()].concat();
    Text::new(input(&bytes), None)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "grün\n");
}
