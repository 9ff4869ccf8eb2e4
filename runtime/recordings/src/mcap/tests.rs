use std::collections::BTreeMap;
use std::io::Cursor;

use mcap::records::MessageHeader;
use mcap::{Compression, WriteOptions, Writer};
use proptest::prelude::*;

use super::{Mcap, topics};
use crate::column_search::ColumnSearch;
use crate::mapping::Mapping;
use crate::records::{Cell, Records};
use crate::source::Input;

const RULE: &str =
    "================================================================================";

const HEADER: &str =
    "MSG: std_msgs/Header\n# Standard metadata.\nbuiltin_interfaces/Time stamp\nstring frame_id\n";
const TIME: &str = "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n";

fn joint_state() -> String {
    format!(
        "# A message that holds data to describe the state of a set of joints.\nstd_msgs/Header header\n\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n{RULE}\n{HEADER}{RULE}\n{TIME}"
    )
}

/// A CDR message, put together by the rules: values at multiples of their width from behind the
/// four bytes of the head.
#[derive(Clone)]
struct Cdr {
    big: bool,
    body: Vec<u8>,
}

impl Cdr {
    fn new(big: bool) -> Self {
        Self {
            big,
            body: Vec::new(),
        }
    }

    fn put<const WIDTH: usize>(mut self, little: [u8; WIDTH]) -> Self {
        while !self.body.len().is_multiple_of(WIDTH) {
            self.body.push(0xee);
        }
        let mut bytes = little;
        if self.big {
            bytes.reverse();
        }
        self.body.extend(bytes);
        self
    }

    fn u32(self, value: u32) -> Self {
        self.put(value.to_le_bytes())
    }

    fn text(self, text: &str) -> Self {
        let mut longer = self.u32(u32::try_from(text.len()).unwrap() + 1);
        longer.body.extend(text.as_bytes());
        longer.body.push(0);
        longer
    }

    fn texts(self, texts: &[&str]) -> Self {
        let counted = self.u32(u32::try_from(texts.len()).unwrap());
        texts.iter().fold(counted, |cdr, text| cdr.text(text))
    }

    fn doubles(self, values: &[f64]) -> Self {
        let counted = self.u32(u32::try_from(values.len()).unwrap());
        values
            .iter()
            .fold(counted, |cdr, value| cdr.put(value.to_le_bytes()))
    }

    fn header(self, seconds: u32, nanos: u32, frame: &str) -> Self {
        self.u32(seconds).u32(nanos).text(frame)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0, u8::from(!self.big), 0, 0];
        bytes.extend(&self.body);
        bytes
    }
}

/// A topic to write: name, type, encoding of the definition, definition, encoding of the messages.
type Written<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, Vec<Vec<u8>>);

fn file(options: WriteOptions, written: &[Written<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::with_options(Cursor::new(&mut bytes), options).unwrap();
    for (topic, kind, form, definition, encoding, messages) in written {
        let schema = if kind.is_empty() {
            0
        } else {
            writer
                .add_schema(kind, form, definition.as_bytes())
                .unwrap()
        };
        let channel = writer
            .add_channel(schema, topic, encoding, &BTreeMap::new())
            .unwrap();
        for (number, message) in messages.iter().enumerate() {
            let header = MessageHeader {
                channel_id: channel,
                sequence: 0,
                log_time: 1_769_846_400_000_000_000 + number as u64,
                publish_time: 5,
            };
            writer.write_to_known_channel(&header, message).unwrap();
        }
    }
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn ros<'a>(topic: &'a str, kind: &'a str, text: &'a str, messages: Vec<Vec<u8>>) -> Written<'a> {
    (topic, kind, "ros2msg", text, "cdr", messages)
}

fn open(bytes: &[u8], topic: Option<&str>) -> Result<Mcap<Cursor<Vec<u8>>>, String> {
    Mcap::open(
        "f".into(),
        Cursor::new(bytes.to_vec()),
        topic,
        &ColumnSearch::default(),
    )
    .map_err(|error| error.to_string())
}

/// Records as `column=cell` without missing ones and the two times of the record, or refusals.
fn read(bytes: &[u8], topic: Option<&str>) -> Vec<String> {
    let mut file = open(bytes, topic).unwrap();
    let mut rows = Vec::new();
    while let Some(record) = file.next_record().unwrap() {
        rows.push(match record {
            Err(refusal) => refusal.to_string(),
            Ok(record) => {
                assert_eq!(record.cells.len(), file.columns().len());
                let named = file.columns().iter().zip(&record.cells).skip(2);
                let cells: Vec<String> = named
                    .filter(|(_, cell)| **cell != Cell::Missing)
                    .map(|(name, cell)| match cell {
                        Cell::Missing => String::new(),
                        Cell::Text(text) => format!("{name}='{text}'"),
                        Cell::Integer(value) => format!("{name}={value}"),
                        Cell::Number(value) => format!("{name}={value:?}"),
                        Cell::Flag(value) => format!("{name}={value}"),
                        Cell::Time(value) => format!("{name}=@{value}"),
                    })
                    .collect();
                format!("{} {}", record.place.line, cells.join(" "))
            }
        });
    }
    rows
}

fn states(big: bool) -> Vec<Vec<u8>> {
    let first = Cdr::new(big)
        .header(1_769_846_400, 500_000_000, "base")
        .texts(&["shoulder", "elbow"])
        .doubles(&[0.25, -1.5])
        .doubles(&[])
        .doubles(&[7.0, 8.0]);
    let second = Cdr::new(big)
        .header(0, 0, "")
        .texts(&["elbow", "wrist", "shoulder"])
        .doubles(&[1.0, 2.0, 3.0])
        .doubles(&[4.0])
        .doubles(&[]);
    vec![first.bytes(), second.bytes()]
}

#[test]
fn joint_states_go_by_their_joints_in_both_byte_orders() {
    let text = joint_state();
    for big in [false, true] {
        for compression in [None, Some(Compression::Zstd)] {
            let bytes = file(
                WriteOptions::new().compression(compression),
                &[ros(
                    "/joint_states",
                    "sensor_msgs/msg/JointState",
                    &text,
                    states(big),
                )],
            );
            assert_eq!(
                read(&bytes, None),
                [
                    "1 header.stamp=@1769846400500000000 header.frame_id='base' \
                     position[shoulder]=0.25 position[elbow]=-1.5 effort[shoulder]=7.0 effort[elbow]=8.0",
                    "2 header.frame_id='' position[shoulder]=3.0 position[elbow]=1.0 \
                     position[wrist]=2.0 velocity[0]=4.0",
                ]
            );
        }
    }
    let bytes = file(
        WriteOptions::new(),
        &[ros(
            "/j",
            "sensor_msgs/msg/JointState",
            &text,
            states(false),
        )],
    );
    let mut opened = open(&bytes, Some("/j")).unwrap();
    assert_eq!(opened.columns()[..2], ["log_time", "publish_time"]);
    let record = opened.next_record().unwrap().unwrap().unwrap();
    assert_eq!(record.cells[0], Cell::Time(1_769_846_400_000_000_000));
    assert_eq!(record.cells[1], Cell::Time(5));
}

#[test]
fn wrenches_and_diagnostics_are_read() {
    let wrench = format!(
        "std_msgs/Header header\nWrench wrench\n{RULE}\nMSG: geometry_msgs/Wrench\nVector3  force\nVector3  torque\n{RULE}\n\
         MSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n{RULE}\n{HEADER}{RULE}\n{TIME}"
    );
    let message = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0f64]
        .iter()
        .fold(Cdr::new(false).header(1, 2, "tool0"), |cdr, value| {
            cdr.put(value.to_le_bytes())
        });
    let diagnostics = format!(
        "std_msgs/Header header # for timestamp\nDiagnosticStatus[] status\n{RULE}\n\
         MSG: diagnostic_msgs/DiagnosticStatus\nbyte OK=0\nbyte WARN=1\nbyte level\nstring name\nstring message\nstring hardware_id\nKeyValue[] values\n{RULE}\n\
         MSG: diagnostic_msgs/KeyValue\nstring key\nstring value\n{RULE}\n{HEADER}{RULE}\n{TIME}"
    );
    let status = Cdr::new(false)
        .header(1, 0, "")
        .u32(1)
        .put([1])
        .text("arm")
        .text("warm")
        .text("")
        .u32(2)
        .text("load")
        .text("0.5")
        .text("volts")
        .text("24");
    let bytes = file(
        WriteOptions::new(),
        &[
            ros(
                "/wrench",
                "geometry_msgs/msg/WrenchStamped",
                &wrench,
                vec![message.bytes()],
            ),
            ros(
                "/diagnostics",
                "diagnostic_msgs/msg/DiagnosticArray",
                &diagnostics,
                vec![status.bytes()],
            ),
        ],
    );
    assert_eq!(
        read(&bytes, Some("/wrench")),
        [
            "1 header.stamp=@1000000002 header.frame_id='tool0' wrench.force.x=1.0 wrench.force.y=2.0 \
          wrench.force.z=3.0 wrench.torque.x=4.0 wrench.torque.y=5.0 wrench.torque.z=6.0"
        ]
    );
    assert_eq!(
        read(&bytes, Some("/diagnostics")),
        [
            "1 header.stamp=@1000000000 header.frame_id='' status[arm].level=1 status[arm].message='warm' \
          status[arm].hardware_id='' status[arm].values[load]='0.5' status[arm].values[volts]='24'"
        ]
    );
}

#[test]
fn every_plain_type_is_read_where_it_stands() {
    let text = "bool a\nint8 b\nuint16 c # odd places\nint64 d\nbyte e\nfloat32 f\nuint64 g\nint16[3] h\n\
                string<=5 i \"x\"\nuint8[] blob\nbuiltin_interfaces/Duration j\nint32 k 7\nint32 L = 8\nEmpty m\nbool n\n\
                float64[<=2] o\nuint8[2] p\n===\nMSG: p/Empty\n";
    let cdr = Cdr::new(false)
        .put([1])
        .put((-2i8).to_le_bytes())
        .put(3u16.to_le_bytes())
        .put((-4i64).to_le_bytes())
        .put([5])
        .put(0.5f32.to_le_bytes())
        .put(u64::MAX.to_le_bytes())
        .put(1i16.to_le_bytes())
        .put(2i16.to_le_bytes())
        .put(3i16.to_le_bytes())
        .text("hello")
        .u32(3)
        .put([9])
        .put([9])
        .put([9])
        .u32(1)
        .u32(500_000_000)
        .put(6i32.to_le_bytes())
        .put([0])
        .put([1])
        .doubles(&[0.1])
        .put([1])
        .put([2]);
    let bytes = file(
        WriteOptions::new(),
        &[ros("/t", "p/msg/T", text, vec![cdr.bytes()])],
    );
    assert_eq!(
        read(&bytes, None),
        [
            "1 a=true b=-2 c=3 d=-4 e=5 f=0.5 g='18446744073709551615' h[0]=1 h[1]=2 h[2]=3 \
          i='hello' j=1.5 k=6 n=true o[0]=0.1 p[0]=1 p[1]=2"
        ]
    );
}

#[test]
fn json_and_ros_1_messages_are_read() {
    let json: &[u8] = br#"{"header":{"stamp":{"sec":1,"nanosec":2}},"name":["a","b"],"position":[1,2.5],"log_time":3}"#;
    let mut packed = vec![7, 0, 0, 0];
    packed.extend([1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, b'f', 9]);
    packed.extend(0.5f64.to_le_bytes());
    let text = format!(
        "Header header\nuint8 a\nfloat64 b\n{RULE}\nMSG: std_msgs/Header\nuint32 seq\ntime stamp\nstring frame_id\n"
    );
    let bytes = file(
        WriteOptions::new(),
        &[
            ("/json", "", "", "", "json", vec![json.to_vec()]),
            ("/old", "p/Old", "ros1msg", &text, "ros1", vec![packed]),
        ],
    );
    assert_eq!(
        read(&bytes, Some("/json")),
        ["1 header.stamp=@1000000002 position[a]=1 position[b]=2.5 message.log_time=3"]
    );
    assert_eq!(
        read(&bytes, Some("/old")),
        ["1 header.seq=7 header.stamp=@1000000002 header.frame_id='f' a=9 b=0.5"]
    );
}

#[test]
fn a_topic_must_be_clear() {
    let message = Cdr::new(false).u32(1).bytes();
    let bytes = file(
        WriteOptions::new(),
        &[
            ros("/a", "p/msg/A", "uint32 v", vec![message.clone(); 3]),
            ros("/b", "p/msg/B", "wstring v", vec![message.clone()]),
            ("/c", "c", "protobuf", "", "protobuf", vec![vec![]]),
        ],
    );
    // One can be read.
    assert_eq!(read(&bytes, None).len(), 3);
    let why = open(&bytes, Some("/b")).err().unwrap();
    assert!(why.contains("'v' is of the type 'wstring'"), "{why}");
    let why = open(&bytes, Some("/x")).err().unwrap();
    assert!(
        why.contains("no topic '/x'; it has /a (p/msg/A, cdr, 3 messages), /b")
            && why.contains("/c (c, protobuf, 1 messages; this encoding is not supported"),
        "{why}"
    );
    let two = file(
        WriteOptions::new(),
        &[
            ros("/a", "p/msg/A", "uint32 v", vec![message.clone()]),
            ros("/b", "p/msg/A", "uint32 v", vec![message; 2]),
        ],
    );
    let why = open(&two, None).err().unwrap();
    assert!(
        why.contains(
            "key topic, or --topic: /a (p/msg/A, cdr, 1 messages), /b (p/msg/A, cdr, 2 messages)"
        ),
        "{why}"
    );
    // The same by reading the file, where there is no summary.
    let listed = topics(&"f".into(), Cursor::new(two.clone())).unwrap();
    let without_end = topics(&"f".into(), Cursor::new(two[..two.len() - 20].to_vec())).unwrap();
    assert_eq!(listed, without_end);
    let why = open(b"nothing of it", None).err().unwrap();
    assert!(why.contains("no MCAP file"), "{why}");
}

#[test]
fn of_a_file_that_breaks_off_what_is_whole_is_read() {
    let messages: Vec<Vec<u8>> = (0..50).map(|v| Cdr::new(false).u32(v).bytes()).collect();
    for chunks in [false, true] {
        let options = WriteOptions::new()
            .use_chunks(chunks)
            .chunk_size(Some(400))
            .compression(None);
        let bytes = file(
            options,
            &[ros("/a", "p/msg/A", "uint32 v", messages.clone())],
        );
        let whole = read(&bytes, None);
        assert_eq!(whole.len(), 50);
        // Up to where the last message ends, whatever follows.
        let mut most = 0;
        for cut in 300..bytes.len() {
            let Ok(mut opened) = open(&bytes[..cut], Some("/a")) else {
                continue;
            };
            let (mut rows, mut said) = (0, 0);
            while let Some(record) = opened.next_record().unwrap() {
                match record {
                    Ok(_) => rows += 1,
                    Err(refusal) => {
                        assert!(refusal.kind.contains("recorder is killed"), "{refusal}");
                        said += 1;
                    }
                }
            }
            assert!(said == 1 || rows == 50, "{cut}: {rows} rows, {said} said");
            assert!(rows >= most, "{cut}");
            most = rows;
        }
        assert_eq!(most, 50);
    }
}

#[test]
fn of_a_packed_file_that_was_cut_off_what_is_whole_is_read() {
    // Numbers that cannot be packed away.
    let mut number = 1_u32;
    let mut next = || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Cdr::new(false).u32(number).bytes()
    };
    let messages = (0..40_000).map(|_| next()).collect();
    let options = WriteOptions::new().chunk_size(Some(4000)).compression(None);
    let bytes = file(options, &[ros("/a", "p/msg/A", "uint32 v", messages)]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &bytes).unwrap();
    let packed = [
        gzip.finish().unwrap(),
        zstd::encode_all(bytes.as_slice(), 1).unwrap(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mapping: Mapping = toml::from_str("schema = \"\"\n[columns]\n").unwrap();
    for packed in packed {
        let path = folder.path().join("a.mcap.zst");
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let input = Input::open(&path.to_string_lossy()).unwrap();
        let mut records = crate::open::records(input, &mapping).unwrap();
        let (mut rows, mut refused) = (0, Vec::new());
        while let Some(record) = records.next_record().unwrap() {
            match record {
                Ok(_) => rows += 1,
                Err(refusal) => refused.push(refusal.kind),
            }
        }
        assert!((5_000..35_000).contains(&rows), "{rows}");
        assert_eq!(refused, [super::container::BREAKS_OFF]);
        let remarks = records.remarks();
        assert!(remarks[0].contains("cut off"), "{remarks:?}");
    }
}

#[test]
fn a_damaged_chunk_costs_itself() {
    let messages: Vec<Vec<u8>> = (0..50).map(|v| Cdr::new(false).u32(v).bytes()).collect();
    let options = WriteOptions::new().chunk_size(Some(400)).compression(None);
    let mut bytes = file(options, &[ros("/a", "p/msg/A", "uint32 v", messages)]);
    let at = bytes
        .windows(8)
        .rposition(|window| window == [0, 1, 0, 0, 30, 0, 0, 0])
        .unwrap();
    bytes[at + 4] = 99;
    let rows = read(&bytes, None);
    let refused: Vec<&String> = rows.iter().filter(|row| row.contains("checksum")).collect();
    assert_eq!(refused.len(), 1, "{rows:?}");
    assert!(rows.len() > 30 && !rows.iter().any(|row| row.contains("v=99")));
}

#[test]
fn lz4_chunks_are_read() {
    let text = "uint32 v";
    let bytes = file(
        WriteOptions::new().compression(None),
        &[ros(
            "/a",
            "p/msg/A",
            text,
            vec![Cdr::new(false).u32(5).bytes()],
        )],
    );
    // The one chunk is written anew, compressed.
    let chunk_at =
        8 + 9 + usize::try_from(u64::from_le_bytes(bytes[9..17].try_into().unwrap())).unwrap();
    assert_eq!(bytes[chunk_at], 6);
    let body = &bytes[chunk_at + 9..];
    let size = u64::from_le_bytes(body[16..24].try_into().unwrap());
    let records = &body[40..40 + usize::try_from(size).unwrap()];
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    std::io::Write::write_all(&mut encoder, records).unwrap();
    let packed = encoder.finish().unwrap();
    let mut chunk = body[..28].to_vec();
    chunk.extend(3u32.to_le_bytes());
    chunk.extend(b"lz4");
    chunk.extend((packed.len() as u64).to_le_bytes());
    chunk.extend(&packed);
    let mut again = bytes[..chunk_at].to_vec();
    again.push(6);
    again.extend((chunk.len() as u64).to_le_bytes());
    again.extend(&chunk);
    assert_eq!(
        read(&again, Some("/a")),
        [
            "1 v=5".to_owned(),
            format!("f line 2: {}", super::container::BREAKS_OFF)
        ]
    );
}

#[test]
fn a_message_that_does_not_fit_its_definition_is_refused() {
    let text = joint_state();
    let mut state = states(false).remove(0);
    state.truncate(60);
    let mut other_form = states(false).remove(0);
    other_form[1] = 3;
    // A list that says to have four thousand million elements.
    let huge = Cdr::new(false).header(1, 1, "").u32(u32::MAX).bytes();
    let bytes = file(
        WriteOptions::new(),
        &[ros(
            "/j",
            "sensor_msgs/msg/JointState",
            &text,
            vec![state, other_form, huge, states(false).remove(0)],
        )],
    );
    let rows = read(&bytes, None);
    assert_eq!(rows.len(), 4);
    assert_eq!(
        rows[0],
        "f line 1: the message ends within its values: '60 bytes'"
    );
    assert!(rows[1].contains("form of CDR"), "{rows:?}");
    assert!(rows[2].contains("ends within its values"), "{rows:?}");
    assert!(rows[3].starts_with("4 header.stamp"), "{rows:?}");
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
        compressed in any::<bool>(),
    ) {
        let text = joint_state();
        let options = WriteOptions::new()
            .compression(compressed.then_some(Compression::Zstd));
        let mut bytes = file(
            options,
            &[ros("/j", "sensor_msgs/msg/JointState", &text, states(false))],
        );
        for (at, byte) in changes {
            let at = 8 + usize::from(at) % (bytes.len() - 8);
            bytes[at] = byte;
        }
        if let Ok(mut opened) = open(&bytes, Some("/j")) {
            while let Ok(Some(_)) = opened.next_record() {}
        }
    }

    #[test]
    fn no_message_and_no_definition_make_it_panic(
        text in "((bool|uint8|float64|string|A|B)(\\[\\]|\\[2\\]|)  ?[a-c]\n|===\nMSG: (A|B)\n){0,12}",
        data in proptest::collection::vec(0u8..4, 0..200),
    ) {
        let bytes = file(
            WriteOptions::new().compression(None),
            &[ros("/a", "A", &text, vec![data])],
        );
        if let Ok(mut opened) = open(&bytes, Some("/a")) {
            while let Ok(Some(_)) = opened.next_record() {}
        }
    }
}
