use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::tests::SCHEMA;
use super::{Encoded, RoleFields, Workspace};
use crate::encode::JsonEncoder;
use crate::registry::INPUT_SCHEMAS;

/// The datum of a record, its key, and bytes read.
fn direct(
    schema: &str,
    key: &str,
    text: &str,
    has_lines: bool,
) -> Option<(Vec<u8>, String, usize)> {
    let roles = RoleFields {
        key,
        time: if schema == SCHEMA { "at" } else { "t" },
        id: (schema == SCHEMA).then_some("who"),
    };
    let encoder = JsonEncoder::new(schema).unwrap().direct(roles).unwrap();
    // What stands before it stays there.
    let mut out = b"frame".to_vec();
    let mut work = Workspace::default();
    let Encoded { read, key } = encoder.encode(text.as_bytes(), has_lines, &mut work, &mut out)?;
    let key = String::from_utf8(out[key].to_vec()).unwrap();
    assert!(out.starts_with(b"frame"));
    Some((out.split_off(5), key, read))
}

fn by_tree(schema: &str, record: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let encoder = JsonEncoder::new(schema).unwrap();
    encoder.encode(record, &mut out).ok().map(|()| out)
}

/// Whether a text is encoded directly; it must be as by way of a tree then.
fn agrees(text: &str) -> bool {
    let Some((datum, key, read)) = direct(SCHEMA, "id", text, false) else {
        return false;
    };
    if let Some(of_line) = direct(SCHEMA, "id", text, true) {
        assert_eq!((&of_line.0, of_line.2), (&datum, read), "{text:?}");
        assert!(!text[..read].contains('\n'), "{text:?}");
    }
    let record: Value = serde_json::from_str(&text[..read]).expect(text);
    assert_eq!(Some(datum), by_tree(SCHEMA, &record), "{text}");
    assert_eq!(record["id"], json!(key), "{text}");
    true
}

#[test]
fn records_in_their_usual_form_need_no_tree() {
    for text in [
        r#"{"id":"r","at":17,"force":1.5,"p":{"x":3}}"#,
        r#" { "id" : "r" , "at" : "2026-01-31T12:00:00.000001Z" , "force" : -0.0, "p" : { "x" : -3, "y": null } } "#,
        r#"{"p":{"y":4,"x":3},"force":1e-7,"js":[{"c":1},{"c":"NaN"}],"at":"2026-01-31T12:00:00+01:00","id":"ä"}"#,
        r#"{"id":"r","day":"1970-01-11","at":-1,"force":120.455,"ratio":0.1,"cost":12.30,"state":"on","who":null,"p":{"x":3},"js":[]}"#,
        r#"{"id":"r","at":0,"force":123456789012345678901234567890,"cost":"-0.01","p":{"x":-0}}"#,
    ] {
        let is_direct = agrees(text);
        assert_eq!(is_direct, !text.contains("-0}"), "{text}");
    }
}

#[test]
fn any_other_record_is_left_to_the_tree() {
    let base = r#"{"id":"r","at":17,"force":1.5,"p":{"x":3}}"#;
    for (from, to) in [
        ("\"r\"", r#""\u0072""#),
        ("\"r\"", "null"),
        ("\"id\"", r#""i\u0064""#),
        ("17", "1.7e1"),
        ("17", "true"),
        ("17", "017"),
        ("17", "1234567890123456789"),
        ("1.5", "1e400"),
        ("1.5", "1."),
        ("1.5", ".5"),
        ("1.5", "+1.5"),
        ("1.5", "\"1.5\""),
        ("1.5", "1.5,\"force\":1.5"),
        ("\"p\"", "\"p.y\":1,\"p\""),
        ("\"p\"", "\"q\":1,\"p\""),
        ("{\"x\":3}", "{}"),
        ("{\"x\":3}", "{\"x\":3,}"),
        ("{\"x\":3}", "{\"x\":2147483648}"),
        ("}}", "}"),
        ("{\"id\"", "[\"id\""),
    ] {
        let text = base.replace(from, to);
        assert!(text != base && !agrees(&text), "{text}");
    }
    assert!(agrees(base));
    let long = format!(r#"{{"id":"r","js":[{}]}}"#, [r#"{"c":1}"#; 4].join(","));
    assert!(!agrees(&long), "more elements than there may be");
}

#[test]
fn a_line_ends_a_record_where_records_are_lines() {
    let whole = "{\"id\":\"r\",\"at\":17,\"force\":1.5,\"p\":{\"x\":3}}";
    let read = |text: &str, has_lines| direct(SCHEMA, "id", text, has_lines).map(|(.., read)| read);
    assert_eq!(read(&format!("{whole}\n{whole}"), true), Some(whole.len()));
    let cut = whole.replace(",\"p", ",\n\"p");
    assert_eq!(read(&cut, true), None);
    assert_eq!(read(&cut, false), Some(cut.len()));
}

#[test]
fn more_elements_than_a_byte_counts_are_counted() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"id","type":["null","string"]},
        {"name":"n","type":{"type":"array","items":"long"}},{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
    for count in [0, 1, 63, 64, 10_000] {
        let record = json!({"t": -1, "n": (0..count).collect::<Vec<i64>>(), "id": "r".repeat(200)});
        let (datum, key, _) = direct(schema, "id", &record.to_string(), false).unwrap();
        assert_eq!(Some(datum), by_tree(schema, &record), "{count}");
        assert_eq!(record["id"], json!(key));
    }
}

#[test]
fn every_shipped_dataset_of_robots_is_keyed_by_a_plain_field() {
    for (subject, schema) in INPUT_SCHEMAS {
        let encoder = JsonEncoder::new(schema).unwrap();
        if schema.contains("\"robot_id\"") {
            let roles = RoleFields {
                key: "robot_id",
                time: "event_time",
                id: schema
                    .contains("\"procedure_id\"")
                    .then_some("procedure_id"),
            };
            assert!(encoder.direct(roles).is_some(), "{subject}");
        }
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|it| it.to_string()),
        any::<f64>().prop_map(|it| json!(it).to_string()),
        (-2000_i32..2000, 0_u32..100_000).prop_map(|(a, b)| format!("{a}.{b:05}")),
        "-?[0-9]{1,24}(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?",
    ]
}

fn time() -> impl Strategy<Value = String> {
    let parts = (
        1969_i64..2101,
        0_u32..14,
        0_u32..33,
        0_u32..25,
        0_u32..61,
        0_u32..61,
    );
    let end = prop_oneof![
        Just("Z".to_owned()),
        "\\.[0-9]{1,10}Z",
        Just("+01:00".to_owned()),
        Just("z".to_owned())
    ];
    (parts, end).prop_map(|((y, m, d, h, n, s), end)| {
        format!("\"{y:04}-{m:02}-{d:02}T{h:02}:{n:02}:{s:02}{end}\"")
    })
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => number(),
        2 => time(),
        1 => Just("null".to_owned()),
        1 => Just("\"on\"".to_owned()),
        2 => prop::sample::select(ODD.as_slice()).prop_map(str::to_owned),
        1 => "\"[a-zä\\\\\u{1}]{0,5}\"",
        1 => number().prop_map(|it| format!("{{\"x\": {it}}}")),
        1 => number().prop_map(|it| format!("[{{\"c\": {it}}}, {{\"c\":1}}]")),
    ]
}

/// The first ones are fields, one of which is put in the place of each; the others are not, or are
/// said in another way.
const NAMES: [&str; 18] = [
    "id", "at", "day", "force", "ratio", "cost", "state", "who", "p", "js", "p.x", "p.y",
    "js[0].c", "js[3].c", "i\\u0064", "ID", "", "zz",
];

/// Values that readers of JSON, or of what is in it, do not agree about.
const ODD: [&str; 40] = [
    "\"\\u00e4\"",
    "\"\\ud83e\\udd16\"",
    "\"\\ud83e\"",
    "\"\\n\"",
    "\"\u{7f}\"",
    "\"\u{feff}on\"",
    "\"\u{10ffff}\"",
    "\"\"",
    "\"NaN\"",
    "\"-Infinity\"",
    "\"nan\"",
    "NaN",
    "-Infinity",
    "true",
    "True",
    "-0",
    "-0.0",
    "0e0",
    "00",
    "1.",
    "1e",
    "1e+",
    "1E+2",
    "1e-400",
    "1e308",
    "9007199254740993",
    "9007199254740993.0",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "-62135596800000001",
    "253402300799999999",
    "2932897",
    "123456789012345678.25",
    "\"12345678901.00\"",
    "\"2016-12-31T23:59:60Z\"",
    "\"2016-12-31t23:59:59.9999999z\"",
    "\"2016-12-31 23:59:59+00:00\"",
    "\"-000001-01-01T00:00:00Z\"",
    "[[[[[[{\"x\":[]}]]]]]]",
];

/// A record as a text, with a value of any kind in one place or two, in any order.
fn record() -> impl Strategy<Value = String> {
    let odd = prop::collection::vec((0..NAMES.len(), value()), 0..3);
    let usual = (number(), time(), any::<i32>());
    (odd, usual, any::<prop::sample::Index>()).prop_map(|(odd, (force, at, x), turn)| {
        let mut fields = vec![
            ("id", "\"r-1\"".to_owned()),
            ("at", at),
            ("force", force),
            ("p", format!("{{\"x\":{x}}}")),
        ];
        for (place, value) in odd {
            fields.retain(|(name, _)| *name != NAMES[place]);
            fields.push((NAMES[place], value));
        }
        let middle = turn.index(fields.len());
        fields.rotate_left(middle);
        let fields = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_needs_no_tree_is_what_a_tree_gives(
        text in record(), at in any::<prop::sample::Index>(), with in "[\\x00-\\x7f]?", is_broken in prop::bool::weighted(0.3)
    ) {
        let mut text = text;
        if is_broken {
            let mut at = at.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let length = text[at..].chars().next().map_or(0, char::len_utf8);
            text.replace_range(at..at + length, &with);
        }
        agrees(&text);
    }

    #[test]
    fn times_and_numbers_of_a_tree_need_none(force in -1e15..1e15_f64, at in 1970_i64..2100) {
        let text = format!(
            r#"{{"id":"r","at":"{at}-12-31T23:59:59.5Z","force":{},"p":{{"x":1}}}}"#,
            json!(force)
        );
        prop_assert!(agrees(&text));
    }
}
