//! What listeners hear of committed outputs, and how it is written.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use theatre_actors::outputs::OutputKind;
use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::{CheckpointStore, Result, StoredOutput, StoredProcessor};
use theatre_actors::processor::ProcessorView;
use theatre_actors::time::{Clock, LogTime};
use theatre_schemas::records::{Alert, Outcome, Priority};

use super::position::Place;
use crate::model::{self, AlertTransition};
use crate::problem::{Answer, Problem};
use crate::rows;
use crate::standing::Standing;

/// The kinds of outputs of which listeners hear.
pub(super) const OUTPUTS: [OutputKind; 4] = [
    OutputKind::Alert,
    OutputKind::Outcome,
    OutputKind::Procedure,
    OutputKind::RobotVersion,
];
/// The part of an output that tells what it says.
const ITSELF: u8 = 1;
/// The part that tells how its robot stands afterwards.
const ROBOT: u8 = 2;
/// What an event takes in memory beside its text, and what its text takes while it is not known.
const WEIGHT: usize = 256;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A transition of a condition.
    Alert,
    /// A revision of an outcome.
    Outcome,
    /// A case after a step.
    Procedure,
    /// How a robot stands, once something of it has changed.
    Robot,
}

impl EventKind {
    const ALL: [Self; 4] = [Self::Alert, Self::Outcome, Self::Procedure, Self::Robot];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Outcome => "outcome",
            Self::Procedure => "procedure",
            Self::Robot => "robot",
        }
    }

    /// The kinds that a list names; all where there is none.
    pub(super) fn listed(names: Option<&str>) -> Answer<Vec<Self>> {
        let Some(names) = names else {
            return Ok(Self::ALL.to_vec());
        };
        let kind = |name: &str| {
            let found = Self::ALL
                .into_iter()
                .find(|kind| kind.name() == name.trim());
            found.ok_or_else(|| {
                let known = Self::ALL.map(Self::name).join(", ");
                Problem::bad(format!(
                    "kinds: '{name}' is no kind of event; there are: {known}"
                ))
            })
        };
        names.split(',').map(kind).collect()
    }
}

/// What an event says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) priority: Option<Priority>,
    /// The lines of the event below its id, with the empty one at the end.
    pub(super) text: String,
}

/// An event that listeners may hear.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) partition: u32,
    pub(super) place: Place,
    /// How far one has received that has received it.
    pub(super) after: Place,
    pub(super) kind: EventKind,
    pub(super) robot: String,
    /// The position of the feed behind it, and the bytes for which it counts there.
    pub(super) id: Arc<str>,
    pub(super) kept: usize,
    /// What it says, and a moment after that was read of the store. `None`: nothing, since the robot is
    /// not in the store any more. Not set: how the robot stands was not looked at yet.
    said: OnceLock<(Option<Said>, LogTime)>,
}

impl Event {
    /// What it says, once that is known.
    pub(super) fn said(&self) -> Option<&Said> {
        self.said.get()?.0.as_ref()
    }

    /// When what it says had been read, once that is known. Robots that are read from then on stand
    /// where they stood for it, or have moved since.
    pub(super) fn known_at(&self) -> Option<LogTime> {
        self.said.get().map(|(_, at)| *at)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.said.get().is_some()
    }

    /// What it takes in memory, bytes.
    pub(super) fn weight(&self) -> usize {
        let text = self.said().map_or(WEIGHT, |said| said.text.len());
        WEIGHT + self.robot.len() + self.id.len() + text
    }

    /// Looks how the robot stands, where that is to be sent and was not looked at. It is as of now: at
    /// least as new as the output.
    pub(super) fn settle(&self, store: &dyn CheckpointStore, clock: &dyn Clock) -> Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        let said = robot(store, self.partition, &self.robot)?.map(|view| state(&view));
        // The time is asked behind it. Another one may have looked meanwhile.
        drop(self.said.set((said, clock.now())));
        Ok(())
    }
}

/// What listeners hear of outputs of one partition, which had been read at a moment.
pub(super) fn heard(outputs: &[StoredOutput], read_at: LogTime) -> Vec<Event> {
    let moves = |kind| {
        matches!(
            kind,
            OutputKind::Alert | OutputKind::Procedure | OutputKind::RobotVersion
        )
    };
    // How a robot stands that several outputs change is sent once, behind the last one.
    let last: HashMap<&str, u64> = outputs
        .iter()
        .filter(|stored| moves(stored.output.kind))
        .map(|stored| (stored.output.robot_id.as_str(), stored.sequence))
        .collect();
    let mut events = Vec::new();
    for stored in outputs {
        let is_last = last.get(stored.output.robot_id.as_str()) == Some(&stored.sequence);
        let event = |kind, part, after, said| Event {
            partition: stored.partition,
            place: Place::part(stored.sequence, part),
            after,
            kind,
            robot: stored.output.robot_id.clone(),
            id: Arc::default(),
            kept: 0,
            said,
        };
        let whole = Place::whole(stored.sequence);
        if let Some((kind, said)) = itself(stored) {
            let after = match is_last {
                true => Place::part(stored.sequence, ITSELF),
                false => whole,
            };
            let said = OnceLock::from((Some(said), read_at));
            events.push(event(kind, ITSELF, after, said));
        }
        if is_last {
            events.push(event(EventKind::Robot, ROBOT, whole, OnceLock::new()));
        }
    }
    events
}

/// What an output says; `None` for those of which listeners do not hear, such as windows, of which
/// there are too many.
fn itself(stored: &StoredOutput) -> Option<(EventKind, Said)> {
    let output = &stored.output;
    let (kind, priority, data) = match output.kind {
        OutputKind::Alert => {
            let alert = Alert::decode(&output.payload).ok()?;
            let shown = json!(AlertTransition::from(&alert));
            (EventKind::Alert, Some(alert.priority), shown)
        }
        OutputKind::Outcome => {
            let ended = Outcome::decode(&output.payload).ok()?;
            (
                EventKind::Outcome,
                None,
                json!(model::Outcome::from(&ended)),
            )
        }
        OutputKind::Procedure => {
            let shown = rows::items(output.kind, &[output]).ok()?.pop()?;
            (EventKind::Procedure, None, shown)
        }
        _ => return None,
    };
    Some((kind, said(kind, priority, &data)))
}

fn said(kind: EventKind, priority: Option<Priority>, data: &Value) -> Said {
    Said {
        priority,
        text: format!("event: {}\ndata: {data}\n\n", kind.name()),
    }
}

/// A robot as the store has it; `None` where it has none that this build can read.
fn robot(store: &dyn CheckpointStore, partition: u32, id: &str) -> Result<Option<ProcessorView>> {
    let view = |stored: StoredProcessor| match ProcessorView::from_state(id, &stored.state) {
        Ok(view) => Some(view),
        Err(error) => {
            tracing::warn!(robot = id, %error, "listeners do not hear how a robot stands");
            None
        }
    };
    if let Some(stored) = store.processor(partition, id)? {
        return Ok(view(stored));
    }
    // A change of the partition count has moved it.
    let partitions = store.layout()?.map_or(0, |(_, partitions)| partitions);
    if partitions == 0 {
        return Ok(None);
    }
    let home = partition_of(id.as_bytes(), partitions);
    Ok(store.processor(home, id)?.and_then(view))
}

/// How a robot stands.
fn state(view: &ProcessorView) -> Said {
    let standing = Standing::from(view);
    said(EventKind::Robot, standing.priority, &json!(standing))
}

#[cfg(test)]
mod tests {
    use theatre_actors::outputs::{OutputEvent, alert};
    use theatre_embedded::store::EmbeddedStore;

    use super::*;

    struct At(i64);

    impl Clock for At {
        fn now(&self) -> LogTime {
            LogTime(self.0)
        }
    }

    fn stored(sequence: u64, output: OutputEvent) -> StoredOutput {
        StoredOutput {
            partition: 0,
            sequence,
            committed_at: LogTime(0),
            output,
        }
    }

    #[test]
    fn how_a_robot_stands_that_several_outputs_change_is_sent_once_behind_the_last() {
        let of = |sequence, robot| stored(sequence, alert::output(robot, &Alert::default()));
        let events = heard(&[of(1, "a"), of(2, "b"), of(3, "a")], LogTime(0));
        let sent: Vec<(EventKind, &str, Place, Place)> = events
            .iter()
            .map(|event| (event.kind, event.robot.as_str(), event.place, event.after))
            .collect();
        let (alert, robot) = (EventKind::Alert, EventKind::Robot);
        let (part, whole) = (Place::part, Place::whole);
        assert_eq!(
            sent,
            [
                (alert, "a", part(1, 1), whole(1)),
                (alert, "b", part(2, 1), part(2, 1)),
                (robot, "b", part(2, 2), whole(2)),
                (alert, "a", part(3, 1), part(3, 1)),
                (robot, "a", part(3, 2), whole(3)),
            ]
        );
    }

    #[test]
    fn how_a_robot_stands_is_known_from_when_it_was_looked_at_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        store.ensure_layout(&["records".to_owned()], 1).unwrap();
        let output = alert::output("a", &Alert::default());
        let events = heard(&[stored(1, output)], LogTime(1));
        let known = || -> Vec<Option<i64>> {
            let known = events.iter().map(Event::known_at);
            known.map(|at| at.map(|at| at.0)).collect()
        };
        assert_eq!(known(), [Some(1), None]);
        for at in [9, 10] {
            for event in &events {
                event.settle(&store, &At(at)).unwrap();
            }
            assert_eq!(known(), [Some(1), Some(9)], "it is looked at once");
        }
    }

    #[test]
    fn kinds_are_listed_by_their_names_and_no_other() {
        let listed = |names| EventKind::listed(names).ok();
        assert_eq!(listed(None), Some(EventKind::ALL.to_vec()));
        assert_eq!(
            listed(Some("robot, alert")),
            Some(vec![EventKind::Robot, EventKind::Alert])
        );
        for wrong in ["", "alert,", "alerts", "windows"] {
            assert_eq!(listed(Some(wrong)), None, "{wrong}");
        }
    }
}
