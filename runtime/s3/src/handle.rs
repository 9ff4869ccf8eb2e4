//! What completing an upload needs, as text: it is registered with the file, and all that survives
//! the process that sealed it.

use serde::{Deserialize, Serialize};

/// A part that is durable in S3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Part {
    /// From 1, in the file's order.
    pub number: i32,
    /// As S3 named the part's bytes.
    pub etag: String,
    /// Checksum of the part's bytes as S3 stored it, where it has one; completion compares.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub crc32: Option<String>,
}

/// A sealed upload.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Handle {
    /// Whose upload it is.
    pub attempt: String,
    /// As S3 named it.
    pub upload_id: String,
    /// All parts, in order.
    pub parts: Vec<Part>,
}

impl Handle {
    /// The attempt comes first, so that an owner's handles can be told by its prefix, as in the
    /// embedded lake.
    pub(super) fn encode(&self) -> String {
        let rest = serde_json::to_string(&(&self.upload_id, &self.parts))
            .expect("strings and numbers are JSON");
        format!("{} {rest}", self.attempt)
    }

    /// `None` for text that is no handle of this lake.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let (attempt, rest) = text.split_once(' ')?;
        let (upload_id, parts) = serde_json::from_str(rest).ok()?;
        Some(Self {
            attempt: attempt.to_owned(),
            upload_id,
            parts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Handle, Part};

    #[test]
    fn a_handle_comes_back_and_is_frozen() {
        let part = |number, crc32: Option<&str>| Part {
            number,
            etag: format!("\"e{number}\""),
            crc32: crc32.map(str::to_owned),
        };
        let handle = Handle {
            attempt: "p3-e1-4".to_owned(),
            upload_id: "2~a_b".to_owned(),
            parts: vec![part(1, Some("AAAAAA==")), part(2, None)],
        };
        let text = r#"p3-e1-4 ["2~a_b",[{"number":1,"etag":"\"e1\"","crc32":"AAAAAA=="},{"number":2,"etag":"\"e2\""}]]"#;
        assert_eq!(handle.encode(), text);
        assert_eq!(Handle::decode(text), Some(handle));
        assert_eq!(Handle::decode("p3-e1-4.d~x~1.parquet"), None);
    }
}
