//! Who may use the HTTP interface and what was asked there: tokens, requests that carry a key, and
//! the audit trail.

use serde::{Deserialize, Serialize};

use super::Result;
use crate::time::LogTime;

/// What a caller may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything but dead letters.
    Viewer,
    /// Send records, and act on conditions.
    Operator,
    /// Look at dead letters, and silence conditions of high priority.
    Engineer,
    /// Manage tokens.
    Admin,
}

impl Role {
    /// All roles, the least one first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Engineer, Self::Admin];

    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Engineer => "engineer",
            Self::Admin => "admin",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// A token as it is kept: never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// Names it in lists, in the audit trail and when it is revoked.
    pub id: String,
    /// SHA-256 of the secret, in hex. The secret is random and long, so nothing slower is needed.
    pub hash: String,
    /// What it is for, in the words of the person who made it.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// The robots that it is limited to, and the facilities, each as `@facility/FAC-001`; empty:
    /// all.
    pub robots: Vec<String>,
    /// When it was made.
    pub created_at: LogTime,
    /// From when on it is refused.
    pub expires_at: Option<LogTime>,
    /// Since when it is refused.
    pub revoked_at: Option<LogTime>,
}

/// A request that carries a key, so that its repetition does nothing twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The caller and the key that the caller chose.
    pub key: String,
    /// SHA-256 of what was asked for, in hex: the same key for something else is refused.
    pub fingerprint: String,
    /// What is kept for who goes on with it. For records that are sent: where the log ended before the
    /// request wrote anything, since from there on a repetition looks for what was written.
    pub ends: Vec<u8>,
    /// When it was begun.
    pub begun_at: LogTime,
    /// Since when a process works on it; 0: none does.
    pub held_at: LogTime,
}

/// What is known of a request when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing; it is reserved now.
    New,
    /// It has begun before and was not answered.
    Unanswered(Reservation),
    /// It was answered.
    Answered {
        /// Fingerprint of the request that was answered.
        fingerprint: String,
        /// The answer.
        answer: Vec<u8>,
    },
}

/// A change, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When.
    pub at: LogTime,
    /// Id of the token, `oidc:` and the subject of an issuer's token, or `command line`.
    pub who: String,
    /// Address that it came from; `None` on the command line.
    pub from: Option<String>,
    /// What was done: `token.create`.
    pub action: String,
    /// To what.
    pub target: String,
    /// What was there before, as JSON.
    pub before: Option<String>,
    /// What is there now, as JSON.
    pub after: Option<String>,
}

/// Which entries of the audit trail are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only by this token, subject or command line.
    pub who: Option<String>,
    /// Only this action, such as `token.create`, or all whose names begin so where it ends in a dot.
    pub action: Option<String>,
    /// Only to this.
    pub target: Option<String>,
    /// Only entries before this one, by number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// Keeps tokens, requests and the audit trail. All processes of a deployment share it.
pub trait AccessStore: Send + Sync {
    /// Adds a token and its audit entry, in one transaction.
    fn add_token(&self, token: &StoredToken, entry: &AuditEntry) -> Result<()>;

    /// Revokes a token, with its audit entry; false if there is none of this id that is not
    /// revoked.
    fn revoke_token(&self, id: &str, at: LogTime, entry: &AuditEntry) -> Result<bool>;

    /// All tokens, in order of their creation.
    fn tokens(&self) -> Result<Vec<StoredToken>>;

    /// The token with this hash.
    fn token(&self, hash: &str) -> Result<Option<StoredToken>>;

    /// What is known of a request by its key; `None` where it was never reserved, or is forgotten.
    fn request(&self, key: &str) -> Result<Option<Begun>>;

    /// Reserves a request, unless its key is known.
    fn begin_request(&self, reservation: &Reservation) -> Result<Begun>;

    /// Makes the caller the one that works on a request that was held since `seen`; false if another
    /// has done so meanwhile. With `now` 0 it is given up.
    fn take_over_request(&self, key: &str, seen: LogTime, now: LogTime) -> Result<bool>;

    /// Keeps other bytes with a request that was not answered and is held since `held`; false if another
    /// holds it by now, or none does.
    fn keep_in_request(&self, key: &str, held: LogTime, ends: &[u8]) -> Result<bool>;

    /// Gives up every request that was not answered: for a process that is alone with the store,
    /// when it starts. One without a fingerprint is the lease of a command and stays.
    fn release_requests(&self) -> Result<()>;

    /// Notes the answer of a request.
    fn finish_request(&self, key: &str, answer: &[u8]) -> Result<()>;

    /// Forgets requests that were begun before, answered or not; returns how many. One without a
    /// fingerprint is the lease of a command and stays.
    fn forget_requests(&self, before: LogTime) -> Result<u64>;

    /// Adds an entry to the audit trail that stands for itself: for what changes nothing here.
    fn note(&self, entry: &AuditEntry) -> Result<()>;

    /// Entries of the audit trail with their numbers, newest first. There is no way to change or
    /// delete one.
    fn audit_page(&self, filter: &AuditFilter) -> Result<Vec<(u64, AuditEntry)>>;

    /// The newest entries of the audit trail, newest first, at most `limit`.
    fn audit_trail(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        let newest = AuditFilter {
            limit,
            ..AuditFilter::default()
        };
        let found = self.audit_page(&newest)?.into_iter();
        Ok(found.map(|(_, entry)| entry).collect())
    }
}
