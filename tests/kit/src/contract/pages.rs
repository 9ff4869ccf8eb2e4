//! Lists of outputs and of dead letters by pages.

use anyhow::{Result, ensure};
use theatre_actors::outputs::{DeadReason, DeadRow, OutputEvent, OutputKind};
use theatre_actors::ports::{CheckpointStore, Epoch, OutputPlace, PageFilter, StoredOutput};
use theatre_actors::position::Partition;
use theatre_actors::time::LogTime;

use super::{commit, save};

/// Commits outputs of a robot, by id, revision and event time.
struct Robot<'a> {
    store: &'a dyn CheckpointStore,
    name: &'static str,
    partition: Partition,
    epoch: Epoch,
}

impl Robot<'_> {
    fn concludes(&self, at: i64, outputs: &[(&str, u32, i64)]) -> Result<()> {
        let output = |(id, revision, event_time): &(&str, u32, i64)| OutputEvent {
            kind: OutputKind::Outcome,
            robot_id: self.name.to_owned(),
            id: (*id).to_owned(),
            subject: "case".to_owned(),
            revision: *revision,
            event_time: *event_time,
            payload: vec![1],
        };
        let mut saved = save(self.name, at as u64, &[]);
        saved.outputs = outputs.iter().map(output).collect();
        let mut commit = commit(self.epoch, vec![saved], 1);
        commit.partition = self.partition;
        self.store.commit(&[commit], LogTime(at))?;
        Ok(())
    }
}

/// All pages of a list, each item as its id and revision; `between` is done after the first one.
fn pages(
    store: &dyn CheckpointStore,
    filter: &PageFilter,
    between: impl FnOnce() -> Result<()>,
) -> Result<Vec<String>> {
    let (mut filter, mut between) = (filter.clone(), Some(between));
    let mut found = Vec::new();
    for _ in 0..100 {
        let page = store.output_page(&filter)?;
        ensure!(page.outputs.len() <= filter.limit, "{page:?}");
        let shown = page.outputs.iter().map(|stored| &stored.output);
        found.extend(shown.map(|output| format!("{}{}", output.id, output.revision)));
        if let Some(between) = between.take() {
            between()?;
        }
        match page.next {
            Some(next) => {
                ensure!(
                    filter.after.as_ref() != Some(&next),
                    "each page gets further"
                );
                filter.after = Some(next);
            }
            None => return Ok(found),
        }
    }
    anyhow::bail!("the pages have no end: {found:?}")
}

fn no_change() -> Result<()> {
    Ok(())
}

/// Each item of a list is on one page, however much is committed meanwhile; pages reach the
/// beginning; a filter leaves out nothing that is wanted; dead letters are listed in the same way.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_gives_pages(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 3)?;
    ensure!(store.last_outputs()? == [0, 0, 0]);
    let robot = |name, partition| -> Result<Robot<'_>> {
        let epoch = store.acquire(partition)?;
        Ok(Robot {
            store,
            name,
            partition,
            epoch,
        })
    };
    let (r, s) = (robot("r", 0)?, robot("s", 2)?);
    r.concludes(10, &[("a", 0, 100), ("b", 0, 300), ("c", 0, 50)])?;
    s.concludes(20, &[("d", 0, 200), ("e", 0, 300), ("d", 1, 400)])?;
    r.concludes(30, &[("a", 1, 100), ("a", 2, 100)])?;
    ensure!(store.last_outputs()? == [5, 0, 3]);
    ensure!(
        store.processor(0, "r")?.map(|it| it.saved_at) == Some(LogTime(30))
            && store.processor(2, "s")?.map(|it| it.saved_at) == Some(LogTime(20))
    );
    let latest = |limit, look_at| -> Result<PageFilter> {
        Ok(PageFilter {
            look_at,
            ..PageFilter::latest(OutputKind::Outcome, store.last_outputs()?, limit)
        })
    };
    for (limit, look_at) in [(1, 1), (1, 3), (2, 9), (9, 2), (99, 99)] {
        let filter = latest(limit, look_at)?;
        let found = pages(store, &filter, no_change)?;
        ensure!(
            found == ["d1", "e0", "b0", "a2", "c0"],
            "{limit} of {look_at}: {found:?}"
        );
        let every = PageFilter {
            every_revision: true,
            ..filter
        };
        let found = pages(store, &every, no_change)?;
        ensure!(
            found == ["d1", "e0", "b0", "d0", "a2", "a1", "a0", "c0"],
            "{limit} of {look_at}: {found:?}"
        );
    }
    filters(store, &latest(1, 2)?)?;

    // What is revised, or concluded for the first time, while pages are read moves nothing.
    let filter = latest(1, 4)?;
    let found = pages(store, &filter, || {
        r.concludes(40, &[("c", 1, 900), ("f", 0, 60)])?;
        s.concludes(50, &[("e", 1, 10)])
    })?;
    ensure!(found == ["d1", "e0", "b0", "a2", "c0"], "{found:?}");
    let found = pages(store, &latest(2, 4)?, no_change)?;
    ensure!(found == ["c1", "d1", "b0", "a2", "f0", "e1"], "{found:?}");
    by_name(store, &r)?;
    let none = PageFilter::latest(OutputKind::Maintenance, store.last_outputs()?, 9);
    ensure!(store.output_page(&none)?.outputs.is_empty());
    dead_letters(store)
}

/// Outputs by their ids, and by their subjects.
fn by_name(store: &dyn CheckpointStore, robot: &Robot<'_>) -> Result<()> {
    let names = |outputs: Vec<StoredOutput>| -> Vec<String> {
        let name = |stored: StoredOutput| format!("{}{}", stored.output.id, stored.output.revision);
        outputs.into_iter().map(name).collect()
    };
    let ids = ["a", "d", "nothing", "c"].map(str::to_owned);
    for (seen, found) in [
        (store.last_outputs()?, &["a2", "c1", "d1"][..]),
        (vec![3, 0, 1], &["a0", "c0", "d0"]),
        (vec![1], &["a0"]),
    ] {
        let mut last = names(store.last_revisions(OutputKind::Outcome, &ids, &seen)?);
        last.sort_unstable();
        ensure!(last == found, "{seen:?}: {last:?}");
    }
    ensure!(
        store
            .last_revisions(OutputKind::Phase, &ids, &[9, 9, 9])?
            .is_empty()
    );

    let version = |subject: &str, id: &str, event_time| OutputEvent {
        kind: OutputKind::FacilityVersion,
        robot_id: format!("@facility/{subject}"),
        id: id.to_owned(),
        subject: subject.to_owned(),
        revision: 0,
        event_time,
        payload: vec![1],
    };
    let mut saved = save("@facility/x", 1, &[]);
    saved.outputs = vec![
        version("z", "z", 5),
        version("B", "B", 5),
        version("é", "é", 1),
        version("a", "a-2", 7),
        version("a", "a-1", 6),
        version("b", "b", 5),
    ];
    let mut commit = commit(robot.epoch, vec![saved], 1);
    commit.partition = robot.partition;
    store.commit(&[commit], LogTime(60))?;
    for (after, subjects, found) in [
        (None, 9, &["B0", "a-10", "a-20", "b0", "z0", "é0"][..]),
        (None, 2, &["B0", "a-10", "a-20"]),
        (Some("B"), 1, &["a-10", "a-20"]),
        (Some("a"), 2, &["b0", "z0"]),
        (Some("é"), 2, &[]),
    ] {
        let outputs = store.of_subjects(OutputKind::FacilityVersion, after, subjects)?;
        let mut subjects_found: Vec<&str> = outputs
            .iter()
            .map(|stored| &*stored.output.subject)
            .collect();
        ensure!(subjects_found.is_sorted(), "{subjects_found:?}");
        subjects_found.dedup();
        ensure!(subjects_found.len() <= subjects, "{subjects_found:?}");
        let mut found_names = names(outputs);
        found_names.sort_unstable();
        ensure!(
            found_names == found,
            "{after:?} {subjects}: {found_names:?}"
        );
    }
    Ok(())
}

fn filters(store: &dyn CheckpointStore, all: &PageFilter) -> Result<()> {
    let of = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned());
        Some(names.collect::<Vec<String>>())
    };
    let with = |change: fn(&mut PageFilter)| {
        let mut filter = all.clone();
        change(&mut filter);
        pages(store, &filter, no_change)
    };
    for (names, wanted) in [
        (vec!["r"], vec!["b0", "a2", "c0"]),
        (vec!["s"], vec!["d1", "e0"]),
        (vec!["s", "r"], vec!["d1", "e0", "b0", "a2", "c0"]),
        (vec![], vec![]),
        (vec!["t"], vec![]),
    ] {
        let filter = PageFilter {
            robots: of(&names),
            ..all.clone()
        };
        let found = pages(store, &filter, no_change)?;
        ensure!(found == wanted, "{names:?}: {found:?}");
    }
    let found = with(|it| (it.from, it.until) = (Some(100), Some(300)))?;
    ensure!(found == ["a2"], "{found:?}");
    let found = with(|it| it.subject = Some("case".to_owned()))?;
    ensure!(found.len() == 5, "{found:?}");
    let found = with(|it| it.subject = Some("other".to_owned()))?;
    ensure!(found.is_empty(), "{found:?}");
    let found = with(|it| it.changed_since = Some(LogTime(0)))?;
    ensure!(found == ["b0", "c0", "d1", "e0", "a2"], "{found:?}");
    let found = with(|it| it.changed_since = Some(LogTime(20)))?;
    ensure!(found == ["d1", "e0", "a2"], "{found:?}");
    let found = with(|it| {
        it.changed_since = Some(LogTime(20));
        it.robots = Some(vec!["s".to_owned()]);
        it.until = Some(400);
    })?;
    ensure!(found == ["e0"], "{found:?}");
    let found = with(|it| it.seen = vec![3])?;
    ensure!(found == ["b0", "a0", "c0"], "as it was: {found:?}");
    let found = with(|it| {
        it.after = Some(OutputPlace {
            time: 300,
            id: "e".to_owned(),
            revision: 0,
        })
    })?;
    ensure!(found == ["b0", "a2", "c0"], "{found:?}");
    Ok(())
}

fn dead_letters(store: &dyn CheckpointStore) -> Result<()> {
    for (partition, letters) in [(0, 3), (2, 1)] {
        let mut buried = save("", 1, &[]);
        buried.dead = (0..letters).map(dead).collect();
        let mut commit = commit(store.acquire(partition)?, vec![buried], 1);
        commit.partition = partition;
        store.commit(&[commit], LogTime(60))?;
    }
    let mut found: Vec<(u64, Partition)> = Vec::new();
    for _ in 0..3 {
        let page = store.dead_page(found.last().copied(), 2)?;
        found.extend(
            page.iter()
                .map(|stored| (stored.sequence, stored.partition)),
        );
    }
    ensure!(found == [(3, 0), (2, 0), (1, 0), (1, 2)], "{found:?}");
    Ok(())
}

fn dead(offset: u64) -> DeadRow {
    DeadRow {
        topic: 0,
        offset,
        append_time: 3,
        reason: DeadReason::BadFrame,
        detail: String::new(),
        robot_id: None,
        schema_id: None,
        payload: Vec::new(),
        sealed: false,
        size: 3,
        sha256: String::new(),
    }
}
