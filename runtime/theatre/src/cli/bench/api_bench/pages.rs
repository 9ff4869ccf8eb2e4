//! Pages of robots at a pace. A page counts from when it was due, so one that waits for those before
//! it is late, too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::measure::rounded;
use super::client::{joined, percentiles};
use super::served::Served;
use crate::cli::Failure;

/// Robots of a page.
const PAGE: u64 = 100;
/// Connections that ask.
const CLIENTS: usize = 16;

pub(super) fn measure(
    served: &Served,
    per_second: u64,
    length: Duration,
) -> Result<Value, Failure> {
    let paths = paths(served)?;
    let (asked, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), served.cpu_seconds());
    let ask = || -> Result<Vec<Duration>, Failure> {
        let (mut client, mut times) = (served.client()?, Vec::new());
        loop {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_secs_f64(number as f64 / per_second as f64);
            if due >= length {
                return Ok(times);
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let (status, _) = client.get(&paths[number as usize % paths.len()])?;
            failed.fetch_add(u64::from(status != 200), Ordering::Relaxed);
            times.push(begun.elapsed().saturating_sub(due));
        }
    };
    let times = std::thread::scope(|threads| -> Result<Vec<Duration>, Failure> {
        let clients: Vec<_> = (0..CLIENTS).map(|_| threads.spawn(ask)).collect();
        let mut times = Vec::new();
        for client in clients {
            times.extend(joined(client.join())?);
        }
        Ok(times)
    })?;
    let (seconds, pages) = (begun.elapsed().as_secs_f64(), times.len());
    let mut report = percentiles(times);
    report.insert("pages".to_owned(), json!(pages));
    report.insert("per_s".to_owned(), json!(rounded(pages as f64 / seconds)));
    report.insert("failed".to_owned(), json!(failed.into_inner()));
    let cores = (served.cpu_seconds() - cpu) / seconds;
    report.insert("cpu_cores".to_owned(), json!(rounded(cores)));
    Ok(Value::Object(report))
}

/// The paths of all pages, from the first to the last: where a page begins, the one before it says.
fn paths(served: &Served) -> Result<Vec<String>, Failure> {
    let mut client = served.client()?;
    let first = format!("/api/v1/robots?limit={PAGE}");
    let mut paths = vec![first.clone()];
    loop {
        let path = &paths[paths.len() - 1];
        let (status, body) = client.get(path)?;
        if status != 200 {
            let said = String::from_utf8_lossy(body);
            return Err(Failure::Failed(format!("{path}: {status} {said}")));
        }
        let page: Value = serde_json::from_slice(body)
            .map_err(|error| Failure::Failed(format!("{path}: no JSON: {error}")))?;
        match page["next"].as_str() {
            Some(next) => paths.push(format!("{first}&after={next}")),
            None => return Ok(paths),
        }
    }
}
