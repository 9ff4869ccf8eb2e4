//! What each thing that can be seen of a cluster is judged to be.

use theatre_kafka::Right;
use theatre_operations::checkup::Verdict::{self, Failed, Ok as Good, Warning};

use super::*;

const INPUT: &str = "surgical.robot.telemetry.v1";
const RESULT: &str = "surgical.maintenance.alerts.v1";

fn expected(topic: &str) -> ExpectedTopic {
    ExpectedTopic {
        topic: topic.to_owned(),
        partitions: 4,
        is_input: topic == INPUT,
        is_serverless: false,
    }
}

fn settings(changed: &[(&str, &str)]) -> Option<TopicSettings> {
    let good = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("message.timestamp.type", "LogAppendTime"),
        ("max.message.bytes", "16777216"),
        ("min.insync.replicas", "2"),
    ];
    let all = good.iter().chain(changed);
    Some(
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

fn seen(topic: &str, found: Option<Topic>, changed: &[(&str, &str)]) -> Seen {
    Seen {
        wanted: expected(topic),
        found,
        settings: settings(changed),
    }
}

fn whole() -> Topic {
    Topic {
        partitions: 4,
        replicas: 3,
        in_sync: 3,
        leaderless: Vec::new(),
    }
}

#[test]
fn each_fault_of_a_topic_is_judged() {
    let all_good = [
        seen(INPUT, Some(whole()), &[]),
        seen(RESULT, Some(whole()), &[]),
    ];
    let good = judge_topics(&all_good, true);
    assert_eq!(good, [Judgement::ok("2 topics are as they should be")]);
    let with = |found: Topic| Some(found);
    let table: [(Seen, &[(Verdict, &str)]); 13] = [
        (seen(RESULT, None, &[]), &[(Warning, "not there")]),
        (
            seen(
                INPUT,
                with(Topic {
                    partitions: 6,
                    ..whole()
                }),
                &[],
            ),
            &[(Failed, "partitions is 6, not 4")],
        ),
        (
            seen(
                INPUT,
                with(Topic {
                    leaderless: vec![2],
                    ..whole()
                }),
                &[],
            ),
            &[(Failed, "no leader")],
        ),
        (
            seen(
                RESULT,
                with(Topic {
                    in_sync: 1,
                    ..whole()
                }),
                &[],
            ),
            &[(Failed, "than min.insync.replicas")],
        ),
        (
            seen(
                RESULT,
                with(Topic {
                    in_sync: 2,
                    ..whole()
                }),
                &[],
            ),
            &[(Warning, "not in sync")],
        ),
        (
            seen(
                RESULT,
                with(Topic {
                    replicas: 1,
                    in_sync: 1,
                    ..whole()
                }),
                &[("min.insync.replicas", "1")],
            ),
            &[(Warning, "replication factor 1")],
        ),
        (
            seen(
                INPUT,
                with(Topic {
                    replicas: 1,
                    in_sync: 1,
                    ..whole()
                }),
                &[("min.insync.replicas", "1")],
            ),
            &[],
        ),
        (
            seen(RESULT, with(whole()), &[("min.insync.replicas", "1")]),
            &[(Warning, "min.insync.replicas of results is 1")],
        ),
        (
            seen(INPUT, with(whole()), &[("cleanup.policy", "compact")]),
            &[(Failed, "cleanup.policy is compact")],
        ),
        (
            seen("surgical.procedure.outcomes.v1", with(whole()), &[]),
            &[(Warning, "cleanup.policy is delete, not compact,delete")],
        ),
        (
            seen(INPUT, with(whole()), &[("retention.ms", "1000")]),
            &[(Warning, "retention.ms is 1000")],
        ),
        (
            seen(
                INPUT,
                with(whole()),
                &[("message.timestamp.type", "CreateTime")],
            ),
            &[(Warning, "message.timestamp.type is CreateTime")],
        ),
        (
            seen(RESULT, with(whole()), &[("max.message.bytes", "1048588")]),
            &[(Warning, "max.message.bytes is 1048588")],
        ),
    ];
    for (one, wanted) in table {
        let judged: Vec<_> = judge_topics(&[one], true)
            .into_iter()
            .filter(|one| one.verdict != Good)
            .collect();
        let as_wanted = judged.len() == wanted.len()
            && judged.iter().zip(wanted).all(|(one, (verdict, said))| {
                one.verdict == *verdict && one.seen.contains(said) && one.advice.is_some()
            });
        assert!(as_wanted, "{wanted:?}: {judged:?}");
    }
}

#[test]
fn serverless_is_not_asked_how_many_copies_are_in_sync() {
    let mut one = seen(RESULT, Some(whole()), &[("max.message.bytes", "8388608")]);
    if let Some(there) = &mut one.settings {
        there.remove("min.insync.replicas");
    }
    let verdicts = |one: &Seen| {
        let judged = judge_topics(std::slice::from_ref(one), true);
        let bad = judged.iter().filter(|one| one.verdict != Good);
        bad.count()
    };
    assert_eq!(verdicts(&one), 2, "a cluster of one's own: both settings");
    one.wanted.is_serverless = true;
    assert_eq!(verdicts(&one), 0);
}

#[test]
fn a_topic_that_only_others_may_make_has_to_be_there() {
    let judged = judge_topics(&[seen(INPUT, None, &[])], false);
    assert_eq!(judged[0].verdict, Failed);
    assert!(judged[0].seen.contains(INPUT), "{judged:?}");
}

#[test]
fn what_topics_have_in_common_is_said_once() {
    let single = || {
        Some(Topic {
            replicas: 1,
            in_sync: 1,
            ..whole()
        })
    };
    let names = ["a.dlq", "b.dlq", "c.dlq", "d.dlq", "e.dlq"];
    let all = names.map(|name| seen(name, single(), &[("min.insync.replicas", "1")]));
    let judged = judge_topics(&all, true);
    assert!(
        judged.len() == 1
            && judged[0]
                .seen
                .ends_with("a.dlq, b.dlq, c.dlq, d.dlq, 1 more"),
        "{judged:?}"
    );
}

#[test]
fn inputs_want_to_be_read_results_to_be_written_and_the_group_to_be_joined() {
    let wanted = [expected(INPUT), expected(RESULT)];
    let right = |read, write| Right { read, write };
    let rights = |input, result, group| Rights {
        topics: [(INPUT.to_owned(), input), (RESULT.to_owned(), result)].into(),
        group: Some(group),
    };
    for (rights, said) in [
        (rights(right(true, false), right(false, true), true), vec![]),
        (
            rights(right(false, true), right(true, true), true),
            vec!["inputs may not be read"],
        ),
        (
            rights(right(true, true), right(true, false), true),
            vec!["results may not be written"],
        ),
        (
            rights(right(true, true), right(true, true), false),
            vec!["the group theatre may not be joined"],
        ),
        (
            // Topics that are not there yet, on a cluster that has had no group.
            Rights::default(),
            vec![],
        ),
    ] {
        let judged = judge_rights(&wanted, &rights, "theatre");
        let faults: Vec<_> = judged.iter().filter(|one| one.verdict == Failed).collect();
        assert!(
            faults.len() == said.len()
                && faults
                    .iter()
                    .zip(&said)
                    .all(|(one, said)| one.seen.contains(said)),
            "{said:?}: {judged:?}"
        );
    }
}

#[test]
fn a_group_is_well_while_it_is_empty_or_stable() {
    let group = |state: &str| {
        Some(Group {
            state: state.to_owned(),
            members: vec!["theatre at 10.0.0.7".to_owned()],
        })
    };
    for (group, verdict, said) in [
        (None, Good, "no process runs"),
        (group("Dead"), Good, "no process runs"),
        (group("Empty"), Good, "no process runs"),
        (group("Stable"), Good, "members: 1 (theatre at 10.0.0.7)"),
        (group("PreparingRebalance"), Warning, "PreparingRebalance"),
    ] {
        let judged = judge_group("theatre", group.as_ref());
        assert!(
            judged.verdict == verdict && judged.seen.contains(said),
            "{judged:?}"
        );
    }
}
