//! The decode plan: a writer's schema resolved once to a dataset's columns.

use std::collections::HashMap;

use crate::avro_type::{self, AvroField, AvroType, Logical};
use crate::dataset::{ColumnType, Dataset, SchemaError, column_type};
use crate::declaration::TimeUnit;

/// What to do with the next bytes of a datum. The first number is the index of a column, unless
/// stated otherwise.
#[derive(Debug)]
pub(super) enum Op {
    Boolean(usize),
    Int(usize),
    Long(usize),
    /// A time in a unit other than microseconds.
    Time(usize, TimeUnit),
    Float(usize),
    Double(usize),
    /// Consecutive doubles: the first signal and their number; they are as many signals in a row.
    Signals(usize, usize),
    /// The same, of so many signals, where these are all that a row has.
    Row(usize),
    String(usize),
    Bytes(usize),
    /// Column and size in bytes.
    Fixed(usize, usize),
    /// Column and scale of a decimal in length-prefixed bytes.
    Decimal(usize, u32),
    /// Column, size in bytes and scale of a decimal.
    FixedDecimal(usize, usize, u32),
    /// Column, and the text of each symbol; `None`: the reader does not know the symbol and has no
    /// default.
    Enum(usize, Vec<Option<String>>),
    /// By branch: its ops, and the columns that it leaves null.
    Union(Vec<(Vec<Op>, Vec<usize>)>),
    /// By element: its ops, and its columns, which are null when the array is shorter.
    Array(Vec<(Vec<Op>, Vec<usize>)>),
    Skip(Skip),
}

/// How to skip bytes that no column takes.
#[derive(Debug)]
pub(super) enum Skip {
    Nothing,
    Boolean,
    Varint,
    Bytes(usize),
    Prefixed,
    Sequence(Vec<Skip>),
    Union(Vec<Skip>),
    Array(Box<Skip>),
    Map(Box<Skip>),
}

/// How the bytes of one writer schema become the columns of one dataset.
#[derive(Debug)]
pub struct DecodePlan {
    pub(super) ops: Vec<Op>,
    /// Columns that the writer's schema does not have.
    pub(super) absent: Vec<usize>,
    /// An op adds the row of signals at once: it need not be begun.
    pub(super) has_row: bool,
}

impl DecodePlan {
    /// Resolves a writer's schema to a dataset: fields are matched by path; numbers are widened; a
    /// column that the writer does not have is null; a field that the reader does not have is
    /// skipped.
    ///
    /// # Errors
    /// When a field's types do not resolve, or the writer lacks robot id or event time.
    pub fn compile(writer_json: &str, dataset: &Dataset) -> Result<Self, SchemaError> {
        let (fields, _) = avro_type::parse(writer_json)?;
        let by_name = dataset
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (column.name.as_str(), index))
            .collect();
        let mut compiler = Compiler {
            dataset,
            by_name,
            written: vec![false; dataset.columns.len()],
        };
        let mut ops = Vec::new();
        compiler.record(&fields, "", &mut ops)?;
        let absent: Vec<usize> = (0..dataset.columns.len())
            .filter(|column| !compiler.written[*column])
            .collect();
        for role in [dataset.roles.robot_id, dataset.roles.event_time] {
            if absent.contains(&role) {
                return Err(SchemaError::Field {
                    field: dataset.columns[role].name.clone(),
                    why: "is missing in the writer's schema".to_owned(),
                });
            }
        }
        let has_row = join_row(&mut ops, dataset.signals.len());
        Ok(Self {
            ops,
            absent,
            has_row,
        })
    }
}

/// Makes one op of the doubles that are all signals of a row, if the writer has them one after the
/// other; says whether it has.
fn join_row(ops: &mut [Op], signals: usize) -> bool {
    let is_run = |op: &Op| matches!(op, Op::Signals(..));
    let only = ops.iter().position(is_run);
    let only = only.filter(|at| !ops[at + 1..].iter().any(is_run));
    let Some(Op::Signals(0, count)) = only.map(|at| &ops[at]) else {
        return false;
    };
    let is_row = *count == signals;
    if let Some(at) = only.filter(|_| is_row) {
        ops[at] = Op::Row(signals);
    }
    is_row
}

/// Compiles a writer's schema, field by field, in the order of the bytes.
struct Compiler<'a> {
    dataset: &'a Dataset,
    by_name: HashMap<&'a str, usize>,
    /// By column: true when an op writes it.
    written: Vec<bool>,
}

impl Compiler<'_> {
    fn record(
        &mut self,
        fields: &[AvroField],
        prefix: &str,
        ops: &mut Vec<Op>,
    ) -> Result<(), SchemaError> {
        for field in fields {
            let path = if prefix.is_empty() {
                field.name.clone()
            } else {
                format!("{prefix}.{}", field.name)
            };
            self.value(&field.avro_type, &path, ops)?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        writer: &AvroType,
        path: &str,
        ops: &mut Vec<Op>,
    ) -> Result<(), SchemaError> {
        if !self.wanted(path) {
            ops.push(Op::Skip(skip(writer)));
            return Ok(());
        }
        match writer {
            AvroType::Record(fields) => self.record(fields, path, ops),
            AvroType::Union(branches) => {
                let compiled: Result<Vec<_>, _> = branches
                    .iter()
                    .map(|branch| self.part(branch, path))
                    .collect();
                ops.push(Op::Union(complete(compiled?)));
                Ok(())
            }
            AvroType::Array { items, .. } => {
                let mut elements = Vec::new();
                while self.wanted(&format!("{path}[{}]", elements.len())) {
                    elements.push(self.part(items, &format!("{path}[{}]", elements.len()))?);
                }
                ops.push(Op::Array(elements));
                Ok(())
            }
            AvroType::Null => Ok(()),
            leaf => {
                let op = self.leaf(leaf, path)?;
                // Adjacent signals become one op, so that those of a record are copied at once.
                match (ops.last_mut(), &op) {
                    (Some(Op::Signals(first, count)), Op::Signals(next, 1))
                        if *first + *count == *next =>
                    {
                        *count += 1
                    }
                    _ => ops.push(op),
                }
                Ok(())
            }
        }
    }

    /// Compiles a branch of a union or an element of an array: its ops, and the columns they write.
    fn part(
        &mut self,
        writer: &AvroType,
        path: &str,
    ) -> Result<(Vec<Op>, Vec<usize>), SchemaError> {
        // Collect what this part writes apart from what was written before it.
        let before = std::mem::replace(&mut self.written, vec![false; self.dataset.columns.len()]);
        let mut ops = Vec::new();
        let compiled = self.value(writer, path, &mut ops);
        let part = std::mem::replace(&mut self.written, before);
        compiled?;
        let columns: Vec<usize> = (0..part.len()).filter(|column| part[*column]).collect();
        for column in &columns {
            self.written[*column] = true;
        }
        Ok((ops, columns))
    }

    /// True when the dataset has a column at this path or below it.
    fn wanted(&self, path: &str) -> bool {
        self.by_name.keys().any(|name| {
            name.strip_prefix(path).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('.') || rest.starts_with('[')
            })
        })
    }

    fn leaf(&mut self, writer: &AvroType, path: &str) -> Result<Op, SchemaError> {
        let mismatch = |reader: &str| SchemaError::Field {
            field: path.to_owned(),
            why: format!(
                "is {writer:?} in the writer's schema, which does not resolve to {reader}"
            ),
        };
        let Some(&column) = self.by_name.get(path) else {
            return Err(mismatch("the reader's nested type"));
        };
        let reader = self.dataset.columns[column].column_type;
        let from = column_type(writer).ok_or_else(|| mismatch("a column"))?;
        if !resolves(from, reader) {
            return Err(mismatch(&format!("{reader:?}")));
        }
        self.written[column] = true;
        Ok(match writer {
            AvroType::Boolean => Op::Boolean(column),
            AvroType::Int(_) => Op::Int(column),
            AvroType::Long(Logical::TimestampMillis) => Op::Time(column, TimeUnit::Millis),
            AvroType::Long(_) => {
                match self.dataset.event_time_unit.filter(|_| {
                    column == self.dataset.roles.event_time && from == ColumnType::Int64
                }) {
                    Some(unit) => Op::Time(column, unit),
                    None => Op::Long(column),
                }
            }
            AvroType::Float => Op::Float(column),
            AvroType::Double => match self.dataset.signal_in_rows(column) {
                Some(signal) => Op::Signals(signal, 1),
                None => Op::Double(column),
            },
            AvroType::String => Op::String(column),
            AvroType::Bytes(Logical::Decimal { scale, .. }) => Op::Decimal(column, *scale),
            AvroType::Fixed(size, Logical::Decimal { scale, .. }) => {
                Op::FixedDecimal(column, *size, *scale)
            }
            AvroType::Bytes(_) => Op::Bytes(column),
            AvroType::Fixed(size, _) => Op::Fixed(column, *size),
            AvroType::Enum { symbols, default } => {
                // The columns are text and do not know the reader's symbols, so every symbol is
                // kept.
                Op::Enum(
                    column,
                    symbols
                        .iter()
                        .map(|symbol| Some(symbol.clone()).or_else(|| default.clone()))
                        .collect(),
                )
            }
            other => return Err(mismatch(&format!("a column ({other:?})"))),
        })
    }
}

/// Adds to each branch the columns that only its siblings write.
fn complete(parts: Vec<(Vec<Op>, Vec<usize>)>) -> Vec<(Vec<Op>, Vec<usize>)> {
    let mut all: Vec<usize> = parts
        .iter()
        .flat_map(|(_, columns)| columns)
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    parts
        .into_iter()
        .map(|(ops, columns)| {
            (
                ops,
                all.iter()
                    .copied()
                    .filter(|column| !columns.contains(column))
                    .collect(),
            )
        })
        .collect()
}

/// True when a writer's column type can be read as the reader's: Avro's promotions, on columns.
fn resolves(writer: ColumnType, reader: ColumnType) -> bool {
    use ColumnType::{Binary, Decimal, Float64, Int64, TimestampMicros, Utf8};
    if let (
        Decimal { precision, scale },
        Decimal {
            precision: of,
            scale: at,
        },
    ) = (writer, reader)
    {
        return scale == at && precision <= of;
    }
    writer.widens_to(reader)
        || matches!(
            (writer, reader),
            (Utf8, Binary) | (Int64, TimestampMicros) | (Decimal { .. }, Float64)
        )
}

/// How to skip a value of a type.
fn skip(writer: &AvroType) -> Skip {
    match writer {
        AvroType::Null => Skip::Nothing,
        AvroType::Boolean => Skip::Boolean,
        AvroType::Int(_) | AvroType::Long(_) | AvroType::Enum { .. } => Skip::Varint,
        AvroType::Float => Skip::Bytes(4),
        AvroType::Double => Skip::Bytes(8),
        AvroType::Fixed(size, _) => Skip::Bytes(*size),
        AvroType::Bytes(_) | AvroType::String => Skip::Prefixed,
        AvroType::Record(fields) => {
            Skip::Sequence(fields.iter().map(|field| skip(&field.avro_type)).collect())
        }
        AvroType::Union(branches) => Skip::Union(branches.iter().map(skip).collect()),
        AvroType::Array { items, .. } => Skip::Array(Box::new(skip(items))),
        AvroType::Map(values) => Skip::Map(Box::new(skip(values))),
    }
}
