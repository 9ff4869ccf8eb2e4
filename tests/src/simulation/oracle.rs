//! The oracle: all families over the whole log in one piece, and what must follow from them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use theatre_actors::effect::{DeadReason, Effects, FactKind};
use theatre_actors::family::{Family, IntakeFamily};
use theatre_actors::position::Positions;
use theatre_runtime::config::{ALERT_TOPIC, OUTCOME_TOPIC};
use theatre_runtime::pipeline::intake::{Entry, Intake, IntakeParams};
use theatre_runtime::pipeline::{PipelineParams, Ports};

/// Compares everything that is there with what follows from the log.
pub(super) fn check(params: &PipelineParams, ports: &Ports) -> Result<()> {
    let mut families: BTreeMap<String, (Family, Effects)> = BTreeMap::new();
    let mut intake_family = IntakeFamily::default();
    let mut buried = Vec::new();
    let mut limits = params.limits.clone();
    limits.poll_records = 1 << 20;
    let intake = IntakeParams {
        limits,
        ..params.intake()
    };
    let mut reader = Intake::open(&*ports.log, 0, intake, &Positions::zero())?;
    loop {
        let chunk = reader.poll()?;
        if chunk.is_empty() {
            break;
        }
        for entry in &chunk.entries {
            match *entry {
                Entry::Row { batch, row } => {
                    let (topic, batch) = &chunk.batches[batch as usize];
                    let robot = batch.robot_id(row as usize);
                    let (family, effects) = families.entry(robot.to_owned()).or_insert_with(|| {
                        (
                            Family::new(robot, params.family.clone()),
                            Effects::default(),
                        )
                    });
                    family.apply(*topic, batch, &[row], effects);
                }
                Entry::Dead(index) => {
                    intake_family.bury(&chunk.dead[index as usize]);
                    buried.push(chunk.dead[index as usize].clone());
                }
            }
        }
    }
    check_families(ports, &families, &intake_family)?;
    check_facts(ports, &families)?;
    check_dead(ports, &families, &buried)?;
    check_published(params, ports, &families)?;
    let report = theatre_runtime::reconcile::run(params, ports)?;
    ensure!(report.gaps.is_empty(), "reconcile: {:?}", report.gaps);
    check_warehouse(ports, &families)
}

type Families = BTreeMap<String, (Family, Effects)>;

fn check_families(ports: &Ports, families: &Families, intake: &IntakeFamily) -> Result<()> {
    for stored in ports.store.families(0)? {
        let expected = match families.get(&stored.family) {
            Some((family, _)) => family.snapshot(),
            None => intake.snapshot(),
        };
        ensure!(
            stored.state == expected,
            "the state of family '{}' is not that of a recomputation",
            stored.family
        );
    }
    for robot in families.keys() {
        ensure!(
            ports.store.family(0, robot)?.is_some(),
            "family '{robot}' was never saved"
        );
    }
    Ok(())
}

fn check_facts(ports: &Ports, families: &Families) -> Result<()> {
    let stored = ports.store.facts_after(0, 0, 1 << 30)?;
    for (robot, (_, effects)) in families {
        for kind in [FactKind::Window, FactKind::Alert, FactKind::Outcome] {
            let got: Vec<_> = stored
                .iter()
                .map(|stored| &stored.fact)
                .filter(|fact| fact.kind == kind && fact.robot_id == *robot)
                .collect();
            let expected: Vec<_> = effects
                .facts
                .iter()
                .filter(|fact| fact.kind == kind)
                .collect();
            ensure!(
                got == expected,
                "{kind:?} facts of '{robot}': {} stored, {} by recomputation, or other content",
                got.len(),
                expected.len()
            );
        }
    }
    Ok(())
}

fn check_dead(
    ports: &Ports,
    families: &Families,
    buried: &[theatre_actors::effect::DeadRow],
) -> Result<()> {
    let key = |dead: &theatre_actors::effect::DeadRow| (dead.topic, dead.offset, dead.reason);
    let mut got: Vec<(usize, u64, DeadReason)> = ports
        .store
        .dead_after(0, 0, 1 << 30)?
        .iter()
        .map(|stored| key(&stored.dead))
        .collect();
    let mut expected: Vec<_> = families
        .values()
        .flat_map(|(_, effects)| &effects.dead)
        .chain(buried)
        .map(key)
        .collect();
    got.sort();
    expected.sort();
    ensure!(
        got == expected,
        "dead letters: {} stored, {} by recomputation, or others",
        got.len(),
        expected.len()
    );
    Ok(())
}

fn check_published(params: &PipelineParams, ports: &Ports, families: &Families) -> Result<()> {
    let published = crate::published_in(&*ports.log)?;
    let mut expected: crate::Published = crate::Published::new();
    for fact in families.values().flat_map(|(_, effects)| &effects.facts) {
        let (topic, key) = match fact.kind {
            FactKind::Window => continue,
            FactKind::Alert => (ALERT_TOPIC, &fact.robot_id),
            FactKind::Outcome => (OUTCOME_TOPIC, &fact.subject),
        };
        expected
            .entry((topic.to_owned(), key.clone().into_bytes()))
            .or_default()
            .push(fact.payload.clone());
    }
    ensure!(params.partitions == 1);
    ensure!(
        published == expected,
        "what subscribers see is not what was concluded"
    );
    Ok(())
}

fn check_warehouse(ports: &Ports, families: &Families) -> Result<()> {
    let count = |kind: FactKind| {
        families
            .values()
            .flat_map(|(_, effects)| &effects.facts)
            .filter(|fact| fact.kind == kind)
            .count() as u64
    };
    let rows = |sql: &str| -> Result<u64> {
        Ok(ports.warehouse.query(sql)?.rows[0][0].as_u64().unwrap_or(0))
    };
    ensure!(
        rows("SELECT count(*) FROM maintenance_alerts")? == count(FactKind::Alert),
        "alerts in the warehouse"
    );
    let windows = "SELECT count(*) FROM (SELECT DISTINCT robot_id, dataset, window_name, window_start, revision FROM robot_windows)";
    ensure!(
        rows(windows)? == count(FactKind::Window),
        "windows in the warehouse"
    );
    let twice = "SELECT count(*) FROM (SELECT 1 FROM robot_windows GROUP BY robot_id, dataset, window_name, window_start, revision, signal HAVING count(*) > 1)";
    ensure!(rows(twice)? == 0, "a window is in the warehouse twice");
    Ok(())
}
