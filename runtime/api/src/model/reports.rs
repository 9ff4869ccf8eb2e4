//! Reports of the warehouse, as answers have them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Time;

/// A report that there is.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReportInfo {
    /// Its name.
    pub(crate) report: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What it is about.
    pub(crate) description: &'static str,
    /// Its columns, in their order.
    pub(crate) columns: Vec<ReportColumn>,
    /// Whether it can be had as a picture.
    pub(crate) has_picture: bool,
}

/// A column of a report.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReportColumn {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means, with its unit.
    pub(crate) means: &'static str,
}

/// A report's answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReportRows {
    /// Its name.
    pub(crate) report: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What it is about.
    pub(crate) description: &'static str,
    /// Its columns, in their order.
    pub(crate) columns: Vec<ReportColumn>,
    /// Whether it can be had as a picture.
    pub(crate) has_picture: bool,
    /// Its rows: objects by the names of columns.
    pub(crate) rows: Vec<Value>,
    /// When the warehouse was asked.
    pub(crate) as_of: Time,
}
