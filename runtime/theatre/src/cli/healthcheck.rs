//! `theatre healthcheck`: asks the admin server of a process that runs, for containers that have
//! nothing else to ask it with.

use clap::Args;
use serde_json::json;

use super::{Common, Failure, output, service};
use crate::admin_client::{AskError, ask};

/// Asks whether a process is well.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// Ask whether it is ready (/readyz) and not only whether it is alive (/livez).
    #[arg(long)]
    ready: bool,
}

impl Healthcheck {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let listens = match &common.admin {
            Some(address) => address.clone(),
            None => service::config(common)?.admin,
        };
        let path = if self.ready { "/readyz" } else { "/livez" };
        let answer = ask(&listens, path)?;
        if answer.status == 200 {
            let body = json!({"path": path, "status": answer.status});
            return output::if_json(common.output, &body);
        }
        Err(Failure::Failed(format!(
            "{listens}{path} answers {}: {}",
            answer.status,
            answer.body.trim()
        )))
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unusable(why) => Self::Usage(why),
            AskError::Silent(why) => Self::Unreachable(why),
        }
    }
}
