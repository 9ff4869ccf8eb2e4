//! How far a listener has received outputs, by partition.

use std::collections::BTreeMap;
use std::fmt;

/// The sequence number of the last output that was received, by partition; as text `0-17.3-4`. A
/// partition that is not named is received from its beginning on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position(BTreeMap<u32, u64>);

/// Partitions of a position.
const PARTITIONS_MAX: usize = 4096;

impl Position {
    /// Reads a position.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "-" {
            return Some(Self::default());
        }
        let mut position = Self::default();
        for part in text.split('.') {
            let (partition, sequence) = part.split_once('-')?;
            position.set(partition.parse().ok()?, sequence.parse().ok()?);
            if position.0.len() > PARTITIONS_MAX {
                return None;
            }
        }
        Some(position)
    }

    pub(crate) fn get(&self, partition: u32) -> u64 {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, partition: u32, sequence: u64) {
        self.0.insert(partition, sequence);
    }
}

impl fmt::Display for Position {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return to.write_str("-");
        }
        for (index, (partition, sequence)) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(to, "{dot}{partition}-{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let mut position = Position::default();
        assert_eq!(
            Position::parse(&position.to_string()),
            Some(position.clone())
        );
        position.set(3, 4);
        position.set(0, 17);
        assert_eq!(position.to_string(), "0-17.3-4");
        assert_eq!(Position::parse("0-17.3-4"), Some(position));
        for wrong in ["", "x", "1", "1-", "1-2.", "1-2.3", "-1-2", "1-2,3-4"] {
            assert_eq!(Position::parse(wrong), None, "{wrong}");
        }
    }
}
