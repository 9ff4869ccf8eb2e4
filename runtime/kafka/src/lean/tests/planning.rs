//! What is understood of the configuration, and what is refused by name.

use theatre_actors::ports::Error;
use theatre_config::log::{LogConfig, LogSecurity};
use theatre_system::blocking::IoRuntime;

use super::super::super::identity::Identity;
use super::super::settings::{Settings, address};

fn settings(properties: &[(&str, &str)]) -> Result<Settings, Error> {
    let config = LogConfig {
        properties: properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..LogConfig::default()
    };
    let identity = Identity::of(&config, &IoRuntime::start().unwrap()).unwrap();
    Settings::of("a:1,b", &config, &identity)
}

#[test]
fn properties_are_followed_passed_over_or_refused_by_name() {
    let followed = settings(&[
        ("fetch.wait.max.ms", "250"),
        ("max.partition.fetch.bytes", "4096"),
        ("linger.ms", "5"),
        ("queued.max.messages.kbytes", "100"),
        ("topic.metadata.refresh.interval.ms", "-1"),
    ])
    .unwrap();
    assert_eq!(followed.fetch_wait.as_millis(), 250);
    assert_eq!(followed.piece_bytes, Some(4096));
    for (name, value) in [
        ("client.rack", "a"),
        ("sasl.kerberos.service.name", "kafka"),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("no.such.property", "1"),
    ] {
        let error = settings(&[(name, value)]).unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains("log.fetcher = \"librdkafka\""),
            "{error}"
        );
    }
    let error = settings(&[("socket.timeout.ms", "soon")]).unwrap_err();
    assert!(error.to_string().contains("socket.timeout.ms"));
}

#[test]
fn hosts_have_ports_or_the_usual_one() {
    let parts = |text| address(text).map(|address| (address.host, address.port));
    assert_eq!(parts("broker:9").unwrap(), ("broker".to_owned(), 9));
    assert_eq!(parts("broker").unwrap(), ("broker".to_owned(), 9092));
    assert_eq!(parts("[::1]:9").unwrap(), ("::1".to_owned(), 9));
    assert_eq!(parts("[::1]").unwrap(), ("::1".to_owned(), 9092));
    for text in ["", ":9", "broker:port", "broker:99999"] {
        assert!(parts(text).is_err(), "{text}");
    }
}

#[test]
fn an_encrypted_key_opens_with_its_password_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path.into())
    };
    // By `openssl genpkey -algorithm EC -aes256` and `openssl req -x509`.
    let (certificate, key) = (include_str!("client.pem"), include_str!("client.key"));
    let config = |password: &str| LogConfig {
        security: LogSecurity::Tls,
        ca_file: file("ca.pem", certificate),
        certificate_file: file("client.pem", certificate),
        key_file: file("client.key", key),
        key_password_file: file("password", password),
        ..LogConfig::default()
    };
    let open = |config: &LogConfig| {
        let identity = Identity::of(config, &IoRuntime::start().unwrap()).unwrap();
        Settings::of("a:1", config, &identity).map(drop)
    };
    open(&config("open sesame\n")).unwrap();
    let wrong = open(&config("close sesame")).unwrap_err().to_string();
    assert!(wrong.contains("log.key_password_file"), "{wrong}");
    let none = LogConfig {
        key_password_file: None,
        ..config("")
    };
    let none = open(&none).unwrap_err().to_string();
    assert!(none.contains("log.key_password_file"), "{none}");
}
