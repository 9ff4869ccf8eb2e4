//! Changes of rules while Theatre runs: into every partition of their topic, or through the process
//! that owns the log.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use theatre_actors::control::{ChangeKind, RuleChange, StandingRules};
use theatre_actors::ports::Role;
use theatre_actors::time::Clock;
use theatre_api::actions::text;
use theatre_api::rule_changes::{self, DATASET, Way};
use theatre_config::INPUT_TOPICS;
use theatre_schemas::registry::Registry;
use theatre_system::clock::SystemClock;

use super::file;
use super::standing::foreseen;
use crate::cli::alerts::refused;
use crate::cli::door::{Appender, Door, actor};
use crate::cli::output::rows;
use crate::cli::service::Place;
use crate::cli::token::WHO;
use crate::cli::{Common, Failure};
use crate::foreseen::Foreseen;
use crate::{adapters, api};

/// Who changes rules, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Who {
    /// Who does it; default: the user's name.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, without personal data.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// A rule, and who changes it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// Its id.
    rule: String,
    /// The one of this id that runs in the shadow.
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    who: Who,
}

/// What changes are made from.
pub(super) struct Desk {
    pub(super) place: Place,
    pub(super) registry: Registry,
    pub(super) standing: StandingRules,
}

impl Desk {
    pub(super) fn open(common: &Common) -> Result<Self, Failure> {
        let place = Place::of(common)?;
        let registry = adapters::registry(&place.config)?;
        Ok(Self {
            standing: foreseen(&place)?,
            place,
            registry,
        })
    }

    /// A change by a person; what it does is yet to be said.
    pub(super) fn change(who: &Who) -> Result<RuleChange, Failure> {
        Ok(RuleChange {
            change_id: rule_changes::new_id(),
            at: SystemClock.now().0,
            actor: actor(who.by.as_deref(), |name| std::env::var(name).ok())?,
            comment: text("the comment", who.comment.as_deref()).map_err(refused)?,
            ..RuleChange::default()
        })
    }

    /// Checks all changes, then sends them in and says what became of them.
    pub(super) fn submit(mut self, common: &Common, changes: &[RuleChange]) -> Result<(), Failure> {
        for change in changes {
            let versions = self.standing.check_version(change);
            versions.map_err(Failure::Usage)?;
            let checked = self.standing.check(change);
            checked.map_err(|why| Failure::Usage(about(&change.rule_id, &why)))?;
        }
        let (ids, said) = self.send(changes)?;
        let line = |(change, id): (&RuleChange, &String)| {
            vec![
                json!(id),
                json!(change.kind),
                json!(change.rule_id),
                json!(change.shadow),
            ]
        };
        let lines: Vec<Vec<Value>> = changes.iter().zip(&ids).map(line).collect();
        let names = ["change_id", "change", "rule_id", "shadow"];
        rows(common.output, &names, &lines)?;
        eprintln!("{said}");
        if self.place.config.rules_approval && !changes.iter().all(RuleChange::is_answer) {
            eprintln!("it counts once another person says `theatre rules approve` with its id");
        }
        Ok(())
    }

    /// Appends the changes, or has them appended; returns their ids, and what became of them.
    fn send(&self, changes: &[RuleChange]) -> Result<(Vec<String>, &'static str), Failure> {
        let config = &self.place.config;
        let appender = Appender::at(&self.place)?;
        if let Appender::Process(address) = &appender {
            let requests: Vec<_> = changes.iter().map(rule_changes::request).collect();
            let door = Door {
                place: &self.place,
                address,
                actor: changes.first().map_or("", |change| &change.actor),
                role: Role::Engineer,
            };
            // The process gives ids of its own.
            let answers = door.ask(&requests)?;
            let id = |answer: &Value| answer["change_id"].as_str().unwrap_or_default().to_owned();
            return Ok((answers.iter().map(id).collect(), appender.counts()));
        }
        let write = self.place.write()?;
        let (log, access) = (write.log()?, write.access()?);
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), config.partitions)?;
        let topics = api::topics(config, &self.registry);
        let topic = topics.get(DATASET).ok_or_else(|| {
            Failure::Failed(format!("no topic is configured for the dataset {DATASET}"))
        })?;
        if config.log.url.is_none() {
            // No other process can change rules while this one has the lock.
            rule_changes::end_turns(&*access)?;
        }
        let rules = Foreseen {
            store: write.store()?,
            log: log.clone(),
            // No column of a change of rules is a pseudonym.
            params: Arc::new(adapters::params(config, &self.place.dir, [0; 32])?),
            base: config.rule_specs()?,
        };
        let way = Way {
            log: &*log,
            access: &*access,
            rules: &rules,
            clock: &SystemClock,
            topic,
            partitions: config.partitions,
            patience: rule_changes::PATIENCE,
        };
        rule_changes::append(changes, &way, (WHO, None))?;
        let ids = changes.iter().map(|change| change.change_id.clone());
        Ok((ids.collect(), appender.counts()))
    }
}

/// What is wrong with a change of a rule, naming the rule once.
fn about(rule: &str, why: &str) -> String {
    if why.contains(&format!("'{rule}'")) {
        return why.to_owned();
    }
    format!("{rule}: {why}")
}

pub(super) fn add(common: &Common, path: &Path, shadow: bool, who: &Who) -> Result<(), Failure> {
    let desk = Desk::open(common)?;
    let mut config = desk.place.config.clone();
    // Rules that they follow may hold already: the whole is checked with these.
    let rules = file::checked(path, &mut config, desk.registry.datasets())?;
    file::say_doubts(&rules, &desk.place, desk.registry.datasets());
    let mut changes = Vec::new();
    for rule in rules {
        let json = serde_json::to_string(&rule).map_err(|error| {
            Failure::Failed(format!("rule '{}' cannot be written: {error}", rule.id))
        })?;
        changes.push(RuleChange {
            kind: ChangeKind::Put,
            shadow: shadow || rule.shadow,
            rule_id: rule.id,
            rule: Some(json),
            ..Desk::change(who)?
        });
    }
    desk.submit(common, &changes)
}

pub(super) fn turn(common: &Common, kind: ChangeKind, which: Which) -> Result<(), Failure> {
    let change = RuleChange {
        kind,
        rule_id: which.rule,
        shadow: which.shadow,
        ..Desk::change(&which.who)?
    };
    Desk::open(common)?.submit(common, &[change])
}

/// Why a change is rejected, and by whom.
#[derive(Debug, Args)]
pub(in crate::cli) struct Because {
    /// Who does it; default: the user's name. Who made the change withdraws it so.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Why, without personal data.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn approve(common: &Common, id: &str, who: &Who) -> Result<(), Failure> {
    answer(common, id, ChangeKind::Approve, who)
}

pub(super) fn reject(common: &Common, id: &str, because: Because) -> Result<(), Failure> {
    let who = Who {
        by: because.by,
        comment: Some(because.reason),
    };
    if Desk::change(&who)?.comment.is_none() {
        let why = "--reason: say why, for who made the change".to_owned();
        return Err(Failure::Usage(why));
    }
    answer(common, id, ChangeKind::Reject, &who)
}

/// Answers a change that waits.
fn answer(common: &Common, id: &str, kind: ChangeKind, who: &Who) -> Result<(), Failure> {
    let desk = Desk::open(common)?;
    let mut waiting = desk.standing.waiting().iter();
    let Some(waits) = waiting.find(|change| change.change_id == id) else {
        return Err(Failure::Usage(format!(
            "no change '{id}' waits to be approved or rejected; `theatre rules history` names them"
        )));
    };
    let by = Desk::change(who)?;
    let answer = RuleChange {
        change_id: by.change_id,
        at: by.at,
        actor: by.actor,
        ..RuleChange::answering(waits, kind, by.comment)
    };
    desk.submit(common, &[answer])
}
