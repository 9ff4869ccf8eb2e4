//! Surgeons: who they are, what they are trained for, and for how long they have operated.

use super::avro::Datum;
use super::calendar;
use super::catalogue::Catalogue;
use super::dice::{Dice, Purpose};

/// A surgeon.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Surgeon {
    pub(super) surgeon_id: String,
    pub(super) name: String,
    pub(super) specialization: String,
    /// Day since when they operate with robots.
    pub(super) practising_since: i64,
    pub(super) certification_level: String,
    pub(super) facility: usize,
    pub(super) facility_id: String,
    /// Years with robots at the fleet's beginning.
    pub(super) years: f64,
}

/// All surgeons of a fleet that begins on a day; the first belongs to the first facility, the
/// second to the second, and so on.
pub(super) fn staff(catalogue: &Catalogue, seed: u64, count: usize, begin: i64) -> Vec<Surgeon> {
    let facilities = &catalogue.facilities;
    let surgeon = |index: usize| {
        let mut dice = Dice::new(seed, Purpose::Surgeon, index as u64);
        let names = &catalogue.staff;
        let years = dice.uniform(1.0, 25.0);
        let level = (years / 25.0 * names.certification.len() as f64) as usize;
        let facility = index % facilities.len();
        // Each specialization is as frequent as any other.
        let category = (index / facilities.len() + index) % catalogue.categories.len();
        Surgeon {
            surgeon_id: format!("SURG-{index:04}"),
            name: format!("Dr. {} {}", dice.pick(&names.first), dice.pick(&names.last)),
            specialization: catalogue.categories[category].name.clone(),
            practising_since: begin - (years * 365.25) as i64,
            certification_level: names.certification[level.min(names.certification.len() - 1)]
                .clone(),
            facility,
            facility_id: facilities[facility].facility_id.clone(),
            years,
        }
    };
    (0..count).map(surgeon).collect()
}

/// How experienced each surgeon is beside the others: mean 0, deviation 1.
pub(super) fn experience(surgeons: &[Surgeon]) -> Vec<f64> {
    let count = surgeons.len().max(1) as f64;
    let mean = surgeons.iter().map(|surgeon| surgeon.years).sum::<f64>() / count;
    let square = |surgeon: &Surgeon| (surgeon.years - mean).powi(2);
    let deviation = (surgeons.iter().map(square).sum::<f64>() / count).sqrt();
    let scaled = |surgeon: &Surgeon| (surgeon.years - mean) / deviation.max(1e-9);
    surgeons.iter().map(scaled).collect()
}

/// The day from which registries hold: long before a fleet begins.
pub(super) fn registered_on() -> i64 {
    calendar::day(2018, 1, 1)
}

impl Surgeon {
    /// Writes the fields of its registration.
    pub(super) fn encode(&self, datum: &mut Datum) {
        datum
            .optional_text(Some(&self.name))
            .optional_text(Some(&self.specialization))
            .optional_whole(Some(self.practising_since))
            .optional_text(Some(&self.certification_level))
            .optional_text(Some(&self.facility_id))
            .boolean(false);
    }
}
