//! What the actors make of the registries' entries, worked out anew by going through all of them.

use std::collections::BTreeMap;

use super::{BEGIN, Cell, DAY, Row};

/// Registry, its versions, and what is described.
const REGISTRIES: [(&str, &str, &str); 4] = [
    ("robot_registry", "robot_versions", "robot_id"),
    ("facility_registry", "facility_versions", "facility_id"),
    ("surgeon_registry", "surgeon_versions", "surgeon_id"),
    ("model_registry", "model_versions", "robot_model"),
];

/// The tables of versions: one begins where an entry says something else than the one before it. Of
/// each entity a further one was withdrawn.
pub(super) fn tables(
    accepted: &BTreeMap<&'static str, Vec<Row>>,
) -> BTreeMap<&'static str, Vec<Row>> {
    let mut tables = BTreeMap::new();
    for (registry, versions, key) in REGISTRIES {
        let mut entries: BTreeMap<(String, i64), &Row> = BTreeMap::new();
        for entry in accepted.get(registry).into_iter().flatten() {
            if let (Some(Cell::Text(id)), Some(Cell::Whole(at))) =
                (entry.get(key), entry.get("event_time"))
            {
                entries.insert((id.clone(), *at), entry);
            }
        }
        let mut rows: Vec<Row> = Vec::new();
        let mut before = (String::new(), String::new());
        for ((id, at), entry) in entries {
            let content = attributes(entry);
            let said = (id.clone(), format!("{content:?}"));
            if before == said {
                continue;
            }
            if before.0 != id {
                rows.push(version(&content, BEGIN + 250 * DAY, 0, false));
                rows.push(version(&content, BEGIN + 250 * DAY, 1, true));
            }
            rows.push(version(&content, at, 0, false));
            before = said;
        }
        tables.insert(versions, rows);
    }
    tables
}

fn version(content: &Row, from: i64, revision: i64, is_withdrawn: bool) -> Row {
    let mut row = content.clone();
    row.insert("valid_from", from.into());
    row.insert("revision", revision.into());
    row.insert("is_withdrawn", is_withdrawn.into());
    row
}

/// What an entry says, lists as JSON.
fn attributes(entry: &Row) -> Row {
    let mut content = entry.clone();
    content.retain(|name, _| !["event_time", "event_id"].contains(name));
    let mut taken = |name: &str| match content.remove(name) {
        Some(Cell::Text(text)) => Some(text),
        _ => None,
    };
    let categories: Vec<String> = ["categories_0", "categories_1"]
        .into_iter()
        .filter_map(&mut taken)
        .collect();
    let component = taken("components_0_component").map(|component| {
        let mut of = |name: &str| taken(name).unwrap_or_default();
        let (part, serial) = (of("components_0_part"), of("components_0_serial"));
        serde_json::json!([{ "component": component, "part": part, "serial": serial }])
    });
    if let Some(component) = component {
        content.insert("components", component.to_string().into());
    } else if !categories.is_empty() {
        let categories = serde_json::json!(categories).to_string();
        content.insert("categories", categories.into());
    }
    content
}
