//! Two years of a small fleet as files of the lake, made to show what a star schema may get wrong:
//! entries that come late and out of order, that say again what was known, that move a robot; cases
//! without a result; revisions of windows; work with and without an alert.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use theatre_actors::ports::{
    ColumnType, FileStage, Lake, LoadBatch, RegisteredFile, TableSpec, Warehouse,
};
use theatre_parquet::file_schema;
use theatre_parquet::writer::FileWriter;

/// 2023-01-01, microseconds UTC.
pub const BEGIN: i64 = 1_672_531_200_000_000;
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 86_400_000_000;

/// A value of a column.
#[derive(Debug, Clone)]
pub enum Cell {
    /// A whole number, a time in microseconds, or a date in days.
    Whole(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// True or false.
    Flag(bool),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

/// A row by the names of its columns; what is not named is NULL.
pub type Row = BTreeMap<&'static str, Cell>;

/// Makes a row.
#[macro_export]
macro_rules! row {
    ($($name:ident: $value:expr),* $(,)?) => {
        $crate::star::Row::from([$((stringify!($name), $crate::star::Cell::from($value))),*])
    };
}

/// The rows of all tables.
#[derive(Debug, Default)]
pub struct Fleet {
    /// By table, in the order in which they were appended.
    pub tables: BTreeMap<&'static str, Vec<Row>>,
    offset: i64,
}

impl Fleet {
    /// A fleet of so many robots and cases, each case with so many samples.
    pub fn made(robots: i64, cases: i64, samples: i64, seed: u64) -> Self {
        let mut fleet = Self::default();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        fleet.registries(robots);
        for case in 0..cases {
            fleet.case(case, (robots, cases, samples), &mut random);
        }
        fleet.services(robots, &mut random);
        fleet
    }

    /// Adds a record of an input.
    pub fn record(&mut self, table: &'static str, appended: i64, mut row: Row) {
        self.offset += 1;
        row.insert("_topic", Cell::from(table));
        row.insert("_partition", Cell::from(0));
        row.insert("_offset", Cell::from(self.offset));
        row.insert("_append_time", Cell::from(appended));
        self.output(table, row);
    }

    /// Adds a row of an output.
    pub fn output(&mut self, table: &'static str, row: Row) {
        self.tables.entry(table).or_default().push(row);
    }

    fn registries(&mut self, robots: i64) {
        for site in 0..4 {
            // The name changes in the second year; the entry of the beginning is sent again after it.
            let named = |at: i64, name: String| {
                row! { facility_id: format!("FAC-{site:03}"), event_time: at, event_id: format!("f{site}-{at}"), facility_name: name,
                city: "Northfield", country: "ZZ", facility_type: "teaching", bed_count: 400 + site, is_closed: false }
            };
            let renamed = BEGIN + 400 * DAY;
            self.record(
                "facility_registry",
                renamed,
                named(renamed, format!("Renamed {site}")),
            );
            self.record(
                "facility_registry",
                renamed + 1,
                named(BEGIN, format!("Site {site}")),
            );
            self.record(
                "facility_registry",
                renamed + 2,
                named(BEGIN + DAY, format!("Site {site}")),
            );
        }
        for model in ["Alpha", "Beta"] {
            let entry = row! { robot_model: model, event_time: BEGIN, event_id: model, manufacturer: "Maker", arms: 4,
            categories_0: "general", categories_1: "thoracic", is_discontinued: false };
            self.record("model_registry", BEGIN, entry);
        }
        for surgeon in 0..10 {
            // The last is in no registry.
            if surgeon < 9 {
                let since = 19_358 - 365 * surgeon * 2;
                let entry = row! { surgeon_id: format!("s-{surgeon}"), event_time: BEGIN, event_id: format!("s{surgeon}"), surgeon_name: format!("n-{surgeon}"),
                specialization: "general", practising_since: since, is_retired: false };
                self.record("surgeon_registry", BEGIN, entry);
            }
        }
        for robot in 0..robots {
            self.robot(robot, robots);
        }
    }

    fn robot(&mut self, robot: i64, robots: i64) {
        let entry = |at: i64, site: i64, software: &str, serial: &str| {
            let model = if robot % 3 == 0 { "Alpha" } else { "Beta" };
            row! { robot_id: format!("r-{robot}"), event_time: at, event_id: format!("r{robot}-{at}"), serial_number: format!("SN-{robot}"),
            robot_model: model, manufacturer: "Maker", facility_id: format!("FAC-{:03}", site % 4), installation_date: 19_000,
            software_version: software, status: "operational", components_0_component: "camera", components_0_part: "camera_unit",
            components_0_serial: serial }
        };
        // The last robot is in no registry.
        if robot == robots - 1 {
            return;
        }
        let moved = BEGIN + 300 * DAY;
        self.record("robot_registry", BEGIN, entry(BEGIN, robot, "1.0.0", "C1"));
        self.record(
            "robot_registry",
            moved,
            entry(moved, robot + 1, "1.0.0", "C1"),
        );
        // Comes late: the software was renewed before the robot moved.
        let renewed = BEGIN + 200 * DAY;
        self.record(
            "robot_registry",
            moved + 5,
            entry(renewed, robot, "1.1.0", "C2"),
        );
        // Says again what is known.
        self.record(
            "robot_registry",
            moved + 6,
            entry(renewed + DAY, robot, "1.1.0", "C2"),
        );
    }

    fn case(
        &mut self,
        case: i64,
        (robots, cases, samples): (i64, i64, i64),
        random: &mut ChaCha8Rng,
    ) {
        let robot = format!("r-{}", case % robots);
        let procedure = format!("case-{case:06}");
        let start = BEGIN + case * (730 * DAY / cases) + random.random_range(0..12 * 60) * MINUTE;
        let minutes: i64 = random.random_range(30..300);
        let end = start + minutes * MINUTE;
        let category = ["general", "thoracic", "urological"][(case % 3) as usize];
        let kind = [
            "hernia repair",
            "lobectomy",
            "pyeloplasty",
            "fundoplication",
        ][(case % 4) as usize];
        let surgeon = format!("s-{}", (case * 7) % 10);
        let status = match random.random_range(0..20) {
            0 => "aborted",
            1 => "cancelled",
            _ => "completed",
        };
        let event = row! { robot_id: robot.clone(), event_time: start, event_id: format!("e-{case}"), procedure_id: procedure.clone(), step: "started",
        category: category, procedure_type: kind, surgeon_id: surgeon.clone(), patient_id: format!("p-{case}"),
        complexity: f64::from(random.random_range(100..500)) / 100.0, patient_age: random.random_range(18..86_i64),
        patient_gender: ["female", "male", "other", "unknown"][random.random_range(0..4)] };
        self.record("procedure_events", start, event);
        let mut outcome = row! { procedure_id: procedure.clone(), robot_id: robot.clone(), revision: 1, status: status, category: category,
        procedure_type: kind, surgeon_id: surgeon, started_at: start, ended_at: end, duration_s: (minutes * 60) as f64, paused_s: 0.0,
        alerts_high: 0, alerts_medium: 0, alerts_low: 0, telemetry_rows: samples, telemetry_missing: 0, completeness: 1.0,
        outcome_id: format!("{procedure}/{robot}") };
        let earlier = outcome.clone();
        if random.random_range(0..10) > 0 {
            outcome.insert("result", result(random).into());
        }
        // A later fact corrects the first one, and comes before it.
        self.output("procedure_outcomes", outcome);
        self.output(
            "procedure_outcomes",
            Row::from_iter(earlier.into_iter().map(|(name, cell)| {
                (
                    name,
                    if name == "revision" {
                        Cell::from(0)
                    } else {
                        cell
                    },
                )
            })),
        );
        for sample in 0..samples {
            self.sample(
                &robot,
                &procedure,
                start + sample * (end - start) / samples,
                random,
            );
        }
        if case % 5 == 0 {
            self.windows(&robot, start, random);
        }
    }

    fn sample(&mut self, robot: &str, procedure: &str, at: i64, random: &mut ChaCha8Rng) {
        let mut noise = |from: f64, to: f64| {
            from + (to - from) * f64::from(random.next_u32()) / f64::from(u32::MAX)
        };
        let mut row = row! { robot_id: robot, event_time: at, procedure_id: procedure, arm_id: 1, arm_position_x: noise(0.0, 500.0),
        arm_position_y: noise(0.0, 500.0), arm_position_z: noise(0.0, 300.0), force_feedback_x: noise(-2.0, 2.0), force_feedback_y: noise(-2.0, 2.0),
        force_feedback_z: noise(-5.0, 5.0), tool_type: "grasper", tool_serial: format!("T-{robot}"), tool_active: true, tool_use_count: 3,
        grip_pressure: noise(0.5, 5.0), tremor_compensation: noise(2.0, 15.0), system_temperature: noise(20.0, 78.0), power_consumption: noise(150.0, 400.0),
        network_latency_ms: noise(5.0, 104.0), video_fps: noise(24.5, 60.0) };
        for name in [
            "joints_0_current",
            "joints_1_current",
            "joints_2_current",
            "joints_3_current",
            "joints_4_current",
            "joints_5_current",
        ] {
            row.insert(name, noise(1.0, 3.0).into());
        }
        self.record("robot_telemetry", at, row);
    }

    /// Ten windows of 10 s, three that overlap, and a revision with the late rows of the first.
    fn windows(&mut self, robot: &str, start: i64, random: &mut ChaCha8Rng) {
        let begin = start - start % (20 * MINUTE);
        let window = |name: &str, at: i64, size: i64, revision: i64, values: &[f64]| {
            let (mut least, mut most) = (f64::MAX, f64::MIN);
            for value in values {
                (least, most) = (least.min(*value), most.max(*value));
            }
            let mut row = row! { robot_id: robot, dataset: "robot_telemetry", window_name: name, window_start: at, window_size_us: size, revision: revision,
            window_rows: values.len() as i64, signal: "system_temperature", value_count: values.len() as i64, value_sum: values.iter().sum::<f64>() };
            row.insert("min", least.into());
            row.insert("max", most.into());
            row
        };
        let values: Vec<f64> = (0..4)
            .map(|_| f64::from(random.random_range(20..70)))
            .collect();
        for at in 0..10 {
            let row = window("10s", begin + at * 10_000_000, 10_000_000, 0, &values);
            self.output("robot_windows", row);
        }
        for at in 0..3 {
            let row = window("5m-every-1m", begin + at * MINUTE, 5 * MINUTE, 0, &values);
            self.output("robot_windows", row);
        }
        let late = window("10s", begin, 10_000_000, 1, &[99.0]);
        self.output("robot_windows", late);
    }

    fn services(&mut self, robots: i64, random: &mut ChaCha8Rng) {
        for work in 0..robots * 2 {
            let robot = format!("r-{}", work % robots);
            let at = BEGIN + random.random_range(10..700) * DAY;
            let condition = format!("c-{work}");
            for (number, transition) in ["raised", "cleared"].iter().enumerate() {
                let time = at - 3 * DAY + number as i64 * 4 * DAY;
                self.output("maintenance_alerts", row! { alert_id: format!("{condition}/{number}"), condition_id: condition.clone(), robot_id: robot.clone(),
                rule_id: "hot", rule_version: 1, transition: *transition, revision: number as i64, priority: "high", event_time: time, raised_at: at - 3 * DAY,
                message: "hot" });
            }
            let kind = ["routine", "emergency"][(work % 2) as usize];
            let report = |status: &str, time: i64| {
                row! { robot_id: robot.clone(), event_time: time, event_id: format!("m-{work}-{status}"), maintenance_id: format!("m-{work}"), maintenance_type: kind,
                status: status, started_at: at, downtime_hours: 2.5, cost: 1234.5, currency: "USD", actions_0: "calibrate", actions_1: "clean",
                parts_0_part: "camera_unit" }
            };
            let mut done = report("completed", at + 60 * MINUTE);
            // One names the condition, one the alert, one neither.
            match work % 3 {
                0 => drop(done.insert("condition_id", condition.into())),
                1 => drop(done.insert("alert_id", format!("{condition}/0").into())),
                _ => {}
            }
            self.record("maintenance_logs", at + 60 * MINUTE, done);
            self.record("maintenance_logs", at + 61 * MINUTE, report("started", at));
        }
    }

    /// Writes all rows into the lake and loads them, each table in two files.
    ///
    /// # Errors
    /// When the lake or the warehouse refuses.
    pub fn load(&self, lake: &dyn Lake, warehouse: &dyn Warehouse) -> Result<()> {
        let specs = theatre_star::tables();
        warehouse.ensure_tables(&specs)?;
        for (number, (table, rows)) in self.tables.iter().enumerate() {
            let spec = specs
                .iter()
                .find(|spec| spec.name == *table)
                .context("a table of the star")?;
            for (half, rows) in [&rows[..rows.len() / 2], &rows[rows.len() / 2..]]
                .into_iter()
                .enumerate()
            {
                let number = (number * 2 + half) as u64;
                let file = file(lake, spec, number, rows)?;
                warehouse.load(
                    &LoadBatch {
                        id: format!("{table}-{half}"),
                        dataset: (*table).to_owned(),
                        partition: 0,
                        files: vec![file],
                    },
                    lake,
                )?;
            }
        }
        Ok(())
    }
}

/// A hospital's report, as an outcome holds it.
fn result(random: &mut ChaCha8Rng) -> String {
    let status = [
        "successful",
        "successful",
        "successful",
        "complicated",
        "failed",
    ][random.random_range(0..5)];
    let complications = match (status, random.random_range(0..3)) {
        ("successful", _) => "[]".to_owned(),
        (_, 0) => r#"[{"kind":"infection","severity":"minor"}]"#.to_owned(),
        (_, 1) => {
            r#"[{"kind":"infection","severity":"minor"},{"kind":"ileus","severity":"moderate"}]"#
                .to_owned()
        }
        _ => r#"[{"kind":"organ injury","severity":"severe"}]"#.to_owned(),
    };
    let readmitted = ["null", "true", "false", "false"][random.random_range(0..4)];
    let (loss, stay, score) = (
        random.random_range(20..900),
        random.random_range(1..20),
        random.random_range(1..11),
    );
    format!(
        "{{\"success_status\":\"{status}\",\"blood_loss_ml\":{loss},\"complications\":{complications},\"hospital_stay_days\":{stay},\"readmission_30day\":{readmitted},\"patient_satisfaction_score\":{score},\"recovery_score\":null,\"follow_up_required\":false}}"
    )
}

fn file(lake: &dyn Lake, spec: &TableSpec, number: u64, rows: &[Row]) -> Result<RegisteredFile> {
    for name in rows.iter().flat_map(BTreeMap::keys) {
        ensure!(
            spec.columns.iter().any(|(column, _)| column == name),
            "{} has no column {name}",
            spec.name
        );
    }
    let schema = file_schema(spec);
    let path = format!("data/{}/theatre_version=1/{number}.parquet", spec.name);
    let mut writer = FileWriter::new(
        lake.begin(&path, &format!("p0-e1-{number}"))?,
        &schema,
        path.clone(),
        &spec.name,
    )?;
    for rows in rows.chunks(10_000) {
        let columns = spec
            .columns
            .iter()
            .map(|(name, kind)| column(name, *kind, rows))
            .collect::<Result<_>>()?;
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        writer.write(batch, rows.iter().map(|_| 0))?;
    }
    let file = writer.finish()?;
    lake.complete(&path, &file.upload)?;
    Ok(RegisteredFile {
        number,
        partition: 0,
        file,
        stage: FileStage::Completed,
        batch: None,
        note: None,
    })
}

fn column(name: &str, kind: ColumnType, rows: &[Row]) -> Result<ArrayRef> {
    let cells = rows.iter().map(|row| row.get(name));
    let whole = |cell: Option<&Cell>| match cell {
        Some(Cell::Whole(value)) => Some(*value),
        _ => None,
    };
    macro_rules! collect {
        ($builder:expr, $value:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                builder.append_option($value(cell));
            }
            Arc::new(builder.finish())
        }};
    }
    let number = |cell: Option<&Cell>| match cell {
        Some(Cell::Number(value)) => Some(*value),
        _ => None,
    };
    let flag = |cell: Option<&Cell>| match cell {
        Some(Cell::Flag(value)) => Some(*value),
        _ => None,
    };
    fn text(cell: Option<&Cell>) -> Option<&str> {
        match cell {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }
    }
    Ok(match kind {
        ColumnType::Boolean => collect!(BooleanBuilder::new(), flag),
        ColumnType::Int32 => collect!(Int32Builder::new(), |cell| whole(cell)
            .map(|value| value as i32)),
        ColumnType::Int64 => collect!(Int64Builder::new(), whole),
        ColumnType::Float64 => collect!(Float64Builder::new(), number),
        ColumnType::Decimal { precision, scale } => {
            let one = 10_f64.powi(i32::from(scale));
            let mut builder =
                Decimal128Builder::new().with_precision_and_scale(precision, scale as i8)?;
            for cell in cells {
                builder.append_option(number(cell).map(|value| (value * one).round() as i128));
            }
            Arc::new(builder.finish())
        }
        ColumnType::Utf8 => collect!(StringBuilder::new(), text),
        ColumnType::Date => collect!(Date32Builder::new(), |cell| whole(cell)
            .map(|value| value as i32)),
        ColumnType::TimestampMicros => {
            let mut builder = TimestampMicrosecondBuilder::new();
            for cell in cells {
                builder.append_option(whole(cell));
            }
            Arc::new(builder.finish().with_timezone("UTC"))
        }
        other => anyhow::bail!("no table of the star has a column of {other:?}, such as {name}"),
    })
}
