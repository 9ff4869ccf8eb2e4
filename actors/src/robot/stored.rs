//! A robot as earlier versions of the processor stored it.

use std::collections::VecDeque;

use serde::Deserialize;

use super::RobotActor;
use super::feed::Feed;
use super::following::{Following, FollowingV4};
use super::numbers::TopicNumbers;
use super::waiting::{WaitingRow, WaitingRows};
use crate::name_map::NameMap;
use crate::position::TopicIndex;
use crate::rules::{Condition, ConditionV1, MeasureState};
use crate::sequence::SequenceTracker;
use crate::time::{EventTime, LogTime};
use crate::window::{Windows, WindowsV1};

/// As version 1 stored it.
#[derive(Debug, Deserialize)]
pub(crate) struct RobotV1 {
    clock: Option<EventTime>,
    last_seen: Option<LogTime>,
    trackers: Vec<SequenceTracker>,
    windows: NameMap<WindowsV1>,
    conditions: NameMap<NameMap<ConditionV1>>,
    valid_rows_in_a_row: u32,
    not_finite: u64,
    last_event: Option<(String, i64)>,
}

impl From<RobotV1> for RobotActor {
    fn from(stored: RobotV1) -> Self {
        Self {
            clock: stored.clock,
            last_seen: stored.last_seen,
            numbers: stored.trackers.into_iter().map(TopicNumbers::of).collect(),
            windows: stored.windows.map(Windows::from),
            conditions: stored
                .conditions
                .map(|conditions| conditions.map(Condition::from)),
            valid_rows_in_a_row: stored.valid_rows_in_a_row,
            not_finite: stored.not_finite,
            last_event: stored.last_event,
            ..Self::default()
        }
    }
}

/// As versions 2 and 3 stored it: rules looked at values only.
#[derive(Debug, Deserialize)]
pub(crate) struct RobotV3 {
    clock: Option<EventTime>,
    ended_clock: Option<EventTime>,
    began_anew: bool,
    last_seen: Option<LogTime>,
    feed: Feed,
    numbers: Vec<TopicNumbers>,
    windows: NameMap<Windows>,
    conditions: NameMap<NameMap<Condition>>,
    waiting: NameMap<WaitingRowsV3>,
    valid_rows_in_a_row: u32,
    not_finite: u64,
    last_event: Option<(String, i64)>,
}

#[derive(Debug, Deserialize)]
struct WaitingRowsV3 {
    judged_to: Option<i64>,
    distrusted_until: Option<i64>,
    signals: Vec<String>,
    rows: VecDeque<WaitingRowV3>,
}

#[derive(Debug, Deserialize)]
struct WaitingRowV3 {
    time: i64,
    number: Option<(TopicIndex, i64, i64)>,
    is_again: bool,
    procedure: Option<String>,
    values: Vec<Option<f64>>,
}

impl From<RobotV3> for RobotActor {
    fn from(stored: RobotV3) -> Self {
        Self {
            boot: stored.numbers.iter().filter_map(TopicNumbers::boot).max(),
            clock: stored.clock,
            ended_clock: stored.ended_clock,
            began_anew: stored.began_anew,
            last_seen: stored.last_seen,
            feed: stored.feed,
            numbers: stored.numbers,
            windows: stored.windows,
            conditions: stored.conditions,
            waiting: stored.waiting.map(WaitingRows::from),
            valid_rows_in_a_row: stored.valid_rows_in_a_row,
            not_finite: stored.not_finite,
            last_event: stored.last_event,
            ..Self::default()
        }
    }
}

/// As version 4 stored it.
#[derive(Debug, Deserialize)]
pub(crate) struct RobotV4 {
    clock: Option<EventTime>,
    ended_clock: Option<EventTime>,
    began_anew: bool,
    last_seen: Option<LogTime>,
    feed: Feed,
    numbers: Vec<TopicNumbers>,
    windows: NameMap<Windows>,
    conditions: NameMap<NameMap<Condition>>,
    waiting: NameMap<WaitingRows>,
    valid_rows_in_a_row: u32,
    not_finite: u64,
    last_event: Option<(String, i64)>,
    measures: NameMap<NameMap<MeasureState>>,
    following: NameMap<FollowingV4>,
    boot: Option<i64>,
    starts: Vec<i64>,
    usage_due: Option<i64>,
}

impl From<RobotV4> for RobotActor {
    fn from(stored: RobotV4) -> Self {
        Self {
            clock: stored.clock,
            ended_clock: stored.ended_clock,
            began_anew: stored.began_anew,
            last_seen: stored.last_seen,
            feed: stored.feed,
            numbers: stored.numbers,
            windows: stored.windows,
            conditions: stored.conditions,
            waiting: stored.waiting,
            valid_rows_in_a_row: stored.valid_rows_in_a_row,
            not_finite: stored.not_finite,
            last_event: stored.last_event,
            measures: stored.measures,
            following: stored.following.map(Following::from),
            boot: stored.boot,
            starts: stored.starts,
            usage_due: stored.usage_due,
        }
    }
}

impl From<WaitingRowsV3> for WaitingRows {
    fn from(stored: WaitingRowsV3) -> Self {
        let row = |row: WaitingRowV3| WaitingRow {
            time: row.time,
            number: row.number,
            is_again: row.is_again,
            procedure: row.procedure,
            values: row.values,
            texts: Vec::new(),
        };
        Self {
            judged_to: stored.judged_to,
            distrusted_until: stored.distrusted_until,
            signals: stored.signals,
            texts: Vec::new(),
            rows: stored.rows.into_iter().map(row).collect(),
        }
    }
}
