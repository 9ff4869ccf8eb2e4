use std::collections::{BTreeMap, HashSet};

use theatre_actors::outputs::DeadReason;
use theatre_actors::ports::{DeadLetterStore, DeadReplay, Error, NewRecord};
use theatre_actors::time::LogTime;
use theatre_pipeline::actor_keys::is_registry;
use theatre_system::clock::SystemClock;

use super::super::Pages;
use super::super::purge::Purging;
use super::super::test_site::Site;
use super::*;

fn replay(site: &Site, selection: &Selection) -> Report {
    let mut report = Report::default();
    asked(site, selection)
        .run(&mut report, &mut || Ok(()), &mut |_| ())
        .unwrap();
    report
}

fn asked<'a>(site: &'a Site, selection: &'a Selection) -> Replaying<'a> {
    Replaying {
        params: &site.params,
        log: &site.log,
        store: &site.store,
        clock: &SystemClock,
        selection,
        max_replays: 3,
        at_once: 2,
        patience: Duration::from_millis(1),
    }
}

/// All replays of the first dead letters of both partitions.
fn replays(site: &Site) -> Vec<DeadReplay> {
    let letters: Vec<_> = (0..2)
        .flat_map(|partition| (1..=9).map(move |number| (partition, number)))
        .collect();
    site.store.dead_replays(&letters).unwrap()
}

fn fates(site: &Site) -> Vec<&'static str> {
    let all = Selection::default();
    let report = asked(site, &all).look().unwrap();
    report.letters.iter().map(|letter| letter.fate).collect()
}

#[test]
fn a_record_is_sent_once_with_its_bytes_and_its_key() {
    let site = Site::new();
    site.append(1, b"?one");
    site.append(1, b"?two");
    site.bury(1, 1);
    assert_eq!(fates(&site), ["bad_frame"]);
    let report = replay(&site, &Selection::default());
    assert_eq!((report.selected, report.sent, report.found), (1, 1, 0));
    let records = site.records(1);
    assert_eq!(records.len(), 3);
    assert_eq!(records[2], records[1]);
    let noted = replays(&site);
    assert_eq!(
        (noted[0].offset, noted[0].count, noted[0].to),
        (Some(2), 1, 1)
    );

    assert_eq!(fates(&site), ["already_replayed"]);
    let again = replay(&site, &Selection::default());
    assert_eq!(again.sent, 0);
    assert_eq!(again.refused, BTreeMap::from([("already_replayed", 1)]));
    assert_eq!(site.records(1).len(), 3);
}

#[test]
fn a_record_that_dies_each_time_is_sent_three_times_and_no_more() {
    let site = Site::new();
    site.append(0, b"?bad");
    site.bury(0, 0);
    for turn in 1..=3 {
        let report = replay(&site, &Selection::default());
        assert_eq!(report.sent, 1, "turn {turn}");
        site.bury(0, turn);
    }
    let report = replay(&site, &Selection::default());
    assert_eq!(report.sent, 0);
    let refused = [("already_replayed", 3), ("replayed_too_often", 1)];
    assert_eq!(report.refused, BTreeMap::from(refused));
    assert_eq!(site.records(0).len(), 4);
    let counts: Vec<u32> = replays(&site).iter().map(|it| it.count).collect();
    assert_eq!(counts, [1, 2, 3]);
}

#[test]
fn a_copy_that_dies_while_it_is_sent_is_not_sent_again_by_the_same_command() {
    let site = Site::new();
    for value in [b"?a", b"?b"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    let all = Selection::default();
    let mut pages = Pages::begin(&site.store, &all).unwrap();
    site.append(0, b"?a");
    site.bury(0, 2);
    assert_eq!(pages.next().unwrap().unwrap().len(), 2);
    assert!(pages.next().unwrap().is_none());
}

/// As a replay leaves it that was killed before it noted what it had done.
fn interrupt(site: &Site, sequence: u64, after: u64) {
    let begun = begun(sequence, after);
    site.store.begin_dead_replays(&[begun]).unwrap();
}

fn begun(sequence: u64, after: u64) -> DeadReplay {
    DeadReplay {
        partition: 0,
        sequence,
        count: 1,
        topic: 0,
        to: 0,
        after,
        offset: None,
        begun_at: LogTime(1),
    }
}

#[test]
fn what_an_interrupted_replay_appended_is_found_and_the_rest_is_sent_once() {
    let site = Site::new();
    // Two records with the same bytes are two records.
    for value in [b"?a", b"?b", b"?b"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    for sequence in 1..=3 {
        interrupt(&site, sequence, 3);
    }
    site.append(0, b"?another producer's");
    site.append(0, b"?b");
    let wanted = ["bad_frame", "already_replayed", "bad_frame"];
    assert_eq!(fates(&site), wanted);
    let doubt = replays(&site);
    assert!(
        doubt.iter().all(|it| it.offset.is_none()),
        "a look notes nothing"
    );

    let report = replay(&site, &Selection::default());
    assert_eq!((report.found, report.sent), (1, 2));
    assert_eq!(report.refused, BTreeMap::from([("already_replayed", 1)]));
    let values: Vec<Vec<u8>> = site
        .records(0)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    let copies = |of: &[u8]| values[3..].iter().filter(|value| *value == of).count();
    assert_eq!((copies(b"?a"), copies(b"?b")), (1, 2));
    assert_eq!(replay(&site, &Selection::default()).sent, 0);
    let offsets: HashSet<_> = replays(&site).iter().map(|it| it.offset).collect();
    assert_eq!(offsets, HashSet::from([Some(4), Some(5), Some(6)]));
}

#[test]
fn what_the_log_has_lost_comes_from_the_seal_and_is_never_guessed() {
    let mut site = Site::new();
    for value in [b"?a", b"?b"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    interrupt(&site, 2, 2);
    site.append(0, b"?c");
    site.append(0, b"?d");
    site.log.trim(&site.params.topics[0], 0, 3).unwrap();
    // What was sealed elsewhere cannot be opened.
    let own = std::mem::replace(
        &mut site.params.pseudonyms,
        Site::with_key([9; 32]).params.pseudonyms,
    );
    site.bury_as(0, 1, b"?z", DeadReason::Undecodable);
    site.params.pseudonyms = own;
    assert_eq!(fates(&site), ["bad_frame", "unproven", "record_gone"]);
    let report = replay(&site, &Selection::default());
    assert_eq!((report.sent, report.found), (1, 0));
    let refused = [("record_gone", 1), ("unproven", 1)];
    assert_eq!(report.refused, BTreeMap::from(refused));
    assert_eq!(site.records(0)[1].1, b"?a");
}

#[test]
fn a_limit_counts_what_is_sent_so_that_the_command_can_be_repeated() {
    let site = Site::new();
    for value in [b"?a", b"?b", b"?c"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    let two = Selection {
        limit: 2,
        ..Selection::default()
    };
    assert_eq!(asked(&site, &two).look().unwrap().letters.len(), 2);
    assert_eq!(replay(&site, &two).sent, 2);
    assert_eq!(replay(&site, &two).sent, 1);
    assert_eq!(replay(&site, &two).sent, 0);
}

#[test]
fn a_purged_dead_letter_is_not_sent() {
    let site = Site::new();
    site.append(0, b"?a");
    site.bury(0, 0);
    site.store.purge_dead(&[(0, 1)], LogTime(1)).unwrap();
    let report = replay(&site, &Selection::default());
    assert_eq!(report.refused, BTreeMap::from([("purged", 1)]));
    assert_eq!(site.records(0).len(), 1);
}

#[test]
fn an_interrupted_replay_of_which_nothing_is_in_the_log_is_forgotten() {
    let site = Site::new();
    for value in [b"?a", b"?b"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    interrupt(&site, 1, 2);
    site.append(0, b"?c");
    let other = Selection {
        one: Some((0, 2)),
        ..Selection::default()
    };
    assert_eq!(asked(&site, &other).look().unwrap().sent, 1);
    assert_eq!(replays(&site).len(), 1, "a look forgets nothing");
    assert_eq!(replay(&site, &other).sent, 1);
    let noted: Vec<u64> = replays(&site).iter().map(|it| it.sequence).collect();
    assert_eq!(noted, [2]);
    // The log loses what was proven, and it can be sent or erased all the same.
    site.log.trim(site.topic(), 0, 3).unwrap();
    assert_eq!(fates(&site), ["bad_frame", "already_replayed"]);
    let epoch = site.store.acquire(0).unwrap();
    let relay = &theatre_pipeline::outbox::DEAD_LETTER_RELAY.name;
    site.store.advance_cursor(0, epoch, relay, 2).unwrap();
    let purging = Purging {
        store: &site.store,
        log: Some(&site.log),
        clock: &SystemClock,
        selection: &Selection::default(),
        dry_run: false,
    };
    let mut purged = crate::dead_letters::purge::Report::default();
    let done = purging.run(&mut purged, &mut || Ok(()), &mut |_| ());
    assert_eq!((done, purged.purged), (Ok(()), 2));
}

#[test]
fn an_entry_of_a_registry_is_sent_only_by_name_also_after_an_interruption() {
    let site = Site::new();
    let topics = &site.params.topics;
    let registry = topics.iter().position(|topic| is_registry(topic)).unwrap();
    let record = NewRecord {
        key: b"r".to_vec(),
        value: b"?old".to_vec(),
        headers: Vec::new(),
    };
    site.log.append(&topics[registry], 0, &[record]).unwrap();
    site.bury_of(registry, (0, 0), b"?old", DeadReason::BadFrame);
    let in_doubt = DeadReplay {
        topic: registry,
        ..begun(1, 1)
    };
    for has_begun in [false, true] {
        if has_begun {
            let begun = std::slice::from_ref(&in_doubt);
            site.store.begin_dead_replays(begun).unwrap();
        }
        let report = replay(&site, &Selection::default());
        let refused = BTreeMap::from([("of_registry", 1)]);
        assert_eq!((report.sent, report.refused), (0, refused));
    }
    let by_name = Selection {
        one: Some((0, 1)),
        ..Selection::default()
    };
    assert_eq!(replay(&site, &by_name).sent, 1);
}

#[test]
fn a_batch_ends_also_by_its_bytes() {
    let site = Site::new();
    let large = vec![b'?'; BATCH_BYTES / 2];
    for value in [&large[..], &large, b"?a", b"?b"] {
        let offset = site.append(0, value);
        site.bury_as(0, offset, value, DeadReason::BadFrame);
    }
    let all = Selection::default();
    let replaying = Replaying {
        at_once: BATCH,
        ..asked(&site, &all)
    };
    let mut sent = Vec::new();
    let mut report = Report::default();
    let mut note = |report: &Report| sent.push(report.sent);
    replaying
        .run(&mut report, &mut || Ok(()), &mut note)
        .unwrap();
    assert_eq!(sent, [1, 4]);
}

#[test]
fn what_is_erased_while_it_is_looked_at_is_not_sent() {
    let site = Site::new();
    for value in [b"?a", b"?b"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    let all = Selection::default();
    let mut calls = 0;
    let mut hold = || {
        calls += 1;
        // Before the batch is begun: both dead letters were looked at.
        if calls == 3 {
            site.store.purge_dead(&[(0, 1)], LogTime(1)).unwrap();
        }
        Ok(())
    };
    let mut report = Report::default();
    let done = asked(&site, &all).run(&mut report, &mut hold, &mut |_| ());
    assert_eq!((done, report.sent), (Ok(()), 1));
    assert_eq!(report.refused, BTreeMap::from([("purged", 1)]));
    assert_eq!(site.records(0)[2..], [(b"r".to_vec(), b"?b".to_vec())]);
}

#[test]
fn nothing_is_appended_once_the_lease_is_lost() {
    let site = Site::new();
    site.append(0, b"?a");
    site.bury(0, 0);
    let all = Selection::default();
    let lost = || Err(Error::Refused("lost".to_owned()));
    let mut report = Report::default();
    let done = asked(&site, &all).run(&mut report, &mut { lost }, &mut |_| ());
    assert_eq!(done, Err(Error::Refused("lost".to_owned())));
    assert_eq!((report.sent, site.records(0).len()), (0, 1));
    assert!(replays(&site).is_empty());
}

#[test]
fn a_copy_that_an_open_transaction_hides_is_waited_for_and_not_sent_again() {
    let site = Site::new();
    let topic = site.topic();
    site.append(0, b"?a");
    site.bury(0, 0);
    interrupt(&site, 1, 1);
    // Another producer's transaction was open already when the copy was appended.
    site.log.begin_transaction(topic, 0).unwrap();
    site.append(0, b"?another producer's");
    site.append(0, b"?a");
    let all = Selection::default();
    let run = || asked(&site, &all).run(&mut Report::default(), &mut || Ok(()), &mut |_| ());
    let refused = run().unwrap_err().to_string();
    let place = format!("'{topic}' partition 0 since offset 1");
    assert!(refused.contains(&place), "{refused}");
    let looked = asked(&site, &all).look().err().map(|it| it.to_string());
    assert_eq!(looked.as_deref(), Some(refused.as_str()), "a look neither");

    site.log.end_transaction(topic, 0).unwrap();
    let report = replay(&site, &all);
    assert_eq!((report.found, report.sent), (1, 0));
    assert_eq!(site.records(0).len(), 3);
}

#[test]
fn what_is_sent_beside_an_open_transaction_is_found_by_the_next_command() {
    let site = Site::new();
    let topic = site.topic();
    for value in [b"?a", b"?b"] {
        let offset = site.append(0, value);
        site.bury(0, offset);
    }
    site.log.begin_transaction(topic, 0).unwrap();
    // Of the same bytes as a copy, and of another producer: no copy is looked for below the end.
    site.append(0, b"?b");
    let all = Selection::default();
    let mut report = Report::default();
    let done = asked(&site, &all).run(&mut report, &mut || Ok(()), &mut |_| ());
    assert!(done.is_err(), "where the copies stand is not known yet");
    assert_eq!(report.sent, 2);
    assert_eq!(site.store.dead_replays_in_doubt().unwrap().len(), 2);
    site.log.end_transaction(topic, 0).unwrap();
    let report = replay(&site, &all);
    assert_eq!((report.found, report.sent), (2, 0));
    let offsets: Vec<_> = replays(&site).iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [Some(3), Some(4)]);
}

#[test]
fn the_copies_of_earlier_commands_are_known_by_the_store_alone() {
    let site = Site::new();
    for _ in 0..3 {
        let offset = site.append(0, b"?a");
        site.bury(0, offset);
    }
    let one = Selection {
        limit: 1,
        ..Selection::default()
    };
    assert_eq!(replay(&site, &one).sent, 1);
    // In doubt, with the same bytes as the copy that is known, which stands before its place.
    interrupt(&site, 2, 3);
    assert_eq!(fates(&site), ["already_replayed", "bad_frame", "bad_frame"]);
    site.append(0, b"?a");
    let report = replay(&site, &Selection::default());
    assert_eq!((report.found, report.sent), (1, 1));
    let offsets: Vec<_> = replays(&site).iter().map(|it| it.offset).collect();
    assert_eq!(offsets, [Some(3), Some(4), Some(5)]);
}
