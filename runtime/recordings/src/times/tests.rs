use super::{Form, Order, civil, example, forms};
use crate::mapping::Mapping;

fn read(keys: &str, text: &str) -> Result<String, String> {
    let mapping = format!(
        "schema = \"s\"\nrobot_id = \"r\"\ntime_column = \"t\"\n{keys}\n[columns]\nv = \"v\"\n"
    );
    let mapping: Mapping = toml::from_str(&mapping).unwrap();
    let micros = example(&mapping, text)?;
    Ok(jiff::Timestamp::from_microsecond(micros)
        .unwrap()
        .to_string())
}

#[test]
fn dates_and_times_are_read_as_people_write_them() {
    for text in [
        "2026-01-31T08:00:00Z",
        "2026-01-31t08:00:00z",
        "2026-01-31 08:00:00 UTC",
        "2026-01-31 08:00 GMT",
        "2026/01/31 08:00:00 +00:00",
        "2026.1.31 8:00:00 Z",
        "20260131T080000Z",
        "20260131 080000.000 Z",
        "20260131080000Z",
        "2026-01-31_08:00:00Z",
        "2026-01-31T09:00:00+01",
        "2026-01-31T09:00:00+0100",
        "2026-01-31T09:00:00+01:00[Europe/Berlin]",
        "Sat, 31 Jan 2026 08:00:00 +0000",
        "Saturday, January 31, 2026 8:00:00 AM UTC",
        "31-Jan-2026 08:00:00,000 Z",
        "31/Jan/2026:08:00:00 +0000",
        "31. Jan. 2026 08:00:00 Z",
        "2026-Jan-31 08:00:00.000000Z",
        "Sat Jan 31 08:00:00 2026 UTC",
        "Sat Jan 31 08:00:00 UTC 2026",
        "2026-01-31 08:00:00:000Z",
        "2026-01-30T24:00:00-08:00",
        "2026-01-31 08:00:00 a.m. Z",
        "2026-01-31 09:00:00 Europe/Berlin",
        "2026-01-31 09:00:00 CET",
        "Sat Jan 31 09:00:00 CET 2026",
        "Sat Jan 31 09:00:00 AM CET 2026",
        "31. Januar 2026 08:00 Z",
        "31 janv. 2026 08:00 Z",
        "31 ene 2026 08:00 Z",
    ] {
        let keys = if text.contains("CET") {
            "time_zone = \"Europe/Berlin\""
        } else {
            ""
        };
        assert_eq!(
            read(keys, text).as_deref(),
            Ok("2026-01-31T08:00:00Z"),
            "{text}"
        );
    }
}

#[test]
fn letters_for_a_zone_are_those_of_the_zone_that_is_named() {
    let berlin = "time_zone = \"Europe/Berlin\"";
    for (keys, text, wanted) in [
        (berlin, "2026-07-31 10:00 CEST", "2026-07-31T08:00:00Z"),
        (berlin, "2026-10-25 02:30 CEST", "2026-10-25T00:30:00Z"),
        (berlin, "2026-10-25 02:30 CET", "2026-10-25T01:30:00Z"),
        (
            "time_zone = \"Australia/Sydney\"",
            "2026-07-31 18:00 AEST",
            "2026-07-31T08:00:00Z",
        ),
        (
            "time_zone = \"Asia/Kolkata\"",
            "1. März 2026 13:30:00 IST",
            "2026-03-01T08:00:00Z",
        ),
    ] {
        assert_eq!(read(keys, text).as_deref(), Ok(wanted), "{text}");
    }
    let why = read("", "2026-01-31 08:00:00 CET").unwrap_err();
    assert!(
        why.contains("letters") && why.contains("time_zone"),
        "{why}"
    );
    let why = read(berlin, "2026-07-31 10:00 CET").unwrap_err();
    assert!(why.contains("does not use at that time"), "{why}");
    let found = forms(&["2026-01-31 08:00:00 CET"]);
    assert!(found[0].has_letters && found[0].needs_zone);
    assert!(!forms(&["2026-01-31 08:00:00"])[0].has_letters);
}

#[test]
fn a_leap_second_is_the_last_second_of_its_day() {
    for (text, wanted) in [
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ("2015-07-01T01:59:60.5+02:00", "2015-06-30T23:59:59.5Z"),
    ] {
        assert_eq!(read("", text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn numbers_far_from_our_time_are_no_times() {
    for (format, text) in [
        ("epoch_ms", "-1"),
        ("epoch_s", "0"),
        ("epoch_ms", "1769846400"),
        ("epoch_s", "1769846400000"),
        ("excel", "0"),
    ] {
        let keys = format!("time_format = \"{format}\"\ntime_zone = \"UTC\"");
        let why = read(&keys, text).unwrap_err();
        assert!(why.contains("far away") || why.contains("beyond"), "{why}");
    }
    assert_eq!(
        read("time_start = \"1970-01-01T00:00:00Z\"", "1").as_deref(),
        Ok("1970-01-01T00:00:01Z"),
        "a start is what it is said to be"
    );
}

#[test]
fn what_is_no_time_is_none() {
    for text in [
        "08:00:00",
        "2026",
        "2026-13-01T00:00:00Z",
        "2026-02-30 00:00:00 Z",
        "2026-01-31 25:00:00 Z",
        "2026-01-31 08:60:00 Z",
        "2026-01-31 13:00 PM Z",
        "2026-01-31 08:00:00 CST",
        "2026-01-31 08:00:00 Z CET",
        "2026-01-31 08:00:00 Europe/Berlim",
        "2026-01-31 08:00:60 Z",
        "2026-01-31T08:00:60Z",
        "2016-12-31T22:59:60Z",
        "2016-12-31T23:59:61Z",
        "31 marraskuu 2026 08:00",
        "31 Janu 2026 08:00",
        "mardi 3 mars 2026",
        "0001-01-01 00:00:00",
        "1899-12-30 08:00:00",
        "1900-01-01T00:00:00Z",
        "1970-01-01 00:00:00",
        "1970-01-01T00:00:00Z",
        "x",
        "2026-01-31 08:00:00 Z x",
        "31 Foo 2026",
        "2026-01-31T08:00:00+99:00",
        "2026-01-31T",
        "é",
        "2026-01-3é 08:00",
        "1é/1/2026",
        "2026-01-31 0é:00",
        "2026-01-31 08:00 +0é:00",
    ] {
        assert!(
            read("time_zone = \"UTC\"", text).is_err(),
            "{text}: {:?}",
            read("", text)
        );
    }
}

#[test]
fn keys_say_what_is_not_clear() {
    for (keys, text, wanted) in [
        (
            "time_format = \"month_first\"\ntime_zone = \"UTC\"",
            "1/2/26 12:00 AM",
            "2026-01-02T00:00:00Z",
        ),
        (
            "time_format = \"month_first\"\ntime_zone = \"UTC\"",
            "1/2/26 12:00 PM",
            "2026-01-02T12:00:00Z",
        ),
        (
            "time_format = \"day_first\"\ntime_zone = \"UTC\"",
            "1.2.2026",
            "2026-02-01T00:00:00Z",
        ),
        (
            "time_format = \"day_first\"\ntime_zone = \"UTC\"",
            "1. 2. 1999 1.30",
            "1999-02-01T01:30:00Z",
        ),
        (
            "time_format = \"day_first\"\ntime_zone = \"UTC\"",
            "2026-01-31",
            "2026-01-31T00:00:00Z",
        ),
        (
            "time_format = \"year_first\"\ntime_zone = \"UTC\"",
            "26-01-31 08:00",
            "2026-01-31T08:00:00Z",
        ),
        (
            "time_format = \"%d%b%Y %H:%M\"\ntime_zone = \"Asia/Tokyo\"",
            "31Jan2026 17:00",
            "2026-01-31T08:00:00Z",
        ),
        ("time_format = \"%s\"", "1769846400", "2026-01-31T08:00:00Z"),
        (
            "time_format = \"epoch_ns\"",
            "1.403636579758555392E18",
            "2014-06-24T19:02:59.758555Z",
        ),
        (
            "time_format = \"elapsed_ms\"\ntime_start = \"1970-01-01T00:00:00Z\"",
            "-0.0001",
            "1969-12-31T23:59:59.999999Z",
        ),
        (
            "time_format = \"epoch_s\"\ndecimal = \",\"",
            "1769846400,5",
            "2026-01-31T08:00:00.5Z",
        ),
        (
            "time_start = \"2026-01-31T08:00:00Z\"",
            "-1.5",
            "2026-01-31T07:59:58.5Z",
        ),
        (
            "time_start = \"2026-01-31 09:00\"\ntime_zone = \"Europe/Berlin\"",
            "1e3",
            "2026-01-31T08:16:40Z",
        ),
        (
            "time_start = \"2026-01-31T08:00:00Z\"\ntime_format = \"elapsed_hms\"",
            "1 days 26:00:00.5",
            "2026-02-02T10:00:00.5Z",
        ),
        (
            "time_start = \"2026-01-31T08:00:00Z\"\ntime_format = \"elapsed_min\"",
            "1.5",
            "2026-01-31T08:01:30Z",
        ),
    ] {
        assert_eq!(read(keys, text).as_deref(), Ok(wanted), "{keys} {text}");
    }
    for (keys, text) in [
        ("time_format = \"epoch_s\"", "1e30"),
        ("time_format = \"epoch_s\"", "nan"),
        ("time_format = \"epoch_s\"", "1.73234e+09"),
        (
            "time_format = \"epoch_s\"",
            "170000000000000000000000000000000000000000",
        ),
        ("time_start = \"2026-01-31T08:00:00Z\"", "9e99999"),
        ("time_format = \"rfc3339\"", "1769846400"),
    ] {
        assert!(read(keys, text).is_err(), "{keys} {text}");
    }
}

#[test]
fn a_sample_says_which_forms_it_could_have() {
    let names = |samples: &[&str]| -> Vec<String> {
        let name = |form: &Form| {
            let zone = if form.needs_zone { " zone" } else { "" };
            let start = if form.needs_start { " start" } else { "" };
            format!("{}{zone}{start}", form.time_format.unwrap_or("clear"))
        };
        forms(samples).iter().map(name).collect()
    };
    assert_eq!(names(&["2026-01-31T08:00:00Z"]), ["clear"]);
    assert_eq!(names(&["2026-01-31 08:00:00"]), ["clear zone"]);
    assert_eq!(names(&["1769846400", "1769846401.5"]), ["epoch_s"]);
    assert_eq!(names(&["1769846400000"]), ["epoch_ms"]);
    assert_eq!(names(&["1403636579758555392"]), ["epoch_ns"]);
    assert_eq!(names(&["0.0", "0.008"])[0], "elapsed_s start");
    assert_eq!(
        names(&["01/02/2026", "01/03/2026"])[..2],
        ["day_first zone", "month_first zone"]
    );
    assert_eq!(names(&["01/02/2026", "01/31/2026"]), ["month_first zone"]);
    assert_eq!(names(&["00:00:01", "00:00:02.5"]), ["elapsed_hms start"]);
    assert!(names(&["idle", "run"]).is_empty() && names(&[]).is_empty());
}

#[test]
fn an_ambiguous_date_has_two_readings() {
    let (day_first, month_first) = civil::readings("01/02/2026 08:00").unwrap();
    assert_eq!(
        (day_first.as_str(), month_first.as_str()),
        ("1 February 2026", "2 January 2026")
    );
    assert!(civil::read("01/02/2026", None).is_err());
    assert!(civil::read("31/02/2026", Some(Order::Day)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}", keys in 0..4_usize) {
        let keys = ["", "time_zone = \"UTC\"", "time_format = \"day_first\"\ntime_zone = \"UTC\"",
            "time_format = \"elapsed_hms\"\ntime_start = \"2026-01-31T08:00:00Z\""][keys];
        let _ = read(keys, &text);
        let _ = forms(&[&text]);
        let _ = civil::readings(&text);
    }

    #[test]
    fn no_text_of_the_signs_of_times_panics(text in "[0-9TZ:/.,+ AMJanebdys-]{0,30}") {
        let _ = read("time_zone = \"UTC\"", &text);
        let _ = forms(&[&text]);
        let _ = civil::duration(&text);
    }
}
