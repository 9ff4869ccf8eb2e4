//! The bound on series: a metric with more of them than this is a mistake in its labels, which
//! would otherwise cost memory here and in every Prometheus that scrapes it.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use theatre_actors::define_metrics;

/// Most series of one metric. Partitions are the label with the most values, and a process owns
/// hundreds of them at most.
const SERIES_MAX: usize = 4096;

define_metrics! {
    /// What the bound itself emits.
    pub(crate) const CATALOGUE;
    SERIES_DROPPED: Counter(
        "theatre_metric_series_dropped_total", "updates", ["metric"],
        "Updates that were dropped because their metric has as many series as it may, by metric"
    );
}

/// A recorder that lets no metric have more than so many series: further ones are dropped and
/// counted.
pub(crate) struct BoundedRecorder<R> {
    inner: R,
    series_max: usize,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Hashes of the keys, each of a name and its labels.
    keys: HashSet<u64>,
    series: HashMap<KeyName, usize>,
}

impl<R: Recorder> BoundedRecorder<R> {
    /// Around a recorder.
    pub(crate) fn new(inner: R) -> Self {
        Self::with(inner, SERIES_MAX)
    }

    fn with(inner: R, series_max: usize) -> Self {
        Self {
            inner,
            series_max,
            known: RwLock::default(),
        }
    }

    /// Whether a series is there already, or may be added; one that may not is counted.
    fn admits(&self, key: &Key, metadata: &Metadata<'_>) -> bool {
        let hash = key.get_hash();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.keys.contains(&hash) {
            return true;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have added it meanwhile.
        if known.keys.contains(&hash) {
            return true;
        }
        let name = KeyName::from(key.name().to_owned());
        let series = known.series.entry(name).or_default();
        if *series < self.series_max {
            *series += 1;
            known.keys.insert(hash);
            return true;
        }
        drop(known);
        // Past the bound itself: there is one series for each metric.
        let label = Label::new("metric", key.name().to_owned());
        let dropped = Key::from_parts(SERIES_DROPPED.0.name, vec![label]);
        self.inner.register_counter(&dropped, metadata).increment(1);
        false
    }
}

impl<R: Recorder> Recorder for BoundedRecorder<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.inner.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if self.admits(key, metadata) {
            self.inner.register_counter(key, metadata)
        } else {
            Counter::noop()
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if self.admits(key, metadata) {
            self.inner.register_gauge(key, metadata)
        } else {
            Gauge::noop()
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if self.admits(key, metadata) {
            self.inner.register_histogram(key, metadata)
        } else {
            Histogram::noop()
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::with_local_recorder;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::{BoundedRecorder, SERIES_DROPPED};
    use crate::names;

    #[test]
    fn a_series_too_many_is_dropped_and_counted_and_the_others_go_on() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        with_local_recorder(&BoundedRecorder::with(recorder, 2), || {
            for _ in 0..2 {
                for partition in 0..4 {
                    names::records_in(partition, 5);
                }
            }
            names::rebalanced("assigned");
        });
        let text = handle.render();
        assert!(
            text.contains("theatre_records_in_total{partition=\"1\"} 10"),
            "{text}"
        );
        assert!(!text.contains("partition=\"2\""), "{text}");
        let dropped = format!(
            "{}{{metric=\"theatre_records_in_total\"}} 4",
            SERIES_DROPPED.0.name
        );
        assert!(text.contains(&dropped), "{text}");
        assert!(
            text.contains("theatre_kafka_rebalances_total{what=\"assigned\"} 1"),
            "{text}"
        );
    }
}
