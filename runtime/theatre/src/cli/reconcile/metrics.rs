//! What reconcile found, as metrics: in a file for the node exporter, or pushed to a Pushgateway by
//! a job that has no disk that outlives it.

use std::path::Path;

use theatre_actors::time::Clock;
use theatre_operations::reconcile::Report;
use theatre_system::clock::SystemClock;

use crate::cli::Failure;

/// The report as Prometheus reads it.
///
/// # Errors
/// When it cannot be rendered, which would be a bug.
pub(super) fn text(report: &Report) -> Result<String, Failure> {
    let now = SystemClock.now().seconds();
    let found = || theatre_telemetry::names::reconciled(report.gap_records(), now);
    theatre_telemetry::rendered(found).map_err(Failure::Failed)
}

/// Writes metrics to a file: beside it and renamed, so that no reader sees half of it.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|error| Failure::Failed(format!("--metrics-file {}: {error}", file.display())))
}

/// Where metrics are pushed to: an address without a path is that of a Pushgateway, and its group is
/// the one of this command.
///
/// # Errors
/// When it is no address of HTTP.
pub(super) fn group(url: &str) -> Result<String, String> {
    let refused = || {
        format!(
            "'{url}' is no address of a Pushgateway: expected http://HOST:PORT, or with a group of its own http://HOST:PORT/metrics/job/NAME"
        )
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(refused)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !["http", "https"].contains(&scheme) || host.is_empty() || url.contains(char::is_whitespace)
    {
        return Err(refused());
    }
    if path.is_empty() {
        return Ok(format!("{scheme}://{host}/metrics/job/theatre_reconcile"));
    }
    if !format!("/{path}").contains("/metrics/job/") {
        return Err(refused());
    }
    Ok(url.to_owned())
}

/// Replaces the metrics of a group of a Pushgateway.
///
/// # Errors
/// When it does not answer, or refuses them.
#[cfg(feature = "notify")]
pub(super) fn push(group: &str, text: &str) -> Result<(), Failure> {
    let failed = |why: String| Failure::Failed(format!("--metrics-push {group}: {why}"));
    let agent = theatre_system::http::agent(group, None).map_err(|why| failed(why.to_string()))?;
    let answer = agent
        .put(group)
        .header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        .send(text)
        .map_err(|error| failed(error.to_string()))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(failed(format!(
        "it answered {}; is it a Pushgateway, and does its log say why?",
        answer.status()
    )))
}

/// Refuses: a program without adapters of servers pushes nothing.
#[cfg(not(feature = "notify"))]
pub(super) fn push(_: &str, _: &str) -> Result<(), Failure> {
    Err(Failure::Usage(
        "--metrics-push: this program was built without `notify`, and pushes nothing".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_the_group_of_this_command() {
        for (url, expected) in [
            (
                "http://push:9091",
                "http://push:9091/metrics/job/theatre_reconcile",
            ),
            (
                "https://push/",
                "https://push/metrics/job/theatre_reconcile",
            ),
            (
                "http://push:9091/metrics/job/proof/namespace/prod",
                "http://push:9091/metrics/job/proof/namespace/prod",
            ),
            (
                "http://proxy/gateway/metrics/job/proof",
                "http://proxy/gateway/metrics/job/proof",
            ),
        ] {
            assert_eq!(group(url).as_deref(), Ok(expected), "{url}");
        }
        for url in [
            "push:9091",
            "ftp://push",
            "http://",
            "http://push/other",
            "http://a b",
        ] {
            let refused = group(url).unwrap_err();
            assert!(refused.contains("http://HOST:PORT"), "{refused}");
        }
    }
}
