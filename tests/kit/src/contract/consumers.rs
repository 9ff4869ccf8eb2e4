//! Consumers of outputs: their positions in the store, exports, and what expires behind them.

use anyhow::{Result, ensure};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::*;
use theatre_actors::time::LogTime;

use super::{commit, file, save};

/// Each consumer of the outbox has a position of its own in each partition, whatever its name.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_keeps_a_position_for_each_consumer(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let epochs = [store.acquire(0)?, store.acquire(1)?];
    ensure!(
        store.status(0)?.cursors == Cursors::default(),
        "no consumer has delivered anything"
    );
    // More than there is: the store does not ask what a position means.
    for (partition, consumer, position) in [
        (0, "relay", 3),
        (0, "webhook of a customer", 5),
        (1, "relay", 7),
        (0, "search", 0),
    ] {
        store.advance_cursor(partition, epochs[partition as usize], consumer, position)?;
    }
    let export = |consumer: &str, after: u64, up_to: u64| Export {
        consumer: consumer.to_owned(),
        after,
        up_to,
        files: Vec::new(),
    };
    store.commit_export(0, epochs[0], &export("copy", 0, 4))?;
    store.commit_export(0, epochs[0], &export("copy", 4, 6))?;
    store.commit_export(0, epochs[0], &export("search", 0, 1))?;
    for overtaken in [
        export("copy", 4, 7),
        export("other", 1, 2),
        export("relay", 0, 4),
    ] {
        ensure!(
            matches!(
                store.commit_export(0, epochs[0], &overtaken),
                Err(Error::Unavailable { .. })
            ),
            "{overtaken:?}"
        );
    }
    let positions = |partition| -> Result<Vec<(String, u64)>> {
        let cursors = store.status(partition)?.cursors;
        Ok(cursors
            .iter()
            .map(|(name, at)| (name.to_owned(), at))
            .collect())
    };
    let named = |positions: &[(&str, u64)]| -> Vec<(String, u64)> {
        positions
            .iter()
            .map(|(name, at)| ((*name).to_owned(), *at))
            .collect()
    };
    let there = [
        ("copy", 6),
        ("relay", 3),
        ("search", 1),
        ("webhook of a customer", 5),
    ];
    ensure!(positions(0)? == named(&there), "{:?}", positions(0)?);
    ensure!(
        positions(1)? == named(&[("relay", 7)]),
        "{:?}",
        positions(1)?
    );
    ensure!(
        store.acquire(0)? > epochs[0] && positions(0)? == named(&there),
        "they outlive an owner"
    );
    ensure!(matches!(
        store.advance_cursor(0, epochs[0], "relay", 9),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(matches!(
        store.commit_export(0, epochs[0], &export("copy", 6, 9)),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(
        positions(0)? == named(&there),
        "a former owner moves nothing"
    );
    Ok(())
}

/// Window revisions that are old enough go; what they are numbered by, and everything else, stays.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_expires_windows(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    for number in 1..=4 {
        let (window, alert) = (format!("w{number}"), format!("a{number}"));
        let mut save = save("r", number, &[(&window, 0), (&alert, 0)]);
        save.outputs[0].kind = OutputKind::Window;
        store.commit(&[commit(epoch, vec![save], 9)], LogTime(number as i64 * 10))?;
    }
    let left = || -> Result<Vec<String>> {
        Ok(store
            .outputs_after(0, 0, 99)?
            .into_iter()
            .map(|stored| stored.output.id)
            .collect())
    };
    let expiry = Expiry {
        before: LogTime(30),
        after: 0,
        up_to: 8,
        limit: 99,
    };
    ensure!(matches!(
        store.expire_outputs(0, epoch + 1, expiry),
        Err(Error::StaleEpoch { .. })
    ));
    ensure!(
        store.expire_outputs(0, epoch, Expiry { up_to: 0, ..expiry })? == 0
            && store.expire_outputs(
                0,
                epoch,
                Expiry {
                    before: LogTime(10),
                    ..expiry
                }
            )? == 0
    );
    ensure!(left()?.len() == 8, "nothing was old enough, or looked at");
    ensure!(
        store.expire_outputs(0, epoch, Expiry { limit: 2, ..expiry })? == 2
            && left()? == ["a1", "w2", "a2", "w3", "a3", "w4", "a4"]
    );
    ensure!(
        store.expire_outputs(
            0,
            epoch,
            Expiry {
                after: 2,
                up_to: 3,
                ..expiry
            }
        )? == 3
            && left()? == ["a1", "a2", "w3", "a3", "w4", "a4"]
    );
    ensure!(
        store.expire_outputs(0, epoch, Expiry { after: 3, ..expiry })? == 4,
        "an alert of that age is passed over"
    );
    ensure!(
        store.expire_outputs(0, epoch, Expiry { after: 4, ..expiry })? == 4 && left()?.len() == 6,
        "what is younger stays"
    );
    let done = store.commit(
        &[commit(epoch, vec![save("r", 5, &[("a5", 0)])], 9)],
        LogTime(50),
    )?;
    ensure!(
        done == [CommitOutcome::Committed {
            last_output: 9,
            last_dead: 0
        }],
        "numbers go on: {done:?}"
    );
    ensure!(
        store
            .outputs_after(0, 4, 2)?
            .iter()
            .map(|stored| stored.sequence)
            .eq([5, 6])
            && store.outputs_after(0, 8, 9)?.len() == 1
    );
    Ok(())
}

/// Exports follow each other without gap and overlap.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_exports_each_output_once(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 1)?;
    let epoch = store.acquire(0)?;
    let export = |after: u64, up_to: u64| Export {
        consumer: "exporter".to_owned(),
        after,
        up_to,
        files: vec![file(&format!("{after}-{up_to}"), "t")],
    };
    store.commit_export(0, epoch, &export(0, 40))?;
    for overtaken in [export(0, 40), export(0, 50), export(30, 50), export(41, 50)] {
        ensure!(
            matches!(
                store.commit_export(0, epoch, &overtaken),
                Err(Error::Unavailable { .. })
            ),
            "{overtaken:?}"
        );
    }
    ensure!(matches!(
        store.commit_export(0, epoch + 1, &export(40, 50)),
        Err(Error::StaleEpoch { .. })
    ));
    store.commit_export(0, epoch, &export(40, 50))?;
    let paths: Vec<String> = store
        .all_files()?
        .into_iter()
        .map(|file| file.file.path)
        .collect();
    ensure!(
        paths == ["0-40", "40-50"] && store.status(0)?.cursors.get("exporter") == 50,
        "{paths:?}"
    );
    Ok(())
}
