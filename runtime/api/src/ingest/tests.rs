//! Bodies that come slowly, and bodies that would take more memory than they are long.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use theatre_actors::ports::Role;
use theatre_schemas::registry::Registry;

use super::records::{Bounds, DatasetEncoder, Encoders, Form};
use crate::Pace;
use crate::deployed::Deployed;

const PATH: &str = "/api/v1/datasets/robot_events/records";
const RECORD: &str =
    r#"{"robot_id": "r", "event_time": 0, "event_id": "e", "event_type": "fault"}"#;

/// Sends the head of a request and the beginning of its body, which is longer.
fn begin(served: &Deployed, path: &str, token: &str, length: usize, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.server.address).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
        content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Status and code of an answer, and whether the server hangs up after it.
fn answer(mut stream: TcpStream) -> (u16, String, bool) {
    let mut answer = vec![0; 4096];
    let mut length = 0;
    // A connection that stays open has an answer that ends with its JSON.
    while !answer[..length].ends_with(b"}") {
        let read = stream.read(&mut answer[length..]).unwrap();
        assert!(read > 0, "no whole answer");
        length += read;
    }
    let text = String::from_utf8_lossy(&answer[..length]);
    let status: Option<u16> = text.split(' ').nth(1).and_then(|it| it.parse().ok());
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).unwrap();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    // Only one that was refused is to be hung up, and on a busy machine that may take a while.
    let patience = match status {
        Some(400..) => Duration::from_secs(10),
        _ => Duration::from_millis(100),
    };
    stream.set_read_timeout(Some(patience)).unwrap();
    let hangs_up = match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        // What it has not read any more.
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    (status.unwrap(), code, hangs_up)
}

/// Sends one record; the status of what is answered.
fn send(served: &Deployed, token: &str) -> u16 {
    answer(begin(served, PATH, token, RECORD.len(), RECORD)).0
}

#[test]
fn bodies_that_come_slowly_are_refused_and_those_of_others_come_in() {
    let served = Deployed::start(|settings| {
        settings.ingests = 4;
        settings.pace = Pace {
            piece: Duration::from_secs(4),
            ..Pace::default()
        };
    });
    let slow = served.token(Role::Operator, &[]);
    let other = served.token(Role::Operator, &[]);
    let stalled: Vec<TcpStream> = (0..4)
        .map(|_| begin(&served, PATH, &slow, 1_000_000, "["))
        .collect();
    // Two of them are more than one caller may have.
    assert_eq!(send(&served, &other), 202);
    let mut ends: Vec<(u16, String, bool)> = stalled.into_iter().map(answer).collect();
    ends.sort();
    let codes: Vec<&str> = ends.iter().map(|(_, code, _)| code.as_str()).collect();
    assert_eq!(codes, ["too_slow", "too_slow", "busy", "busy"]);
    let late = (408, "too_slow".to_owned(), true);
    assert!(ends[..2].iter().all(|end| *end == late), "{ends:?}");
    assert_eq!(send(&served, &slow), 202, "it has its permits again");

    // A body that is no records has no permit, but a connection.
    let admin = served.token(Role::Admin, &[]);
    let small = begin(&served, "/api/v1/tokens", &admin, 100, "{");
    assert_eq!(answer(small), late);
}

#[test]
fn a_body_that_drips_is_refused_although_each_piece_comes_in_time() {
    let served = Deployed::start(|settings| {
        settings.pace = Pace {
            piece: Duration::from_secs(20),
            whole: Duration::from_secs(2),
            bytes_per_second: 100,
        };
    });
    let token = served.token(Role::Operator, &[]);
    let mut drips = begin(&served, PATH, &token, 1_000_000, "[");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(15) {
        if drips.write_all(b" ").is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        drips.set_nonblocking(true).unwrap();
        let has_answer = drips.peek(&mut [0]).is_ok();
        drips.set_nonblocking(false).unwrap();
        if has_answer {
            break;
        }
    }
    assert_eq!(answer(drips), (408, "too_slow".to_owned(), true));
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(send(&served, &token), 202);
}

#[test]
fn a_pace_gives_a_long_body_more_time_but_no_piece_of_it() {
    let pace = Pace {
        piece: Duration::from_secs(10),
        whole: Duration::from_secs(30),
        bytes_per_second: 1000,
    };
    let within = |bytes, taken| {
        pace.next_within(bytes, Duration::from_secs(taken))
            .as_secs()
    };
    for (bytes, taken, wanted) in [
        (0, 0, 10),
        (0, 25, 5),
        (0, 31, 0),
        (10_000, 31, 9),
        (100_000, 31, 10),
        (u64::MAX, 31, 10),
    ] {
        assert_eq!(within(bytes, taken), wanted, "{bytes} within {taken} s");
    }
}

fn bounds(rejected: Option<u64>) -> Bounds {
    Bounds {
        record_bytes: 1 << 20,
        body_bytes: 16 << 20,
        rejected,
    }
}

#[test]
fn no_more_is_read_of_a_body_after_many_records_that_do_not_fit() {
    let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
    let encoder = encoders.of("robot_events").unwrap();
    let wrong: Vec<&str> = std::iter::repeat_n("{}", 50).chain([RECORD]).collect();
    for (form, body) in [
        (Form::Json, format!("[{}]", wrong.join(","))),
        (Form::Lines, wrong.join("\n")),
        (Form::Csv, format!("robot_id\n{}", "r\n".repeat(50))),
    ] {
        let parse = |most| encoder.parse(form, body.as_bytes(), bounds(most)).unwrap();
        let cut = parse(Some(20));
        assert_eq!((cut.rejected_total, cut.is_cut_off), (20, true), "{form:?}");
        let all = parse(None);
        assert_eq!(
            (all.rejected_total, all.is_cut_off),
            (50, false),
            "{form:?}"
        );
        let fits = usize::from(form != Form::Csv);
        assert_eq!(all.records.len(), fits, "{form:?}");
    }
}

#[test]
fn a_table_of_which_cells_could_be_taken_for_others_is_refused() {
    let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
    let encoder = encoders.of("robot_events").unwrap();
    let row = "r,2026-01-31T08:00:00Z,e,fault";
    let head = "robot_id,event_time,event_id,event_type,detail";
    for (body, said) in [
        (format!("{head},detail\n{row},a,b\n"), "'detail' twice"),
        (
            format!("{head}\n{row},\"a\n{row},b\n"),
            "line 2 of the table and does not close",
        ),
        (
            format!("{head}\n{row},\"a\" b\n"),
            "something else than a comma",
        ),
    ] {
        let parsed = encoder.parse(Form::Csv, body.as_bytes(), bounds(None));
        let problem = format!("{:?}", parsed.unwrap_err());
        assert!(problem.contains(said), "{problem}");
    }
    let good = format!("{head}\n{row},\"a, \"\"b\"\"\nc\"\n");
    let parsed = encoder
        .parse(Form::Csv, good.as_bytes(), bounds(None))
        .unwrap();
    assert_eq!((parsed.records.len(), parsed.rejected_total), (1, 0));
}

#[test]
fn a_time_in_another_unit_is_none() {
    let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
    let encoder = encoders.of("robot_events").unwrap();
    for (time, fits) in [
        ("1769846400", false),
        ("1769846400000", false),
        ("1769846400000000", true),
        ("1769846400000000000", false),
        ("\"2026-01-31T08:00:60Z\"", false),
        ("\"2016-12-31T23:59:60Z\"", true),
    ] {
        let record = RECORD.replace("\"event_time\": 0", &format!("\"event_time\": {time}"));
        let parsed = encoder
            .parse(Form::Lines, record.as_bytes(), bounds(None))
            .unwrap();
        assert_eq!(
            parsed.records.len(),
            usize::from(fits),
            "{record}: {parsed:?}"
        );
    }
}

#[test]
fn a_record_that_is_larger_than_one_may_be_is_rejected_and_the_others_are_not() {
    let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
    let encoder = encoders.of("robot_events").unwrap();
    let wide = format!("{{\"x\": [{}]}}", vec!["0"; 100_000].join(","));
    for (form, body) in [
        (Form::Json, format!("[{RECORD},{wide},{RECORD}]")),
        (Form::Lines, format!("{RECORD}\n{wide}\n{RECORD}")),
    ] {
        let parsed = encoder.parse(form, body.as_bytes(), bounds(None)).unwrap();
        assert_eq!(parsed.records.len(), 2, "{form:?}");
        let [rejected] = &parsed.rejected[..] else {
            panic!("{parsed:?}");
        };
        assert_eq!(rejected.index, 1, "{form:?}");
        assert!(
            rejected.faults[0].expected.contains("65536 values"),
            "{form:?}"
        );
    }
}

/// The encoder of events; without the way for records in their usual form, where that is not wanted.
fn encoder(is_direct: bool) -> DatasetEncoder {
    let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
    let encoder = encoders.of("robot_events").unwrap();
    drop(encoders);
    let mut encoder = std::sync::Arc::into_inner(encoder).unwrap();
    assert!(encoder.direct.is_some());
    if !is_direct {
        encoder.direct = None;
    }
    encoder
}

/// Records that are in their usual form, others that are right, and some that are wrong.
fn mixed() -> Vec<String> {
    let record =
        |rest: &str| format!(r#"{{"robot_id": "r", "event_time": 0, "event_id": "e"{rest}}}"#);
    vec![
        RECORD.to_owned(),
        record(r#", "event_type": "fault", "detail": "say \"so\", \u00e4""#),
        record(r#", "event_type": "fault", "detail": "ä", "sequence": 7"#),
        record(r#", "event_type": "none""#),
        record(r#", "event_type": "fault", "event_type": "fault""#),
        record(""),
        r#"{"event_type": "fault", "event_id": "e", "event_time": "2026-01-31T12:00:00.5Z", "robot_id": "s"}"#.to_owned(),
        r#"{"robot_id": "", "event_time": 0, "event_id": "e", "event_type": "fault"}"#.to_owned(),
        "7".to_owned(),
        "{}".to_owned(),
        RECORD.replace("\"e\"", &format!("\"{}\"", "e".repeat(70_000))),
        RECORD.to_owned(),
    ]
}

#[test]
fn a_body_says_the_same_whichever_way_its_records_take() {
    let (direct, by_tree) = (encoder(true), encoder(false));
    let records = mixed();
    let lines = records.join(" \r\n \n");
    let array = format!(" [ {} ]\n", records.join(" ,\n"));
    let broken = format!("[{RECORD},{RECORD} {RECORD}]");
    let cut = array[..array.len() - 40].to_owned();
    for (form, body) in [
        (Form::Lines, lines.as_str()),
        (Form::Lines, &format!("{RECORD} {RECORD}\n{RECORD}")),
        (Form::Lines, &RECORD.replace(", ", ",\n")),
        (Form::Lines, "\n\n"),
        (Form::Json, &array),
        (Form::Json, &broken),
        (Form::Json, &cut),
        (Form::Json, RECORD),
        (Form::Json, "[]"),
        (Form::Json, "[,]"),
        (Form::Json, &format!("[{RECORD},]")),
        (Form::Json, &format!("[{RECORD}] 7")),
        (Form::Json, &format!("[{}]", RECORD.replace(", ", ",\n"))),
    ] {
        for (most, longest) in [(None, 1 << 20), (Some(2), 1 << 20), (None, 100)] {
            let bounds = Bounds {
                record_bytes: longest,
                ..bounds(most)
            };
            let parsed = |encoder: &DatasetEncoder| {
                let parsed = encoder.parse(form, body.as_bytes(), bounds);
                parsed
                    .map(|parsed| format!("{parsed:?}"))
                    .map_err(|problem| problem.detail)
            };
            assert_eq!(parsed(&direct), parsed(&by_tree), "{form:?} {body:.200}");
        }
    }
}

/// A body of 16 MiB of which a record, or all of them, is a pattern that is repeated.
fn repeated(before: &str, pattern: &str, after: &str) -> Vec<u8> {
    let length: usize = 16 << 20;
    let mut body = Vec::with_capacity(length);
    body.extend_from_slice(before.as_bytes());
    while body.len() + pattern.len() + after.len() <= length {
        body.extend_from_slice(pattern.as_bytes());
    }
    body.extend_from_slice(after.as_bytes());
    body
}

/// Bodies that were made to take memory, by name.
fn greedy(name: &str) -> (Form, Vec<u8>, Option<u64>) {
    let cut = Some(super::REJECTED_MAX);
    match name {
        "nested" => (Form::Json, repeated("[", "[[[0]]],", "0]"), cut),
        "zeros" => (Form::Json, repeated("[", "0,", "0]"), cut),
        "a record" => (Form::Json, repeated("[{\"x\":[", "0,", "0]}]"), None),
        "a line" => (Form::Lines, repeated("{\"x\":[", "[],", "0]}"), None),
        "names" => (Form::Lines, repeated("{", "\"\":{},", "\"\":0}"), None),
        "a header" => (Form::Csv, repeated("", ",", "\n"), None),
        "cells" => (Form::Csv, repeated("a\n", ",", "\n"), None),
        "container" => {
            let many = datum("a").repeat(1 << 20);
            (Form::Avro, file(SCHEMA, "deflate", &[(1 << 20, many)]), cut)
        }
        "bomb" => {
            let block = vec![0; 64 << 20];
            (Form::Avro, file(SCHEMA, "zstandard", &[(1, block)]), cut)
        }
        "quoted" => (Form::Csv, repeated("", "\"\n\",", "a\n"), None),
        _ => (Form::Lines, repeated("", &format!("{RECORD}\n"), ""), None),
    }
}

const SCHEMA: &str = include_str!("../../../../schemas/avro/robot_events/v1.avsc");

fn long(to: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        to.push(left as u8 | 0x80);
        left >>= 7;
    }
    to.push(left as u8);
}

fn text(to: &mut Vec<u8>, text: &[u8]) {
    long(to, text.len() as i64);
    to.extend_from_slice(text);
}

/// A datum of the schema: a fault of a robot.
fn datum(robot: &str) -> Vec<u8> {
    let mut datum = Vec::new();
    text(&mut datum, robot.as_bytes());
    // Time, no boot, no sequence.
    datum.extend_from_slice(&[0, 0, 0]);
    text(&mut datum, b"e");
    // A fault without a component, a code, a detail, a facility.
    datum.extend_from_slice(&[12, 0, 0, 0, 0]);
    datum
}

/// An object container file: a block for each of these, with how many records it says to have.
fn file(schema: &str, codec: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    long(&mut file, 2);
    text(&mut file, b"avro.schema");
    text(&mut file, schema.as_bytes());
    text(&mut file, b"avro.codec");
    text(&mut file, codec.as_bytes());
    long(&mut file, 0);
    file.extend_from_slice(&[7; 16]);
    for (count, block) in blocks {
        long(&mut file, *count);
        text(&mut file, &packed(codec, block));
        file.extend_from_slice(&[7; 16]);
    }
    file
}

fn packed(codec: &str, block: &[u8]) -> Vec<u8> {
    match codec {
        "deflate" => {
            let level = flate2::Compression::best();
            let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), level);
            packer.write_all(block).unwrap();
            packer.finish().unwrap()
        }
        "zstandard" => zstd::bulk::compress(block, 3).unwrap(),
        _ => block.to_vec(),
    }
}

fn parse(body: &[u8], bounds: Bounds) -> Result<super::records::Parsed, (u16, String)> {
    let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
    let encoder = encoders.of("robot_events").unwrap();
    let parsed = encoder.parse(Form::Avro, body, bounds);
    parsed.map_err(|problem| (problem.status, problem.detail))
}

#[test]
fn a_container_of_avro_holds_many_records_each_of_which_is_answered_for() {
    for codec in ["null", "deflate", "zstandard"] {
        let first = [datum("a"), datum(""), datum("b")].concat();
        // Of the second block the second record ends too early, and the third cannot be found.
        let broken = [datum("c"), vec![200]].concat();
        let blocks = [(3, first), (3, broken), (1, datum("d"))];
        let parsed = parse(&file(SCHEMA, codec, &blocks), bounds(None)).unwrap();
        let keys: Vec<&[u8]> = parsed.records.iter().map(|it| it.key.as_slice()).collect();
        assert_eq!(keys, [b"a", b"b", b"c", b"d"], "{codec}");
        assert_eq!(
            parsed.records[3].value[..5],
            [0, 0, 0, 3, 234],
            "schema 1002"
        );
        assert_eq!(parsed.records[3].value[5..], datum("d"));
        let wrong: Vec<u64> = parsed.rejected.iter().map(|it| it.index).collect();
        assert_eq!((wrong, parsed.rejected_total), (vec![1, 4], 3), "{codec}");
        assert!(
            parsed.rejected[1].faults[0]
                .expected
                .contains("1 behind it")
        );
    }
}

#[test]
fn a_container_that_is_none_or_of_another_schema_is_refused_as_a_whole() {
    let good = file(SCHEMA, "null", &[(1, datum("a"))]);
    let other = SCHEMA.replace("\"event_id\"", "\"event_name\"");
    let mut sync = good.clone();
    *sync.last_mut().unwrap() = 0;
    for (what, body, says) in [
        (
            "another schema",
            file(&other, "null", &[]),
            "is none of the dataset",
        ),
        (
            "no schema",
            file("{}", "null", &[]),
            "the container's schema",
        ),
        ("a codec", file(SCHEMA, "snappy", &[]), "snappy"),
        ("cut off", good[..good.len() - 3].to_vec(), "ends"),
        (
            "a block that is not there",
            file(SCHEMA, "null", &[(1 << 62, Vec::new())]),
            "more records than bytes",
        ),
    ] {
        let (status, detail) = parse(&body, bounds(None)).unwrap_err();
        assert!(status == 400 && detail.contains(says), "{what}: {detail}");
    }
    assert!(parse(&sync, bounds(None)).is_err());
    // What it says of its lengths is not believed.
    for at in 0..good.len() {
        let mut body = good.clone();
        body[at] ^= 0xff;
        drop(parse(&body, bounds(None)));
        drop(parse(&good[..at], bounds(None)));
    }
}

#[test]
fn a_container_that_unpacks_to_more_than_a_body_may_be_is_too_large() {
    let zeros = vec![0; 32 << 20];
    for codec in ["deflate", "zstandard"] {
        let body = file(SCHEMA, codec, &[(1, zeros.clone())]);
        assert!(body.len() < 1 << 20);
        assert_eq!(parse(&body, bounds(None)).unwrap_err().0, 413, "{codec}");
        // Also where each block by itself is not.
        let block = vec![0; 9 << 20];
        let body = file(SCHEMA, codec, &[(1, block.clone()), (1, block)]);
        assert_eq!(parse(&body, bounds(None)).unwrap_err().0, 413, "{codec}");
    }
    let many = datum("a").repeat(1 << 20);
    let body = file(SCHEMA, "deflate", &[(1 << 20, many)]);
    assert_eq!(parse(&body, bounds(None)).unwrap_err().0, 413);
}

/// Most memory that this process ever had, bytes.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() << 10
}

#[test]
fn a_body_takes_no_more_than_a_few_times_its_length_of_memory() {
    const NAME: &str = "THEATRE_TEST_BODY";
    if let Ok(name) = std::env::var(NAME) {
        let encoders = Encoders::new(std::sync::Arc::new(Registry::builtin()));
        let encoder = encoders.of("robot_events").unwrap();
        let (form, body, rejected) = greedy(&name);
        let before = most_memory();
        drop(encoder.parse(form, &body, bounds(rejected)));
        println!("took {} bytes", most_memory() - before);
        return;
    }
    // Each in a process of its own, whose memory is its own.
    for name in [
        "nested",
        "zeros",
        "a record",
        "a line",
        "names",
        "a header",
        "cells",
        "quoted",
        "container",
        "bomb",
        "records",
    ] {
        let test = "ingest::tests::a_body_takes_no_more_than_a_few_times_its_length_of_memory";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(NAME, name)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let took = said.split_once("took ").and_then(|(_, rest)| {
            let (bytes, _) = rest.split_once(" bytes")?;
            bytes.parse::<u64>().ok()
        });
        let took = took.unwrap_or_else(|| panic!("{name}: {said}"));
        assert!(took <= 64 << 20, "{name}: {took} bytes");
    }
}
