use super::parse;
use crate::records::Cell;
use crate::tree::Value;

fn flat(text: &str) -> Result<Vec<(String, Cell)>, String> {
    let mut found = Vec::new();
    let tree =
        parse(text.as_bytes()).map_err(|fault| format!("{}: {}", fault.kind, fault.found))?;
    tree.flatten(false, &mut |path, value| {
        if let Value::Cell(cell) = value {
            found.push((path.to_owned(), cell));
        }
        Ok(())
    })
    .map_err(|fault| fault.kind.to_owned())?;
    Ok(found)
}

fn one(text: &str) -> Cell {
    let mut found = flat(&format!("{{\"v\":{text}}}")).unwrap();
    assert_eq!(found.len(), 1, "{text}");
    found.remove(0).1
}

#[test]
fn nested_values_have_paths() {
    let found = flat(r#" {"a":{"b":1,"c":[2,{"d":true}]},"e":null,"f":{},"g":[]} "#).unwrap();
    let expected = [
        ("a.b", Cell::Integer(1)),
        ("a.c[0]", Cell::Integer(2)),
        ("a.c[1].d", Cell::Flag(true)),
        ("e", Cell::Missing),
    ];
    let expected: Vec<(String, Cell)> = expected
        .into_iter()
        .map(|(path, cell)| (path.to_owned(), cell))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn numbers_are_exact_or_stay_text() {
    assert_eq!(one("1.5e3"), Cell::Number(1500.0));
    assert_eq!(one("-9223372036854775808"), Cell::Integer(i64::MIN));
    for kept in [
        "18446744073709551615",
        "1732340000.123456789",
        "1e400",
        "1e-400",
        "NaN",
        "-Infinity",
    ] {
        assert_eq!(one(kept), Cell::Text(kept.to_owned()));
    }
    assert_eq!(one("0.0"), Cell::Number(0.0));
    for wrong in ["01", "1.", ".5", "+1", "1e", "0x10", "nan", "tru"] {
        assert!(flat(&format!("{{\"v\":{wrong}}}")).is_err(), "{wrong}");
    }
}

#[test]
fn escapes_are_resolved() {
    let cell = one(r#""\u0041\ud83d\ude00\ud800 \n\"\\/\/""#);
    assert_eq!(cell, Cell::Text("A\u{1f600}\u{fffd} \n\"\\//".to_owned()));
    assert!(flat(r#"{"v":"\x"}"#).is_err());
    assert!(flat(r#"{"v":"\u12"}"#).is_err());
    assert!(flat("{\"v\":\"\\").is_err());
}

#[test]
fn what_is_no_object_is_said() {
    assert_eq!(flat("[1]").unwrap_err(), "no JSON object: [1]");
    assert_eq!(flat("").unwrap_err(), "no JSON object: ");
    assert_eq!(flat("{\"a\":1").unwrap_err(), "the JSON breaks off: ");
    assert_eq!(
        flat("{\"a\":1} x").unwrap_err(),
        "more follows after the JSON object: x"
    );
    assert_eq!(flat("{\"a\":1,}").unwrap_err(), "no JSON from here on: }");
    assert_eq!(
        flat("{\"a\":\"x}").unwrap_err(),
        "a string is not closed: \"x}"
    );
    assert!(
        flat(&format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40)))
            .unwrap_err()
            .contains("too deeply")
    );
}
