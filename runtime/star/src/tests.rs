//! All SQL can be rendered, names what the schemas have, and is documented.

use std::collections::BTreeSet;

use theatre_actors::ports::ColumnType;
use theatre_schemas::registry::INPUT_SCHEMAS;

use super::dialect::Dialect;
use super::report::REPORTS;
use super::*;

const DIALECTS: [Dialect<'_>; 2] = [Dialect::Sqlite, Dialect::Redshift("\"s\"")];

fn texts() -> Vec<(&'static str, &'static str)> {
    let views = VIEWS.iter().map(|view| (view.name, view.source));
    let reports = REPORTS.iter().map(|report| (report.name, report.source()));
    views.chain(reports).collect()
}

/// The views for people.
fn for_people() -> Vec<(&'static str, &'static str)> {
    let views = PEOPLE.iter().map(|view| (view.name, view.source));
    views.collect()
}

#[test]
fn every_text_is_written_in_its_dialects() {
    let with = |dialects: [Dialect<'static>; 2]| move |text| (text, dialects);
    let both = texts().into_iter().map(with(DIALECTS));
    let people = [Dialect::Sqlite, Dialect::Postgres("\"s\"")];
    let people = for_people().into_iter().map(with(people));
    for ((name, source), dialects) in both.chain(people) {
        for dialect in dialects {
            let written = dialect.render(source);
            assert!(
                written.starts_with("SELECT") || written.starts_with("WITH"),
                "{name}: {written}"
            );
            assert!(
                !written.contains(['@', '{']) && !written.ends_with(';'),
                "{name}: {written}"
            );
        }
    }
}

/// The symbols of all enumerations, by their name.
fn symbols(value: &str, found: &mut BTreeSet<(String, String)>) {
    for (at, _) in value.match_indices("\"type\": \"enum\"") {
        let rest = &value[at..];
        let text = |after: &str| {
            let from = rest.find(after)? + after.len();
            rest[from..].split('"').nth(1).map(str::to_owned)
        };
        let name = text("\"name\":").expect("an enumeration has a name");
        let list = rest.split_once("\"symbols\": [").expect("symbols").1;
        let list = list.split_once(']').expect("symbols end").0;
        for symbol in list.split('"').skip(1).step_by(2) {
            found.insert((name.clone(), symbol.to_owned()));
        }
    }
}

#[test]
fn a_symbol_of_an_enumeration_is_one_of_the_schemas() {
    let mut known = BTreeSet::new();
    for (_, schema) in INPUT_SCHEMAS {
        symbols(schema, &mut known);
    }
    for schema in [
        include_str!("../../../schemas/avro/procedure_outcomes/v1.avsc"),
        include_str!("../../../schemas/avro/maintenance_alerts/v2.avsc"),
    ] {
        symbols(schema, &mut known);
    }
    let mut seen = 0;
    let rates = Dialect::Sqlite.render("@rates(p)");
    assert!(rates.contains("'successful'"));
    for (name, source) in texts().into_iter().chain(for_people()) {
        for (at, start) in source.match_indices("@symbol(") {
            let inside = source[at + start.len()..].split(')').next();
            let (of, symbol) = inside.and_then(|text| text.split_once(", ")).expect("two");
            seen += 1;
            assert!(
                known.contains(&(of.to_owned(), symbol.to_owned())),
                "{name}: {of} has no symbol {symbol}"
            );
        }
    }
    for (of, symbol) in [("SuccessStatus", "successful"), ("Severity", "severe")] {
        assert!(known.contains(&(of.to_owned(), symbol.to_owned())));
    }
    assert!(seen > 20 && !known.contains(&("Severity".to_owned(), "Severe".to_owned())));
}

#[test]
fn views_come_after_those_that_they_read() {
    for (views, (at, view)) in [VIEWS, PEOPLE]
        .into_iter()
        .flat_map(|views| views.iter().enumerate().map(move |place| (views, place)))
    {
        for later in &views[at..] {
            let named = format!("{{schema}}.{} ", later.name);
            let source = view.source.replace(['\n', ')', '('], " ");
            assert!(
                !source.contains(&named),
                "{} reads {}",
                view.name,
                later.name
            );
        }
        assert!(!view.purpose().is_empty(), "{}", view.name);
    }
    assert_eq!(fingerprint().len(), 16);
    assert_ne!(fingerprint(), fingerprint_of(PEOPLE));
    let robots = PEOPLE
        .iter()
        .find(|view| view.name == "robots")
        .expect("it is there");
    let columns: Vec<_> = robots.columns().collect();
    assert!(columns.contains(&("total_procedures", "Cases completed on it.")));
    assert!(robots.purpose().starts_with("A row for each robot"));
}

#[test]
fn reports_say_what_they_show() {
    for report in REPORTS {
        let columns = report.columns();
        assert!(
            report.title() != report.name && !report.description().is_empty() && columns.len() > 2,
            "{}",
            report.name
        );
        if let Some(picture) = report.picture() {
            for wanted in [picture.label, picture.value] {
                assert!(columns.iter().any(|(name, _)| *name == wanted), "{wanted}");
            }
        }
    }
    assert_eq!(REPORTS.len(), 18);
}

#[test]
fn the_tables_below_are_those_of_the_shipped_schemas_and_of_outputs() {
    let tables = tables();
    let column = |table: &str, column: &str| {
        let spec = tables.iter().find(|spec| spec.name == table);
        spec.and_then(|spec| spec.columns.iter().find(|(name, _)| name == column))
            .map(|(_, kind)| *kind)
    };
    assert_eq!(
        column("procedure_events", "patient_age"),
        Some(ColumnType::Int32)
    );
    assert_eq!(
        column("procedure_outcomes", "result"),
        Some(ColumnType::Utf8)
    );
}
