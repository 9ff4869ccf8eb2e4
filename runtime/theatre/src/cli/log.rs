//! `theatre log`: the levels of a process that runs, for containers that have nothing else to ask it
//! with.

use clap::Args;
use serde_json::json;

use super::{Common, Failure, Output, output, service};
use crate::admin_client::{ask, tell};

/// Shows or changes what a process logs.
#[derive(Debug, Args)]
pub(super) struct Log {
    /// The levels from now on: `info`, or by target, such as `warn,theatre_kafka=debug`. Without them
    /// those of now are shown.
    levels: Option<String>,
    /// The levels of a process for which none are set.
    #[arg(long, conflicts_with = "levels")]
    reset: bool,
}

impl Log {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let listens = match &common.admin {
            Some(address) => address.clone(),
            None => service::config(common)?.admin,
        };
        let wanted = self.levels.or_else(|| self.reset.then(String::new));
        let answer = match wanted {
            None => ask(&listens, "/log")?,
            Some(levels) => tell(&listens, "/log", &levels)?,
        };
        let said = answer.body.trim();
        if answer.status != 200 {
            return Err(Failure::Usage(format!("{listens}/log: {said}")));
        }
        match common.output {
            Output::Json => output::value(&json!({"levels": said})),
            Output::Table => output::write(&format!("{said}\n")),
        }
    }
}
