//! Commands that look at what the actors know: robots, procedures, alerts, windows.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use theatre_actors::outputs::OutputKind;
use theatre_actors::outputs::window::WindowSubject;
use theatre_actors::ports::{CheckpointStore, OutputFilter};
use theatre_actors::processor::ProcessorView;
use theatre_actors::window::{WindowRow, merge_revisions};
use theatre_schemas::records::Alert;

use super::output::{rows, time, value};
use super::service::Place;
use super::{Common, Failure};

/// Looks at robots.
#[derive(Debug, Subcommand)]
pub(super) enum Robots {
    /// All robots.
    #[command(after_help = "Example: theatre robots list --output json")]
    List,
    /// One robot, in full.
    #[command(after_help = "Example: theatre robots show robot-0001")]
    Show {
        /// Its id.
        robot: String,
    },
}

/// Looks at procedures.
#[derive(Debug, Subcommand)]
pub(super) enum Procedures {
    /// All procedures that are remembered.
    #[command(after_help = "Example: theatre procedures list --output json")]
    List,
    /// One procedure, in full.
    #[command(
        after_help = "Example: theatre procedures show case-0001-000000 (theatre procedures list names all)"
    )]
    Show {
        /// Its id.
        procedure: String,
    },
}

/// Looks at alerts.
#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// Conditions that are open.
    #[command(after_help = "Example: theatre alerts list --output json")]
    List,
    /// All transitions, oldest first.
    #[command(after_help = "Example: theatre alerts history --robot robot-0001 --limit 0")]
    History {
        /// Only this robot.
        #[arg(long)]
        robot: Option<String>,
        /// At most so many, the newest; 0 = all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// Looks at windows.
#[derive(Debug, Subcommand)]
pub(super) enum Windows {
    /// Windows of one robot, late corrections merged.
    #[command(
        after_help = "Example: theatre windows show robot-0001 --window 10s --signal 'joints[2].temperature'"
    )]
    Show {
        /// The robot.
        robot: String,
        /// Only this window, such as 10s.
        #[arg(long)]
        window: Option<String>,
        /// Only this signal.
        #[arg(long)]
        signal: Option<String>,
    },
}

pub(super) fn store(common: &Common) -> Result<Arc<dyn CheckpointStore>, Failure> {
    Ok(Place::of(common)?.look()?.store()?)
}

fn views(common: &Common) -> Result<Vec<ProcessorView>, Failure> {
    let store = store(common)?;
    let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
    let mut views = Vec::new();
    for partition in 0..partitions {
        for stored in store
            .processors(partition)?
            .into_iter()
            .filter(|stored| !stored.processor.is_empty())
        {
            let unreadable = |error| {
                Failure::Failed(format!(
                    "the state of robot '{}' cannot be read: {error}",
                    stored.processor
                ))
            };
            views.push(
                ProcessorView::from_state(&stored.processor, &stored.state).map_err(unreadable)?,
            );
        }
    }
    views.sort_by(|left, right| left.robot_id.cmp(&right.robot_id));
    Ok(views)
}

fn optional_time(us: Option<i64>) -> Value {
    us.map_or(Value::Null, time)
}

impl Robots {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let views = views(common)?;
        match self {
            Self::List => {
                let line = |view: &ProcessorView| {
                    let applied: u64 = view.counters.iter().map(|counters| counters.applied).sum();
                    let rules: Vec<&str> = view
                        .conditions
                        .iter()
                        .map(|condition| condition.rule_id.as_str())
                        .collect();
                    vec![
                        json!(view.robot_id),
                        optional_time(view.clock),
                        json!(applied),
                        json!(view.missing),
                        json!(view.procedures.len()),
                        json!(rules.join(", ")),
                    ]
                };
                let lines: Vec<_> = views.iter().map(line).collect();
                rows(
                    common.output,
                    &[
                        "robot_id",
                        "clock",
                        "applied",
                        "missing",
                        "procedures",
                        "open_conditions",
                    ],
                    &lines,
                )
            }
            Self::Show { robot } => {
                let view = views.into_iter().find(|view| view.robot_id == robot);
                value(&json!(view.ok_or_else(|| Failure::Failed(format!(
                    "robot '{robot}' is not known; `theatre robots list` names all"
                )))?))
            }
        }
    }
}

impl Procedures {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let procedures: Vec<_> = views(common)?
            .into_iter()
            .flat_map(|view| view.procedures)
            .collect();
        match self {
            Self::List => {
                let lines: Vec<_> = procedures
                    .iter()
                    .map(|procedure| {
                        let outcome = procedure.outcome.as_ref();
                        vec![
                            json!(procedure.procedure_id),
                            json!(procedure.robot_id),
                            json!(procedure.status),
                            time(procedure.heard_at),
                            json!(outcome.and_then(|outcome| outcome.duration_s)),
                            json!(outcome.map(|outcome| outcome.revision)),
                        ]
                    })
                    .collect();
                rows(
                    common.output,
                    &[
                        "procedure_id",
                        "robot_id",
                        "status",
                        "heard_at",
                        "duration_s",
                        "revision",
                    ],
                    &lines,
                )
            }
            Self::Show { procedure } => {
                let found = procedures
                    .into_iter()
                    .find(|known| known.procedure_id == procedure);
                value(&json!(found.ok_or_else(|| Failure::Failed(format!(
                    "procedure '{procedure}' is not known; `theatre procedures list` names all"
                )))?))
            }
        }
    }
}

impl Alerts {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::List => {
                let lines: Vec<_> = views(common)?
                    .iter()
                    .flat_map(|view| {
                        view.conditions.iter().map(|condition| {
                            vec![
                                json!(view.robot_id),
                                json!(condition.rule_id),
                                json!(condition.priority),
                                time(condition.raised_at),
                            ]
                        })
                    })
                    .collect();
                rows(
                    common.output,
                    &["robot_id", "rule_id", "priority", "raised_at"],
                    &lines,
                )
            }
            Self::History { robot, limit } => {
                let filter = OutputFilter {
                    kind: Some(OutputKind::Alert),
                    robot_id: robot,
                    limit,
                    ..OutputFilter::default()
                };
                let mut lines = Vec::new();
                for stored in store(common)?.find_outputs(&filter)? {
                    let alert = Alert::decode(&stored.output.payload)
                        .map_err(|error| Failure::Failed(error.to_string()))?;
                    lines.push(vec![
                        time(alert.event_time),
                        json!(alert.robot_id),
                        json!(alert.rule_id),
                        json!(alert.transition),
                        json!(alert.priority),
                        json!(alert.value),
                        json!(alert.message),
                    ]);
                }
                rows(
                    common.output,
                    &[
                        "event_time",
                        "robot_id",
                        "rule_id",
                        "transition",
                        "priority",
                        "value",
                        "message",
                    ],
                    &lines,
                )
            }
        }
    }
}

impl Windows {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let Self::Show {
            robot,
            window,
            signal,
        } = self;
        let registry = crate::adapters::registry(&super::service::config(common)?)?;
        if !views(common)?.iter().any(|view| view.robot_id == robot) {
            return Err(Failure::Failed(format!(
                "robot '{robot}' is not known; `theatre robots list` names all"
            )));
        }
        let filter = OutputFilter {
            kind: Some(OutputKind::Window),
            robot_id: Some(robot),
            ..OutputFilter::default()
        };
        let mut by_window: std::collections::BTreeMap<(String, String, i64), Vec<WindowRow>> =
            std::collections::BTreeMap::new();
        for stored in store(common)?.find_outputs(&filter)? {
            let row = WindowRow::decode(&stored.output.payload)
                .map_err(|error| Failure::Failed(error.to_string()))?;
            if window.as_ref().is_none_or(|wanted| *wanted == row.window) {
                by_window
                    .entry((
                        WindowSubject::of(&stored.output).dataset.to_owned(),
                        row.window.clone(),
                        row.start_us,
                    ))
                    .or_default()
                    .push(row);
            }
        }
        let mut lines = Vec::new();
        for ((dataset, _, start), revisions) in by_window {
            let Some(merged) = merge_revisions(&revisions) else {
                continue;
            };
            let known = registry
                .datasets()
                .find(&dataset)
                .map(|(_, dataset)| dataset.signals.clone())
                .unwrap_or_default();
            for (index, aggregate) in merged.signals.iter().enumerate() {
                // A schema given to another command may be unknown to this one: the place of the
                // signal still says which it is.
                let name = known
                    .get(index)
                    .map_or_else(|| format!("signal {index}"), |signal| signal.name.clone());
                if aggregate.count == 0 || signal.as_ref().is_some_and(|wanted| *wanted != name) {
                    continue;
                }
                lines.push(vec![
                    json!(merged.window),
                    time(start),
                    json!(merged.revision),
                    json!(name),
                    json!(aggregate.count),
                    json!(aggregate.mean),
                    json!(aggregate.min),
                    json!(aggregate.max),
                ]);
            }
        }
        rows(
            common.output,
            &[
                "window", "start", "revision", "signal", "count", "mean", "min", "max",
            ],
            &lines,
        )
    }
}
