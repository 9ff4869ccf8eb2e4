//! The exporter: a thread that hands traces to a collector.
//!
//! Between the relays and the thread is a bounded queue; a trace that does not fit is dropped and
//! counted. So is a batch that the collector does not take: traces are samples, and one that is
//! lost says no less than one that was not chosen. So a collector that is slow, or away, holds up
//! nothing and costs no more memory than the queue.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use theatre_system::http::{self, Agent};

use super::otlp::{RandomIds, request};
pub use super::spans::LogNames;
use super::{Published, Traces};
use crate::names;

/// Traces that wait for the thread.
const QUEUE: usize = 256;
/// Traces in one request.
const BATCH: usize = 64;
/// A request is made once nothing was added to it for so long.
const LINGER: Duration = Duration::from_millis(500);
/// The end of a process waits so long for the last traces.
const LAST: Duration = Duration::from_secs(2);
/// Longest answer that is read, bytes: it says how much of a request was refused.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Where traces go, and in whose name.
#[derive(Debug)]
pub struct Collector<'a> {
    /// URL of the collector; `/v1/traces` is added to its path.
    pub endpoint: &'a str,
    /// PEM file of the authorities that may have signed its certificate; absent: the system's.
    pub ca_file: Option<&'a Path>,
    /// Most traces a second.
    pub per_second: f64,
    /// Names of this process: `service.name` and so on.
    pub resource: Vec<(String, String)>,
    /// What the log is.
    pub log: LogNames,
}

enum Item {
    Trace(Box<Published>),
    Stop,
}

/// The thread; when it is dropped the last traces are handed over, if that is soon done.
pub struct Exporter {
    queue: SyncSender<Item>,
    ended: Receiver<()>,
}

/// Starts the exporter.
///
/// # Errors
/// When the certificates cannot be used, or no thread can be had; says why.
pub fn start(collector: Collector<'_>) -> Result<(Traces, Exporter), String> {
    let url = url(collector.endpoint);
    let agent = http::agent(&url, collector.ca_file).map_err(|error| error.to_string())?;
    let (resource, log) = (collector.resource, collector.log);
    let send = move |batch: &[Published]| {
        let request = request(batch, &resource, log, &mut RandomIds);
        post(&agent, &url, &request.to_string())
    };
    run(collector.per_second, send).map_err(|error| format!("a thread cannot be started: {error}"))
}

fn url(endpoint: &str) -> String {
    format!("{}/v1/traces", endpoint.trim_end_matches('/'))
}

fn run(
    per_second: f64,
    send: impl FnMut(&[Published]) -> Result<(), String> + Send + 'static,
) -> std::io::Result<(Traces, Exporter)> {
    let (queue, items) = sync_channel(QUEUE);
    let (end, ended) = sync_channel(1);
    let work = move || {
        export(&items, send);
        // The exporter may have gone without waiting.
        end.send(()).ok();
    };
    std::thread::Builder::new()
        .name("traces".to_owned())
        .spawn(work)?;
    let sink = queue.clone();
    let traces = Traces::to(per_second, move |way| {
        if let Err(TrySendError::Full(_)) = sink.try_send(Item::Trace(Box::new(way))) {
            names::traces_dropped("queue", 1);
        }
    });
    Ok((traces, Exporter { queue, ended }))
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // A full queue has a collector behind it that does not answer.
        if self.queue.try_send(Item::Stop).is_ok() {
            self.ended.recv_timeout(LAST).ok();
        }
    }
}

/// Hands traces over in batches until it is stopped.
fn export(items: &Receiver<Item>, mut send: impl FnMut(&[Published]) -> Result<(), String>) {
    let mut fails = false;
    while let Ok(Item::Trace(first)) = items.recv() {
        let mut batch = vec![*first];
        let mut goes_on = true;
        while goes_on && batch.len() < BATCH {
            match items.recv_timeout(LINGER) {
                Ok(Item::Trace(next)) => batch.push(*next),
                Ok(Item::Stop) | Err(RecvTimeoutError::Disconnected) => goes_on = false,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        match send(&batch) {
            Ok(()) => {
                names::traces_exported(batch.len() as u64);
                if std::mem::take(&mut fails) {
                    tracing::warn!("the collector takes traces again");
                }
            }
            Err(why) => {
                names::traces_dropped("collector", batch.len() as u64);
                // Once, not for each batch.
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!(why, "the collector does not take traces; they are dropped");
                }
            }
        }
        if !goes_on {
            return;
        }
    }
}

fn post(agent: &Agent, url: &str, request: &str) -> Result<(), String> {
    let answer = agent
        .post(url)
        .header("content-type", "application/json")
        .send(request.as_bytes());
    let mut answer = answer.map_err(|error| error.to_string())?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}: {text}", answer.status()));
    }
    refused(&text).map_or(Ok(()), Err)
}

/// What a collector that took a request says of spans in it that it did not take. Such a batch
/// counts as dropped.
fn refused(answer: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    let partial = &answer["partialSuccess"];
    let count = &partial["rejectedSpans"];
    let count = count
        .as_str()
        .map_or_else(|| count.as_u64(), |text| text.parse().ok())?;
    (count > 0).then(|| format!("it refuses {count} spans: {}", partial["errorMessage"]))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::spans::tests::way;
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_at_once_and_the_last_traces_are_handed_over() {
        let (taken, batches) = channel();
        let (release, released) = channel::<()>();
        let send = move |batch: &[Published]| {
            taken.send(batch.len()).unwrap();
            released.recv().map_err(|error| error.to_string())
        };
        let (traces, exporter) = run(100.0, send).unwrap();
        let mut second = 0;
        let mut publish = |count: usize| {
            for _ in 0..count {
                second += 1;
                let now = theatre_actors::time::LogTime(second * 1_000_000);
                assert!(traces.published(now, 0, || way([1; 6])));
            }
        };
        publish(BATCH);
        // The collector hangs from here on.
        assert_eq!(batches.recv(), Ok(BATCH));
        publish(QUEUE + 1000);
        for _ in 0..QUEUE / BATCH {
            release.send(()).unwrap();
            assert_eq!(batches.recv(), Ok(BATCH), "only what the queue holds");
        }
        publish(3);
        release.send(()).unwrap();
        release.send(()).unwrap();
        drop(exporter);
        assert_eq!(batches.try_recv(), Ok(3), "the last ones");
    }

    #[test]
    fn a_collector_that_hangs_holds_up_no_end() {
        let (taken, batches) = channel();
        let (_keep, never) = channel::<()>();
        let send = move |batch: &[Published]| {
            taken.send(batch.len()).unwrap();
            never.recv().map_err(|error| error.to_string())
        };
        let (traces, exporter) = run(1.0, send).unwrap();
        traces.published(theatre_actors::time::LogTime(1), 0, || way([1; 6]));
        assert_eq!(batches.recv(), Ok(1));
        // Would never return if it waited for the collector.
        drop(exporter);
    }

    #[test]
    fn the_path_is_added_to_the_endpoint_and_a_partial_refusal_is_seen() {
        assert_eq!(
            url("http://collector:4318"),
            "http://collector:4318/v1/traces"
        );
        assert_eq!(url("https://host/otlp/"), "https://host/otlp/v1/traces");
        assert_eq!(refused("{}"), None);
        assert_eq!(refused(r#"{"partialSuccess":{}}"#), None);
        assert_eq!(refused(r#"{"partialSuccess":{"rejectedSpans":"0"}}"#), None);
        let why = refused(r#"{"partialSuccess":{"rejectedSpans":"6","errorMessage":"too old"}}"#);
        assert!(why.is_some_and(|why| why.contains("6 spans") && why.contains("too old")));
    }
}
