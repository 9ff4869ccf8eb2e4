use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A report: moment, number, what it says.
type Report = (i64, i64, u8);

fn rank(number: i64) -> Rank {
    Rank::numbered(number)
}

/// The table that readers make: by moment, the highest revision that is not withdrawn.
#[derive(Default)]
struct Table(BTreeMap<i64, (i32, bool, u8)>);

impl Table {
    fn take(&mut self, versions: Vec<Version<u8>>) {
        for version in versions {
            let row = (version.revision, version.is_withdrawn, version.attributes);
            let before = self.0.insert(version.from, row);
            // No revision is left out or comes twice.
            let expected = before.map_or(0, |before| before.0 + 1);
            assert_eq!(version.revision, expected, "at {}", version.from);
        }
    }

    fn rows(&self) -> Vec<(i64, u8)> {
        let rows = self.0.iter().filter(|(_, row)| !row.1);
        rows.map(|(from, row)| (*from, row.2)).collect()
    }
}

/// Whether something is in service then: an interval.
fn composed(service: (i64, i64)) -> impl Fn(i64, &u8) -> u8 {
    move |moment, said| {
        if (service.0..service.1).contains(&moment) {
            100 + said
        } else {
            *said
        }
    }
}

/// What the sorted list of all reports gives.
fn expected(reports: &[Report], service: (i64, i64)) -> Vec<(i64, u8)> {
    let mut by_moment: BTreeMap<i64, (i64, u8)> = BTreeMap::new();
    for (moment, number, said) in reports {
        let best = by_moment.entry(*moment).or_insert((*number, *said));
        *best = (*best).max((*number, *said));
    }
    let edges = [service.0, service.1];
    let mut moments: Vec<i64> = by_moment.keys().copied().chain(edges).collect();
    moments.sort_unstable();
    let mut rows: Vec<(i64, u8)> = Vec::new();
    for moment in moments {
        let Some((_, (_, said))) = by_moment.range(..=moment).next_back() else {
            continue;
        };
        let said = composed(service)(moment, said);
        if rows.last().is_none_or(|(_, last)| *last != said) {
            rows.push((moment, said));
        }
    }
    rows
}

fn reports() -> impl Strategy<Value = Vec<Report>> {
    // The same number at the same moment says the same.
    let report = (0_i64..12, 0_i64..3, 0_u8..3)
        .prop_map(|(moment, number, said)| (moment, number, (said + number as u8) % 3));
    prop::collection::vec(report, 0..24).prop_map(|mut reports| {
        let mut seen = BTreeMap::new();
        for report in &mut reports {
            report.2 = *seen.entry((report.0, report.1)).or_insert(report.2);
        }
        reports
    })
}

proptest! {
    #[test]
    fn any_order_of_reports_gives_the_versions_of_the_sorted_list(
        reports in reports(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 24),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        cuts in prop::collection::vec(any::<bool>(), 40),
        service in (0_i64..12, 0_i64..6).prop_map(|(from, span)| (from, from + span)),
    ) {
        let mut shuffled = reports.clone();
        for (at, index) in order.iter().enumerate().take(reports.len()) {
            let other = index.index(reports.len());
            shuffled.swap(at, other);
        }
        if !reports.is_empty() {
            let twice: Vec<Report> = again.iter().map(|at| *at.get(&reports)).collect();
            shuffled.extend(twice);
        }
        let (mut history, mut table) = (History::default(), Table::default());
        let known_at = shuffled.len() / 2;
        for (at, (moment, number, said)) in shuffled.iter().enumerate() {
            history.insert(*moment, rank(*number), *said);
            // The service becomes known in the middle, and state may be stored anywhere.
            let service = if at >= known_at { service } else { (0, 0) };
            table.take(history.publish(&[service.0, service.1], composed(service)));
            if cuts[at] {
                let bytes = postcard::to_allocvec(&history).unwrap();
                history = postcard::from_bytes(&bytes).unwrap();
            }
        }
        prop_assert_eq!(table.rows(), expected(&reports, service));
        let nothing = history.publish(&[service.0, service.1], composed(service));
        prop_assert_eq!(nothing, [], "a rerun is a no-op");
    }

    #[test]
    fn what_is_settled_stays_and_the_rest_goes_on(
        said in prop::collection::vec(0_u8..3, 0..200),
        late in prop::collection::vec((0_i64..200, 0_u8..3), 0..20),
    ) {
        let (mut history, mut table) = (History::default(), Table::default());
        let mut kept = Vec::new();
        for (moment, said) in (0_i64..).zip(&said) {
            history.insert(2 * moment, rank(0), *said);
            kept.push((2 * moment, 0, *said));
            table.take(history.publish(&[], |_, said| *said));
        }
        for (moment, said) in late {
            if history.insert(2 * moment + 1, rank(0), said) == Inserted::New {
                kept.push((2 * moment + 1, 0, said));
            }
            table.take(history.publish(&[], |_, said| *said));
        }
        // Of two late reports of one moment the first counts, as they have one number.
        let mut first = BTreeMap::new();
        kept.retain(|(moment, _, _)| first.insert(*moment, ()).is_none());
        prop_assert_eq!(table.rows(), expected(&kept, (0, 0)));
        prop_assert!(history.entries.len() <= MOMENTS_MAX + 1);
        prop_assert!(history.published.len() <= 2 * MOMENTS_MAX + 1);
        prop_assert!(history.contents.len() <= 3);
    }
}

#[test]
fn a_version_that_a_late_report_makes_superfluous_is_withdrawn() {
    let mut history = History::default();
    let publish = |history: &mut History<u8>, from, said| {
        history.insert(from, rank(0), said);
        let changed = history.publish(&[], |_, said| *said);
        let rows = changed
            .iter()
            .map(|it| (it.from, it.revision, it.is_withdrawn));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(publish(&mut history, 10, 1), [(10, 0, false)]);
    assert_eq!(publish(&mut history, 30, 2), [(30, 0, false)]);
    assert_eq!(
        publish(&mut history, 20, 2),
        [(20, 0, false), (30, 1, true)]
    );
    assert_eq!(
        publish(&mut history, 25, 3),
        [(25, 0, false), (30, 2, false)]
    );
    assert_eq!(publish(&mut history, 40, 2), []);
}
