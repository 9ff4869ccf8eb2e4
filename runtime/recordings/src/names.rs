//! Names of fields and data sets, made from those of columns and files.

use std::collections::HashSet;

use crate::columns::{self, without_mark, without_unit};

/// Names that have a meaning of their own in a schema, in the lake or in the warehouse.
const RESERVED: &[&str] = &[
    "robot_id",
    "event_time",
    "sequence",
    "boot_id",
    "procedure_id",
    "theatre_date",
    "theatre_version",
    // Those that Redshift keeps for itself.
    "cmax",
    "cmin",
    "ctid",
    "deletexid",
    "insertxid",
    "oid",
    "tableoid",
    "xmax",
    "xmin",
];

/// Data sets and tables that are there in any case.
const SHIPPED: &[&str] = &[
    "alert_actions",
    "components",
    "dead_letters",
    "facility_registry",
    "facility_versions",
    "fleet_telemetry",
    "instruments",
    "load_ledger",
    "maintenance_alerts",
    "maintenance_logs",
    "maintenance_records",
    "model_registry",
    "model_versions",
    "procedure_events",
    "procedure_outcomes",
    "procedure_phases",
    "procedure_results",
    "procedures",
    "robot_events",
    "robot_registry",
    "robot_sessions",
    "robot_telemetry",
    "robot_versions",
    "robot_windows",
    "rule_changes",
    "sessions",
    "shadow_alerts",
    "surgeon_registry",
    "surgeon_versions",
    "window_aggregates",
];

/// How names begin that warehouses keep for themselves.
const KEPT: &[&str] = &[
    "dim_",
    "fact_",
    "loaded_files",
    "pg_",
    "rollup_",
    "sqlite_",
    "star_",
    "stl_",
    "stv_",
    "svl_",
    "svv_",
    "sys_",
    "vw_",
];

/// Most characters of a name.
const NAME_MAX: usize = 60;

/// A name of small letters, digits and `_` that begins with a letter; empty when none is left.
fn plain(text: &str) -> String {
    let mut name = String::new();
    for sign in text.chars().flat_map(char::to_lowercase) {
        match sign {
            'ä' => name.push_str("ae"),
            'ö' => name.push_str("oe"),
            'ü' => name.push_str("ue"),
            'ß' => name.push_str("ss"),
            'é' | 'è' | 'ê' => name.push('e'),
            'a'..='z' | '0'..='9' => name.push(sign),
            _ if name.ends_with('_') => {}
            _ => name.push('_'),
        }
    }
    let name = name.trim_matches('_');
    let mut name: String = name.chars().take(NAME_MAX).collect();
    if name.starts_with(|sign: char| sign.is_ascii_digit()) {
        name.insert(0, 'c');
    }
    name
}

/// The unit of a column, from the brackets behind its name.
pub(crate) fn unit<'a>(columns: &[&str], column: &'a str) -> Option<&'a str> {
    let unit = columns::unit(column)?;
    let bare = without_unit(column);
    let alike = columns
        .iter()
        .filter(|other| without_unit(other) == bare)
        .count();
    (alike == 1 && unit.parse::<f64>().is_err()).then_some(unit)
}

/// Names of fields for columns: unique, and none that has a meaning of its own.
///
/// With `units`, what stands in brackets behind a name is a unit, and no part of the name, where
/// names stay different without it: `position[elbow]` beside `position[wrist]` keeps its joint.
pub(crate) fn fields(columns: &[&str], units: bool) -> Vec<String> {
    let mut taken: HashSet<String> = RESERVED.iter().map(|name| (*name).to_owned()).collect();
    let mut fields = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let mut base = if units && unit(columns, column).is_some() {
            plain(without_unit(without_mark(column)))
        } else {
            plain(without_mark(column))
        };
        if base.is_empty() {
            base = format!("c{}", at + 1);
        }
        if RESERVED.contains(&base.as_str()) {
            base.push_str("_value");
        }
        let mut name = base.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}_{number}");
            number += 1;
        }
        fields.push(name);
    }
    fields
}

/// The name of a file without its folders and endings.
pub(crate) fn stem(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let name = [".gz", ".zst"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// The name of a data set for the rows of a file.
pub(crate) fn dataset(file: &str) -> String {
    let name = plain(stem(file));
    if name.is_empty() {
        "recording".to_owned()
    } else if SHIPPED.contains(&name.as_str()) {
        format!("{name}_recording")
    } else if KEPT.iter().any(|kept| name.starts_with(kept)) {
        format!("recording_{name}")
    } else {
        name
    }
}

/// The name of a robot for a file in which no column names one.
pub(crate) fn robot(file: &str) -> String {
    let name: String = stem(file)
        .chars()
        .map(|sign| if sign.is_control() { '_' } else { sign })
        .take(NAME_MAX)
        .collect();
    if name.trim().is_empty() || file == "-" {
        "robot-1".to_owned()
    } else {
        name.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{dataset, fields, robot};

    #[test]
    fn names_of_fields_are_plain_unique_and_without_a_meaning_of_their_own() {
        let columns = [
            "#timestamp [ns]",
            "F_x [N]",
            "F x",
            "Temperatur (°C)",
            "",
            "1st",
            "robot_id",
            "Größe",
            "position[elbow]",
            "position[wrist]",
            "#12",
        ];
        let found = fields(&columns, true);
        assert_eq!(
            found,
            [
                "timestamp",
                "f_x",
                "f_x_2",
                "temperatur",
                "c5",
                "c1st",
                "robot_id_value",
                "groesse",
                "position_elbow",
                "position_wrist",
                "c12"
            ]
        );
    }

    #[test]
    fn data_sets_and_robots_go_by_the_file() {
        assert_eq!(dataset("a/Robot Data-1.csv.gz"), "robot_data_1");
        assert_eq!(dataset("a/测试.csv"), "recording");
        assert_eq!(dataset("robot_events.csv"), "robot_events_recording");
        assert_eq!(dataset("robot_windows.csv"), "robot_windows_recording");
        assert_eq!(dataset("sqlite_dump.csv"), "recording_sqlite_dump");
        assert_eq!(robot("logs/ur3 left.csv"), "ur3 left");
        assert_eq!(robot("-"), "robot-1");
    }
}
