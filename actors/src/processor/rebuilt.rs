//! A processor that was built anew beside the one that is stored: what was not there to build it
//! from, and in what the two differ.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Processor, ProcessorState, view};
use crate::outputs::Counters;
use crate::position::TopicIndex;
use crate::state::{self, StateError};

/// Something in which a state differs from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What kind of thing: `condition`, `open window`, `counters` and others.
    pub part: &'static str,
    /// Which one; empty where there is only one.
    pub name: String,
    /// What it was, in words; `None` where it was not there.
    pub before: Option<String>,
    /// What it is; `None` where it is not there any more.
    pub after: Option<String>,
}

/// Records of an input that the stored state has counted and the new one has not met, or the other
/// way round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Input topic.
    pub topic: TopicIndex,
    /// What the stored state has counted.
    pub counted: u64,
    /// What the new one has met.
    pub met: u64,
    /// All that the new one has not met were repetitions.
    pub are_repeats: bool,
}

impl Processor {
    /// The inputs of which a stored state has counted another number of records than this one.
    ///
    /// # Errors
    /// When the stored state is of an unknown version or damaged.
    pub fn missing(&self, stored: &[u8]) -> Result<Vec<Missing>, StateError> {
        let stored: ProcessorState = state::decode(stored)?;
        let nothing = Counters::default();
        let topics = stored.counters.len().max(self.state.counters.len());
        let missing = (0..topics).filter_map(|topic| {
            let counted = stored.counters.get(topic).unwrap_or(&nothing);
            let met = self.state.counters.get(topic).unwrap_or(&nothing);
            let (all, here) = (counted.total(), met.total());
            let repeats = counted.duplicate.saturating_sub(met.duplicate);
            (all != here).then(|| Missing {
                topic,
                counted: all,
                met: here,
                are_repeats: all > here && repeats == all - here,
            })
        });
        Ok(missing.collect())
    }

    /// Takes the place of the stored state: goes on where that stood. Repetitions that were not
    /// there to be met again are counted as that had counted them. `was_ticked`: the wall clock has
    /// moved something. No record says at which moment, so that is as the stored state has it.
    ///
    /// # Errors
    /// When the stored state is of an unknown version or damaged; nothing has changed then.
    pub fn succeed(&mut self, stored: &[u8], was_ticked: bool) -> Result<(), StateError> {
        let missing = self.missing(stored)?;
        let stored: ProcessorState = state::decode(stored)?;
        self.state.positions = self.state.positions.highest(&stored.positions);
        if was_ticked {
            let alerts = &mut self.state.alerts;
            alerts.change(|alerts| alerts.wait_as(&stored.alerts));
        }
        let counted = |counters: &[Counters]| {
            let last = counters.iter().rposition(|counted| counted.total() > 0);
            last.map_or(0, |last| last + 1)
        };
        // How many topics are listed depends on how rows were cut into messages.
        let listed = counted(&self.state.counters).max(stored.counters.len());
        (self.state.counters).resize_with(listed, Counters::default);
        for repeats in missing.iter().filter(|missing| missing.are_repeats) {
            if let Some(counters) = self.state.counters.get_mut(repeats.topic) {
                counters.duplicate += repeats.counted - repeats.met;
            }
            self.state.robot.note_heard(stored.robot.last_seen());
        }
        Ok(())
    }
}

/// In what two stored states differ, by kind and name; nothing where they are the same.
///
/// # Errors
/// When one is of an unknown version or damaged.
pub fn differences(before: &[u8], after: &[u8]) -> Result<Vec<Difference>, StateError> {
    if before == after {
        return Ok(Vec::new());
    }
    // They may be of different versions.
    let present = |stored: &[u8]| -> Result<Vec<u8>, StateError> {
        Ok(state::encode(&state::decode::<ProcessorState>(stored)?))
    };
    let is_same = present(before)? == present(after)?;
    let mut found = Vec::new();
    if is_same {
        return Ok(found);
    }
    let (mut before, after) = (parts(before)?, parts(after)?);
    for (key, (value, said)) in after {
        let was = before.remove(&key);
        if was.as_ref().is_none_or(|(was, _)| *was != value) {
            let (part, name) = key;
            found.push(Difference {
                part,
                name,
                before: was.map(|(_, said)| said),
                after: Some(said),
            });
        }
    }
    let gone = before
        .into_iter()
        .map(|((part, name), (_, said))| Difference {
            part,
            name,
            before: Some(said),
            after: None,
        });
    found.extend(gone);
    if found.is_empty() {
        found.push(Difference {
            part: "other",
            name: String::new(),
            before: Some("in another order".to_owned()),
            after: Some("in another order".to_owned()),
        });
    }
    found.sort_by(|left, right| (left.part, &left.name).cmp(&(right.part, &right.name)));
    Ok(found)
}

/// Values by kind and name, encoded and in words.
type Parts = BTreeMap<(&'static str, String), (Vec<u8>, String)>;

fn parts(stored: &[u8]) -> Result<Parts, StateError> {
    let state: ProcessorState = state::decode(stored)?;
    let mut parts = Parts::new();
    let mut note = |part: &'static str, name: String, value: Vec<u8>, said: String| {
        parts.insert((part, name), (value, said));
    };
    for (topic, counted) in state.counters.iter().enumerate() {
        let said = format!(
            "{} applied, {} late, {} duplicate, {} dead",
            counted.applied,
            counted.late,
            counted.duplicate,
            counted.dead_total()
        );
        let name = format!("input {topic}");
        note("counters", name, state::body(counted), said);
    }
    let seen = view::live("", &state);
    for condition in &seen.processor.conditions {
        let names = [
            Some(&condition.rule_id),
            condition.signal.as_ref(),
            condition.dataset.as_ref(),
        ];
        let names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
        let priority = format!("{:?}", condition.priority).to_lowercase();
        let message = condition.message.as_deref().unwrap_or("not emitted yet");
        let said = format!("{priority}, raised at {}: {message}", condition.raised_at);
        note("condition", names.join(" "), state::body(condition), said);
    }
    for silence in &seen.processor.silences {
        let said = format!("until {}", silence.until);
        let value = state::body(silence);
        note("silence", silence.silence_id.clone(), value, said);
    }
    for window in &seen.windows {
        let name = format!("{} {} from {}", window.dataset, window.window, window.start);
        let said = format!("{} rows", window.rows);
        note("open window", name, state::body(window), said);
    }
    for (id, procedure) in state.procedures.iter() {
        let said = procedure.status().to_owned();
        note("procedure", id.to_owned(), state::body(procedure), said);
    }
    let rest = [
        ("positions", state::body(&state.positions)),
        ("procedures", state::body(&state.procedures)),
        (
            "instruments, components, sessions",
            state::body(&state.entities),
        ),
        ("record of the robot", state::body(&state.record)),
        ("registry", state::body(&state.registry)),
        ("alerts", state::body(&state.alerts)),
        ("what was said to all robots", state::body(&state.control)),
    ];
    let rest = rest
        .into_iter()
        .map(|(part, value)| (part, String::new(), value));
    for (part, name, value) in rest.chain(state.robot.parts()) {
        let said = format!("{} bytes", value.len());
        note(part, name, value, said);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::super::stored::ProcessorState;
    use super::*;
    use crate::position::Positions;

    fn counted(applied: u64, duplicate: u64) -> Counters {
        Counters {
            applied,
            duplicate,
            ..Counters::default()
        }
    }

    fn state(counters: Vec<Counters>, positions: Vec<u64>) -> ProcessorState {
        ProcessorState {
            counters,
            positions: Positions::from(positions),
            ..ProcessorState::default()
        }
    }

    fn processor(state: ProcessorState) -> Processor {
        let config = super::super::tests::plain_config();
        let mut processor = Processor::new("r", config);
        processor.state = state;
        processor
    }

    #[test]
    fn what_differs_is_named_with_what_it_was_and_what_it_is() {
        let before = state::encode(&state(vec![counted(3, 1)], vec![4]));
        assert_eq!(differences(&before, &before).unwrap(), []);
        let after = state::encode(&state(vec![counted(4, 0), counted(1, 0)], vec![4]));
        let found = differences(&before, &after).unwrap();
        let counters = |name: &str, before: Option<&str>, after: Option<&str>| Difference {
            part: "counters",
            name: name.to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let first = "3 applied, 0 late, 1 duplicate, 0 dead";
        let fourth = "4 applied, 0 late, 0 duplicate, 0 dead";
        let second = "1 applied, 0 late, 0 duplicate, 0 dead";
        assert_eq!(
            found,
            [
                counters("input 0", Some(first), Some(fourth)),
                counters("input 1", None, Some(second)),
            ]
        );
        let back = differences(&after, &before).unwrap();
        assert_eq!(back[1], counters("input 1", Some(second), None));
        assert!(differences(&before, &[9, 9]).is_err());
    }

    #[test]
    fn repetitions_that_were_not_met_are_kept_apart_from_other_records() {
        let stored = state::encode(&state(
            vec![counted(5, 2), counted(4, 1), counted(1, 0)],
            vec![],
        ));
        let built = processor(state(
            vec![counted(5, 0), counted(3, 1), counted(2, 0)],
            vec![],
        ));
        let missing = built.missing(&stored).unwrap();
        let expected = |topic, counted, met, are_repeats| Missing {
            topic,
            counted,
            met,
            are_repeats,
        };
        assert_eq!(
            missing,
            [
                expected(0, 7, 5, true),
                expected(1, 5, 4, false),
                expected(2, 1, 2, false),
            ]
        );
    }

    #[test]
    fn a_successor_stands_where_the_stored_state_stood_and_counts_its_repetitions() {
        let before = state(vec![counted(5, 2), counted(0, 0)], vec![9, 0, 3]);
        let mut built = processor(state(vec![counted(5, 0)], vec![7]));
        built.succeed(&state::encode(&before), false).unwrap();
        assert_eq!(
            differences(&state::encode(&before), &built.snapshot()).unwrap(),
            []
        );
        // What was applied and is not there is not made up.
        let mut short = processor(state(vec![counted(4, 0)], vec![7]));
        short.succeed(&state::encode(&before), false).unwrap();
        assert_eq!(short.counters()[0], counted(4, 0));
    }
}
