//! A virtual table over loaded files: SQLite asks for the cells of rows, and the columns that it
//! asks for are decoded, a row group at a time.
//!
//! Row groups whose bounds exclude what is looked for are left out. A join looks for one key after
//! the other: from the second key on they are found by an index, made when it is first needed and
//! kept as long as the query runs. SQLite checks every row again, so to return too many is allowed,
//! to leave one out is not.

// SQLite calls a virtual table through pointers to what begins with its own structures; the traits
// that say so are unsafe to implement.
#![allow(unsafe_code)]

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::c_int;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, VTab, VTabConnection, VTabCursor,
    VTabKind, read_only_module, sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Result};
use theatre_parquet::columns::Bounds;

use super::loaded_files::{self, Footers, LoadedFile, Values};

/// The module's name in `CREATE VIRTUAL TABLE`.
pub(super) const MODULE: &str = "lake_files";

/// What a lookup by an index costs beside a row of a scan.
const LOOKUP_ROWS: f64 = 20.0;

/// Rows of a file at most, as far as row ids of the table go.
const FILE_ROWS_BITS: u32 = 32;

/// Lets tables over files be made and read on a connection, and gives it the one function of the
/// star that SQLite is built without.
pub(super) fn register(connection: &Connection, footers: &Footers) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("sqrt", 1, flags, |of| {
        Ok(of.get::<Option<f64>>(0)?.map(f64::sqrt))
    })?;
    let module = read_only_module::<FileTable>();
    connection.create_module(MODULE, module, Some(footers.clone()))
}

/// The table.
#[repr(C)]
pub(super) struct FileTable {
    base: sqlite3_vtab,
    connection: Connection,
    name: String,
    kinds: Vec<Kind>,
    footers: Footers,
}

/// What the table says of a column.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Integer,
    Real,
    Text,
    Blob,
}

unsafe impl<'vtab> VTab<'vtab> for FileTable {
    type Aux = Footers;
    type Cursor = FileCursor<'vtab>;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Footers>,
        args: &[&[u8]],
    ) -> Result<(String, Self)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let columns: Vec<String> = args.iter().skip(3).map(|arg| text(arg)).collect();
        let kind = |column: &String| match column.rsplit(' ').next() {
            Some("INTEGER") => Kind::Integer,
            Some("REAL") => Kind::Real,
            Some("TEXT") => Kind::Text,
            _ => Kind::Blob,
        };
        // SAFETY: SQLite lets a virtual table use the connection that it belongs to, and
        // disconnects it before that is closed. This one does not own the handle.
        let connection = unsafe { Connection::from_handle(db.handle()) }?;
        let table = Self {
            base: sqlite3_vtab::default(),
            connection,
            name: args.get(2).map(|name| text(name)).unwrap_or_default(),
            kinds: columns.iter().map(kind).collect(),
            footers: aux.cloned().unwrap_or_default(),
        };
        Ok((format!("CREATE TABLE t ({})", columns.join(", ")), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<()> {
        let rows = loaded_files::rows(&self.connection, &self.name)?.max(1);
        let collations: Vec<bool> = (0..info.constraints().count())
            .map(|at| info.collation(at).is_ok_and(|name| name == "BINARY"))
            .collect();
        let mut plan = Vec::new();
        let mut has_key = false;
        for (at, (constraint, mut usage)) in info.constraints_and_usages().enumerate() {
            let kind = usize::try_from(constraint.column())
                .ok()
                .and_then(|column| self.kinds.get(column));
            let helps = match kind {
                Some(Kind::Integer) => true,
                Some(Kind::Text) => collations[at],
                _ => false,
            };
            let Some(operator) = Operator::of(constraint.operator()).filter(|_| helps) else {
                continue;
            };
            if constraint.is_usable() {
                usage.set_argv_index(plan.len() as c_int + 1);
                has_key |= operator == Operator::Equal;
                plan.push(format!("{}{}", constraint.column(), operator.sign()));
            }
        }
        let rows = rows as f64;
        let (cost, found) = match (has_key, plan.is_empty()) {
            (true, _) => (LOOKUP_ROWS.min(rows), (rows / 100.0).clamp(1.0, 25.0)),
            (false, false) => (rows * 0.8, rows / 4.0),
            (false, true) => (rows, rows),
        };
        info.set_idx_str(&plan.join(" "));
        info.set_estimated_cost(cost);
        info.set_estimated_rows(found.max(1.0) as i64);
        Ok(())
    }

    fn open(&'vtab mut self) -> Result<FileCursor<'vtab>> {
        Ok(FileCursor {
            base: sqlite3_vtab_cursor::default(),
            table: self,
            groups: Vec::new(),
            plan: None,
            index: None,
            hits: None,
            group: 0,
            row: 0,
        })
    }
}

impl CreateVTab<'_> for FileTable {
    const KIND: VTabKind = VTabKind::Default;
}

/// A comparison that bounds can decide.
#[derive(Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    Less,
    Greater,
}

impl Operator {
    fn of(operator: IndexConstraintOp) -> Option<Self> {
        use IndexConstraintOp::{
            SQLITE_INDEX_CONSTRAINT_EQ, SQLITE_INDEX_CONSTRAINT_GE, SQLITE_INDEX_CONSTRAINT_GT,
            SQLITE_INDEX_CONSTRAINT_LE, SQLITE_INDEX_CONSTRAINT_LT,
        };
        match operator {
            SQLITE_INDEX_CONSTRAINT_EQ => Some(Self::Equal),
            SQLITE_INDEX_CONSTRAINT_LE | SQLITE_INDEX_CONSTRAINT_LT => Some(Self::Less),
            SQLITE_INDEX_CONSTRAINT_GE | SQLITE_INDEX_CONSTRAINT_GT => Some(Self::Greater),
            _ => None,
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Equal => '=',
            Self::Less => '<',
            Self::Greater => '>',
        }
    }

    /// Whether a value between `least` and `greatest` may be so; equality counts for all.
    fn may_hold<T: PartialOrd + ?Sized>(self, least: &T, greatest: &T, value: &T) -> bool {
        (self == Self::Greater || least <= value) && (self == Self::Less || greatest >= value)
    }
}

/// One comparison of a plan.
struct Condition {
    column: usize,
    operator: Operator,
}

fn conditions(plan: &str) -> Vec<Condition> {
    let read = |text: &str| {
        let operator = match text.chars().next_back()? {
            '=' => Operator::Equal,
            '<' => Operator::Less,
            _ => Operator::Greater,
        };
        let column = text[..text.len() - 1].parse().ok()?;
        Some(Condition { column, operator })
    };
    plan.split(' ').filter_map(read).collect()
}

/// A row group with the columns that were decoded.
struct Group {
    file: LoadedFile,
    number: usize,
    /// Rows of the file before it.
    before: usize,
    rows: usize,
    columns: Vec<OnceCell<Values>>,
}

impl Group {
    fn may_hold(&self, condition: &Condition, value: ValueRef<'_>) -> bool {
        if condition.column >= self.columns.len() {
            // The file is older than the column, which is NULL throughout.
            return false;
        }
        let bounds = self.file.footer.bounds(self.number, condition.column);
        match (bounds, value) {
            (Some(Bounds::Integers(least, greatest)), ValueRef::Integer(value)) => {
                condition.operator.may_hold(&least, &greatest, &value)
            }
            (Some(Bounds::Texts(least, greatest)), ValueRef::Text(value)) => {
                condition.operator.may_hold(&*least, &*greatest, value)
            }
            _ => true,
        }
    }

    /// The values of a column; `None` if the file is older than it.
    fn values(&self, connection: &Connection, column: usize) -> Result<Option<&Values>> {
        let Some(cell) = self.columns.get(column) else {
            return Ok(None);
        };
        if cell.get().is_none() {
            let values = loaded_files::values(connection, &self.file, self.number, column)?;
            // Set by no other meanwhile: a cursor belongs to one thread.
            let _ = cell.set(values);
        }
        Ok(cell.get())
    }
}

/// The rows that have a key: group and row.
type Index = HashMap<Vec<u8>, Vec<(u32, u32)>>;

/// A query's way through the table.
#[repr(C)]
pub(super) struct FileCursor<'vtab> {
    base: sqlite3_vtab_cursor,
    table: &'vtab FileTable,
    groups: Vec<Group>,
    /// The plan of the search before.
    plan: Option<String>,
    index: Option<Index>,
    /// Rows that the index found, from the last to the first.
    hits: Option<Vec<(u32, u32)>>,
    group: usize,
    row: usize,
}

impl FileCursor<'_> {
    /// Row groups that may hold what is looked for, with nothing decoded.
    fn list_groups(
        &mut self,
        conditions: &[Condition],
        values: &[ValueRef<'_>],
        prune: bool,
    ) -> Result<()> {
        let (connection, name) = (&self.table.connection, &self.table.name);
        self.groups.clear();
        for file in loaded_files::of_table(connection, name, &self.table.footers)? {
            let columns = file.footer.types().len();
            let mut before = 0;
            for number in 0..file.footer.groups() {
                let group = Group {
                    file: file.clone(),
                    number,
                    before,
                    rows: file.footer.group_rows(number),
                    columns: std::iter::repeat_with(OnceCell::new)
                        .take(columns)
                        .collect(),
                };
                before += group.rows;
                let mut all = conditions.iter().zip(values);
                if group.rows > 0 && (!prune || all.all(|(of, value)| group.may_hold(of, *value))) {
                    self.groups.push(group);
                }
            }
        }
        Ok(())
    }

    /// An index of all rows by the columns that are compared for equality.
    fn make_index(&self, conditions: &[Condition]) -> Result<Index> {
        let mut index = Index::new();
        for (at, group) in self.groups.iter().enumerate() {
            let mut columns = Vec::new();
            for column in equal_columns(conditions) {
                columns.extend(group.values(&self.table.connection, column)?);
            }
            if columns.len() < equal_columns(conditions).count() {
                continue;
            }
            for row in 0..group.rows {
                let mut key = Vec::new();
                if columns
                    .iter()
                    .all(|values| add_to_key(&mut key, values.get(row)))
                {
                    index.entry(key).or_default().push((at as u32, row as u32));
                }
            }
        }
        for rows in index.values_mut() {
            rows.reverse();
        }
        Ok(index)
    }

    /// Goes to the next row that the index found.
    fn next_hit(&mut self) {
        match self.hits.as_mut().and_then(Vec::pop) {
            Some((group, row)) => (self.group, self.row) = (group as usize, row as usize),
            None => self.group = self.groups.len(),
        }
    }
}

fn equal_columns(conditions: &[Condition]) -> impl Iterator<Item = usize> + '_ {
    let equal = conditions
        .iter()
        .filter(|condition| condition.operator == Operator::Equal);
    equal.map(|condition| condition.column)
}

/// Adds a value to a key; false for one that equals none.
fn add_to_key(key: &mut Vec<u8>, value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Integer(value) => key.extend_from_slice(&value.to_le_bytes()),
        ValueRef::Text(text) => {
            key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            key.extend_from_slice(text);
        }
        _ => return false,
    }
    true
}

/// The key that is looked for; `None` where a value is of another type than its column, which
/// SQLite may still take for equal.
fn searched(kinds: &[Kind], conditions: &[Condition], values: &[ValueRef<'_>]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    let equal = conditions
        .iter()
        .zip(values)
        .filter(|(condition, _)| condition.operator == Operator::Equal);
    for (condition, value) in equal {
        let of_its_type = matches!(
            (kinds.get(condition.column)?, value),
            (Kind::Integer, ValueRef::Integer(_)) | (Kind::Text, ValueRef::Text(_))
        );
        if !of_its_type || !add_to_key(&mut key, *value) {
            return None;
        }
    }
    (!key.is_empty()).then_some(key)
}

unsafe impl VTabCursor for FileCursor<'_> {
    fn filter(&mut self, _: c_int, plan: Option<&str>, args: &Filters<'_>) -> Result<()> {
        let plan = plan.unwrap_or_default();
        let conditions = conditions(plan);
        let values: Vec<ValueRef<'_>> = args.iter().collect();
        (self.group, self.row, self.hits) = (0, 0, None);
        let equals_null = conditions.iter().zip(&values).any(|(condition, value)| {
            condition.operator == Operator::Equal && *value == ValueRef::Null
        });
        if equals_null {
            self.group = self.groups.len();
            return Ok(());
        }
        let again = self.plan.as_deref() == Some(plan);
        let key = searched(&self.table.kinds, &conditions, &values).filter(|_| again);
        let Some(key) = key else {
            self.index = None;
            self.plan = Some(plan.to_owned());
            return self.list_groups(&conditions, &values, true);
        };
        if self.index.is_none() {
            self.list_groups(&conditions, &values, false)?;
            self.index = Some(self.make_index(&conditions)?);
        }
        let found = self.index.as_ref().and_then(|index| index.get(&key));
        self.hits = Some(found.cloned().unwrap_or_default());
        self.next_hit();
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        if self.hits.is_some() {
            self.next_hit();
            return Ok(());
        }
        self.row += 1;
        if self
            .groups
            .get(self.group)
            .is_some_and(|group| self.row == group.rows)
        {
            // What was decoded of it is not needed any more.
            let group = &mut self.groups[self.group];
            group
                .columns
                .iter_mut()
                .for_each(|column| drop(column.take()));
            (self.group, self.row) = (self.group + 1, 0);
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.group >= self.groups.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let (group, column) = (&self.groups[self.group], column as usize);
        let Some(values) = group.values(&self.table.connection, column)? else {
            return Ok(());
        };
        let value = match values.get(self.row) {
            // The file was written before its column got wider.
            ValueRef::Integer(number) if self.table.kinds.get(column) == Some(&Kind::Real) => {
                ValueRef::Real(number as f64)
            }
            value => value,
        };
        context.set_result(&ToSqlOutput::Borrowed(value))
    }

    fn rowid(&self) -> Result<i64> {
        let group = &self.groups[self.group];
        let row = (group.before + self.row) as i64;
        Ok((group.file.id << FILE_ROWS_BITS) | row)
    }
}
