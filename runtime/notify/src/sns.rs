//! AWS SNS: `Publish`, a signed POST. Its own client crate takes minutes to build, for this one
//! call.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use theatre_actors::ports::{Error, Result};
use theatre_actors::time::Clock;
use theatre_config::notify::NotifyConfig;
use theatre_pipeline::outbox::Receipt;
use theatre_system::blocking::IoRuntime;

use super::http::{Answer, Client, unavailable};
use super::message::Notification;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// Longest subject, of characters in ASCII.
const SUBJECT_MAX: usize = 100;

/// An SNS topic.
pub(super) struct Sns {
    client: Client,
    topic: String,
    region: String,
    section: NotifyConfig,
    clock: Arc<dyn Clock>,
    identity: OnceLock<Identity>,
}

/// Credentials, and where they are asked for.
struct Identity {
    credentials: SharedCredentialsProvider,
    io: IoRuntime,
}

impl Sns {
    pub(super) fn new(section: &NotifyConfig, clock: Arc<dyn Clock>) -> Self {
        let region = section.region().unwrap_or_default().to_owned();
        let partition = section
            .topic
            .as_deref()
            .and_then(|arn| arn.split(':').nth(1));
        let domain = match partition {
            Some("aws-cn") => "amazonaws.com.cn",
            _ => "amazonaws.com",
        };
        let url = section.url.as_deref().map_or_else(
            || format!("https://sns.{region}.{domain}/"),
            |url| format!("{}/", url.trim_end_matches('/')),
        );
        Self {
            client: Client::at(url, section),
            topic: section.topic.clone().unwrap_or_default(),
            region,
            section: section.clone(),
            clock,
            identity: OnceLock::new(),
        }
    }

    pub(super) fn send(&self, notification: &Notification<'_>) -> Result<Receipt> {
        let body = form(&fields(&self.topic, notification)?);
        let identity = self.identity()?;
        let credentials = identity
            .io
            .block_on(identity.credentials.provide_credentials())
            .map_err(|error| unavailable(format!("there are no AWS credentials: {error}")))?;
        let signed = self.sign(credentials, &body)?;
        let mut headers = vec![("content-type", FORM)];
        headers.extend(
            signed
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        receipt(&self.client.post(&headers, &body)?)
    }

    fn identity(&self) -> Result<&Identity> {
        if let Some(identity) = self.identity.get() {
            return Ok(identity);
        }
        let io = IoRuntime::start()?;
        let loader = aws_config::defaults(aws_config::BehaviorVersion::latest());
        let file = self.section.credentials_file.as_deref();
        let section = format!("[notify]] \"{}\",", self.section.name);
        let loader = theatre_aws::identified(loader, &section, None, file)?;
        let found = io.block_on(loader.load());
        let credentials = found.credentials_provider().ok_or_else(|| {
            Error::Refused("AWS SNS: no source of AWS credentials is configured".to_owned())
        })?;
        Ok(self.identity.get_or_init(|| Identity { credentials, io }))
    }

    /// The headers that sign a request.
    fn sign(&self, credentials: Credentials, body: &str) -> Result<Vec<(String, String)>> {
        let failed = |why: String| Error::Refused(format!("AWS SNS: it cannot be signed: {why}"));
        let identity = credentials.into();
        let time = UNIX_EPOCH + Duration::from_micros(self.clock.now().0.unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sns")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| failed(error.to_string()))?
            .into();
        let request = SignableRequest::new(
            "POST",
            self.client.url(),
            [("content-type", FORM)].into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let request = request.map_err(|error| failed(error.to_string()))?;
        let (signed, _) = sign(request, &params)
            .map_err(|error| failed(error.to_string()))?
            .into_parts();
        let header = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Ok(signed.headers().map(header).collect())
    }
}

/// What an answer says of the message. SNS answers 400 where it is asked too often, and 403 where
/// the identity lacks a right or its token is old: neither is the message's fault.
fn receipt(answer: &Answer) -> Result<Receipt> {
    let passes = answer.status == 403 || answer.status == 400 && answer.body.contains("Throttl");
    if passes {
        return Err(unavailable(answer.words()));
    }
    answer.receipt()
}

/// The fields of the call.
fn fields(topic: &str, notification: &Notification<'_>) -> Result<Vec<(String, String)>> {
    let alert = notification.alert;
    let priority = match alert.priority {
        theatre_schemas::records::Priority::High => "high",
        theatre_schemas::records::Priority::Medium => "medium",
        theatre_schemas::records::Priority::Low => "low",
    };
    let mut fields = vec![
        ("Action".to_owned(), "Publish".to_owned()),
        ("Version".to_owned(), "2010-03-31".to_owned()),
        ("TopicArn".to_owned(), topic.to_owned()),
        ("Subject".to_owned(), subject(notification)),
        ("Message".to_owned(), notification.json()?),
    ];
    if topic.ends_with(".fifo") {
        fields.push(("MessageGroupId".to_owned(), alert.condition_id.clone()));
        fields.push(("MessageDeduplicationId".to_owned(), alert.alert_id.clone()));
    }
    let attributes = [
        ("alert_id", alert.alert_id.as_str()),
        ("transition", alert.transition.as_str()),
        ("priority", priority),
        ("rule_id", &alert.rule_id),
        ("robot_id", &alert.robot_id),
        (
            "facility_id",
            notification.facility_id.as_deref().unwrap_or_default(),
        ),
    ];
    // An attribute without a value is refused.
    let given = attributes
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    for (number, (name, value)) in (1..).zip(given) {
        let field = |part: &str| format!("MessageAttributes.entry.{number}.{part}");
        fields.push((field("Name"), name.to_owned()));
        fields.push((field("Value.DataType"), "String".to_owned()));
        fields.push((field("Value.StringValue"), value.to_owned()));
    }
    Ok(fields)
}

/// What an e-mail of the topic has for a subject: one line of ASCII.
fn subject(notification: &Notification<'_>) -> String {
    let alert = notification.alert;
    let whole = format!(
        "{} {} on {}",
        alert.rule_id,
        alert.transition.as_str(),
        alert.robot_id
    );
    let shown = |sign: char| if sign.is_ascii_graphic() { sign } else { ' ' };
    let line: String = whole.chars().take(SUBJECT_MAX).map(shown).collect();
    line.trim().to_owned()
}

/// Fields as a form: everything but letters, digits and `-._~` by its bytes.
fn form(fields: &[(String, String)]) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pair = |(name, value): &(String, String)| format!("{}={}", escaped(name), escaped(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use theatre_schemas::records::{Alert, Transition};

    use super::*;

    #[test]
    fn a_call_names_topic_message_and_attributes_and_groups_on_a_fifo_topic_only() {
        let alert = Alert {
            alert_id: "a1".to_owned(),
            condition_id: "c1".to_owned(),
            robot_id: "r\u{e9} 1".to_owned(),
            rule_id: "hot".to_owned(),
            transition: Transition::Raised,
            ..Alert::default()
        };
        let notification = Notification {
            alert: &alert,
            facility_id: None,
            now: None,
            is_test: false,
        };
        let plain = fields("arn:aws:sns:r:1:t", &notification).unwrap();
        let names: Vec<&str> = plain.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.contains(&"MessageGroupId"));
        assert_eq!(plain[3].1, "hot raised on r  1");
        assert!(plain[4].1.contains("\"alert_id\":\"a1\""));
        assert!(!plain.iter().any(|(_, value)| value.is_empty()));
        let fifo = fields("arn:aws:sns:r:1:t.fifo", &notification).unwrap();
        assert!(
            fifo.contains(&("MessageGroupId".to_owned(), "c1".to_owned()))
                && fifo.contains(&("MessageDeduplicationId".to_owned(), "a1".to_owned()))
        );
        let body = form(&[("a.b".to_owned(), "\u{e9} &=+".to_owned())]);
        assert_eq!(body, "a.b=%C3%A9%20%26%3D%2B");
    }

    #[test]
    fn what_is_not_the_fault_of_the_message_is_tried_again() {
        let answer = |status, body: &str| Answer {
            status,
            body: body.to_owned(),
        };
        assert_eq!(receipt(&answer(200, "")), Ok(Receipt::Taken));
        assert!(receipt(&answer(403, "ExpiredToken")).is_err());
        assert!(receipt(&answer(400, "<Code>Throttling</Code>")).is_err());
        let not_now = Receipt::NotNow("it answered 500".to_owned());
        assert_eq!(receipt(&answer(500, "")), Ok(not_now));
        assert!(matches!(
            receipt(&answer(400, "<Code>InvalidParameter</Code>")),
            Ok(Receipt::Refused(_))
        ));
    }
}
