use std::sync::Mutex;
use std::sync::mpsc::SyncSender;

use theatre_actors::host::ProcessorHost;
use theatre_actors::processor::{Processor, ProcessorConfig};
use theatre_actors::questions::{QUESTIONS_MAX, QuestionDesk};
use theatre_actors::rules::RuleSet;
use theatre_actors::time::TimePolicy;
use theatre_actors::window::{AggregateSet, WindowPlan};
use theatre_schemas::registry::Registry;

use super::*;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

fn processor(robot: &str) -> Processor {
    let registry = Registry::builtin();
    let config = ProcessorConfig::new(
        TimePolicy::default(),
        WindowPlan::new(Vec::new(), AggregateSet::Full).unwrap(),
        RuleSet::compile(&[], registry.datasets()).unwrap(),
        &[],
        registry.datasets(),
    );
    Processor::new(robot, Arc::new(config.unwrap()))
}

/// An actor that is busy for as long as the test: it keeps the questions and answers none.
#[derive(Default)]
struct Stuck(Mutex<Vec<SyncSender<Answer>>>);

impl ProcessorAddress for Stuck {
    fn ask(&self, _question: Question, answer: SyncSender<Answer>) -> Result<(), AskError> {
        let mut waiting = self.0.lock().unwrap();
        if waiting.len() == QUESTIONS_MAX {
            return Err(AskError::Busy);
        }
        waiting.push(answer);
        Ok(())
    }
}

/// A robot whose usual partition is this one, of four.
fn robot_of(partition: Partition) -> String {
    let mut names = (0..).map(|number| format!("robot-{number}"));
    names
        .find(|name| partition_of(name.as_bytes(), 4) == partition)
        .unwrap()
}

#[test]
fn a_partition_whose_thread_does_nothing_is_asked_and_answers() {
    let desk = QuestionDesk::start().unwrap();
    let mut host = ProcessorHost::asked_at(desk.address());
    host.insert(0, processor("r"));
    let queries = LiveQueries::new(4);
    let listed = queries.list(3, 7);
    listed.insert("r", host.address(0).unwrap());
    // This thread is the partition's: it neither delivers nor saves while others ask.
    let asking: Vec<_> = (0..QUESTIONS_MAX)
        .map(|_| {
            let queries = queries.clone();
            std::thread::spawn(move || queries.ask("r", LONG))
        })
        .collect();
    for thread in asking {
        let LiveAnswer::View(live) = thread.join().unwrap() else {
            panic!("a view was expected");
        };
        assert_eq!((live.partition, live.epoch), (3, 7));
        assert_eq!(live.view.processor.robot_id, "r");
        assert!(live.view.windows.is_empty());
    }
    assert!(matches!(
        host.ask(0, Question::View),
        Some(Answer::View(view)) if view.processor.robot_id == "r"
    ));
    assert!(host.ask(1, Question::View).is_none());
}

#[test]
fn a_robot_that_is_unknown_is_not_here_and_the_answer_says_who_to_ask() {
    let queries = LiveQueries::new(4);
    let _listed = queries.list(2, 1);
    for (of, expected) in [(2, true), (1, false)] {
        let answer = queries.ask(&robot_of(of), LONG);
        assert!(
            matches!(answer, LiveAnswer::NotHere { partition, owned }
                if partition == of && owned == expected),
            "{answer:?}"
        );
    }
}

#[test]
fn a_busy_processor_costs_the_asker_its_deadline_and_then_refuses() {
    let queries = LiveQueries::new(4);
    let listed = queries.list(0, 1);
    listed.insert("r", Arc::new(Stuck::default()));
    for _ in 0..QUESTIONS_MAX {
        assert!(matches!(queries.ask("r", SHORT), LiveAnswer::TimedOut));
    }
    assert!(matches!(queries.ask("r", LONG), LiveAnswer::Busy));
    // The partition lists its next robot although questions wait.
    listed.insert("s", Arc::new(Stuck::default()));
}

#[test]
fn a_partition_that_is_left_or_lost_has_moved_also_for_a_question_that_waits() {
    let queries = LiveQueries::new(4);
    let listed = queries.list(3, 1);
    let stuck = Arc::new(Stuck::default());
    listed.insert("r", stuck.clone());
    let asking = {
        let queries = queries.clone();
        std::thread::spawn(move || queries.ask("r", LONG))
    };
    while stuck.0.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    drop(listed);
    stuck.0.lock().unwrap().clear();
    let moved = |answer| matches!(answer, LiveAnswer::Moved { partition: 3 });
    assert!(moved(asking.join().unwrap()));
    assert!(moved(queries.ask("r", LONG)));
    let _again = queries.list(3, 2);
    assert!(matches!(queries.ask("r", LONG), LiveAnswer::NotHere { .. }));
}

#[test]
fn an_owner_that_ends_late_does_not_remove_its_successor() {
    let queries = LiveQueries::new(4);
    let old = queries.list(0, 1);
    let new = queries.list(0, 2);
    old.insert("old", Arc::new(Stuck::default()));
    new.insert("new", Arc::new(Stuck::default()));
    drop(old);
    assert!(matches!(queries.ask("new", SHORT), LiveAnswer::TimedOut));
    assert!(matches!(
        queries.ask("old", SHORT),
        LiveAnswer::NotHere { .. }
    ));
}

#[test]
fn a_processor_that_was_replaced_is_recovering_and_one_whose_host_is_gone_has_moved() {
    let desk = QuestionDesk::start().unwrap();
    let mut host = ProcessorHost::asked_at(desk.address());
    host.insert(0, processor("r"));
    let queries = LiveQueries::new(4);
    let listed = queries.list(0, 1);
    listed.insert("r", host.address(0).unwrap());
    host.remove(0);
    assert!(matches!(queries.ask("r", LONG), LiveAnswer::Recovering));
    host.insert(0, processor("r"));
    listed.insert("r", host.address(0).unwrap());
    assert!(matches!(queries.ask("r", LONG), LiveAnswer::View(_)));
    drop(host);
    drop(listed);
    assert!(matches!(queries.ask("r", LONG), LiveAnswer::Moved { .. }));
}
