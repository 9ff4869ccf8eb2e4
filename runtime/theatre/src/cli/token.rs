//! `theatre token`: who may use the HTTP interface.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use theatre_actors::ports::{AccessStore, Role};
use theatre_actors::rules::Micros;
use theatre_actors::time::{Clock, LogTime};
use theatre_api::NewToken;
use theatre_system::clock::SystemClock;

use super::output::{self, rows, time};
use super::service::Place;
use super::{Common, Failure};

/// Who did it, in the audit trail.
pub(super) const WHO: &str = "command line";

/// Manages tokens of the HTTP interface.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Makes a token and prints its secret, which is shown this once and kept nowhere.
    #[command(
        after_help = "Examples: theatre token create --role operator --name gateway-3 --robots robot-0001,robot-0002 --expires 90d\n          theatre token create --role viewer --name wallboard --facility FAC-003 --output json"
    )]
    Create {
        /// What its bearer may do: `viewer` looks, `operator` sends records and acts on
        /// conditions too, `engineer` looks at dead letters and silences high priorities too, `admin` manages tokens too.
        #[arg(long, value_parser = role)]
        role: Role,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// The facilities that it is limited to: its bearer sees, changes and sends what concerns
        /// robots that stand there, by their registry; absent: all.
        #[arg(long, value_delimiter = ',')]
        facility: Vec<String>,
        /// The robots that it is limited to; absent: all.
        #[arg(long, value_delimiter = ',')]
        robots: Vec<String>,
        /// Refused after this long, such as 90d; absent: never.
        #[arg(long, value_parser = Micros::parse)]
        expires: Option<Micros>,
    },
    /// All tokens, without their secrets.
    #[command(after_help = "Example: theatre token list --output json")]
    List,
    /// Refuses a token from now on: within two seconds in all processes.
    #[command(after_help = "Example: theatre token revoke tok_0123456789ab")]
    Revoke {
        /// Its id, as listed.
        id: String,
    },
}

fn role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| {
        let names = Role::ALL.map(Role::as_str).join(", ");
        format!("'{name}' is none of {names}")
    })
}

impl Token {
    pub(super) fn run(self, common: &Common) -> Result<(), Failure> {
        let place = Place::of(common)?;
        let access: Arc<dyn AccessStore> = place.write()?.access()?;
        let now = SystemClock.now();
        match self {
            Self::Create {
                role,
                name,
                facility,
                robots,
                expires,
            } => {
                let wish = NewToken {
                    name,
                    role,
                    robots,
                    facilities: facility,
                    expires_at: expires.map(|span| LogTime(now.0.saturating_add(span.0))),
                };
                let (token, secret) = theatre_api::issue(&*access, wish, now, WHO, None)?;
                let made = json!({"id": token.id, "secret": secret});
                rows(
                    common.output,
                    &["id", "secret"],
                    &[vec![made["id"].clone(), made["secret"].clone()]],
                )
            }
            Self::List => list(&*access, common),
            Self::Revoke { id } => {
                if !theatre_api::revoke(&*access, &id, now, WHO, None)? {
                    return Err(Failure::Failed(format!(
                        "there is no token '{id}' in force: `theatre token list` names them"
                    )));
                }
                output::if_json(common.output, &json!({"revoked": id}))
            }
        }
    }
}

fn list(access: &dyn AccessStore, common: &Common) -> Result<(), Failure> {
    let optional = |at: Option<LogTime>| at.map_or(json!(null), |at| time(at.0));
    let line = |token: theatre_actors::ports::StoredToken| {
        let (robots, facilities) = theatre_api::robots_and_facilities(&token.robots);
        vec![
            json!(token.id),
            json!(token.name),
            json!(token.role),
            json!(robots.join(", ")),
            json!(facilities.join(", ")),
            time(token.created_at.0),
            optional(token.expires_at),
            optional(token.revoked_at),
        ]
    };
    let names = [
        "id",
        "name",
        "role",
        "robots",
        "facilities",
        "created_at",
        "expires_at",
        "revoked_at",
    ];
    let lines: Vec<_> = access.tokens()?.into_iter().map(line).collect();
    rows(common.output, &names, &lines)
}
