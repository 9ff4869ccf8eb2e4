//! Pages of outputs and of dead letters.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{
    OutputPage, OutputPlace, PageFilter, PageStore, Result, StoredDead, StoredOutput,
};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{MemoryStore, lock};

impl PageStore for MemoryStore {
    fn time(&self) -> Result<Option<LogTime>> {
        Ok(None)
    }

    fn last_outputs(&self) -> Result<Vec<u64>> {
        let state = lock(&self.state);
        let partitions = state.layout.as_ref().map_or(0, |(_, count)| *count);
        let last = |partition| {
            let known = state.partitions.get(&partition);
            known.map_or(0, |known| known.status.last_output)
        };
        Ok((0..partitions).map(last).collect())
    }

    fn output_page(&self, filter: &PageFilter) -> Result<OutputPage> {
        let state = lock(&self.state);
        let all = || state.partitions.values().flat_map(|known| &known.outputs);
        let is_seen = |stored: &StoredOutput| {
            let seen = filter.seen.get(stored.partition as usize);
            stored.sequence <= seen.copied().unwrap_or(0)
        };
        let beyond = |place: &OutputPlace| match (&filter.after, filter.changed_since) {
            (None, _) => true,
            (Some(after), Some(_)) => place > after,
            (Some(after), None) => place < after,
        };
        let mut looked_at: Vec<&StoredOutput> = all()
            .filter(|stored| stored.output.kind == filter.kind)
            .filter(|stored| match filter.changed_since {
                Some(since) => stored.committed_at >= since,
                None => true,
            })
            .filter(|stored| beyond(&filter.place(stored)))
            .collect();
        looked_at.sort_by_cached_key(|stored| filter.place(stored));
        if filter.changed_since.is_none() {
            looked_at.reverse();
        }
        let is_wanted = |stored: &&StoredOutput| {
            let output = &stored.output;
            let is_later = |later: &StoredOutput| {
                later.output.kind == output.kind
                    && later.output.id == output.id
                    && later.output.revision > output.revision
                    && is_seen(later)
            };
            let robots = filter.robots.as_ref();
            let subject = filter.subject.as_ref();
            is_seen(stored)
                && (filter.every_revision || !all().any(is_later))
                && robots.is_none_or(|robots| robots.contains(&output.robot_id))
                && subject.is_none_or(|subject| *subject == output.subject)
                && filter.from.is_none_or(|from| output.event_time >= from)
                && filter.until.is_none_or(|until| output.event_time < until)
        };
        // It looks at all there is, as a store may.
        let mut found = looked_at.into_iter().filter(is_wanted).cloned();
        let outputs: Vec<StoredOutput> = found.by_ref().take(filter.limit).collect();
        let next = found.next().and_then(|_| outputs.last());
        Ok(OutputPage {
            next: next.map(|last| filter.place(last)),
            outputs,
        })
    }

    fn last_revisions(
        &self,
        kind: OutputKind,
        ids: &[String],
        seen: &[u64],
    ) -> Result<Vec<StoredOutput>> {
        let state = lock(&self.state);
        let mut last: BTreeMap<&str, &StoredOutput> = BTreeMap::new();
        for stored in state.partitions.values().flat_map(|known| &known.outputs) {
            let output = &stored.output;
            let up_to = seen.get(stored.partition as usize).copied().unwrap_or(0);
            let known = last.get(&*output.id).copied();
            if output.kind == kind
                && ids.contains(&output.id)
                && stored.sequence <= up_to
                && known.is_none_or(|known| known.output.revision < output.revision)
            {
                last.insert(&output.id, stored);
            }
        }
        Ok(last.into_values().cloned().collect())
    }

    fn of_subjects(
        &self,
        kind: OutputKind,
        after: Option<&str>,
        subjects: usize,
    ) -> Result<Vec<StoredOutput>> {
        let state = lock(&self.state);
        let mut by_subject: BTreeMap<&str, Vec<StoredOutput>> = BTreeMap::new();
        for stored in state.partitions.values().flat_map(|known| &known.outputs) {
            let subject = &*stored.output.subject;
            if stored.output.kind == kind && after.is_none_or(|after| subject > after) {
                by_subject.entry(subject).or_default().push(stored.clone());
            }
        }
        Ok(by_subject.into_values().take(subjects).flatten().collect())
    }

    fn dead_page(&self, after: Option<(u64, Partition)>, limit: usize) -> Result<Vec<StoredDead>> {
        let state = lock(&self.state);
        let place = |stored: &StoredDead| (Reverse(stored.sequence), stored.partition);
        let after = after.map(|(sequence, partition)| (Reverse(sequence), partition));
        let mut found: Vec<StoredDead> = state
            .partitions
            .values()
            .flat_map(|known| &known.dead)
            .filter(|stored| after.is_none_or(|after| place(stored) > after))
            .cloned()
            .collect();
        found.sort_by_key(place);
        found.truncate(limit);
        Ok(found)
    }
}
