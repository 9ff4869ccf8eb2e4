use theatre_actors::outputs::{OutputEvent, alert, robot_version};
use theatre_actors::ports::{PartitionCommit, ProcessorSave};
use theatre_actors::position::Positions;
use theatre_actors::time::LogTime;
use theatre_config::Config;
use theatre_schemas::records::RobotVersion;
use theatre_testkit::memory::store::MemoryStore;

use super::*;
use Priority::{High, Low};
use Transition::{
    Acknowledged, Assigned, Cleared, Escalated, Flapping, Raised, Settled, Silenced,
    Unacknowledged, Unsilenced, Updated,
};

fn route(filters: &str) -> Route {
    let text =
        format!("[[notify]]\nname = \"n\"\nkind = \"alertmanager\"\nurl = \"http://h\"\n{filters}");
    let config: Config = toml::from_str(&text).unwrap();
    Route::of(&config.notify[0])
}

/// How a condition moves: to what, at which priority, until when silenced, how often escalated, and
/// whether it comes and goes.
type Move = (Transition, Priority, Option<i64>, i32, bool);

fn plain(transition: Transition, priority: Priority) -> Move {
    (transition, priority, None, 0, false)
}

fn life(moves: &[Move]) -> Vec<Alert> {
    let alert = |(number, moved): (i32, &Move)| {
        let (transition, priority, silenced_until, escalation, is_flapping) = *moved;
        Alert {
            alert_id: format!("a{number}"),
            condition_id: "c".to_owned(),
            robot_id: "r".to_owned(),
            rule_id: "hot".to_owned(),
            revision: number,
            event_time: 100 + i64::from(number),
            raised_at: 100,
            transition,
            priority,
            silenced_until,
            escalation,
            is_flapping,
            ..Alert::default()
        }
    };
    (0..).zip(moves).map(alert).collect()
}

fn commit(store: &MemoryStore, outputs: Vec<OutputEvent>) {
    let epoch = store.acquire(0).unwrap();
    let save = ProcessorSave {
        processor: "r".to_owned(),
        save_number: epoch,
        positions: Positions::zero(),
        state: Vec::new(),
        outputs,
        dead: Vec::new(),
    };
    let commit = PartitionCommit {
        partition: 0,
        epoch,
        processors: vec![save],
        floor: Positions::zero(),
    };
    store.commit(&[commit], LogTime(1)).unwrap();
}

/// What of a life is sent.
fn sent(route: &Route, store: &MemoryStore, moves: &[Move]) -> Vec<Transition> {
    let alerts = life(moves);
    commit(
        store,
        alerts.iter().map(|of| alert::output("r", of)).collect(),
    );
    let outputs = store
        .outputs_of_kind_after(0, OutputKind::Alert, 0, 99)
        .unwrap();
    let passes = |output: &&StoredOutput| {
        let alert = read(output).unwrap();
        route.passes(&alert, output, store).unwrap()
    };
    let sent = outputs.iter().filter(passes);
    sent.map(|output| read(output).unwrap().transition)
        .collect()
}

#[test]
fn what_is_sent_follows_the_life_of_a_condition() {
    let silenced = |transition, until| (transition, Low, Some(until), 0, false);
    let flapping = |transition| (transition, Low, None, 0, true);
    let escalated = |transition, times| (transition, High, None, times, false);
    let whole = [
        plain(Raised, Low),
        plain(Updated, High),
        plain(Acknowledged, High),
        plain(Assigned, High),
        plain(Cleared, High),
    ];
    let table: [(&str, &[Move], &[Transition]); 23] = [
        ("", &whole, &[Raised, Updated, Acknowledged, Cleared]),
        ("transitions = [\"assigned\"]", &whole, &[Assigned]),
        ("transitions = [\"cleared\"]", &whole, &[Cleared]),
        ("rules = [\"cold\", \"hot\"]", &whole[..1], &[Raised]),
        ("rules = [\"cold\"]", &whole, &[]),
        ("robots = [\"s\"]", &whole, &[]),
        // From the priority that fits, and to the end though it falls again.
        (
            "priorities = [\"high\"]",
            &[
                plain(Raised, Low),
                plain(Updated, High),
                plain(Updated, Low),
                plain(Cleared, Low),
            ],
            &[Updated, Updated, Cleared],
        ),
        (
            "priorities = [\"high\"]",
            &[plain(Raised, Low), plain(Cleared, Low)],
            &[],
        ),
        // The next recipient gets it once it was not acknowledged in time.
        (
            "escalation_at_least = 1",
            &[
                plain(Raised, High),
                escalated(Escalated, 1),
                escalated(Acknowledged, 1),
                escalated(Cleared, 1),
            ],
            &[Escalated, Acknowledged, Cleared],
        ),
        // All are sent that it was passed on, and that no one sees to it any more.
        (
            "",
            &[
                plain(Raised, High),
                escalated(Escalated, 1),
                escalated(Acknowledged, 1),
                escalated(Unacknowledged, 1),
                escalated(Cleared, 1),
            ],
            &[Raised, Escalated, Acknowledged, Unacknowledged, Cleared],
        ),
        (
            "",
            &[
                plain(Raised, Low),
                plain(Acknowledged, Low),
                flapping(Flapping),
                flapping(Unacknowledged),
            ],
            &[Raised, Acknowledged, Flapping, Unacknowledged],
        ),
        // A silence hides what happens under it; the end of what was sent before is sent.
        (
            "",
            &[
                plain(Raised, Low),
                silenced(Silenced, 1000),
                silenced(Updated, 1000),
                silenced(Cleared, 1000),
            ],
            &[Raised, Cleared],
        ),
        (
            "",
            &[
                silenced(Raised, 1000),
                silenced(Updated, 101),
                silenced(Cleared, 101),
            ],
            &[Updated, Cleared],
        ),
        ("", &[silenced(Raised, 1000), silenced(Cleared, 1000)], &[]),
        (
            "transitions = [\"silenced\", \"unsilenced\"]",
            &[
                plain(Raised, Low),
                silenced(Silenced, 1000),
                plain(Unsilenced, Low),
            ],
            &[Silenced, Unsilenced],
        ),
        // What began under a silence is sent once that is over, and only once.
        (
            "",
            &[
                silenced(Raised, 1000),
                plain(Unsilenced, Low),
                silenced(Silenced, 1000),
                plain(Unsilenced, Low),
                plain(Cleared, Low),
            ],
            &[Unsilenced, Cleared],
        ),
        (
            "",
            &[
                plain(Raised, Low),
                silenced(Silenced, 1000),
                plain(Unsilenced, Low),
                plain(Cleared, Low),
            ],
            &[Raised, Cleared],
        ),
        (
            "",
            &[
                plain(Raised, High),
                silenced(Silenced, 1000),
                silenced(Updated, 1000),
                plain(Unsilenced, Low),
            ],
            &[Raised, Unsilenced],
        ),
        (
            "",
            &[
                silenced(Raised, 1000),
                (Flapping, Low, Some(1000), 0, true),
                flapping(Unsilenced),
            ],
            &[Unsilenced],
        ),
        (
            "priorities = [\"high\"]",
            &[silenced(Raised, 1000), plain(Unsilenced, Low)],
            &[],
        ),
        // That is for those who want to know what begins.
        (
            "transitions = [\"acknowledged\", \"cleared\"]",
            &[
                silenced(Raised, 1000),
                plain(Unsilenced, Low),
                plain(Cleared, Low),
            ],
            &[Cleared],
        ),
        (
            "transitions = [\"raised\"]",
            &[silenced(Raised, 1000), plain(Unsilenced, Low)],
            &[Unsilenced],
        ),
        // Of what comes and goes the beginning is sent, that it becomes more urgent, and the end.
        (
            "",
            &[
                plain(Raised, Low),
                flapping(Flapping),
                flapping(Updated),
                plain(Settled, Low),
                plain(Cleared, Low),
            ],
            &[Raised, Flapping, Updated, Cleared],
        ),
    ];
    for (filters, moves, wanted) in table {
        let found = sent(&route(filters), &MemoryStore::default(), moves);
        assert_eq!(found, wanted, "{filters} {moves:?}");
    }
}

#[test]
fn what_is_sent_again_says_nothing_that_was_overtaken() {
    let whole = [
        plain(Raised, Low),
        plain(Updated, High),
        plain(Cleared, High),
    ];
    let open = [plain(Raised, Low), plain(Assigned, Low)];
    let seen = [plain(Raised, Low), plain(Acknowledged, Low)];
    // Seen to after it became more urgent.
    let urgent = [
        plain(Raised, Low),
        plain(Updated, High),
        plain(Acknowledged, High),
    ];
    let told_of = |store: &MemoryStore| {
        store
            .outputs_of_kind_after(0, OutputKind::Alert, 0, 99)
            .unwrap()
    };
    // Filters, the life, the transition that is to be sent again, those that are set aside as well,
    // how the condition stands, and whether the transition does not hold any more.
    type Row<'a> = (
        &'a str,
        &'a [Move],
        usize,
        &'a [usize],
        Option<Transition>,
        bool,
    );
    let table: [Row<'_>; 13] = [
        ("", &whole, 0, &[0], Some(Cleared), true),
        ("", &whole, 0, &[0, 1], Some(Cleared), true),
        // Its end comes behind it.
        ("", &whole, 0, &[0, 1, 2], Some(Cleared), false),
        ("", &whole[..2], 0, &[0], Some(Updated), true),
        ("", &whole, 2, &[2], None, false),
        ("", &open[..1], 0, &[0], None, false),
        // It is open, and what followed is not for this recipient.
        ("", &open, 0, &[0], Some(Assigned), false),
        // It was delivered that a person has seen to it: it is open all the same.
        ("", &seen, 0, &[0], Some(Acknowledged), false),
        ("", &urgent, 0, &[0], Some(Acknowledged), true),
        ("", &urgent, 1, &[1], Some(Acknowledged), false),
        ("", &urgent, 0, &[0, 1, 2], Some(Acknowledged), false),
        // What comes behind is overtaken itself.
        (
            "transitions = [\"raised\", \"updated\"]",
            &whole,
            0,
            &[0, 1],
            Some(Cleared),
            true,
        ),
        // It is over, and that is not for this recipient.
        (
            "transitions = [\"raised\"]",
            &whole,
            0,
            &[0],
            Some(Cleared),
            true,
        ),
    ];
    for (filters, moves, which, aside, newest, is_outdated) in table {
        let store = MemoryStore::default();
        sent(&route(filters), &store, moves);
        let outputs = told_of(&store);
        let output = &outputs[which];
        let alert = read(output).unwrap();
        let since = route(filters).since(&alert, output, &store).unwrap();
        let stands = since.newest.as_ref().map(|alert| alert.transition);
        let comes_behind = |of: &StoredOutput| aside.contains(&(of.sequence as usize - 1));
        let found = (stands, since.is_outdated(&alert, &comes_behind));
        assert_eq!(found, (newest, is_outdated), "{filters} {which} {aside:?}");
    }
}

#[test]
fn a_condition_is_not_told_again_under_a_silence_that_goes_on() {
    let silenced = |transition| (transition, Low, Some(1000), 0, false);
    let begun = [plain(Raised, Low), silenced(Silenced)];
    let over = [plain(Raised, Low), silenced(Silenced), silenced(Cleared)];
    let lifted = [
        plain(Raised, Low),
        silenced(Silenced),
        plain(Unsilenced, Low),
    ];
    // The life, the transition, the time, and until when it is silenced.
    let table: [(&[Move], usize, i64, Option<i64>); 7] = [
        (&begun, 0, 999, Some(1000)),
        (&begun, 0, 1000, None),
        (&begun, 1, 999, None),
        (&begun[..1], 0, 999, None),
        (&[silenced(Escalated)], 0, 999, Some(1000)),
        (&over, 0, 999, None),
        (&lifted, 0, 999, None),
    ];
    for (moves, which, now, wanted) in table {
        let store = MemoryStore::default();
        sent(&route(""), &store, moves);
        let outputs = store
            .outputs_of_kind_after(0, OutputKind::Alert, 0, 99)
            .unwrap();
        let alert = read(&outputs[which]).unwrap();
        let since = route("").since(&alert, &outputs[which], &store).unwrap();
        let found = since.silenced_until(&alert, now);
        assert_eq!(found, wanted, "{moves:?} {which} at {now}");
    }
}

#[test]
fn a_condition_stands_as_it_was_sent_last() {
    let silenced = |transition| (transition, Low, Some(1000), 0, false);
    let whole = [
        plain(Raised, Low),
        plain(Updated, High),
        plain(Assigned, High),
        plain(Cleared, High),
    ];
    // Filters, the life, the time, how much of it was handed over, and how it stands.
    type Row<'a> = (&'a str, &'a [Move], i64, u64, Option<Transition>);
    let table: [Row<'_>; 9] = [
        ("", &whole[..1], 500, 9, Some(Raised)),
        ("", &whole[..3], 500, 9, Some(Updated)),
        ("", &whole, 500, 9, None),
        ("", &whole[..3], 500, 2, None),
        ("rules = [\"cold\"]", &whole[..3], 500, 9, None),
        ("priorities = [\"high\"]", &whole[..1], 500, 9, None),
        ("", &[silenced(Raised)], 999, 9, None),
        ("", &[plain(Raised, Low), silenced(Silenced)], 999, 9, None),
        (
            "",
            &[silenced(Raised), plain(Unsilenced, Low)],
            999,
            9,
            Some(Unsilenced),
        ),
    ];
    for (filters, moves, now, handed, wanted) in table {
        let store = MemoryStore::default();
        sent(&route(filters), &store, moves);
        let handed = |output: &StoredOutput| output.sequence <= handed;
        let stands = route(filters)
            .stands(("r", "c"), now, &handed, &store)
            .unwrap();
        let stands = stands.map(|alert| alert.transition);
        assert_eq!(stands, wanted, "{filters} {moves:?} at {now}");
    }
}

#[test]
fn a_facility_is_that_in_which_the_robot_stood() {
    let version = |valid_from: i64, revision: i32, facility: &str, is_withdrawn: bool| {
        let version = RobotVersion {
            robot_id: "r".to_owned(),
            valid_from,
            revision,
            is_withdrawn,
            serial_number: String::new(),
            robot_model: None,
            manufacturer: None,
            facility_id: Some(facility.to_owned()),
            installation_date: None,
            hardware_revision: None,
            software_version: None,
            firmware_version: None,
            status: "active".to_owned(),
            decommission_date: None,
            components: Vec::new(),
        };
        robot_version::output("r", &version)
    };
    let store = MemoryStore::default();
    commit(
        &store,
        vec![
            version(50, 0, "A", false),
            version(101, 0, "wrong", false),
            version(101, 1, "B", false),
            version(102, 0, "C", false),
            version(102, 1, "C", true),
        ],
    );
    for (at, wanted) in [(10, "A"), (100, "A"), (101, "B"), (105, "B")] {
        let found = facility("r", at, &store).unwrap();
        assert_eq!(found.as_deref(), Some(wanted), "at {at}");
    }
    assert_eq!(facility("unknown", 100, &store).unwrap(), None);
    let moves = [plain(Raised, Low), plain(Updated, High)];
    let found = sent(&route("facilities = [\"B\"]"), &store, &moves);
    assert_eq!(found, [Updated], "it stood elsewhere before");
}
