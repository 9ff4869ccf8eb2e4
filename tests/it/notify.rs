//! Recipients of what happens to conditions: the real program, and receivers that are slow, refuse,
//! are ended and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{AccessStore, AuditEntry, CheckpointStore, OutputFilter};
use theatre_dev::process::wait_until;
use theatre_embedded::access::EmbeddedAccess;
use theatre_embedded::data_dir::DataDir;
use theatre_embedded::store::EmbeddedStore;
use theatre_schemas::records::{Alert, Transition};
use theatre_tests::receiver::{Receiver, Request};
use theatre_tests::{run, spawn, theatre};

mod again;

const KEY: [u8; 32] = [9; 32];
/// A rule whose conditions come and go all the time.
const RULES: &str = "
[[rule]]
id = \"current\"
priority = \"medium\"
dataset = \"robot_telemetry\"
[rule.kind.threshold]
signal = \"joints[2].current\"
raise_above = 2.0
clear_below = 1.95
escalate = [{ at = 2.05, priority = \"high\" }]
";

/// A data directory with a fleet's records, of which some raise alerts, a secret, and a
/// configuration with these sections.
struct Case {
    data: tempfile::TempDir,
    config: PathBuf,
}

impl Case {
    fn new(sections: &str) -> Result<Self> {
        let data = tempfile::tempdir()?;
        run(
            data.path(),
            &["simulate", "--robots", "6", "--ticks", "600"],
        )?;
        let secret = format!("whsec_{}\n", STANDARD.encode(KEY));
        std::fs::write(data.path().join("secret"), secret)?;
        std::fs::write(data.path().join("rules.toml"), RULES)?;
        let config = data.path().join("theatre.toml");
        let case = Self { data, config };
        case.configure(sections)?;
        Ok(case)
    }

    /// Another configuration.
    fn configure(&self, sections: &str) -> Result<()> {
        let text = format!("rules = \"rules.toml\"\n{sections}");
        Ok(std::fs::write(&self.config, text)?)
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Result<Vec<&'a str>> {
        let config = self.config.to_str().context("a path that is no text")?;
        Ok([&["--config", config], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = run(self.data.path(), &self.arguments(arguments)?)?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["--output", "json"], arguments].concat();
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }

    /// What a command says that has to end with this code.
    fn refused(&self, arguments: &[&str], code: i32) -> Result<String> {
        let output = theatre(self.data.path(), &self.arguments(arguments)?)?.output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {said}");
        Ok(said)
    }

    /// The audit trail, newest first.
    fn trail(&self) -> Result<Vec<AuditEntry>> {
        let access = EmbeddedAccess::open(&DataDir::new(self.data.path()).access())?;
        Ok(access.audit_trail(99)?)
    }

    /// The transitions that the store has, of those that are sent by default.
    fn alerts(&self) -> Result<Vec<Alert>> {
        let store = EmbeddedStore::open_read_only(&DataDir::new(self.data.path()).store())?;
        let found = store.find_outputs(&OutputFilter {
            kind: Some(OutputKind::Alert),
            ..OutputFilter::default()
        })?;
        let alerts: Vec<Alert> = found
            .iter()
            .map(|stored| Ok(Alert::decode(&stored.output.payload)?))
            .collect::<Result<_>>()?;
        ensure!(alerts.len() > 50, "{} alerts show nothing", alerts.len());
        Ok(alerts)
    }
}

fn webhook(name: &str, address: impl std::fmt::Display, more: &str) -> String {
    format!(
        "[[notify]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"http://{address}/hook\"\nsecret_file = \"secret\"\n{more}\n"
    )
}

/// The transition of a request, whose signature is right.
fn verified(request: &Request) -> Result<Alert> {
    let (id, timestamp) = (
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY)?;
    mac.update(format!("{id}.{timestamp}.{}", request.body).as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    ensure!(
        request.header("webhook-signature") == signature,
        "{request:?}"
    );
    let message: Value = serde_json::from_str(&request.body)?;
    let alert: Alert = serde_json::from_value(message["data"].clone())?;
    ensure!(alert.alert_id == id, "{message}");
    Ok(alert)
}

/// All that a store has came, nothing else did, each condition's in order, apart from what came
/// again.
fn is_whole(wanted: &[Alert], requests: &[Request]) -> Result<()> {
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    for request in requests {
        let alert = verified(request)?;
        if !seen.insert(alert.alert_id) {
            continue;
        }
        let before = last.insert(alert.condition_id.clone(), alert.revision);
        ensure!(
            before.is_none_or(|before| before < alert.revision),
            "{} {} came after {before:?}",
            alert.condition_id,
            alert.revision
        );
    }
    let wanted: BTreeSet<String> = wanted.iter().map(|alert| alert.alert_id.clone()).collect();
    ensure!(seen == wanted, "{} of {} came", seen.len(), wanted.len());
    Ok(())
}

#[test]
fn each_transition_comes_once_signed_and_in_order_and_a_recipient_that_is_away_holds_up_no_other()
-> Result<()> {
    let alive = Receiver::answering(204)?;
    let away = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let sections = [
        webhook("away", away, "give_up_after = \"6s\""),
        webhook("alive", alive.address(), ""),
    ];
    let case = Case::new(&sections.concat())?;
    // It ends, since what cannot be delivered is given up.
    case.run(&["run", "--until-drained"])?;
    let alerts = case.alerts()?;
    is_whole(&alerts, &alive.requests())?;
    ensure!(
        alive.requests().len() == alerts.len(),
        "without a fault each comes once"
    );
    let undelivered = case.json(&["notify", "list", "--limit", "0"])?;
    let undelivered = undelivered.as_array().context("no list")?;
    ensure!(
        undelivered.len() == alerts.len()
            && undelivered.iter().all(|line| {
                line["recipient"] == "away"
                    && line["reason"] == "it could not be delivered within 6 s"
            }),
        "{undelivered:?}"
    );
    case.run(&["reconcile"])?;

    let said = case.refused(&["notify", "resend", "--by", "Dana"], 1)?;
    ensure!(said.contains("still not delivered"), "{said}");
    let back = Receiver::start(&away.to_string(), Duration::ZERO, |_| 200)?;
    let sent = case.json(&["notify", "resend", "--recipient", "away", "--by", "Dana"])?;
    ensure!(
        sent.as_array()
            .is_some_and(|sent| sent.len() == alerts.len())
    );
    is_whole(&alerts, &back.requests())?;
    ensure!(case.json(&["notify", "list"])? == Value::Array(Vec::new()));
    ensure!(
        alive.requests().len() == alerts.len(),
        "it was not asked again"
    );
    Ok(())
}

#[test]
fn nothing_is_lost_and_order_is_kept_though_program_and_receiver_are_killed() -> Result<()> {
    let pause = Duration::from_millis(40);
    let start = |address: &str| Receiver::start(address, pause, |_| 200);
    let (mut requests, mut receiver) = (Vec::new(), start("127.0.0.1:0")?);
    let address = receiver.address().to_string();
    let case = Case::new(&webhook("pager", &address, "give_up_after = \"10m\""))?;
    for round in 1..=4 {
        let mut program = spawn(case.data.path(), &case.arguments(&["run"])?)?;
        let had = receiver.requests().len();
        let came = wait_until(Duration::from_secs(60), || {
            receiver.requests().len() > had + 1
        });
        if round % 2 == 1 {
            // The receiver is away for a while, and there again before the program is killed.
            requests.extend(receiver.end());
            std::thread::sleep(Duration::from_millis(700));
            receiver = start(&address)?;
        }
        program.kill()?;
        program.wait()?;
        ensure!(came, "nothing came in round {round}");
    }
    requests.extend(receiver.end());
    // Every third attempt fails.
    let count = AtomicUsize::new(0);
    let shaky = Receiver::start(&address, Duration::ZERO, move |_| {
        match count.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => 503,
            _ => 200,
        }
    })?;
    case.run(&["run", "--until-drained"])?;
    requests.extend(shaky.end());
    is_whole(&case.alerts()?, &requests)?;
    ensure!(case.json(&["notify", "list"])? == Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn what_a_recipient_refuses_is_set_aside_and_what_lies_behind_goes_on() -> Result<()> {
    let receiver = Receiver::start("127.0.0.1:0", Duration::ZERO, |request| {
        if request.body.contains("\"transition\":\"cleared\"") {
            422
        } else {
            200
        }
    })?;
    let case = Case::new(&webhook("picky", receiver.address(), ""))?;
    case.run(&["run", "--until-drained"])?;
    let alerts = case.alerts()?;
    is_whole(&alerts, &receiver.requests())?;
    let list = case.json(&["notify", "list", "--limit", "0"])?;
    let list = list.as_array().context("no list")?;
    ensure!(
        !list.is_empty()
            && list.iter().all(|line| {
                line["transition"] == "cleared" && line["reason"] == "it answered 422: ok"
            }),
        "{list:?}"
    );
    let count = case.json(&["notify", "discard", "picky", "--dry-run"])?;
    ensure!(count["discarded"] == list.len(), "{count}");
    case.run(&["notify", "discard", "picky", "--by", "Dana"])?;
    let trail = case.trail()?;
    let discarded = (trail.iter()).find(|entry| entry.action == "notifications.discarded");
    let said = discarded.and_then(|entry| entry.after.clone());
    let count = format!("\"discarded\":{}", list.len());
    ensure!(
        said.is_some_and(|said| said.contains("Dana") && said.contains(&count)),
        "{trail:?}"
    );
    ensure!(case.json(&["notify", "list"])? == Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn what_does_not_hold_any_more_is_not_sent_again_unless_by_force_and_says_so_then() -> Result<()> {
    let receiver = Receiver::start("127.0.0.1:0", Duration::ZERO, |request| {
        if request.body.contains("\"transition\":\"raised\"") {
            422
        } else {
            200
        }
    })?;
    let address = receiver.address().to_string();
    let case = Case::new(&webhook("picky", &address, ""))?;
    case.run(&["run", "--until-drained"])?;
    drop(receiver.end());
    let alerts = case.alerts()?;
    let is_overtaken = |raised: &Alert| {
        let of_it = alerts.iter();
        let of_it = of_it.filter(|alert| alert.condition_id == raised.condition_id);
        of_it
            .max_by_key(|alert| alert.revision)
            .is_some_and(|newest| {
                newest.transition == Transition::Cleared || newest.priority != raised.priority
            })
    };
    let raised = alerts.iter().filter(|alert| alert.revision == 0);
    let (overtaken, open): (Vec<&Alert>, Vec<&Alert>) = raised.partition(|it| is_overtaken(it));
    let ids = |of: &[&Alert]| -> BTreeSet<String> {
        of.iter().map(|alert| alert.alert_id.clone()).collect()
    };
    ensure!(overtaken.len() > 10, "{} show nothing", overtaken.len());

    let back = Receiver::start(&address, Duration::ZERO, |_| 200)?;
    let looked = case.json(&["notify", "resend", "--dry-run"])?;
    let looked = looked.as_array().context("no list")?;
    let left = looked.iter().filter(|line| {
        let reason = line["reason"].as_str().unwrap_or_default();
        line["would_send"] == false && reason.contains("does not hold any more")
    });
    ensure!(
        left.count() == overtaken.len() && looked.len() == overtaken.len() + open.len(),
        "{looked:?}"
    );
    ensure!(back.requests().is_empty(), "a look sends nothing");
    // What is left out does not count, and is no failure.
    let limit = open.len().to_string();
    case.run(&["notify", "resend", "--limit", &limit, "--by", "Dana"])?;
    let came = |requests: &[Request]| -> Result<BTreeSet<String>> {
        let alerts = requests.iter().map(verified);
        alerts.map(|alert| Ok(alert?.alert_id)).collect()
    };
    ensure!(came(&back.requests())? == ids(&open));
    let over = case.json(&["notify", "discard", "picky", "--outdated", "--dry-run"])?;
    ensure!(over["discarded"] == overtaken.len(), "{over}");

    let before = back.requests().len();
    case.json(&["notify", "resend", "--force", "--by", "Dana"])?;
    let trail = case.trail()?;
    let actions = trail.iter().map(|entry| entry.action.as_str());
    let actions: Vec<&str> = actions
        .filter(|action| action.starts_with("notifications."))
        .collect();
    let both = ["notifications.resent", "notifications.resend"];
    ensure!(
        actions == [both, both].concat(),
        "a look is not noted: {actions:?}"
    );
    let forced = back.requests().split_off(before);
    ensure!(came(&forced)? == ids(&overtaken));
    for request in &forced {
        let message: Value = serde_json::from_str(&request.body)?;
        ensure!(
            message["data"]["now"]["transition"].is_string(),
            "{message}"
        );
    }
    ensure!(case.json(&["notify", "list"])? == Value::Array(Vec::new()));
    Ok(())
}

#[test]
fn a_test_message_says_that_it_is_one_and_a_redirect_is_not_followed() -> Result<()> {
    let good = Receiver::answering(200)?;
    let elsewhere = Receiver::answering(302)?;
    let sections = [
        webhook("good", good.address(), "rules = [\"another\"]"),
        webhook("moved", elsewhere.address(), ""),
    ];
    let case = Case::new(&sections.concat())?;
    let sent = case.json(&["notify", "test", "good"])?;
    ensure!(sent["delivered"] == true, "{sent}");
    let requests = good.requests();
    let alert = verified(requests.first().context("nothing came")?)?;
    ensure!(
        requests[0].body.contains("theatre.alert.test") && sent["id"] == alert.alert_id.as_str(),
        "{requests:?}"
    );
    let said = case.refused(&["notify", "test", "moved"], 3)?;
    ensure!(said.contains("302") && said.contains("redirect"), "{said}");
    let said = case.refused(&["notify", "test", "goood"], 2)?;
    ensure!(said.contains("there are: good, moved"), "{said}");
    Ok(())
}

#[test]
fn a_recipient_that_cannot_be_used_stops_the_start_and_is_named_by_the_check() -> Result<()> {
    let case = Case::new(&webhook("pager", "h", ""))?;
    let secret = case.data.path().join("secret");
    std::fs::write(&secret, "hush")?;
    for command in [&["config", "check"][..], &["run", "--until-drained"]] {
        let said = case.refused(command, 2)?;
        ensure!(
            said.contains("\"pager\", secret_file") && !said.contains("hush"),
            "{said}"
        );
    }
    // A command that sends nothing needs no secret.
    std::fs::remove_file(&secret)?;
    case.configure("")?;
    case.run(&["run", "--until-drained"])?;
    case.configure(&webhook("pager", "h", ""))?;
    case.run(&["alerts", "list"])?;
    Ok(())
}

/// The form of a request to SNS: signed with version 4 for the region and the service, and a form
/// that names topic and message.
fn is_signed_for_sns(request: &Request) -> Result<BTreeMap<String, String>> {
    let authorization = request.header("authorization");
    let date = request.header("x-amz-date");
    let scope = format!("{}/eu-central-1/sns/aws4_request", &date[..8]);
    let begin = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders=");
    let rest = authorization
        .strip_prefix(&begin)
        .context("another begin")?;
    let (headers, signature) = rest.split_once(", Signature=").context("no signature")?;
    ensure!(headers.contains("host") && headers.contains("x-amz-date"));
    ensure!(signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let text = |escaped: &str| -> Result<String> {
        let (mut bytes, mut rest) = (Vec::new(), escaped.as_bytes());
        while let Some((first, others)) = rest.split_first() {
            rest = others;
            if *first == b'%' {
                let (hex, others) = others.split_at(2);
                bytes.push(u8::from_str_radix(std::str::from_utf8(hex)?, 16)?);
                rest = others;
            } else {
                bytes.push(*first);
            }
        }
        Ok(String::from_utf8(bytes)?)
    };
    let pairs = request.body.split('&');
    let pairs = pairs.map(|pair| pair.split_once('=').context("no pair"));
    pairs
        .map(|pair| pair.and_then(|(name, value)| Ok((text(name)?, text(value)?))))
        .collect()
}

#[test]
fn a_topic_of_sns_gets_each_transition_signed_and_grouped_by_condition() -> Result<()> {
    let sns = Receiver::start("127.0.0.1:0", Duration::ZERO, |_| 200)?;
    let section = format!(
        "[[notify]]\nname = \"sns\"\nkind = \"sns\"\nurl = \"http://{}\"\ncredentials_file = \"credentials\"\ntopic = \"arn:aws:sns:eu-central-1:123456789012:alerts.fifo\"\n",
        sns.address()
    );
    let case = Case::new(&section)?;
    let credentials =
        "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI\n";
    std::fs::write(case.data.path().join("credentials"), credentials)?;
    case.run(&["run", "--until-drained"])?;
    let alerts = case.alerts()?;
    let mut came = BTreeSet::new();
    for request in sns.requests() {
        let fields = is_signed_for_sns(&request)?;
        ensure!(fields["Action"] == "Publish" && fields["TopicArn"].ends_with(":alerts.fifo"));
        let message: Value = serde_json::from_str(&fields["Message"])?;
        ensure!(
            message["data"]["alert_id"] == fields["MessageDeduplicationId"].as_str()
                && message["data"]["condition_id"] == fields["MessageGroupId"].as_str(),
            "{fields:?}"
        );
        came.insert(fields["MessageDeduplicationId"].clone());
    }
    let wanted: BTreeSet<String> = alerts.into_iter().map(|alert| alert.alert_id).collect();
    ensure!(came == wanted, "{} of {} came", came.len(), wanted.len());
    Ok(())
}
