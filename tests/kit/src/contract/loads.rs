//! Files of the lake in the store: cuts, stages, and the plan of loads.

use anyhow::{Result, ensure};
use theatre_actors::ports::*;
use theatre_actors::position::Positions;

use super::file;

/// Cuts, exports, stages, loads and bisection.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_plans_loads(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let cut = LakeCut {
        cut_number: 1,
        positions: Positions::from(vec![5]),
        state: vec![1, 2],
        files: vec![
            file("1", "t"),
            file("2", "t"),
            file("3", "t"),
            file("4", "u"),
        ],
    };
    store.commit_cut(0, epoch, &cut)?;
    // Made by a writer that looked before it was in, and from more of the log: refused, so that it
    // is made anew from where that one ends.
    let later = LakeCut {
        positions: Positions::from(vec![9]),
        files: vec![file("5", "t")],
        ..cut.clone()
    };
    for overtaken in [
        &cut,
        &later,
        &LakeCut {
            cut_number: 3,
            ..later.clone()
        },
    ] {
        ensure!(
            matches!(
                store.commit_cut(0, epoch, overtaken),
                Err(Error::Unavailable { .. })
            ),
            "{overtaken:?}"
        );
    }
    ensure!(
        store.all_files()?.len() == 4 && store.lake_state(0)? == [1, 2],
        "a cut is registered once"
    );
    ensure!(store.status(0)?.lake_positions == cut.positions && store.status(0)?.lake_cuts == 1);
    ensure!(matches!(
        store.commit_cut(0, epoch + 1, &cut),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(
        store.plan_load(0, epoch, 10)?.is_none(),
        "what is not completed is not loaded"
    );
    store.mark_completed(0, epoch, &[1, 2, 3, 4])?;
    let numbers = |batch: &LoadBatch| {
        batch
            .files
            .iter()
            .map(|file| file.number)
            .collect::<Vec<_>>()
    };
    let batch = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("nothing to load"))?;
    ensure!(
        batch.dataset == "t" && numbers(&batch) == [1, 2, 3],
        "one table at a time: {batch:?}"
    );
    ensure!(
        store.plan_load(0, epoch, 10)?.as_ref() == Some(&batch),
        "a batch stays planned until it is settled"
    );
    store.split_load(0, epoch, &batch.id, &[])?;
    let half = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("no half"))?;
    ensure!(numbers(&half) == [1] && half.id != batch.id, "{half:?}");
    store.split_load(0, epoch, &half.id, &[(1, "bad".to_owned())])?;
    let rest = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("no rest"))?;
    ensure!(numbers(&rest) == [2, 3], "{rest:?}");
    store.mark_loaded(0, epoch, &rest.id)?;
    let last = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("no last"))?;
    ensure!(last.dataset == "u");
    store.mark_loaded(0, epoch, &last.id)?;
    ensure!(store.plan_load(0, epoch, 10)?.is_none());
    let stages: Vec<FileStage> = store.all_files()?.iter().map(|file| file.stage).collect();
    ensure!(
        stages
            == [
                FileStage::Quarantined,
                FileStage::Loaded,
                FileStage::Loaded,
                FileStage::Loaded
            ],
        "{stages:?}"
    );
    ensure!(store.all_files()?[0].note.as_deref() == Some("bad"));
    ensure!(
        store.requeue_quarantined()? == 1 && store.requeue_quarantined()? == 0,
        "what is set aside is put back once"
    );
    let first = &store.all_files()?[0];
    ensure!(
        (first.stage, &first.batch, &first.note) == (FileStage::Completed, &None, &None),
        "{first:?}"
    );
    let again = store
        .plan_load(0, epoch, 10)?
        .ok_or_else(|| anyhow::anyhow!("not put back"))?;
    ensure!(
        numbers(&again) == [1],
        "nothing else is loaded again: {again:?}"
    );
    store.mark_loaded(0, epoch, &again.id)?;
    ensure!(store.requeue_quarantined()? == 0 && store.plan_load(0, epoch, 10)?.is_none());
    sets_lost_files_aside(store, epoch)
}

/// A file whose upload is gone is neither completed nor loaded until an operator puts it back.
fn sets_lost_files_aside(store: &dyn CheckpointStore, epoch: Epoch) -> Result<()> {
    store.commit_export(
        0,
        epoch,
        &Export {
            consumer: "exporter".to_owned(),
            after: 0,
            up_to: 1,
            files: vec![file("5", "t")],
        },
    )?;
    ensure!(matches!(
        store.mark_lost(0, epoch + 1, 5, "gone"),
        Err(Error::StaleEpoch { .. })
    ));
    store.mark_lost(0, epoch, 5, "gone")?;
    store.mark_lost(0, epoch, 4, "it is loaded already")?;
    store.mark_completed(0, epoch, &[5])?;
    let stage_and_note = |number: usize| -> Result<(FileStage, Option<String>)> {
        Ok(store.all_files()?.remove(number - 1)).map(|file| (file.stage, file.note))
    };
    ensure!(
        stage_and_note(5)? == (FileStage::Lost, Some("gone".to_owned()))
            && stage_and_note(4)? == (FileStage::Loaded, None)
    );
    ensure!(
        store.files(0, FileStage::Registered, 10)?.is_empty()
            && store.plan_load(0, epoch, 10)?.is_none()
    );
    ensure!(
        store.requeue_quarantined()? == 1 && stage_and_note(5)? == (FileStage::Registered, None),
        "it is looked for once more"
    );
    store.mark_completed(0, epoch, &[5])?;
    ensure!(
        store
            .plan_load(0, epoch, 10)?
            .is_some_and(|batch| batch.files.len() == 1)
    );
    Ok(())
}

/// Plans beside batches that cannot be loaded for now: they stay as they are.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_plans_beside_what_is_stuck(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let files = [
        ("1", "t"),
        ("2", "t"),
        ("3", "t"),
        ("4", "u"),
        ("5", "t"),
        ("6", "v"),
    ]
    .map(|(name, dataset)| file(name, dataset))
    .to_vec();
    store.commit_cut(
        0,
        epoch,
        &LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![5]),
            state: Vec::new(),
            files,
        },
    )?;
    store.mark_completed(0, epoch, &[1, 2, 3, 4, 5, 6])?;
    let passed = |batches: &[&LoadBatch], datasets: &[&str]| DeferredBatches {
        batches: batches.iter().map(|batch| batch.id.clone()).collect(),
        datasets: datasets.iter().map(|name| (*name).to_owned()).collect(),
    };
    let plan = |passed: &DeferredBatches| -> Result<Option<LoadBatch>> {
        Ok(store.plan_load_beside(0, epoch, 2, passed)?)
    };
    let planned = |passed: &DeferredBatches| -> Result<LoadBatch> {
        plan(passed)?.ok_or_else(|| anyhow::anyhow!("nothing is planned beside {passed:?}"))
    };
    let numbers = |batch: &LoadBatch| {
        batch
            .files
            .iter()
            .map(|file| file.number)
            .collect::<Vec<_>>()
    };
    ensure!(matches!(
        store.plan_load_beside(0, epoch + 1, 2, &passed(&[], &[])),
        Err(Error::StaleEpoch { .. })
    ));
    let first = planned(&passed(&[], &[]))?;
    ensure!(numbers(&first) == [1, 2], "{first:?}");
    ensure!(
        plan(&passed(&[], &["t"]))?.as_ref() == Some(&first),
        "of a dataset that is passed over, what is planned is still returned"
    );
    let other = planned(&passed(&[&first], &["t"]))?;
    ensure!(other.dataset == "u" && numbers(&other) == [4], "{other:?}");
    let second = planned(&passed(&[&first, &other], &[]))?;
    ensure!(
        numbers(&second) == [3, 5],
        "what is in a batch is in no other: {second:?}"
    );
    ensure!(plan(&passed(&[&first, &other, &second], &["t", "u", "v"]))?.is_none());
    ensure!(
        planned(&passed(&[], &[]))? == first,
        "what was passed over is as it was"
    );
    store.mark_loaded(0, epoch, &first.id)?;
    ensure!(
        planned(&passed(&[], &[]))? == second,
        "the earliest of what is planned"
    );
    store.split_load(0, epoch, &second.id, &[])?;
    let half = planned(&passed(&[&second], &[]))?;
    ensure!(numbers(&half) == [3], "{half:?}");
    Ok(())
}

/// Files are found by dataset, partition and event times.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_finds_files(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let dated = |name: &str, dataset: &str, first: i64, last: i64| LakeFile {
        event_time_min: first,
        event_time_max: last,
        ..file(name, dataset)
    };
    for partition in 0..2 {
        let epoch = store.acquire(partition)?;
        let files = [
            dated("early", "t", i64::MIN, -5),
            dated("wide", "t", -7, 20),
            dated("late", "t", 10, i64::MAX),
            dated("other", "u", 0, 9),
        ];
        let cut = LakeCut {
            cut_number: 1,
            positions: Positions::from(vec![5]),
            state: Vec::new(),
            files: files.to_vec(),
        };
        store.commit_cut(partition, epoch, &cut)?;
    }
    let found = |partition, from, until| -> Result<Vec<(u32, String)>> {
        let filter = FileFilter {
            dataset: "t".to_owned(),
            partition,
            from,
            until,
        };
        let files = store.find_files(&filter)?.into_iter();
        Ok(files.map(|it| (it.partition, it.file.path)).collect())
    };
    let expected = |partitions: &[u32], paths: &[&str]| -> Vec<(u32, String)> {
        let of = |partition: &u32| {
            let partition = *partition;
            paths
                .iter()
                .map(move |path| (partition, (*path).to_owned()))
        };
        partitions.iter().flat_map(of).collect()
    };
    for (partition, from, until, paths) in [
        (Some(1), i64::MIN, i64::MAX, &["early", "wide", "late"][..]),
        (Some(1), -5, -4, &["early", "wide"]),
        (Some(0), -4, 10, &["wide"]),
        (None, 20, 21, &["wide", "late"]),
        (None, 21, 30, &["late"]),
        (Some(2), i64::MIN, i64::MAX, &[]),
    ] {
        let partitions = partition.map_or(vec![0, 1], |partition| vec![partition]);
        let (found, expected) = (found(partition, from, until)?, expected(&partitions, paths));
        ensure!(found == expected, "{partition:?} {from} {until}: {found:?}");
    }
    Ok(())
}
