//! What is counted of a rule file that is looked at while the process runs.

use theatre_actors::define_metrics;

define_metrics! {
    /// What is counted of the rule file.
    pub(crate) const CATALOGUE;
    READINGS: Counter(
        "theatre_rule_file_readings_total", "readings", ["outcome"],
        "Readings of a rule file that had changed, by outcome: taken or refused"
    );
}

/// The file is looked at from now on: its counters begin at 0.
pub fn begin() {
    for outcome in ["taken", "refused"] {
        READINGS.increment([outcome.into()], 0);
    }
}

/// What had changed was taken.
pub fn taken() {
    READINGS.increment(["taken".into()], 1);
}

/// What had changed was refused.
pub fn refused() {
    READINGS.increment(["refused".into()], 1);
}
