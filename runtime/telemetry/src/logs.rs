//! Logs to standard error: text for people or JSON for programs, with levels that can be changed
//! while the program runs.

use std::io::IsTerminal;
use std::sync::{OnceLock, PoisonError, RwLock};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// Levels: `info`, or by target, such as `warn,theatre_kafka=debug`.
pub const LEVELS: &str = "THEATRE_LOG";
/// Form: `text` or `json`.
pub const FORMAT: &str = "THEATRE_LOG_FORMAT";
/// Target of what a service says once when it starts; shown unless levels hide it.
pub const START: &str = "theatre_start";

type Change = Box<dyn Fn(Targets) -> Result<(), String> + Send + Sync>;

/// What was set up: the form, the levels of now, and how to change them.
struct Logs {
    is_json: bool,
    levels: RwLock<String>,
    change: Change,
}

static LOGS: OnceLock<Logs> = OnceLock::new();

/// Sets up logging as the variables `THEATRE_LOG` and `THEATRE_LOG_FORMAT` say: `warn` and text
/// unless they are set. A value that cannot be read is named on standard error, and the default is
/// taken.
pub fn log_to_stderr() {
    let levels = std::env::var(LEVELS).unwrap_or_default();
    let targets = parse(&levels).unwrap_or_else(|why| {
        eprintln!("theatre: {LEVELS}={levels}: {why}");
        defaults()
    });
    let is_json = match std::env::var(FORMAT).as_deref() {
        Ok("json") => true,
        Ok("text") | Err(_) => false,
        Ok(other) => {
            eprintln!("theatre: {FORMAT}={other}: it is json or text");
            false
        }
    };
    let shown = targets.to_string();
    let (filter, handle) = reload::Layer::new(targets);
    let registry = tracing_subscriber::registry();
    // A second call, as tests make it, changes nothing.
    if registry
        .with(form(is_json).with_filter(filter))
        .try_init()
        .is_err()
    {
        return;
    }
    let change: Change =
        Box::new(move |targets| handle.reload(targets).map_err(|error| error.to_string()));
    drop(LOGS.set(Logs {
        is_json,
        levels: RwLock::new(shown),
        change,
    }));
}

/// How events are written.
fn form<S>(is_json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if is_json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer.boxed()
    }
}

/// Whether what goes to standard error is JSON.
pub fn is_json() -> bool {
    LOGS.get().is_some_and(|logs| logs.is_json)
}

/// The levels of now; empty before logging is set up.
pub fn levels() -> String {
    LOGS.get().map_or_else(String::new, |logs| {
        logs.levels
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    })
}

/// Changes the levels from now on, until the process ends; returns them as they are understood.
///
/// # Errors
/// When they cannot be read, or logging is not set up; says why.
pub fn set_levels(levels: &str) -> Result<String, String> {
    let targets = parse(levels)?;
    let shown = targets.to_string();
    let logs = LOGS.get().ok_or("logging is not set up")?;
    (logs.change)(targets)?;
    shown.clone_into(&mut logs.levels.write().unwrap_or_else(PoisonError::into_inner));
    Ok(shown)
}

fn defaults() -> Targets {
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(START, LevelFilter::INFO)
}

fn parse(levels: &str) -> Result<Targets, String> {
    let levels = levels.trim();
    if levels.is_empty() {
        return Ok(defaults());
    }
    levels.parse().map_err(|_| {
        format!("'{levels}' is no list of levels, such as info, or warn,theatre_kafka=debug")
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn levels_are_read_and_what_is_none_is_refused_with_an_example() {
        for (levels, shown) in [
            ("", "theatre_start=info,warn"),
            (" info ", "info"),
            ("warn,theatre_kafka=debug", "theatre_kafka=debug,warn"),
        ] {
            assert_eq!(
                parse(levels).map(|targets| targets.to_string()),
                Ok(shown.to_owned())
            );
        }
        let refused = parse("theatre_kafka=loud").map(|targets| targets.to_string());
        assert!(
            refused
                .as_ref()
                .is_err_and(|why| why.contains("such as info")),
            "{refused:?}"
        );
    }
}
