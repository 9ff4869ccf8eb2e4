//! A batch under construction: a record adds one row of signals and one value to every other
//! column, or nothing.

use std::sync::Arc;

use arrow_array::ArrayRef;

use super::column::{Column, ColumnValues};
use super::cursor::Cursor;
use super::decimal;
use super::plan::{Op, Skip};
use super::{DATE_RANGE, DecodeError, DecodePlan, ID_BYTES_MAX, TIMESTAMP_RANGE};
use crate::batch::{Batch, as_float64};
use crate::dataset::{Dataset, DatasetIndex, EntityKind, PARTITION_PREFIX};
use crate::declaration::TimeUnit;
use crate::pseudonym::Pseudonyms;
use crate::signal_rows::SignalRows;

/// Decodes datums of one dataset into a [`Batch`].
#[derive(Debug)]
pub struct BatchBuilder {
    dataset: Arc<Dataset>,
    dataset_index: DatasetIndex,
    pseudonyms: Arc<Pseudonyms>,
    signals: SignalRows,
    columns: Vec<Column>,
    offsets: Vec<u64>,
    append_times: Vec<i64>,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new(
        dataset: Arc<Dataset>,
        dataset_index: DatasetIndex,
        pseudonyms: Arc<Pseudonyms>,
    ) -> Self {
        Self {
            signals: SignalRows::new(dataset.signals.len(), 0),
            columns: Column::all_of(&dataset, 0),
            dataset,
            dataset_index,
            pseudonyms,
            offsets: Vec::new(),
            append_times: Vec::new(),
        }
    }

    /// Number of rows so far.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Decodes one datum that stood at `offset`, appended at `append_time` (microseconds UTC).
    ///
    /// # Errors
    /// When the datum is not exactly one record of the plan's schema, or names no robot or time;
    /// the builder is then unchanged.
    pub fn push(
        &mut self,
        plan: &DecodePlan,
        datum: &[u8],
        offset: u64,
        append_time: i64,
    ) -> Result<(), DecodeError> {
        let rows = self.offsets.len();
        let decoded = self.decode(plan, datum);
        if decoded.is_err() {
            // Part of the record may have been appended already.
            self.signals.truncate(rows);
            for column in &mut self.columns {
                column.truncate(rows);
            }
            return decoded;
        }
        self.offsets.push(offset);
        self.append_times.push(append_time);
        Ok(())
    }

    /// Appends one value to every column; on an error some columns may have one more than others.
    fn decode(&mut self, plan: &DecodePlan, datum: &[u8]) -> Result<(), DecodeError> {
        let row = self.offsets.len();
        let mut cursor = Cursor::new(datum);
        if !plan.has_row {
            self.signals.begin_row();
        }
        let mut sink = RowSink {
            dataset: &self.dataset,
            signals: &mut self.signals,
            columns: &mut self.columns,
            pseudonyms: &self.pseudonyms,
            row,
        };
        sink.run(&plan.ops, &mut cursor)?;
        if cursor.left() > 0 {
            return Err(DecodeError::Trailing {
                left: cursor.left(),
            });
        }
        sink.append_nulls(&plan.absent);
        let roles = self.dataset.roles;
        let Some(robot) = self.columns[roles.robot_id]
            .last_text(row)
            .filter(|id| !id.is_empty())
        else {
            return Err(DecodeError::Unroutable { what: "robot_id" });
        };
        if robot.first() == Some(&b'@') {
            self.check_reserved(robot)?;
        }
        check_length("robot_id", robot)?;
        let procedure = roles.procedure_id.map(|column| &self.columns[column]);
        if let Some(procedure) = procedure.and_then(|column| column.last_text(row)) {
            check_length("procedure_id", procedure)?;
        }
        if self.columns[roles.event_time].nulls.last() == Some(&(row as u32)) {
            return Err(DecodeError::Unroutable { what: "event_time" });
        }
        Ok(())
    }

    /// Refuses a robot that is called as the actors of facilities, surgeons and models are.
    #[cold]
    fn check_reserved(&self, id: &[u8]) -> Result<(), DecodeError> {
        if self.dataset.kind.entity().is_some() {
            return Ok(());
        }
        let of_partitions = (!self.dataset.kind.reaches_partitions()).then_some(PARTITION_PREFIX);
        let prefixes = EntityKind::ALL.map(EntityKind::prefix).into_iter();
        let found = prefixes
            .chain(of_partitions)
            .find(|prefix| id.starts_with(prefix.as_bytes()));
        found.map_or(Ok(()), |prefix| Err(DecodeError::Reserved { prefix }))
    }

    /// The rows so far as a batch, leaving the builder empty; `None` when there are none.
    pub fn finish(&mut self) -> Option<Batch> {
        if self.offsets.is_empty() {
            return None;
        }
        let rows = self.offsets.len();
        let fresh = Column::all_of(&self.dataset, rows);
        let columns = std::mem::replace(&mut self.columns, fresh);
        let fresh = SignalRows::new(self.dataset.signals.len(), rows);
        let mut signals = std::mem::replace(&mut self.signals, fresh);
        let columns: Vec<Option<ArrayRef>> = columns
            .into_iter()
            .map(|column| column.finish(rows))
            .collect();
        // Signals of other types are in both.
        for (signal, spec) in self.dataset.signals.iter().enumerate() {
            if let Some(column) = &columns[spec.column] {
                signals.fill(signal, &as_float64(column));
            }
        }
        signals.finish();
        let offsets = std::mem::replace(&mut self.offsets, Vec::with_capacity(rows));
        let append_times = std::mem::replace(&mut self.append_times, Vec::with_capacity(rows));
        Some(Batch::of_rows(
            self.dataset.clone(),
            self.dataset_index,
            signals,
            columns,
            offsets,
            append_times,
        ))
    }
}

/// Refuses an id that is longer than a key may be.
#[inline]
fn check_length(what: &'static str, id: &[u8]) -> Result<(), DecodeError> {
    let bytes = id.len();
    if bytes > ID_BYTES_MAX {
        return Err(DecodeError::NameTooLong { what, bytes });
    }
    Ok(())
}

/// Appends the values of one datum to the columns.
struct RowSink<'a> {
    dataset: &'a Dataset,
    signals: &'a mut SignalRows,
    columns: &'a mut [Column],
    pseudonyms: &'a Pseudonyms,
    /// Its row.
    row: usize,
}

impl RowSink<'_> {
    /// Runs the frequent ops; the rare ones are in a function of their own, so that this loop stays
    /// small.
    fn run(&mut self, ops: &[Op], cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        for op in ops {
            match op {
                Op::Signals(first, count) => {
                    let bytes = cursor.take(8 * count)?;
                    self.signals.set_run(*first, bytes);
                }
                Op::Row(count) => self.signals.push_row(cursor.take(8 * count)?),
                Op::Long(column) => self.integer(*column, cursor.long()?)?,
                Op::String(column) => self.string(*column, cursor.text()?),
                Op::Union(branches) => {
                    let branch = cursor.long()?;
                    let branch = usize::try_from(branch)
                        .ok()
                        .and_then(|index| branches.get(index));
                    let (ops, others) =
                        branch.ok_or_else(|| cursor.malformed("a union has no such branch"))?;
                    // The branch of a value has no others, that of null no ops.
                    if !ops.is_empty() {
                        self.run(ops, cursor)?;
                    }
                    if !others.is_empty() {
                        self.append_nulls(others);
                    }
                }
                other => self.run_rare(other, cursor)?,
            }
        }
        Ok(())
    }

    fn run_rare(&mut self, op: &Op, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        match op {
            Op::Boolean(column) => {
                if let ColumnValues::Boolean(values) = &mut self.columns[*column].values {
                    values.push(cursor.boolean()?);
                }
            }
            Op::Int(column) => self.integer(*column, i64::from(cursor.int()?))?,
            Op::Time(column, unit) => {
                let value = cursor.long()?;
                let micros = unit
                    .micros(value)
                    .filter(|micros| TIMESTAMP_RANGE.contains(micros));
                self.integer(
                    *column,
                    micros.ok_or_else(|| self.out_of_range(*column, value, unit.name()))?,
                )?;
            }
            Op::Float(column) => {
                self.float(*column, f64::from(f32::from_le_bytes(cursor.array()?)))
            }
            Op::Double(column) => self.float(*column, f64::from_le_bytes(cursor.array()?)),
            Op::Bytes(column) => self.bytes(*column, cursor.length_prefixed()?),
            Op::Fixed(column, size) => self.bytes(*column, cursor.take(*size)?),
            Op::Decimal(column, scale) => {
                let bytes = cursor.length_prefixed()?;
                self.decimal(*column, bytes, *scale, cursor)?;
            }
            Op::FixedDecimal(column, size, scale) => {
                let bytes = cursor.take(*size)?;
                self.decimal(*column, bytes, *scale, cursor)?;
            }
            Op::Enum(column, symbols) => {
                let index = usize::try_from(cursor.int()?).ok();
                let symbol = index
                    .and_then(|index| symbols.get(index))
                    .and_then(Option::as_deref);
                self.string(
                    *column,
                    symbol
                        .ok_or_else(|| cursor.malformed("an enum has no such symbol"))?
                        .as_bytes(),
                );
            }
            Op::Array(elements) => self.array(elements, cursor)?,
            Op::Skip(skip) => skip_value(skip, cursor)?,
            Op::Signals(..) | Op::Row(_) | Op::Long(_) | Op::String(_) | Op::Union(_) => {
                unreachable!("handled by run")
            }
        }
        Ok(())
    }

    fn array(
        &mut self,
        elements: &[(Vec<Op>, Vec<usize>)],
        cursor: &mut Cursor<'_>,
    ) -> Result<(), DecodeError> {
        let mut filled = 0;
        loop {
            let count = cursor.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let (ops, _) = elements.get(filled).ok_or_else(|| {
                    cursor.malformed("an array is longer than its declared length")
                })?;
                self.run(ops, cursor)?;
                filled += 1;
            }
        }
        for (_, columns) in &elements[filled..] {
            self.append_nulls(columns);
        }
        Ok(())
    }

    #[inline]
    fn float(&mut self, column: usize, value: f64) {
        match &mut self.columns[column].values {
            ColumnValues::Signal(signal) => self.signals.set(*signal, value),
            ColumnValues::Float64(values) => values.push(value),
            ColumnValues::Float32(values) => values.push(value as f32),
            _ => unreachable!("the plan resolves floats to float columns only"),
        }
    }

    /// A decimal: exact in a column of decimals, else the nearest float.
    fn decimal(
        &mut self,
        column: usize,
        bytes: &[u8],
        scale: u32,
        cursor: &Cursor<'_>,
    ) -> Result<(), DecodeError> {
        if let ColumnValues::Decimal(values, precision, _) = &mut self.columns[column].values {
            let units =
                decimal::units(bytes).filter(|units| units.unsigned_abs() < 10_u64.pow(*precision));
            values.push(units.ok_or_else(|| {
                cursor.malformed("a decimal has more digits than its schema says")
            })?);
        } else {
            self.float(column, decimal::float(bytes, scale));
        }
        Ok(())
    }

    #[inline]
    fn integer(&mut self, column: usize, value: i64) -> Result<(), DecodeError> {
        match &mut self.columns[column].values {
            ColumnValues::Int64(values) => values.push(value),
            ColumnValues::Timestamp(values) if TIMESTAMP_RANGE.contains(&value) => {
                values.push(value)
            }
            ColumnValues::Int32(values) => values.push(value as i32),
            ColumnValues::Date(values) if DATE_RANGE.contains(&value) => values.push(value as i32),
            ColumnValues::Signal(signal) => self.signals.set(*signal, value as f64),
            ColumnValues::Float64(values) => values.push(value as f64),
            ColumnValues::Float32(values) => values.push(value as f32),
            ColumnValues::Timestamp(_) => {
                return Err(self.out_of_range(column, value, TimeUnit::Micros.name()));
            }
            ColumnValues::Date(_) => return Err(self.out_of_range(column, value, "days")),
            _ => unreachable!("the plan resolves integers to numeric columns only"),
        }
        Ok(())
    }

    #[cold]
    fn out_of_range(&self, column: usize, value: i64, unit: &'static str) -> DecodeError {
        DecodeError::OutOfRange {
            column: self.dataset.columns[column].name.clone(),
            value,
            unit,
        }
    }

    #[inline]
    fn string(&mut self, column: usize, value: &[u8]) {
        let column = &mut self.columns[column];
        match &column.person {
            None => column.append(value),
            Some(domain) => {
                // Valid UTF-8, so nothing is lost.
                let value = String::from_utf8_lossy(value);
                let pseudonym = self.pseudonyms.pseudonym(domain, &value);
                column.append(pseudonym.as_bytes());
            }
        }
    }

    fn bytes(&mut self, column: usize, value: &[u8]) {
        self.columns[column].append(value);
    }

    fn append_nulls(&mut self, columns: &[usize]) {
        for column in columns {
            match self.columns[*column].values {
                ColumnValues::Signal(signal) => self.signals.set_missing(signal),
                _ => self.columns[*column].append_null(self.row),
            }
        }
    }
}

fn skip_value(skip: &Skip, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    match skip {
        Skip::Nothing => {}
        Skip::Boolean => drop(cursor.boolean()?),
        Skip::Varint => drop(cursor.long()?),
        Skip::Bytes(count) => drop(cursor.take(*count)?),
        Skip::Prefixed => drop(cursor.length_prefixed()?),
        Skip::Sequence(parts) => parts.iter().try_for_each(|part| skip_value(part, cursor))?,
        Skip::Union(branches) => {
            let branch = usize::try_from(cursor.long()?)
                .ok()
                .and_then(|index| branches.get(index));
            skip_value(
                branch.ok_or_else(|| cursor.malformed("a union has no such branch"))?,
                cursor,
            )?;
        }
        Skip::Array(_) | Skip::Map(_) => loop {
            let count = cursor.block()?;
            if count == 0 {
                break;
            }
            // Items without bytes, such as nulls, would let a few bytes claim a loop of 2^63 turns.
            if count > cursor.left() as u64 {
                return Err(cursor.malformed("a block has more items than the record has bytes"));
            }
            for _ in 0..count {
                let left = cursor.left();
                match skip {
                    Skip::Array(items) => skip_value(items, cursor)?,
                    Skip::Map(values) => {
                        cursor.length_prefixed()?;
                        skip_value(values, cursor)?;
                    }
                    _ => unreachable!("only arrays and maps have blocks"),
                }
                if cursor.left() == left {
                    break; // Nor has any other item of this type: every block would be walked for nothing.
                }
            }
        },
    }
    Ok(())
}
