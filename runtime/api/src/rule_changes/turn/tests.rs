//! Two who change rules at the same moment, each with an access store that was opened apart, and one
//! that was killed at each step.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;
use theatre_actors::control::{ChangeKind, RuleBase, StandingRules};
use theatre_actors::ports::{EventLog, PollLimit};
use theatre_actors::time::Clock;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::log::EmbeddedLog;
use theatre_schemas::registry::Registry;

use super::super::{ForeseenRules, append};
use super::*;

const TOPIC: &str = "changes";
const PARTITIONS: u32 = 5;

#[derive(Default)]
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> LogTime {
        LogTime(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// No rule was ever put.
struct NoRules;

impl ForeseenRules for NoRules {
    fn foreseen(&self) -> Result<StandingRules, Error> {
        let registry = Registry::builtin();
        let base = RuleBase {
            rules: &[],
            needs_approval: false,
            datasets: registry.datasets(),
            windows: None,
        };
        Ok(StandingRules::read(base, None).unwrap())
    }

    fn with_history(&self) -> Result<StandingRules, Error> {
        self.foreseen()
    }
}

struct Case {
    folder: TempDir,
    log: EmbeddedLog,
    clock: Arc<Hand>,
}

impl Case {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand::default());
        let log = EmbeddedLog::open(&folder.path().join("log"), clock.clone()).unwrap();
        log.ensure_topics(&[TOPIC.to_owned()], PARTITIONS).unwrap();
        Self { folder, log, clock }
    }

    fn access(&self) -> EmbeddedAccess {
        EmbeddedAccess::open(&self.folder.path().join("access")).unwrap()
    }

    fn way<'a>(&'a self, access: &'a EmbeddedAccess, patience_ms: u64) -> Way<'a> {
        Way {
            log: &self.log,
            access,
            rules: &NoRules,
            clock: &*self.clock,
            topic: TOPIC,
            partitions: PARTITIONS,
            patience: Duration::from_millis(patience_ms),
        }
    }

    /// Ids of the changes in a partition, in their order.
    fn ids(&self, partition: u32) -> Vec<String> {
        let all = PollLimit {
            records: usize::MAX,
            bytes: usize::MAX,
        };
        let mut ids = Vec::new();
        let mut reader = self.log.reader(TOPIC, partition, 0).unwrap();
        let mut end = false;
        while !end {
            let polled = reader.poll(all, &mut |record| {
                ids.push(String::from_utf8(record.key.to_vec()).unwrap());
            });
            end = polled.unwrap().at_end;
        }
        ids
    }

    /// What all partitions have alike.
    fn all(&self) -> Vec<String> {
        let first = self.ids(0);
        for partition in 1..PARTITIONS {
            assert_eq!(self.ids(partition), first, "partition {partition}");
        }
        first
    }

    fn pass(&self, micros: i64) {
        self.clock.0.fetch_add(micros, Ordering::Relaxed);
    }
}

fn change(id: &str, rule: &str) -> RuleChange {
    RuleChange {
        change_id: id.to_owned(),
        kind: ChangeKind::Disable,
        rule_id: rule.to_owned(),
        actor: "Anna".to_owned(),
        ..RuleChange::default()
    }
}

fn why(refused: Result<(), Fault>) -> String {
    match refused {
        Err(Fault::Conflict { why, .. }) => why,
        other => panic!("no conflict: {other:?}"),
    }
}

#[test]
fn those_who_change_one_rule_at_the_same_moment_come_to_all_partitions_in_one_order() {
    let case = Case::new();
    let said = |who: &str, rule: &str| {
        let access = case.access();
        for number in 0..30 {
            let change = change(&format!("{who}-{number}"), rule);
            // Another who changes the same rule is no one to wait for.
            while let Err(fault) = append(
                std::slice::from_ref(&change),
                &case.way(&access, 60_000),
                (who, None),
            ) {
                assert!(
                    fault.to_string().contains("changes the rule 'hot'"),
                    "{fault}"
                );
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    std::thread::scope(|scope| {
        for (who, rule) in [("anna", "hot"), ("ben", "hot"), ("carla", "cold")] {
            scope.spawn(move || said(who, rule));
        }
    });
    let mut ids = case.all();
    assert_eq!(ids.len(), 90, "each once");
    for who in ["anna", "ben", "carla"] {
        let own = ids.iter().filter(|id| id.starts_with(who));
        let expected: Vec<String> = (0..30).map(|number| format!("{who}-{number}")).collect();
        assert!(own.eq(expected.iter()), "{ids:?}");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 90);
}

#[test]
fn one_that_was_killed_before_it_appended_anything_holds_nobody_up_for_longer_than_its_turn() {
    let case = Case::new();
    let (one, other) = (case.access(), case.access());
    let way = case.way(&one, 0);
    std::mem::forget(Turn::take(&way, &[change("a", "hot")]).unwrap());
    let ben = [change("b", "hot")];
    let by_other = case.way(&other, 0);
    let refused = why(append(&ben, &by_other, ("ben", None)));
    assert!(
        refused.contains("another person changes rules") && refused.contains("in 30 s"),
        "{refused}"
    );
    assert!(case.ids(0).is_empty());
    case.pass(LEASE_US);
    append(&ben, &by_other, ("ben", None)).unwrap();
    assert_eq!(case.all(), ["b"]);
    // Its turn was given back.
    append(&[change("c", "hot")], &way, ("carla", None)).unwrap();
    assert_eq!(case.all(), ["b", "c"]);
}

#[test]
fn what_one_that_was_killed_had_begun_comes_to_the_other_partitions_before_anything_else() {
    for (rule, is_first_to_be_seen) in [("cold", false), ("hot", true)] {
        let case = Case::new();
        let (one, other) = (case.access(), case.access());
        let way = case.way(&one, 0);
        let anna = change("a", "hot");
        let mut killed = Turn::take(&way, std::slice::from_ref(&anna)).unwrap();
        killed.keep(Some(&anna)).unwrap();
        killed.append_to(&anna, 0).unwrap();
        killed.append_to(&anna, 1).unwrap();
        std::mem::forget(killed);
        let ben = [change("b", rule)];
        let by_other = case.way(&other, 0);
        drop(why(append(&ben, &by_other, ("ben", None))));
        case.pass(LEASE_US);
        let said = append(&ben, &by_other, ("ben", None));
        if is_first_to_be_seen {
            let refused = why(said);
            assert!(refused.contains("'a' of rule 'hot' by Anna"), "{refused}");
            append(&ben, &by_other, ("ben", None)).unwrap();
        } else {
            said.unwrap();
        }
        for partition in 0..PARTITIONS {
            let mut ids = case.ids(partition);
            // One that comes again behind itself is known by its id.
            ids.dedup();
            assert_eq!(ids, ["a", "b"], "partition {partition}");
        }
    }
}

#[test]
fn one_that_has_lost_its_turn_appends_nothing_more_and_gives_nothing_back() {
    let case = Case::new();
    let (one, other) = (case.access(), case.access());
    let (way, by_other) = (case.way(&one, 0), case.way(&other, 0));
    let anna = change("a", "hot");
    let mut slow = Turn::take(&way, std::slice::from_ref(&anna)).unwrap();
    slow.keep(Some(&anna)).unwrap();
    slow.append_to(&anna, 0).unwrap();
    case.pass(LEASE_US);
    let ben = Turn::take(&by_other, &[change("b", "cold")]).unwrap();
    assert!(why(slow.append_to(&anna, 1)).contains("by now"));
    drop(slow);
    drop(why(append(&[change("c", "else")], &way, ("carla", None))));
    drop(ben);
    append(&[change("c", "else")], &way, ("carla", None)).unwrap();
    assert_eq!(case.ids(1), ["a", "c"]);
}

#[test]
fn one_that_goes_on_for_long_keeps_its_turn() {
    let case = Case::new();
    let (one, other) = (case.access(), case.access());
    let (way, by_other) = (case.way(&one, 0), case.way(&other, 0));
    let anna = change("a", "hot");
    let mut slow = Turn::take(&way, std::slice::from_ref(&anna)).unwrap();
    for partition in 0..PARTITIONS {
        case.pass(LEASE_US / 2);
        slow.append_to(&anna, partition).unwrap();
        drop(why(append(&[change("b", "hot")], &by_other, ("ben", None))));
    }
    drop(slow);
    append(&[change("b", "hot")], &by_other, ("ben", None)).unwrap();
    assert_eq!(case.all(), ["a", "b"]);
}

#[test]
fn the_turn_of_one_that_is_known_to_live_no_more_is_ended() {
    let case = Case::new();
    let access = case.access();
    let way = case.way(&access, 0);
    end_turns(&access).unwrap();
    std::mem::forget(Turn::take(&way, &[change("a", "hot")]).unwrap());
    drop(why(append(&[change("b", "hot")], &way, ("ben", None))));
    end_turns(&access).unwrap();
    append(&[change("b", "hot")], &way, ("ben", None)).unwrap();
    assert_eq!(case.all(), ["b"]);
}

#[test]
fn what_the_log_refuses_for_good_holds_nobody_up() {
    let case = Case::new();
    let access = case.access();
    let elsewhere = Way {
        topic: "no topic",
        ..case.way(&access, 0)
    };
    append(&[change("a", "hot")], &elsewhere, ("anna", None)).unwrap_err();
    append(&[change("b", "hot")], &elsewhere, ("ben", None)).unwrap_err();
    // That of Ben, which was refused too, is what is completed.
    drop(why(append(
        &[change("c", "hot")],
        &case.way(&access, 0),
        ("carla", None),
    )));
    append(
        &[change("c", "hot")],
        &case.way(&access, 0),
        ("carla", None),
    )
    .unwrap();
    assert_eq!(case.all(), ["b", "c"]);
}
