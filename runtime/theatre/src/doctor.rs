//! The checks of `theatre doctor`: every dependency that a configuration names is asked, and what
//! was seen is judged.
//!
//! A file for each dependency: its check asks by the adapter's own functions, and a pure function
//! judges what was seen. [`CHECKS`] lists all of them.

mod certificates;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "s3", test))]
mod clocks;
mod configuration;
mod data_dir;
mod embedded;
#[cfg(feature = "kafka")]
mod kafka;
mod partitions;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
#[cfg(feature = "redshift")]
mod redshift;
mod registry;
#[cfg(feature = "s3")]
mod s3;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use theatre_actors::ports::Error;
use theatre_actors::rules::Micros;
use theatre_actors::time::Clock;
use theatre_config::{Config, redacted};
use theatre_embedded::data_dir::DataDir;
use theatre_operations::checkup::{Check, Finding, Judgement, examine};
use theatre_pipeline::PipelineParams;
#[cfg(feature = "servers")]
use theatre_system::blocking::IoRuntime;
use theatre_system::clock::SystemClock;

use crate::gate;

/// All checks, in the order in which they are printed. One that does not concern the configuration
/// says nothing.
const CHECKS: &[Check<Deployment>] = &[
    Check {
        name: "configuration",
        run: configuration::check,
    },
    Check {
        name: "certificates",
        run: certificates::check,
    },
    Check {
        name: "data directory",
        run: data_dir::check,
    },
    Check {
        name: "embedded files",
        run: embedded::check,
    },
    #[cfg(feature = "kafka")]
    Check {
        name: "kafka",
        run: kafka::check_brokers,
    },
    #[cfg(feature = "kafka")]
    Check {
        name: "kafka topics",
        run: kafka::check_topics,
    },
    #[cfg(feature = "kafka")]
    Check {
        name: "kafka rights",
        run: kafka::check_rights,
    },
    #[cfg(feature = "kafka")]
    Check {
        name: "kafka group",
        run: kafka::check_group,
    },
    #[cfg(feature = "postgres")]
    Check {
        name: "postgresql",
        run: postgres::check,
    },
    Check {
        name: "partitions",
        run: partitions::check,
    },
    #[cfg(feature = "s3")]
    Check {
        name: "s3",
        run: s3::check,
    },
    #[cfg(feature = "redshift")]
    Check {
        name: "redshift",
        run: redshift::check,
    },
    Check {
        name: "schema registry",
        run: registry::check,
    },
    Check {
        name: "process",
        run: process::check,
    },
];

/// What is wrong with a configuration, and the pipeline that it makes if nothing is.
struct Judged {
    faults: Vec<String>,
    params: Option<PipelineParams>,
}

/// What is examined: a configuration, and what it names.
pub struct Deployment {
    config: Config,
    dir: DataDir,
    /// Where a process that runs answers.
    admin: String,
    /// Whether the lake may be written, to try it.
    #[cfg_attr(
        not(feature = "s3"),
        allow(dead_code, reason = "only a bucket is tried")
    )]
    write: bool,
    clock: Arc<dyn Clock>,
    judged: OnceLock<Judged>,
    #[cfg(feature = "servers")]
    io: IoRuntime,
    #[cfg(feature = "kafka")]
    kafka: OnceLock<kafka::Opened>,
}

impl Deployment {
    /// As configured; embedded parts below `dir`. Time-outs are cut to what fits into `deadline`.
    ///
    /// # Errors
    /// When threads cannot be had.
    pub fn new(
        config: Config,
        dir: DataDir,
        admin: String,
        write: bool,
        deadline: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            config: hurried(config, deadline),
            dir,
            admin,
            write,
            clock: Arc::new(SystemClock),
            judged: OnceLock::new(),
            #[cfg(feature = "servers")]
            io: IoRuntime::start()?,
            #[cfg(feature = "kafka")]
            kafka: OnceLock::new(),
        })
    }

    fn judged(&self) -> &Judged {
        self.judged.get_or_init(|| {
            let (faults, params) = gate::faults(&self.config);
            Judged {
                faults: faults.list().to_vec(),
                params,
            }
        })
    }

    /// The pipeline that the configuration makes; none if it is at fault, which its own check says.
    fn params(&self) -> Option<&PipelineParams> {
        self.judged().params.as_ref()
    }
}

/// Makes all checks, with at most `deadline` for each.
pub fn run(deployment: Deployment, deadline: Duration) -> Vec<Finding> {
    let mut findings = examine(&Arc::new(deployment), CHECKS, deadline);
    for finding in &mut findings {
        finding.judgement =
            without_secrets(std::mem::replace(&mut finding.judgement, Judgement::ok("")));
    }
    findings
}

/// What cannot even be read as a configuration.
pub fn unreadable(why: &str) -> Finding {
    Finding {
        check: "configuration",
        judgement: without_secrets(configuration::fault(why)),
    }
}

/// Adapters hide the secrets they know of; whatever a server sent back is gone through once more.
fn without_secrets(judgement: Judgement) -> Judgement {
    Judgement {
        verdict: judgement.verdict,
        seen: redacted(&judgement.seen),
        advice: judgement.advice.map(|advice| redacted(&advice)),
    }
}

/// The configuration with time-outs that let an adapter say why it has no answer before the
/// deadline ends its check.
fn hurried(mut config: Config, deadline: Duration) -> Config {
    let deadline = i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX);
    let most = Micros((deadline / 5 * 3).max(1));
    for span in [
        &mut config.store.connect_timeout,
        &mut config.store.acquire_timeout,
        &mut config.store.statement_timeout,
        &mut config.store.lock_timeout,
        &mut config.lake.attempt_timeout,
        &mut config.lake.operation_timeout,
        &mut config.warehouse.request_timeout,
        &mut config.warehouse.statement_timeout,
    ] {
        *span = Micros(span.0.min(most.0));
    }
    config.warehouse.poll_max = config.warehouse.poll_min;
    config
}

/// What an error of a port means to a check.
fn failed(error: &Error) -> Judgement {
    let advice = match error {
        Error::Unavailable { .. } => {
            "see whether its server runs, whether the address is right, and whether the way there is open"
        }
        _ => "put right what it names: waiting does not help",
    };
    Judgement::failed(error.to_string(), advice)
}

/// A number of bytes, for people.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{number:.1} {}", UNITS[unit]),
    }
}

/// Names, a few of them where there are many.
#[cfg(any(feature = "kafka", feature = "postgres", test))]
fn names<T: AsRef<str>>(all: &[T]) -> String {
    const NAMED: usize = 4;
    let mut text: Vec<&str> = all.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = format!("{} more", all.len().saturating_sub(NAMED));
    if all.len() > NAMED {
        text.push(&more);
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_end_before_the_deadline_and_short_ones_stay() {
        let mut config = Config::default();
        config.store.lock_timeout = Micros(1);
        let config = hurried(config, Duration::from_secs(5));
        assert_eq!(config.store.connect_timeout, Micros(3_000_000));
        assert_eq!(config.warehouse.statement_timeout, Micros(3_000_000));
        assert_eq!(config.store.lock_timeout, Micros(1));
        assert!(config.faults().is_empty());
    }

    #[test]
    fn sizes_and_lists_are_short() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(names(&["a", "b"]), "a, b");
        assert_eq!(names(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d, 2 more");
    }

    #[test]
    fn no_password_of_a_url_is_printed() {
        let said = unreadable("store.url postgres://u:hush@h/d is none").judgement;
        assert!(!format!("{said:?}").contains("hush"), "{said:?}");
    }
}
