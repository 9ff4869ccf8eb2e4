//! Whether a record that fits its schema can be given to a robot: of any other the pipeline would
//! make a dead letter, which its sender does not see.

use serde_json::Value;
use theatre_schemas::decode::ID_BYTES_MAX;
use theatre_schemas::encode::Fault;

use super::records::DatasetEncoder;

impl DatasetEncoder {
    /// Why the pipeline would make a dead letter of a record that fits its schema.
    pub(super) fn unroutable(&self, record: &Value, key: &str) -> Option<Fault> {
        if let Some(prefix) = self.reserved(key.as_bytes()) {
            let expected = format!(
                "an id that does not begin with '{prefix}', which names something else than a robot"
            );
            return Some(of_field(&self.key, expected, prefix));
        }
        let procedure = self.procedure.as_deref();
        let id = procedure.and_then(|path| Some((path, value_at(record, path)?.as_str()?)));
        let mut ids = [Some((self.key.as_str(), key)), id].into_iter().flatten();
        if let Some((path, id)) = ids.find(|(_, id)| id.len() > ID_BYTES_MAX) {
            let expected = format!("an id of at most {ID_BYTES_MAX} bytes");
            return Some(of_field(path, expected, &format!("{} bytes", id.len())));
        }
        let has_time = value_at(record, &self.time).is_some_and(|time| !time.is_null());
        let expected = "a time: it may not be left out".to_owned();
        (!has_time).then(|| of_field(&self.time, expected, "null, or nothing"))
    }

    /// What a key begins with, where that names something else than a robot.
    pub(super) fn reserved(&self, key: &[u8]) -> Option<&'static str> {
        self.dataset.kind.reserved_prefix(key)
    }

    pub(super) fn no_key(&self) -> Fault {
        let expected = "an id that is not empty".to_owned();
        of_field(&self.key, expected, "nothing")
    }
}

/// A fault of the field under a path.
fn of_field(path: &str, expected: String, found: &str) -> Fault {
    Fault {
        pointer: format!("/{}", path.replace('.', "/")),
        expected,
        found: found.to_owned(),
        unit: None,
    }
}

/// The value under a path, of a record that is nested or has the path as its key.
pub(super) fn value_at<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(value) = record.get(path) {
        return Some(value);
    }
    let step = |value: Option<&'a Value>, name: &str| value.and_then(|value| value.get(name));
    path.split('.').fold(Some(record), step)
}
