//! The spans of a way: what a trace consists of, by the conventions of OpenTelemetry for messaging.

use std::borrow::Cow;

use theatre_actors::time::LogTime;

use super::Published;

/// What a span is to those that it speaks with, by its code in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Producer = 4,
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

pub(super) type Attributes = Vec<(Cow<'static, str>, Value)>;

/// A span; its ids are given when it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) start: LogTime,
    pub(super) end: LogTime,
    pub(super) attributes: Attributes,
}

/// What a log is called, and its attribute for an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogNames {
    pub(super) system: &'static str,
    pub(super) offset: &'static str,
}

impl LogNames {
    /// Of Kafka.
    pub const KAFKA: Self = Self {
        system: "kafka",
        offset: "messaging.kafka.offset",
    };
    /// Of the embedded log, for which there are no conventions.
    pub const EMBEDDED: Self = Self {
        system: "theatre",
        offset: "theatre.log.offset",
    };
}

/// The spans of a way: the whole of it first, which is the parent of the others, then its stages in
/// order. Each stage begins where the one before ends.
pub(super) fn spans(published: &Published, log: LogNames) -> [Span; 6] {
    let moments = moments(published);
    let whole = Span {
        name: named("record", Some(&published.source)),
        kind: Kind::Consumer,
        start: moments[0],
        end: moments[5],
        attributes: whole(published, log),
    };
    let stage = |index: usize, name: String, kind: Kind, attributes: Attributes| Span {
        name,
        kind,
        start: moments[index],
        end: moments[index + 1],
        attributes,
    };
    let way = &published.way;
    [
        whole,
        stage(
            0,
            named("fetch", Some(&published.source)),
            Kind::Consumer,
            fetch(published, log),
        ),
        stage(1, named("process", None), Kind::Internal, Vec::new()),
        stage(2, named("save", None), Kind::Internal, Vec::new()),
        stage(
            3,
            named("commit", None),
            Kind::Internal,
            vec![(
                "theatre.failures".into(),
                u64::from(way.commit_failures).into(),
            )],
        ),
        stage(
            4,
            named("publish", published.topic.as_deref()),
            Kind::Producer,
            publish(published, log),
        ),
    ]
}

/// When the stages begin and end. The first of them is the log's clock, the others are of this
/// process: a log that is ahead, or a clock that is put back, makes a stage of no length, and none
/// that ends before it begins.
fn moments(published: &Published) -> [LogTime; 6] {
    let way = &published.way;
    let mut moments = [
        way.cause.appended.min(way.cause.read),
        way.cause.read,
        way.cause.applied,
        way.submitted,
        way.committed,
        published.at,
    ];
    for index in 1..moments.len() {
        moments[index] = moments[index].max(moments[index - 1]);
    }
    moments
}

fn named(operation: &str, destination: Option<&str>) -> String {
    match destination {
        Some(destination) => format!("{operation} {destination}"),
        None => operation.to_owned(),
    }
}

fn source(published: &Published, log: LogNames, operation: &str, kind: &str) -> Attributes {
    let partition = published.partition.to_string();
    vec![
        ("messaging.system".into(), log.system.into()),
        ("messaging.operation.name".into(), operation.into()),
        ("messaging.operation.type".into(), kind.into()),
        (
            "messaging.destination.name".into(),
            published.source.as_str().into(),
        ),
        (
            "messaging.destination.partition.id".into(),
            partition.as_str().into(),
        ),
        (log.offset.into(), published.way.cause.offset.into()),
    ]
}

fn whole(published: &Published, log: LogNames) -> Attributes {
    let mut attributes = source(published, log, "record", "process");
    attributes.push((
        "theatre.partition".into(),
        u64::from(published.partition).into(),
    ));
    attributes.push(("theatre.epoch".into(), published.epoch.into()));
    if let Some(robot_id) = &published.robot_id {
        attributes.push(("theatre.robot.id".into(), robot_id.as_str().into()));
    }
    for (kind, count) in &published.counts {
        attributes.push((format!("theatre.{kind}s").into(), (*count).into()));
    }
    attributes
}

fn fetch(published: &Published, log: LogNames) -> Attributes {
    let mut attributes = source(published, log, "fetch", "receive");
    attributes.push((
        "messaging.batch.message_count".into(),
        (published.way.cause.records as u64).into(),
    ));
    attributes
}

fn publish(published: &Published, log: LogNames) -> Attributes {
    let count: u64 = published.counts.iter().map(|(_, count)| count).sum();
    let mut attributes = vec![
        ("messaging.system".into(), log.system.into()),
        ("messaging.operation.name".into(), "publish".into()),
        ("messaging.operation.type".into(), "send".into()),
        ("messaging.batch.message_count".into(), count.into()),
        (
            "theatre.failures".into(),
            u64::from(published.failures).into(),
        ),
    ];
    if let Some(topic) = &published.topic {
        attributes.push(("messaging.destination.name".into(), topic.as_str().into()));
    }
    if let Some(id) = &published.id {
        attributes.push(("messaging.message.id".into(), id.as_str().into()));
    }
    attributes
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Cause, Way};
    use super::*;

    /// A way whose stages ended at these times.
    pub(in crate::traces) fn way(moments: [i64; 6]) -> Published {
        let [appended, read, applied, submitted, committed, published] = moments.map(LogTime);
        Published {
            partition: 3,
            epoch: 7,
            way: Way {
                cause: Cause {
                    appended,
                    read,
                    applied,
                    topic: 0,
                    offset: 41,
                    records: 5,
                },
                submitted,
                committed,
                commit_failures: 0,
            },
            at: published,
            failures: 2,
            source: "surgical.robot.telemetry.v1".to_owned(),
            counts: vec![("alert", 1)],
            topic: Some("surgical.maintenance.alerts.v1".to_owned()),
            robot_id: Some("robot-1".to_owned()),
            id: Some("alert-9#0".to_owned()),
        }
    }

    #[test]
    fn the_stages_follow_each_other_within_the_whole_whatever_the_clocks_say() {
        let table = [
            (
                "in order",
                [10, 20, 30, 40, 50, 60],
                [10, 20, 30, 40, 50, 60],
            ),
            ("at once", [10; 6], [10; 6]),
            (
                "a log that is ahead",
                [99, 20, 30, 40, 50, 60],
                [20, 20, 30, 40, 50, 60],
            ),
            (
                "put back at the end",
                [10, 20, 30, 40, 50, 5],
                [10, 20, 30, 40, 50, 50],
            ),
            (
                "put back on the way",
                [10, 20, 30, 4, 5, 60],
                [10, 20, 30, 30, 30, 60],
            ),
        ];
        for (what, moments, wanted) in table {
            let spans = spans(&way(moments), LogNames::KAFKA);
            let wanted = wanted.map(LogTime);
            let ends = (spans[0].start, spans[0].end);
            assert_eq!(ends, (wanted[0], wanted[5]), "{what}");
            for (stage, span) in spans[1..].iter().enumerate() {
                let ends = (span.start, span.end);
                assert_eq!(ends, (wanted[stage], wanted[stage + 1]), "{what}: {span:?}");
            }
        }
    }

    #[test]
    fn a_span_says_what_was_done_with_which_topic_and_how_often_it_failed() {
        let spans = spans(&way([1, 2, 3, 4, 5, 6]), LogNames::KAFKA);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "record surgical.robot.telemetry.v1",
                "fetch surgical.robot.telemetry.v1",
                "process",
                "save",
                "commit",
                "publish surgical.maintenance.alerts.v1",
            ]
        );
        let kinds = spans.each_ref().map(|span| span.kind);
        assert_eq!(kinds[..2], [Kind::Consumer, Kind::Consumer]);
        assert_eq!(kinds[2..5], [Kind::Internal; 3]);
        assert_eq!(kinds[5], Kind::Producer);
        let value = |span: usize, name: &str| {
            let mut attributes = spans[span].attributes.iter();
            attributes
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(value(1, "messaging.kafka.offset"), Some(Value::Number(41)));
        assert_eq!(
            value(1, "messaging.batch.message_count"),
            Some(Value::Number(5))
        );
        assert_eq!(
            value(0, "messaging.destination.partition.id"),
            Some("3".into())
        );
        assert_eq!(value(0, "theatre.alerts"), Some(Value::Number(1)));
        assert_eq!(value(0, "theatre.robot.id"), Some("robot-1".into()));
        assert_eq!(value(5, "theatre.failures"), Some(Value::Number(2)));
        assert_eq!(value(5, "messaging.message.id"), Some("alert-9#0".into()));
    }
}
