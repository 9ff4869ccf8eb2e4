//! A replay without a mapping: looks at the first file, says what it takes it for, asks, and keeps
//! schema, mapping and rules in the data directory.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use theatre_recordings::columns;
use theatre_recordings::infer::{Inferred, widened};
use theatre_recordings::look::{Looked, look};
use theatre_recordings::mapping::{Header, Mapping};
use theatre_recordings::rows::{Plan, Rows};
use theatre_recordings::source;
use theatre_schemas::dataset::ColumnType;

use super::super::schema::{self, Said};
use super::super::{Common, Failure};

/// The mapping that was made for a dataset of this name, or a new one; none when the file has no
/// rows.
pub(super) fn mapping(
    common: &Common,
    files: &[String],
    said: &Said,
    yes: bool,
) -> Result<Option<Mapping>, Failure> {
    let Some(file) = files.iter().find(|file| *file != "-") else {
        return Err(Failure::Usage(
            "standard input cannot be looked at and read again: give --mapping; theatre schema infer FILE --write DIR makes one from a file"
                .to_owned(),
        ));
    };
    let looked = look(file, &said.hints()).map_err(|error| Failure::Usage(error.to_string()))?;
    let mappings = common.data.join("mappings");
    let folder = mappings.join(&looked.dataset);
    let kept = folder.join(format!("{}.toml", looked.dataset));
    let mark = source::mark(file).map_err(|error| Failure::Usage(error.to_string()))?;
    if kept.exists() {
        let mapping = of_before(common, &kept, &looked, said)?;
        remember(&folder, &mark)?;
        return Ok(Some(mapping));
    }
    let is_new = files.len() > 1 || said.names_dataset();
    if let Some(kept) = renamed(&mappings, &mark).filter(|_| !is_new) {
        eprintln!(
            "{file} begins as a file that was replayed does, and is taken for the same one, renamed: --robot NAME says that it is of another robot, --dataset NAME begins a data set of its own"
        );
        return of_before(common, &kept, &looked, said).map(Some);
    }
    if looked.rows == 0 && looked.refused == 0 && files.len() == 1 {
        return Ok(None);
    }
    eprint!("{}", schema::described(&looked));
    let is_of_file = looked.mapping.robot_column.is_none() && !said.names_robot();
    if files.len() > 1 && is_of_file {
        return Err(Failure::Usage(format!(
            "no column says of which robot the rows of the {} files are: say --robot NAME when all are of one, or --robot-from-file PATTERN, such as 'log_{{robot}}_*.csv', when the files' names say it",
            files.len()
        )));
    }
    if !looked.unclear.is_empty() {
        return Err(Failure::Usage(format!(
            "{file} leaves open what only a person knows: add the flags that are named above, or write a mapping: theatre schema infer {file} --write DIR"
        )));
    }
    let others = schema::other_ids(common, &looked.dataset)?;
    let inferred = Inferred::of(&looked, &|id| others.contains(&id));
    if !yes && !agreed()? {
        return Err(Failure::Usage(format!(
            "nothing was done: say --yes to go on like this, or change it first: theatre schema infer {file} --write DIR"
        )));
    }
    let written: [PathBuf; 3] = inferred.write(&folder, false)?;
    match tried(&written[1], file) {
        Ok(mapping) => {
            for path in &written {
                eprintln!("written: {}", path.display());
            }
            remember(&folder, &mark)?;
            Ok(Some(mapping))
        }
        Err(failure) => {
            // The next replay shall look anew, not meet the same error.
            for path in &written {
                std::fs::remove_file(path)?;
            }
            Err(failure)
        }
    }
}

/// What the files began with that were replayed by the mapping beside it, a line each.
const MARKS: &str = "files.txt";

/// Most lines of it: a folder of more files is known by these.
const MARKS_MAX: usize = 10_000;

/// Remembers what a file begins with that is replayed by the mapping of a folder.
fn remember(folder: &Path, mark: &str) -> Result<(), Failure> {
    let path = folder.join(MARKS);
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    if known.lines().count() < MARKS_MAX && !known.lines().any(|line| line == mark) {
        std::fs::write(&path, format!("{known}{mark}\n"))?;
    }
    Ok(())
}

/// The mapping by which a file was replayed that begins with the same.
fn renamed(mappings: &Path, mark: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(mappings)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.sort();
    folders.into_iter().find_map(|folder| {
        let known = std::fs::read_to_string(folder.join(MARKS)).ok()?;
        let mapping = folder.join(folder.file_name()?).with_extension("toml");
        (known.lines().any(|line| line == mark) && mapping.exists()).then_some(mapping)
    })
}

/// A mapping that reads the file.
fn tried(path: &Path, file: &str) -> Result<Mapping, Failure> {
    let mapping = Mapping::load(path)?;
    let plan = Arc::new(Plan::new(mapping.clone())?);
    Rows::open(&plan, file).map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(mapping)
}

/// The mapping that an earlier replay of a data set of this name has kept.
fn of_before(
    common: &Common,
    kept: &Path,
    looked: &Looked,
    said: &Said,
) -> Result<Mapping, Failure> {
    let mut mapping = Mapping::load(kept)?;
    said.apply(&mut mapping);
    widen(common, &mapping, looked)?;
    let other = format!(
        "change it there, or give the file a data set of its own with --dataset NAME: {}",
        kept.display()
    );
    let plan = Arc::new(Plan::new(mapping.clone())?);
    if let Err(error) = Rows::open(&plan, &looked.file) {
        return Err(Failure::Usage(format!(
            "{error}; this is the mapping of an earlier replay: {other}"
        )));
    }
    eprintln!(
        "the mapping of an earlier replay is used: {}",
        kept.display()
    );
    let wanted = mapping.wanted();
    let is_left_out = |name: &&str| {
        let name = [(*name).to_owned()];
        !wanted.iter().any(|wanted| columns::is_there(&name, wanted))
    };
    let names = looked.columns.iter().map(|column| column.name.as_str());
    let left_out: Vec<&str> = names.filter(is_left_out).collect();
    if !left_out.is_empty() && mapping.header != Header::None {
        eprintln!(
            "it leaves out columns that the file has: {}; {other}",
            left_out.join(", ")
        );
    }
    Ok(mapping)
}

/// Makes numbers of the schema's whole numbers where the file has fractions: they would be missing
/// otherwise. It is the schema's next version; what is there already is read as ever.
fn widen(common: &Common, mapping: &Mapping, looked: &Looked) -> Result<(), Failure> {
    let is_called = |name: &String, column: &str| {
        name == column
            || !column.starts_with('#') && columns::is_there(std::slice::from_ref(name), column)
    };
    let has_fractions = |column: &str| {
        looked.columns.iter().any(|seen| {
            seen.column_type == ColumnType::Float64
                && !seen.profile.is_whole()
                && is_called(&seen.name, column)
        })
    };
    let fields: Vec<&str> = mapping
        .columns
        .iter()
        .filter(|(_, column)| has_fractions(column))
        .map(|(field, _)| field.as_str())
        .collect();
    let others = schema::other_ids(common, &looked.dataset)?;
    let before = std::fs::read_to_string(&mapping.schema).unwrap_or_default();
    if let Some((text, changed)) = widened(&before, &fields, &|id| others.contains(&id)) {
        std::fs::write(&mapping.schema, text)?;
        eprintln!(
            "whole numbers before, and numbers with fractions from now on: {}; the next version of {}",
            changed.join(", "),
            mapping.schema.display()
        );
    }
    Ok(())
}

/// Asks at a terminal; elsewhere the answer is no.
fn agreed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("replay it like this? [Y/n] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(
        answer.trim().to_lowercase().as_str(),
        "" | "y" | "yes"
    ))
}
