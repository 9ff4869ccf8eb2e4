//! Commits of the store: epochs, processors, homes, outputs and dead letters.

use anyhow::{Result, ensure};
use theatre_actors::outputs::{DeadReason, DeadRow, OutputKind};
use theatre_actors::ports::*;
use theatre_actors::time::LogTime;

use super::{commit, save};

/// Epochs, saves and outputs.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_commits_once_and_fences(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    ensure!(
        store.ensure_layout(&["a".to_owned()], 3).is_err()
            && store.ensure_layout(&["b".to_owned()], 2).is_err(),
        "another layout is refused"
    );
    store.ensure_layout(&["a".to_owned(), "b".to_owned()], 2)?;
    let (first, other) = (store.acquire(0)?, store.acquire(1)?);
    let mut with_dead = save("r", 1, &[("c", 0), ("c", 1)]);
    with_dead.dead.push(DeadRow {
        topic: 0,
        offset: 4,
        append_time: 0,
        reason: DeadReason::Late,
        detail: String::new(),
        robot_id: None,
        schema_id: None,
        payload: vec![],
        sealed: false,
        size: 0,
        sha256: String::new(),
    });
    let once = commit(first, vec![with_dead], 3);
    let done = store.commit(std::slice::from_ref(&once), LogTime(9))?;
    ensure!(
        done == [CommitOutcome::Committed {
            last_output: 2,
            last_dead: 1
        }],
        "{done:?}"
    );
    ensure!(
        store.commit(&[once], LogTime(9))? == done,
        "a commit of unknown fate can be repeated"
    );
    let outputs = store.outputs_after(0, 0, 10)?;
    ensure!(
        outputs.iter().map(|output| output.sequence).eq([1, 2])
            && store.outputs_after(0, 1, 10)?.len() == 1,
        "numbers are dense"
    );
    ensure!(store.dead_after(0, 0, 10)?.len() == 1);
    store.commit(&[commit(first, vec![], 1)], LogTime(9))?;
    ensure!(
        store.status(0)?.floor.get(0) == 3,
        "the floor never moves back"
    );
    ensure!(
        store
            .commit(
                &[commit(first, vec![save("r", 2, &[("c", 1)])], 3)],
                LogTime(9)
            )
            .is_err(),
        "the same output twice is a bug that is reported"
    );
    ensure!(
        store
            .processor(0, "r")?
            .is_some_and(|processor| processor.save_number == 1),
        "and nothing of such a commit stays"
    );

    let second = store.acquire(0)?;
    ensure!(second > first);
    let mut elsewhere = commit(other, vec![save("s", 1, &[])], 1);
    elsewhere.partition = 1;
    let mixed = store.commit(
        &[commit(first, vec![save("r", 2, &[])], 9), elsewhere],
        LogTime(9),
    )?;
    ensure!(
        matches!(mixed[0], CommitOutcome::Stale { current } if current == second)
            && matches!(mixed[1], CommitOutcome::Committed { .. }),
        "{mixed:?}"
    );
    ensure!(
        store
            .processor(0, "r")?
            .is_some_and(|processor| processor.save_number == 1)
            && store.processor(1, "s")?.is_some(),
        "the stale part is left out, the rest is committed"
    );
    for stale in [
        store.advance_cursor(0, first, "relay", 2),
        store.mark_completed(0, first, &[1]),
        store.mark_loaded(0, first, "x"),
        store.plan_load(0, first, 1).map(drop),
    ] {
        ensure!(
            matches!(stale, Err(Error::StaleEpoch { .. })),
            "every write is fenced"
        );
    }
    store.advance_cursor(0, second, "relay", 2)?;
    store.advance_cursor(0, second, "relay", 1)?;
    ensure!(
        store.status(0)?.cursors.get("relay") == 2,
        "a consumer's position never moves back"
    );
    Ok(())
}

/// Homes of robots.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_keeps_homes(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let (first, second) = (store.acquire(0)?, store.acquire(1)?);
    ensure!(store.claim_homes(0, first, &[])?.is_empty());
    ensure!(
        store.claim_homes(0, first, &["b", "a"])? == [0, 0],
        "the partition that asks first is the home"
    );
    ensure!(
        store.claim_homes(0, first, &["a", "b"])? == [0, 0],
        "a claim can be repeated"
    );
    ensure!(
        store.claim_homes(1, second, &["c", "a", "d", "c", "b"])? == [1, 0, 1, 1, 0],
        "a home never changes, and answers keep the order"
    );
    let third = store.acquire(0)?;
    ensure!(
        matches!(store.claim_homes(0, first, &["e"]), Err(Error::StaleEpoch { partition: 0, ours, current }) if (ours, current) == (first, third))
    );
    ensure!(
        store.claim_homes(1, second, &["e"])? == [1],
        "a stale claim left nothing"
    );
    ensure!(
        store.claim_homes(0, third, &["c", "b"])? == [1, 0],
        "a new owner finds the same homes"
    );
    Ok(())
}

/// Names come from outside: any characters, read back as they were, in order of their bytes.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_takes_any_name(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let names = [
        "",
        "\0",
        "\u{1}",
        "\u{1}0",
        "A",
        "a",
        "a\0b",
        "a\u{1}0b",
        "a b'\"\\{},NULL",
        "ä",
        "\u{1F916}",
    ];
    let saves = names
        .iter()
        .rev()
        .map(|name| save(name, 1, &[(name, 0)]))
        .collect();
    store.commit(&[commit(epoch, saves, 1)], LogTime(9))?;
    ensure!(
        store
            .processors(0)?
            .iter()
            .map(|processor| processor.processor.as_str())
            .eq(names),
        "processors in order of their bytes"
    );
    let mut numbers = store.save_numbers(0)?;
    numbers.sort();
    ensure!(
        numbers.iter().map(|(name, _)| name.as_str()).eq(names)
            && numbers.iter().all(|(_, number)| *number == 1),
        "{numbers:?}"
    );
    let asked = ["a\u{1}0b", "no such", "ä", ""];
    let mut found = store.processors_named(0, &asked)?;
    found.sort_by(|left, right| left.processor.cmp(&right.processor));
    let found_names = found.iter().map(|processor| processor.processor.as_str());
    ensure!(found_names.eq(["", "a\u{1}0b", "ä"]), "{found:?}");
    ensure!(
        found.iter().all(|one| store
            .processor(0, &one.processor)
            .is_ok_and(|it| it.as_ref() == Some(one))),
        "{found:?}"
    );
    for name in names {
        ensure!(
            store
                .processor(0, name)?
                .is_some_and(|processor| processor.processor == name),
            "{name:?}"
        );
        let found = store.find_outputs(&OutputFilter {
            robot_id: Some(name.to_owned()),
            ..OutputFilter::default()
        })?;
        ensure!(
            found.len() == 1 && found[0].output.robot_id == name && found[0].output.id == name,
            "{name:?}: {found:?}"
        );
    }
    ensure!(store.claim_homes(0, epoch, &names)? == [0; 11]);
    Ok(())
}

/// Commits that repeat a processor, come again in part, or are not in order; and finding what they
/// left.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_numbers_densely(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 3)?;
    let (zero, two) = (store.acquire(0)?, store.acquire(2)?);
    let mut later = commit(
        two,
        vec![
            save("z", 1, &[("z1", 0)]),
            save("y", 1, &[("y1", 0), ("y2", 0)]),
        ],
        4,
    );
    later.partition = 2;
    let earlier = commit(
        zero,
        vec![
            save("r", 1, &[("r1", 0)]),
            save("s", 1, &[]),
            save("r", 2, &[("r2", 0)]),
            save("r", 1, &[("r9", 0)]),
        ],
        4,
    );
    let done = store.commit(&[later.clone(), earlier], LogTime(5))?;
    ensure!(
        done == [
            CommitOutcome::Committed {
                last_output: 3,
                last_dead: 0
            },
            CommitOutcome::Committed {
                last_output: 2,
                last_dead: 0
            }
        ],
        "{done:?}"
    );
    let ids = |partition| -> Result<Vec<String>> {
        Ok(store
            .outputs_after(partition, 0, 99)?
            .into_iter()
            .map(|output| output.output.id)
            .collect())
    };
    ensure!(
        ids(0)? == ["r1", "r2"] && ids(2)? == ["z1", "y1", "y2"],
        "outputs in the order given, those of an older save left out"
    );
    ensure!(
        store
            .processor(0, "r")?
            .is_some_and(|processor| processor.save_number == 2 && processor.state == [2])
    );
    later.processors[1] = save("y", 2, &[("y3", 0)]);
    ensure!(
        store.commit(&[later], LogTime(6))?
            == [CommitOutcome::Committed {
                last_output: 4,
                last_dead: 0
            }],
        "what is new in a commit that is there in part"
    );
    ensure!(ids(2)? == ["z1", "y1", "y2", "y3"]);
    let twice = store.commit(
        &[commit(zero, vec![save("t", 1, &[("t1", 0), ("t1", 0)])], 4)],
        LogTime(7),
    );
    ensure!(
        matches!(&twice, Err(Error::Refused(why)) if why.contains("'t1'") && why.contains("is there already")),
        "{twice:?}"
    );
    let unknown = store.commit(
        &[PartitionCommit {
            partition: 1,
            ..commit(7, vec![save("u", 1, &[])], 4)
        }],
        LogTime(7),
    )?;
    ensure!(
        unknown == [CommitOutcome::Stale { current: 0 }],
        "a partition that was never acquired: {unknown:?}"
    );
    let newest = store.find_outputs(&OutputFilter {
        limit: 2,
        ..OutputFilter::default()
    })?;
    ensure!(
        newest
            .iter()
            .map(|output| output.output.id.as_str())
            .eq(["r2", "y3"]),
        "the newest by commit, in order: {newest:?}"
    );
    ensure!(
        store
            .find_outputs(&OutputFilter {
                kind: Some(OutputKind::Window),
                ..OutputFilter::default()
            })?
            .is_empty()
    );
    for (id, there) in [("y3", true), ("none", false)] {
        let found = store.find_outputs(&OutputFilter {
            id: Some(id.to_owned()),
            ..OutputFilter::default()
        })?;
        ensure!(
            found.is_empty() != there && found.iter().all(|found| found.output.id == id),
            "{id}: {found:?}"
        );
    }
    ensure!(
        store
            .find_outputs(&OutputFilter {
                from: Some(5),
                until: Some(6),
                subject: Some("rule".to_owned()),
                ..OutputFilter::default()
            })?
            .len()
            == 6
    );
    ensure!(
        store
            .find_outputs(&OutputFilter {
                until: Some(5),
                ..OutputFilter::default()
            })?
            .is_empty(),
        "before, not at"
    );
    Ok(())
}
