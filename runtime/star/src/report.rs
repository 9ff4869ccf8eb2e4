//! Reports: questions that are asked again and again, a file of SQL each, with what its columns
//! mean and which picture shows it.

mod answer;
mod chart;

use theatre_actors::ports::Error;

use super::dialect::Dialect;

pub use answer::{csv, objects};

/// A report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Its name on the command line.
    pub name: &'static str,
    source: &'static str,
}

/// How a report is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture<'a> {
    /// True for a line, false for bars.
    pub is_line: bool,
    /// The column that names what is compared.
    pub label: &'a str,
    /// The column that is drawn.
    pub value: &'a str,
}

macro_rules! reports {
    ($($name:literal,)*) => {
        &[$(Report { name: $name, source: include_str!(concat!("../reports/", $name, ".sql")) },)*]
    };
}

/// All reports.
pub const REPORTS: &[Report] = reports![
    "kpis_30_days",
    "busiest_robots",
    "monthly_volume",
    "complications_by_type",
    "outcomes_by_model",
    "readmission_by_category",
    "best_surgeons",
    "outcomes_by_experience",
    "facility_comparison",
    "facility_utilisation",
    "system_health",
    "weekdays",
    "time_of_day",
    "quarterly_growth",
    "age_by_category",
    "robot_utilization",
    "outcomes_summary",
    "procedures_by_category",
];

impl Report {
    /// The report of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        REPORTS.iter().find(|report| report.name == name)
    }

    /// Its query.
    pub fn query(&self, dialect: &Dialect<'_>) -> String {
        dialect.render(self.source)
    }

    #[cfg(test)]
    pub(super) fn source(&self) -> &'static str {
        self.source
    }

    fn notes(&self, key: &'static str) -> impl Iterator<Item = &'static str> {
        let lines = self.source.lines();
        lines.filter_map(move |line| line.strip_prefix("-- ")?.strip_prefix(key))
    }

    /// Its heading.
    pub fn title(&self) -> &'static str {
        self.notes("title: ").next().unwrap_or(self.name)
    }

    /// What it is about.
    pub fn description(&self) -> &'static str {
        self.notes("description: ").next().unwrap_or_default()
    }

    /// Its columns in their order, each with what it means.
    pub fn columns(&self) -> Vec<(&'static str, &'static str)> {
        let columns = self.notes("column ");
        columns
            .filter_map(|column| column.split_once(": "))
            .collect()
    }

    /// How it is drawn, if a picture says more than its rows.
    pub fn picture(&self) -> Option<Picture<'static>> {
        let words: Vec<&str> = self.notes("picture: ").next()?.split(' ').collect();
        match words[..] {
            [kind, label, value] => Some(Picture {
                is_line: kind == "line",
                label,
                value,
            }),
            _ => None,
        }
    }
}

/// Whether a warehouse refused a report because it has no tables or views yet.
pub fn is_unmade(error: &Error) -> bool {
    matches!(error, Error::Refused(why) if why.contains("no such table") || why.contains("does not exist"))
}
