//! The receivers of outputs that a configuration can name beside log, lake and the store's tables:
//! one row for each kind. What a start refuses, the consumers that every command counts, and those
//! that the pipeline delivers to are made of these rows.

use std::path::Path;
use std::sync::Arc;

use theatre_actors::time::Clock;
use theatre_config::Config;
use theatre_config::check::Faults;
use theatre_pipeline::outbox::OutputSink;

use crate::adapters::left_out;

/// What a sink may be made of.
pub struct Setting<'a> {
    /// The whole configuration.
    pub config: &'a Config,
    /// The data directory of the process. It is there only once something was written, and is of
    /// this process alone: what the next owner of a partition needs must not lie in it.
    pub data_dir: &'a Path,
    /// The wall clock.
    pub clock: &'a Arc<dyn Clock>,
}

/// A kind of receiver.
pub struct SinkKind {
    /// Its table, as it stands in the file.
    table: &'static str,
    /// The feature of the program that its adapter is behind.
    feature: &'static str,
    /// Whether a configuration has one.
    is_named: fn(&Config) -> bool,
    /// None where the program was built without the feature.
    adapter: Option<Adapter>,
}

/// What the crate of a kind provides.
pub struct Adapter {
    /// Notes what keeps it from being used, without a request to it.
    check: fn(&Config, &mut Faults),
    /// Makes those that are configured, and opens nothing: commands that deliver nothing make them,
    /// too.
    make: fn(&Setting<'_>) -> Vec<Arc<dyn OutputSink>>,
}

/// All kinds.
const KINDS: &[SinkKind] = &[NOTIFY];

/// Webhooks, Alertmanager and SNS.
const NOTIFY: SinkKind = SinkKind {
    table: "[[notify]]",
    feature: "notify",
    is_named: |config| !config.notify.is_empty(),
    #[cfg(feature = "notify")]
    adapter: Some(Adapter {
        check: |config, faults| {
            for recipient in &config.notify {
                faults.take(theatre_notify::check(recipient));
            }
        },
        make: |setting| {
            theatre_notify::recipients(&setting.config.notify, setting.clock)
                .into_iter()
                .map(|recipient| recipient as Arc<dyn OutputSink>)
                .collect()
        },
    }),
    #[cfg(not(feature = "notify"))]
    adapter: None,
};

/// Notes what keeps the configured sinks from being used.
pub fn check(config: &Config, faults: &mut Faults) {
    for kind in KINDS.iter().filter(|kind| (kind.is_named)(config)) {
        match &kind.adapter {
            Some(adapter) => (adapter.check)(config, faults),
            None => faults.add(left_out(kind.table, kind.feature)),
        }
    }
}

/// The configured sinks. Those that this build lacks are not among them: a start refuses them
/// ([`check`]).
pub fn make(setting: &Setting<'_>) -> Vec<Arc<dyn OutputSink>> {
    KINDS
        .iter()
        .filter_map(|kind| kind.adapter.as_ref())
        .flat_map(|adapter| (adapter.make)(setting))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use theatre_config::reference;

    use super::*;

    #[test]
    fn each_kind_has_a_table_of_the_configuration_for_its_own() {
        let sections = reference::sections().unwrap();
        let tables: BTreeSet<&str> = KINDS.iter().map(|kind| kind.table).collect();
        assert_eq!(tables.len(), KINDS.len(), "two kinds have the same table");
        for table in tables {
            let is_there = sections.iter().any(|section| section.header == table);
            assert!(is_there, "{table} is no table of the configuration");
        }
    }

    #[test]
    fn nothing_is_made_of_a_configuration_that_names_none() {
        let (config, mut faults) = (Config::default(), Faults::default());
        let clock: Arc<dyn Clock> = Arc::new(theatre_system::clock::SystemClock);
        let setting = Setting {
            config: &config,
            data_dir: Path::new("/nowhere"),
            clock: &clock,
        };
        assert_eq!(make(&setting).len(), 0);
        check(&config, &mut faults);
        assert!(faults.is_empty(), "{:?}", faults.list());
    }
}
