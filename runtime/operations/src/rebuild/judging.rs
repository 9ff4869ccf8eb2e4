//! What was built beside what is stored: whether all records were there, and what differs.

use std::collections::BTreeMap;
use std::sync::Arc;

use theatre_actors::control;
use theatre_actors::ports::{Error, ProcessorSave, Result};
use theatre_actors::position::Partition;
use theatre_actors::processor::{self, Missing, Processor, ProcessorConfig};

use super::report::{Family, FamilyState, OutputList};
use super::{Actor, Built, Rebuilding};

/// Compares the actors of a partition. `rest` is what they have sent and did not conclude, `gaps`
/// what was found to be missing when the records were read.
pub(super) fn judge(
    rebuilding: &Rebuilding<'_>,
    partition: Partition,
    actors: Vec<Actor>,
    mut rest: BTreeMap<String, OutputList>,
    gaps: &[String],
) -> Result<Built> {
    let mut built = Built {
        families: Vec::new(),
        saves: Vec::new(),
        newcomers: Vec::new(),
        gaps: Vec::new(),
    };
    let (topics, config) = (&rebuilding.params.topics, &rebuilding.params.processor);
    for actor in actors {
        let mut family = begin(partition, &actor);
        family.not_concluded = rest.remove(&actor.name).unwrap_or_default();
        let missing = missing(&actor, config);
        let mut lacks = lacks(&family.name, &missing, topics, gaps, &mut family.state);
        lacks.extend(actor.lost.iter().cloned());
        let is_own = control::partition_of(&actor.name).is_some();
        let lacks_something = !lacks.is_empty();
        built.gaps.extend(lacks);
        // What was said to all robots is worth more than what is left of it.
        if lacks_something && (is_own || actor.processor.is_none()) {
            family.state = FamilyState::Kept;
            built.families.push(family);
            continue;
        }
        if let Some(save) = compare(actor, config, &missing, &mut family)? {
            if family.state == FamilyState::New {
                built.newcomers.push(save.processor.clone());
            }
            // A state that was built of fewer repetitions may lack what these did.
            if family.repeats > 0 && !family.differences.is_empty() {
                let (name, repeats) = (&family.name, family.repeats);
                built.gaps.push(format!(
                    "'{name}': {repeats} repetitions are not in the lake, and its state differs"
                ));
            }
            built.saves.push(save);
        }
        built.families.push(family);
    }
    // What is missing matters only if it was of an actor.
    if !built.gaps.is_empty() {
        built.gaps.splice(0..0, gaps.iter().cloned());
    }
    built
        .families
        .sort_by(|left, right| left.name.cmp(&right.name));
    Ok(built)
}

fn begin(partition: Partition, actor: &Actor) -> Family {
    let stored = actor.stored.as_ref();
    let mut never_sent = OutputList::default();
    actor
        .unsent
        .iter()
        .for_each(|output| never_sent.note(output));
    Family {
        partition,
        name: actor.name.clone(),
        state: if stored.is_some() {
            FamilyState::Same
        } else {
            FamilyState::New
        },
        records: actor.records,
        bytes_before: stored.map_or(0, |stored| stored.state.len() as u64),
        bytes_after: 0,
        differences: Vec::new(),
        never_sent,
        sent_otherwise: actor.sent_otherwise.clone(),
        not_concluded: OutputList::default(),
        perhaps_sent: actor.perhaps_sent,
        new_dead_letters: actor.unsent_dead.len() as u64,
        repeats: 0,
    }
}

/// What the stored state has counted and the new one has not met; `None` if there is no stored
/// state that can be read.
fn missing(actor: &Actor, config: &Arc<ProcessorConfig>) -> Option<Vec<Missing>> {
    let stored = actor.stored.as_ref()?;
    let missing = match &actor.processor {
        Some(processor) => processor.missing(&stored.state),
        None => Processor::new(&actor.name, config.clone()).missing(&stored.state),
    };
    missing.ok()
}

/// What an actor lacks, in words.
fn lacks(
    name: &str,
    missing: &Option<Vec<Missing>>,
    topics: &[String],
    gaps: &[String],
    state: &mut FamilyState,
) -> Vec<String> {
    let Some(missing) = missing else {
        if *state != FamilyState::New {
            *state = FamilyState::Unreadable;
        }
        // Nothing says how many records it had.
        let unknown = (!gaps.is_empty())
            .then(|| format!("'{name}': how many records it had is not known any more"));
        return unknown.into_iter().collect();
    };
    // Where something is known to be missing, a state that has counted too little proves nothing.
    let gone = missing
        .iter()
        .filter(|it| !it.are_repeats && (it.counted > it.met || !gaps.is_empty()));
    let words = |missing: &Missing| {
        let topic = topics.get(missing.topic).map_or("?", String::as_str);
        format!(
            "'{name}': {} records of {topic} are there, its stored state has counted {}",
            missing.met, missing.counted
        )
    };
    gone.map(words).collect()
}

/// Fills in what differs; the save that would switch it, if anything does.
fn compare(
    actor: Actor,
    config: &Arc<ProcessorConfig>,
    missing: &Option<Vec<Missing>>,
    family: &mut Family,
) -> Result<Option<ProcessorSave>> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Error::Refused(format!("'{}' cannot be compared: {why}", actor.name))
    };
    let built = actor.processor;
    let mut built = built.unwrap_or_else(|| Processor::new(&actor.name, config.clone()));
    if let (Some(missing), Some(stored)) = (missing, &actor.stored) {
        let repeats = missing.iter().filter(|it| it.are_repeats);
        family.repeats = repeats.map(|it| it.counted - it.met).sum();
        built
            .succeed(&stored.state, actor.was_ticked)
            .map_err(|why| unreadable(&why))?;
        family.differences = processor::differences(&stored.state, &built.snapshot())
            .map_err(|why| unreadable(&why))?;
    }
    let state = built.snapshot();
    family.bytes_after = state.len() as u64;
    let is_to_be_saved = family.state != FamilyState::Same
        || !family.differences.is_empty()
        || !actor.unsent.is_empty()
        || !actor.unsent_dead.is_empty();
    let sent_differently = family.sent_otherwise.count() + family.not_concluded.count();
    if family.state == FamilyState::Same && (is_to_be_saved || sent_differently > 0) {
        family.state = FamilyState::Differs;
    }
    Ok(is_to_be_saved.then(|| ProcessorSave {
        processor: actor.name,
        save_number: actor.stored.map_or(1, |stored| stored.save_number + 1),
        positions: built.positions().clone(),
        state,
        outputs: actor.unsent,
        dead: actor.unsent_dead,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_not_there_are_named_unless_they_were_repetitions() {
        let of = |counted, met, are_repeats| {
            Some(vec![Missing {
                topic: 0,
                counted,
                met,
                are_repeats,
            }])
        };
        let (whole, gap) = (Vec::new(), vec!["a file was deleted".to_owned()]);
        let topics = ["t".to_owned()];
        let same = FamilyState::Same;
        let known = "'r': 4 records of t are there, its stored state has counted 9";
        let surplus = "'r': 9 records of t are there, its stored state has counted 4";
        let unknown = "'r': how many records it had is not known any more";
        for (missing, gaps, state, expected) in [
            // All were met, whatever else is missing.
            (Some(Vec::new()), &whole, same, None),
            (Some(Vec::new()), &gap, same, None),
            (of(9, 4, true), &gap, same, None),
            (of(9, 4, false), &whole, same, Some(known)),
            (of(9, 4, false), &gap, same, Some(known)),
            // The stored counters are wrong: only a source without gaps proves that all is there.
            (of(4, 9, false), &whole, same, None),
            (of(4, 9, false), &gap, same, Some(surplus)),
            // There is no stored state that can be read.
            (None, &whole, same, None),
            (None, &gap, same, Some(unknown)),
            (None, &whole, FamilyState::New, None),
            (None, &gap, FamilyState::New, Some(unknown)),
        ] {
            let mut after = state;
            let lacks = lacks("r", &missing, &topics, gaps, &mut after);
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(lacks, expected, "{missing:?} {gaps:?}");
            let unreadable = missing.is_none() && state == same;
            assert_eq!(after == FamilyState::Unreadable, unreadable, "{missing:?}");
        }
    }
}
