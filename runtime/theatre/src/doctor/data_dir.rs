//! The data directory: keys, schemas, and what is embedded.

use theatre_embedded::inspect::Inspection;
use theatre_operations::checkup::Judgement;

use super::{Deployment, bytes, failed};

/// With less than this a start may soon fail.
const FREE_WARNING: u64 = 2 << 30;
const FREE_FAILED: u64 = 64 << 20;

pub(super) fn check(deployment: &Deployment, note: &mut dyn FnMut(Judgement)) {
    let place = deployment.dir.root().display().to_string();
    match deployment.dir.inspect() {
        Ok(seen) => judge(&place, &seen).into_iter().for_each(note),
        Err(error) => note(failed(&error)),
    }
}

fn judge(place: &str, seen: &Inspection) -> Vec<Judgement> {
    let state = match (seen.is_there, seen.held_by) {
        (false, _) => format!("{place} is not there yet: the first start makes it"),
        (true, Some(holder)) => format!("process {holder} runs on {place}"),
        (true, None) => format!("no process runs on {place}"),
    };
    let writable = match &seen.may_write {
        Ok(()) => Judgement::ok(state),
        Err(why) => Judgement::failed(
            format!("{state}; it cannot be written: {why}"),
            "give this user the right to write there, mount the volume writable, or name another directory with --data",
        ),
    };
    vec![writable, judge_disk(seen.free_bytes, seen.disk_bytes)]
}

fn judge_disk(free: u64, disk: u64) -> Judgement {
    let seen = format!("{} of {} are free on its disk", bytes(free), bytes(disk));
    let advice = "make room, or give the data directory a larger disk";
    if free < FREE_FAILED {
        Judgement::failed(seen, advice)
    } else if free < FREE_WARNING && free < disk / 5 {
        Judgement::warning(seen, advice)
    } else {
        Judgement::ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use theatre_operations::checkup::Verdict;

    use super::*;

    #[test]
    fn a_disk_is_judged_by_what_is_free() {
        for (free, disk, verdict) in [
            (100 << 30, 200 << 30, Verdict::Ok),
            (1 << 30, 200 << 30, Verdict::Warning),
            // A small disk of its own that is half empty.
            (1 << 30, 2 << 30, Verdict::Ok),
            (32 << 20, 2 << 30, Verdict::Failed),
            (0, 0, Verdict::Failed),
        ] {
            assert_eq!(judge_disk(free, disk).verdict, verdict, "{free} of {disk}");
        }
    }

    #[test]
    fn a_directory_is_judged_by_whether_it_can_be_written() {
        let seen = Inspection {
            is_there: true,
            may_write: Ok(()),
            free_bytes: 100 << 30,
            disk_bytes: 200 << 30,
            held_by: Some(7),
        };
        let first = |seen: &Inspection| judge("data", seen).swap_remove(0);
        assert_eq!(first(&seen), Judgement::ok("process 7 runs on data"));
        let read_only = Inspection {
            may_write: Err("data: Read-only file system".to_owned()),
            held_by: None,
            ..seen.clone()
        };
        let judged = first(&read_only);
        assert!(
            judged.verdict == Verdict::Failed && judged.seen.contains("Read-only"),
            "{judged:?}"
        );
        let fresh = Inspection {
            is_there: false,
            held_by: None,
            ..seen
        };
        assert_eq!(first(&fresh).verdict, Verdict::Ok);
    }
}
