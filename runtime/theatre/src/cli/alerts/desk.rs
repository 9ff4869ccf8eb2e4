//! Where actions of the command line go: into the log, or, while a process runs on the data directory
//! and owns its log, through that process's HTTP interface.

use serde_json::{Value, json};
use theatre_actors::ports::Role;
use theatre_actors::processor::ProcessorView;
use theatre_actors::rules::RuleSpec;
use theatre_actors::time::{Clock, LogTime};
use theatre_api::actions::{Action, Deed, Known, new_id, text};
use theatre_config::INPUT_TOPICS;
use theatre_system::clock::SystemClock;

use super::doing::refused;
use crate::adapters;
use crate::api;
use crate::cli::door::{Appender, Door, actor};
use crate::cli::output::rows;
use crate::cli::rules::standing;
use crate::cli::service::Place;
use crate::cli::token::WHO;
use crate::cli::{Common, Failure};

/// What a command that acts knows.
pub(super) struct Desk {
    place: Place,
    robots: Vec<ProcessorView>,
    rules: Vec<RuleSpec>,
    actor: String,
    comment: Option<String>,
    pub(super) now: LogTime,
}

impl Desk {
    pub(super) fn open(
        common: &Common,
        by: Option<&str>,
        comment: Option<&str>,
    ) -> Result<Self, Failure> {
        let place = Place::of(common)?;
        let actor = actor(by, |name| std::env::var(name).ok())?;
        let comment = text("the comment", comment).map_err(refused)?;
        let robots = theatre_queries::robots(&*place.look()?.store()?)?;
        Ok(Self {
            rules: standing(&place)?.rules(),
            robots,
            actor,
            comment,
            now: SystemClock.now(),
            place,
        })
    }

    pub(super) fn known(&self) -> Known<'_> {
        Known::new(self.robots.iter(), &self.rules)
    }

    /// Sends deeds in, each as an action, and says what became of them.
    pub(super) fn submit(
        &self,
        common: &Common,
        deeds: Vec<(Option<String>, Deed)>,
    ) -> Result<(), Failure> {
        let action = |(robot, deed): (Option<String>, Deed)| Action {
            id: new_id(robot.is_none()),
            at: self.now,
            actor: self.actor.clone(),
            robot,
            deed,
            comment: self.comment.clone(),
        };
        let actions: Vec<Action> = deeds.into_iter().map(action).collect();
        let (ids, counts) = self.send(&actions)?;
        let line = |(action, id): (&Action, String)| {
            let of = match &action.deed {
                Deed::Acknowledge { condition }
                | Deed::Unacknowledge { condition }
                | Deed::Assign { condition, .. }
                | Deed::Close { condition } => Some(condition),
                Deed::Silence(scope) => scope.condition.as_ref(),
                Deed::Unsilence { silence } => Some(silence),
            };
            vec![
                json!(id),
                json!(action.deed.name()),
                json!(action.robot),
                json!(of),
            ]
        };
        let lines: Vec<Vec<Value>> = actions.iter().zip(ids).map(line).collect();
        let names = ["action_id", "action", "robot_id", "of"];
        rows(common.output, &names, &lines)?;
        eprintln!("{counts}");
        Ok(())
    }

    /// Appends the actions, or has them appended; returns their ids, and when they count.
    fn send(&self, actions: &[Action]) -> Result<(Vec<String>, &'static str), Failure> {
        let config = &self.place.config;
        let appender = Appender::at(&self.place)?;
        if let Appender::Process(address) = &appender {
            return Ok((self.ask(address, actions)?, appender.counts()));
        }
        let write = self.place.write()?;
        let (log, access) = (write.log()?, write.access()?);
        log.ensure_topics(&INPUT_TOPICS.map(str::to_owned), config.partitions)?;
        let topics = api::topics(config, &adapters::registry(config)?);
        let topic = topics.get("alert_actions");
        let topic = topic.ok_or_else(|| {
            Failure::Failed("no topic is configured for the dataset alert_actions".to_owned())
        })?;
        for action in actions {
            let before = self.known().before(&action.deed);
            let to = (topic.as_str(), config.partitions);
            action.append(&*log, &*access, to, WHO, None, before)?;
        }
        let ids = actions.iter().map(|action| action.id.clone());
        Ok((ids.collect(), appender.counts()))
    }

    /// Asks the process that runs on the directory, as the one who acts.
    fn ask(&self, address: &str, actions: &[Action]) -> Result<Vec<String>, Failure> {
        let hides_high = actions
            .iter()
            .any(|action| matches!(&action.deed, Deed::Silence(scope) if scope.hides_high));
        let role = if hides_high {
            Role::Engineer
        } else {
            Role::Operator
        };
        let requests: Vec<_> = actions.iter().map(Action::request).collect();
        let door = Door {
            place: &self.place,
            address,
            actor: &self.actor,
            role,
        };
        let answers = door.ask(&requests)?;
        let id = |answer: &Value| answer["action_id"].as_str().unwrap_or_default().to_owned();
        Ok(answers.iter().map(id).collect())
    }
}
