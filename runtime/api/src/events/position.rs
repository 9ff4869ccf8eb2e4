//! How far a listener has received outputs, by partition.

use std::collections::BTreeMap;
use std::fmt;

/// How far a listener has received the outputs of a partition. An output may make several events,
/// which are its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Sequence number of the last output of which something was received.
    pub(super) sequence: u64,
    /// Its last part that was received.
    pub(super) part: u8,
}

/// The part behind all others.
const WHOLE: u8 = u8::MAX;

impl Place {
    /// Everything up to an output, and all of it.
    pub(super) const fn whole(sequence: u64) -> Self {
        Self {
            sequence,
            part: WHOLE,
        }
    }

    /// Up to this part of an output.
    pub(super) const fn part(sequence: u64, part: u8) -> Self {
        Self { sequence, part }
    }

    /// The sequence number above which outputs are to be read, so that none is missed of which only a
    /// part was received.
    pub(super) fn read_after(self) -> u64 {
        match self.part {
            WHOLE => self.sequence,
            _ => self.sequence.saturating_sub(1),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let Some((sequence, part)) = text.split_once('_') else {
            return Some(Self::whole(text.parse().ok()?));
        };
        let part = part.parse().ok().filter(|part| *part < WHOLE)?;
        Some(Self::part(sequence.parse().ok()?, part))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            WHOLE => write!(to, "{}", self.sequence),
            part => write!(to, "{}_{part}", self.sequence),
        }
    }
}

/// The last output that was received, by partition; as text `0-17.3-4`, or `0-17.3-4_1` where of the
/// output 4 of partition 3 only the first event was received. A partition that is not named is
/// received from its beginning on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position(BTreeMap<u32, Place>);

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
            let (partition, place) = part.split_once('-')?;
            position.set(partition.parse().ok()?, Place::parse(place)?);
            if position.0.len() > PARTITIONS_MAX {
                return None;
            }
        }
        Some(position)
    }

    pub(super) fn get(&self, partition: u32) -> Place {
        let known = self.0.get(&partition).copied();
        known.unwrap_or(Place::whole(0))
    }

    pub(super) fn set(&mut self, partition: u32, place: Place) {
        self.0.insert(partition, place);
    }

    /// Goes on to where another one is further.
    pub(super) fn advance(&mut self, other: &Self) {
        for (partition, place) in &other.0 {
            self.set(*partition, self.get(*partition).max(*place));
        }
    }

    /// Whether it is nowhere behind another one.
    pub(super) fn reaches(&self, other: &Self) -> bool {
        let mut places = other.0.iter();
        places.all(|(partition, place)| self.get(*partition) >= *place)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return to.write_str("-");
        }
        for (index, (partition, place)) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(to, "{dot}{partition}-{place}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Position};

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let mut position = Position::default();
        assert_eq!(
            Position::parse(&position.to_string()),
            Some(position.clone())
        );
        position.set(3, Place::whole(4));
        position.set(0, Place::whole(17));
        assert_eq!(position.to_string(), "0-17.3-4");
        assert_eq!(Position::parse("0-17.3-4"), Some(position.clone()));
        position.set(3, Place::part(4, 1));
        assert_eq!(position.to_string(), "0-17.3-4_1");
        assert_eq!(Position::parse("0-17.3-4_1"), Some(position));
        for wrong in [
            "", "x", "1", "1-", "1-2.", "1-2.3", "-1-2", "1-2,3-4", "1-2_", "1-2_255", "1-_1",
            "1-2_1_1",
        ] {
            assert_eq!(Position::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_part_of_an_output_lies_before_all_of_it_and_behind_the_one_before() {
        let places = [Place::whole(3), Place::part(4, 1), Place::part(4, 2)];
        assert!(places.is_sorted() && places[2] < Place::whole(4));
        assert_eq!(Place::part(4, 1).read_after(), 3);
        assert_eq!(Place::whole(4).read_after(), 4);
        let (mut at, mut other) = (Position::default(), Position::default());
        at.set(0, Place::whole(9));
        other.set(0, Place::part(9, 1));
        other.set(1, Place::whole(2));
        assert!(!at.reaches(&other) && !other.reaches(&at));
        at.advance(&other);
        assert_eq!(at.to_string(), "0-9.1-2");
        assert!(at.reaches(&other));
    }
}
