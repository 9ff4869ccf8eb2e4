//! Actors that a repartition has moved: what they did before is read where they lived then.
//!
//! The store's record of a repartition says how many partitions there were and where each stood when
//! they grew: what lies below was processed while actors lived by that count. So an actor is taken from
//! layout to layout, through the partition that its key had in each, and goes on in the next one as the
//! repartition moved it.

use std::collections::BTreeMap;
use std::sync::Arc;

use theatre_actors::control;
use theatre_actors::ports::{PastLayout, RegisteredFile, Result};
use theatre_actors::position::{Partition, Positions};
use theatre_pipeline::actor_keys::ActorKeys;

use super::actor::Actor;
use super::actors::{Actors, Setting};
use super::reading::Reading;
use super::sent::Sent;
use super::{Rebuilding, Source};

/// The layouts of partitions that were before, the oldest first.
pub(super) struct Past {
    layouts: Vec<PastLayout>,
    keys: ActorKeys,
}

/// What came of the partitions in which actors lived before.
pub(super) struct Moved {
    pub(super) actors: Vec<Actor>,
    pub(super) sent: Sent,
    /// What is not there and should be, in words.
    pub(super) gaps: Vec<String>,
}

impl Past {
    /// Reads which layouts there were, and what decides where actors lived.
    ///
    /// # Errors
    /// When store or log do not answer.
    pub(super) fn read(rebuilding: &Rebuilding<'_>) -> Result<Self> {
        let (params, ports) = (rebuilding.params, rebuilding.ports);
        let layouts = ports.store.past_layouts()?;
        let keys = match layouts.is_empty() {
            true => ActorKeys::default(),
            false => ActorKeys::read(params, &*ports.log, params.partitions)?,
        };
        Ok(Self { layouts, keys })
    }

    /// Whether the partitions have ever grown.
    pub(super) fn is_empty(&self) -> bool {
        self.layouts.is_empty()
    }

    /// Whether an actor of a partition has lived in another one.
    pub(super) fn has_moved(&self, actor: &str, partition: Partition) -> bool {
        let mut homes = (self.layouts.iter()).map(|it| self.keys.partition(actor, it.partitions));
        homes.any(|home| home != partition)
    }

    /// From where on what a partition has belongs to the layout of this number; behind the last one
    /// comes the present layout.
    fn begins(&self, layout: usize, partition: Partition) -> Positions {
        let before = layout.checked_sub(1).and_then(|at| self.layouts.get(at));
        let ended_at = before.and_then(|it| it.ended_at.get(partition as usize));
        ended_at.cloned().unwrap_or_default()
    }

    /// From where on a partition belongs to the present layout.
    pub(super) fn ended_at(&self, partition: Partition) -> Positions {
        self.begins(self.layouts.len(), partition)
    }

    /// Has actors of a partition do what they did under the layouts before.
    ///
    /// # Errors
    /// When a port does not answer, a file is damaged, or an actor panics.
    pub(super) fn go_through(
        &self,
        rebuilding: &Rebuilding<'_>,
        (actors, sent): (Vec<Actor>, Sent),
        files: &[RegisteredFile],
        progress: &dyn Fn(&str),
    ) -> Result<Moved> {
        let mut moved = Moved {
            actors,
            sent,
            gaps: Vec::new(),
        };
        for (number, layout) in self.layouts.iter().enumerate() {
            let mut homes: BTreeMap<Partition, Vec<Actor>> = BTreeMap::new();
            for actor in std::mem::take(&mut moved.actors) {
                let home = self.keys.partition(&actor.name, layout.partitions);
                homes.entry(home).or_default().push(actor);
            }
            for (home, actors) in homes {
                let span = (self.begins(number, home), self.begins(number + 1, home));
                let place = Stretch {
                    rebuilding,
                    partition: home,
                    span,
                };
                place.go_through(actors, &mut moved, files, progress)?;
            }
        }
        Ok(moved)
    }
}

/// What a partition had under one layout.
struct Stretch<'a> {
    rebuilding: &'a Rebuilding<'a>,
    partition: Partition,
    span: (Positions, Positions),
}

impl Stretch<'_> {
    fn go_through(
        &self,
        actors: Vec<Actor>,
        moved: &mut Moved,
        files: &[RegisteredFile],
        progress: &dyn Fn(&str),
    ) -> Result<()> {
        let (partition, (from, to)) = (self.partition, &self.span);
        let (params, ports) = (self.rebuilding.params, self.rebuilding.ports);
        let store = &*ports.store;
        moved.sent.turn_to(store, partition)?;
        let remembered = store.processor(partition, &control::name(partition))?;
        let on_rows = |rows| progress(&format!("partition {partition}, as it was: {rows} rows"));
        let processor = &params.processor;
        let mut there = Actors::new(Setting {
            partition,
            config: processor,
            book: Arc::new(self.rebuilding.book(partition, remembered.as_ref())?),
            stored: Vec::new(),
            takes_newcomers: false,
            sent: std::mem::take(&mut moved.sent),
            end: to.clone(),
            silence_us: processor.rules.silence_us(processor.time.silence_after_us),
            on_rows: &on_rows,
        });
        for actor in actors {
            there.adopt(actor, from)?;
        }
        let mut reading = Reading {
            params,
            ports,
            partition,
            gaps: Vec::new(),
        };
        let mut read = Positions::zero();
        if self.rebuilding.source == Source::Lake {
            read = store.status(partition)?.lake_positions.lowest(to);
            reading.lake(files, &read, &mut there)?;
        }
        if !read.covers(to) {
            reading.log(&read, to, &mut there)?;
        }
        there.deliver()?;
        moved.gaps.append(&mut reading.gaps);
        moved.sent = there.sent;
        for mut actor in there.all {
            actor.leave_dead_letters(partition);
            moved.actors.push(actor);
        }
        Ok(())
    }
}
