//! What a mapping says that contradicts itself.

use theatre_config::ConfigError;

use super::Mapping;

impl Mapping {
    /// Checks what can be known without schema and file.
    ///
    /// # Errors
    /// Names the keys and what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |why: &str| Err(ConfigError(format!("mapping: {why}")));
        let robots = [&self.robot_id, &self.robot_column, &self.robot_from_file];
        if robots.into_iter().flatten().count() != 1 {
            return fail("give exactly one of robot_id, robot_column and robot_from_file");
        }
        if self
            .robot_id
            .as_deref()
            .is_some_and(|robot| robot.trim().is_empty())
        {
            return fail("robot_id is blank");
        }
        if let Some(pattern) = &self.robot_from_file {
            super::robot::Pattern::parse(pattern)
                .map_err(|why| ConfigError(format!("mapping: {why}")))?;
        }
        let has_pace = self.rate.is_some() || self.period.is_some();
        if self.rate.is_some() && self.period.is_some() {
            return fail("rate and period say the same: give one of them");
        }
        if self.time_column.is_some() && has_pace {
            return fail("time_column is given, so rate and period have no use: give one of them");
        }
        if self.time_column.is_none() && !has_pace {
            return fail(
                "nothing says when the rows were taken: give time_column, or rate (or period) and \
                 time_start for a file without times",
            );
        }
        if self.time_column.is_none() && (self.date_column.is_some() || self.nanos_column.is_some())
        {
            return fail("date_column and nanos_column need a time_column beside them");
        }
        if self.sequence_step < 1 {
            return fail("sequence_step must be at least 1");
        }
        if self.thousands == Some(self.decimal) {
            return fail("thousands and decimal are the same sign");
        }
        if self.decimal.is_ascii_digit() || "+-eE".contains(self.decimal) {
            return fail("decimal must be a sign that numbers do not have otherwise");
        }
        if self.columns.is_empty() {
            return fail("[columns] names no column, so rows would have no values");
        }
        for event in &self.events {
            if !self.columns.contains_key(event) {
                return fail(&format!(
                    "events names '{event}', which is no field of [columns]"
                ));
            }
        }
        self.dialect().map(|_| ())
    }
}
