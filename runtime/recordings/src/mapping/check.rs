//! What a mapping says that contradicts itself.

use theatre_config::ConfigError;

use super::Mapping;
use crate::times::TimeRules;

impl Mapping {
    /// Checks what can be known without schema and file.
    ///
    /// # Errors
    /// Names the keys and what to do, of all faults at once.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Vec::new();
        self.check_robot(&mut faults);
        self.check_times(&mut faults);
        self.check_cells(&mut faults);
        for event in &self.events {
            if !self.columns.contains_key(event) {
                faults.push(format!(
                    "events names '{event}', which is no field of [columns]"
                ));
            }
        }
        let bare = |error: ConfigError| error.to_string().replacen("mapping: ", "", 1);
        faults.extend(self.dialect().err().map(bare));
        if faults.is_empty() {
            return Ok(());
        }
        Err(ConfigError(format!("mapping: {}", faults.join("; "))))
    }

    fn check_robot(&self, faults: &mut Vec<String>) {
        let robots = [&self.robot_id, &self.robot_column, &self.robot_from_file];
        if robots.into_iter().flatten().count() != 1 {
            let why = "give exactly one of robot_id, robot_column and robot_from_file";
            faults.push(why.to_owned());
        }
        let is_blank = |robot: &str| robot.trim().is_empty();
        if self.robot_id.as_deref().is_some_and(is_blank) {
            faults.push("robot_id is blank".to_owned());
        }
        if let Some(pattern) = &self.robot_from_file {
            faults.extend(super::robot::Pattern::parse(pattern).err());
        }
    }

    fn check_times(&self, faults: &mut Vec<String>) {
        let has_pace = self.rate.is_some() || self.period.is_some();
        if self.rate.is_some() && self.period.is_some() {
            faults.push("rate and period say the same: give one of them".to_owned());
        }
        if self.time_column.is_some() && has_pace {
            let why = "time_column is given, so rate and period have no use: give one of them";
            faults.push(why.to_owned());
        }
        if self.time_column.is_none() && !has_pace {
            let why = "nothing says when the rows were taken: give time_column, or rate (or \
                       period) and time_start for a file without times";
            faults.push(why.to_owned());
        }
        let has_parts = self.date_column.is_some() || self.nanos_column.is_some();
        if self.time_column.is_none() && has_parts {
            let why = "date_column and nanos_column need a time_column beside them";
            faults.push(why.to_owned());
        }
        faults.extend(TimeRules::faults(self));
    }

    fn check_cells(&self, faults: &mut Vec<String>) {
        if self.sequence_step < 1 {
            faults.push("sequence_step must be at least 1".to_owned());
        }
        if self.thousands == Some(self.decimal) {
            faults.push("thousands and decimal are the same sign".to_owned());
        }
        if self.decimal.is_ascii_digit() || "+-eE".contains(self.decimal) {
            faults.push("decimal must be a sign that numbers do not have otherwise".to_owned());
        }
        if self.columns.is_empty() {
            faults.push("[columns] names no column, so rows would have no values".to_owned());
        }
        if let Some(encoding) = &self.encoding {
            faults.extend(crate::source::encoding(encoding).err());
        }
    }
}
