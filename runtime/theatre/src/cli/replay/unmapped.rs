//! A replay without a mapping: looks at the first file, says what it takes it for, asks, and keeps
//! schema, mapping and rules in the data directory.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use theatre_recordings::infer::Inferred;
use theatre_recordings::look::look;
use theatre_recordings::mapping::Mapping;

use super::super::schema::{self, Said};
use super::super::{Common, Failure};

/// The mapping that was made for a dataset of this name, or a new one.
pub(super) fn mapping(
    common: &Common,
    files: &[String],
    said: &Said,
    yes: bool,
) -> Result<Mapping, Failure> {
    let Some(file) = files.iter().find(|file| *file != "-") else {
        return Err(Failure::Usage(
            "standard input cannot be looked at and read again: give --mapping; theatre schema infer FILE --write DIR makes one from a file"
                .to_owned(),
        ));
    };
    let looked = look(file, &said.hints()).map_err(|error| Failure::Usage(error.to_string()))?;
    let folder = common.data.join("mappings").join(&looked.dataset);
    eprint!("{}", schema::described(&looked));
    if !looked.unclear.is_empty() {
        return Err(Failure::Usage(format!(
            "{file} leaves open what only a person knows: add the flags that are named above, or write a mapping: theatre schema infer {file} --write DIR"
        )));
    }
    let others = schema::other_ids(common, &looked.dataset)?;
    let inferred = Inferred::of(&looked, &|id| others.contains(&id));
    let kept = folder.join(&inferred.mapping.0);
    if kept.exists() {
        eprintln!(
            "the mapping of an earlier replay is used: {}",
            kept.display()
        );
        return Ok(Mapping::load(&kept)?);
    }
    if !yes && !agreed()? {
        return Err(Failure::Usage(format!(
            "nothing was done: say --yes to go on like this, or change it first: theatre schema infer {file} --write DIR"
        )));
    }
    let written: [PathBuf; 3] = inferred.write(&folder, false)?;
    for path in &written {
        eprintln!("written: {}", path.display());
    }
    Ok(Mapping::load(&written[1])?)
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
