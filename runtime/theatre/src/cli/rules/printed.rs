//! How a back-test is printed.

use serde_json::{Value, json};
use theatre_backtest::scoring::{Incident, RuleScore};

use super::back_test::Answer;
use crate::cli::output::{rows, time, value, write};
use crate::cli::{Failure, Output};

/// So many unseen incidents are named in the table.
const NAMED: usize = 20;

/// Prints all of it.
pub(super) fn json(answer: &Answer) -> Result<(), Failure> {
    let printed = serde_json::to_value(answer);
    value(&printed.map_err(|error| Failure::Failed(error.to_string()))?)
}

/// Prints the rules and the unseen incidents; what is not known goes to standard error.
pub(super) fn table(answer: &Answer) -> Result<(), Failure> {
    let score = &answer.score;
    let all = std::iter::once(&score.all).filter(|_| score.rules.len() > 1);
    let lines: Vec<Vec<Value>> = score.rules.iter().chain(all).map(line).collect();
    rows(
        Output::Table,
        &[
            "rule",
            "conditions",
            "robots",
            "open",
            "followed",
            "not",
            "serviced",
            "undecided",
            "precision",
            "lead_25",
            "lead_50",
            "lead_75",
            "seen",
            "recall",
            "alerts",
            "per_month",
        ],
        &lines,
    )?;
    write(&format!(
        "\n{} robots, {} to {}: {} faults and unplanned services, of which {} were announced, {} were not, and {} came too early to say\n",
        answer.robots,
        text(&time(answer.from)),
        text(&time(answer.to)),
        score.incidents,
        score.all.incidents_seen,
        score.unseen.len(),
        score.too_early
    ))?;
    if !score.unseen.is_empty() {
        write("\n")?;
        let unseen = |of: &Incident| vec![json!(of.robot_id), time(of.at), json!(of.what)];
        let named = score.unseen.iter().take(NAMED).map(unseen);
        rows(
            Output::Table,
            &["not_announced", "at", "what"],
            &named.collect::<Vec<_>>(),
        )?;
        if score.unseen.len() > NAMED {
            let more = score.unseen.len() - NAMED;
            write(&format!("and {more} more (--output json has all)\n"))?;
        }
    }
    for unknown in &answer.unknown {
        eprintln!("not known: {}", unknown.text);
    }
    let speed = &answer.speed;
    let cpu = speed
        .cpu_seconds
        .map_or_else(String::new, |seconds| format!(", {seconds:.2} CPU s"));
    eprintln!(
        "{} rows in {:.2} s: {} rows/s{cpu}",
        speed.rows, speed.seconds, speed.rows_per_s
    );
    Ok(())
}

fn line(score: &RuleScore) -> Vec<Value> {
    let lead = |of: fn(&theatre_backtest::scoring::Quartiles) -> f64| {
        let seconds = score.lead_time_s.as_ref().map(of);
        seconds.map_or(Value::Null, |seconds| json!(span(seconds)))
    };
    vec![
        json!(score.rule_id),
        json!(score.conditions),
        json!(score.robots),
        percent(score.open_share),
        json!(score.followed),
        json!(score.not_followed),
        json!(score.serviced),
        json!(score.undecided),
        percent(score.precision),
        lead(|lead| lead.p25),
        lead(|lead| lead.median),
        lead(|lead| lead.p75),
        json!(score.incidents_seen),
        percent(score.recall),
        json!(score.alerts),
        score
            .alerts_per_robot_month
            .map_or(Value::Null, |alerts| json!(format!("{alerts:.2}"))),
    ]
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn percent(share: Option<f64>) -> Value {
    share.map_or(Value::Null, |share| json!(format!("{:.1}%", share * 100.0)))
}

/// A duration as people read it.
fn span(seconds: f64) -> String {
    for (unit, name) in [(86_400.0, "d"), (3_600.0, "h"), (60.0, "m")] {
        if seconds >= unit {
            return format!("{:.1}{name}", seconds / unit);
        }
    }
    format!("{seconds:.1}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_in_the_unit_that_people_would_take() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (59.94, "59.9s"),
            (90.0, "1.5m"),
            (5_400.0, "1.5h"),
            (129_600.0, "1.5d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(percent(Some(0.125)), json!("12.5%"));
        assert_eq!(percent(None), Value::Null);
    }
}
