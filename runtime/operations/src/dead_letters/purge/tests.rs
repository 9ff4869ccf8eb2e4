use theatre_actors::ports::{DeadLetterStore, DeadReplay};
use theatre_actors::time::LogTime;
use theatre_system::clock::SystemClock;

use super::super::test_site::Site;
use super::*;

fn purge(site: &Site, selection: &Selection, dry_run: bool) -> Report {
    let mut report = Report::default();
    let purging = Purging {
        store: &site.store,
        log: Some(&site.log),
        clock: &SystemClock,
        selection,
        dry_run,
    };
    purging
        .run(&mut report, &mut || Ok(()), &mut |_| ())
        .unwrap();
    report
}

#[test]
fn what_is_not_published_or_in_doubt_stays_and_the_rest_is_erased_once() {
    let site = Site::new();
    for value in [b"?a", b"?b", b"?c", b"?d"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    let epoch = site.store.acquire(0).unwrap();
    site.store
        .advance_cursor(0, epoch, &DEAD_LETTER_RELAY.name, 3)
        .unwrap();
    let in_doubt = DeadReplay {
        partition: 0,
        sequence: 2,
        count: 1,
        topic: 0,
        to: 0,
        after: 4,
        offset: None,
        begun_at: LogTime(1),
    };
    site.store.begin_dead_replays(&[in_doubt]).unwrap();
    let all = Selection::default();
    let refused = BTreeMap::from([("in_replay", 1), ("unpublished", 1)]);
    for dry_run in [true, false] {
        let report = purge(&site, &all, dry_run);
        assert_eq!((report.selected, report.purged), (4, 2));
        assert_eq!(report.refused, refused);
    }
    let again = purge(&site, &all, false);
    assert_eq!(again.purged, 0);
    assert_eq!(again.refused["purged"], 2);
    let found = site.store.dead_after(0, 0, 9).unwrap();
    let erased: Vec<bool> = found.iter().map(|it| it.dead.payload.is_empty()).collect();
    assert_eq!(erased, [true, false, true, false]);
    assert!(
        found
            .iter()
            .all(|it| it.purged_at.is_some() == it.dead.detail.is_empty())
    );
}
