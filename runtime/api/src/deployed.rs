//! A deployment that is served for a test: embedded files in a folder of their own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use theatre_actors::control::{RuleBase, StandingRules};
use theatre_actors::ports::{AccessStore, CheckpointStore, Error, EventLog, QueryResult, Role};
use theatre_actors::time::Clock;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::log::EmbeddedLog;
use theatre_embedded::store::EmbeddedStore;
use theatre_schemas::registry::Registry;
use theatre_star::report::Report;
use theatre_system::clock::SystemClock;
use theatre_system::http;

use crate::rule_changes::ForeseenRules;
use crate::{NewToken, Pace, Parts, ReportSource, Server, Settings, issue, start};

/// A warehouse that answers one report, and counts how often it is asked.
#[derive(Default)]
struct OneReport(AtomicUsize);

impl ReportSource for OneReport {
    fn answer(&self, report: &Report) -> Result<QueryResult, Error> {
        self.0.fetch_add(1, Ordering::AcqRel);
        if report.name != "busiest_robots" {
            return Err(Error::Refused("no such table: fact_procedures".to_owned()));
        }
        Ok(QueryResult {
            columns: vec!["robot_id".to_owned(), "cases".to_owned()],
            rows: vec![vec![json!("r,1"), json!(7)]],
        })
    }
}

/// No rule was ever put.
struct NoneForeseen;

impl ForeseenRules for NoneForeseen {
    fn foreseen(&self) -> Result<StandingRules, Error> {
        let registry = Registry::builtin();
        let base = RuleBase {
            rules: &[],
            needs_approval: false,
            datasets: registry.datasets(),
            windows: None,
        };
        StandingRules::read(base, None).map_err(|error| Error::Refused(error.to_string()))
    }

    fn with_history(&self) -> Result<StandingRules, Error> {
        self.foreseen()
    }
}

pub(crate) struct Deployed {
    pub(crate) server: Server,
    pub(crate) access: Arc<EmbeddedAccess>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    reports: Arc<OneReport>,
    _folder: tempfile::TempDir,
}

/// What an interface is served from, with its files in a folder.
pub(crate) fn parts(
    folder: &Path,
    access: Arc<EmbeddedAccess>,
    clock: Arc<dyn Clock>,
    partitions: u32,
) -> Parts {
    let store = EmbeddedStore::open(&folder.join("store")).unwrap();
    let topics = ["records".to_owned()];
    store.ensure_layout(&topics, partitions).unwrap();
    let log = EmbeddedLog::open(&folder.join("log"), clock.clone()).unwrap();
    log.ensure_topics(&topics, partitions).unwrap();
    let topic = ("robot_events".to_owned(), "records".to_owned());
    Parts {
        log: Arc::new(log),
        store: Arc::new(store),
        access,
        reports: None,
        lake: None,
        letters: None,
        pseudonyms: None,
        registry: Arc::new(Registry::builtin()),
        topics: BTreeMap::from([topic]),
        rules: Arc::default(),
        foreseen: Arc::new(NoneForeseen),
        rules_approval: false,
        windows: None,
        partitions,
        record_bytes: 1 << 20,
        clock,
    }
}

impl Deployed {
    /// Serves with these settings, by the clock of the machine.
    pub(crate) fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::at(Arc::new(SystemClock), change)
    }

    /// The same by another clock.
    pub(crate) fn at(clock: Arc<dyn Clock>, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let access = Arc::new(EmbeddedAccess::open(&folder.path().join("access")).unwrap());
        let reports = Arc::new(OneReport::default());
        let parts = Parts {
            reports: Some(reports.clone()),
            ..parts(folder.path(), access.clone(), clock.clone(), 1)
        };
        let mut settings = Settings {
            anonymous: None,
            hosts: Vec::new(),
            body_bytes: 1 << 20,
            pace: Pace::default(),
            ingests: 1,
            records_per_second: 0,
            listeners: 1,
            tls: None,
            oidc: None,
        };
        change(&mut settings);
        let store = parts.store.clone();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = start(listener, parts, settings).unwrap();
        Self {
            server,
            access,
            clock,
            store,
            reports,
            _folder: folder,
        }
    }

    /// The secret of a new token of this role, limited to facilities if there are any.
    pub(crate) fn token(&self, role: Role, facilities: &[&str]) -> String {
        let wish = NewToken {
            name: "test".to_owned(),
            role,
            robots: Vec::new(),
            facilities: facilities.iter().map(|name| (*name).to_owned()).collect(),
            expires_at: None,
        };
        let (_, secret) = issue(&*self.access, wish, self.clock.now(), "test", None).unwrap();
        secret
    }

    /// How often the warehouse was asked for a report.
    pub(crate) fn reports_asked(&self) -> usize {
        self.reports.0.load(Ordering::Acquire)
    }

    /// Everybody in the audit trail, the latest first.
    pub(crate) fn trail(&self) -> Vec<String> {
        let entries = self.access.audit_trail(100).unwrap();
        entries.into_iter().map(|entry| entry.who).collect()
    }

    /// Asks with an empty object as the body, under the name of a host; status and body of the answer.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        host: &str,
        token: Option<&str>,
    ) -> (u16, Value) {
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        let asked = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{token}connection: close\r\n\
            content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let mut stream = TcpStream::connect(self.server.address).unwrap();
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (
            status.unwrap(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    /// Status and body of an answer; `ca` is the authority that the server is known by.
    pub(crate) fn get(
        &self,
        path: &str,
        token: Option<&str>,
        ca: Option<&Path>,
    ) -> Result<(u16, Value), String> {
        let (status, body) = self.text(path, token, ca)?;
        Ok((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    /// The same, whatever it is.
    pub(crate) fn text(
        &self,
        path: &str,
        token: Option<&str>,
        ca: Option<&Path>,
    ) -> Result<(u16, String), String> {
        let url = format!("{}{path}", self.server.url());
        let agent = http::agent(&url, ca).map_err(|error| error.to_string())?;
        let mut request = agent.get(&url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call().map_err(|error| error.to_string())?;
        let body = answer.body_mut().read_to_string().unwrap_or_default();
        Ok((answer.status().as_u16(), body))
    }
}
