//! Versions of facilities, recomputed from the log by sorting all that was ever said, and compared
//! with what was put out and with what the warehouse shows.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use theatre_actors::outputs::OutputKind;
use theatre_pipeline::Ports;
use theatre_schemas::batch::Batch;
use theatre_schemas::dataset::DatasetKind;
use theatre_schemas::records::FacilityVersion;

/// What a facility is, as far as the simulation says it.
type Said = (String, Option<i32>);

/// All reports: by facility and moment, the number, id and content of the one that counts.
#[derive(Default)]
pub(super) struct Reports(BTreeMap<(String, i64), (i64, String, Said)>);

/// Versions by facility and moment.
type Versions = BTreeMap<(String, i64), Said>;

impl Reports {
    /// Notes a row that is about a facility.
    pub(super) fn note(&mut self, batch: &Batch, row: usize) {
        if batch.dataset.kind != DatasetKind::FacilityRegistry {
            return;
        }
        let column = |name: &str| batch.dataset.column(name);
        let text = |name: &str| column(name).and_then(|column| batch.text(column, row));
        let beds = column("bed_count").and_then(|column| batch.int(column, row));
        let said = (
            text("facility_name").unwrap_or_default().to_owned(),
            beds.map(|beds| beds as i32),
        );
        let id = text("event_id").unwrap_or_default().to_owned();
        let report = (batch.sequence(row).unwrap_or(0), id, said);
        let place = (batch.entity_id(row).to_owned(), batch.event_times()[row]);
        let counts = self.0.entry(place).or_insert_with(|| report.clone());
        if *counts < report {
            *counts = report;
        }
    }

    fn versions(&self) -> Versions {
        let mut versions = Versions::new();
        let mut last: Option<(&String, &Said)> = None;
        for ((facility, from), (_, _, said)) in &self.0 {
            if last != Some((facility, said)) {
                versions.insert((facility.clone(), *from), said.clone());
            }
            last = Some((facility, said));
        }
        versions
    }

    /// Wants these versions, and no others, in the store and in the warehouse.
    pub(super) fn check(&self, ports: &Ports) -> Result<()> {
        let expected = self.versions();
        ensure!(expected.len() > 5, "too little is said of facilities");
        let mut last: BTreeMap<(String, i64), FacilityVersion> = BTreeMap::new();
        for stored in ports.store.outputs_after(0, 0, 1 << 30)? {
            if stored.output.kind != OutputKind::FacilityVersion {
                continue;
            }
            let version = FacilityVersion::decode(&stored.output.payload)?;
            let place = (version.facility_id.clone(), version.valid_from);
            let before = last.get(&place).map_or(-1, |before| before.revision);
            ensure!(
                version.revision == before + 1,
                "{place:?}: revision {} after {before}",
                version.revision
            );
            last.insert(place, version);
        }
        let found: Versions = last
            .into_iter()
            .filter(|(_, version)| !version.is_withdrawn)
            .map(|(place, version)| (place, (version.facility_name, version.bed_count)))
            .collect();
        ensure!(found == expected, "versions: {found:?}, not {expected:?}");
        let sql = "SELECT facility_id, valid_from, facility_name, bed_count FROM facility_versions WHERE is_withdrawn = 0";
        let rows = ports.warehouse.query(sql)?.rows;
        let mut loaded = Versions::new();
        for row in &rows {
            let text = |at: usize| row[at].as_str().unwrap_or_default().to_owned();
            let beds = row[3].as_i64().map(|beds| beds as i32);
            let place = (text(0), row[1].as_i64().unwrap_or(0));
            loaded.insert(place, (text(2), beds));
        }
        ensure!(loaded == expected, "in the warehouse: {loaded:?}");
        ensure!(rows.len() == loaded.len(), "a version is there twice");
        Ok(())
    }
}
