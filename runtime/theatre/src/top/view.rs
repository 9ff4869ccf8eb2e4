//! A process as `theatre top` shows it: numbers of two samples, and their layout.

use serde::Serialize;
use theatre_schemas::records::Transition;

use super::sample::{Partition, Sample};

/// Share of a processor is taken over this long at least, microseconds: processes count its seconds
/// in whole numbers.
pub const CPU_OVER: i64 = 10_000_000;

/// A process, in numbers. What it does not say is missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessView {
    /// Where it was asked.
    pub admin: String,
    /// Its version.
    pub version: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is not.
    pub reasons: Vec<String>,
    /// What works and should be looked into.
    pub notices: Vec<String>,
    /// Bytes of memory that it holds.
    pub memory_bytes: Option<f64>,
    /// Processors that it keeps busy, 1 being one of them all the time: of the last seconds, or
    /// since it started while it is not watched for as long.
    pub cpu: Option<f64>,
    /// Records read.
    pub records_per_second: Option<f64>,
    /// Commits.
    pub commits_per_second: Option<f64>,
    /// Since its last commit.
    pub saved_seconds_ago: Option<f64>,
    /// Lake files that are being written.
    pub lake_open_files: Option<f64>,
    /// Lake files that it completed.
    pub lake_files: Option<f64>,
    /// Lake files that are not loaded.
    pub loads_pending: Option<f64>,
    /// Open conditions: of high, medium and low priority.
    pub alerts: [f64; 3],
    /// How often conditions moved since it started, by what they did; what never happened is missing.
    pub moves: Vec<Moves>,
    /// Dead letters.
    pub dead_letters: Option<f64>,
    /// Its partitions.
    pub partitions: Vec<PartitionView>,
}

/// How often conditions did something.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moves {
    /// What they did: `raised`, `acknowledged` and so on.
    pub to: String,
    /// How often.
    pub count: f64,
}

/// A partition, in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionView {
    /// The partition.
    pub partition: u32,
    /// What it goes through; `restoring` and `paused` are parts of that.
    pub phase: String,
    /// Its epoch.
    pub epoch: u64,
    /// Live processors.
    pub processors: u64,
    /// Records read.
    pub records_per_second: Option<f64>,
    /// Records not read yet.
    pub lag_records: Option<f64>,
    /// How far its watermark is behind the wall clock.
    pub watermark_age_seconds: Option<f64>,
    /// Records that are read and not saved.
    pub unsaved_records: u64,
    /// Since its last commit.
    pub saved_seconds_ago: Option<f64>,
    /// Share of its time in which it works.
    pub busy: Option<f64>,
}

impl ProcessView {
    /// Of the last sample, and those before it, from which rates are.
    pub fn of(admin: &str, now: &Sample, earlier: &[Sample]) -> Self {
        let (metrics, before) = (&now.metrics, earlier.last());
        let rate = |name: &str| {
            let earlier = before?.metrics.sum(name);
            per_second(now, before?, earlier, metrics.sum(name)?)
        };
        let alerts = metrics.by("theatre_alerts_active", "priority");
        let moved = metrics.by("theatre_alert_transitions_total", "to");
        let moves = Transition::ALL.iter().filter_map(|to| {
            let count = *moved.get(to.as_str())?;
            let to = to.as_str().to_owned();
            (count > 0.0).then_some(Moves { to, count })
        });
        let saved = metrics.sum("theatre_checkpoint_last_success_timestamp_seconds");
        Self {
            admin: admin.to_owned(),
            version: metrics.label("theatre_build_info", "version"),
            ready: now.reasons.is_empty(),
            reasons: now.reasons.clone(),
            notices: now.notices.clone(),
            memory_bytes: metrics.sum("process_resident_memory_bytes"),
            cpu: cpu(now, earlier.first()),
            records_per_second: rate("theatre_records_in_total"),
            commits_per_second: rate("theatre_checkpoint_duration_seconds_count"),
            saved_seconds_ago: saved.and_then(|saved| age(now.at, saved)),
            lake_open_files: metrics.sum("theatre_lake_open_files"),
            lake_files: metrics.sum("theatre_lake_file_bytes_count"),
            loads_pending: metrics.sum("theatre_warehouse_files_pending"),
            alerts: ["high", "medium", "low"]
                .map(|priority| alerts.get(priority).copied().unwrap_or_default()),
            moves: moves.collect(),
            dead_letters: metrics.sum("theatre_dlq_records_total"),
            partitions: now
                .partitions
                .iter()
                .map(|(number, state)| PartitionView::of(*number, state, now, before))
                .collect(),
        }
    }
}

impl PartitionView {
    fn of(number: u32, state: &Partition, now: &Sample, before: Option<&Sample>) -> Self {
        let key = number.to_string();
        let of = |sample: &Sample, name: &str| {
            let all = sample.metrics.by(name, "partition");
            all.get(&key).copied()
        };
        let metric = |name: &str| of(now, name);
        let records = "theatre_records_in_total";
        let rate = before
            .and_then(|before| per_second(now, before, of(before, records), metric(records)?));
        let restored = metric("theatre_restore_progress_ratio");
        let phase = match (state.phase.as_str(), restored) {
            ("acquiring", Some(share)) if share < 1.0 => {
                format!("restoring {:.0} %", share * 100.0)
            }
            ("running", _) if metric("theatre_input_paused") == Some(1.0) => "paused".to_owned(),
            (phase, _) => phase.to_owned(),
        };
        Self {
            partition: number,
            phase,
            epoch: state.epoch,
            processors: state.processors,
            records_per_second: rate,
            lag_records: metric("theatre_consumer_lag_records"),
            watermark_age_seconds: metric("theatre_watermark_timestamp_seconds")
                .and_then(|watermark| age(now.at, watermark)),
            unsaved_records: state.unsaved,
            saved_seconds_ago: age(now.at, state.saved_at as f64 / 1e6),
            busy: metric("theatre_partition_busy_ratio"),
        }
    }
}

/// Processors that are kept busy.
fn cpu(now: &Sample, oldest: Option<&Sample>) -> Option<f64> {
    let used = |sample: &Sample| sample.metrics.sum("process_cpu_seconds_total");
    if let Some(oldest) = oldest.filter(|oldest| now.at - oldest.at >= CPU_OVER) {
        return per_second(now, oldest, used(oldest), used(now)?);
    }
    let started = now.metrics.sum("process_start_time_seconds")?;
    let lives = age(now.at, started).filter(|lives| *lives > 0.0)?;
    Some(used(now)? / lives)
}

/// Growth per second of a counter that was not there, or higher, before it began anew.
fn per_second(now: &Sample, before: &Sample, earlier: Option<f64>, later: f64) -> Option<f64> {
    let seconds = (now.at - before.at) as f64 / 1e6;
    let earlier = earlier
        .filter(|earlier| *earlier <= later)
        .unwrap_or_default();
    (seconds > 0.0).then(|| (later - earlier) / seconds)
}

/// Seconds since a Unix time; none for 0, which stands for never.
fn age(now_us: i64, unix: f64) -> Option<f64> {
    (unix > 0.0).then(|| (now_us as f64 / 1e6 - unix).max(0.0))
}

/// The lines of a process that answered.
pub fn lines(process: &ProcessView) -> Vec<String> {
    let readiness = if process.ready { "ready" } else { "NOT READY" };
    let version = process.version.as_deref().unwrap_or("of another kind");
    let [high, medium, low] = process.alerts;
    let mut lines = vec![
        format!("theatre {version} at {}: {readiness}", process.admin),
        format!(
            "  memory {}  cpu {}  records {}/s  commits {}/s  saved {} ago",
            process.memory_bytes.map_or("-".to_owned(), mebibytes),
            process.cpu.map_or("-".to_owned(), percent),
            number(process.records_per_second),
            number(process.commits_per_second),
            span(process.saved_seconds_ago),
        ),
        format!(
            "  alerts {high} high, {medium} medium, {low} low  dead letters {}  lake files {} open, {} completed  loads pending {}",
            number(process.dead_letters),
            number(process.lake_open_files),
            number(process.lake_files),
            number(process.loads_pending),
        ),
    ];
    if !process.moves.is_empty() {
        let moves = process.moves.iter();
        let moves = moves.map(|moves| format!("{} {}", number(Some(moves.count)), moves.to));
        let moves = moves.collect::<Vec<_>>().join(", ");
        lines.push(format!("  conditions since the start: {moves}"));
    }
    let said = [
        ("not ready", &process.reasons),
        ("notice", &process.notices),
    ];
    for (what, texts) in said {
        lines.extend(texts.iter().map(|text| format!("  {what}: {text}")));
    }
    lines.extend(table(&process.partitions));
    lines
}

/// The partitions of a process under headings; numbers stand to the right.
fn table(partitions: &[PartitionView]) -> Vec<String> {
    const HEADINGS: [&str; 10] = [
        "partition",
        "phase",
        "epoch",
        "robots",
        "records/s",
        "lag",
        "watermark",
        "unsaved",
        "saved",
        "busy",
    ];
    let row = |one: &PartitionView| {
        [
            one.partition.to_string(),
            one.phase.clone(),
            one.epoch.to_string(),
            one.processors.to_string(),
            number(one.records_per_second),
            number(one.lag_records),
            span(one.watermark_age_seconds),
            one.unsaved_records.to_string(),
            span(one.saved_seconds_ago),
            one.busy.map_or("-".to_owned(), percent),
        ]
    };
    if partitions.is_empty() {
        return vec!["  no partition".to_owned()];
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(partitions.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |row: &[String; HEADINGS.len()]| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(line).collect()
}

fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.fract() == 0.0 || value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.1}"),
    }
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / f64::from(1 << 20))
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// A span of time, short.
fn span(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 100.0 => format!("{seconds:.1} s"),
        Some(seconds) if seconds < 6_000.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) if seconds < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        Some(seconds) => format!("{:.0} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests;
