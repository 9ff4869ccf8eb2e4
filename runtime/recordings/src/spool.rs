//! Rows of a recording on their way through the sorter: as bytes, and back.

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
    /// The framed record up to its number, or all of it when it has none.
    pub head: &'a [u8],
    /// The record after its number.
    pub tail: &'a [u8],
}

impl<'a> SpooledRow<'a> {
    /// Appends the row to `bytes`.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.content.to_le_bytes());
        bytes.extend_from_slice(&self.events.to_le_bytes());
        bytes.push(u8::from(self.counter.is_some()));
        bytes.extend_from_slice(&self.counter.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&(self.robot.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(self.head.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self.robot.as_bytes());
        bytes.extend_from_slice(self.head);
        bytes.extend_from_slice(self.tail);
    }

    /// Reads what [`Self::write`] wrote; `None` for any other bytes.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (content, rest) = bytes.split_first_chunk()?;
        let (events, rest) = rest.split_first_chunk()?;
        let (has_counter, rest) = rest.split_first()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let (robot, rest) = rest.split_first_chunk()?;
        let (head, rest) = rest.split_first_chunk()?;
        let (robot, rest) = rest.split_at_checked(u32::from_le_bytes(*robot) as usize)?;
        let (head, tail) = rest.split_at_checked(u32::from_le_bytes(*head) as usize)?;
        Some(Self {
            robot: std::str::from_utf8(robot).ok()?,
            content: u64::from_le_bytes(*content),
            counter: (*has_counter != 0).then(|| i64::from_le_bytes(*counter)),
            events: u64::from_le_bytes(*events),
            head,
            tail,
        })
    }

    /// The framed record under a number; the number is Avro's long, a zigzag varint.
    pub fn record(&self, number: Option<i64>) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.head.len() + self.tail.len() + 10);
        record.extend_from_slice(self.head);
        if let Some(number) = number {
            let mut rest = ((number << 1) ^ (number >> 63)) as u64;
            while rest >= 0x80 {
                record.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            record.push(rest as u8);
        }
        record.extend_from_slice(self.tail);
        record
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
            head: Vec<u8>,
            tail: Vec<u8>,
        ) {
            let row = SpooledRow {
                robot: &robot,
                content,
                counter,
                events,
                head: &head,
                tail: &tail,
            };
            let mut bytes = Vec::new();
            row.write(&mut bytes);
            prop_assert_eq!(SpooledRow::read(&bytes), Some(row));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = SpooledRow::read(&bytes);
        }

        #[test]
        fn the_number_is_a_long_of_avro(number: i64) {
            let row = SpooledRow {
                robot: "r1",
                content: 0,
                counter: None,
                events: 0,
                head: b"<",
                tail: b">",
            };
            let schema = apache_avro::Schema::Long;
            let value = apache_avro::types::Value::Long(number);
            let datum = apache_avro::to_avro_datum(&schema, value).expect("a long can be written");
            let expected = [b"<", datum.as_slice(), b">"].concat();
            prop_assert_eq!(row.record(Some(number)), expected);
        }
    }
}
