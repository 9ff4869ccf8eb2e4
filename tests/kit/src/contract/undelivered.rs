//! Outputs of one kind, and those that consumers could not deliver.

use anyhow::{Result, ensure};
use theatre_actors::outputs::OutputKind;
use theatre_actors::ports::{CheckpointStore, Error, StoredUndelivered, Undelivered};
use theatre_actors::time::LogTime;

use super::{commit, save};

fn names(found: &[StoredUndelivered]) -> Vec<String> {
    let name = |noted: &StoredUndelivered| {
        let (partition, sequence) = (noted.output.partition, noted.output.sequence);
        format!("{} {partition}/{sequence} {}", noted.consumer, noted.reason)
    };
    found.iter().map(name).collect()
}

/// What a consumer could not deliver is kept with its reason and its output until it is settled,
/// and the consumer's position moves over it at once.
///
/// # Errors
/// Says what the adapter does not keep.
pub fn store_keeps_what_was_not_delivered(store: &dyn CheckpointStore) -> Result<()> {
    store.ensure_layout(&["a".to_owned()], 2)?;
    let (first, other) = (store.acquire(0)?, store.acquire(1)?);
    let mut mixed = save("r", 1, &[("a", 0), ("b", 0), ("w", 0), ("c", 0)]);
    mixed.outputs[2].kind = OutputKind::Window;
    let mut elsewhere = commit(other, vec![save("s", 1, &[("d", 0)])], 1);
    elsewhere.partition = 1;
    store.commit(&[commit(first, vec![mixed], 1), elsewhere], LogTime(1))?;
    let alerts = |after, limit| -> Result<Vec<u64>> {
        let found = store.outputs_of_kind_after(0, OutputKind::Alert, after, limit)?;
        Ok(found.iter().map(|stored| stored.sequence).collect())
    };
    ensure!(alerts(0, 9)? == [1, 2, 4] && alerts(1, 9)? == [2, 4] && alerts(0, 2)? == [1, 2]);
    ensure!(alerts(4, 9)?.is_empty());

    let noted = |sequence, reason: &str| Undelivered {
        sequence,
        reason: reason.to_owned(),
        at: LogTime(7),
    };
    store.set_aside(0, first, "notify/p", &noted(2, "answered 400"))?;
    store.set_aside(0, first, "notify/p", &noted(2, "said again"))?;
    store.set_aside(0, first, "notify/p", &noted(1, "behind"))?;
    store.set_aside(1, other, "notify/p", &noted(1, "a \0 in it"))?;
    store.set_aside(0, first, "notify/\0", &noted(4, "too old"))?;
    let cursors = store.status(0)?.cursors;
    ensure!(
        cursors.get("notify/p") == 2 && cursors.get("notify/\0") == 4,
        "positions move over what was set aside, and never back: {cursors:?}"
    );
    let all = store.undelivered(None, 0)?;
    let of_p = [
        "notify/p 0/1 behind",
        "notify/p 0/2 answered 400",
        "notify/p 1/1 a \0 in it",
    ];
    ensure!(names(&all[1..]) == of_p, "{:?}", names(&all));
    ensure!(names(&all[..1]) == ["notify/\0 0/4 too old"]);
    ensure!(all[2].at == LogTime(7) && all[2].output.output.id == "b");
    ensure!(names(&store.undelivered(Some("notify/p"), 0)?) == of_p);
    ensure!(names(&store.undelivered(Some("notify/p"), 1)?) == of_p[..1]);
    ensure!(store.undelivered(Some("notify/q"), 0)?.is_empty());

    let second = store.acquire(0)?;
    ensure!(
        matches!(
            store.set_aside(0, first, "notify/p", &noted(4, "stale")),
            Err(Error::StaleEpoch { current, .. }) if current == second
        ),
        "a former owner sets nothing aside"
    );
    ensure!(names(&store.undelivered(Some("notify/p"), 0)?) == of_p);
    ensure!(store.settle_undelivered(0, "notify/p", 2)?);
    ensure!(!store.settle_undelivered(0, "notify/p", 2)?);
    ensure!(!store.settle_undelivered(0, "notify/q", 1)?);
    let left = store.undelivered(Some("notify/p"), 0)?;
    ensure!(names(&left) == [of_p[0], of_p[2]], "{:?}", names(&left));
    Ok(())
}
