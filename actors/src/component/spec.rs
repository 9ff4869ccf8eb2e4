//! Which signals say the load of which component.

use serde::{Deserialize, Serialize};
use theatre_schemas::dataset::Dataset;

use crate::window::{WindowPlan, WindowRow};

/// Which signals of a telemetry dataset say the load of its components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentSpec {
    /// Name of the telemetry dataset.
    pub dataset: String,
    /// Where the component sits, as the registry calls it. `*` stands for every number for which
    /// there is a signal, `{arm}` for the number of the arm.
    pub component: String,
    /// Signal of the load; `*` as above.
    pub load: String,
    /// Signal of the arm's number.
    pub arm: Option<String>,
}

/// The load of one component.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Load {
    /// Index of the signal in the dataset.
    pub(super) signal: usize,
    pub(super) unit: Option<String>,
    component: String,
    arm: Option<usize>,
}

/// The [`ComponentSpec`]s of a dataset, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentColumns {
    window: String,
    loads: Vec<Load>,
}

impl ComponentColumns {
    /// Finds the signals in a dataset. `None` without a tumbling window, from which hours and loads
    /// would come.
    ///
    /// # Errors
    /// Names a signal that the dataset does not have.
    pub fn resolve(
        specs: &[&ComponentSpec],
        dataset: &Dataset,
        windows: &WindowPlan,
    ) -> Result<Option<Self>, String> {
        let missing = |name: &str| {
            format!(
                "components of dataset '{}': there is no '{name}'",
                dataset.name
            )
        };
        let mut loads = Vec::new();
        for spec in specs {
            let arm = spec.arm.as_deref();
            let arm = arm.map(|arm| dataset.signal(arm).ok_or_else(|| missing(arm)));
            let arm = arm.transpose()?;
            let before = loads.len();
            for (signal, known) in dataset.signals.iter().enumerate() {
                let Some(number) = number(&spec.load, &known.name) else {
                    continue;
                };
                loads.push(Load {
                    signal,
                    unit: known.unit.clone(),
                    component: spec.component.replace('*', number),
                    arm,
                });
            }
            if loads.len() == before {
                return Err(missing(&spec.load));
            }
        }
        let tumbling = windows.specs().iter().filter(|of| of.hop_us == of.size_us);
        let shortest = tumbling.min_by_key(|of| of.size_us);
        Ok(shortest.map(|window| Self {
            window: window.name.clone(),
            loads,
        }))
    }

    /// The kind of window that it is computed from.
    pub(super) fn window(&self) -> &str {
        &self.window
    }

    pub(super) fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The place of a load; `None` where the window has rows of several arms, which cannot be told
    /// apart in it.
    pub(super) fn place(&self, load: &Load, row: &WindowRow) -> Option<String> {
        let Some(arm) = load.arm else {
            return Some(load.component.clone());
        };
        let of = row.signals.get(arm).filter(|of| of.count > 0)?;
        (of.min == of.max).then(|| load.component.replace("{arm}", &of.min.to_string()))
    }
}

/// What stands for `*` in a name; an empty text for a name without it.
fn number<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((begin, end)) = pattern.split_once('*') else {
        return (pattern == name).then_some("");
    };
    let number = name.strip_prefix(begin)?.strip_suffix(end)?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then_some(number)
}
