//! A check-up of a deployment: many questions at once, each with the same deadline.
//!
//! What is asked, and of whom, the program lists; a check says what it has seen and, where that is
//! not as it should be, what to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something should be done about it.
    Warning,
    /// It does not work, or will not.
    Failed,
}

impl Verdict {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// What a check has seen, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// How it was found.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; none where it is as it should be.
    pub advice: Option<String>,
}

impl Judgement {
    /// As it should be.
    pub fn ok(seen: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            seen: seen.into(),
            advice: None,
        }
    }

    /// Works, and something should be done about it.
    pub fn warning(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warning,
            seen: seen.into(),
            advice: Some(advice.into()),
        }
    }

    /// Does not work.
    pub fn failed(seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Failed,
            seen: seen.into(),
            advice: Some(advice.into()),
        }
    }
}

/// A judgement, and the check that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// One question, or a few that one connection answers.
pub struct Check<C> {
    /// What is asked about.
    pub name: &'static str,
    /// Asks, and hands on each judgement as soon as it is made.
    pub run: fn(&C, &mut dyn FnMut(Judgement)),
}

// A derived one would want a context that can be cloned.
impl<C> Clone for Check<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Check<C> {}

enum Said {
    Judged(Judgement),
    Done,
}

/// Makes all checks side by side. One that is not done at the deadline has failed; what it had
/// judged until then counts, and its thread is left to itself.
pub fn examine<C: Send + Sync + 'static>(
    context: &Arc<C>,
    checks: &[Check<C>],
    deadline: Duration,
) -> Vec<Finding> {
    let until = Instant::now() + deadline;
    let begun: Vec<_> = checks
        .iter()
        .map(|check| (check.name, begin(context.clone(), *check)))
        .collect();
    let mut findings = Vec::new();
    for (check, begun) in begun {
        let mut add = |judgement| findings.push(Finding { check, judgement });
        match begun {
            Ok(said) => gather(&said, until, deadline, &mut add),
            Err(error) => add(Judgement::failed(
                format!("its thread cannot be started: {error}"),
                "see how many threads this user may have",
            )),
        }
    }
    findings
}

fn begin<C: Send + Sync + 'static>(
    context: Arc<C>,
    check: Check<C>,
) -> std::io::Result<Receiver<Said>> {
    let (sender, receiver) = channel();
    let work = move || {
        let judged = |judgement, sender: &Sender<Said>| {
            // After the deadline the receiver is gone.
            drop(sender.send(Said::Judged(judgement)));
        };
        let ran = catch_unwind(AssertUnwindSafe(|| {
            (check.run)(&context, &mut |judgement| judged(judgement, &sender));
        }));
        if ran.is_err() {
            let seen = "the check ended in a panic";
            judged(
                Judgement::failed(seen, "report this, with what was printed above"),
                &sender,
            );
        }
        drop(sender.send(Said::Done));
    };
    std::thread::Builder::new()
        .name(check.name.to_owned())
        .spawn(work)?;
    Ok(receiver)
}

fn gather(
    said: &Receiver<Said>,
    until: Instant,
    deadline: Duration,
    add: &mut impl FnMut(Judgement),
) {
    loop {
        match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Said::Judged(judgement)) => add(judgement),
            Ok(Said::Done) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                return add(Judgement::failed(
                    format!("no answer within {deadline:?}"),
                    "see whether the way there is open and its server answers others; a longer --deadline waits longer",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn verdicts(findings: &[Finding]) -> Vec<(&str, Verdict)> {
        let pair = |finding: &Finding| (finding.check, finding.judgement.verdict);
        findings.iter().map(pair).collect()
    }

    #[test]
    fn what_was_judged_before_the_deadline_counts_and_a_check_that_hangs_holds_up_no_other() {
        let checks = [
            Check {
                name: "hangs",
                run: |(), note| {
                    note(Judgement::ok("its address is known"));
                    std::thread::sleep(Duration::from_secs(3600));
                },
            },
            Check {
                name: "answers",
                run: |(), note| {
                    note(Judgement::warning("full to nine tenths", "make room"));
                    note(Judgement::ok("fast"));
                },
            },
        ];
        let begun = Instant::now();
        let findings = examine(&Arc::new(()), &checks, PATIENCE);
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert_eq!(
            verdicts(&findings),
            [
                ("hangs", Verdict::Ok),
                ("hangs", Verdict::Failed),
                ("answers", Verdict::Warning),
                ("answers", Verdict::Ok),
            ]
        );
        assert_eq!(findings[1].judgement.seen, "no answer within 200ms");
    }

    #[test]
    fn a_check_that_panics_has_failed() {
        let checks = [Check::<()> {
            name: "panics",
            run: |(), _| panic!("as planted"),
        }];
        let findings = examine(&Arc::new(()), &checks, Duration::from_secs(60));
        assert_eq!(verdicts(&findings), [("panics", Verdict::Failed)]);
    }

    #[test]
    fn a_finding_is_one_object_for_programs() {
        let finding = Finding {
            check: "disk",
            judgement: Judgement::warning("full to nine tenths", "make room"),
        };
        let wanted = r#"{"check":"disk","verdict":"warning","seen":"full to nine tenths","advice":"make room"}"#;
        assert_eq!(serde_json::to_string(&finding).unwrap(), wanted);
    }
}
