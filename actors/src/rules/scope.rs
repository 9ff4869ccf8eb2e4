//! Where a rule holds: robots of some models or facilities, rows in some operating states, phases of
//! a case, or with some tools.

use serde::{Deserialize, Serialize};
use theatre_schemas::dataset::{ColumnType, Dataset};

use super::names::did_you_mean;

/// The columns of a row that say of which model and facility its robot is.
const MODEL_COLUMN: &str = "robot_model";
const FACILITY_COLUMN: &str = "facility_id";

/// Where a rule holds. Everything that is named must be so; an empty list is no restriction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeSpec {
    /// Models, by the registry, or by the row where nothing is registered.
    pub models: Vec<String>,
    /// Facilities, in the same way.
    pub facilities: Vec<String>,
    /// Operating states: values of `state_column`.
    pub states: Vec<String>,
    /// The text column of the operating state.
    pub state_column: String,
    /// Phases of a case that are under way.
    pub phases: Vec<String>,
    /// Kinds of tools: values of `tool_column`.
    pub tools: Vec<String>,
    /// The text column of the tool's kind.
    pub tool_column: String,
}

impl Default for ScopeSpec {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            facilities: Vec::new(),
            states: Vec::new(),
            state_column: "operating_state".to_owned(),
            phases: Vec::new(),
            tools: Vec::new(),
            tool_column: "tool_type".to_owned(),
        }
    }
}

/// What is known of a robot and its cases beside a row.
pub(crate) trait Surroundings {
    /// The robot's model at an event time, microseconds UTC, by its registry.
    fn model(&self, time: i64) -> Option<&str>;
    /// Its facility.
    fn facility(&self, time: i64) -> Option<&str>;
    /// The phase of a case that is under way at an event time.
    fn phase(&self, procedure_id: &str, time: i64) -> Option<&str>;
}

/// The text columns that a rule needs of a row: indices into those that its dataset's rules need.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct TextColumns {
    model: Option<usize>,
    facility: Option<usize>,
    state: Option<usize>,
    tool: Option<usize>,
    /// The column of the operating states of a deviation or a cohort.
    pub(crate) by: Option<usize>,
}

/// What a rule looks at in a row to know whether it holds.
pub(crate) struct Place<'a> {
    /// Event time, microseconds UTC.
    pub(crate) time: i64,
    pub(crate) procedure_id: Option<&'a str>,
    pub(crate) columns: &'a TextColumns,
    pub(crate) around: &'a dyn Surroundings,
}

impl<'a> Place<'a> {
    /// The robot's model by the registry, or by the row where nothing is registered.
    pub(crate) fn model(&self, text: impl Fn(usize) -> Option<&'a str>) -> Option<&'a str> {
        let of_row = || self.columns.model.and_then(text);
        self.around.model(self.time).or_else(of_row)
    }
}

impl ScopeSpec {
    /// True when it looks at rows, not only at the robot.
    pub(super) fn is_of_rows(&self) -> bool {
        !(self.states.is_empty() && self.phases.is_empty() && self.tools.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.models.is_empty() && self.facilities.is_empty() && !self.is_of_rows()
    }

    /// Whether the rule holds in a row, of which `text` gives the columns.
    pub(crate) fn holds<'a>(
        &'a self,
        place: &Place<'a>,
        text: impl Fn(usize) -> Option<&'a str>,
    ) -> bool {
        let of = |column: Option<usize>| column.and_then(&text);
        let Place {
            time,
            procedure_id,
            columns,
            around,
        } = *place;
        let is_in = |wanted: &[String], is: &dyn Fn() -> Option<&'a str>| {
            wanted.is_empty() || is().is_some_and(|is| wanted.iter().any(|name| name == is))
        };
        is_in(&self.states, &|| of(columns.state))
            && is_in(&self.tools, &|| of(columns.tool))
            && is_in(&self.models, &|| place.model(&text))
            && is_in(&self.facilities, &|| {
                around.facility(time).or_else(|| of(columns.facility))
            })
            && is_in(&self.phases, &|| around.phase(procedure_id?, time))
    }

    /// Whether it holds for the robot as a whole.
    pub(crate) fn holds_for_robot(&self, time: i64, around: &dyn Surroundings) -> bool {
        let place = Place {
            time,
            procedure_id: None,
            columns: &TextColumns::default(),
            around,
        };
        let robot = Self {
            models: self.models.clone(),
            facilities: self.facilities.clone(),
            ..Self::default()
        };
        robot.holds(&place, |_| None)
    }
}

impl TextColumns {
    /// Finds the columns that a rule needs in a dataset, and notes them in `texts`.
    ///
    /// # Errors
    /// Names a text column that the dataset does not have.
    pub(super) fn resolve(
        (only, by, needs_model): (Option<&ScopeSpec>, Option<&str>, bool),
        dataset: &Dataset,
        texts: &mut Vec<(usize, String)>,
    ) -> Result<Self, String> {
        let mut columns = Self {
            by: by.map(|name| required(name, dataset, texts)).transpose()?,
            ..Self::default()
        };
        if needs_model || only.is_some_and(|only| !only.models.is_empty()) {
            columns.model = noted(MODEL_COLUMN, dataset, texts);
        }
        let Some(only) = only else {
            return Ok(columns);
        };
        if !only.facilities.is_empty() {
            columns.facility = noted(FACILITY_COLUMN, dataset, texts);
        }
        if !only.states.is_empty() {
            columns.state = Some(required(&only.state_column, dataset, texts)?);
        }
        if !only.tools.is_empty() {
            columns.tool = Some(required(&only.tool_column, dataset, texts)?);
        }
        if !only.phases.is_empty() && dataset.roles.procedure_id.is_none() {
            return Err(format!(
                "dataset '{}' names no procedures, so its rows are in no phase: leave out phases, or name another dataset",
                dataset.name
            ));
        }
        Ok(columns)
    }
}

fn required(
    name: &str,
    dataset: &Dataset,
    texts: &mut Vec<(usize, String)>,
) -> Result<usize, String> {
    noted(name, dataset, texts).ok_or_else(|| {
        let is_text =
            |column: &&theatre_schemas::dataset::ColumnSpec| column.column_type == ColumnType::Utf8;
        let known: Vec<&str> = (dataset.columns.iter().filter(is_text))
            .map(|column| column.name.as_str())
            .collect();
        format!(
            "dataset '{}' has no text column '{name}'; {}",
            dataset.name,
            did_you_mean(name, &known)
        )
    })
}

/// The index of a text column among those that rules need; `None` where there is none of the name.
fn noted(name: &str, dataset: &Dataset, texts: &mut Vec<(usize, String)>) -> Option<usize> {
    let column = dataset.column(name)?;
    let spec = dataset.columns.get(column)?;
    if spec.column_type != ColumnType::Utf8 {
        return None;
    }
    let known = texts.iter().position(|(known, _)| *known == column);
    Some(known.unwrap_or_else(|| {
        texts.push((column, name.to_owned()));
        texts.len() - 1
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Robot {
        model: Option<&'static str>,
    }

    impl Surroundings for Robot {
        fn model(&self, _: i64) -> Option<&str> {
            self.model
        }

        fn facility(&self, time: i64) -> Option<&str> {
            (time >= 10).then_some("FAC-001")
        }

        fn phase(&self, procedure_id: &str, time: i64) -> Option<&str> {
            (procedure_id == "p" && time >= 5).then_some("dissection")
        }
    }

    #[test]
    fn everything_that_is_named_must_be_so() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let columns = TextColumns {
            model: Some(0),
            state: Some(1),
            tool: Some(2),
            ..TextColumns::default()
        };
        let none = ScopeSpec::default();
        let by = |models: &[&str], phases: &[&str], states: &[&str], tools: &[&str]| ScopeSpec {
            models: list(models),
            phases: list(phases),
            states: list(states),
            tools: list(tools),
            ..ScopeSpec::default()
        };
        for (only, registered, time, procedure, expected) in [
            (none.clone(), None, 0, None, true),
            (by(&["m1", "m2"], &[], &[], &[]), None, 0, None, true),
            (by(&["m1"], &[], &[], &[]), Some("m3"), 0, None, false),
            (by(&["m3"], &[], &[], &[]), Some("m3"), 0, None, true),
            (by(&[], &["dissection"], &[], &[]), None, 5, Some("p"), true),
            (
                by(&[], &["dissection"], &[], &[]),
                None,
                4,
                Some("p"),
                false,
            ),
            (by(&[], &["dissection"], &[], &[]), None, 5, None, false),
            (
                by(&[], &[], &["enabled"], &["grasper"]),
                None,
                0,
                None,
                true,
            ),
            (
                by(&[], &[], &["enabled"], &["scissors"]),
                None,
                0,
                None,
                false,
            ),
        ] {
            let place = Place {
                time,
                procedure_id: procedure,
                columns: &columns,
                around: &Robot { model: registered },
            };
            let text = |column: usize| ["m1", "enabled", "grasper"].get(column).copied();
            assert_eq!(only.holds(&place, text), expected, "{only:?}");
        }
        let facility = ScopeSpec {
            facilities: list(&["FAC-001"]),
            ..none
        };
        let robot = Robot { model: None };
        assert!(!facility.holds_for_robot(9, &robot) && facility.holds_for_robot(10, &robot));
    }
}
