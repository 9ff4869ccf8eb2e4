//! What is done about dead letters: sent again, erased.

use anyhow::{Result, ensure};
use theatre_actors::outputs::{DeadReason, DeadRow};
use theatre_actors::ports::{CheckpointStore, DeadReplay, Error};
use theatre_actors::time::LogTime;

use super::{commit, save};

fn dead(offset: u64) -> DeadRow {
    DeadRow {
        topic: 0,
        offset,
        append_time: 3,
        reason: DeadReason::Undecodable,
        detail: "what a person typed".to_owned(),
        robot_id: None,
        schema_id: Some(7),
        payload: vec![1, 0, 2],
        sealed: true,
        size: 3,
        sha256: "ab".to_owned(),
    }
}

fn replay(sequence: u64, count: u32) -> DeadReplay {
    DeadReplay {
        partition: 0,
        sequence,
        count,
        topic: 4,
        to: 1,
        after: 1 << 40,
        offset: None,
        begun_at: LogTime(11),
    }
}

/// What was begun is known until it is finished and afterwards, all of it or nothing; what was
/// erased keeps its number, its place and its reason.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_keeps_what_is_done_about_dead_letters(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let (epoch, other) = (store.acquire(0)?, store.acquire(1)?);
    let mut buried = save("", 1, &[]);
    buried.dead = (0..4).map(dead).collect();
    let mut elsewhere = commit(other, vec![buried.clone()], 1);
    elsewhere.partition = 1;
    store.commit(&[commit(epoch, vec![buried], 1), elsewhere], LogTime(5))?;

    let all: Vec<_> = (0..2)
        .flat_map(|of| (1..9).map(move |it| (of, it)))
        .collect();
    ensure!(store.dead_replays(&all)?.is_empty());
    let erased = store.begin_dead_replays(&[replay(3, 1), replay(1, 2)])?;
    ensure!(erased.is_empty() && store.dead_replays(&all)? == [replay(1, 2), replay(3, 1)]);
    ensure!(store.dead_replays_in_doubt()? == [replay(1, 2), replay(3, 1)]);
    ensure!(
        matches!(
            store.begin_dead_replays(&[replay(2, 1), replay(3, 2)]),
            Err(Error::Unavailable { .. })
        ),
        "one that was begun is not begun again"
    );
    ensure!(
        store.dead_replays_in_doubt()?.len() == 2,
        "none is begun where one is refused"
    );
    store.finish_dead_replays(&[(0, 3, 1 << 41), (0, 9, 1), (1, 1, 1)])?;
    let sent = DeadReplay {
        offset: Some(1 << 41),
        ..replay(3, 1)
    };
    ensure!(store.dead_replays(&all)? == [replay(1, 2), sent.clone()]);
    replays_are_found_by_what_is_asked(store, &sent)?;

    ensure!(store.purge_dead(&[(0, 2), (0, 3), (0, 9), (7, 1)], LogTime(21))? == 2);
    ensure!(
        store.purge_dead(&[(0, 2), (1, 4)], LogTime(22))? == 1,
        "what is erased is not erased again"
    );
    let found = store.dead_after(0, 0, 9)?;
    let numbers: Vec<u64> = found.iter().map(|stored| stored.sequence).collect();
    ensure!(numbers == [1, 2, 3, 4], "numbers stay dense: {numbers:?}");
    let since: Vec<_> = found.iter().map(|stored| stored.purged_at).collect();
    let erased = Some(LogTime(21));
    ensure!(since == [None, erased, erased, None], "{since:?}");
    ensure!(found[0].dead == dead(0) && found[3].dead == dead(3));
    let wanted = DeadRow {
        payload: Vec::new(),
        detail: String::new(),
        ..dead(1)
    };
    ensure!(found[1].dead == wanted, "{:?}", found[1]);
    let newest = store.find_dead(2)?;
    ensure!(newest[0].purged_at.is_none() && newest[1].purged_at == Some(LogTime(22)));
    ensure!(store.status(0)?.last_dead == 4);
    ensure!(store.dead_replays(&all)? == [replay(1, 2), sent.clone()]);
    what_is_erased_is_not_begun_and_what_is_absent_is_forgotten(store, &sent)
}

/// The dead letters 2 and 3 are erased; the replay of 3 is `sent`, the one of 1 is in doubt.
fn what_is_erased_is_not_begun_and_what_is_absent_is_forgotten(
    store: &dyn CheckpointStore,
    sent: &DeadReplay,
) -> Result<()> {
    let all: Vec<_> = (1..9).map(|number| (0, number)).collect();
    let erased = store.begin_dead_replays(&[replay(2, 1), replay(4, 1)])?;
    ensure!(erased == [(0, 2)], "{erased:?}");
    ensure!(store.dead_replays(&all)? == [replay(1, 2), sent.clone(), replay(4, 1)]);
    store.forget_dead_replays(&[(0, 1), (0, 3), (0, 9), (1, 4)])?;
    ensure!(store.dead_replays(&all)? == [sent.clone(), replay(4, 1)]);
    store.forget_dead_replays(&[])?;
    store.begin_dead_replays(&[replay(1, 1)])?;
    ensure!(store.dead_replays_in_doubt()? == [replay(1, 1), replay(4, 1)]);
    Ok(())
}

/// Of two replays the one of the dead letter 3 is `sent`, the one of 1 is in doubt.
fn replays_are_found_by_what_is_asked(
    store: &dyn CheckpointStore,
    sent: &DeadReplay,
) -> Result<()> {
    ensure!(store.dead_replays_in_doubt()? == [replay(1, 2)]);
    let asked = [(0, 3), (0, 2), (1, 1), (0, 3)];
    ensure!(store.dead_replays(&asked)? == [sent.clone()], "each once");
    ensure!(store.dead_replays(&[])?.is_empty());
    // Another topic, another partition, the place from which on a copy in doubt may stand.
    let elsewhere = [(3, 1, 1 << 41), (4, 0, 1 << 41), (4, 1, 1 << 40)];
    ensure!(store.dead_replays_at(&elsewhere)?.is_empty());
    let place = (4, 1, 1 << 41);
    ensure!(store.dead_replays_at(&[place, place])? == std::slice::from_ref(sent));
    ensure!(store.dead_replays_at(&[])?.is_empty());
    let at = 1 << 41;
    for (topic, to, offsets, is_there) in [
        (4, 1, at..at + 1, true),
        (4, 1, 0..u64::MAX, true),
        (4, 1, 0..at, false),
        (4, 1, at + 1..u64::MAX, false),
        (3, 1, 0..u64::MAX, false),
        (4, 0, 0..u64::MAX, false),
    ] {
        let found = store.dead_replays_within(topic, to, offsets.clone())?;
        let wanted: &[DeadReplay] = if is_there {
            std::slice::from_ref(sent)
        } else {
            &[]
        };
        ensure!(found == wanted, "{topic} {to} {offsets:?}: {found:?}");
    }
    Ok(())
}
