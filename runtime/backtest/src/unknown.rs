//! What cannot be known from a lake, said beside every result.

use std::sync::Arc;

use serde::Serialize;
use theatre_actors::processor::ProcessorConfig;
use theatre_actors::rules::RuleKind;
use theatre_schemas::dataset::Datasets;

use super::plan::Plan;
use super::{Past, Question};

/// Something that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What kind of thing, for programs.
    pub what: &'static str,
    /// In words.
    pub text: String,
}

impl Unknown {
    pub(crate) fn new(what: &'static str, text: impl Into<String>) -> Self {
        Self {
            what,
            text: text.into(),
        }
    }
}

/// A moment as people read it, microseconds UTC.
pub(crate) fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us).map_or_else(
        |_| format!("{us} us"),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// What is not known of a period.
pub(crate) fn of(
    plan: &Plan,
    past: &Past,
    config: &Arc<ProcessorConfig>,
    datasets: &Datasets,
    question: &Question,
) -> Vec<Unknown> {
    let mut unknown = beginning(plan, past, config, question);
    let strangers: Vec<&str> = question
        .robots
        .iter()
        .filter(|robot| !past.robots.contains_key(*robot))
        .map(String::as_str)
        .collect();
    if !strangers.is_empty() {
        unknown.push(Unknown::new(
            "robots_without_rows",
            format!("no row in the period is of {}", strangers.join(", ")),
        ));
    }
    unknown.extend(absent(plan));
    unknown.extend(unwatched(past, config, datasets));
    let refused: u64 = past
        .robots
        .values()
        .flat_map(|robot| robot.refused.values())
        .sum();
    if refused > 0 {
        unknown.push(Unknown::new(
            "refused",
            format!("{refused} rows were refused as in a live run (late, dated ahead, not valid): no rule judged them"),
        ));
    }
    let missing = match past.seen.missing {
        0 => String::new(),
        many => format!("; by their numbers {many} records are missing"),
    };
    unknown.push(Unknown::new(
        "not_in_lake",
        format!("records that could not be decoded and repeated ones are not in the lake{missing}"),
    ));
    unknown.push(Unknown::new(
        "silence",
        "when a robot was silent is judged by when its records were appended, as if a process had always read to the end of the log; what was appended long after it was measured says nothing of silence",
    ));
    unknown
}

/// What was before.
fn beginning(
    plan: &Plan,
    past: &Past,
    config: &Arc<ProcessorConfig>,
    question: &Question,
) -> Vec<Unknown> {
    let mut unknown = Vec::new();
    let (first, last) = past.period;
    let begins_in_the_lake = question
        .from
        .is_some_and(|from| plan.lake.is_some_and(|(lake, _)| lake < from));
    if begins_in_the_lake {
        unknown.push(Unknown::new(
            "rows_before",
            format!(
                "telemetry before {} was not read: conditions that were open then are raised anew, and `hold` counts from there",
                time(first)
            ),
        ));
    } else if !plan.begins_later.is_empty() {
        unknown.push(Unknown::new(
            "lake_begins_later",
            format!(
                "the lake begins after the log: what partitions {} had before is not in it",
                list(&plan.begins_later)
            ),
        ));
    }
    let learns = |kind: &RuleKind| {
        !matches!(
            kind,
            RuleKind::Threshold { .. }
                | RuleKind::Boolean { .. }
                | RuleKind::MissingData { .. }
                | RuleKind::BuiltIn {}
        )
    };
    let rules = config.rules.rules().iter().map(|rule| &rule.spec);
    let learning: Vec<&str> = rules
        .filter(|spec| learns(&spec.kind))
        .map(|spec| spec.id.as_str())
        .collect();
    if !learning.is_empty() {
        unknown.push(Unknown::new(
            "state_before",
            format!(
                "rules that count or learn over time begin with nothing at {}: {}",
                time(first),
                learning.join(", ")
            ),
        ));
    }
    if question.to.is_none_or(|to| last < to) {
        unknown.push(Unknown::new(
            "end",
            format!(
                "the data ends at {}: what came after is not known, conditions of the last horizon are undecided",
                time(last)
            ),
        ));
    }
    unknown
}

fn list(partitions: &[u32]) -> String {
    let named: Vec<String> = partitions.iter().map(u32::to_string).collect();
    named.join(", ")
}

/// Files that are not there.
fn absent(plan: &Plan) -> Vec<Unknown> {
    let mut unknown = Vec::new();
    for (absent, what, why) in [
        (
            plan.pending,
            "files_pending",
            "are registered and not in the lake yet",
        ),
        (
            plan.lost,
            "files_lost",
            "are lost: neither the files nor their uploads are there",
        ),
        (
            plan.erased,
            "rows_erased",
            "were erased from the lake (theatre lake erase)",
        ),
    ] {
        if absent.files > 0 {
            let text = format!("{} rows in {} files {why}", absent.rows, absent.files);
            unknown.push(Unknown::new(what, text));
        }
    }
    for (dataset, absent) in &plan.unknown {
        unknown.push(Unknown::new(
            "unknown_dataset",
            format!(
                "{} rows are of dataset '{dataset}', which the configuration does not know (schemas, [[input]]): left out",
                absent.rows
            ),
        ));
    }
    unknown
}

/// Rules that had nothing to judge.
fn unwatched(past: &Past, config: &Arc<ProcessorConfig>, datasets: &Datasets) -> Vec<Unknown> {
    let mut unknown = Vec::new();
    for (slot, rule) in config.rules.rules().iter().enumerate() {
        for (index, signal) in config.rules.watched(slot) {
            let dataset = datasets.get(index);
            let name = &dataset.signals[signal].name;
            let (id, of) = (&rule.spec.id, &dataset.name);
            let seen = past.seen.signals.get(&index);
            if past.seen.rows.get(&index).copied().unwrap_or(0) == 0 {
                unknown.push(Unknown::new(
                    "no_rows",
                    format!("rule '{id}': dataset '{of}' has no rows in the period"),
                ));
            } else if !seen.is_some_and(|seen| seen.contains(&signal)) {
                unknown.push(Unknown::new(
                    "no_values",
                    format!(
                        "rule '{id}': signal '{name}' of dataset '{of}' has no value in the period"
                    ),
                ));
            }
        }
    }
    unknown
}
