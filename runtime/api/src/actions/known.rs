//! What actions may name: robots and their open conditions, silences and rules as they are known.

use serde_json::json;
use theatre_actors::processor::{ConditionView, ProcessorView, SilenceScope, SilenceView};
use theatre_actors::rules::{
    CLOCK_SKEW, INSTRUMENT_LIVES, Micros, ROBOT_SILENT, RuleSpec, did_you_mean,
};
use theatre_actors::time::LogTime;
use theatre_queries::{StandingSilence, standing_silences};

use super::{Deed, Refusal, SILENCE_MAX_US, Scope, SilenceWish, text};

/// Open conditions that a refusal names.
const NAMED_MAX: usize = 5;

/// What the one who acts may see.
pub struct Known<'a> {
    robots: Vec<&'a ProcessorView>,
    rules: &'a [RuleSpec],
}

/// What an action is about, and what is done.
type Meant = (Option<String>, Deed);

impl<'a> Known<'a> {
    /// Of these robots, by these rules.
    pub fn new(robots: impl Iterator<Item = &'a ProcessorView>, rules: &'a [RuleSpec]) -> Self {
        Self {
            robots: robots.collect(),
            rules,
        }
    }

    fn open(&self) -> impl Iterator<Item = (&'a str, &'a ConditionView)> {
        self.robots.iter().flat_map(|view| {
            let conditions = view.conditions.iter();
            conditions.map(|condition| (view.robot_id.as_str(), condition))
        })
    }

    /// The robot of an open condition, and the condition; `id` is its id, or so much of its beginning
    /// as no other has.
    ///
    /// # Errors
    /// When there is none, or more than one; says which may have been meant.
    pub fn condition(&self, id: &str) -> Result<(&'a str, &'a ConditionView), Refusal> {
        let begins = |(_, condition): &(&str, &ConditionView)| {
            let known = condition.condition_id.as_deref();
            known.is_some_and(|known| !id.is_empty() && known.starts_with(id))
        };
        let found: Vec<_> = self.open().filter(begins).collect();
        let exact = found
            .iter()
            .find(|(_, condition)| condition.condition_id.as_deref() == Some(id));
        match (exact, found.as_slice()) {
            (Some(one), _) | (None, [one]) => Ok(*one),
            (None, []) => Err(Refusal::Missing(self.no_condition(id))),
            (None, many) => Err(Refusal::Wrong(format!(
                "'{id}' begins the ids of {} open conditions: {}; give more of it",
                many.len(),
                named(many)
            ))),
        }
    }

    fn no_condition(&self, id: &str) -> String {
        let why = format!("no open condition has the id '{id}'");
        let open: Vec<_> = self.open().collect();
        if open.is_empty() {
            return format!("{why}: none is open");
        }
        if let Some((robot, _)) = open.iter().find(|(robot, _)| *robot == id) {
            return format!("{why}; there is a robot '{robot}': --robot names one");
        }
        let ids: Vec<&str> = open
            .iter()
            .filter_map(|(_, condition)| condition.condition_id.as_deref())
            .collect();
        let meant = did_you_mean(id, &ids);
        if meant.starts_with("did you mean") {
            return format!("{why}; {meant}");
        }
        format!(
            "{why}: it has ended, or never was; open are {}",
            named(&open)
        )
    }

    /// The open conditions of a robot, of one rule or of all, by their ids.
    ///
    /// # Errors
    /// When the robot is not known, or none of them is open.
    pub fn conditions_of(&self, robot: &str, rule: Option<&str>) -> Result<Vec<String>, Refusal> {
        let view = self.robot(robot)?;
        let is_meant =
            |condition: &&ConditionView| rule.is_none_or(|rule| rule == condition.rule_id);
        let found: Vec<String> = (view.conditions.iter().filter(is_meant))
            .filter_map(|condition| condition.condition_id.clone())
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let open: Vec<_> = self.open().filter(|(of, _)| *of == robot).collect();
        Err(Refusal::Missing(match rule {
            Some(rule) if !open.is_empty() => format!(
                "no condition of rule '{rule}' is open on robot '{robot}'; open are {}",
                named(&open)
            ),
            _ => format!("no condition is open on robot '{robot}'"),
        }))
    }

    fn robot(&self, id: &str) -> Result<&'a ProcessorView, Refusal> {
        let found = self.robots.iter().find(|view| view.robot_id == id);
        let missing = || {
            let names = self.robots.iter().map(|view| view.robot_id.as_str());
            Refusal::Missing(unknown("robot", id, names))
        };
        found.copied().ok_or_else(missing)
    }

    /// What is done to one condition: `deed` makes it of the condition's id.
    ///
    /// # Errors
    /// When the condition is not open, or is closed although its rule does not latch.
    pub fn to_condition(
        &self,
        id: &str,
        deed: impl FnOnce(String) -> Deed,
    ) -> Result<Meant, Refusal> {
        let (robot, condition) = self.condition(id)?;
        let deed = deed(condition.condition_id.clone().unwrap_or_default());
        let rule = self.rules.iter().find(|rule| rule.id == condition.rule_id);
        let latches = condition.is_latched || rule.is_some_and(|rule| rule.latch);
        if matches!(deed, Deed::Close { .. }) && !latches {
            return Err(Refusal::Wrong(format!(
                "the rule '{}' does not latch: its condition ends by itself with its cause; acknowledge or silence it",
                condition.rule_id
            )));
        }
        Ok((Some(robot.to_owned()), deed))
    }

    /// What there is before a deed, as JSON for the audit trail: the condition, or the silence that
    /// is taken back.
    pub fn before(&self, deed: &Deed) -> Option<String> {
        let condition = match deed {
            Deed::Acknowledge { condition }
            | Deed::Unacknowledge { condition }
            | Deed::Assign { condition, .. }
            | Deed::Close { condition } => Some(condition),
            Deed::Silence(scope) => scope.condition.as_ref(),
            Deed::Unsilence { .. } => None,
        };
        let condition = condition.and_then(|id| self.condition(id).ok());
        let condition = condition.map(|(_, condition)| json!(condition));
        let silence = || match deed {
            Deed::Unsilence { silence } => {
                let mut known = self.silences().into_iter();
                known.find(|known| known.silence.silence_id == *silence)
            }
            _ => None,
        };
        let before = condition.or_else(|| silence().map(|known| json!(known.silence)));
        before.map(|before| before.to_string())
    }

    /// The silences that hold.
    pub fn silences(&self) -> Vec<StandingSilence> {
        standing_silences(self.robots.iter().copied())
    }

    /// What takes a silence back.
    ///
    /// # Errors
    /// When none that holds has the id.
    pub fn unsilence(&self, id: &str) -> Result<Meant, Refusal> {
        let silences = self.silences();
        let begins =
            |known: &&StandingSilence| !id.is_empty() && known.silence.silence_id.starts_with(id);
        let found: Vec<&StandingSilence> = silences.iter().filter(begins).collect();
        let exact = found.iter().find(|known| known.silence.silence_id == id);
        let one = match (exact, found.as_slice()) {
            (Some(one), _) | (None, [one]) => one,
            (None, []) => {
                let ids = silences
                    .iter()
                    .map(|known| known.silence.silence_id.as_str());
                return Err(Refusal::Missing(unknown("silence", id, ids)));
            }
            (None, many) => {
                return Err(Refusal::Wrong(format!(
                    "'{id}' begins the ids of {} silences: give more of it",
                    many.len()
                )));
            }
        };
        let silence = one.silence.silence_id.clone();
        Ok((one.robot_id.clone(), Deed::Unsilence { silence }))
    }

    /// What a wished silence does; its reason is the action's comment.
    ///
    /// # Errors
    /// When it names something that is not known, has no end or a wrong one, or no reason.
    pub fn silence(&self, wish: &SilenceWish, now: LogTime) -> Result<Meant, Refusal> {
        if text("the reason", Some(&wish.reason))?.is_none() {
            return Err(Refusal::Wrong("a silence needs a reason".to_owned()));
        }
        let until = until(wish, now)?;
        let (mut robot, mut condition) = (wish.robot.clone(), None);
        if let Some(id) = &wish.condition {
            let (of, found) = self.condition(id)?;
            if robot.as_deref().is_some_and(|robot| robot != of) {
                return Err(Refusal::Wrong(format!(
                    "the condition '{id}' is on robot '{of}', not on '{}'",
                    robot.unwrap_or_default()
                )));
            }
            robot = Some(of.to_owned());
            condition.clone_from(&found.condition_id);
        }
        if let Some(robot) = &robot {
            self.robot(robot)?;
            if wish.facility.is_some() || wish.model.is_some() {
                return Err(Refusal::Wrong(
                    "a silence is of a robot, or of those of a facility or model: leave one out"
                        .to_owned(),
                ));
            }
        }
        self.check_names(wish)?;
        let scope = Scope {
            condition,
            rule: wish.rule.clone(),
            facility: wish.facility.clone(),
            model: wish.model.clone(),
            until,
            hides_high: wish.hides_high,
        };
        let narrowed = [&robot, &scope.rule, &scope.facility, &scope.model];
        if narrowed.iter().all(|of| of.is_none()) {
            return Err(Refusal::Wrong(
                "a silence of everything is not possible: name a robot, a condition, a rule, a facility or a model".to_owned(),
            ));
        }
        self.check_room(robot.as_deref(), &scope, now)?;
        Ok((robot, Deed::Silence(scope)))
    }

    /// Whether there is room for a silence among those that count together with it. One takes the
    /// place of one about the same conditions. Those that have ended a robot only drops at its next
    /// record: they take no room.
    fn check_room(&self, robot: Option<&str>, scope: &Scope, now: LogTime) -> Result<(), Refusal> {
        let is_meant = |view: &&&ProcessorView| robot.is_none_or(|robot| view.robot_id == robot);
        for view in self.robots.iter().filter(is_meant) {
            let others = view.silences.iter().filter(|silence| {
                silence.until > now.0
                    && (
                        &silence.rule_id,
                        &silence.condition_id,
                        &silence.facility_id,
                        &silence.robot_model,
                    ) != (&scope.rule, &scope.condition, &scope.facility, &scope.model)
            });
            let scopes = others
                .map(|it: &SilenceView| SilenceScope::of(it.is_wide, it.facility_id.as_deref()));
            let room = SilenceScope::of(robot.is_none(), scope.facility.as_deref());
            room.check_room(scopes).map_err(Refusal::Wrong)?;
        }
        Ok(())
    }

    /// Whether there are such rules, facilities and models.
    fn check_names(&self, wish: &SilenceWish) -> Result<(), Refusal> {
        let check = |what: &str, wanted: &Option<String>, known: Vec<&str>| match wanted {
            Some(wanted) if !known.contains(&wanted.as_str()) => {
                Err(Refusal::Missing(unknown(what, wanted, known.into_iter())))
            }
            _ => Ok(()),
        };
        let of_rules = self.rules.iter().map(|rule| rule.id.as_str());
        let of_conditions = self.open().map(|(_, condition)| condition.rule_id.as_str());
        let built_in = [ROBOT_SILENT, CLOCK_SKEW, INSTRUMENT_LIVES];
        check(
            "rule",
            &wish.rule,
            of_rules.chain(built_in).chain(of_conditions).collect(),
        )?;
        let records = || self.robots.iter().map(|view| &view.record);
        let facilities = records().filter_map(|of| of.facility_id.as_deref());
        check("facility", &wish.facility, facilities.collect())?;
        let models = records().filter_map(|of| of.robot_model.as_deref());
        check("model", &wish.model, models.collect())
    }
}

/// The end of a silence.
fn until(wish: &SilenceWish, now: LogTime) -> Result<LogTime, Refusal> {
    let wrong = |why: String| Err(Refusal::Wrong(why));
    let until = match (&wish.until, &wish.lasts) {
        (Some(text), None) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => LogTime(time.as_microsecond()),
            Err(_) => {
                return wrong(format!(
                    "until '{text}' is no time such as 2027-01-31T08:00:00Z"
                ));
            }
        },
        (None, Some(span)) => match Micros::parse(span) {
            Ok(span) => LogTime(now.0.saturating_add(span.0)),
            Err(why) => return wrong(format!("for '{span}': {why}")),
        },
        _ => return wrong("a silence needs an end: one of `until` and `for`".to_owned()),
    };
    if until <= now {
        return wrong("the silence would end before it begins".to_owned());
    }
    if until.0.saturating_sub(now.0) > SILENCE_MAX_US {
        return wrong("a silence lasts 90 days at most: what is wrong for longer is to be put right, or its rule changed".to_owned());
    }
    Ok(until)
}

fn named(open: &[(&str, &ConditionView)]) -> String {
    let name = |(robot, condition): &(&str, &ConditionView)| {
        let id = condition.condition_id.as_deref().unwrap_or("without id");
        format!("{id} ({} on {robot})", condition.rule_id)
    };
    let mut names: Vec<String> = open.iter().take(NAMED_MAX).map(name).collect();
    if open.len() > NAMED_MAX {
        names.push(format!("{} more", open.len() - NAMED_MAX));
    }
    names.join(", ")
}

fn unknown<'a>(what: &str, wanted: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let hint = match known.as_slice() {
        [] => format!("no {what} is known"),
        known => {
            let meant = did_you_mean(wanted, known);
            match meant.starts_with("did you mean") || known.len() <= NAMED_MAX {
                true => meant,
                false => format!("{} are known", known.len()),
            }
        }
    };
    format!("there is no {what} '{wanted}'; {hint}")
}
