//! Rows of a recording on their way through the sorter: as bytes, and back.

use crate::rows::Draft;

/// A row as the sorter keeps it: all that is needed to number and to send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpooledRow<'a> {
    /// Robot.
    pub robot: &'a str,
    /// Hash of what the row says.
    pub content: u64,
    /// The robot's own counter, where the recording has one.
    pub counter: Option<i64>,
    /// Which of the mapping's events are true in it, a bit each.
    pub events: u64,
    /// Which of the replay's files it stands in, from 0, and its line there.
    pub place: (u32, u64),
    /// The framed record without its number.
    pub record: &'a [u8],
    /// Where the number belongs; none: the schema has no sequence.
    pub number_at: Option<u32>,
}

impl<'a> SpooledRow<'a> {
    /// Appends the row to `bytes`.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.content.to_le_bytes());
        bytes.extend_from_slice(&self.events.to_le_bytes());
        bytes.push(u8::from(self.counter.is_some()));
        bytes.extend_from_slice(&self.counter.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.place.0.to_le_bytes());
        bytes.extend_from_slice(&self.place.1.to_le_bytes());
        bytes.extend_from_slice(&self.number_at.unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&(self.robot.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.robot.as_bytes());
        bytes.extend_from_slice(self.record);
    }

    /// Reads what [`Self::write`] wrote; `None` for other bytes.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (content, rest) = bytes.split_first_chunk()?;
        let (events, rest) = rest.split_first_chunk()?;
        let (has_counter, rest) = rest.split_first()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let (file, rest) = rest.split_first_chunk()?;
        let (line, rest) = rest.split_first_chunk()?;
        let (number_at, rest) = rest.split_first_chunk()?;
        let (robot, rest) = rest.split_first_chunk()?;
        let (robot, record) = rest.split_at_checked(u32::from_le_bytes(*robot) as usize)?;
        let number_at = u32::from_le_bytes(*number_at);
        Some(Self {
            robot: std::str::from_utf8(robot).ok()?,
            content: u64::from_le_bytes(*content),
            counter: (*has_counter != 0).then(|| i64::from_le_bytes(*counter)),
            events: u64::from_le_bytes(*events),
            place: (u32::from_le_bytes(*file), u64::from_le_bytes(*line)),
            record,
            number_at: (number_at != u32::MAX).then_some(number_at),
        })
    }

    /// The record, to be numbered.
    pub fn draft(&self) -> Draft {
        Draft {
            bytes: self.record.to_vec(),
            number_at: self.number_at.map(|at| at as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_comes_back_as_it_was(
            robot in ".*",
            content: u64,
            counter: Option<i64>,
            events: u64,
            place: (u32, u64),
            record: Vec<u8>,
            number_at in prop::option::of(0_u32..1000),
        ) {
            let row = SpooledRow {
                robot: &robot,
                content,
                counter,
                events,
                place,
                record: &record,
                number_at,
            };
            let mut bytes = Vec::new();
            row.write(&mut bytes);
            prop_assert_eq!(SpooledRow::read(&bytes), Some(row));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            // Whatever comes out is fine, so long as something does.
            drop(SpooledRow::read(&bytes).map(|row| row.draft()));
        }
    }
}
