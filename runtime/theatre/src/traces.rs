//! Traces of this process: whether there are any, and in whose name they are handed over.

use theatre_actors::ports::Result;
use theatre_config::Config;
use theatre_telemetry::traces::Traces;
#[cfg(feature = "traces")]
use theatre_telemetry::traces::{Collector, Exporter, LogNames};

/// Traces, and the exporter behind them; when it is dropped the last ones are handed over.
#[derive(Default)]
pub(crate) struct Tracing {
    pub(crate) traces: Traces,
    #[cfg(feature = "traces")]
    _exporter: Option<Exporter>,
}

impl Tracing {
    /// As configured: off without an endpoint.
    ///
    /// # Errors
    /// When the exporter cannot be set up; says why.
    #[cfg(feature = "traces")]
    pub(crate) fn start(config: &Config) -> Result<Self> {
        let Some(endpoint) = &config.traces.endpoint else {
            return Ok(Self::default());
        };
        let log = match config.log.url {
            Some(_) => LogNames::KAFKA,
            None => LogNames::EMBEDDED,
        };
        let started = theatre_telemetry::traces::start(Collector {
            endpoint,
            ca_file: config.traces.ca_file.as_deref(),
            per_second: config.traces.per_second,
            resource: resource(config, |name| std::env::var(name).ok()),
            log,
        });
        let (traces, exporter) = started.map_err(|why| {
            theatre_actors::ports::Error::Refused(format!("[traces] endpoint: {why}"))
        })?;
        Ok(Self {
            traces,
            _exporter: Some(exporter),
        })
    }

    /// Off: this build has no exporter, and a configuration that names an endpoint is refused.
    #[cfg(not(feature = "traces"))]
    pub(crate) fn start(_: &Config) -> Result<Self> {
        Ok(Self::default())
    }
}

/// The names of this process. `OTEL_RESOURCE_ATTRIBUTES` adds to them or takes the place of some,
/// and `OTEL_SERVICE_NAME` comes before all, as OpenTelemetry has it: what runs containers sets
/// them.
#[cfg(feature = "traces")]
fn resource(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let mut resource = std::collections::BTreeMap::from([
        ("service.name".to_owned(), "theatre".to_owned()),
        (
            "service.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
    ]);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty() {
        resource.insert("host.name".to_owned(), host.to_owned());
    }
    // The name of the member, where it has one that it keeps, or one of this start.
    let instance = match &config.log.group_instance_id {
        Some(id) => id.clone(),
        None => format!("{:032x}", rand::random::<u128>()),
    };
    resource.insert("service.instance.id".to_owned(), instance);
    let given = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    match parsed(&given) {
        Some(given) => resource.extend(given),
        // As a whole, by the specification.
        None => tracing::warn!("OTEL_RESOURCE_ATTRIBUTES is no list of key=value: it is ignored"),
    }
    if let Some(name) = variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        resource.insert("service.name".to_owned(), name);
    }
    resource.into_iter().collect()
}

/// Pairs of `key=value` with commas between; `None` if any of them is none.
#[cfg(feature = "traces")]
fn parsed(list: &str) -> Option<Vec<(String, String)>> {
    let pairs = list
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = unescaped(key.trim())?;
            (!key.is_empty()).then_some((key, unescaped(value.trim())?))
        })
        .collect()
}

/// A text in which some bytes are written as `%` and two hexadecimal digits.
#[cfg(feature = "traces")]
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(all(test, feature = "traces"))]
mod tests {
    use super::*;

    fn named(variables: &[(&str, &str)], key: &str) -> Option<String> {
        let config: Config = toml::from_str("[log]\ngroup_instance_id = \"pod-0\"")
            .expect("the text is a configuration");
        let variable = |name: &str| {
            let mut known = variables.iter();
            known
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let resource = resource(&config, variable);
        resource
            .into_iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    #[test]
    fn a_process_has_names_of_its_own_and_those_that_variables_give() {
        let attributes = "OTEL_RESOURCE_ATTRIBUTES";
        let table = [
            (&[][..], "service.name", Some("theatre")),
            (&[], "service.version", Some(env!("CARGO_PKG_VERSION"))),
            (&[], "service.instance.id", Some("pod-0")),
            (&[("OTEL_SERVICE_NAME", "or")], "service.name", Some("or")),
            (&[(attributes, "a=1, b = x%2Cy%20z")], "b", Some("x,y z")),
            (
                &[(attributes, "service.name=a"), ("OTEL_SERVICE_NAME", "b")],
                "service.name",
                Some("b"),
            ),
            (&[(attributes, "a=1,b")], "a", None),
            (&[(attributes, "a=%4")], "a", None),
            (&[(attributes, "a=%zz")], "a", None),
            (&[(attributes, "=1")], "", None),
        ];
        for (variables, key, wanted) in table {
            let found = named(variables, key);
            assert_eq!(found.as_deref(), wanted, "{variables:?}");
        }
    }
}
