//! Records of one schema, one behind another, as blocks of Avro's object container files hold them.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;

use crate::records::{RecordError, text_at};

/// Whether two schemas give the same bytes to the same record: they differ in nothing but texts
/// for people, defaults, aliases and further properties.
pub(crate) fn are_written_alike(left: &Schema, right: &Schema) -> bool {
    left.canonical_form() == right.canonical_form()
}

/// Reads records that lie one behind another.
pub struct Datums {
    schema: Schema,
}

impl Datums {
    /// For records of a schema.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(json: &str) -> Result<Self, RecordError> {
        let schema = Schema::parse_str(json).map_err(RecordError::of)?;
        Ok(Self { schema })
    }

    /// Gives the bytes of each record of a block to `each`, with the text under a path of fields,
    /// joined by `.`; until `each` says that it wants no more, or a record cannot be read.
    ///
    /// # Errors
    /// When a record does not fit the schema: where the next one begins is not known then.
    pub fn each(
        &self,
        block: &[u8],
        count: u64,
        path: &str,
        mut each: impl FnMut(&[u8], Option<String>) -> bool,
    ) -> Result<(), RecordError> {
        let reader = GenericDatumReader::builder(&self.schema).build();
        let reader = reader.map_err(RecordError::of)?;
        let mut rest = block;
        for _ in 0..count {
            let before = rest;
            let value: Value = reader.read_value(&mut rest).map_err(RecordError::of)?;
            let datum = &before[..before.len() - rest.len()];
            // A block may claim any number of records of no bytes.
            if datum.is_empty() {
                return Err(RecordError::of("a record of no bytes"));
            }
            if !each(datum, text_at(value, path)) {
                return Ok(());
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let left = rest.len();
        Err(RecordError::of(format!(
            "{left} bytes follow the last record"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "fields": [
        {"name": "at", "type": {"type": "record", "name": "At", "fields": [{"name": "robot", "type": ["null", "string"]}]}},
        {"name": "value", "type": "int"}]}"#;

    /// A datum, and the text that was looked for in it.
    type Seen = (Vec<u8>, Option<String>);

    fn read(block: &[u8], count: u64) -> (Vec<Seen>, Result<(), String>) {
        let mut seen = Vec::new();
        let datums = Datums::new(SCHEMA).unwrap();
        let read = datums.each(block, count, "at.robot", |datum, text| {
            seen.push((datum.to_vec(), text));
            true
        });
        (seen, read.map_err(|error| error.to_string()))
    }

    #[test]
    fn records_are_told_apart_and_what_does_not_fit_is_said() {
        let (with, without) = ([2, 2, b'r', 14], [0, 14]);
        let both = [&with[..], &without].concat();
        let (seen, ended) = read(&both, 2);
        assert!(ended.is_ok());
        assert_eq!(
            seen,
            [
                (with.to_vec(), Some("r".to_owned())),
                (without.to_vec(), None)
            ]
        );
        let (seen, ended) = read(&both, 1);
        assert!(seen.len() == 1 && ended.unwrap_err().contains("2 bytes follow"));
        let (seen, ended) = read(&both, 3);
        assert!(seen.len() == 2 && ended.is_err());
        let (seen, ended) = read(&[2, 2, b'r', 14, 9], 2);
        assert!(seen.len() == 1 && ended.is_err());
    }

    #[test]
    fn only_what_does_not_change_the_bytes_may_differ() {
        let is_alike = |other: &str| {
            let [left, right] = [SCHEMA, other].map(|json| Schema::parse_str(json).unwrap());
            are_written_alike(&left, &right)
        };
        assert!(is_alike(&SCHEMA.replace(
            "\"type\": \"int\"",
            "\"type\": \"int\", \"doc\": \"what it is\""
        )));
        assert!(!is_alike(&SCHEMA.replace("\"int\"", "\"long\"")));
        assert!(!is_alike(&SCHEMA.replace("\"value\"", "\"other\"")));
    }
}
