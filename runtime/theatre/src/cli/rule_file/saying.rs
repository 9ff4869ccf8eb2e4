//! What a changed rule file says, checked as at a start and appended as any change of rules is.

use std::path::Path;
use std::sync::Arc;

use theatre_actors::control::{ChangeKind, RuleChange, StandingRules};
use theatre_actors::ports::AccessStore;
use theatre_actors::rules::{RuleSet, RuleSpec};
use theatre_actors::time::Clock;
use theatre_api::rule_changes::{self, DATASET, Fault, ForeseenRules, Way};
use theatre_config::Config;
use theatre_pipeline::{PipelineParams, Ports};
use theatre_system::clock::SystemClock;

use super::{RuleFile, Saying, differences};
use crate::api;
use crate::cli::{Failure, rules};
use crate::foreseen::Foreseen;

/// Who changes rules by the file, in their history and in the audit trail.
const WHO: &str = "rule file";

/// Says changes of the rule file to the partitions.
pub(super) struct Sayer {
    access: Arc<dyn AccessStore>,
    rules: Foreseen,
    topic: String,
}

impl Sayer {
    /// `config` names the rules on which the recorded changes stand.
    pub(super) fn new(
        config: &Config,
        params: PipelineParams,
        ports: Ports,
        access: Arc<dyn AccessStore>,
    ) -> Result<Self, Failure> {
        let topics = api::topics(config, &params.registry);
        let topic = topics.get(DATASET).cloned().ok_or_else(|| {
            Failure::Failed(format!("no topic is configured for the dataset {DATASET}"))
        })?;
        Ok(Self {
            rules: Foreseen {
                store: ports.store,
                log: ports.log,
                params: Arc::new(params),
                base: config.rule_specs()?,
            },
            access,
            topic,
        })
    }

    /// Says what of a text differs from the one that was taken last, which it becomes; returns how many
    /// changes that are.
    ///
    /// # Errors
    /// Names what is wrong with the text, or why it does not fit the rules that hold: nothing has
    /// changed then. Or what could not be written: all of it is said again the next time.
    pub(super) fn say(&self, file: &RuleFile, text: &str) -> Result<usize, String> {
        let mut count = 0;
        if let Some(interrupted) = file.saying()? {
            count += self.say_all(file, &interrupted)?;
        }
        let taken = file.taken()?;
        if taken == text {
            return Ok(count);
        }
        let before = theatre_config::rules_of(Path::new("taken.toml"), &taken);
        let before = before.map_err(|error| error.to_string())?;
        let saying = Saying {
            text: text.to_owned(),
            changes: self.changes(file, &before, text)?,
        };
        let unwritten = |error| format!("{} cannot be written: {error}", file.folder.display());
        file.begin_to_say(&saying).map_err(unwritten)?;
        Ok(count + self.say_all(file, &saying)?)
    }

    /// Says changes, and what follows where a change that they withdraw was approved before they came.
    fn say_all(&self, file: &RuleFile, saying: &Saying) -> Result<usize, String> {
        let unwritten = |error| format!("{} cannot be written: {error}", file.folder.display());
        self.append(file, &saying.changes)?;
        let mut count = saying.changes.len();
        let late = match self.too_late(file, saying) {
            Ok(late) => late,
            Err(why) => {
                // What is said next is what the file differs in from what was taken before this.
                file.stop_saying().map_err(unwritten)?;
                return Err(why);
            }
        };
        if !late.is_empty() {
            let next = Saying {
                text: saying.text.clone(),
                changes: late,
            };
            file.begin_to_say(&next).map_err(unwritten)?;
            self.append(file, &next.changes)?;
            count += next.changes.len();
        }
        file.said(&saying.text).map_err(unwritten)?;
        Ok(count)
    }

    /// Appends changes to all partitions; a partition that has one changes nothing by it.
    fn append(&self, file: &RuleFile, changes: &[RuleChange]) -> Result<(), String> {
        let appended = rule_changes::append(changes, &self.way(), (WHO, None));
        if matches!(appended, Err(Fault::Outdated(_))) {
            // A person was faster: the same changes would be refused again and again. The next look
            // compares the file with the rules as they are by then.
            let stopped = file.stop_saying();
            stopped.map_err(|error| format!("{}: {error}", file.folder.display()))?;
        }
        appended.map_err(|fault| fault.to_string())
    }

    fn way(&self) -> Way<'_> {
        Way {
            log: &*self.rules.log,
            access: &*self.access,
            rules: &self.rules,
            clock: &SystemClock,
            topic: &self.topic,
            partitions: self.rules.params.partitions,
            patience: rule_changes::PATIENCE,
        }
    }

    /// What is still to be said of rules whose waiting change was to be withdrawn: it may count by now.
    fn too_late(&self, file: &RuleFile, saying: &Saying) -> Result<Vec<RuleChange>, String> {
        let withdraws = |change: &RuleChange| change.kind == ChangeKind::Reject;
        if !saying.changes.iter().any(withdraws) {
            return Ok(Vec::new());
        }
        let standing = self.rules.foreseen().map_err(|error| error.to_string())?;
        let read = |text: &str| theatre_config::rules_of(Path::new("taken.toml"), text);
        let before = read(&file.taken()?).map_err(|error| error.to_string())?;
        let now = read(&saying.text).map_err(|error| error.to_string())?;
        let mut changes = differences::between(&before, &now)?;
        changes.retain(|change| {
            let mut said = saying.changes.iter().filter(|said| withdraws(said));
            said.any(|said| (&said.rule_id, said.shadow) == (&change.rule_id, change.shadow))
                && differences::is_to_be_said(change, &standing, WHO)
        });
        self.by_file(file, changes, standing)
    }

    fn changes(
        &self,
        file: &RuleFile,
        before: &[RuleSpec],
        text: &str,
    ) -> Result<Vec<RuleChange>, String> {
        let (name, datasets) = (file.name(), self.rules.params.registry.datasets());
        let windows = &self.rules.params.processor.windows;
        let now = rules::of_text(name, text, (datasets, Some(windows)))?;
        let placed = |error: &dyn std::fmt::Display| format!("{}: {error}", name.display());
        let compiled = RuleSet::compile(&now, datasets);
        let mut whole = compiled.map_err(|error| placed(&error))?;
        let bound = whole.bind(windows);
        bound.map_err(|error| placed(&error))?;
        for doubt in now.iter().flat_map(|rule| rule.doubts(datasets, None)) {
            tracing::warn!("{}: {doubt}", name.display());
        }
        let standing = self.rules.foreseen().map_err(|error| error.to_string())?;
        let changes = differences::between(before, &now)?;
        let changes = differences::in_place_of(changes, &standing, WHO);
        self.by_file(file, changes, standing)
    }

    /// Changes as the file makes them, in an order that fits the rules that hold.
    fn by_file(
        &self,
        file: &RuleFile,
        changes: Vec<RuleChange>,
        standing: StandingRules,
    ) -> Result<Vec<RuleChange>, String> {
        let name = file.name().display();
        let by_file = changes.into_iter().map(|change| RuleChange {
            change_id: rule_changes::new_id(),
            at: SystemClock.now().0,
            actor: WHO.to_owned(),
            comment: (change.comment).or_else(|| Some(format!("{name} was changed"))),
            ..change
        });
        let mut changes: Vec<RuleChange> = by_file.collect();
        let versions = differences::with_versions(&mut changes, standing.clone());
        versions.map_err(|why| format!("{name}: {why}"))?;
        let ordered = differences::in_order(changes, standing);
        ordered.map_err(|why| format!("{name}: it does not fit the rules that hold: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use theatre_embedded::data_dir::DataDir;

    use super::*;
    use crate::adapters::{self, Access, Adapters};

    fn limit(id: &str) -> String {
        format!(
            "[[rule]]\nid = \"{id}\"\npriority = \"low\"\nkind = {{ threshold = {{ signal = \"motor_temperature\", raise_above = 1.0 }} }}\n"
        )
    }

    /// A rule file of a data directory on which nothing reads.
    struct Case {
        folder: PathBuf,
        file: RuleFile,
        sayer: Sayer,
    }

    impl Drop for Case {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.folder).unwrap();
        }
    }

    impl Case {
        fn new(name: &str, rules_approval: bool) -> Self {
            let process = std::process::id();
            let folder = std::env::temp_dir().join(format!("theatre-{process}-{name}"));
            let config = Config {
                rules_approval,
                partitions: 2,
                ..Config::default()
            };
            let dir = DataDir::new(&folder);
            dir.create().unwrap();
            let params = adapters::params(&config, &dir, [0; 32]).unwrap();
            let adapters = Adapters::new(&config, &dir, Access::Write).unwrap();
            let (ports, access) = (adapters.ports().unwrap(), adapters.access().unwrap());
            ports.log.ensure_topics(&params.topics, 2).unwrap();
            let file = RuleFile::of(&config, &dir);
            file.begin(&limit("a")).unwrap();
            let mut sayer = Sayer::new(&config, params, ports, access).unwrap();
            sayer.rules.base = theatre_config::rules_of(Path::new("a"), &limit("a")).unwrap();
            Self {
                folder,
                file,
                sayer,
            }
        }

        fn say(&self, rules: &[&str]) -> Result<usize, String> {
            let text: String = rules.iter().map(|id| limit(id)).collect();
            self.sayer.say(&self.file, &text)
        }

        /// What stands in the log, and which rules it makes.
        fn outcome(&self) -> (Vec<&'static str>, Vec<String>) {
            let standing = self.sayer.rules.foreseen().unwrap();
            let kinds = standing.changes().iter().map(|change| change.kind.as_str());
            let ids = standing.rules().into_iter().map(|rule| rule.id);
            (kinds.collect(), ids.collect())
        }
    }

    #[test]
    fn a_rule_that_is_lost_before_anyone_has_read_of_it_does_not_come_in() {
        let case = Case::new("lost", false);
        assert_eq!(case.say(&["a", "b"]), Ok(1));
        assert_eq!(case.say(&["a"]), Ok(1));
        let (kinds, rules) = case.outcome();
        assert_eq!(
            (kinds, rules),
            (vec!["put", "remove"], vec!["a".to_owned()])
        );
        assert_eq!(case.say(&["a"]), Ok(0));
    }

    #[test]
    fn a_rule_that_is_lost_before_anyone_has_approved_it_waits_no_more() {
        let case = Case::new("withdrawn", true);
        assert_eq!(case.say(&["a", "b"]), Ok(1));
        assert_eq!(case.say(&["a"]), Ok(1));
        let (kinds, rules) = case.outcome();
        assert_eq!(
            (kinds, rules),
            (vec!["put", "reject"], vec!["a".to_owned()])
        );
        let standing = case.sayer.rules.foreseen().unwrap();
        assert!(standing.waiting().is_empty());
        // It is added once more, and waits as before.
        assert_eq!(case.say(&["a", "b"]), Ok(1));
        assert_eq!(case.sayer.rules.foreseen().unwrap().waiting().len(), 1);
    }

    #[test]
    fn what_was_interrupted_is_said_once_more_under_the_same_ids() {
        let case = Case::new("interrupted", false);
        let text = limit("a") + &limit("b");
        let before = theatre_config::rules_of(Path::new("a"), &limit("a")).unwrap();
        let saying = Saying {
            changes: case.sayer.changes(&case.file, &before, &text).unwrap(),
            text,
        };
        case.file.begin_to_say(&saying).unwrap();
        // One partition has it, the other has not; then the process was killed, and the file put back.
        let log = &*case.sayer.rules.log;
        let in_one = Way {
            partitions: 1,
            ..case.sayer.way()
        };
        rule_changes::append(&saying.changes, &in_one, (WHO, None)).unwrap();
        assert_eq!(case.say(&["a"]), Ok(2));
        let (kinds, rules) = case.outcome();
        assert_eq!(
            (kinds, rules),
            (vec!["put", "remove"], vec!["a".to_owned()])
        );
        let ends = [0, 1].map(|partition| log.range(&case.sayer.topic, partition).unwrap().end);
        assert_eq!(ends, [3, 2]);
        assert_eq!(case.file.saying(), Ok(None));
    }

    #[test]
    fn a_change_that_was_approved_before_its_withdrawal_came_is_undone() {
        let case = Case::new("late", true);
        assert_eq!(case.say(&["a", "b"]), Ok(1));
        let before = limit("a") + &limit("b");
        let rules = theatre_config::rules_of(Path::new("a"), &before).unwrap();
        let saying = Saying {
            changes: case.sayer.changes(&case.file, &rules, &limit("a")).unwrap(),
            text: limit("a"),
        };
        assert_eq!(saying.changes[0].kind, ChangeKind::Reject);
        case.file.begin_to_say(&saying).unwrap();
        // The process was killed; a person has approved it.
        let waiting = case.sayer.rules.foreseen().unwrap().waiting()[0].clone();
        let approval = RuleChange {
            change_id: rule_changes::new_id(),
            at: SystemClock.now().0,
            actor: "Anna".to_owned(),
            ..RuleChange::answering(&waiting, ChangeKind::Approve, None)
        };
        rule_changes::append(&[approval], &case.sayer.way(), ("Anna", None)).unwrap();
        assert_eq!(case.say(&["a"]), Ok(2));
        let standing = case.sayer.rules.foreseen().unwrap();
        let [removal] = standing.waiting() else {
            panic!("{:?}", standing.waiting())
        };
        assert_eq!(
            (removal.kind, removal.rule_id.as_str()),
            (ChangeKind::Remove, "b")
        );
        assert_eq!(case.file.saying(), Ok(None));
        assert_eq!(case.say(&["a"]), Ok(0));
    }

    #[test]
    fn two_who_put_one_version_of_a_rule_before_anything_is_read_do_not_both_put_it() {
        let case = Case::new("versions", false);
        let put = |who: &str, version: i32, above: f64| {
            let rule = limit("a").replace("1.0", &format!("{above:?}"));
            let rule = theatre_config::rules_of(Path::new("a"), &rule).unwrap();
            let rule = RuleSpec {
                version,
                ..rule[0].clone()
            };
            RuleChange {
                change_id: format!("by {who}"),
                kind: ChangeKind::Put,
                rule_id: "a".to_owned(),
                rule: Some(serde_json::to_string(&rule).unwrap()),
                at: SystemClock.now().0,
                actor: who.to_owned(),
                ..RuleChange::default()
            }
        };
        let append = |change: &RuleChange| {
            let one = std::slice::from_ref(change);
            rule_changes::append(one, &case.sayer.way(), (&change.actor, None))
        };
        append(&put("Anna", 2, 5.0)).unwrap();
        let refused = append(&put("Ben", 2, 6.0)).unwrap_err();
        assert!(matches!(refused, Fault::Outdated(_)), "{refused}");
        assert!(
            refused.to_string().contains("version 2 is recorded"),
            "{refused}"
        );
        // Hers once more, as after an attempt of which no answer came.
        append(&put("Anna", 2, 5.0)).unwrap();
        append(&put("Ben", 3, 6.0)).unwrap();
        assert_eq!(case.outcome().0, ["put", "put"]);
    }

    #[test]
    fn a_change_is_answered_by_one_person_at_a_time() {
        let case = Case::new("answered", true);
        assert_eq!(case.say(&["a", "b"]), Ok(1));
        let waiting = case.sayer.rules.foreseen().unwrap().waiting()[0].clone();
        let answer = |who: &str, kind: ChangeKind, at: i64| RuleChange {
            change_id: format!("by {who}"),
            at,
            actor: who.to_owned(),
            ..RuleChange::answering(&waiting, kind, None)
        };
        let append = |answer: &RuleChange, topic: &str| {
            let way = Way {
                topic,
                ..case.sayer.way()
            };
            rule_changes::append(std::slice::from_ref(answer), &way, ("who", None))
        };
        let at = SystemClock.now().0;
        let (anna, ben) = (
            answer("Anna", ChangeKind::Approve, at),
            answer("Ben", ChangeKind::Reject, at + 1),
        );
        // Hers has not come through: it is completed, and he is to see it first.
        append(&anna, "no topic").unwrap_err();
        let refused = append(&ben, &case.sayer.topic).unwrap_err().to_string();
        assert!(refused.contains("'by Anna' of rule 'b'"), "{refused}");
        append(&anna, &case.sayer.topic).unwrap();
        append(&ben, &case.sayer.topic).unwrap();
        let (kinds, rules) = case.outcome();
        assert_eq!(kinds, ["put", "approve"]);
        assert_eq!(rules, ["a", "b"]);
    }
}
