//! Questions to running processors, from any thread: what the HTTP side asks.
//!
//! A partition lists the addresses of its processors here while it is owned; a question looks one
//! up and goes to the desk, which has that processor answer. So neither the partition's thread nor
//! a port has a part in the answer: it comes also while the partition waits for a store, is full,
//! or drains. The pipeline waits for a question no longer than an answer takes to make; the asker
//! waits until its deadline.
//!
//! An answer shows what is applied, saved or not. A partition that another process has taken shows
//! its last state until it notices: who must tell compares [`Live::epoch`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use theatre_actors::partitioner::partition_of;
use theatre_actors::ports::Epoch;
use theatre_actors::position::Partition;
use theatre_actors::processor::LiveView;
use theatre_actors::questions::{Answer, AskError, ProcessorAddress, Question};

/// A processor's view and where it is from.
#[derive(Debug, Clone)]
pub struct Live {
    /// The robot's partition.
    pub partition: Partition,
    /// The epoch under which this process took it.
    pub epoch: Epoch,
    /// The view.
    pub view: LiveView,
}

/// What came of a question.
#[derive(Debug, Clone)]
pub enum LiveAnswer {
    /// The robot's processor runs here.
    View(Box<Live>),
    /// No partition of this process has the robot. By its name it belongs to `partition`; if that
    /// is `owned` here, no record of the robot has come yet.
    NotHere {
        /// Where producers with the usual partitioner put the robot.
        partition: Partition,
        /// Whether this process owns it.
        owned: bool,
    },
    /// The robot was here; its partition was handed over or lost since.
    Moved {
        /// The robot's partition, which has another owner now.
        partition: Partition,
    },
    /// The processor panicked and is being rebuilt: ask again.
    Recovering,
    /// Too many questions wait for this processor already: ask again.
    Busy,
    /// No answer came before the deadline.
    TimedOut,
}

type Robots = HashMap<Box<str>, Arc<dyn ProcessorAddress>, foldhash::fast::RandomState>;

struct OwnedPartition {
    epoch: Epoch,
    robots: Robots,
}

#[derive(Default)]
struct Directory {
    owned: BTreeMap<Partition, OwnedPartition>,
    /// The robots of partitions that were left and not taken again.
    left: BTreeMap<Partition, HashSet<Box<str>, foldhash::fast::RandomState>>,
}

impl Directory {
    fn find(&self, robot: &str) -> Option<(Partition, Epoch, Arc<dyn ProcessorAddress>)> {
        self.owned.iter().find_map(|(partition, owned)| {
            Some((*partition, owned.epoch, owned.robots.get(robot)?.clone()))
        })
    }

    fn absent(&self, robot: &str, partitions: u32) -> LiveAnswer {
        let mut left = self.left.iter();
        if let Some((partition, _)) = left.find(|(_, robots)| robots.contains(robot)) {
            return LiveAnswer::Moved {
                partition: *partition,
            };
        }
        let partition = partition_of(robot.as_bytes(), partitions);
        LiveAnswer::NotHere {
            partition,
            owned: self.owned.contains_key(&partition),
        }
    }
}

/// Asks the processors of this process; clones ask the same ones.
#[derive(Clone)]
pub struct LiveQueries {
    directory: Arc<RwLock<Directory>>,
    partitions: u32,
}

impl LiveQueries {
    /// Nothing is owned so far, of topics with so many partitions.
    pub fn new(partitions: u32) -> Self {
        Self {
            directory: Arc::default(),
            partitions: partitions.max(1),
        }
    }

    /// Asks for a robot's state. Blocks the calling thread until the answer is there, `deadline` at
    /// most; blocks nothing else.
    pub fn ask(&self, robot: &str, deadline: Duration) -> LiveAnswer {
        // The lock is not held while the answer is made: a partition that lists a new robot never
        // waits for one that is asked.
        let found = self.read().find(robot);
        let Some((partition, epoch, address)) = found else {
            return self.read().absent(robot, self.partitions);
        };
        let (sender, receiver) = sync_channel(1);
        match address.ask(Question::View, sender) {
            Ok(()) => {}
            Err(AskError::Busy) => return LiveAnswer::Busy,
            Err(AskError::Gone) => return self.ended(robot),
        }
        match receiver.recv_timeout(deadline) {
            Ok(Answer::View(view)) => LiveAnswer::View(Box::new(Live {
                partition,
                epoch,
                view: *view,
            })),
            Ok(Answer::Recovering) => LiveAnswer::Recovering,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => LiveAnswer::TimedOut,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => self.ended(robot),
        }
    }

    /// A processor ended while the question waited. One that is still listed, or listed
    /// again, was replaced; otherwise its partition was left.
    fn ended(&self, robot: &str) -> LiveAnswer {
        let directory = self.read();
        match directory.find(robot) {
            Some(_) => LiveAnswer::Recovering,
            None => directory.absent(robot, self.partitions),
        }
    }

    /// Lists a partition that was taken under `epoch`, with no processors yet, until the returned
    /// value is dropped.
    pub fn list(&self, partition: Partition, epoch: Epoch) -> ListedPartition {
        let mut directory = self.write();
        directory.left.remove(&partition);
        let robots = Robots::default();
        directory
            .owned
            .insert(partition, OwnedPartition { epoch, robots });
        ListedPartition {
            queries: self.clone(),
            partition,
            epoch,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An owned partition's entry: its processors can be asked until this is dropped.
pub struct ListedPartition {
    queries: LiveQueries,
    partition: Partition,
    epoch: Epoch,
}

impl ListedPartition {
    /// Lists a robot's processor, or the one that replaces it.
    pub fn insert(&self, robot: &str, address: Arc<dyn ProcessorAddress>) {
        let mut directory = self.queries.write();
        let owned = directory.owned.get_mut(&self.partition);
        if let Some(owned) = owned.filter(|owned| owned.epoch == self.epoch) {
            owned.robots.insert(robot.into(), address);
        }
    }
}

impl Drop for ListedPartition {
    fn drop(&mut self) {
        let mut directory = self.queries.write();
        // The partition may have been taken again already, under a later epoch: that entry stays.
        let own = |owned: &OwnedPartition| owned.epoch == self.epoch;
        if directory.owned.get(&self.partition).is_some_and(own)
            && let Some(owned) = directory.owned.remove(&self.partition)
        {
            let robots = owned.robots.into_keys().collect();
            directory.left.insert(self.partition, robots);
        }
    }
}

#[cfg(test)]
mod tests;
