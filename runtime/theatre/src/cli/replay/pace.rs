//! Windows that follow the pace of a recording: of one with a row a minute, windows of ten seconds
//! would each be a row again.

use std::collections::HashMap;

use theatre_actors::rules::Micros;
use theatre_config::{Config, WindowConfig};
use theatre_recordings::spool::SpooledRow;

use super::super::Failure;
use super::reading::Piece;

/// Rows that are looked at to find the pace; more while none of them tells it.
const ROWS: usize = 20_000;
/// From so many robots on of which each has one row, a window of them is enough: a window is a row
/// again in all sizes.
const SINGLES_MIN: usize = 1_000;
/// Up to this pace the default windows are kept, microseconds from row to row.
const FAST_US: i64 = 5_000_000;
/// Robots of one row are taken for those of one in six minutes: windows of an hour are for them.
const ONCE_US: i64 = 360_000_000;
/// Rows that the shortest window has at least, at this pace.
const ROWS_MIN: i64 = 10;
/// How many windows are kept.
const WINDOWS: usize = 2;
/// Sizes to choose from, in seconds.
const SIZES: [(&str, i64); 8] = [
    ("10s", 10),
    ("60s", 60),
    ("10m", 600),
    ("1h", 3_600),
    ("6h", 21_600),
    ("1d", 86_400),
    ("7d", 604_800),
    ("30d", 2_592_000),
];

/// How fast rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The usual time from row to row of a robot, microseconds.
    Every(i64),
    /// Many robots have one row each.
    Once,
}

/// The pace by a sample; the median of it. `None` where nothing tells it.
pub(super) fn of(piece: &Piece) -> Result<Option<Pace>, Failure> {
    let mut rows = piece.rows.read()?;
    let mut last: HashMap<String, i64> = HashMap::new();
    let mut gaps = Vec::new();
    for at in 0.. {
        if at >= ROWS && !gaps.is_empty() {
            break;
        }
        let Some((time, row)) = rows.next_row()? else {
            break;
        };
        let Some(row) = SpooledRow::read(row) else {
            break;
        };
        match last.get_mut(row.robot) {
            Some(before) => {
                let gap = time.saturating_sub(std::mem::replace(before, time));
                gaps.extend((gap > 0).then_some(gap));
            }
            None => drop(last.insert(row.robot.to_owned(), time)),
        }
    }
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len().saturating_sub(1) / 2).copied();
    let is_once = usual.is_none() && last.len() >= SINGLES_MIN;
    Ok(usual.map(Pace::Every).or(is_once.then_some(Pace::Once)))
}

/// Gives the configuration windows that fit a pace, unless it names its own; says which.
pub(super) fn follow(config: &mut Config, pace: Pace) -> Option<String> {
    let is_slow = pace == Pace::Once || matches!(pace, Pace::Every(us) if us > FAST_US);
    if !is_slow || config.windows != Config::default().windows {
        return None;
    }
    let (pace_us, count) = match pace {
        Pace::Every(us) => (us, WINDOWS),
        Pace::Once => (ONCE_US, 1),
    };
    let fits =
        |(_, seconds): &&(&str, i64)| seconds * 1_000_000 >= pace_us.saturating_mul(ROWS_MIN);
    let longest = SIZES.last().into_iter();
    let mut sizes: Vec<&(&str, i64)> = SIZES.iter().filter(fits).take(count).collect();
    if sizes.is_empty() {
        sizes.extend(longest);
    }
    config.windows = sizes
        .iter()
        .map(|(name, seconds)| WindowConfig {
            name: (*name).to_owned(),
            size: Micros(seconds * 1_000_000),
            hop: None,
        })
        .collect();
    let names: Vec<&str> = sizes.iter().map(|(name, _)| *name).collect();
    let came = match pace {
        Pace::Every(us) => format!("a row comes every {}", Micros(us)),
        Pace::Once => "robots have one row each".to_owned(),
    };
    Some(format!(
        "{came}: windows of {} follow that ([[windows]] in the configuration names others)",
        names.join(" and ")
    ))
}
