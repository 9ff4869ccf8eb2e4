//! The sections `[[notify]]`.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use theatre_actors::rules::{CLOCK_SKEW, INSTRUMENT_LIVES, Micros, ROBOT_SILENT, did_you_mean};
use theatre_schemas::records::{Priority, Transition};

use super::Config;
use super::check::{Faults, Table};
use super::path::ConfigPath;
use super::redact;
use super::reference::Span;

/// Longest name.
const NAME_BYTES_MAX: usize = 40;
/// How long an attempt may take: a shorter one fails on busy hosts, a longer one holds up
/// its own queue.
const TIMEOUT_US: RangeInclusive<i64> = 100_000..=30_000_000;
/// How often what is open may be sent again.
const REPEAT_US: RangeInclusive<i64> = 1_000_000..=86_400_000_000;
/// How often it is, by default.
const REPEAT_DEFAULT: Micros = Micros(300_000_000);
/// A rule of the filter that is so near to one that is known was meant to be it.
const NEAR: f64 = 0.9;

/// How a recipient is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyKind {
    /// An HTTP POST for each transition, signed as Standard Webhooks describes.
    Webhook,
    /// Alertmanager, by version 2 of its interface.
    Alertmanager,
    /// A topic of AWS SNS.
    Sns,
}

impl NotifyKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::Sns => "sns",
        }
    }
}

/// A recipient of what happens to conditions. Each gets the transitions that pass its filters, at
/// least once, in order, and apart from all other recipients. docs/notify.md has the whole.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Name in commands, metrics and positions: letters, digits, `-` and `_`, at most 40. Under it
    /// the store keeps how far the recipient is; a new name begins with what happens from then on.
    pub name: String,
    /// How it is reached.
    pub kind: NotifyKind,
    /// `https://host/path` of a webhook; `http://host:9093` of an Alertmanager, with its path prefix
    /// if it has one; another address than the region's for SNS. It is shown without its path,
    /// which may be a secret.
    #[serde(default, serialize_with = "redact::address")]
    pub url: Option<String>,
    /// File with the secret that a webhook is signed with: `whsec_` and 24 to 64 bytes in base64. It
    /// is read again for each attempt, so it may be exchanged.
    pub secret_file: Option<ConfigPath>,
    /// Name of the environment variable that has the secret, in place of the file.
    pub secret_variable: Option<String>,
    /// ARN of the SNS topic; its region is that of the calls. On a FIFO topic messages are grouped
    /// by condition and distinguished by the transition.
    pub topic: Option<String>,
    /// File with an AWS access key for SNS, in the form of `~/.aws/credentials`. Absent: the SDK
    /// looks where it always does: variables, profile, container or instance role.
    pub credentials_file: Option<ConfigPath>,
    /// PEM file of the authorities that may have signed the recipient's certificate. Absent: the
    /// system's.
    pub ca_file: Option<ConfigPath>,
    /// Only conditions of these priorities: `high`, `medium`, `low`. What follows in the life of one
    /// that was sent is sent as well, whatever its priority is by then. Default: all.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub priorities: Vec<Priority>,
    /// Only robots that stand in these facilities, by the registry. Default: all, and robots of
    /// which no facility is known.
    #[serde(default)]
    pub facilities: Vec<String>,
    /// Only these rules, by their ids. Default: all.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Only these robots. Default: all.
    #[serde(default)]
    pub robots: Vec<String>,
    /// What is sent of a condition's life: `raised`, `updated`, `cleared`, `acknowledged`,
    /// `unacknowledged`, `silenced`, `unsilenced`, `assigned`, `escalated`, `latched`, `flapping`,
    /// `settled`. Default: `raised`, `updated`, `escalated`, `acknowledged`, `unacknowledged`,
    /// `flapping` and `cleared`. With `raised`, `unsilenced` is sent without being named, too, of a
    /// condition that was raised under the silence or changed its priority under it.
    #[serde(default = "transitions")]
    #[schemars(with = "Vec<String>")]
    pub transitions: Vec<Transition>,
    /// Only conditions that were escalated so often because they were not acknowledged in time: 1
    /// is for the next recipient. Default: 0, which is all.
    #[serde(default)]
    pub escalation_at_least: u32,
    /// One attempt may take so long, `"100ms"` to `"30s"`. Default: `"5s"`.
    #[serde(default = "timeout")]
    #[schemars(with = "Span")]
    pub timeout: Micros,
    /// What could not be delivered so long after it was saved is set aside (`theatre notify list`),
    /// and what lies behind it goes on. A command that waits until everything is drained waits for
    /// a recipient that is away no longer than this. Default: `"1h"`.
    #[serde(default = "give_up_after")]
    #[schemars(with = "Span")]
    pub give_up_after: Micros,
    /// How often an Alertmanager is sent again what is open and what it was sent of before, so that
    /// one that was started anew has it: `"1s"` to `"1d"`; `"0s"` = never. Default: `"5m"`.
    #[schemars(with = "Option<Span>")]
    pub repeat_every: Option<Micros>,
}

fn transitions() -> Vec<Transition> {
    vec![
        Transition::Raised,
        Transition::Updated,
        Transition::Escalated,
        Transition::Acknowledged,
        Transition::Unacknowledged,
        Transition::Flapping,
        Transition::Cleared,
    ]
}

fn timeout() -> Micros {
    Micros(5_000_000)
}

fn give_up_after() -> Micros {
    Micros(3_600_000_000)
}

/// As it is printed: without secrets.
impl std::fmt::Debug for NotifyConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        redact::debug("NotifyConfig", self, formatter)
    }
}

impl Table for Vec<NotifyConfig> {
    fn check(&self, config: &Config, faults: &mut Faults) {
        if self.is_empty() {
            return;
        }
        let rules = config.rule_ids();
        for (at, recipient) in self.iter().enumerate() {
            let earlier = self.get(..at).unwrap_or_default();
            recipient.check(earlier, &rules, faults);
        }
    }
}

impl Config {
    /// What may be meant as it is written, but means nothing yet: rules of recipients that neither the
    /// rule file nor the program has. They may be added while Theatre runs.
    pub fn doubts(&self) -> Vec<String> {
        let known = self.rule_ids();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let file = self.rule_source().display();
        let of = |recipient: &NotifyConfig| -> Vec<String> {
            let rules = recipient.rules.iter();
            let unknown = rules.filter(|rule| !known.contains(&rule.as_str()));
            let doubt = |rule: &String| {
                format!(
                    "{}: {file} {} no rule \"{rule}\"; {} Nothing of it is sent unless it is added while Theatre runs",
                    recipient.key("rules"),
                    if self.rules.is_some() { "has" } else { "have" },
                    sentence(did_you_mean(rule, &known))
                )
            };
            unknown.map(doubt).collect()
        };
        self.notify.iter().flat_map(of).collect()
    }

    /// The ids of the rules of the rule file, and of those that are built in. A rule file that cannot be
    /// used is named where the rules are made of it.
    fn rule_ids(&self) -> Vec<String> {
        let written = self.rule_specs().unwrap_or_default().into_iter();
        let built_in = [ROBOT_SILENT, CLOCK_SKEW, INSTRUMENT_LIVES].map(str::to_owned);
        written.map(|rule| rule.id).chain(built_in).collect()
    }
}

/// With its stop.
fn sentence(mut words: String) -> String {
    if !words.ends_with('?') {
        words.push('.');
    }
    words
}

impl NotifyConfig {
    /// The region in the topic's ARN; `None` where it is no ARN of SNS.
    pub fn region(&self) -> Option<&str> {
        let parts: Vec<&str> = self.topic.as_deref()?.split(':').collect();
        match parts.as_slice() {
            ["arn", partition, "sns", region, account, name]
                if partition.starts_with("aws")
                    && !region.is_empty()
                    && !account.is_empty()
                    && !name.is_empty() =>
            {
                Some(region)
            }
            _ => None,
        }
    }

    /// How often what is open is sent again; `None`: never.
    pub fn repeat(&self) -> Option<Micros> {
        let every = self.repeat_every.unwrap_or(REPEAT_DEFAULT);
        (self.kind == NotifyKind::Alertmanager && every.0 > 0).then_some(every)
    }

    /// What begins a message about a key of this section.
    pub fn key(&self, key: &str) -> String {
        format!("[[notify]] \"{}\", {key}", self.name)
    }

    /// Adds what means nothing; `earlier` sections come before this one, `rules` are known.
    fn check(&self, earlier: &[Self], rules: &[String], faults: &mut Faults) {
        let simple = |sign: char| sign.is_ascii_alphanumeric() || "-_".contains(sign);
        let name = &self.name;
        let good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(simple);
        faults.unless(good, || {
            format!(
                "[[notify]] name: \"{name}\" is no name: letters, digits, '-' and '_' are, at most {NAME_BYTES_MAX}"
            )
        });
        let twice = earlier.iter().any(|other| other.name == *name);
        faults.unless(!twice, || {
            format!("[[notify]] name: there are two recipients \"{name}\"")
        });
        self.check_address(faults);
        self.check_secret(faults);
        self.check_filters(rules, faults);
        let timeout = self.timeout;
        faults.unless(TIMEOUT_US.contains(&timeout.0), || {
            format!(
                "{}: {timeout} is not within 100ms to 30s",
                self.key("timeout")
            )
        });
        self.check_repeat(faults);
        faults.unless(self.give_up_after >= timeout, || {
            format!(
                "{}: {} is less than one attempt may take ({timeout})",
                self.key("give_up_after"),
                self.give_up_after
            )
        });
    }

    fn check_repeat(&self, faults: &mut Faults) {
        let Some(every) = self.repeat_every else {
            return;
        };
        if self.kind != NotifyKind::Alertmanager {
            self.stray("repeat_every", "alertmanager", faults);
        }
        faults.unless(every.0 == 0 || REPEAT_US.contains(&every.0), || {
            format!(
                "{}: {every} is not within 1s to 1d; 0s is never",
                self.key("repeat_every")
            )
        });
    }

    fn check_address(&self, faults: &mut Faults) {
        let form = match self.kind {
            NotifyKind::Webhook => "https://host/path of the webhook",
            NotifyKind::Alertmanager => "http://host:9093 of the Alertmanager",
            NotifyKind::Sns => "https://host of an SNS; for the region's leave it out",
        };
        let schemes = &["http://", "https://"][..];
        faults.url(&self.key("url"), self.url.as_deref(), schemes, form);
        faults.unless(self.url.is_some() || self.kind == NotifyKind::Sns, || {
            format!("{}: it is missing: {form}", self.key("url"))
        });
        let wants_topic = self.kind == NotifyKind::Sns;
        match &self.topic {
            None => faults.unless(!wants_topic, || {
                format!(
                    "{}: it is missing: arn:aws:sns:region:account:name of the topic",
                    self.key("topic")
                )
            }),
            Some(_) if !wants_topic => self.stray("topic", "sns", faults),
            Some(topic) => faults.unless(self.region().is_some(), || {
                format!(
                    "{}: \"{topic}\" is no ARN such as arn:aws:sns:eu-central-1:123456789012:alerts",
                    self.key("topic")
                )
            }),
        }
        if self.credentials_file.is_some() && !wants_topic {
            self.stray("credentials_file", "sns", faults);
        }
        faults.file(
            &self.key("credentials_file"),
            self.credentials_file.as_ref(),
        );
        faults.file(&self.key("ca_file"), self.ca_file.as_ref());
    }

    fn check_secret(&self, faults: &mut Faults) {
        let given = [
            ("secret_file", self.secret_file.is_some()),
            ("secret_variable", self.secret_variable.is_some()),
        ];
        if self.kind != NotifyKind::Webhook {
            for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                self.stray(key, "webhook", faults);
            }
            return;
        }
        let count = given.iter().filter(|(_, given)| *given).count();
        faults.unless(count == 1, || {
            format!(
                "{}: a webhook is signed: set either secret_file or secret_variable (make a secret with: echo whsec_$(head -c 32 /dev/urandom | base64))",
                self.key("secret_file")
            )
        });
        faults.file(&self.key("secret_file"), self.secret_file.as_ref());
    }

    fn check_filters(&self, rules: &[String], faults: &mut Faults) {
        faults.unless(!self.transitions.is_empty(), || {
            format!(
                "{}: nothing would ever be sent; leave it out for what is sent by default",
                self.key("transitions")
            )
        });
        // Rules can be added while Theatre runs: one that is not known is refused only if it is
        // nearly one that is.
        for rule in &self.rules {
            let near = rules
                .iter()
                .map(|known| (known, strsim::jaro_winkler(known, rule)))
                .max_by(|left, right| left.1.total_cmp(&right.1));
            if let Some((known, likeness)) = near
                && known != rule
                && likeness > NEAR
                && !rules.contains(rule)
            {
                faults.add(format!(
                    "{}: there is no rule \"{rule}\": did you mean \"{known}\"?",
                    self.key("rules")
                ));
            }
        }
        for (key, names) in [
            ("facilities", &self.facilities),
            ("rules", &self.rules),
            ("robots", &self.robots),
        ] {
            faults.unless(names.iter().all(|name| !name.trim().is_empty()), || {
                format!("{}: one of them is empty", self.key(key))
            });
        }
    }

    fn stray(&self, key: &str, of: &str, faults: &mut Faults) {
        faults.add(format!(
            "{}: only kind = \"{of}\" has it, and this is of kind \"{}\"",
            self.key(key),
            self.kind.as_str()
        ));
    }
}

#[cfg(test)]
mod tests;
